"""Likelihoods of a VAE beside exact ones, of toys whose evidence is a formula or a short sum.

Linear and normal: factor analysis, p(x) = N(b, W W' + s^2). One code and few pixels: an integral.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logsumexp

from ssljax import methods
from ssljax.method import Run, State

PLAIN = dict(name='mlp', flatten=True, activation='relu')


def linear(x, latent, *, posterior, decoder, scale=None, **options):
    """The readouts of a VAE whose nets are linear: ask(name, key, **options) for the rows x."""
    pixels = x.shape[1]
    row = {'x': jax.ShapeDtypeStruct(x.shape[1:], x.dtype)}
    run = Run(steps=1, steps_per_epoch=1, examples=len(x), batch=len(x), row=row)
    nets = dict(encoder={**PLAIN, 'dims': (pixels,)}, decoder={**PLAIN, 'dims': (pixels,)})
    method = methods.function('vae')(run, **nets, latent=latent, **options)
    layers = dict(encoder=(np.eye(pixels), np.zeros(pixels)), posterior=posterior, decoder=decoder)
    layers |= {} if scale is None else dict(scale=scale)
    params = {
        net: {'Dense_0': {'kernel': jnp.asarray(kernel, 'f'), 'bias': jnp.asarray(bias, 'f')}}
        for net, (kernel, bias) in layers.items()
    }
    made, _ = jax.eval_shape(method.init, jax.random.key(0), {'x': jnp.zeros(x.shape)})
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, made)
    batch = {'x': jnp.asarray(x / 127.5 - 1 if x.dtype == np.uint8 else x, 'f')}
    state = State(jnp.zeros((), jnp.int32), params, {'stats': {}}, {})

    def ask(name, key, **options):  # key [], or [n] for so many answers
        readout = functools.partial(method.readouts[name], **options)
        readout = jax.vmap(readout, (0, None, None)) if key.ndim else readout
        return np.asarray(jax.jit(readout)(key, state, batch), np.float64)

    return ask


# ---- linear and normal

D, L, S = 5, 2, 0.7
RANDOM = np.random.default_rng(0)
W = np.linalg.qr(RANDOM.normal(size=(D, L)))[0] * [1.5, 0.6]  # columns at right angles
B = RANDOM.normal(size=D)
X = (B + RANDOM.normal(size=(12, L)) @ W.T + S * RANDOM.normal(size=(12, D))).astype('f')
LOG_P = stats.multivariate_normal(B, W @ W.T + S**2 * np.eye(D)).logpdf(X)
PRECISION = np.diag(W.T @ W) / S**2 + 1  # of the true p(z|x), whose coordinates are independent


def factor_analysis(off=0.0, wider=0.0):
    """With q(z|x) = p(z|x), but for its mean (off) and its log variance (wider)."""
    gain = W / S**2 / PRECISION  # [D, L]
    kernel = np.concatenate([gain, np.zeros((D, L))], 1)
    bias = np.concatenate([off - B @ gain, wider - np.log(PRECISION)])
    return linear(
        X, L, posterior=(kernel, bias), decoder=(W.T, B), likelihood='gaussian', deviation=S
    )


def test_with_the_true_posterior_each_weight_is_the_evidence():
    ask = factor_analysis()
    w = ask('log_weights', jax.random.key(1), samples=5)
    np.testing.assert_allclose(w, np.tile(LOG_P[:, None], 5), rtol=0, atol=1e-4)
    bounds = ask('bound', jax.random.split(jax.random.key(2), 400))
    error = bounds.std(0) / 20
    assert (np.abs(bounds.mean(0) - LOG_P) < 4 * error).all() and error.max() < 0.1


def test_the_bound_lacks_the_divergence_of_the_posterior_and_weights_make_up_for_it():
    """ELBO = log p(x) - KL(q | p(z|x)); more samples are nearer, and 20,000 are there."""
    off, wider = 0.4, 0.5
    ask = factor_analysis(off, wider)
    gap = 0.5 * (np.exp(wider) - 1 - wider + off**2 * PRECISION).sum()
    w = ask('log_weights', jax.random.key(1), samples=20000)
    assert 0.3 < gap < 3
    assert np.abs(w.mean(1) - (LOG_P - gap)).max() < 5 * w.std(1).max() / 20000**0.5
    np.testing.assert_allclose(logsumexp(w, axis=1) - np.log(20000), LOG_P, rtol=0, atol=0.06)
    few = logsumexp(w.reshape(12, 2500, 8), axis=2) - np.log(8)
    assert (w.mean(1) < few.mean(1)).all() and (few.mean(1) < LOG_P).all()
    bounds = ask('bound', jax.random.split(jax.random.key(2), 400))
    assert (np.abs(bounds.mean(0) - (LOG_P - gap)) < 4 * bounds.std(0) / 20).all()


# ---- one code: an integral over it

GRID = np.linspace(-9, 9, 4001)  # of z
PRIOR = stats.norm.pdf(GRID) * (GRID[1] - GRID[0])
BITS = np.array([*itertools.product((0, 255), repeat=4)], np.uint8)  # each image of 4 bits
LEVELS = np.arange(256, dtype=np.uint8)[:, None]  # each image of one pixel
GAIN, SHIFT, WIDEN = 0.6, -0.3, 0.4


def mass_of_bits():
    p = expit(np.outer(GRID, [2.0, -1.0, 0.5, 3.0]) + [0.1, 0.4, -1.0, 0.0])  # [z, 4]
    return np.where(BITS[:, None] > 0, p, 1 - p).prod(2) @ PRIOR


def mass_of_levels(law, scale):
    """A level has what lies within half a level of it, the ends also what lies beyond."""
    x, half = LEVELS[:, 0] / 127.5 - 1, 1 / 255
    edges = np.concatenate([[-np.inf], x[:-1] + half, [np.inf]])
    below = law.cdf((edges[:, None] - (GAIN * GRID + SHIFT)) / scale) @ PRIOR
    return np.diff(below)


def close_to(log_w, p):
    """Whether the mean of weights is p, as near as so many of them can tell."""
    w = np.exp(log_w)
    far = np.abs(w.mean(1) - p) / (w.std(1) / w.shape[1] ** 0.5)
    return far.max() < 4.5 and np.abs(w.mean(1) / p - 1).max() < 0.1


def test_evidence_of_bits():
    p = mass_of_bits()
    assert p.sum() == pytest.approx(1)
    kernel = np.stack([[0.3, -0.2, 0.1, 0.4], [0.0, 0.1, 0.0, 0.0]], 1)
    decoder = [[2.0, -1.0, 0.5, 3.0]], [0.1, 0.4, -1.0, 0.0]
    ask = linear(BITS, 1, posterior=(kernel, [0.1, 0.2]), decoder=decoder, likelihood='bernoulli')
    assert close_to(ask('log_weights', jax.random.key(0), samples=20000), p)


def test_evidence_of_levels():
    """The mass of all 256 is one: the measure is that of 8-bit images."""
    p = mass_of_levels(stats.logistic, 0.2 * np.exp(WIDEN * GRID - 0.5))
    assert p.sum() == pytest.approx(1)
    ask = linear(
        LEVELS, 1, posterior=([[0.3, 0.0]], [0.1, 0.2]), decoder=([[GAIN]], [SHIFT]),
        scale=([[WIDEN]], [-0.5]), likelihood='logistic', deviation=0.2,
    )  # fmt: skip
    w = ask('log_weights', jax.random.key(0), samples=20000)
    assert close_to(w, p) and np.exp(w).mean(1).sum() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize('deviation', [0.5, 0.02])
def test_a_normal_density_of_bytes_gives_a_bound_on_their_mass(deviation):
    """Tight where the deviation is many levels; below the mass where it is one, by what the noise
    within a level costs: codes are of the true posterior, and all pixels together are smooth."""
    x = LEVELS[60:200]
    p = mass_of_levels(stats.norm, deviation)[60:200]
    precision = GAIN**2 / deviation**2 + 1
    gain = GAIN / deviation**2 / precision
    posterior = [[gain, 0.0]], [-SHIFT * gain, -np.log(precision)]
    ask = linear(
        x, 1, posterior=posterior, decoder=([[GAIN]], [SHIFT]), likelihood='gaussian',
        deviation=deviation,
    )  # fmt: skip
    short = np.log(p)[:, None] - ask('log_weights', jax.random.key(0), samples=50)
    noise = (np.arange(1000) - 499.5) / 1000 / 127.5
    cost = stats.norm.logpdf(0) - stats.norm.logpdf(noise / deviation).mean()
    np.testing.assert_allclose(short, cost, atol=2e-4)
