"""Likelihoods and bounds: exact limits and other libraries; the formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, stats

from ssljax import losses

key = jax.random.key(0)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_by_hand():
    half = jnp.zeros((1, 3))
    np.testing.assert_allclose(losses.bernoulli(half, jnp.array([[0.0, 1.0, 0.5]])), 3 * np.log(2))
    np.testing.assert_allclose(losses.gaussian(half, half), 1.5 * np.log(2 * np.pi), rtol=1e-6)
    tokens = jnp.array([[0, 6]])
    np.testing.assert_allclose(losses.categorical(jnp.zeros((1, 2, 7)), tokens), 2 * np.log(7))
    np.testing.assert_allclose(losses.kl_gaussian(half + 2, half), 6, rtol=1e-6)
    np.testing.assert_allclose(losses.elbo(jnp.array([3.0]), jnp.array([2.0]), beta=4.0), 11)


def test_equal_other_libraries(random):
    x, logits = (f(size=(4, 5)).astype(np.float32) for f in (random.uniform, random.normal))
    other = optax.losses.sigmoid_binary_cross_entropy(logits, x).sum(1)
    np.testing.assert_allclose(losses.bernoulli(jnp.asarray(logits), x), other, rtol=1e-5)
    normal = -stats.norm(0.3, np.exp(0.5)).logpdf(x).sum(1)
    found = losses.gaussian(jnp.full(x.shape, 0.3), jnp.asarray(x), log_variance=1.0)
    np.testing.assert_allclose(found, normal, rtol=1e-5)


@pytest.mark.parametrize('log_scale', [-9.0, -3.0, 0.0, 4.0])
def test_levels_of_a_logistic_mixture_sum_to_one(log_scale, random):
    x = jnp.linspace(-1, 1, 256)[:, None]  # every level of one pixel
    logits, mean = (jnp.tile(random.normal(size=3) / 2, (256, 1, 1)) for _ in range(2))
    log_p = -losses.logistic_mixture(logits, mean, jnp.full_like(mean, log_scale), x)
    np.testing.assert_allclose(jnp.exp(log_p).sum(), 1, rtol=1e-5)


def test_one_logistic_is_scipys():
    x = jnp.linspace(-1, 1, 256)[1:-1, None]
    found = losses.logistic_mixture(
        jnp.zeros((254, 1, 1)), jnp.full((254, 1, 1), 0.2), jnp.full((254, 1, 1), -2.0), x
    )
    curve = stats.logistic(0.2, np.exp(-2.0))
    cell = curve.cdf(np.asarray(x) + 1 / 255) - curve.cdf(np.asarray(x) - 1 / 255)
    np.testing.assert_allclose(found, -np.log(cell[:, 0]), rtol=1e-4)


@pytest.mark.parametrize('log_scale, counts', [(-7.1, -7), (-6.9, -6.9), (29, 29), (31, 30)])
def test_the_scale_of_a_logistic_is_bounded(log_scale, counts):
    one, middle = jnp.ones((1, 1, 1)), 1 / 255  # of level 128; half a level wide
    found = losses.logistic_mixture(one, 0.003 * one, log_scale * one, jnp.full((1, 1), middle))
    curve = stats.logistic(0.003, np.exp(counts))
    cell = 2 / 255 * curve.pdf(middle) if counts > 0 else np.diff(curve.cdf([0, 2 * middle]))
    np.testing.assert_allclose(found, -np.log(cell), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('log_variance, counts', [(59, 59), (61, 60), (-59, -59), (-61, -60)])
def test_a_log_variance_is_bounded(log_variance, counts):
    one, v = jnp.ones((1, 1)), jnp.full((1, 1), float(log_variance))
    grow = np.exp(float(counts))
    found = losses.gaussian(0 * one, one, log_variance=v)
    np.testing.assert_allclose(found, (np.log(2 * np.pi) + counts + 1 / grow) / 2, rtol=1e-5)
    found = losses.kl_gaussian(0 * one, v)
    np.testing.assert_allclose(found, (grow - 1 - counts) / 2, rtol=1e-5)
    found = losses.kl_gaussian(one, 0 * one, prior_log_variance=v)
    np.testing.assert_allclose(found, (1 / grow - 1 + counts + 1 / grow) / 2, rtol=1e-5)


def test_a_tail_far_away_is_no_less_exact():
    # where both sigmoids round to one their difference would be zero
    found = losses.logistic_mixture(
        jnp.zeros((1, 1, 1)), jnp.full((1, 1, 1), -40.0), jnp.zeros((1, 1, 1)), jnp.zeros((1, 1))
    )
    exact = 40 - np.log(2 * np.sinh(1 / 255))  # the density falls as exp(-|x - m|)
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_kl_is_zero_where_both_agree_and_never_less(random):
    a, b = (jnp.asarray(random.normal(size=(50, 2, 3)), jnp.float32) for _ in range(2))
    pairs = {
        losses.kl_gaussian: (dict(prior_mean=a, prior_log_variance=b), (a, b)),
        losses.kl_bernoulli: (dict(prior_logits=a), (a,)),
        losses.kl_categorical: (dict(prior_logits=a + 1), (a,)),
    }
    for kl, (prior, same) in pairs.items():
        np.testing.assert_allclose(kl(*same, **prior), 0, atol=1e-5)
        assert (kl(*(x + b for x in same), **prior) > -1e-5).all()
        assert kl(*(x + b for x in same), **prior).max() > 0.1


def test_kl_gaussian_is_the_integral():
    q, p = stats.norm(0.4, 0.7), stats.norm(-0.2, 1.3)
    exact = integrate.quad(lambda x: q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), -8, 8)[0]
    log_variance = [2 * np.log(0.7), 2 * np.log(1.3)]
    found = losses.kl_gaussian(
        jnp.array([[0.4]]), jnp.array([[log_variance[0]]]),
        prior_mean=-0.2, prior_log_variance=log_variance[1],
    )  # fmt: skip
    np.testing.assert_allclose(found, exact, rtol=1e-5)


def test_kl_gaussian_near_its_zero_keeps_its_digits():
    v = 1e-4  # KL = (exp(v) - v - 1) / 2, about v^2 / 4
    np.testing.assert_allclose(
        losses.kl_gaussian(jnp.zeros((1, 1)), jnp.full((1, 1), v)), v**2 / 4, rtol=0.02, atol=0
    )


def test_bits_are_choices_of_two(random):
    q, p = (jnp.asarray(random.normal(size=(4, 5)), jnp.float32) for _ in range(2))
    two = [jnp.stack([jnp.zeros_like(x), x], -1) for x in (q, p)]
    np.testing.assert_allclose(
        losses.kl_bernoulli(q, prior_logits=p),
        losses.kl_categorical(two[0], prior_logits=two[1]),
        rtol=1e-4,
    )


def toy(x, samples, mean, variance):
    """z ~ N(0, 1), x = z + N(0, 1), so x ~ N(0, 2), and q a normal: log weights [1000, samples]."""
    z = mean + np.sqrt(variance) * jax.random.normal(key, (1000, samples))
    prior, likelihood = stats.norm(0, 1).logpdf(z), stats.norm(z, 1).logpdf(x)
    return jnp.asarray(prior + likelihood - stats.norm(mean, np.sqrt(variance)).logpdf(z))


def test_bounds_of_a_model_whose_evidence_is_known():
    x = 1.5
    exact = -stats.norm(0, np.sqrt(2)).logpdf(x)
    # the true posterior leaves nothing between bound and evidence, whatever the sample
    np.testing.assert_allclose(losses.iwae(toy(x, 3, x / 2, 0.5)), exact, rtol=1e-5)
    mean, variance = 0.0, 1.0
    bounds = [losses.iwae(toy(x, k, mean, variance)).mean() for k in (1, 5, 50)]
    assert bounds[0] > bounds[1] + 0.1 and bounds[1] > bounds[2] + 0.01 and bounds[2] > exact - 0.02
    # one sample: the ELBO, here in closed form
    reconstruction = 0.5 * np.log(2 * np.pi) + ((x - mean) ** 2 + variance) / 2
    kl = losses.kl_gaussian(jnp.array([[mean]]), jnp.log(jnp.array([[variance]])))
    elbo = losses.elbo(jnp.array([reconstruction]), kl)[0]
    np.testing.assert_allclose(bounds[0], elbo, atol=0.15)


def test_an_affine_flow_is_a_normal(random):
    x = jnp.asarray(random.normal(size=(4, 3)), jnp.float32)
    mean, log_scale = jnp.array([0.5, -1.0, 2.0]), jnp.array([0.3, -0.7, 0.0])
    z = (x - mean) / jnp.exp(log_scale)
    flow = losses.change_of_variables(z, jnp.full(4, -log_scale.sum()))
    np.testing.assert_allclose(
        flow, losses.gaussian(0 * x + mean, x, log_variance=2 * log_scale), rtol=1e-5
    )


def test_levels_known_to_be_even_cost_eight_bits(random):
    x = random.integers(256, size=(4, 10))
    real = losses.dequantize(key, jnp.asarray(x))
    assert (np.floor(np.asarray(real) * 256) == x).all()
    assert 0.4 < (np.asarray(real) * 256 - x).mean() < 0.6
    # density 1 on [0, 1): no nats, and a cell of 1 / 256
    np.testing.assert_allclose(losses.bits_per_dim(jnp.zeros(4), 10, cell=1 / 256), 8)
    # the same in [-1, 1): density 1/2 in each dimension
    stretched = losses.bits_per_dim(jnp.full(4, 10 * np.log(2)), 10, cell=2 / 256)
    np.testing.assert_allclose(stretched, 8, rtol=1e-6)
    np.testing.assert_allclose(losses.bits_per_dim(jnp.array(10 * np.log(256)), 10), 8, rtol=1e-6)


def test_dequantize_is_its_keys():
    x = jnp.zeros((3, 2), jnp.uint8)
    a, b = (losses.dequantize(jax.random.key(i), x, levels=2) for i in (0, 1))
    np.testing.assert_array_equal(a, losses.dequantize(key, x, levels=2))
    assert (a != b).all() and a.max() < 0.5


def test_vq_moves_codes_to_features_and_features_by_commitment(random):
    z, code = (jnp.asarray(random.normal(size=(3, 2, 4)), jnp.float32) for _ in range(2))
    by_z, by_code = jax.grad(lambda *a: losses.vq(*a, commitment=0.5).sum(), (0, 1))(z, code)
    np.testing.assert_allclose(by_z, 0.5 * 2 * (z - code) / 8, rtol=1e-5)
    np.testing.assert_allclose(by_code, 2 * (code - z) / 8, rtol=1e-5)


def test_gumbel_softmax_draws_as_the_softmax():
    logits = jnp.log(jnp.array([0.6, 0.3, 0.1]))
    many = jnp.tile(logits, (20000, 1))
    hard = losses.gumbel_softmax(key, many, hard=True)
    np.testing.assert_allclose(hard.max(1), 1, rtol=1e-6)
    np.testing.assert_allclose(hard.mean(0), [0.6, 0.3, 0.1], atol=0.015)
    soft = losses.gumbel_softmax(key, many, temperature=0.5)
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-5)
    assert (soft.argmax(1) == hard.argmax(1)).all()
    cold = losses.gumbel_softmax(key, many, temperature=1e-4)
    assert (cold.max(1) > 0.999).mean() > 0.99
    warm = losses.gumbel_softmax(key, many, temperature=1e4)
    np.testing.assert_allclose(warm, 1 / 3, atol=1e-3)


def test_gumbel_softmax_has_the_slope_of_its_formula():
    logits, w, t = jnp.array([0.5, -0.2, 0.1]), np.array([1.0, 2.0, -1.0]), 0.7
    by_logits, by_t = jax.grad(
        lambda x, t: (losses.gumbel_softmax(key, x, temperature=t) * w).sum(), (0, 1)
    )(logits, t)
    p = np.asarray(losses.gumbel_softmax(key, logits, temperature=t))
    slope = (np.diag(p) - np.outer(p, p)) @ w / t
    np.testing.assert_allclose(by_logits, slope, rtol=1e-4)
    noisy = logits + jax.random.gumbel(key, (3,))
    np.testing.assert_allclose(by_t, -(slope * noisy).sum() / t, rtol=1e-4)


def test_a_hard_sample_has_the_gradient_of_the_soft():
    logits, w = jnp.array([[0.5, -0.2, 0.1]]), jnp.array([1.0, 2.0, -1.0])
    grads = [
        jax.grad(lambda x, hard=hard: (losses.gumbel_softmax(key, x, hard=hard) * w).sum())(logits)
        for hard in (False, True)
    ]
    np.testing.assert_allclose(*grads, rtol=1e-5)
    assert np.abs(grads[0]).max() > 0.01
