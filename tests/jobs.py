"""What the tests of the core share: small jobs of every method, run for a few steps."""

import atexit
import functools
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import config, model, resolve, train
from ssljax import job as job_of
from ssljax.checkpoint import Checkpoints
from ssljax.job import make
from ssljax.readouts import READOUTS
from ssljax.sharding import path_name
from ssljax.step import floats

ROOT = Path(__file__).parents[1]
METHODS = sorted(p.stem for p in (ROOT / 'ssljax/methods').glob('*.py') if p.stem != '__init__')


def settings(method, variant='smoke', **changes):
    """The resolved config; changes={'optim.net.name': 'sgd'} as on the command line."""
    changes = [(name.replace('__', '.'), str(value)) for name, value in changes.items()]
    found = resolve.resolve(f'{ROOT}/configs/{method}.py:{variant}', changes)
    if 'needs=' in (ROOT / f'ssljax/methods/{method}.py').read_text() and not found['graft']:
        found['graft'] = grafts(json.dumps(config.as_json(found), sort_keys=True))
    return found


@functools.cache
def grafts(text):
    """For a method that needs parts of another run: those of a saved state of its own, moved."""
    found = config.plain(json.loads(text))
    one = make(found, jax.devices()[:1])
    state, random = one.start(one.key(model.INIT), batch(one, 0)), np.random.default_rng(1)

    def move(leaf):
        noise = random.normal(size=leaf.shape).astype(np.float32)
        # of a fixed size: a variance stays above zero
        return leaf + 0.1 * np.abs(noise) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    folder = Path(tempfile.mkdtemp(prefix='grafted'))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    store = Checkpoints(folder)
    store.save(one.placed(jax.tree.map(move, state)), one.config)
    store.close()
    held = leaves(one.shapes)
    return {
        path: f'{folder}:{path}'
        for path in one.method.needs
        if any(name.startswith(f'{path}/') for name in held)
    }


def job(method, variant='smoke', devices=1, **changes):
    found = settings(method, variant, **changes)
    return make(found, jax.devices()[:devices])


@functools.lru_cache(maxsize=1)  # tests of one method follow one another
def smoke(method):
    """The smoke job of a method on one device, for tests that change nothing of it."""
    return job(method)


def share(patch):
    """Until the patch ends, runs that train alike share a job and a model, compiled once.

    For tests of what stands around the step; that one compiled again gives the same bits is shown
    by those that start processes.
    """
    made, make, checked, build = {}, job_of.make, job_of.checked, model.build

    def once(function, settings, *given):
        own = {k: v for k, v in settings.items() if k not in ('evals', 'log', 'checkpoint')}
        name = json.dumps(config.as_json(own), sort_keys=True), repr(given)
        if name not in made:
            made[name] = function(settings, *given)
        return made[name]

    def shared(settings, devices=None):
        one = once(lambda *given: checked(make(*given)), settings, devices)
        return one._replace(config=dict(settings), evals=settings['evals'])

    patch.setattr(job_of, 'make', shared)
    patch.setattr(job_of, 'checked', lambda one: one)
    patch.setattr(model, 'build', functools.partial(once, build))


def sgd(found):
    """With plain SGD: Adam turns rounding in near-zero gradients into whole steps."""
    spec = dict(name='sgd', learning_rate=0.02, momentum=0.9)
    return resolve.resolve({**found, 'optim': {turn: spec for turn in found['optim']}})


def batch(job, k):
    with job.batches(k, k + 1) as batches:
        return next(batches)[1]


def run(job, steps, state=None, step=None):
    """-> state and the metrics of each step, on the host."""
    state, step, seen = job.fresh() if state is None else state, step or job.step(), []
    sweep = job.sweep(purpose=model.REFRESH)
    for i in range(int(state.step), int(state.step) + steps):
        if job.method.refresh and job.method.refresh.when(i):
            state, _ = train.refresh(job, state, i, sweep)
        state, metrics = step(state, batch(job, i), job.key(model.STEP), job.acting(i))
        seen.append(jax.device_get(metrics))
    return jax.block_until_ready(state), seen


def leaves(tree) -> Mapping[str, np.ndarray]:
    """{'params/encoder/...': host array}."""
    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {path_name(path): np.asarray(leaf) for path, leaf in pairs}


def differing(a, b) -> list[str]:
    """Paths of leaves that are not equal bit for bit."""
    a, b = leaves(a), leaves(b)
    assert a.keys() == b.keys()
    return [path for path in a if not np.array_equal(a[path], b[path])]


def options(readout: str) -> Mapping[str, object]:
    """What a readout of this name has to be asked with."""
    return READOUTS[readout].options if readout in READOUTS else {}


def traced_refresh(job):
    """(key, state) -> state and metrics: the rule of the refresh, over sweeps of blank rows."""
    rows = {k: np.zeros((job.run.examples, *v.shape), v.dtype) for k, v in job.run.row.items()}
    rows['index'] = np.arange(job.run.examples, dtype=np.int32)

    def rule(key, state):
        batch = {k: jnp.asarray(v) for k, v in floats(rows).items()}

        def sweep(readout, state, **options):
            return readout(jax.random.fold_in(key, 2**31 - 1), state, batch, **options)

        sweep.batch = batch
        return job.method.refresh.rule(key, state, sweep)

    return rule


def acting_sets(job) -> list[tuple[str, ...]]:
    found = {job.acting(i): None for i in range(job.config['steps'])}
    return list(found)
