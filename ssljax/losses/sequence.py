"""Losses over sequences of tokens.

>>> print(next_token(jnp.zeros((1, 3, 2)), jnp.array([[0, 1, 1]])))  # log 2, twice
[[0.6931472 0.6931472]]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax

from ssljax.losses._rows import nats

NEVER = -1e5  # the logarithm of what cannot be


def next_token(logits: jax.Array, tokens: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
    """Negative log-likelihood of each token after the first, in nats.

    Shannon 1951; Bengio et al. 2003:
        l(t) = -log softmax(logits[t - 1])[tokens[t]].
    logits [B, T, V], tokens int [B, T] -> [B, T - 1]. mask [B, T]: the weight of each token; zero
    where it is not scored, and the loss is zero there.
    """
    found = nats(logits[:, :-1], tokens[:, 1:])
    return found if mask is None else found * mask[:, 1:]


def masked_token(logits: jax.Array, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    """Negative log-likelihood of each token that the net did not see, in nats.

    Devlin et al. 2018, arXiv:1810.04805, section 3.1:
        l(t) = -log softmax(logits[t])[tokens[t]] where masked, else zero.
    logits [B, T, V], tokens int [B, T], mask [B, T], true where masked -> [B, T].
    """
    return nats(logits, tokens) * mask


def ctc(
    logits: jax.Array,
    text: jax.Array,
    *,
    length: jax.Array | None = None,
    text_length: jax.Array | None = None,
    blank: int = 0,
) -> jax.Array:
    """Negative log-likelihood of a text, over all its alignments with the frames, in nats.

    Graves et al. 2006 (ICML), eqs. 3 to 8: an alignment names a token or the blank in each frame;
    with repeats merged and then blanks dropped it must read as the text;
        l = -log sum over alignments of prod_t softmax(logits[t])[name at t].
    logits [B, T, V], text int [B, L]; length, text_length int [B]: how much of them counts, all if
    None -> [B]. Above 1e5 where the text does not fit into the frames.
    """
    tokens, skips = _path(text, blank)
    log_p = _emissions(logits, tokens)
    return -_log_likelihood(log_p, skips, *_lengths(log_p, text, length, text_length))


def ctc_posteriors(
    logits: jax.Array,
    text: jax.Array,
    *,
    length: jax.Array | None = None,
    text_length: jax.Array | None = None,
    blank: int = 0,
) -> jax.Array:
    """The probability of each token in each frame, given the text: where CTC's E-step puts it.

    Graves et al. 2006 (ICML), eqs. 14 and 15. Cross entropy with these as targets is the M-step:
    its gradient, softmax(logits) - posteriors, is that of `ctc`.
    Arguments as of `ctc` -> [B, T, V], no gradient; zero in frames beyond the length.
    """
    state, tokens = _state_posteriors(logits, text, length, text_length, blank)
    names = jax.nn.one_hot(tokens, logits.shape[-1])
    return jnp.einsum('bts,bsv->btv', state, names, precision='highest')


def ctc_positions(
    logits: jax.Array,
    text: jax.Array,
    *,
    length: jax.Array | None = None,
    text_length: jax.Array | None = None,
    blank: int = 0,
) -> jax.Array:
    """The frame at which each token of the text is to be expected: the mean of its posterior.

    Arguments as of `ctc` -> [B, L], no gradient; zero for what is beyond text_length.
    """
    state, _ = _state_posteriors(logits, text, length, text_length, blank)
    state = state[:, :, 1::2]  # [B, T, L], of the tokens
    mass, frames = state.sum(1), jnp.arange(state.shape[1], dtype=jnp.float32)
    first = jnp.einsum('btl,t->bl', state, frames, precision='highest')
    return jnp.where(mass > 0, first / jnp.maximum(mass, 1e-30), 0)


def _path(text, blank):
    """The states of an alignment, blank, first token, blank, ..., blank [B, 2L + 1]: what each
    emits, and which may be entered from two before (another token is, a blank or the same is not).
    """
    B, L = text.shape
    tokens = jnp.full((B, 2 * L + 1), blank).at[:, 1::2].set(text)
    before = jnp.pad(tokens, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    return tokens, (tokens != blank) & (tokens != before)


def _emissions(logits, tokens):
    """log p of what each state emits in each frame: [B, T, V], [B, S] -> [B, T, S]."""
    log_p = log_softmax(logits.astype(jnp.float32))
    places = jnp.broadcast_to(tokens[:, None], (*log_p.shape[:2], tokens.shape[1]))
    return jnp.take_along_axis(log_p, places, -1)


def _lengths(log_p, text, length, text_length):
    B, T = log_p.shape[:2]
    length = jnp.full(B, T) if length is None else length
    return length, jnp.full(B, text.shape[1]) if text_length is None else text_length


def _log_likelihood(log_p, skips, length, text_length):
    """log p of the text [B] from those of its states [B, T, S]: Graves' forward variables."""
    B, T, S = log_p.shape
    start = jnp.full((B, S), NEVER).at[:, :2].set(log_p[:, 0, :2])
    start = jnp.where(jnp.arange(S) <= 2 * text_length[:, None], start, NEVER)

    def shifted(a, by):
        return jnp.pad(a, ((0, 0), (by, 0)), constant_values=NEVER)[:, :S]

    def frame(a, now):
        t, log_p = now
        stay_or_next = jnp.logaddexp(a, shifted(a, 1))
        new = jnp.logaddexp(stay_or_next, jnp.where(skips, shifted(a, 2), NEVER)) + log_p
        return jnp.where((t < length)[:, None], new, a), None

    a, _ = lax.scan(frame, start, (jnp.arange(1, T), log_p[:, 1:].swapaxes(0, 1)))
    last = jnp.take_along_axis(a, 2 * text_length[:, None], 1)[:, 0]  # in the last blank,
    before = jnp.maximum(2 * text_length - 1, 0)[:, None]  # or in the last token
    token = jnp.take_along_axis(a, before, 1)[:, 0]
    return jnp.where(text_length > 0, jnp.logaddexp(last, token), last)


def _state_posteriors(logits, text, length, text_length, blank):
    """P(state s at frame t | text), [B, T, S]: the slope of log p(text) by the log p of s at t.
    And what the states emit [B, S]."""
    tokens, skips = _path(text, blank)
    log_p = _emissions(lax.stop_gradient(logits), tokens)
    lengths = _lengths(log_p, text, length, text_length)
    state = jax.grad(lambda log_p: _log_likelihood(log_p, skips, *lengths).sum())(log_p)
    return state, tokens
