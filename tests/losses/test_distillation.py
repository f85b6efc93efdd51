"""Students of teachers: values by hand, symmetries, schedules; formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import cosine_regression, dino, dino_center, dino_temperature

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def logits(b=3, g=2, v=5, k=7):
    return random.normal(size=(b, v, k)), random.normal(size=(b, g, k)), random.normal(size=k)


def test_defaults_are_the_papers():
    s, t, c = logits()
    spelled = dino(s, t, center=c, student_temperature=0.1, teacher_temperature=0.04)
    np.testing.assert_array_equal(dino(s, t, center=c), spelled)


def test_by_hand():
    # the teacher is sure of class 0; a student with equal logits pays log 2 in both of its views
    t = jnp.array([[[100.0, 0.0], [100.0, 0.0]]])
    np.testing.assert_allclose(dino(jnp.zeros((1, 2, 2)), t, center=jnp.zeros(2)), np.log(2))


def test_no_gradient_reaches_the_teacher_or_the_center():
    s, t, c = map(jnp.asarray, logits())
    of_t, of_c = jax.grad(lambda t, c: dino(s, t, center=c).sum(), (0, 1))(t, c)
    assert not of_t.any() and not of_c.any()


def test_a_view_never_predicts_itself():
    """Of two views, each moves only the term of the other."""
    s, t, c = logits(v=2)
    changed = t.copy()
    changed[:, 0] = random.normal(size=t[:, 0].shape)
    grads = [
        jax.grad(lambda s, t=t: dino(s, t, center=c, teacher_temperature=1.0).sum())(jnp.asarray(s))
        for t in (t, changed)
    ]
    np.testing.assert_allclose(grads[0][:, 0], grads[1][:, 0], rtol=1e-6)
    assert np.abs(grads[0][:, 1] - grads[1][:, 1]).max() > 0.1


def test_the_order_of_small_views_and_of_prototypes_means_nothing():
    s, t, c = logits()
    value, order = dino(s, t, center=c), random.permutation(7)
    np.testing.assert_allclose(dino(s[:, [0, 1, 4, 2, 3]], t, center=c), value, rtol=1e-5)
    np.testing.assert_allclose(
        dino(s[..., order], t[..., order], center=c[order]), value, rtol=1e-5
    )
    np.testing.assert_allclose(dino(s + 3, t - 5, center=c), value, rtol=1e-4)  # softmax


def test_the_center_is_taken_off_the_teacher():
    s, t, c = logits()
    shift = random.normal(size=7)
    value = dino(s, t, center=c)
    np.testing.assert_allclose(dino(s, t + shift, center=c + shift), value, rtol=1e-4)
    assert np.abs(dino(s, t, center=c + shift) - value).max() > 0.1


def test_the_center_is_a_running_mean_of_the_teachers_logits():
    _, t, c = logits()
    found = dino_center(c, t, momentum=0.75)
    np.testing.assert_allclose(found, 0.75 * c + 0.25 * t.mean((0, 1)), rtol=1e-5, atol=1e-6)
    assert not jax.grad(lambda t: dino_center(c, t).sum())(jnp.asarray(t)).any()
    parts = t[:2].reshape(2, 1, *t.shape[1:])  # a row each
    cut = jax.vmap(lambda t: dino_center(c, t, axis_name='data'), axis_name='data')(parts)
    for found in cut:
        np.testing.assert_allclose(found, dino_center(c, t[:2]), rtol=1e-5, atol=1e-6)


def test_the_temperature_rises_in_a_line_and_stays():
    found = [float(dino_temperature(step, rise=10)) for step in (0, 5, 10, 1000)]
    np.testing.assert_allclose(found, [0.04, 0.055, 0.07, 0.07], rtol=1e-6)
    for rise in (0, 1):
        found = [float(dino_temperature(step, rise=rise)) for step in range(3)]
        np.testing.assert_allclose(found, [0.04, 0.07, 0.07], rtol=1e-6)


def test_directions_alone_are_regressed():
    p, z = random.normal(size=(2, 4, 3))
    value = cosine_regression(p, z)
    np.testing.assert_allclose(cosine_regression(5 * p, 0.1 * z), value, rtol=1e-5)
    np.testing.assert_allclose(cosine_regression(p, 2 * p), 0, atol=1e-6)
    np.testing.assert_allclose(cosine_regression(p, -p), 4, rtol=1e-6)


def test_a_row_of_no_length_has_no_direction():
    """Below a length of 1e-12: its unit row is zero and has no gradient."""
    p = jnp.array([[2e-12, 0.0], [5e-13, 0.0], [0.0, 0.0], [3e19, -3e19]])
    to = jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, -1.0]])
    value, slope = jax.value_and_grad(lambda p: cosine_regression(p, to).sum(), has_aux=False)(p)
    np.testing.assert_allclose(value, 0 + 2 + 2 + 0, rtol=1e-5)
    assert not slope[1:3].any() and np.isfinite(slope).all()
