"""VAE, restated from Kingma and Welling 2013, arXiv:1312.6114: equation 10, appendices B and C.

The discretized logistic is that of Kingma et al. 2016, arXiv:1606.04934.
"""

import inspect
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax.methods import vae as method
from ssljax.nets import Nets

each = pytest.mark.parametrize('likelihood', ('gaussian', 'bernoulli', 'logistic'))
HALF = 1 / 255  # of the distance of two levels of 8 bits in [-1, 1]
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


def log_p_x(seen, params, z, x):
    """log p(x|z) of each row: of bytes in [-1, 1] their mass, or the chance of a white pixel."""
    out, (likelihood, s) = (
        decoded(seen, params, z),
        map(seen.config.get, ('likelihood', 'deviation')),
    )
    if likelihood == 'gaussian':  # C.2, of one deviation; averaged over noise of one level
        noise = HALF * (np.arange(50) + 0.5) / 25 - HALF

        def density(u):
            return -0.5 * (jnp.log(2 * jnp.pi * s**2) + (x + u - out) ** 2 / s**2)

        return (sum(map(density, noise)) / 50 + jnp.log(2 * HALF)).sum((1, 2, 3))
    if likelihood == 'logistic':  # the ends have what lies beyond them
        dense = params['scale']['Dense_0']
        s = s * jnp.exp(z @ dense['kernel'] + dense['bias']).reshape(x.shape)
        side = jnp.where(x > out, -1, 1)  # differences of small numbers, not of ones
        far = 1 / (1 + jnp.exp(-side * (x + HALF - out) / s))
        near = 1 / (1 + jnp.exp(-side * (x - HALF - out) / s))
        low, high = 1 / (1 + jnp.exp((out + 1 - HALF) / s)), 1 / (1 + jnp.exp((1 - HALF - out) / s))
        mass = jnp.where(x < -1 + HALF, low, jnp.where(x > 1 - HALF, high, side * (far - near)))
        return jnp.log(mass).sum((1, 2, 3))
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
    bernoulli = seen.config['likelihood'] == 'bernoulli'
    return 2 / (1 + jnp.exp(-out)) - 1 if bernoulli else jnp.clip(out, -1, 1)


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
        value = (seen.config['beta'] * kl - log_p_x(seen, params, z, x)).mean()
        return value, (value, stats, kl.mean())

    gradient, (value, stats, kl) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, {'kl': kl})
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {**seen.state.memory, 'stats': stats})


@each
def test_readouts(likelihood):
    seen = see(likelihood)
    params, stats, x = seen.state.params, seen.state.memory['stats'], seen.batch['x']

    def restated(x):
        mean, log_v, _ = posterior(seen, params, stats, x, False)
        z = mean + jnp.exp(log_v / 2) * NOISE
        evidence = log_p_x(seen, params, z, x)
        log_q = -0.5 * (jnp.log(2 * jnp.pi) + log_v + NOISE**2).sum(1)
        log_p_z = -0.5 * (jnp.log(2 * jnp.pi) + z**2).sum(1)
        own = picture(seen, decoded(seen, params, mean))
        return {
            'encode': mean,
            'reconstruct': {'reconstruction': own},
            'decode': own,
            'bound': evidence - divergence(mean, log_v),
            'log_weights': jnp.tile((evidence + log_p_z - log_q)[:, None], 3),
        }

    expected = oracle.quick(restated, x)
    ask = seen.job.method.readouts

    def asked(*given):
        found = {name: ask[name](*given) for name in expected if name != 'log_weights'}
        return found | {'log_weights': ask['log_weights'](*given, samples=3)}

    with mock.patch.object(jax.random, 'normal', fixed):
        found = oracle.quick(asked, jax.random.key(1), seen.state, seen.batch)
    oracle.close(found, expected)


def drawn(seen, count):
    """So many samples [count, B, H, W, C] of the codes NOISE."""
    sample = jax.vmap(seen.job.method.readouts['sample'], (0, None, None))
    keys = jax.random.split(jax.random.key(1), count)
    with mock.patch.object(jax.random, 'normal', fixed):  # one z, many x
        return oracle.quick(sample, keys, seen.state, seen.batch)


@pytest.mark.parametrize('likelihood', ('gaussian', 'bernoulli'))
def test_a_sample_is_drawn_given_its_code(likelihood):
    """z of p(z), then x of p(x|z): a draw, and no mean (ssljax/readouts.py)."""
    seen = see(likelihood)
    draws = drawn(seen, 64)
    mean = picture(seen, oracle.quick(lambda z: decoded(seen, seen.state.params, z), NOISE))
    inner = np.abs(mean) < 0.3
    slope = (draws.mean(0) * mean)[inner].sum() / (mean**2)[inner].sum()
    assert abs(slope - 1) < 0.15
    bernoulli = likelihood == 'bernoulli'
    deviation = np.sqrt(1 - mean**2)[inner].mean() if bernoulli else seen.config['deviation']
    assert abs(draws.std(0)[inner].mean() - deviation) < 0.1


