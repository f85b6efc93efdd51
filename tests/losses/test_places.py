"""Steps, points, patches: values by hand, limits, one loss as a case of another."""

import jax.numpy as jnp
import numpy as np

from ssljax.losses import cpc, info_nce, n_pair, patch_nce, point_info_nce


def two(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def test_by_hand():
    z = jnp.stack([2 * jnp.eye(2), -2 * jnp.eye(2)])  # [B, T, D]; each step has its own direction
    # own product 4; the other example's -4 at this step, and 0 at the others of both
    np.testing.assert_allclose(cpc(z, z), np.log1p(np.exp(-8)), rtol=1e-3)
    found = cpc(z, z, all_steps=True)
    np.testing.assert_allclose(found, np.log(np.exp(4) + np.exp(-4) + 2) - 4, rtol=1e-4)
    for loss in (point_info_nce, patch_nce):
        np.testing.assert_allclose(loss(z, z, temperature=1.0), np.log(np.e + 1) - 1, rtol=1e-5)


def test_nothing_told_apart_costs_the_log_of_the_choices():
    z = jnp.ones((3, 4, 2))
    np.testing.assert_allclose(cpc(z, z), np.log(3), rtol=1e-6)
    np.testing.assert_allclose(cpc(z, z, all_steps=True), np.log(12), rtol=1e-6)
    where = jnp.array([[1, 1, 1, 0], [1, 0, 1, 0], [1, 0, 0, 0]], bool)
    found = cpc(z, z, where=where)  # as many examples as have the step
    np.testing.assert_allclose(found, np.where(where, np.log([3, 1, 2, 1]), 0), atol=1e-6)
    np.testing.assert_allclose(point_info_nce(z, z, where=where), np.log([3, 2, 1]), atol=1e-6)


def test_a_sequence_of_one_step_is_n_pair():
    p, z = two(5, 1, 3)
    for all_steps in (False, True):
        found = cpc(p, z, all_steps=all_steps)[:, 0]
        np.testing.assert_allclose(found, n_pair(p[:, 0], z[:, 0]), rtol=1e-5)


def test_points_of_one_scan_are_a_batch_of_info_nce():
    z1, z2 = two(2, 6, 4)
    for loss in (point_info_nce, patch_nce):
        found = loss(z1, z2, temperature=0.3)
        alone = [info_nce(a, b, temperature=0.3).mean() for a, b in zip(z1, z2)]
        np.testing.assert_allclose(found, alone, rtol=1e-5)
    assert (point_info_nce(z1, z2) == point_info_nce(z1, z2, temperature=0.07)).all()
