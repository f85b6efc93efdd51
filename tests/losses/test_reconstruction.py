"""Masked patches: limits and invariances; the formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import mae, simmim

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def patches(b=3, t=6, p=12):
    mask = np.array([random.permutation(t) < 4 for _ in range(b)])
    return random.normal(size=(b, t, p)), 0.3 + 2 * random.normal(size=(b, t, p)), mask


def test_default_is_the_papers():
    given = patches()
    np.testing.assert_array_equal(mae(*given), mae(*given, normalize=True))


def test_predicting_the_mean_costs_one():
    _, x, mask = patches(p=400)
    np.testing.assert_allclose(mae(np.zeros_like(x), x, mask), 1, rtol=1e-5)


def test_light_and_contrast_of_a_patch_mean_nothing():
    prediction, x, mask = patches()
    other = 5 * x + np.arange(6)[:, None]
    np.testing.assert_allclose(mae(prediction, other, mask), mae(prediction, x, mask), rtol=1e-4)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_flat_patches_and_an_empty_mask_are_finite(dtype):
    x = jnp.full((2, 4, 8), 0.7, dtype)
    for mask in (jnp.ones((2, 4), bool), jnp.zeros((2, 4), bool)):
        value, grad = jax.value_and_grad(lambda p, mask=mask: mae(p, x, mask).sum())(x)
        assert np.isfinite(value) and np.isfinite(grad.astype('f')).all()
        assert value.dtype == jnp.float32 and (mask.any() or value == 0)


@pytest.mark.parametrize('loss', [mae, simmim])
def test_what_was_seen_is_not_scored(loss):
    prediction, x, mask = patches()
    grad = jax.grad(lambda p: loss(p, x, mask).sum())(jnp.asarray(prediction))
    assert not grad[~mask].any() and grad[mask].any()


def test_a_distance_of_one_costs_one():
    _, x, mask = patches()
    np.testing.assert_allclose(simmim(x + 1, x, mask), 1, rtol=1e-5)
