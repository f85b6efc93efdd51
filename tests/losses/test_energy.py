"""Energies where everything can be counted; the formulas are in test_proofs.py."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.losses import denoising_score_matching, free_energy_difference

STATES = jnp.array(list(itertools.product([0.0, 1.0], repeat=4)))  # all that a small RBM can see


def free_energy(params, v):
    """Of binary hidden units: -b.v - sum_j log(1 + exp(c_j + v.W_j))."""
    return -v @ params['b'] - jax.nn.softplus(params['c'] + v @ params['W']).sum(-1)


def test_its_slope_is_that_of_the_likelihood():
    random = np.random.default_rng(0)
    params = {
        name: jnp.asarray(random.normal(size=shape), jnp.float32)
        for name, shape in dict(W=(4, 3), b=4, c=3).items()
    }
    data = jnp.asarray(random.integers(2, size=(5, 4)), jnp.float32)

    def exact(params):
        constant = jax.nn.logsumexp(-free_energy(params, STATES))
        return (free_energy(params, data) + constant).mean()

    share = jax.nn.softmax(-free_energy(params, STATES))  # the model's samples, all at once

    def difference(params):
        model = (jax.lax.stop_gradient(share) * free_energy(params, STATES)).sum()
        return free_energy_difference(free_energy(params, data), jnp.full(5, model)).mean()

    for found, true in zip(*(jax.tree.leaves(jax.grad(f)(params)) for f in (difference, exact))):
        assert np.abs(true).max() > 0.01
        np.testing.assert_allclose(found, true, atol=1e-6)


def test_the_slope_back_to_a_single_point_costs_nothing():
    noise = jax.random.normal(jax.random.key(0), (6, 2, 3))
    for sigma in (0.1, 2.0):
        value = denoising_score_matching(-noise / sigma, noise, sigma=sigma)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(
            denoising_score_matching(0 * noise, noise, sigma=sigma),
            jnp.square(noise).sum((1, 2)) / 2,
            rtol=1e-6,
        )


def test_the_best_score_of_a_normal_is_that_of_the_blurred_one():
    """Of the scores a x', the best has a = -1 / (1 + sigma^2), from N(0, 1 + sigma^2)."""
    k1, k2 = jax.random.split(jax.random.key(0))
    sigma, n = 0.7, 200_000
    x, noise = jax.random.normal(k1, (n, 1)), jax.random.normal(k2, (n, 1))
    noisy = x + sigma * noise

    def loss(a):
        return denoising_score_matching(a * noisy, noise, sigma=sigma).mean()

    slope, curvature = jax.grad(loss)(0.0), jax.grad(jax.grad(loss))(0.0)
    np.testing.assert_allclose(-slope / curvature, -1 / (1 + sigma**2), rtol=0.02)
