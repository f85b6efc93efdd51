"""Tokens: values by hand and limits; the formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.special import log_softmax

from ssljax import losses
from ssljax.losses import masked_token, next_token

# compiled once for each shape: without, every call compiles its loop over frames anew
ctc = jax.jit(losses.ctc, static_argnames=('blank', 'zero_infinity'))
ctc_posteriors = jax.jit(losses.ctc_posteriors)
ctc_positions = jax.jit(losses.ctc_positions)

random = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def case(B=3, T=7, V=5):
    return random.normal(size=(B, T, V)) * 3, random.integers(0, V, (B, T)).astype(np.int32)


def paper(logits, tokens):
    B, T = tokens.shape
    logp = log_softmax(logits, -1)
    return np.array([[-logp[b, t - 1, tokens[b, t]] for t in range(1, T)] for b in range(B)])


def test_by_hand():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1.0, 1.0, 1.0]]]))
    value = next_token(logits, jnp.array([[2, 1, 2]]))
    np.testing.assert_allclose(value, -np.log([[0.25, 0.8]]), rtol=1e-6)


def test_knowing_nothing_costs_the_log_of_the_vocabulary():
    np.testing.assert_allclose(next_token(jnp.zeros((2, 4, 11)), case()[1][:2, :4]), np.log(11))


def test_a_token_never_sees_its_own_logits():
    logits, tokens = case()
    changed = logits.copy()
    changed[:, 4:] += random.normal(size=changed[:, 4:].shape)
    a, b = next_token(logits, tokens), next_token(changed, tokens)
    np.testing.assert_array_equal(a[:, :4], b[:, :4])  # tokens 1 to 4, from logits 0 to 3
    assert (np.abs(a - b)[:, 4:] > 0).all()


def test_mask_weighs_the_token_that_is_scored():
    logits, tokens = case()
    mask = np.zeros(tokens.shape, np.float32)
    mask[0, 3], mask[1, 0] = 2.0, 1.0  # the first token has no prediction
    value = np.array(next_token(logits, tokens, mask=mask))
    np.testing.assert_allclose(value[0, 2], 2 * paper(logits, tokens)[0, 2], rtol=1e-5)
    value[0, 2] = 0
    np.testing.assert_array_equal(value, 0)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_finite_at_large_logits_and_float32(dtype):
    tokens = jnp.array([[0, 1, 0]])
    logits = jnp.array([[[3e4, -3e4], [3e4, -3e4], [0, 0]]], dtype)
    value, grad = jax.value_and_grad(lambda a: next_token(a, tokens).sum())(logits)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, 6e4, rtol=1e-2)
    assert np.isfinite(np.asarray(grad, np.float32)).all()


def test_gradient_of_a_token():
    logits, tokens = case()
    grad = jax.grad(lambda a: next_token(a, tokens).sum())(jnp.asarray(logits, jnp.float32))
    onehot = np.eye(5)[tokens[:, 1:]]
    np.testing.assert_allclose(
        grad[:, :-1], np.exp(log_softmax(logits, -1))[:, :-1] - onehot, atol=1e-6
    )
    np.testing.assert_array_equal(grad[:, -1], 0)


def test_masked_token_is_next_token_without_the_shift():
    logits, tokens = case()
    logits = jnp.asarray(logits, jnp.float32)
    mask = random.random(tokens.shape) < 0.5
    found = masked_token(logits[:, :-1], tokens[:, 1:], mask[:, 1:])
    np.testing.assert_allclose(found, next_token(logits, tokens, mask=mask), rtol=1e-5)
    assert (found[~mask[:, 1:]] == 0).all() and found.any()


# ---- CTC


def reading(B=5, T=30, V=6, L=7):
    logits = jnp.asarray(2 * random.normal(size=(B, T, V)), jnp.float32)
    length, text_length = random.integers(16, T + 1, B), random.integers(0, L + 1, B)
    text = random.integers(1, V, (B, L))
    text[:, 3] = text[:, 2]  # a token twice: a blank must part them
    return logits, text, dict(length=length, text_length=text_length)


def test_ctc_by_hand():
    # two frames and one token: token token, token blank, blank token
    p = jnp.array([[[0.6, 0.4], [0.3, 0.7]]])
    value = ctc(jnp.log(p), jnp.array([[1]]))
    np.testing.assert_allclose(value, -np.log(0.4 * 0.7 + 0.4 * 0.3 + 0.6 * 0.7), rtol=1e-5)


def test_ctc_is_optaxs():
    logits, text, lengths = reading()
    frames, places = np.arange(logits.shape[1]), np.arange(text.shape[1])
    other = optax.losses.ctc_loss(
        logits,
        jnp.asarray(frames >= lengths['length'][:, None], jnp.float32),
        jnp.asarray(text),
        jnp.asarray(places >= lengths['text_length'][:, None], jnp.float32),
    )
    np.testing.assert_allclose(ctc(logits, text, **lengths), other, rtol=1e-5)


def test_the_slope_of_ctc_is_softmax_minus_posteriors():
    logits, text, lengths = reading()
    grad = jax.grad(lambda x: ctc(x, text, **lengths).sum())(logits)
    within = np.arange(logits.shape[1])[None, :, None] < lengths['length'][:, None, None]
    posteriors = ctc_posteriors(logits, text, **lengths)
    np.testing.assert_allclose(grad, within * jax.nn.softmax(logits) - posteriors, atol=1e-5)
    np.testing.assert_allclose(posteriors.sum(-1), within[..., 0], atol=1e-4)


def test_ctc_is_em():
    """E-step: the expected alignment. M-step: cross entropy with it as a fixed target. No round of
    the two makes the loss of a linear softmax model worse, though neither step looks at it."""
    logits, text, lengths = reading()
    random = np.random.default_rng(7)
    x = jnp.asarray(random.normal(size=(*logits.shape[:2], 9)), jnp.float32)
    weight = jnp.zeros((9, logits.shape[2]))
    nats = []

    def missed(weight, target):
        return -(target * jax.nn.log_softmax(x @ weight)).sum((1, 2)).mean()

    slope = jax.jit(jax.grad(missed))
    for _ in range(12):
        nats.append(float(ctc(x @ weight, text, **lengths).mean()))
        target = ctc_posteriors(x @ weight, text, **lengths)  # zero beyond the lengths
        for _ in range(25):  # a convex problem, and steps that are short enough to descend
            weight = weight - 0.02 * slope(weight, target)
    steps = np.diff(nats)
    assert (steps < 0).all() and nats[-1] < 0.6 * nats[0]


def test_a_clear_reading_is_found_where_it_is():
    names = jnp.array([[0, 2, 2, 0, 0, 1, 0, 1, 1, 1]])
    logits = 20 * jax.nn.one_hot(names, 3)
    text = jnp.array([[2, 1, 1, 0]])
    options = dict(text_length=jnp.array([3]))
    np.testing.assert_allclose(ctc(logits, text, **options), 0, atol=1e-4)
    posteriors = ctc_posteriors(logits, text, **options)
    np.testing.assert_allclose(posteriors, jax.nn.one_hot(names, 3), atol=1e-4)
    np.testing.assert_allclose(ctc_positions(logits, text, **options), [[1.5, 5, 8, 0]], atol=1e-3)


def test_an_even_reading_spreads_a_text_evenly():
    positions = ctc_positions(jnp.zeros((1, 60, 5)), jnp.array([[1, 2, 3, 4]]))[0]
    np.testing.assert_allclose(positions + positions[::-1], 59, rtol=1e-4)
    assert (np.diff(positions) > 5).all()


def both(logits, text, text_length, **options):
    def whole(logits):
        loss = losses.ctc(logits, text, text_length=text_length, **options)
        return jnp.where(jnp.isfinite(loss), loss, 0).sum(), loss

    return jax.jit(jax.grad(whole, has_aux=True))(logits)


def test_a_text_that_does_not_fit_is_impossible_and_moves_nothing():
    logits, text = jnp.zeros((2, 3, 4)), jnp.array([[1, 1, 0], [1, 1, 1]])  # three and five frames
    length = jnp.array([2, 3])
    grad, found = both(logits, text, length)
    np.testing.assert_allclose(found, [3 * np.log(4), np.inf], rtol=1e-6)
    assert grad[0].any() and not grad[1].any()
    grad, found = both(logits, text, length, zero_infinity=True)
    np.testing.assert_allclose(found, [3 * np.log(4), 0], rtol=1e-6)
    assert not grad[1].any()
    # a sum over rows that is infinite has a finite gradient
    assert np.isfinite(
        jax.grad(lambda x: losses.ctc(x, text, text_length=length).sum())(logits)
    ).all()
    for of in (ctc_posteriors, ctc_positions):
        answer = of(logits, text, text_length=length)
        assert answer[0].any() and not answer[1].any()


def test_a_text_that_fits_may_cost_any_number_of_nats():
    logits = jnp.zeros((1, 4, 3)).at[:, :, 1:].set(-3e4)  # the blank is all but certain
    grad, found = both(logits, jnp.array([[1, 2, 1, 2]]), None)
    np.testing.assert_allclose(found, 4 * 3e4, rtol=1e-6)
    np.testing.assert_allclose(grad, [[[1, -1, 0], [1, 0, -1]] * 2], atol=1e-5)


def test_classes_that_cannot_be_are_in_no_alignment():
    logits = jnp.zeros((2, 3, 3)).at[:, 1, 1].set(-jnp.inf).at[1, :, 1].set(-jnp.inf)
    grad, found = both(logits, jnp.array([[1], [1]]), None)
    # of the rows: token 1 in the first frame, or in the last; never
    np.testing.assert_allclose(found, [-np.log(2 / 18), np.inf], rtol=1e-5)
    assert np.isfinite(grad).all() and grad[0].any() and not grad[1].any()


def test_frames_and_texts_of_no_length():
    logits = jnp.log(jnp.array([[[0.5, 0.5], [0.25, 0.75], [0.1, 0.9]]] * 4))
    found = ctc(
        logits, jnp.ones((4, 1), int), length=jnp.array([0, 1, 2, 0]),
        text_length=jnp.array([0, 0, 0, 1]),
    )  # fmt: skip
    np.testing.assert_allclose(found, [0, np.log(2), np.log(8), np.inf], rtol=1e-6)
    assert losses.ctc(logits, jnp.ones((4, 0), int)).shape == (4,)


@pytest.mark.parametrize('token', [-1, 6])
def test_a_token_that_is_no_class_is_no_other_class(token):
    logits, text, lengths = reading()
    text[:, 0] = token
    found = ctc(logits, text, **lengths)
    np.testing.assert_array_equal(np.isnan(found), lengths['text_length'] > 0)


def test_no_text_is_all_blanks_and_the_blank_may_be_any():
    logits, text, lengths = reading()
    nothing = ctc(logits, text, text_length=jnp.zeros(5, int))
    np.testing.assert_allclose(nothing, -jax.nn.log_softmax(logits)[:, :, 0].sum(1), rtol=1e-5)
    last = ctc(jnp.roll(logits, -1, -1), text - 1, blank=5, **lengths)
    np.testing.assert_allclose(last, ctc(logits, text, **lengths), rtol=1e-5)


def test_what_lies_beyond_the_lengths_is_not_read():
    logits, text, lengths = reading()
    within = np.arange(30)[None, :, None] < lengths['length'][:, None, None]
    other = jnp.where(within, logits, 100 * jnp.asarray(random.normal(size=logits.shape)))
    names = np.where(np.arange(7) < lengths['text_length'][:, None], text, 1)
    for f in (ctc, ctc_posteriors, ctc_positions):
        np.testing.assert_array_equal(f(other, names, **lengths), f(logits, text, **lengths))


def test_ctc_of_a_long_line_is_finite():
    logits = jnp.asarray(5 * random.normal(size=(1, 1000, 20)), jnp.float32)
    text = random.integers(1, 20, (1, 80))
    value, grad = jax.value_and_grad(lambda x: ctc(x, text).sum())(logits)
    assert 500 < value < 1e4 and np.isfinite(grad).all()
