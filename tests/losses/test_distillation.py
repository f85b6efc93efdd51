"""dino against equations 1 to 4 of its paper, term by term in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import dino

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def logits(b=3, g=2, v=5, k=7):
    return random.normal(size=(b, v, k)), random.normal(size=(b, g, k)), random.normal(size=k)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def paper(student, teacher, center, tau_s=0.1, tau_t=0.04):
    values = []
    for s, t in zip(student, teacher):
        terms = [
            -(softmax((t[g] - center) / tau_t) * np.log(softmax(s[v] / tau_s))).sum()
            for g in range(len(t))
            for v in range(len(s))
            if g != v
        ]
        values.append(np.mean(terms))
    return np.array(values)


@pytest.mark.parametrize('tau_s, tau_t', [(0.1, 0.04), (0.5, 0.3)])
def test_equals_the_paper(tau_s, tau_t):
    s, t, c = logits()
    found = dino(s, t, center=c, student_temperature=tau_s, teacher_temperature=tau_t)
    np.testing.assert_allclose(found, paper(s, t, c, tau_s, tau_t), rtol=2e-5)


def test_defaults_are_the_papers():
    s, t, c = logits()
    np.testing.assert_allclose(dino(s, t, center=c), paper(s, t, c), rtol=2e-5)


def test_by_hand():
    # the teacher is sure of class 0; a student with equal logits pays log 2 in both of its views
    t = jnp.array([[[100.0, 0.0], [100.0, 0.0]]])
    np.testing.assert_allclose(dino(jnp.zeros((1, 2, 2)), t, center=jnp.zeros(2)), np.log(2))


def test_gradient():
    s, t, c = logits()
    found = jax.grad(lambda s: dino(s, t, center=c, student_temperature=0.5).sum())(jnp.asarray(s))
    direction = random.normal(size=s.shape)
    ahead, behind = (paper(s + e * direction, t, c, 0.5).sum() for e in (1e-5, -1e-5))
    np.testing.assert_allclose((found * direction).sum(), (ahead - behind) / 2e-5, rtol=1e-4)


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


def test_a_row_minds_its_own():
    s, t, c = map(jnp.asarray, logits())
    jacobian = jax.jacobian(lambda s: dino(s, t, center=c))(s)  # [B, B, V, K]
    other = ~np.eye(3, dtype=bool)
    assert not jacobian[other].any() and jacobian[~other].any()


def test_the_order_of_small_views_and_of_prototypes_means_nothing():
    s, t, c = logits()
    value, order = dino(s, t, center=c), random.permutation(7)
    np.testing.assert_allclose(dino(s[:, [0, 1, 4, 2, 3]], t, center=c), value, rtol=1e-5)
    np.testing.assert_allclose(
        dino(s[..., order], t[..., order], center=c[order]), value, rtol=1e-5
    )
    np.testing.assert_allclose(dino(s + 3, t - 5, center=c), value, rtol=1e-4)  # softmax


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('scale', [0.0, 1e4])
def test_finite_at_the_ends(dtype, scale):
    s, t, c = (jnp.asarray(scale * x, dtype) for x in logits())
    value, grad = jax.value_and_grad(lambda s: dino(s, t, center=c).sum())(s)
    assert np.isfinite(value) and value.dtype == jnp.float32
    assert np.isfinite(grad.astype('f')).all()
    if not scale:  # all alike: log of the number of prototypes
        np.testing.assert_allclose(value / 3, np.log(7), rtol=1e-6)
