"""Real NVP, restated from Dinh et al. 2017, arXiv:1605.08803: equations 2 and 3, section 4.1.

What the layers of the flow do is restated in tests/test_nets_flow.py.
"""

import functools
import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

from ssljax import methods
from ssljax.nets import Nets

POINTS = {
    'data': "{'name': 'density', 'kind': 'gaussians'}",
    'model__flow': "{'name': 'flow_vector', 'couplings': 2, 'width': 4}",
    'evals__bound': 'none',
}
LEVEL = np.random.default_rng(1).random((16, 8, 8, 1), np.float32)  # a part of a level
CODES = np.random.default_rng(2).normal(size=(16, 64)).astype(np.float32)
points = functools.partial(oracle.see, 'realnvp', **POINTS)


def uniform(key, shape=(), dtype=None, minval=0.0, maxval=1.0):
    """In place of jax.random.uniform."""
    assert (minval, maxval) == (0, 1)
    return jnp.asarray(LEVEL).reshape(shape)


def normal(key, shape=(), dtype=None):
    """In place of jax.random.normal."""
    return jnp.asarray(CODES)[:, : shape[1]]


def levels(x):
    return np.round(127.5 * (np.asarray(x) + 1))


def of(seen, params):
    """The flow behind the logit, or that of points."""
    shape = seen.job.run.row['x'].shape
    nets, params = Nets(flow={**seen.config['flow'], 'shape': shape}), params['flow']
    return nets({'flow': params['layers_1'] if len(shape) == 3 else params}).flow


def normals(z):
    return -0.5 * (z**2 + jnp.log(2 * jnp.pi)).sum(1)


def log_mass(seen, params, y):
    """Of images y in [0, 1): z, and the log density less that of even levels, D log 256."""
    p = 0.1 + 0.8 * y  # alpha + (1 - 2 alpha) y
    x = jnp.log(p / (1 - p))
    slope = jnp.log(0.8 / (p * (1 - p))).sum((1, 2, 3))  # of x along y
    z, log_det = of(seen, params)(x)
    return z, normals(z) + log_det + slope - 64 * jnp.log(256.0)


@functools.cache
def restated():
    """(params, y) -> gradient, value and z; a loss in nats for each entry."""
    seen = oracle.see('realnvp')

    def loss(params, y):
        z, log_p = log_mass(seen, params, y)
        return -log_p.mean() / 64, (-log_p.mean() / 64, z, log_p)

    return jax.jit(jax.grad(loss, has_aux=True))


def test_the_loss():
    """Equations 2 and 3, of bytes with noise of one level: another for each entry."""
    seen = oracle.see('realnvp')
    ((y,),) = (call.args for call in seen.calls)
    part = np.float64(y) * 256 - levels(seen.batch['x'])
    assert part.min() > -1e-4 and part.max() < 1 + 1e-4 and len(np.unique(part.round(4))) > 900
    assert abs(part.mean() - 1 / 2) < 0.04 and abs(part.var() - 1 / 12) < 0.01
    gradient, (value, _, _) = restated()(seen.state.params, y)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient, 1e-3)
    oracle.close(seen.logs, {'bits_per_dim': value / np.log(2)})
    assert not seen.memory


def test_noise_is_another_in_each_step_or_none():
    seen = oracle.see('realnvp')
    for one, count in ((seen.job, 3), (jobs.job('realnvp', model__noise=False), 1)):
        value = jax.jit(one.method.turns['flow'].loss)
        found = [value(jax.random.key(i), seen.state, seen.batch)[0] for i in range(3)]
        assert len(set(map(float, found))) == count
    middle = (levels(seen.batch['x']) + 0.5) / 256
    oracle.close(found[0], restated()(seen.state.params, np.float32(middle))[1][0])


def test_points_have_a_density():
    """Nothing is known of their levels: no noise, no logit."""
    seen = points()
    ((x,),) = (call.args for call in seen.calls)
    np.testing.assert_array_equal(x, seen.batch['x'])

    def loss(params):
        z, log_det = of(seen, params)(seen.batch['x'])
        log_p = normals(z) + log_det
        return -log_p.mean() / 2, (log_p, z)

    gradient, (log_p, z) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, -log_p.mean() / 2)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.logs, {'bits_per_dim': -log_p.mean() / 2 / np.log(2)})
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state)

    def asked(batch, grid):
        return (
            ask['log_prob'](*given, batch),
            ask['encode'](*given, batch),
            ask['log_prob'](*given, grid),
        )

    side = np.linspace(-12, 12, 301, dtype=np.float32)
    grid = {'x': np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)}
    *found, on_grid = oracle.quick(asked, seen.batch, grid)
    oracle.close(found, [log_p, z])
    assert abs(np.exp(on_grid).sum() * (side[1] - side[0]) ** 2 - 1) < 0.01
    assert set(ask) == {'log_prob', 'encode', 'reconstruct', 'sample'}
    # a draw is the point whose code is drawn
    with mock.patch.object(jax.random, 'normal', normal):
        draw = jax.jit(ask['sample'], static_argnames='temperature')
        found = [draw(*given, seen.batch, temperature=heat) for heat in (1.0, 0.5)]
        found.append(draw(*given, seen.batch))
    code = jax.jit(lambda x: of(seen, seen.state.params)(x)[0])
    for x, heat in zip(found, (1, 0.5, 1)):
        oracle.close(code(x), heat * CODES[:, :2], 1e-3)


def test_readouts():
    seen = oracle.see('realnvp')
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    assert set(ask) == {'bound', 'encode', 'reconstruct', 'sample'}  # log P is not known exactly

    def asked(*given):
        return {name: ask[name](*given) for name in ask}

    def painted(z):
        x = of(seen, seen.state.params)(z, method='inverse')
        return (1 / (1 + jnp.exp(-x)) - 0.1) / 0.8

    with mock.patch.multiple(jax.random, uniform=uniform, normal=normal):
        found = oracle.quick(asked, *given)
    level = levels(seen.batch['x'])
    log_p = restated()(seen.state.params, (level + LEVEL) / 256)[1][2]
    oracle.close(found['bound'], log_p)
    middle = restated()(seen.state.params, np.float32((level + 0.5) / 256))[1][1]
    oracle.close(found['encode'], middle)
    oracle.close(found['reconstruct'], {'reconstruction': seen.batch['x']}, 1e-3)
    y = oracle.quick(painted, CODES)
    expected = np.clip(np.floor(256 * y), 0, 255)  # the level that y is in
    off = np.abs(127.5 * (found['sample'] + 1) - expected)
    assert (off > 0.01).mean() < 0.01 and 20 < len(np.unique(expected))


def test_the_first_batch_comes_out_standard():
    """Actnorm begins with the mean and deviation of the first batch, as the flow sees it."""
    job = oracle.see('realnvp').job
    x, params = jobs.floats(jobs.batch(job, 0))['x'], job.fresh().params
    z = restated()(params, (levels(x) + LEVEL) / 256)[1][1]
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02


def test_defaults():
    options = inspect.signature(methods.function('realnvp')).parameters
    assert options['alpha'].default == 0.05 and options['noise'].default is True
