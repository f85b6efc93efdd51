"""VICReg, restated from Bardes et al. 2021, arXiv:2105.04906: equations 1 to 6, with the means that
the authors' code has in place of some sums: s over features, v over the two views."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

OTHER = {'model__invariance': 1.0, 'model__variance': 3.0, 'model__covariance': 0.5}


def terms(z1, z2):
    """s, v, c: invariance, variance, covariance."""
    n, D = z1.shape
    off = ~np.eye(D, dtype=bool)
    v, c = [], []
    for z in (z1, z2):
        cov = (z - z.mean(0)).T @ (z - z.mean(0)) / (n - 1)  # equation 3
        v.append(jnp.maximum(0, 1 - jnp.sqrt(jnp.diag(cov) + 1e-4)).mean())  # equations 1 and 2
        c.append(jnp.square(cov[off]).sum() / D)  # equation 4
    return jnp.square(z1 - z2).mean(), sum(v) / 2, sum(c)


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss(changes):
    """Equation 6; both views are of one distribution and of one net (section 4.1)."""
    seen = oracle.see('vicreg', **changes)
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']
    one, two = two_views(seen)

    def loss(params):
        net = nets(params, stats, train=True)
        z1, z2 = (net.projector(net.encoder(x)) for x in (one, two))
        s, v, c = terms(z1, z2)
        weights = (seen.config[name] for name in ('invariance', 'variance', 'covariance'))
        value = sum(w * term for w, term in zip(weights, (s, v, c), strict=True))
        return value, (value, net.stats, (s, v, c), z1)

    gradient, (value, new, told, z1) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': new})
    names = ('invariance', 'variance', 'covariance')
    oracle.close({name: seen.logs[name] for name in names}, dict(zip(names, told)), 1e-3)
    u = z1 / np.linalg.norm(z1, axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    spread = np.sqrt(u.shape[1]) * u.std(0).mean()
    rest = {name: seen.logs[name] for name in seen.logs if name not in names}
    oracle.close(rest, {'rank': e.sum() ** 2 / np.square(e).sum(), 'spread': spread}, 1e-3)


def two_views(seen):
    """[B, ...] each, all drawn as the config says."""
    assert all(views.spec == seen.config['view'] for views in seen.views)
    for views in seen.views:
        np.testing.assert_array_equal(views.x, seen.batch['x'])
    B = len(seen.batch['x'])
    parts = [
        part for v in seen.views for part in v.out.reshape(B, -1, *v.out.shape[1:]).swapaxes(0, 1)
    ]
    one, two = parts
    assert (np.abs(one - two).max((1, 2, 3)) > 0.1).all()
    return one, two


def test_a_collapsed_net_pays_by_its_variance_alone():
    """All rows are one: s and c are 0, and each deviation falls short by 1 - sqrt(1e-4)."""

    def collapsed(state):
        last = state.params['projector']['Dense_2']
        projector = state.params['projector'] | {'Dense_2': last | {'kernel': 0 * last['kernel']}}
        return state.replace(params=state.params | {'projector': projector})

    seen = oracle.see('vicreg', state=collapsed)
    oracle.close(seen.value, seen.config['variance'] * 0.99, 1e-5)
    # its gradient does not lead out: that is why collapse must not be reached
    assert all(np.abs(leaf).max() < 1e-6 for leaf in jax.tree.leaves(seen.gradient['encoder']))


def test_features_are_those_before_the_expander_with_stored_statistics():
    seen = oracle.see('vicreg')
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
