"""Statistics of a batch: values by hand and invariances; the formulas are in test_proofs.py."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from ssljax.losses import (
    barlow_twins,
    koleo,
    mcr2,
    sigreg,
    total_coding_rate,
    vicreg,
    vicregl,
    w_mse,
    whiten,
)

WHITE = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])


def two(n=32, d=4):
    return np.random.default_rng(0).normal(size=(2, n, d))


def test_white_features_that_agree_cost_nothing():
    np.testing.assert_allclose(barlow_twins(WHITE, WHITE), 0, atol=1e-6)
    assert vicreg(WHITE, WHITE) == 0


def test_collapse_is_dear():
    same = jnp.ones((8, 4))
    np.testing.assert_allclose(barlow_twins(same, same), 4, rtol=1e-6)  # every diagonal is zero
    # no invariance or covariance, and a variance of nothing but the small number
    np.testing.assert_allclose(vicreg(same, same), 25 * (1 - 0.01), rtol=1e-5)


def test_copies_of_a_feature_are_dear():
    z = jnp.repeat(WHITE[:, :1], 2, 1)
    np.testing.assert_allclose(barlow_twins(z, z), 5e-3 * 2, rtol=1e-4)  # two entries of one
    # unbiased: the covariance of four rows is 4/3; two entries over two features
    np.testing.assert_allclose(vicreg(z, z), 2 * (4 / 3) ** 2, rtol=1e-5)


def test_scale_and_shift_of_a_feature():
    z1, z2 = two()
    value = barlow_twins(z1, z2)
    scale, shift = np.array([3.0, 0.5, 7.0, 1.0]), np.arange(4.0)
    np.testing.assert_allclose(barlow_twins(z1 * scale + shift, z2), value, rtol=1e-4)
    np.testing.assert_allclose(vicreg(z1 + 5, z2 + 5), vicreg(z1, z2), rtol=1e-4)
    order = np.random.default_rng(1).permutation(32)
    for loss in (barlow_twins, vicreg):
        np.testing.assert_allclose(loss(z1, z2), loss(z2, z1), rtol=1e-5)
        np.testing.assert_allclose(loss(z1[order], z2[order]), loss(z1, z2), rtol=1e-5)


def test_spread_over_the_circle_by_hand():
    z = jnp.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    np.testing.assert_allclose(koleo(z), -np.log(2) / 2, rtol=1e-5)  # neighbors at sqrt(2)
    np.testing.assert_allclose(koleo(3 * z), koleo(z), rtol=1e-6)  # length means nothing


def test_rows_that_touch_have_a_bound_below_which_distance_means_nothing():
    for distance, value in ((1e-6, 6 * np.log(10)), (0.0, 8 * np.log(10))):
        found = koleo(jnp.array([[1.0, 0.0], [1.0, distance]]))
        np.testing.assert_allclose(found, value, rtol=1e-4)


def test_whitened_features_have_the_identity_as_covariance():
    z, _ = two(32, 4)
    mixed = z @ np.random.default_rng(1).normal(size=(4, 4)) + 3
    w = whiten(mixed, shrinkage=0.0)
    np.testing.assert_allclose(np.cov(w, rowvar=False), np.eye(4), atol=1e-4)
    np.testing.assert_allclose(w.mean(0), 0, atol=1e-5)


def test_whitening_forgets_scales_and_triangular_mixes():
    """With a factor of Cholesky, features are made orthogonal one after another."""
    z, other = two(32, 4)
    mix = np.tril(np.random.default_rng(1).normal(size=(4, 4)), -1) + np.diag([1, 3, 0.5, 2])
    np.testing.assert_allclose(w_mse(z, z @ mix.T + 1, shrinkage=0.0), 0, atol=1e-4)
    assert w_mse(z, other, shrinkage=0.0).mean() > 1
    same = jnp.ones((8, 4))  # collapsed: no direction is left
    np.testing.assert_allclose(w_mse(same, same), 2, atol=1e-6)


def test_coding_rates_by_hand():
    eye, same = jnp.eye(4), jnp.ones((4, 4))
    spread, narrow = 2 * np.log(1 + 1 / 0.5), np.log(1 + 4 / 0.5) / 2  # a distortion of 0.5
    np.testing.assert_allclose(total_coding_rate(7 * eye), spread, rtol=1e-5)
    np.testing.assert_allclose(total_coding_rate(same), narrow, rtol=1e-5)
    np.testing.assert_allclose(mcr2(eye, jnp.ones((4, 1))), 0, atol=1e-5)  # one group
    # two groups of equal rows, orthogonal to each other
    z, groups = eye[jnp.array([0, 0, 1, 1])], jnp.eye(2)[jnp.array([0, 0, 1, 1])]
    by_hand = narrow - np.log(1 + 2 / 0.5)
    np.testing.assert_allclose(mcr2(z, groups), by_hand, rtol=1e-5)
    empty = jnp.pad(groups, ((0, 0), (0, 1)))
    np.testing.assert_allclose(mcr2(z, empty), by_hand, rtol=1e-5)
    assert mcr2(z, groups[:, ::-1]) < mcr2(z, groups[jnp.array([0, 2, 1, 3])])


def test_a_normal_sample_passes_and_a_collapsed_one_does_not():
    directions = jnp.ones((1, 1))
    sample = norm.ppf((np.arange(200) + 0.5) / 200)[:, None]
    assert sigreg(sample, directions) < 0.01
    # for equal zeros, N times the integral of (1 - f)^2 f
    integral = np.sqrt(2 * np.pi) * (1 - np.sqrt(2) + np.sqrt(1 / 3))
    np.testing.assert_allclose(sigreg(0 * sample, directions), 200 * integral, rtol=1e-4)
    for other in (2 * sample, sample + 0.5, np.sign(sample)):
        assert sigreg(other, directions) > 5
    np.testing.assert_allclose(
        sigreg(2 * sample, -5 * directions), sigreg(2 * sample, directions), rtol=1e-5
    )


def patches(seed=0, n=8, p=4):
    random = np.random.default_rng(seed)
    return [random.normal(size=(n, p, d)).astype(np.float32) for d in (3, 3, 2, 2)]


def test_patches_are_matched_wherever_they_stand():
    z1, z2, at1, at2 = patches()
    value = vicregl(z1, z2, at1, at2, matches=2)
    np.testing.assert_allclose(vicregl(z2, z1, at2, at1, matches=2), value, rtol=1e-5)
    order = np.random.default_rng(1).permutation(4)
    np.testing.assert_allclose(
        vicregl(z1[:, order], z2, at1[:, order], at2, matches=2), value, rtol=1e-5
    )


def test_patches_of_one_place_that_agree_cost_what_their_spread_does():
    z, _, at, _ = patches()
    order = np.random.default_rng(1).permutation(4)
    moved, there = z[:, order], at[:, order]
    options = dict(variance=0.0, covariance=0.0)
    np.testing.assert_allclose(vicregl(z, moved, at, there, matches=4, **options), 0, atol=1e-10)
    # one patch: the pairs of the batch are those of vicreg, once by place and once by feature
    x, y = z[:, :1], moved[:, :1]
    found = vicregl(x, y, at[:, :1], there[:, :1], matches=1, covariance=2.0)
    np.testing.assert_allclose(found, 2 * vicreg(x[:, 0], y[:, 0], covariance=1.0), rtol=1e-5)


def test_more_matches_than_patches_are_refused():
    with pytest.raises(ValueError, match='vicregl: matches=5; it must be from 1 to 4'):
        vicregl(*patches(), matches=5)
