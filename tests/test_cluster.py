"""Whitening, k-means and agreement against NumPy and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from ssljax import cluster
from ssljax.cluster import agreement, whiten

KEY = jax.random.key(0)
# with the number of rounds as a variable, so that it is compiled once for all of them
kmeans = jax.jit(cluster.kmeans.__wrapped__, static_argnames='k')


def blobs(n=600, k=8, d=5, apart=6.0):
    random = np.random.default_rng(0)
    centers = apart * random.normal(size=(k, d))
    y = random.integers(k, size=n)
    return (centers[y] + random.normal(size=(n, d))).astype('f'), y


def test_whitened_rows_have_unit_covariance_up_to_their_length():
    random = np.random.default_rng(0)
    x = random.normal(size=(4000, 6)) @ random.normal(size=(6, 6)) + 3
    found = np.asarray(whiten(jnp.asarray(x, 'f'), dims=4))
    assert found.shape == (4000, 4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    # the same subspace and the same angles as by a singular value decomposition
    u, _, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    u = u[:, :4] / np.linalg.norm(u[:, :4], axis=1, keepdims=True)
    np.testing.assert_allclose(found[:50] @ found[:50].T, u[:50] @ u[:50].T, atol=2e-3)


def test_whitening_survives_dead_features():
    x = np.random.default_rng(0).normal(size=(100, 5)).astype('f')
    x[:, 2:] = 0
    found = np.asarray(whiten(jnp.asarray(x), dims=5))
    assert np.isfinite(found).all()


def test_kmeans_ends_as_low_as_scikit_learns():
    x, _ = blobs()
    labels, centers, _ = map(np.asarray, kmeans(KEY, x, k=8, rounds=30))
    mine = np.square(x - np.asarray(centers)[labels]).sum()
    start = x[np.random.default_rng(1).permutation(len(x))[:8]]
    theirs = [
        KMeans(8, init=start if i == 0 else 'random', n_init=1, random_state=i).fit(x).inertia_
        for i in range(5)
    ]
    assert mine <= max(theirs) * 1.01
    # a fixed point: every row is with its nearest center, every center the mean of its rows
    far = np.square(x[:, None] - np.asarray(centers)).sum(-1)
    assert (far.argmin(1) == labels).all()
    same = cluster.kmeans(KEY, x, k=8, rounds=30)
    np.testing.assert_array_equal(same[0], labels)
    for c in np.unique(labels):
        np.testing.assert_allclose(centers[c], x[labels == c].mean(0), atol=1e-3)


def test_more_rounds_are_never_worse():
    x, _ = blobs(apart=1.0)
    losses = []
    for rounds in range(6):
        labels, centers, _ = map(np.asarray, kmeans(KEY, x, k=8, rounds=rounds))
        losses.append(np.square(x - np.asarray(centers)[labels]).sum())
    assert (np.diff(losses) <= 1e-2).all() and losses[-1] < losses[0]


def test_an_emptied_cluster_shares_the_rows_of_another():
    """Three distinct rows, four centers: one is always empty, and none is lost or NaN."""
    x = np.repeat(np.eye(3, dtype='f'), [5, 50, 3], 0)
    labels, centers, emptied = map(np.asarray, kmeans(KEY, x, k=4, rounds=10))
    assert emptied > 0 and np.isfinite(centers).all()
    away = np.linalg.norm(centers[:, None] - np.eye(3), axis=-1).min(1)  # from the nearest row
    assert (away > 0).sum() == 1 and away.max() < 0.01  # near its rows, and not where it was
    x, _ = blobs(k=8, apart=20.0)
    labels, _, _ = kmeans(KEY, x, k=40, rounds=20)
    assert len(np.unique(labels)) > 30


@pytest.mark.parametrize('k', [2, 7])
def test_agreement_is_the_mutual_information_of_scikit_learn(k):
    random = np.random.default_rng(k)
    a = random.integers(k, size=500)
    b = np.where(random.random(500) < 0.5, a, random.integers(k, size=500))
    for other in (b, b * (random.random(500) < 0.3)):  # the second is of another entropy
        expected = normalized_mutual_info_score(a, other, average_method='geometric')
        np.testing.assert_allclose(agreement(a, other, k=k), expected, atol=1e-5)
    np.testing.assert_allclose(agreement(a, (a + 1) % k, k=k), 1, atol=1e-5)
    np.testing.assert_allclose(agreement(a, jnp.zeros(500, int), k=k), 0, atol=1e-5)


def correlated(n=3000, d=5):
    random = np.random.default_rng(1)
    return (random.normal(size=(n, d)) @ random.normal(size=(d, d)) + 2).astype('f')


def inverse_root(x, epsilon):
    """Of the covariance, its mean variance times epsilon added to the diagonal."""
    covariance = np.cov(np.float64(x.T), bias=True)
    ridge = epsilon * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.inv(sqrtm(covariance + ridge)).real


@pytest.mark.parametrize('epsilon', [1e-6, 0.1])
def test_zca_is_the_inverse_root_of_the_covariance(epsilon):
    x = correlated()
    mean, matrix = map(np.asarray, cluster.zca(jnp.asarray(x), epsilon=epsilon))
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-4)
    expected = inverse_root(x, epsilon)
    np.testing.assert_allclose(matrix, expected, atol=1e-3 * np.abs(expected).max())


def test_features_are_alike_whose_squares_rise_and_fall_together():
    random = np.random.default_rng(2)
    z = random.normal(size=(5000, 4))
    z[:, :2] *= np.exp(random.normal(size=(5000, 1)))  # large together, of independent signs
    z = (z @ random.normal(size=(4, 4)) / 20 + z).astype('f')
    found = np.asarray(cluster.alike(jnp.asarray(z), epsilon=0.1))
    white = (z - z.mean(0)) @ inverse_root(z, 0.1)
    np.testing.assert_allclose(found, np.corrcoef(white.T**2), atol=2e-3)
    assert found[0, 1] > 0.15 and np.abs(found[2:, :2]).max() < 0.1
    z[:, 3] = 1
    np.testing.assert_allclose(cluster.alike(jnp.asarray(z), epsilon=0.1)[3, :3], 0, atol=1e-5)


def test_rows_left_out_move_no_center_of_kmeans():
    x, y = blobs()
    x[y >= 4] += 1000
    labels, centers, _ = map(np.asarray, cluster.kmeans(KEY, x, k=6, rounds=9, where=y < 4))
    again, same, _ = map(
        np.asarray, cluster.kmeans(KEY, x - 500 * (y >= 4)[:, None], k=6, rounds=9, where=y < 4)
    )
    assert np.abs(centers).max() < 100
    np.testing.assert_allclose(centers, same, atol=1e-3)
    np.testing.assert_array_equal(labels[y < 4], again[y < 4])
    for c in np.unique(labels[y < 4]):
        mine = (labels == c) & (y < 4)
        np.testing.assert_allclose(centers[c], x[mine].mean(0), atol=1e-3)


def test_the_nearest_view_of_a_row_moves_the_center():
    x, _ = blobs()
    views = np.stack([x, x[:, ::-1]], 1)
    labels, centers, _ = map(np.asarray, cluster.kmeans(KEY, views, k=8, rounds=40))
    far = np.square(views[:, :, None] - centers).sum(-1)  # [N, V, k]
    np.testing.assert_array_equal(far.min(1).argmin(1), labels)
    best = views[np.arange(len(x)), far.min(2).argmin(1)]
    assert 0 < (best != x).any(1).mean() < 1
    for c in np.unique(labels):
        np.testing.assert_allclose(centers[c], best[labels == c].mean(0), atol=1e-3)
