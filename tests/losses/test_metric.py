"""Distances in a labeled batch: values by hand, ties, rows that are alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import batch_hard_triplet, info_nce, n_pair, semi_hard_triplet

LINE, PAIRS = jnp.array([[0.0], [1.0], [3.0], [7.0]]), jnp.array([0, 0, 1, 1])


def test_semi_hard_by_hand():
    # squares: 0 has 1 and 9; 1 has 1 and 4; 3 has 16, and none that is further; 7 has 16 and 36
    np.testing.assert_allclose(semi_hard_triplet(LINE, PAIRS, margin=10.0), [2, 7, 0, 0])
    np.testing.assert_allclose(semi_hard_triplet(LINE, PAIRS, margin=21.0), [13, 18, 0, 1])


def test_a_negative_as_near_as_the_positive_is_not_further():
    z, labels = jnp.array([[0.0], [1.0], [-1.0], [2.0]]), jnp.array([0, 0, 1, 1])
    np.testing.assert_allclose(semi_hard_triplet(z, labels, margin=5.0)[0], 1 - 4 + 5)


def test_batch_hard_by_hand():
    # the furthest positive and the nearest negative: 1 and 3; 1 and 2; 4 and 2; 4 and 6
    found = batch_hard_triplet(LINE, PAIRS, margin=0.5)
    np.testing.assert_allclose(found, [0, 0, 2.5, 0], atol=1e-5)
    soft = batch_hard_triplet(LINE, PAIRS, margin=None)
    np.testing.assert_allclose(soft, np.log1p(np.exp([-2, -1, 2, -2])), rtol=1e-5)


@pytest.mark.parametrize('loss', [semi_hard_triplet, batch_hard_triplet])
def test_rows_without_a_positive_or_a_negative_say_nothing(loss):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
    options = dict(margin=9.0)
    alone = jnp.array([0, 0, 1, 1, 2])
    value, grad = jax.value_and_grad(lambda z: loss(z, alone, **options)[4])(z)
    assert value == 0 and not grad.any()
    assert (loss(z, alone, **options)[:4] > 0).any()
    assert not loss(z, jnp.zeros(5, int), **options).any()  # one class
    assert not loss(z, jnp.arange(5), **options).any()  # five


@pytest.mark.parametrize('loss', [semi_hard_triplet, batch_hard_triplet])
def test_order_and_names_of_classes_mean_nothing(loss):
    random = np.random.default_rng(0)
    z, labels = random.normal(size=(8, 3)).astype(np.float32), np.arange(8) % 3
    order, value = random.permutation(8), loss(z, labels, margin=1.0)
    np.testing.assert_allclose(loss(z[order], labels[order], margin=1.0), value[order], rtol=1e-5)
    np.testing.assert_allclose(loss(z + 2, 7 - 3 * labels, margin=1.0), value, rtol=1e-3)


def test_n_pair_of_unit_rows_is_info_nce():
    z1, z2 = np.random.default_rng(0).normal(size=(2, 6, 4)).astype(np.float32)
    z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    np.testing.assert_allclose(n_pair(z1, z2), info_nce(z1, z2, temperature=1.0), rtol=1e-5)
    np.testing.assert_allclose(n_pair(z1, z2, block=4), n_pair(z1, z2), rtol=1e-5)
    np.testing.assert_allclose(n_pair(jnp.eye(2), 3 * jnp.eye(2)), np.log1p(np.exp(-3)), rtol=1e-5)
