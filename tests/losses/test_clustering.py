"""Assignments and losses against them: limits, symmetries; formulas are in test_proofs.py."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linear_sum_assignment

from ssljax.losses import (
    assignment,
    deepcluster,
    deepcluster_v2,
    gaussian_mixture,
    nat,
    responsibilities,
    self_labelling,
    sinkhorn,
    swav,
)

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


def test_centroids_that_classify_by_hand():
    z = jnp.stack([3 * jnp.eye(2), 2 * jnp.eye(2)[::-1]], 1)  # one view agrees, one does not
    found = deepcluster_v2(z, jnp.arange(2), 5 * jnp.eye(2), temperature=1.0)
    np.testing.assert_allclose(found, np.log(np.e + 1) - 0.5, rtol=1e-6)


def test_noise_as_targets_by_hand():
    z, c = jnp.array([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]]), jnp.array([[1.0, 0.0]] * 3)
    np.testing.assert_allclose(nat(z, c), [0, 1, 2], atol=1e-6)


def cheapest(cost):
    rows = range(len(cost))
    orders = itertools.permutations(range(cost.shape[1]), len(cost))
    return min(sum(cost[i, j] for i, j in zip(rows, order)) for order in orders)


@pytest.mark.parametrize('shape', [(5, 5), (3, 6)])
def test_an_assignment_is_the_cheapest_of_all(shape):
    costs = random.normal(size=(40, *shape))
    costs[20:] = np.round(2 * costs[20:])  # with many ties
    costs = costs.astype(np.float32)
    found = np.asarray(jax.jit(jax.vmap(assignment))(costs))
    for cost, columns in zip(costs, found):
        assert len(set(columns)) == shape[0] and set(columns) <= set(range(shape[1]))
        np.testing.assert_allclose(
            cost[np.arange(shape[0]), columns].sum(), cheapest(cost), rtol=1e-5, atol=1e-5
        )


def test_an_assignment_of_a_batch_is_scipys():
    z, c = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in random.normal(size=(2, 64, 3)))
    cost = -(z @ c.T).astype(np.float32)
    found = np.asarray(jax.jit(assignment)(cost))
    assert sorted(found) == list(range(64))
    best = cost[linear_sum_assignment(cost)].sum()
    np.testing.assert_allclose(cost[np.arange(64), found].sum(), best, rtol=1e-5)
    np.testing.assert_allclose(nat(z, c[found]).sum(), 64 + best, rtol=1e-4)


def test_an_assignment_ends_whatever_the_costs():
    for bad in (np.nan, np.inf, -np.inf):
        cost = random.normal(size=(5, 5)).astype(np.float32)
        cost[2], cost[:, 3] = bad, bad
        assert sorted(np.asarray(jax.jit(assignment)(cost))) == list(range(5))
    with pytest.raises(ValueError, match=r'cost is \[4, 3\]; it must be \[N, M\], N at most M'):
        assignment(np.zeros((4, 3)))


def mixture(k=3, d=2):
    return random.normal(size=(k, d)), 0.3 * random.normal(size=(k, d)), random.normal(size=k)


def test_a_step_of_em_never_lowers_the_likelihood():
    x, (mean, log_variance, logits) = random.normal(size=(40, 2)), mixture()
    before = np.inf
    for _ in range(4):
        now = float(gaussian_mixture(logits, mean, log_variance, x).sum())
        assert now < before
        before = now
        r = np.asarray(responsibilities(logits, mean, log_variance, x), np.float64)
        mean = r.T @ x / r.sum(0)[:, None]
        square = (x[:, None] - mean) ** 2
        log_variance = np.log(np.einsum('bk,bkd->kd', r, square) / r.sum(0)[:, None])
        logits = np.log(r.sum(0))


def test_a_mixture_by_hand():
    mean, zero = jnp.array([[1.0], [-1.0]]), jnp.zeros((2, 1))
    x = jnp.array([[0.0], [1.0]])
    r = responsibilities(jnp.zeros(2), mean, zero, x)
    np.testing.assert_allclose(r[:, 0], [0.5, 1 / (1 + np.exp(-2))], rtol=1e-6)
    density = (1 + np.exp(-2)) / 2 / np.sqrt(2 * np.pi)
    found = gaussian_mixture(jnp.zeros(2), mean, zero, x)
    np.testing.assert_allclose(found[1], -np.log(density), rtol=1e-6)
    far = responsibilities(jnp.zeros(2), mean, zero, [[1e6]])  # no density of it is left
    np.testing.assert_allclose(far, [[1, 0]], atol=1e-6)


def test_one_mixture_for_all_rows_is_that_of_each_row():
    """Its slope, too: the sum of those of the rows."""
    x, mean, log_variance = random.normal(size=(5, 2)), *random.normal(size=(2, 3, 2))
    logits, ones = random.normal(size=3), np.ones((5, 1))
    each = ones * logits, ones[..., None] * mean, ones[..., None] * log_variance

    def sum_(*parts):
        return (gaussian_mixture(*parts, x) * jnp.arange(5.0)).sum()

    both = jax.jit(jax.value_and_grad(sum_, (0, 1, 2)))
    (value, slopes), (value_each, slopes_each) = both(logits, mean, log_variance), both(*each)
    np.testing.assert_allclose(value, value_each, rtol=1e-5)
    for slope, slope_each in zip(slopes, slopes_each):
        np.testing.assert_allclose(slope, slope_each.sum(0), rtol=1e-4, atol=1e-5)


def test_labels_of_the_classifiers_own_are_of_equal_size():
    logits = random.normal(size=(12, 3)) + np.array([2.0, 0, 0])  # it prefers the first
    q = np.asarray(self_labelling(logits, sharpness=5.0, rounds=300))
    np.testing.assert_allclose(q.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(q.sum(0), 4, rtol=1e-3)
    assert np.bincount(logits.argmax(1), minlength=3).max() > 6
    found = self_labelling(3 * logits, sharpness=5.0, rounds=9)  # power and logits are one scale
    np.testing.assert_allclose(found, self_labelling(logits, sharpness=15.0, rounds=9), rtol=1e-3)
