"""Stopped anywhere and started again = never stopped, bit for bit, through the real loop."""

import json
import os
import re
import shutil
import signal

import jax
import jobs
import numpy as np
import pytest
from kill import final, killed

from ssljax import resolve, sharding, train, watch
from ssljax.checkpoint import Checkpoints
from ssljax.job import make
from ssljax.watch import Diverged


@pytest.fixture(scope='module', autouse=True)
def shared():
    with pytest.MonkeyPatch.context() as patch:
        jobs.share(patch)
        yield


every_method = pytest.mark.parametrize('method', jobs.METHODS)


def settings(method, **changes):
    """Each step saved and logged, nothing evaluated."""
    found = jobs.settings(method, **{'checkpoint.every': 1, 'checkpoint.keep': 99, 'log.every': 1})
    found['log']['tensorboard'] = False
    return {**found, 'evals': {}, **changes}


def metrics(workdir):
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    speed = ('seconds', 'cpu_seconds', 'examples_per_second', 'waiting', 'seconds_left')
    return [{k: v for k, v in line.items() if k not in speed} for line in lines]


@pytest.mark.slow
@every_method
def test_resumed_is_never_stopped(method, tmp_path):
    found = settings(method)
    whole, workdir = tmp_path / 'whole', tmp_path / 'stopped'
    train.train(found, whole)
    shutil.copytree(whole, workdir)
    for step in Checkpoints(workdir).steps():
        if step > 1:
            shutil.rmtree(workdir / 'checkpoints' / str(step))
    with (workdir / 'metrics.jsonl').open('a') as file:
        file.write('{"step": 3, "net/l')  # torn by the kill
    train.train(found, workdir)
    assert not jobs.differing(final(whole), final(workdir))
    assert metrics(workdir) == metrics(whole)


@pytest.mark.slow
def test_kill_9_at_random_moments(tmp_path):
    """A real process, shot twice, then the same command again."""
    lost = killed('gpt', tmp_path, steps=60, seed=0, kills=2)
    assert lost['kills'] == 2
    assert not lost['differing']


@pytest.mark.slow
def test_the_loop_on_one_device_is_the_loop_on_eight(tmp_path, monkeypatch):
    """Same batches, same keys, same losses: the number of devices is not part of a run."""
    found, real = jobs.sgd(settings('gpt')), sharding.mesh
    for name, count in (('many', 8), ('one', 1)):
        few = dict(devices=jax.devices()[:count])
        monkeypatch.setattr(sharding, 'mesh', lambda few=few, **axes: real(**axes | few))
        train.train({**found, 'mesh': dict(data=count, fsdp=1, tensor=1, big=16)}, tmp_path / name)
    one, many = metrics(tmp_path / 'one'), metrics(tmp_path / 'many')
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        np.testing.assert_allclose(a['decoder/loss'], b['decoder/loss'], rtol=1e-5)


def test_a_finished_run_is_not_trained_again(tmp_path, capsys):
    found = settings('gpt')
    train.train(found, tmp_path)
    before = (tmp_path / 'metrics.jsonl').read_text()
    train.train(found, tmp_path)
    assert 'going on from step 4 of 4' in capsys.readouterr().out
    assert (tmp_path / 'metrics.jsonl').read_text() == before


def test_nan_stops_the_run_names_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    found = settings('gpt', steps=8)
    # small steps, and from the fourth on enormous ones
    steps = dict(name='sgd', learning_rate=0.01, shape='step', drops=(0.3,), factor=1e32)
    found = resolve.resolve({**found, 'optim': {'decoder': steps}})
    with pytest.raises(
        Diverged, match=r'decoder/loss is (nan|inf) at step \d|not finite after step'
    ):
        train.train(found, tmp_path)
    store = Checkpoints(tmp_path)
    # its save was under way when the loss of step 5 was seen, and is finished all the same
    assert store.steps()[0] == 4
    shapes = make(found, jax.devices()[:1]).shapes
    for leaf in jax.tree.leaves(store.restore(shapes, repair=False).params):
        assert jax.numpy.isfinite(leaf).all()


def test_divergence_is_one_line_that_names_the_step_and_the_checkpoint(tmp_path, capsys):
    optimizer = {'decoder': {'name': 'sgd', 'learning_rate': 1e30}}
    flags = [f'--config={jobs.ROOT}/configs/gpt.py:smoke', f'--workdir={tmp_path}/run']
    flags += [f'--config.optim={optimizer}', '--config.checkpoint.every=1', '--config.steps=8']
    assert train.main(flags) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(r'error: .* step \d.*(last good checkpoint is step|no checkpoint yet)', line)


def test_sigterm_saves_and_exits_75(tmp_path, capsys, monkeypatch):
    found = settings('gpt', steps=50)
    found['checkpoint'] = dict(every=0, keep=2, keep_every=0)
    real = watch.Window.add

    def add(self, values):
        real(self, values)
        if self.next == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(watch.Window, 'add', add)
    assert train.train(found, tmp_path) == 75
    assert 'step 7 is saved' in capsys.readouterr().out
    assert Checkpoints(tmp_path).steps() == [7]
    monkeypatch.undo()
    assert train.train(found, tmp_path) == 0
    assert Checkpoints(tmp_path).steps()[0] == 50


def test_data_that_changed_is_refused_on_resume(tmp_path):
    found = settings('gpt')
    train.train(found, tmp_path)
    run = json.loads((tmp_path / 'run.json').read_text())
    run['data']['fingerprint'] = 'another'
    (tmp_path / 'run.json').write_text(json.dumps(run))
    with pytest.raises(train.Mistake, match='fingerprint'):
        train.train(found, tmp_path)
