"""Two processes of two devices are one process of four: training, resumption, evaluation."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import jobs
import numpy as np
import pytest

from ssljax.checkpoint import Checkpoints

pytestmark = pytest.mark.xdist_group('processes')  # they share `runs`
FLAGS = [
    "--config.optim.net={'name': 'sgd', 'learning_rate': 0.02}",
    '--config.checkpoint.every=2',
    '--config.log.every=1',
    '--config.log.tensorboard=False',
]
EVALS = "--config.evals={'knn': {'k': 5, 'picture': False, 'whiten': False}}"
NO_EVALS = '--config.evals={}'


def launch(module, *flags, count=2, devices=2, dies=None):
    """Starts so many processes of a command here; dies: which of them is shot after step 3."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port = one.getsockname()[1]
    started = []
    for i in range(count):
        environment = {
            **os.environ,
            'JAX_PLATFORMS': 'cpu',
            'PYTHONPATH': str(jobs.ROOT),
            'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
        }
        if count > 1:
            environment |= {
                'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
                'JAX_NUM_PROCESSES': str(count),
                'JAX_PROCESS_ID': str(i),
            }
        program = ['-c', DIES] if i == dies else ['-m', module]
        command = [sys.executable, *program, *map(str, flags)]
        streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(subprocess.Popen(command, env=environment, cwd=jobs.ROOT, **streams))
    return started


def ended(processes, code=0):
    """What each wrote, once all have ended with this code."""
    outs = []
    for one in processes:
        try:
            out, err = one.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            for other in processes:
                other.kill()
            raise
        assert one.returncode == code, f'exit code {one.returncode}\n{out}\n{err}'
        outs.append((out, err))
    return outs


def said(out):
    """What a process wrote, without the lines of Gloo."""
    return [line for line in out.splitlines() if line.strip() and not line.startswith('[Gloo]')]


def train(workdir, *flags, method='simclr', **how):
    config = f'--config={jobs.ROOT}/configs/{method}.py:smoke'
    return launch('ssljax.train', config, f'--workdir={workdir}', *FLAGS, *flags, **how)


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    return {line['step']: line for line in lines}


def same(a, b):
    assert a.keys() == b.keys()
    for step in a:
        for name in a[step]:
            if name.endswith(('/loss', '/gradient_norm', '/z_std')):
                np.testing.assert_allclose(a[step][name], b[step][name], rtol=2e-4, err_msg=name)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """The same run by two processes of two devices, and by one of four."""
    folder = tmp_path_factory.mktemp('processes')
    outs = ended(train(folder / 'two', EVALS))
    ended(train(folder / 'one', EVALS, count=1, devices=4))
    return folder, outs


@pytest.mark.slow
def test_losses_and_scores_are_those_of_one_process(runs):
    folder, outs = runs
    same(metrics(folder / 'two'), metrics(folder / 'one'))
    two, one = (json.loads((folder / n / 'results.json').read_text()) for n in ('two', 'one'))
    assert two['evals'].keys() == one['evals'].keys() == {'knn'}
    for who, scores in one['evals']['knn']['scores'].items():
        # of 32 rows, one may stand between two classes
        assert abs(two['evals']['knn']['scores'][who]['accuracy'] - scores['accuracy']) < 7
    run = json.loads((folder / 'two' / 'run.json').read_text())
    assert run['processes'] == 2 and len(run['devices']) == 4
    # the first process writes, the other says nothing
    assert 'step 4/4' in outs[0][0] and 'knn accuracy' in outs[0][0]
    assert said(outs[1][0]) == []


@pytest.mark.slow
def test_resumed_by_two_processes(runs, tmp_path):
    folder, _ = runs
    workdir = shutil.copytree(folder / 'two', tmp_path / 'run')
    shutil.rmtree(workdir / 'checkpoints' / '4')
    (out, _), _ = ended(train(workdir, NO_EVALS))
    assert 'going on from step 2 of 4' in out
    same(metrics(workdir), metrics(folder / 'one'))
    assert Checkpoints(workdir).steps() == [4, 2]


DIES = """
import os, signal, sys
from ssljax import train, watch
add = watch.Window.add
def dying(self, metrics):
    add(self, metrics)
    if self.next == 3:
        os.kill(os.getpid(), signal.SIGKILL)
watch.Window.add = dying
sys.exit(train.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_and_the_same_command_ends_as_if_it_had_not(
    runs, tmp_path
):
    folder, _ = runs
    started = train(tmp_path / 'run', NO_EVALS, dies=1)
    started[1].wait(timeout=300)
    assert started[1].returncode == -signal.SIGKILL
    started[0].communicate(timeout=300)
    assert started[0].returncode not in (0, 75)
    ended(train(tmp_path / 'run', NO_EVALS))
    same(metrics(tmp_path / 'run'), metrics(folder / 'one'))
    assert metrics(tmp_path / 'run').keys() == {1, 2, 3, 4}


@pytest.mark.slow
def test_a_mistake_ends_all_processes(tmp_path):
    for _, err in ended(train(tmp_path / 'run', '--config.batch=6'), code=2):
        assert len([line for line in err.splitlines() if line.startswith('error: batch 6')]) == 1
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(tmp_path):
    flags = [NO_EVALS, '--config.steps=2000', '--config.checkpoint.every=0']
    started = train(tmp_path / 'run', *flags)
    for line in started[0].stdout:
        if line.startswith('step '):
            break
    started[1].send_signal(signal.SIGTERM)
    (out, _), _ = ended(started, code=75)
    (step,) = Checkpoints(tmp_path / 'run').steps()
    assert step % 10 == 0 and f'step {step} is saved' in out
