"""An energy-based model, restated from Du and Mordatch 2019, arXiv:1903.08689: equation 1, section
3.3 and algorithm 1."""

import functools
import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax.methods import energy as method
from ssljax.names import Mistake

RANDOM = np.random.default_rng(1)
NOISE = RANDOM.normal(size=(16, 8, 8, 1)).astype(np.float32)  # omega and blur
START = RANDOM.uniform(size=(16, 8, 8, 1)).astype(np.float32)  # fresh samples, in [0, 1)
normal, uniform = jax.random.normal, jax.random.uniform
OTHER = {'model__clip': 0.0, 'model__reach': 0.7, 'model__noise': 0.05, 'model__steps': 3,
         'model__blur': 0.0, 'model__penalty': 2.0, 'model__fresh': 0.0,
         'model__rate': 3.0}  # fmt: skip
CLIPPED = {'model__clip': 0.002, 'model__rate': 40.0, 'model__noise': 0.02, 'model__fresh': 0.5,
           'model__reach': 0.8}  # fmt: skip
POINTS = {'data': "{'name': 'density', 'kind': 'gaussians'}", 'model__reach': 3.0, 'evals': "{}",
          'model__encoder': "{'name': 'mlp', 'dims': (8,), 'activation': 'silu'}"}  # fmt: skip


def fixed_normal(key, shape=(), *rest, **options):
    """In place of jax.random.normal: what is drawn inside a scan is not recorded."""
    return (
        jnp.asarray(NOISE) if tuple(shape) == NOISE.shape else normal(key, shape, *rest, **options)
    )


def fixed_uniform(key, shape=(), dtype=None, minval=0.0, maxval=1.0):
    if tuple(shape) != START.shape:
        return uniform(key, shape, minval=minval, maxval=maxval)
    return minval + (maxval - minval) * jnp.asarray(START)


def drawn():
    return (
        mock.patch.object(jax.random, 'normal', fixed_normal),
        mock.patch.object(jax.random, 'uniform', fixed_uniform),
    )


@functools.cache
def see(changes=()):
    one, two = drawn()
    with one, two:
        return oracle.see.__wrapped__('energy', **dict(changes))


def energy(seen, params, x):
    """E(x) [B]: a linear layer over the encoder's features."""
    features = seen.nets('encoder')(params).encoder(x).reshape(len(x), -1)
    dense = params['energy']['Dense_0']
    return (features @ dense['kernel'] + dense['bias'])[:, 0]


def langevin(seen, params, x, noise):
    """Equation 1 with noise of its own size; images stay images."""
    c = seen.config
    for _ in range(c['steps']):
        slope = jax.grad(lambda x: energy(seen, params, x).sum())(x)
        if c['clip']:
            slope = jnp.clip(slope, -c['clip'], c['clip'])
        x = jnp.clip(x - c['rate'] / 2 * slope + c['noise'] * noise, -c['reach'], c['reach'])
    return x


def chains(seen):
    """Where each of the 16 samples would be from each of the 64 kept ones, and from noise."""
    old, reach = seen.state.memory['replay'], seen.config['reach']
    starts = np.concatenate([np.repeat(old[:, None], 16, 1), (2 * START[None] - 1) * reach])
    flat = starts.reshape(-1, 8, 8, 1)
    noise = np.tile(NOISE, (65, 1, 1, 1))
    run = lambda params: langevin(seen, params, flat, noise)  # noqa: E731
    return oracle.quick(run, seen.state.params).reshape(65, 16, 8, 8, 1)