def test_a_logistic_sample_is_an_image_of_bytes():
    """Each level as often as its mass says: mean, deviation and the share of the whitest level."""
    seen = see('logistic')
    draws = drawn(seen, 400)
    levels = np.arange(256) / 127.5 - 1
    assert np.abs(draws[..., None] - levels).min(-1).max() < 1e-5

    def masses(z):  # [256, B, H, W, C]
        like = jnp.ones((16, 8, 8, 1))
        out = decoded(seen, seen.state.params, z)
        dense = seen.state.params['scale']['Dense_0']
        s = 0.5 * jnp.exp(z @ dense['kernel'] + dense['bias']).reshape(like.shape)
        up_to = [1 / (1 + jnp.exp(-(edge * like - out) / s)) for edge in levels[:-1] + HALF]
        return jnp.diff(jnp.stack([0 * like, *up_to, like]), axis=0)

    p = oracle.quick(masses, NOISE)
    np.testing.assert_allclose(p.sum(0), 1, rtol=1e-5)
    mean = np.tensordot(levels, p, 1)
    deviation = np.sqrt(np.tensordot(levels**2, p, 1) - mean**2)
    inner = deviation > 0.1  # others are all black or all white
    far = (draws.mean(0) - mean)[inner] / (deviation[inner] / 20)
    assert np.abs(far).max() < 5 and abs(np.square(far).mean() - 1) < 0.2
    assert inner.mean() > 0.5 and abs((draws.std(0)[inner] / deviation[inner]).mean() - 1) < 0.03
    assert abs((draws > 0.999).mean() - p[-1].mean()) < 0.01 and p[-1].mean() > 0.05


def test_a_code_that_is_given_is_decoded():
    seen = see('logistic')
    batch = {**seen.batch, 'z': NOISE}
    found = oracle.quick(seen.job.method.readouts['decode'], jax.random.key(1), seen.state, batch)
    made = oracle.quick(lambda z: picture(seen, decoded(seen, seen.state.params, z)), NOISE)
    oracle.close(found, made)


def test_without_its_divergence_it_is_an_autoencoder():
    """The code is the encoder's answer, without noise; nothing is known of p(z)."""
    seen = oracle.see('vae', model__beta=0.0, evals__samples='none')
    np.testing.assert_array_equal(seen.calls[1].out, seen.calls[2].args[0])
    assert seen.calls[1].out.shape == (16, 3)
    oracle.close(
        seen.value, -log_p_x(seen, seen.state.params, seen.calls[1].out, seen.batch['x']).mean()
    )
    assert set(seen.job.method.readouts) == {'encode', 'decode', 'reconstruct'}


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
    exact = log_p_x(seen, params, jnp.zeros((16, 3)), seen.batch['x'])  # of any z
    oracle.close(bound, exact)
    oracle.close(log_w, np.tile(np.asarray(exact)[:, None], 3))


def test_floats_have_a_density():
    """Of rows that are no bytes: log p(x|z) of the normal distribution itself, no level's mass."""
    net = "{'name': 'mlp', 'dims': (%d,), 'flatten': True}"
    changes = dict(
        data="{'name': 'density', 'kind': 'gaussians'}", evals='{}', model__likelihood='gaussian'
    )
    job = jobs.job('vae', model__encoder=net % 5, model__decoder=net % 2, **changes)
    state = oracle.moved(job, 1)
    batch, params, s = jobs.batch(job, 1), state.params, job.config['model']['deviation']
    latent = job.config['model']['latent']
    nets = Nets(encoder=job.config['model']['encoder'], decoder=job.config['model']['decoder'])

    def restated(x):
        net, dense = nets(params), params['posterior']['Dense_0']
        both = net.encoder(x) @ dense['kernel'] + dense['bias']
        mean, log_v = both[:, :latent], both[:, latent:]
        out = net.decoder(mean + jnp.exp(log_v / 2) * NOISE[: len(x), :latent])
        log_p = -0.5 * (jnp.log(2 * jnp.pi * s**2) + (x - out) ** 2 / s**2).sum(1)
        return log_p - divergence(mean, log_v)

    with mock.patch.object(jax.random, 'normal', fixed):
        found = oracle.quick(job.method.readouts['bound'], jax.random.key(1), state, batch)
    oracle.close(found, oracle.quick(restated, batch['x']))


def test_defaults():
    """Section 5 and appendix C: 500 hidden units with tanh; their bound has no weight."""
    keywords = inspect.signature(method.vae).parameters
    assert keywords['beta'].default == 1 and keywords['likelihood'].default == 'bernoulli'
    for net in ('encoder', 'decoder'):
        spec = keywords[net].default
        assert spec['dims'][0] == 500 and spec['activation'] == 'tanh'
    scale = see('logistic').job.fresh().params['scale']['Dense_0']  # scales start almost equal
    assert 0 < np.abs(scale['kernel']).max() < 0.05 and not np.asarray(scale['bias']).any()
