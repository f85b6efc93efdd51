"""SimCLR, restated from Chen et al. 2020, arXiv:2002.05709: equation 1 and algorithm 1; and DCL,
equation 6 of Yeh et al. 2021, arXiv:2110.06848: the positive is not in the denominator."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax.names import Mistake


def nt_xent(z, temperature, decoupled):
    """Equation 1 over z [2B, D], in which rows 2k and 2k + 1 are a pair."""
    u = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    s = u @ u.T / temperature
    own, pair = np.eye(len(z), dtype=bool), np.arange(len(z)) ^ 1
    left = own | own[pair] if decoupled else own
    others = jnp.where(left, 0, jnp.exp(s)).sum(1)  # all 2B - 1 but itself, or but the two
    return -jnp.log(jnp.exp(s[np.arange(len(z)), pair]) / others).mean()


@pytest.mark.parametrize('changes', [{}, {'model__decoupled': True}])
def test_the_loss(changes):
    seen = oracle.see('simclr', **changes)
    (views,) = seen.views
    assert views.spec == seen.config['view'] and len(views.out) == 2 * len(seen.batch['x'])
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        z, c = net.projector(net.encoder(views.out)), seen.config
        value = nt_xent(z, c['temperature'], c['decoupled'])
        return value, (value, net.stats)

    gradient, (value, new) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.memory, {'stats': new})
    oracle.close(seen.gradient, gradient)
    # how far rows of z lie apart, and (sum e)^2 / sum e^2 of the first views' covariance
    z = next(call.out for call in seen.calls if call.net == 'projector')
    u = z[::2] / np.linalg.norm(z[::2], axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    rank = e.sum() ** 2 / np.square(e).sum()
    oracle.close(
        seen.logs, {'z_std': z.reshape(-1, 2, z.shape[1]).std(0).mean(), 'rank': rank}, 1e-3
    )


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('simclr')
    x, stats = seen.batch['x'], seen.state.memory['stats']
    net = seen.nets('encoder', 'projector')(seen.state.params, stats)
    encode = seen.job.method.readouts['encode']
    found = oracle.quick(lambda s: encode(jax.random.key(0), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(lambda x: net.encoder(x), x))


def test_chunks():
    """Two of half a batch: batch norm sees them one after the other, each with views of its own."""
    whole, seen = oracle.see('simclr'), oracle.see('simclr', model__chunk=8)
    assert whole.calls and not seen.calls  # they lie inside the loop over chunks
    mean = lambda seen: seen.memory['stats']['encoder']['batch_stats']['BatchNorm_0']['mean']  # noqa: E731
    start = seen.state.memory['stats']['encoder']['batch_stats']['BatchNorm_0']['mean']
    # a running mean keeps 0.9 of the old one at each call: after two, less of the start is left
    assert np.abs(mean(seen) - start).sum() > 1.3 * np.abs(mean(whole) - start).sum()
    with pytest.raises(Mistake, match='chunk=6 does not divide'):
        oracle.see('simclr', model__chunk=6)


def test_two_views_of_an_image_differ():
    views = oracle.see('simclr').views[0].out
    assert (np.abs(views[::2] - views[1::2]).max((1, 2, 3)) > 0.1).all()
