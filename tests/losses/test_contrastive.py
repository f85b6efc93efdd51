"""nt_xent and info_nce against their papers' formulas in float64, their limits and symmetries."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from scipy.special import logsumexp

from ssljax.losses import info_nce, nt_xent

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


needs_eight = pytest.mark.skipif(jax.device_count() < 8, reason='needs 8 (simulated) devices')


def rows(n=6, d=5):
    return random.normal(size=(2, n, d))


def nt_xent_paper(z1, z2, t):
    """Eq. 1, anchor by anchor, over the 2N views stacked."""
    n = len(z1)
    z = np.concatenate([z1, z2]).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    anchors = []
    for i in range(2 * n):
        others = [z[i] @ z[k] / t for k in range(2 * n) if k != i]
        anchors.append(logsumexp(others) - z[i] @ z[(i + n) % (2 * n)] / t)
    return (np.array(anchors[:n]) + np.array(anchors[n:])) / 2


def info_nce_paper(z1, z2, t):
    z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    scores = np.exp(z1 @ z2.T / t)
    return np.array([-np.log(row[i] / row.sum()) for i, row in enumerate(scores)])


PAPERS = [(nt_xent, nt_xent_paper), (info_nce, info_nce_paper)]
both = pytest.mark.parametrize('loss, paper', PAPERS)
each = pytest.mark.parametrize('loss', [nt_xent, info_nce])


@both
@pytest.mark.parametrize('t', [0.07, 0.5, 3.0])
def test_equals_the_paper(loss, paper, t):
    z1, z2 = rows()
    np.testing.assert_allclose(loss(z1, z2, temperature=t), paper(z1, z2, t), rtol=1e-5, atol=1e-6)


def test_by_hand():
    # orthogonal examples whose views agree; of the three others one has cosine 1 and two have 0
    z = jnp.eye(2)
    np.testing.assert_allclose(nt_xent(z, z, temperature=1.0), np.log(np.e + 2) - 1, rtol=1e-6)
    np.testing.assert_allclose(info_nce(z, z, temperature=1.0), np.log(np.e + 1) - 1, rtol=1e-6)


def test_defaults_are_the_papers():
    z1, z2 = rows()
    np.testing.assert_array_equal(nt_xent(z1, z2), nt_xent(z1, z2, temperature=0.5))
    np.testing.assert_array_equal(info_nce(z1, z2), info_nce(z1, z2, temperature=0.07))


@pytest.mark.parametrize('n', [1, 2, 7])
def test_nothing_told_apart_costs_the_log_of_the_choices(n):
    z = jnp.ones((n, 3))
    np.testing.assert_allclose(nt_xent(z, z), np.log(2 * n - 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(info_nce(z, z), np.log(n), rtol=1e-5, atol=1e-5)


@both
def test_gradient(loss, paper):
    z1, z2 = rows()
    grads = jax.grad(lambda z: loss(z[0], z[1], temperature=0.3).sum())(jnp.stack([z1, z2]))
    direction = random.normal(size=(2, *z1.shape))
    ahead, behind = (
        paper(z1 + s * direction[0], z2 + s * direction[1], 0.3) for s in (1e-5, -1e-5)
    )
    numerical = (ahead - behind).sum() / 2e-5
    np.testing.assert_allclose((grads * direction).sum(), numerical, rtol=1e-4)


@each
def test_order_and_length_of_rows_mean_nothing(loss):
    z1, z2 = rows()
    order = random.permutation(len(z1))
    value = loss(z1, z2)
    np.testing.assert_allclose(loss(z1[order], z2[order]), value[order], rtol=1e-5, atol=1e-5)
    lengths = np.exp(random.normal(size=(len(z1), 1)))
    np.testing.assert_allclose(loss(z1 * lengths, z2), value, rtol=1e-5, atol=1e-5)
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0]
    np.testing.assert_allclose(loss(z1 @ turn, z2 @ turn), value, rtol=1e-4, atol=1e-5)


def test_views_are_exchangeable_in_nt_xent_only():
    z1, z2 = rows()
    np.testing.assert_allclose(nt_xent(z1, z2), nt_xent(z2, z1), rtol=1e-6)
    assert np.abs(info_nce(z1, z2) - info_nce(z2, z1)).max() > 0.1


@each
@pytest.mark.parametrize(
    'case', ['zero rows', 'one row', 'two rows', 'equal', 'huge', 'tiny', 'cold']
)
def test_finite_where_it_degenerates(loss, case):
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in rows())
    t = 0.5
    if case == 'zero rows':
        z1, z2 = z1.at[0].set(0), z2 * 0
    elif case == 'equal':
        z1 = z2 = jnp.ones_like(z1)
    elif case in ('one row', 'two rows'):
        z1, z2 = (z[: 1 + (case == 'two rows')] for z in (z1, z2))
    elif case in ('huge', 'tiny'):
        z1, z2 = (z * (1e15 if case == 'huge' else 1e-15) for z in (z1, z2))
    else:
        t = 1e-4
    value, grads = jax.value_and_grad(
        lambda z: loss(z[0], z[1], temperature=t).mean(), allow_int=False
    )((z1, z2))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in grads)


@each
def test_float32_from_bfloat16(loss):
    z1, z2 = (jnp.asarray(z, jnp.bfloat16) for z in rows())
    value = loss(z1, z2)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, loss(z1.astype(jnp.float32), z2.astype(jnp.float32)))


@each
def test_jit_changes_nothing(loss):
    z1, z2 = rows()
    np.testing.assert_allclose(jax.jit(loss)(z1, z2), loss(z1, z2), rtol=1e-6, atol=1e-6)


def split(z1, z2):
    mesh = Mesh(np.array(jax.devices()[:8]), ('data',), axis_types=(AxisType.Auto,))
    return mesh, jax.device_put((z1, z2), NamedSharding(mesh, P('data')))


@needs_eight
@each
def test_eight_devices_under_jit(loss):
    z = jnp.asarray(rows(16), jnp.float32)
    objective = jax.value_and_grad(lambda z1, z2: loss(z1, z2).mean(), (0, 1))
    value, grads = objective(*z)
    _, parts = split(*z)
    value8, grads8 = jax.jit(objective)(*parts)
    np.testing.assert_allclose(value8, value, rtol=1e-5)
    np.testing.assert_allclose(grads8, grads, rtol=1e-4, atol=1e-6)


@needs_eight
@each
def test_eight_devices_under_shard_map(loss):
    z = jnp.asarray(rows(16), jnp.float32)
    mesh, parts = split(*z)

    def local(z1, z2):
        return loss(z1, z2, axis_name='data')

    whole = jax.shard_map(local, mesh=mesh, in_specs=P('data'), out_specs=P('data'))
    np.testing.assert_allclose(whole(*parts), loss(*z), rtol=1e-5, atol=1e-5)
    grads8 = jax.jit(jax.grad(lambda z: whole(*z).mean()))(parts)
    grads = jax.grad(lambda z: loss(*z).mean())(tuple(z))
    np.testing.assert_allclose(grads8, grads, rtol=1e-4, atol=1e-6)


@needs_eight
@each
def test_eight_devices_under_pmap(loss):
    z1, z2 = jnp.asarray(rows(16), jnp.float32)
    value = jax.pmap(lambda a, b: loss(a, b, axis_name='data'), axis_name='data')(
        z1.reshape(8, 2, -1), z2.reshape(8, 2, -1)
    )
    np.testing.assert_allclose(value.reshape(-1), loss(z1, z2), rtol=1e-5, atol=1e-5)


def test_losses_need_jax_alone():
    code = 'import sys, ssljax.losses; print(*{m.split(".")[0] for m in sys.modules})'
    loaded = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    others = {'flax', 'optax', 'orbax', 'tensorflow', 'ml_collections', 'chex', 'sklearn'}
    assert not others & set(loaded.stdout.split())
