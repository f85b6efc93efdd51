"""LeJEPA, restated from Balestriero & LeCun 2025, arXiv:2511.08544: algorithms 1 and 2."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax import model
from ssljax.losses import redundancy

DIRECTIONS = np.random.default_rng(3).normal(size=(40, 16)).astype(np.float32)
MORE = {'model__global_views': 3, 'model__local_views': 2, 'model__trade_off': 0.6,
        'model__slices': 40}  # fmt: skip
ALONE = {'model__local_views': 0}


def statistic(z, directions):
    """Algorithm 1: Epps and Pulley's test of each direction, 17 points from -5 to 5."""
    a = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    t = np.linspace(-5, 5, 17)
    normal = np.exp(-(t**2) / 2)  # the characteristic function, and the weight
    angles = (z @ a.T)[..., None] * t
    found = jnp.exp(1j * angles).mean(0)  # [M, 17]
    error = jnp.square(jnp.abs(found - normal)) * normal
    return len(z) * jnp.trapezoid(error, t, axis=1).mean()


def see(**changes):
    """The loss under directions that are known, and how many were drawn for each view."""
    counts, plain = [], redundancy.sigreg

    def told(z, directions, **options):
        counts.append(directions.shape)
        return plain(z, DIRECTIONS[: len(directions)], **options)

    with mock.patch.object(redundancy, 'sigreg', told):
        oracle.see.cache_clear()
        seen = oracle.see('lejepa', **changes)
    oracle.see.cache_clear()
    assert counts and set(counts) == {(seen.config['slices'], 16)}
    return seen


@pytest.mark.parametrize('changes', [{}, MORE, ALONE])
def test_the_loss(changes):
    """Algorithm 2: near the mean of global views, with each view's features normal."""
    seen = see(**changes)
    B, (G, L) = len(seen.batch['x']), (seen.config[f'{k}_views'] for k in ('global', 'local'))
    drawn = [(v.spec, len(v.out) // B) for v in seen.views if len(v.out)]
    asked = [(seen.config['global_view'], G), (seen.config['local_view'], L)]
    assert drawn == [one for one in asked if one[1]]
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        each = [net.encoder(v.out).reshape(B, -1, 256) for v in seen.views if len(v.out)]
        h = jnp.concatenate(each, 1)  # [B, V, C], global first; one batch to the projector's norms
        z = net.projector(h.reshape(-1, 256)).reshape(B, -1, 16)
        center = z[:, :G].mean(1, keepdims=True)
        prediction = jnp.square(center - z).mean()
        tests = [statistic(z[:, i], DIRECTIONS[: seen.config['slices']]) for i in range(G + L)]
        normal, share = sum(tests) / (G + L), seen.config['trade_off']
        value = (1 - share) * prediction + share * normal
        return value, (value, net.stats, prediction, normal, z)

    gradient, told = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    value, new, prediction, normal, z = told
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient, 1e-3)
    oracle.close(seen.memory, {'stats': new})
    u = z[:, 0] / np.linalg.norm(z[:, 0], axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    rank = e.sum() ** 2 / np.square(e).sum()
    told = {'prediction': prediction, 'statistic': normal, 'rank': rank}
    oracle.close(seen.logs, told, 1e-3)


def test_directions_are_normal_and_drawn_anew():
    """From the key alone; all views of a step have the same ones."""
    seen = oracle.see('lejepa', model__slices=500)
    turn = seen.job.method.turns['net']

    def drawn(key):
        found = []

        def told(z, directions, **options):
            found.append(directions)
            return jnp.float32(0)

        with mock.patch.object(redundancy, 'sigreg', told):
            turn.loss(key, seen.state, seen.batch)
        return found

    key = seen.job.key(model.STEP)
    one, other = (oracle.quick(drawn, jax.random.fold_in(key, i)) for i in range(2))
    for a in one:
        np.testing.assert_array_equal(a, one[0])
        u = a / np.linalg.norm(a, axis=1, keepdims=True)
        np.testing.assert_allclose(u.T @ u / len(u), np.eye(16) / 16, atol=0.015)
        assert np.abs(u.mean(0)).max() < 0.05
    assert np.abs(one[0] - other[0]).mean() > 0.1


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('lejepa', model__slices=500)
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
