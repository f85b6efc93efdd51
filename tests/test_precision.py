"""config.dtype is that of the activations; params, statistics, averages and losses stay float32."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from ssljax import model, sharding, sweep
from ssljax.nets.layers import normalize
from ssljax.step import floats

QUICK = {'xla_backend_optimization_level': 0}  # what is compiled runs once or twice
PRODUCTS = ('dot_general', 'conv_general_dilated')


def products(jaxpr):
    """The dtypes that each matrix product and convolution takes, inner jaxprs' included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            yield {v.aval.dtype.name for v in equation.invars}
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.slow
@pytest.mark.parametrize('method', jobs.METHODS)
def test_bfloat16(method):
    """Every kernel is multiplied in bfloat16, and nothing that lasts is kept in it."""
    one, half = jobs.smoke(method), jobs.job(method, dtype='bfloat16')
    assert jax.tree.map(str, half.shapes) == jax.tree.map(str, one.shapes)
    acting, key = max(jobs.acting_sets(one), key=len), one.key(model.STEP)
    _, expected = one.step()(one.fresh(), jobs.batch(one, 0), key, acting)
    state, seen = one.fresh(), []
    traced = half.step().trace(state, jobs.batch(half, 0), key, acting)
    step = traced.lower().compile(compiler_options=QUICK)
    for i in range(2):
        state, metrics = step(state, jobs.batch(half, i), key)
        seen.append(jax.device_get(metrics))

    paths = jax.tree_util.tree_leaves_with_path(one.shapes.params)
    moved = {net for turn in acting for net in one.method.turns[turn].moves or one.shapes.params}
    holds = [held for turn in one.method.turns.values() for held in turn.holds.items()]
    moved -= {net for net, when in holds if all(map(when, range(one.run.steps)))}
    kernels = [path for path, _ in paths if path[-1].key == 'kernel' and path[0].key in moved]
    cast = [kinds for kinds in products(traced.jaxpr.jaxpr) if 'bfloat16' in kinds]
    assert len(cast) >= 2 * len(kernels), 'forward, and for one gradient at least'
    for path, leaf in jobs.leaves(state).items():
        assert leaf.dtype in (np.float32, np.int32, np.uint32, bool), f'{path} {leaf.dtype}'
        assert np.isfinite(leaf).all(), path
    for name, value in expected.items():
        assert np.isfinite(seen[0][name]) and np.isfinite(seen[1][name]), name
        if name.endswith(('/loss', '/gradient_norm')):
            assert seen[0][name].dtype == np.float32, name
            np.testing.assert_allclose(seen[0][name], value, rtol=0.03, atol=1e-3, err_msg=name)

    rows = floats(jobs.batch(half, 0))
    for name, readout in half.method.readouts.items():
        read = jax.jit(functools.partial(readout, key), compiler_options=QUICK)
        for leaf in jax.tree.leaves(read(state, rows)):
            assert np.isfinite(np.asarray(leaf, np.float32)).all(), name


class Norm(nn.Module):
    kind: str

    @nn.compact
    def __call__(self, x):
        return normalize(x, self.kind, train=True, dtype=jnp.bfloat16)


@pytest.mark.parametrize(
    'kind, axes', [('batch', 0), ('layer', (1, 2)), ('instance', 1), ('token', 2), ('rms', 2)]
)
def test_statistics_are_of_float32(kind, axes):
    """Sums of thousands of bfloat16 numbers, taken in it, would stop growing at 256."""
    x = 3 + np.random.default_rng(0).normal(size=(64, 64, 256))
    x = x.reshape(-1, 256) if kind == 'batch' else x
    x = jnp.asarray(x, jnp.bfloat16)
    y, state = Norm(kind).init_with_output(jax.random.key(0), x)
    exact = np.asarray(x, np.float64)
    mean = 0 if kind == 'rms' else exact.mean(axes, keepdims=True)
    expected = (exact - mean) / np.sqrt(((exact - mean) ** 2).mean(axes, keepdims=True) + 1e-5)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=2**-8, atol=1e-3)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))
    if kind == 'batch':
        _, state = Norm(kind).apply(state, x, mutable=['batch_stats'])
        running = state['batch_stats']['BatchNorm_0']['mean']
        assert running.dtype == jnp.float32
        np.testing.assert_allclose(running / 0.1, exact.mean(0), rtol=1e-4)


def test_readouts_leave_a_sweep_as_float32():
    """Evaluators are written in NumPy and scikit-learn, which know no bfloat16."""
    mesh = sharding.mesh(devices=jax.devices()[:1])

    def readout(key, state, batch):
        return {'h': batch['x'].astype(jnp.bfloat16), 'label': batch['label']}

    rows = {'x': np.linspace(-1, 1, 6, dtype='f')[:, None], 'label': np.arange(6)}
    found = sweep.Sweep(mesh, jax.random.key(0), chunk=4).over(readout, None, rows)
    assert found['h'].dtype == np.float32 and found['label'].dtype == np.int32
    np.testing.assert_allclose(found['h'], rows['x'], atol=2**-8)
