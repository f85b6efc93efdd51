"""Tokens of a teacher: values by hand and invariances; the formulas are in test_proofs.py."""

import jax.numpy as jnp
import numpy as np

from ssljax.losses import data2vec, dino, gram_anchoring, ibot, jepa


def two(*shape):
    return np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)


def test_by_hand():
    zero, some = jnp.zeros((1, 2, 2)), jnp.array([[[0.5, 3.0], [9.0, 9.0]]])
    mask = jnp.array([[True, False]])
    # 1/8 inside of beta = 1, and 3 - 1/2 beyond it
    np.testing.assert_allclose(data2vec(some, zero, mask, beta=1.0), (0.125 + 2.5) / 2)
    np.testing.assert_allclose(data2vec(some, zero, mask), (0.0625 + 2) / 2)  # beta = 2
    np.testing.assert_allclose(jepa(some, zero, where=mask), (0.25 + 9) / 2)
    np.testing.assert_allclose(jepa(some, zero, where=mask, absolute=True), 3.5 / 2)
    # equal patches in the student, orthogonal ones in the teacher: two of four products are off
    student, teacher = jnp.ones((1, 2, 3)), jnp.eye(2)[None]
    np.testing.assert_allclose(gram_anchoring(student, teacher), 0.5, rtol=1e-6)
    sure = jnp.array([[[50.0, 0.0], [0.0, 50.0]]])
    found = ibot(jnp.zeros((1, 2, 2)), sure, mask, center=jnp.zeros(2))
    np.testing.assert_allclose(found, np.log(2), rtol=1e-6)


def test_patches_turned_together_are_to_each_other_as_before():
    x, y = two(2, 5, 4)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0].astype(np.float32)
    np.testing.assert_allclose(gram_anchoring(x @ turn * 3, x), 0, atol=1e-10)
    np.testing.assert_allclose(gram_anchoring(x @ turn, y), gram_anchoring(x, y), rtol=1e-4)


def test_a_masked_patch_is_a_view_of_dino():
    """Two views that are each other's, against one patch of each."""
    s, t = two(3, 2, 5)
    center = np.random.default_rng(1).normal(size=5).astype(np.float32)
    views = dino(s, t, center=center, teacher_temperature=0.07)
    patches = ibot(s[:, ::-1], t, jnp.ones((3, 2), bool), center=center, teacher_temperature=0.07)
    np.testing.assert_allclose(patches, views, rtol=1e-5)


def test_classes_that_are_masked_by_minus_infinity():
    s, t = two(2, 3, 4)
    s, t = s.copy(), t.copy()
    s[..., 1] = t[..., 1] = -np.inf
    mask = jnp.ones((2, 3), bool)
    found = ibot(s, t, mask, center=jnp.zeros(4))
    kept = [0, 2, 3]
    without = ibot(s[..., kept], t[..., kept], mask, center=jnp.zeros(3))
    np.testing.assert_allclose(found, without, rtol=1e-5)
