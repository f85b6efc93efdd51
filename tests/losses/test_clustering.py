"""Assignments and losses against them: limits, symmetries; formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.losses import deepcluster, sinkhorn, swav

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def given(b=6, k=4):
    return random.normal(size=(b, k)), random.integers(k, size=b), random.uniform(0.5, 2, size=b)


def test_weights_stand_for_sampling_evenly_over_clusters():
    logits, labels, _ = given(b=300)
    size = np.bincount(labels, minlength=4)
    weighted = deepcluster(logits, labels, weight=300 / 4 / size[labels]).mean()
    plain = np.asarray(deepcluster(logits, labels))
    np.testing.assert_allclose(
        weighted, np.mean([plain[labels == c].mean() for c in range(4)]), rtol=1e-5
    )


def test_without_weights_it_is_optaxs_cross_entropy():
    logits, labels, _ = given()
    theirs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
    np.testing.assert_allclose(deepcluster(logits, labels), theirs, rtol=1e-5)


def test_gradient_of_a_label():
    logits, labels, weight = given()
    found = jax.grad(lambda x: deepcluster(x, labels, weight=weight).sum())(jnp.asarray(logits))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = weight[:, None] * (softmax - np.eye(4)[labels])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_rows_sum_to_one_and_prototypes_share_alike():
    scores = random.normal(size=(40, 5))
    q = sinkhorn(scores, epsilon=0.3, rounds=200)
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(q.sum(0), 40 / 5, rtol=1e-3)
    np.testing.assert_allclose(sinkhorn(scores).sum(1), 1, rtol=1e-5)  # the rows are last


def test_assignments_do_not_mind_a_constant_of_a_row_or_of_a_prototype():
    scores = random.normal(size=(12, 4))
    q = sinkhorn(scores, epsilon=0.5, rounds=50)
    moved = scores + random.normal(size=(12, 1)) + random.normal(size=4)
    np.testing.assert_allclose(sinkhorn(moved, epsilon=0.5, rounds=50), q, atol=1e-4)


def test_a_small_epsilon_does_not_overflow():
    q = sinkhorn(100 * random.normal(size=(12, 4)), epsilon=1e-3, rounds=100)
    assert np.isfinite(q).all() and np.allclose(q.sum(1), 1, atol=1e-4)


def test_views_that_know_nothing_cost_the_log_of_the_prototypes():
    np.testing.assert_allclose(swav(np.zeros((6, 3, 4))), np.log(4), rtol=1e-5)
