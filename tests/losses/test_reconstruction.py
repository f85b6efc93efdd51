"""mae against its definition, patch by patch in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import mae

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def patches(b=3, t=6, p=12):
    mask = np.array([random.permutation(t) < 4 for _ in range(b)])
    return random.normal(size=(b, t, p)), 0.3 + 2 * random.normal(size=(b, t, p)), mask


def paper(prediction, x, mask, normalize=True):
    values = []
    for i in range(len(x)):
        errors = []
        for j in np.flatnonzero(mask[i]):
            target = x[i, j]
            if normalize:
                target = (target - np.mean(target)) / np.sqrt(np.var(target) + 1e-6)
            errors.append(np.mean((prediction[i, j] - target) ** 2))
        values.append(np.mean(errors))
    return np.array(values)


@pytest.mark.parametrize('normalize', [True, False])
def test_equals_the_paper(normalize):
    given = patches()
    found = mae(*given, normalize=normalize)
    np.testing.assert_allclose(found, paper(*given, normalize=normalize), rtol=2e-5)


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


@pytest.mark.parametrize('normalize', [True, False])
def test_gradient(normalize):
    prediction, x, mask = patches()
    found = jax.grad(lambda p: mae(p, x, mask, normalize=normalize).sum())(jnp.asarray(prediction))
    direction = random.normal(size=x.shape)
    ahead, behind = (
        paper(prediction + e * direction, x, mask, normalize).sum() for e in (1e-5, -1e-5)
    )
    np.testing.assert_allclose((found * direction).sum(), (ahead - behind) / 2e-5, rtol=1e-3)
    assert not found[~mask].any()  # what was seen is not scored


def test_a_row_minds_its_own():
    prediction, x, mask = patches()
    jacobian = jax.jacobian(lambda p: mae(p, x, mask))(jnp.asarray(prediction))
    other = ~np.eye(3, dtype=bool)
    assert not jacobian[other].any() and jacobian[~other].any()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_flat_patches_and_an_empty_mask_are_finite(dtype):
    x = jnp.full((2, 4, 8), 0.7, dtype)
    for mask in (jnp.ones((2, 4), bool), jnp.zeros((2, 4), bool)):
        value, grad = jax.value_and_grad(lambda p, mask=mask: mae(p, x, mask).sum())(x)
        assert np.isfinite(value) and np.isfinite(grad.astype('f')).all()
        assert value.dtype == jnp.float32
