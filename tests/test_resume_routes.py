"""Every route by which data come: left anywhere and gone on with = never left, bit for bit."""

import functools
import shutil

import directories
import jax
import jobs
import numpy as np
import pytest
import tfrecords

from ssljax import data, train
from ssljax.checkpoint import Checkpoints
from ssljax.data.batches import Batches
from ssljax.job import make

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), np.uint8)
GLYPHS = dict(name='glyphs', train=40, validation=9, test=9)


def written(folder, **options):
    """The images as a TFDS directory, in two files."""
    examples = [
        tfrecords.record(id=b'', image=tfrecords.encoded(x[..., 0]), label=i % 3)
        for i, x in enumerate(IMAGES)
    ]
    shards = dict(train=[examples[:23], examples[23:]], test=[examples[:2]])
    tfrecords.write(folder / 'own' / '1.0.0', shards, (32, 32, 1))
    return dict(name='tfds:own', dir=str(folder), loader='numpy', **options)


def photos(folder, **options):
    for i, x in enumerate(IMAGES):
        directories.put(folder, f'{"ab"[i % 2]}/{i}.png', x[..., 0])
    return dict(name=f'folder:{folder}', size=32, loader='numpy', test=0, validation=0, **options)


def saved(folder):
    np.savez(folder / 'own.npz', x=IMAGES, label=np.arange(40) % 3)
    return dict(name='arrays', path=str(folder / 'own.npz'))


def prose(folder, **options):
    (folder / 'own.txt').write_text('to be, or not to be: that is the question. ' * 20)
    return dict(name=f'text:{folder / "own.txt"}', length=9, validation=30, test=0.1, **options)


ROUTES = {
    'tfds numpy': lambda folder: written(folder, hold=0),
    'tfds held': written,
    'folder': lambda folder: photos(folder, hold=0),
    'folder held': photos,
    'arrays': saved,
    'embedded': lambda folder: 'digits',
    'drawn': lambda folder: GLYPHS,
    'text': prose,
    'bytes': lambda folder: prose(folder, symbols='bytes'),
    'two domains': lambda folder: dict(name='unpaired', x=GLYPHS, y=written(folder, hold=0)),
    'some labels': lambda folder: dict(name='few_labels', per_class=1, of=photos(folder, hold=0)),
}
SHAPED = ('tfds numpy', 'tfds held', 'folder', 'arrays', 'drawn', 'some labels')  # as GLYPHS are


@pytest.fixture(params=ROUTES)
def opened(request, tmp_path, monkeypatch):
    """The spec of a route, whose scans are kept beside it."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    (tmp_path / 'data').mkdir()
    return request.param, ROUTES[request.param](tmp_path / 'data')


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], strict=True)


def test_batches_go_on_and_are_shared_among_processes(opened):
    """By sources that were opened anew; of two processes each makes its rows."""
    _, spec = opened
    whole = dict(Batches(data.make(spec).splits['train'], seed=3, batch=8, stop=14))
    for start in (5, 13):
        later = list(
            Batches(data.make(spec).splits['train'], seed=3, batch=8, start=start, stop=14)
        )
        assert [k for k, _ in later] == list(range(start, 14))
        for k, rows in later:
            same(rows, whole[k])
    parts = [np.array([0, 1, 6]), np.array([2, 3, 4, 5, 7])]
    two = [
        dict(Batches(data.make(spec).splits['train'], seed=3, batch=8, stop=14, mine=mine))
        for mine in parts
    ]
    for k in whole:
        joined = {n: np.concatenate([one[k][n] for one in two]) for n in whole[k]}
        same(joined, {n: v[np.concatenate(parts)] for n, v in whole[k].items()})


@functools.cache
def trained():
    """One job for all routes, whose step is compiled once: it sees rows of one shape."""
    return make(
        jobs.settings('simclr', **{'data.train': 40, 'checkpoint.every': 1}), jax.devices()[:1]
    )


def test_training_goes_on_as_if_it_had_not_stopped(opened, tmp_path):
    name, spec = opened
    if name not in SHAPED:
        pytest.skip('its rows have another shape; its batches are the same, as asked above')
    log, ends, told = {**trained().config['log'], 'every': 1, 'tensorboard': False}, [], []
    for stopped in (False, True):
        source = data.make(spec)
        job = trained()._replace(source=source)
        job.config['data'] = {'name': name}
        workdir = tmp_path / 'run'
        workdir.mkdir(exist_ok=True)
        store = Checkpoints(workdir, every=1, keep=9)
        state = store.restore(job.shapes) if stopped else job.fresh()
        assert int(state.step) == (2 if stopped else 0)
        state, done = train.loop(job, state, store, workdir, **log)
        assert done and int(state.step) == 4
        ends.append(jax.device_get(state))
        lines = (workdir / 'metrics.jsonl').read_text().splitlines()
        told.append([line.partition('"seconds"')[0] for line in lines])
        for step in (3, 4):
            shutil.rmtree(workdir / 'checkpoints' / str(step))
    assert not jobs.differing(*ends)
    assert told[0] == told[1] and len(told[0]) == 4
