"""A batch against a memory: values by hand, limits; the formulas are in test_proofs.py."""

import jax.numpy as jnp
import numpy as np

from ssljax.losses import (
    info_nce,
    instance_discrimination,
    instance_log_normalizer,
    instance_nce,
    nearest_row,
    nnclr,
    ressl,
)

TWO = jnp.eye(2)


def rows(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_by_hand():
    index = jnp.arange(2)
    found = instance_discrimination(TWO, index, TWO, temperature=1.0)
    np.testing.assert_allclose(found, np.log(np.e + 1) - 1, rtol=1e-6)
    # one noise row of two, each as likely under the noise: P against m P_n = 1/2
    noise = jnp.array([[1], [0]])
    found = instance_nce(TWO, index, noise, TWO, log_normalizer=np.log(np.e + 1), temperature=1.0)
    own, other = np.e / (np.e + 1), 1 / (np.e + 1)
    by_hand = -np.log(own / (own + 0.5)) - np.log(0.5 / (other + 0.5))
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    # the student knows no order of the queue; the teacher is sure of its first row
    student, teacher = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 0.0]])
    np.testing.assert_allclose(ressl(student, teacher, TWO), np.log(2), rtol=1e-5)


def test_a_constant_over_each_row_once_is_exact():
    z, bank = rows(3, 5), rows(9, 5, seed=1)
    every = np.tile(np.arange(9), (3, 1))
    found = instance_log_normalizer(z, every, bank, temperature=0.5)
    a, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (z, bank))
    np.testing.assert_allclose(found, np.log(np.exp(a @ v.T / 0.5).sum(1).mean()), rtol=1e-5)
    # at a temperature at which no sum of exponentials fits float32
    cold = instance_log_normalizer(z, every, bank, temperature=1e-3)
    np.testing.assert_allclose(cold, (a @ v.T).max() / 1e-3 - np.log(3), rtol=1e-3)


def test_where_there_is_no_row_there_is_no_number():
    z, bank = rows(2, 5), rows(9, 5, seed=1)
    index, noise = np.array([3, 9]), np.array([[1, 2], [3, 4]])
    for found in (
        instance_discrimination(z, index, bank),
        instance_nce(z, index, noise, bank, log_normalizer=2.0),
    ):
        assert np.isfinite(found[0]) and np.isnan(found[1])


def test_the_nearest_row_is_that_of_the_least_distance_and_the_first_of_equal_ones():
    z, queue = rows(7, 3), rows(20, 3, seed=1)
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (z, queue))
    expected = np.linalg.norm(a[:, None] - b, axis=-1).argmin(1)
    np.testing.assert_array_equal(
        nearest_row(2 * z, queue * (1 + np.arange(20)[:, None])), expected
    )
    np.testing.assert_array_equal(nearest_row(z, np.concatenate([queue, queue])), expected)


def test_a_queue_that_holds_the_rows_themselves_makes_info_nce():
    z, prediction = rows(2, 6, 5)
    order = np.random.default_rng(1).permutation(6)
    found = nnclr(2 * z, prediction, 3 * z[order], temperature=0.3)
    np.testing.assert_allclose(found, info_nce(z, prediction, temperature=0.3), rtol=1e-5)
    blocks = nnclr(z, prediction, z, temperature=0.3, block=4)
    np.testing.assert_allclose(blocks, found, rtol=1e-5)


def test_a_student_like_its_teacher_pays_the_entropy_alone():
    z, queue = rows(3, 5), rows(9, 5, seed=1)
    found = ressl(z, z, queue, student_temperature=0.2, teacher_temperature=0.2)
    a, m = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (z, queue))
    p = np.exp(a @ m.T / 0.2)
    p /= p.sum(1, keepdims=True)
    np.testing.assert_allclose(found, -(p * np.log(p)).sum(1), rtol=1e-4)
    assert (ressl(z, z[::-1], queue, student_temperature=0.2)[:1] > found[:1]).all()
