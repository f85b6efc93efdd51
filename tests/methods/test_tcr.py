"""TCR, restated from Tong et al. 2023 (EMP-SSL), arXiv:2304.03977, section 3: equations 1 to 3; the
coding rate is that of Yu et al. 2020, arXiv:2006.08558, equation 1."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

OTHER = {'model__views': 2, 'model__pull': 0.7, 'model__distortion': 0.3}


def rate(z, distortion):
    """1/2 log det(I + D / (b eps^2) Z Z^T), of unit rows z [b, D]; by eigenvalues."""
    b, D = z.shape
    e = jnp.linalg.eigvalsh(z.T @ z)
    return jnp.log(1 + D / (b * distortion**2) * e).sum() / 2


def terms(z, distortion):
    """The rate, a mean over patches, and the cosine with the mean patch; z [B, n, D]."""
    z = z / jnp.linalg.norm(z, axis=2, keepdims=True)
    mean = z.mean(1, keepdims=True)
    mean = mean / jnp.linalg.norm(mean, axis=2, keepdims=True)
    rates = [rate(z[:, i], distortion) for i in range(z.shape[1])]
    return sum(rates) / len(rates), (z * mean).sum(2).mean()


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss(changes):
    """Equation 3, with a minus, since both are to grow."""
    seen = oracle.see('tcr', **changes)
    (views,), n = seen.views, seen.config['views']
    assert views.spec == seen.config['view'] and len(views.out) == n * len(seen.batch['x'])
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    nets, stats = seen.nets('encoder', 'projector'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        z = net.projector(net.encoder(views.out)).reshape(len(views.x), n, -1)
        R, cosine = terms(z, seen.config['distortion'])
        value = -R - seen.config['pull'] * cosine
        return value, (value, net.stats, R, cosine, z)

    gradient, told = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    value, new, R, cosine, z = told
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': new})
    u = z[:, 0] / np.linalg.norm(z[:, 0], axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    rank = e.sum() ** 2 / np.square(e).sum()
    oracle.close(seen.logs, {'rate': R, 'cosine': cosine, 'rank': rank}, 1e-3)


def test_a_collapsed_net_has_the_least_rate():
    """All rows are one direction: 1/2 log(1 + D / eps^2), whatever the batch; and cosine 1."""

    def collapsed(state):
        layers = state.params['projector']
        last = {'kernel': 0 * layers['Dense_2']['kernel'], 'bias': np.ones(16, np.float32)}
        return state.replace(params=state.params | {'projector': layers | {'Dense_2': last}})

    seen = oracle.see('tcr', state=collapsed)
    least = np.log(1 + 16 / seen.config['distortion'] ** 2) / 2
    oracle.close(seen.logs['rate'], least)
    oracle.close(seen.value, -least - seen.config['pull'])
    assert least < oracle.see('tcr').logs['rate']


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('tcr')
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
