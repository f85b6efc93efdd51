"""Two processes of two devices are one process of four: training, resumption, evaluation."""

import json
import os
import re
import signal
import subprocess
import sys

import jax
import jobs
import numpy as np
import pytest

from launch.local import free_port
from ssljax import sharding, train
from ssljax.checkpoint import Checkpoints, read

pytestmark = pytest.mark.xdist_group('processes')  # they share `runs`
FLAGS = [
    "--config.optim.net={'name': 'sgd', 'learning_rate': 0.02}",
    '--config.checkpoint.every=2',
    '--config.log.every=1',
    '--config.log.tensorboard=False',
]
EVALS = "--config.evals={'knn': {'k': 5, 'picture': False, 'whiten': False}}"
NO_EVALS = '--config.evals={}'


def launch(workdir, *flags, program=('-m', 'ssljax.train')):
    """Starts two processes of two devices; they compile as the tests do."""
    port = free_port()
    options = re.sub('device_count=8', 'device_count=2', os.environ['XLA_FLAGS'])
    config = [f'--config={jobs.ROOT}/configs/simclr.py:smoke', f'--workdir={workdir}']
    started = []
    for i in range(2):
        environment = {
            **os.environ, 'PYTHONPATH': str(jobs.ROOT), 'XLA_FLAGS': options,
            'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2',
            'JAX_PROCESS_ID': str(i),
        }  # fmt: skip
        command = [sys.executable, *program, *config, *FLAGS, *flags]
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
    """The same run by two processes of two devices, and by this one on four devices."""
    folder, real = tmp_path_factory.mktemp('processes'), sharding.mesh
    outs = ended(launch(folder / 'two', EVALS))
    flags = [f'--config={jobs.ROOT}/configs/simclr.py:smoke', f'--workdir={folder / "one"}']
    with pytest.MonkeyPatch.context() as patch:
        four = dict(devices=jax.devices()[:4])
        patch.setattr(sharding, 'mesh', lambda **axes: real(**axes | four))
        assert train.main([*flags, *FLAGS, EVALS]) == 0
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


# the second process is shot after step 3, when step 2 is saved; the first need not wait for 100 s
DIES = """
import functools, os, pathlib, signal, sys, time
import jax
from ssljax import cli, train, watch
jax.distributed.initialize = functools.partial(
    jax.distributed.initialize, heartbeat_timeout_seconds=20
)
add, workdir = watch.Window.add, pathlib.Path(sys.argv[2].removeprefix('--workdir='))
def dying(self, metrics):
    add(self, metrics)
    if self.next == 3 and jax.process_index() == 1:
        while not (workdir / 'checkpoints/2').exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
watch.Window.add = dying
sys.exit(cli.guarded(lambda: train.main(sys.argv[1:])))
"""


@pytest.mark.slow
def test_a_process_that_is_killed_ends_all_and_the_same_command_ends_as_if_it_had_not(
    runs, tmp_path
):
    """Bit for bit: params, memory, optimizers, metrics. What two processes wrote is read here."""
    folder, _ = runs
    started = launch(tmp_path / 'run', NO_EVALS, program=('-c', DIES))
    started[1].wait(timeout=300)
    assert started[1].returncode == -signal.SIGKILL
    started[0].communicate(timeout=300)
    assert started[0].returncode not in (0, 75)
    (out, _), _ = ended(launch(tmp_path / 'run', NO_EVALS))
    assert 'going on from step 2 of 4' in out
    assert Checkpoints(tmp_path / 'run').steps() == [4, 2]
    (step, again), (last, alone) = read(tmp_path / 'run'), read(folder / 'two')
    assert step == last == 4 and set(again) == {'step', 'params', 'memory', 'opt'}
    assert not jobs.differing(again, alone)
    again, alone = metrics(tmp_path / 'run'), metrics(folder / 'two')
    assert again.keys() == alone.keys() == {1, 2, 3, 4}
    for step in again:
        assert again[step]['net/loss'] == alone[step]['net/loss']


@pytest.mark.slow
def test_a_mistake_ends_all_processes(tmp_path):
    for _, err in ended(launch(tmp_path / 'run', '--config.batch=6'), code=2):
        assert len([line for line in err.splitlines() if line.startswith('error: batch 6')]) == 1
    assert not (tmp_path / 'run').exists()


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_one_step(tmp_path):
    flags = [NO_EVALS, '--config.steps=2000', '--config.checkpoint.every=0']
    started = launch(tmp_path / 'run', *flags)
    for line in started[0].stdout:
        if line.startswith('step '):
            break
    started[1].send_signal(signal.SIGTERM)
    (out, _), _ = ended(started, code=75)
    (step,) = Checkpoints(tmp_path / 'run').steps()
    assert step % 10 == 0 and f'step {step} is saved' in out
