"""Statistics of a batch: values by hand and invariances; the formulas are in test_proofs.py."""

import jax.numpy as jnp
import numpy as np

from ssljax.losses import barlow_twins, koleo, vicreg

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
