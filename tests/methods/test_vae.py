"""VAE, restated from Kingma and Welling 2013, arXiv:1312.6114: equation 10, appendices B and C."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax.nets import Nets

each = pytest.mark.parametrize('likelihood', ('gaussian', 'bernoulli'))
NOISE = np.random.default_rng(1).normal(size=(16, 3)).astype(np.float32)
normal = jax.random.normal


def fixed(key, shape=(), *rest, **options):
    """In place of jax.random.normal: the noise of codes is known, all else is drawn."""
    return jnp.asarray(NOISE) if shape == NOISE.shape else normal(key, shape, *rest, **options)


def see(likelihood):
    return oracle.see('vae', model__likelihood=likelihood, state=bright)


def bright(state):
    """With means that leave [-1, 1]."""
    decoder = state.params['decoder']
    last = {'kernel': 4 * decoder['Conv_0']['kernel'], 'bias': decoder['Conv_0']['bias']}
    return state.replace(params=state.params | {'decoder': decoder | {'Conv_0': last}})


def log_p_x(seen, out, x):
    """log p(x|z) of each row: x in [-1, 1], or the chance of a white pixel."""
    if seen.config['likelihood'] == 'gaussian':  # C.2, of one deviation
        v = seen.config['deviation'] ** 2
        return -0.5 * (jnp.log(2 * jnp.pi * v) + (x - out) ** 2 / v).sum((1, 2, 3))
    y, p = (x + 1) / 2, 1 / (1 + jnp.exp(-out))
    return (y * jnp.log(p) + (1 - y) * jnp.log(1 - p)).sum((1, 2, 3))  # C.1


def posterior(seen, params, stats, x, train):
    """Mean and log variance [B, 3] of q(z|x), and the statistics that are left."""
    net = seen.nets('encoder')(params, stats, train=train)
    dense = params['posterior']['Dense_0']
    both = net.encoder(x).reshape(len(x), -1) @ dense['kernel'] + dense['bias']
    return both[:, :3], both[:, 3:], net.stats


def decoded(seen, params, z):
    net = Nets(decoder={**seen.config['decoder'], 'shape': (8, 8, 1)})
    return net(params, {}, train=False).decoder(z)


def picture(seen, out):
    """The mean of p(x|z) in [-1, 1]."""
    gaussian = seen.config['likelihood'] == 'gaussian'
    return jnp.clip(out, -1, 1) if gaussian else 2 / (1 + jnp.exp(-out)) - 1


def divergence(mean, log_v):
    """KL from N(0, 1) to N(mean, v), appendix B."""
    return -0.5 * (1 + log_v - mean**2 - jnp.exp(log_v)).sum(1)


@each
def test_the_loss(likelihood):
    seen = see(likelihood)
    x, (out, (z,)) = seen.batch['x'], (seen.calls[1].out, seen.calls[2].args)
    noise = (z - out[:, :3]) / np.exp(out[:, 3:] / 2)
    assert 0.8 < noise.std() < 1.2 and len(np.unique(noise)) == noise.size

    def loss(params):
        mean, log_v, stats = posterior(seen, params, seen.state.memory['stats'], x, True)
        kl = divergence(mean, log_v)
        z = mean + jnp.exp(log_v / 2) * noise  # section 2.4
        value = (kl - log_p_x(seen, decoded(seen, params, z), x)).mean()
        return value, (value, stats, kl.mean())

    gradient, (value, stats, kl) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, {'kl': kl})
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {**seen.state.memory, 'stats': stats})


def test_codes_follow_by_online_k_means():
    """With counts that forget: code = (m count code + (1 - m) sum of z) / (m count + (1 - m) n)."""
    seen = see('gaussian')
    after, metrics = oracle.after(seen)
    z = oracle.quick(
        lambda x: posterior(seen, seen.state.params, seen.memory['stats'], x, False)[0],
        seen.batch['x'],
    )
    codes, counts, m = seen.memory['codebook'], seen.memory['counts'], 0.8
    nearest = np.eye(5)[((z[:, None] - codes) ** 2).sum(2).argmin(1)]  # [B, codes]
    n = m * counts + (1 - m) * nearest.sum(0)
    moved = ((m * counts)[:, None] * codes + (1 - m) * nearest.T @ z) / n[:, None]
    assert (nearest.sum(0) == 0).any()  # and such a code stays
    oracle.close(after.memory, {**seen.memory, 'codebook': moved, 'counts': n})
    oracle.close(after.params, seen.state.params)
    share = n / n.sum()
    oracle.close(metrics, {'used': np.exp(-(share * np.log(share)).sum())})
    start = seen.job.fresh().memory
    np.testing.assert_allclose(start['counts'], np.full(5, 16 / 5), rtol=1e-6)
    assert len(np.unique(start['codebook'])) == 15 and np.abs(start['codebook']).max() < 0.5


@each
def test_readouts(likelihood):
    seen = see(likelihood)
    params, stats, x = seen.state.params, seen.state.memory['stats'], seen.batch['x']

    def restated(x):
        mean, log_v, _ = posterior(seen, params, stats, x, False)
        z = mean + jnp.exp(log_v / 2) * NOISE
        evidence = log_p_x(seen, decoded(seen, params, z), x)
        log_q = -0.5 * (jnp.log(2 * jnp.pi) + log_v + NOISE**2).sum(1)
        log_p_z = -0.5 * (jnp.log(2 * jnp.pi) + z**2).sum(1)
        near = ((mean[:, None] - seen.state.memory['codebook']) ** 2).sum(2).argmin(1)
        return {
            'encode': mean,
            'reconstruct': {'reconstruction': picture(seen, decoded(seen, params, mean))},
            # the density of x, also where images are bytes
            'bound': evidence - divergence(mean, log_v),
            'log_weights': jnp.tile((evidence + log_p_z - log_q)[:, None], 3),
            'assign': near,
        }

    expected = oracle.quick(restated, x)
    ask = seen.job.method.readouts

    def asked(*given):
        found = {name: ask[name](*given) for name in expected if name != 'log_weights'}
        return found | {'log_weights': ask['log_weights'](*given, samples=3)}

    with mock.patch.object(jax.random, 'normal', fixed):
        found = oracle.quick(asked, jax.random.key(1), seen.state, seen.batch)
    oracle.close(found, expected)


@each
def test_a_sample_is_drawn_given_its_code(likelihood):
    """z of p(z), then x of p(x|z): a draw, and no mean (ssljax/readouts.py)."""
    seen = see(likelihood)
    sample = jax.vmap(seen.job.method.readouts['sample'], (0, None, None))
    keys = jax.random.split(jax.random.key(1), 64)
    with mock.patch.object(jax.random, 'normal', fixed):  # one z, many x
        draws = oracle.quick(sample, keys, seen.state, seen.batch)  # [64, B, H, W, C]
    mean = picture(seen, oracle.quick(lambda z: decoded(seen, seen.state.params, z), NOISE))
    inner = np.abs(mean) < 0.3
    slope = (draws.mean(0) * mean)[inner].sum() / (mean**2)[inner].sum()
    assert abs(slope - 1) < 0.15
    bernoulli = likelihood == 'bernoulli'
    deviation = np.sqrt(1 - mean**2)[inner].mean() if bernoulli else seen.config['deviation']
    assert abs(draws.std(0)[inner].mean() - deviation) < 0.1


def test_the_bound_is_tight_where_the_posterior_is_true():
    """Equation 1: where x does not depend on z and q(z|x) = p(z), log w is log p(x) for any z.

    Where x depends on z, it is not: each sample of log_weights has a z of its own."""
    seen = see('gaussian')
    params, ask = jax.tree.map(np.copy, seen.state.params), seen.job.method.readouts
    params['posterior'] = jax.tree.map(np.zeros_like, params['posterior'])

    def asked(params, state, batch):
        key, state = jax.random.key(1), state.replace(params=params)
        return ask['bound'](key, state, batch), ask['log_weights'](key, state, batch, samples=3)

    ask_all = jax.jit(asked)
    assert np.ptp(ask_all(params, seen.state, seen.batch)[1], 1).min() > 0.01
    params['decoder']['Conv_0']['kernel'][:] = 0
    bound, log_w = ask_all(params, seen.state, seen.batch)
    exact = log_p_x(seen, params['decoder']['Conv_0']['bias'], seen.batch['x'])
    oracle.close(bound, exact)
    oracle.close(log_w, np.tile(np.asarray(exact)[:, None], 3))
