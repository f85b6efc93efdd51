"""Tokens: values by hand and limits; the formulas are in test_proofs.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from ssljax.losses import next_token

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
