"""Barlow Twins, restated from Zbontar et al. 2021, arXiv:2103.03230: equations 1 and 2."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest


def standardized(z):
    """Mean 0 and deviation 1 over the batch; 1e-5 as in a batch norm, which the authors have."""
    return (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)


def terms(z1, z2):
    """The two sums of equation 1, without lambda; C by equation 2, feature by feature."""
    C = jnp.einsum('bi,bj->ij', standardized(z1), standardized(z2)) / len(z1)
    other = ~np.eye(len(C), dtype=bool)
    return jnp.square(1 - jnp.diag(C)).sum(), jnp.square(C[other]).sum()


@pytest.mark.parametrize('changes', [{}, {'model__trade_off': 0.5}])
def test_the_loss(changes):
    """Both views go through one net; each has a recipe of its own, as of BYOL (section 2.2)."""
    seen = oracle.see('barlow_twins', **changes)
    one, other = seen.views
    assert one.spec == seen.config['view'] and other.spec == seen.config['other_view']
    assert one.spec != other.spec and len(one.out) == len(other.out) == len(seen.batch['x'])
    for views in (one, other):
        np.testing.assert_array_equal(views.x, seen.batch['x'])
    assert (np.abs(one.out - other.out).max((1, 2, 3)) > 0.1).all()
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        z1, z2 = (net.projector(net.encoder(views.out)) for views in (one, other))
        on, off = terms(z1, z2)
        return on + seen.config['trade_off'] * off, (on, off, net.stats, z1)

    gradient, (on, off, new, z1) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, on + seen.config['trade_off'] * off)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': new})  # each view is a batch of its own to a batch norm
    u = z1 / np.linalg.norm(z1, axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    rank = e.sum() ** 2 / np.square(e).sum()
    oracle.close(seen.logs, {'on_diagonal': on, 'off_diagonal': off, 'rank': rank}, 1e-3)


def last_layer(change):
    """The state with the last layer of the projector changed, kernel and bias."""

    def of(state):
        layers = state.params['projector']
        projector = layers | {'Dense_2': jax.tree.map(change, layers['Dense_2'])}
        return state.replace(params=state.params | {'projector': projector})

    return of


def test_the_scale_of_features_does_not_matter():
    """Equation 2 divides by it: no collapse to a point makes the loss small."""
    whole = oracle.see('barlow_twins')
    larger = oracle.see('barlow_twins', state=last_layer(lambda leaf: 4 * leaf))
    oracle.close(larger.value, whole.value, 1e-3)


def test_copies_of_a_feature_cost_what_the_second_term_says():
    """All D features are one, of correlation c over views: D (1 - c)^2 and D (D - 1) c^2."""
    seen = oracle.see('barlow_twins', state=last_layer(lambda leaf: 0 * leaf + leaf[..., :1]))
    D = 16
    c = 1 - np.sqrt(seen.logs['on_diagonal'] / D)
    assert 0.05 < c < 1
    np.testing.assert_allclose(seen.logs['off_diagonal'], D * (D - 1) * c**2, rtol=1e-3)


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('barlow_twins')
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
