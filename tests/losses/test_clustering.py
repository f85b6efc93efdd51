"""deepcluster against its definition, and its weights against sampling evenly over clusters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.losses import deepcluster

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def given(b=6, k=4):
    return random.normal(size=(b, k)), random.integers(k, size=b), random.uniform(0.5, 2, size=b)


def paper(logits, labels, weight):
    return np.array(
        [-w * np.log(np.exp(x[y]) / np.exp(x).sum()) for x, y, w in zip(logits, labels, weight)]
    )


def test_equals_the_paper_and_optax():
    logits, labels, weight = given()
    found = deepcluster(logits, labels, weight=weight)
    np.testing.assert_allclose(found, paper(logits, labels, weight), rtol=1e-5)
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(deepcluster(logits, labels), theirs, rtol=1e-5)


def test_gradient():
    logits, labels, weight = given()
    found = jax.grad(lambda x: deepcluster(x, labels, weight=weight).sum())(jnp.asarray(logits))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = weight[:, None] * (softmax - np.eye(4)[labels])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_weights_stand_for_sampling_evenly_over_clusters():
    logits, labels, _ = given(b=300)
    size = np.bincount(labels, minlength=4)
    weighted = deepcluster(logits, labels, weight=300 / 4 / size[labels]).mean()
    plain = np.asarray(deepcluster(logits, labels))
    np.testing.assert_allclose(
        weighted, np.mean([plain[labels == c].mean() for c in range(4)]), rtol=1e-5
    )


def test_a_row_minds_its_own():
    logits, labels, weight = given()
    jacobian = jax.jacobian(lambda x: deepcluster(x, labels, weight=weight))(jnp.asarray(logits))
    other = ~np.eye(6, dtype=bool)
    assert not jacobian[other].any() and jacobian[~other].any()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('scale', [0.0, 1e4])
def test_finite_at_the_ends(dtype, scale):
    logits = jnp.asarray(scale * given()[0], dtype)
    value, grad = jax.value_and_grad(lambda x: deepcluster(x, jnp.zeros(6, int)).sum())(logits)
    assert np.isfinite(value) and value.dtype == jnp.float32 and np.isfinite(grad.astype('f')).all()