@pytest.mark.parametrize('changes', [{}, OTHER, CLIPPED])
def test_the_loss(changes):
    """Energies of data minus those of samples, and the squares of both (section 3.3)."""
    seen = see(tuple(changes.items()))
    c, asked = seen.config, [call.args[0] for call in seen.calls if call.net == 'encoder']
    data = seen.batch['x'] + c['blur'] * NOISE
    real = [np.allclose(x, data, atol=1e-5) for x in asked]
    assert sorted(real) == [False, True]
    fake = asked[real.index(False)]
    old, new, ends = seen.state.memory['replay'], seen.memory['replay'], chains(seen)
    far = np.abs(ends - fake).max((2, 3, 4))  # [from, sample]
    assert far.min(0).max() < 1e-5 and ((far < 1e-4).sum(0) == 1).all()
    start, written = far.argmin(0), np.abs(new - old).max((1, 2, 3)) > 0
    kept = start < 64
    low, high = {0.0: (0, 0), 0.25: (1, 7), 0.5: (5, 11)}[c['fresh']]
    assert low <= (~kept).sum() <= high and len(set(start[kept])) == kept.sum()
    # a sample goes back to where it was taken from; one from noise, in the place of another
    np.testing.assert_array_equal(new[start[kept]], fake[kept])
    assert written.sum() == 16 and seen.memory.keys() == {'replay'}
    assert {row.tobytes() for row in new[written]} == {row.tobytes() for row in fake}

    def loss(params):
        real, made = energy(seen, params, data), energy(seen, params, fake)
        value = (real - made + c['penalty'] * (real**2 + made**2)).mean()
        return value, (value, {'real': real.mean(), 'fake': made.mean()})

    gradient, (value, logs) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, logs)
    oracle.close(seen.gradient, gradient)  # none goes through the steps


def test_the_start_and_defaults():
    """Appendix A: 60 steps of 10, noise of 0.005, ten thousand kept of which 5% start anew."""
    state = see(tuple(CLIPPED.items())).job.fresh()
    first = np.asarray(state.memory['replay'])  # uniform noise
    assert np.abs(first).max() < 0.8 and abs(first.std() * 3**0.5 / 0.8 - 1) < 0.05
    assert len(np.unique(first)) > 0.99 * first.size and abs(first.mean()) < 0.1
    keywords = inspect.signature(method.energy).parameters
    paper = dict(steps=60, rate=10, noise=0.005, replay=10000, fresh=0.05, penalty=1, blur=0)
    assert {name: keywords[name].default for name in paper} == paper
    assert see().job.method.by_rows == ('replay',)
    with pytest.raises(Mistake, match='norm'):  # an energy depends on no other row
        jobs.job('energy', model__encoder__norm='batch')
    with pytest.raises(Mistake, match='replay'):
        jobs.job('energy', model__replay=15)


def test_readouts():
    """A sample is a kept one after as many steps as in training."""
    seen = see()
    params, ask = seen.state.params, seen.job.method.readouts
    one, two = drawn()
    with one, two:
        found = oracle.quick(
            lambda *given: {name: ask[name](*given) for name in ask},
            jax.random.key(1),
            seen.state,
            seen.batch,
        )
    sample = found.pop('sample')

    def restated(x):
        features = seen.nets('encoder')(params).encoder(x)
        return {'encode': features.reshape(len(x), -1), 'free_energy': energy(seen, params, x)}

    oracle.close(found, oracle.quick(restated, seen.batch['x']))
    far = np.abs(chains(seen)[:64] - sample).max((2, 3, 4))
    assert far.min(0).max() < 1e-5 and len(set(far.argmin(0))) > 8


def test_log_prob_of_points():
    """Its integral over the square of side 2 reach is one; another grid says the same."""
    job = jobs.job('energy', **POINTS)
    state = oracle.moved(job, 1)
    ask = job.method.readouts
    at = (np.arange(240) + 0.5) / 40 - 3
    x = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2).astype(np.float32)

    def both(x):
        given = jax.random.key(1), state, {'x': x}
        return ask['log_prob'](*given), ask['free_energy'](*given)

    log_p, e = map(np.float64, oracle.quick(both, x))
    assert np.ptp(e) > 0.5
    np.testing.assert_allclose(np.exp(log_p).sum() / 40**2, 1, atol=2e-3)
    np.testing.assert_allclose(log_p + e, (log_p + e)[0], atol=1e-4)
    out = {'x': np.float32([[0, 3.1], [-3.1, 0]])}
    assert np.isneginf(ask['log_prob'](jax.random.key(1), state, out)).all()
    assert 'log_prob' not in see().job.method.readouts
