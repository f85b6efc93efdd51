"""SimCLR, restated from Chen et al. 2020, arXiv:2002.05709: equation 1 and algorithm 1."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle


def nt_xent(z, temperature):
    """Equation 1 over z [2B, D], in which rows 2k and 2k + 1 are a pair."""
    u = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    s = u @ u.T / temperature
    own, pair = np.eye(len(z), dtype=bool), np.arange(len(z)) ^ 1
    others = jnp.where(own, 0, jnp.exp(s)).sum(1)  # all 2B - 1 but itself
    return -jnp.log(jnp.exp(s[np.arange(len(z)), pair]) / others).mean()


def test_the_loss():
    seen = oracle.see('simclr')
    (views,) = seen.views
    assert views.spec == seen.config['view'] and len(views.out) == 2 * len(seen.batch['x'])
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        value = nt_xent(net.projector(net.encoder(views.out)), seen.config['temperature'])
        return value, (value, net.stats)

    gradient, (value, new) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.memory, {'stats': new})
    oracle.close(seen.gradient, gradient)


def test_two_views_of_an_image_differ():
    views = oracle.see('simclr').views[0].out
    assert (np.abs(views[::2] - views[1::2]).max((1, 2, 3)) > 0.1).all()
