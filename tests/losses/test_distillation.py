"""Students of teachers: values by hand, symmetries, schedules; formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import (
    bag_of_words,
    cosine_regression,
    cross_entropy,
    deit_hard,
    deit_soft,
    dino,
    dino_center,
    dino_temperature,
    knowledge_distillation,
    msn,
    obow,
    sinkhorn,
    sinkhorn_center,
)

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


def test_a_center_by_sinkhorn_makes_its_shares():
    _, t, _ = logits(b=6, k=4)
    rows, tau = t.reshape(12, 4), 0.5
    for rounds in (0, 1, 3, 50):
        c = sinkhorn_center(t, temperature=tau, rounds=rounds)
        shares = jax.nn.softmax((rows - c) / tau)
        if rounds:
            found = sinkhorn(rows, epsilon=tau, rounds=rounds)
            np.testing.assert_allclose(shares, found, rtol=1e-4, atol=1e-6)
        else:
            assert not c.any()
    np.testing.assert_allclose(shares.sum(0), 3, rtol=1e-4)  # of each prototype equally much
    assert not jax.grad(lambda t: sinkhorn_center(t, temperature=tau).sum())(jnp.asarray(t)).any()


def test_a_center_by_sinkhorn_is_of_the_rows_that_count():
    _, t, _ = logits(b=6, k=4)
    where = random.uniform(size=(6, 2)) < 0.5
    alone = sinkhorn_center(t[where], temperature=0.5)
    odd = np.where(where[..., None], t, np.nan)
    np.testing.assert_allclose(sinkhorn_center(odd, temperature=0.5, where=where), alone, rtol=1e-5)


def test_a_center_by_sinkhorn_is_of_the_whole_batch():
    _, t, _ = logits(b=8, k=4)
    plain = sinkhorn_center(t, temperature=0.5)

    def cut(t, where):
        return sinkhorn_center(t, temperature=0.5, where=where, axis_name='data')

    parts = t.reshape(4, 2, 2, 4)
    for where in (None, np.ones((4, 2, 2), bool)):
        axes = (0, None if where is None else 0)
        for c in jax.vmap(cut, axes, axis_name='data')(parts, where):
            np.testing.assert_allclose(c, plain, rtol=1e-5)


def test_all_prototypes_used_evenly_and_surely_is_best():
    """MSN by hand: sure and even costs -log K, one prototype for all 0, no opinion 0."""
    sure, one = 1e3 * jnp.eye(4), 1e3 * jnp.eye(4)[jnp.zeros(4, int)]
    np.testing.assert_allclose(msn(sure[:, None], sure), -np.log(4), rtol=1e-5)
    np.testing.assert_allclose(msn(one[:, None], one), 0, atol=1e-5)
    even = jnp.zeros((4, 1, 4))
    np.testing.assert_allclose(msn(even, sure), 0, atol=1e-5)
    np.testing.assert_allclose(msn(even, sure, weight=0.0), np.log(4), rtol=1e-5)
    grad = jax.grad(lambda a: msn(a, one).sum())(one[:, None])  # prototypes that nobody uses
    assert np.isfinite(grad).all()


def test_softened_classes_by_hand():
    # softened by T = 2: even against 3 to 1, 4 (1/2 log(4/3 * 2/2 ...)) of each class
    student, teacher = jnp.array([[2 * np.log(3.0), 0.0]]), jnp.zeros((1, 2))
    value = knowledge_distillation(student, teacher, temperature=2.0)
    np.testing.assert_allclose(value, 4 * (np.log(0.5 / 0.75) + np.log(0.5 / 0.25)) / 2, rtol=1e-5)
    s, t = (x[:, 0] for x in logits()[:2])
    np.testing.assert_allclose(knowledge_distillation(t, t, temperature=3.0), 0, atol=1e-6)
    slopes = [
        jax.grad(lambda s, T=T: knowledge_distillation(s, t, temperature=T).sum())(jnp.asarray(s))
        for T in (1e2, 1e3)
    ]
    np.testing.assert_allclose(*slopes, rtol=0.1, atol=1e-3)  # the size does not hang on T


def test_deit_is_told_the_labels_by_one_token_and_the_teacher_by_the_other():
    s, d, t = random.normal(size=(3, 4, 5))
    y = np.arange(4)
    found = deit_hard(s, d, 9 * jnp.eye(5)[y + 1], y)
    by_hand = (cross_entropy(s, y) + cross_entropy(d, y + 1)) / 2
    np.testing.assert_allclose(found, by_hand, rtol=1e-6)
    np.testing.assert_allclose(deit_soft(s, d, t, y, weight=0.0), cross_entropy(s, y), rtol=1e-6)
    soft = knowledge_distillation(d, t, temperature=3.0)
    np.testing.assert_allclose(deit_soft(s, d, t, y, weight=1.0), soft, rtol=1e-6)


def test_a_bag_has_the_words_that_are_somewhere_in_the_image():
    words = 3 * jnp.eye(4)
    bag = bag_of_words(words[jnp.array([[0, 0, 0, 2]])], words, delta=0.5)
    np.testing.assert_allclose(bag, [[0.5, 0, 0.5, 0]], atol=1e-6)  # how often means nothing
    np.testing.assert_allclose(obow(jnp.zeros((1, 4)), bag), np.log(4), rtol=1e-6)
    sure = obow(jnp.array([[60.0, 0.0, 60.0, 0.0]]), bag)
    np.testing.assert_allclose(sure, np.log(2), rtol=1e-6)


def test_classes_that_a_teacher_rules_out():
    s, t = (x[:, 0].copy() for x in logits()[:2])
    s[:, 1] = t[:, 1] = -np.inf
    kept = [0, *range(2, 7)]
    found = knowledge_distillation(s, t, temperature=2.0)
    np.testing.assert_allclose(
        found, knowledge_distillation(s[:, kept], t[:, kept], temperature=2.0), rtol=1e-4
    )
