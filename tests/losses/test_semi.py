"""Targets of the net's own: values by hand; the formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.losses import cross_entropy, entropy, fixmatch, pseudo_label

LOGITS = jnp.log(jnp.array([[0.97, 0.02, 0.01], [0.6, 0.3, 0.1]]))


def test_by_hand():
    np.testing.assert_allclose(pseudo_label(LOGITS), -np.log([0.97, 0.6]), rtol=1e-5)
    np.testing.assert_allclose(pseudo_label(LOGITS, threshold=0.9), [-np.log(0.97), 0], rtol=1e-5)
    np.testing.assert_allclose(fixmatch(jnp.zeros((2, 3)), LOGITS), [np.log(3), 0], rtol=1e-5)
    np.testing.assert_allclose(entropy(jnp.zeros((2, 5))), np.log(5), rtol=1e-6)
    np.testing.assert_allclose(entropy(1e4 * LOGITS), 0, atol=1e-6)


def test_a_class_that_just_reaches_the_threshold_counts():
    even = jnp.zeros((1, 2))  # a probability of exactly 0.5
    for threshold, value in ((0.5, np.log(2)), (0.50001, 0)):
        found = pseudo_label(even, threshold=threshold), fixmatch(even, even, threshold=threshold)
        np.testing.assert_allclose(found, value, rtol=1e-6)


def test_what_is_not_sure_moves_nothing():
    grad = jax.grad(lambda s: fixmatch(s, LOGITS).sum())(jnp.zeros((2, 3)))
    assert grad[0].any() and not grad[1].any()


def test_a_pseudo_label_has_the_gradient_of_a_label():
    grad = jax.grad(lambda x: pseudo_label(x).sum())(LOGITS)
    expected = np.array([[0.97 - 1, 0.02, 0.01], [0.6 - 1, 0.3, 0.1]])
    np.testing.assert_allclose(grad, expected, atol=1e-6)


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 1.0])
def test_cross_entropy_is_optax_s(smoothing):
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(6, 4)).astype(np.float32), random.integers(4, size=6)
    targets = optax.smooth_labels(jax.nn.one_hot(labels, 4), smoothing)
    other = optax.softmax_cross_entropy(logits, targets)
    found = cross_entropy(jnp.asarray(logits), labels, smoothing=smoothing)
    np.testing.assert_allclose(found, other, rtol=1e-5)
