"""A model opens from its workdir alone: data gone, other devices, another place."""

import json
import os
import shutil
import subprocess
import sys

import jax
import jobs
import numpy as np
import pytest

import ssljax
from ssljax import config, reopen, resolve, sealed, train
from ssljax.names import Mistake

pytestmark = pytest.mark.xdist_group('reopen')  # they share `pod`
OPEN = """
import pathlib, sys, jax, numpy as np, ssljax
from ssljax.checkpoint import read
assert jax.device_count() == 1
model = ssljax.load(sys.argv[1])
np.save(sys.argv[2], model.encode(np.load(sys.argv[3])))
assert not model.state.opt and model.step == 4
step, tree = read(pathlib.Path(sys.argv[1]))  # as a graft does
assert step == 4 and {type(x) for x in jax.tree.leaves(tree)} == {np.ndarray}
"""


def saved(path, count=48):
    """A data set of the user's own."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (count, 16, 16, 1), np.uint8)
    np.savez(path, x=x, label=random.integers(0, 3, count))
    return x


@pytest.fixture(scope='module')
def pod(tmp_path_factory):
    """A run cut over eight devices by FSDP, on data that are gone; features of some rows."""
    folder = tmp_path_factory.mktemp('pod')
    x = saved(folder / 'rows.npz')
    data = {'name': 'arrays', 'path': str(folder / 'rows.npz')}
    encoder = {'name': 'conv', 'widths': (8, 16), 'norm': 'batch'}
    settings = jobs.settings('simclr', **{
        'data': data, 'model.encoder': encoder, 'model.view.shift': 2.0, 'log.tensorboard': False,
        'mesh.data': 1, 'mesh.fsdp': 8, 'mesh.big': 16,
    })  # fmt: skip
    assert train.train({**settings, 'evals': {}}, folder / 'run') == 0
    (folder / 'rows.npz').unlink()
    model = ssljax.load(folder / 'run')
    return folder / 'run', x[:5], model.encode(x[:5])


def test_a_pods_run_opens_on_one_device_without_its_data_and_elsewhere(pod, tmp_path):
    workdir, x, h = pod
    moved = shutil.copytree(workdir, tmp_path / 'moved')
    np.save(tmp_path / 'x.npy', x)
    files = [str(tmp_path / name) for name in ('h.npy', 'x.npy')]
    environment = {
        **os.environ, 'XLA_FLAGS': '', 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(jobs.ROOT)
    }  # fmt: skip
    subprocess.run(
        [sys.executable, '-c', OPEN, str(moved), *files], check=True, env=environment, cwd=tmp_path
    )
    np.testing.assert_allclose(np.load(tmp_path / 'h.npy'), h, rtol=1e-4, atol=1e-4)


def test_the_facts_of_a_run_survive_json(pod):
    run = json.loads((pod[0] / 'run.json').read_text())
    facts = reopen.facts(run['facts'], pod[0])
    assert facts.row['x'] == jax.ShapeDtypeStruct((16, 16, 1), np.uint8)
    assert facts.classes == 3 and facts.class_names == ('0', '1', '2') and facts.examples == 48
    assert config.as_json(reopen.facts_as_json(facts)) == run['facts']


def test_a_run_of_an_earlier_version_says_what_to_type(pod, tmp_path):
    workdir = shutil.copytree(pod[0], tmp_path / 'run')
    run = json.loads((workdir / 'run.json').read_text())
    del run['facts']
    (workdir / 'run.json').write_text(json.dumps(run))
    with pytest.raises(Mistake, match='earlier version.*the command that trained it'):
        ssljax.load(workdir)


def resealed(workdir, change):
    """The config in the checkpoint, changed as one that was written so."""
    (step,) = (workdir / 'checkpoints').iterdir()
    written = json.loads((step / 'config/metadata').read_text())
    change(written)
    (step / 'config/metadata').write_text(json.dumps(written))
    sealed.seal(step, int(step.name))


def lacks(config):
    del config['model']['block'], config['mesh'], config['accumulate']


@pytest.mark.parametrize(
    'spoil, pattern',
    [
        (lambda run: run['config']['model'].update(chill=1), r"run.json was made.*'chill'.*train"),
        (lambda run: run['config'].update(batch=8), r'checkpoints/4 was written.*batch: 16 -> 8'),
        (lambda run: run.pop('config'), "run.json has no 'config'; put a copy"),
        (lambda run: run['facts'].pop('batch'), 'run.json is of another version.*batch'),
        (lambda run: run['facts'].update(moon=1), 'run.json is of another version.*moon'),
        (None, 'run.json is torn or damaged.*put a copy'),
    ],
)
def test_a_run_json_that_does_not_fit_is_one_line(pod, tmp_path, spoil, pattern):
    workdir = shutil.copytree(pod[0], tmp_path / 'run')
    run = json.loads((workdir / 'run.json').read_text())
    if spoil:
        spoil(run)
    text = json.dumps(run)
    (workdir / 'run.json').write_text(text if spoil else text[: len(text) // 2])
    with pytest.raises(Mistake, match=pattern) as mistake:
        ssljax.load(workdir)
    assert '\n' not in str(mistake.value)


def test_an_option_that_an_old_run_lacks_is_its_default(pod, tmp_path):
    workdir = shutil.copytree(pod[0], tmp_path / 'run')
    run = json.loads((workdir / 'run.json').read_text())
    lacks(run['config'])
    (workdir / 'run.json').write_text(json.dumps(run))
    resealed(workdir, lacks)
    _, x, h = pod
    np.testing.assert_array_equal(ssljax.load(workdir).encode(x), h)
    resealed(workdir, lambda config: config['model'].update(chill=1))
    with pytest.raises(Mistake, match="checkpoints/4 was made by another version.*'chill'"):
        ssljax.load(workdir)


def test_fit_trains_goes_on_and_opens(tmp_path):
    changes = dict(evals={}, log__tensorboard=False, optim__net__learning_rate=0.01)
    model = ssljax.fit('simclr:smoke', tmp_path / 'run', **changes)
    assert model.step == 4
    before = (tmp_path / 'run/metrics.jsonl').read_text()
    again = ssljax.fit(resolve.resolve('simclr:smoke'), tmp_path / 'run', **changes)
    assert (tmp_path / 'run/metrics.jsonl').read_text() == before
    images = np.zeros((2, 32, 32, 1), np.uint8)
    np.testing.assert_array_equal(again.encode(images), model.encode(images))
    run = json.loads((tmp_path / 'run/run.json').read_text())
    assert run['config']['optim']['net']['learning_rate'] == 0.01
    with pytest.raises(Mistake, match='another config: batch'):
        ssljax.fit('simclr:smoke', tmp_path / 'run', batch=8, **changes)


def test_a_state_of_another_seed_or_place_is_the_same_model(pod):
    """What a model draws is a function of its run's seed, not of the devices."""
    workdir, x, _ = pod
    model = ssljax.load(workdir)
    assert model.mesh.shape['data'] == jax.device_count()
    other = model.at(model.state)
    assert other.sweep is model.sweep and other.step == 4
