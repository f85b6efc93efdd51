"""Losses over sequences of tokens.

>>> print(next_token(jnp.zeros((1, 3, 2)), jnp.array([[0, 1, 1]])))  # log 2, twice
[[0.6931472 0.6931472]]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax

from ssljax.losses._rows import nats

NEVER = -1e5  # stands for the logarithm of zero, but is finite


def next_token(logits: jax.Array, tokens: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
    """Negative log-likelihood of each token after the first, in nats.

    Shannon 1951; Bengio et al. 2003:
        l(t) = -log softmax(logits[t - 1])[tokens[t]].
    logits [B, T, V], tokens int [B, T] -> [B, T - 1]. mask [B, T]: the weight of each token; zero
    for tokens that are not scored, where the loss is zero.
    """
    loss = nats(logits[:, :-1], tokens[:, 1:])
    return loss if mask is None else loss * mask[:, 1:]


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
    logits [B, T, V], text int [B, L]; length, text_length int [B]: how many frames and tokens
    count, None: all -> [B]. About 1e5 where the text does not fit into the frames.
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
    """The probability of each token in each frame, given the text: the E-step of CTC.

    Graves et al. 2006 (ICML), eqs. 14 and 15. Cross entropy with these as targets is the M-step:
    its gradient, softmax(logits) - posteriors, is that of `ctc`.
    Arguments as of `ctc` -> [B, T, V], no gradient; zero in frames beyond the length.
    """
    posteriors, tokens = _state_posteriors(logits, text, length, text_length, blank)
    emitted = jax.nn.one_hot(tokens, logits.shape[-1])
    return jnp.einsum('bts,bsv->btv', posteriors, emitted, precision='highest')


def ctc_positions(
    logits: jax.Array,
    text: jax.Array,
    *,
    length: jax.Array | None = None,
    text_length: jax.Array | None = None,
    blank: int = 0,
) -> jax.Array:
    """The expected frame of each token of the text: the mean of its posterior.

    Arguments as of `ctc` -> [B, L], no gradient; zero for tokens beyond text_length.
    """
    posteriors, _ = _state_posteriors(logits, text, length, text_length, blank)
    posteriors = posteriors[:, :, 1::2]  # [B, T, L], of the tokens
    mass, frames = posteriors.sum(1), jnp.arange(posteriors.shape[1], dtype=jnp.float32)
    moment = jnp.einsum('btl,t->bl', posteriors, frames, precision='highest')
    return jnp.where(mass > 0, moment / jnp.maximum(mass, 1e-30), 0)


def _path(text, blank):
    """States of an alignment: blank, first token, blank, ..., last token, blank.

    Returns the token that each emits, int [B, 2L + 1], and whether a state may follow the one two
    before it, bool [B, 2L + 1]: a token may if it differs from that one, a blank may not.
    """
    B, L = text.shape
    tokens = jnp.full((B, 2 * L + 1), blank).at[:, 1::2].set(text)
    before = jnp.pad(tokens, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    return tokens, (tokens != blank) & (tokens != before)


def _emissions(logits, tokens):
    """log p of each state's token in each frame: [B, T, V], [B, S] -> [B, T, S]."""
    log_p = log_softmax(logits.astype(jnp.float32))
    index = jnp.broadcast_to(tokens[:, None], (*log_p.shape[:2], tokens.shape[1]))
    return jnp.take_along_axis(log_p, index, -1)


def _lengths(log_p, text, length, text_length):
    B, T = log_p.shape[:2]
    length = jnp.full(B, T) if length is None else length
    return length, jnp.full(B, text.shape[1]) if text_length is None else text_length


def _log_likelihood(log_p, skips, length, text_length):
    """log p of the text [B] from that of its states [B, T, S], by Graves' forward variables a."""
    B, T, S = log_p.shape
    start = jnp.full((B, S), NEVER).at[:, :2].set(log_p[:, 0, :2])
    start = jnp.where(jnp.arange(S) <= 2 * text_length[:, None], start, NEVER)

    def shifted(a, by):
        return jnp.pad(a, ((0, 0), (by, 0)), constant_values=NEVER)[:, :S]

    def frame(a, t_and_log_p):
        t, log_p = t_and_log_p
        stay_or_next = jnp.logaddexp(a, shifted(a, 1))
        new = jnp.logaddexp(stay_or_next, jnp.where(skips, shifted(a, 2), NEVER)) + log_p
        return jnp.where((t < length)[:, None], new, a), None

    a, _ = lax.scan(frame, start, (jnp.arange(1, T), log_p[:, 1:].swapaxes(0, 1)))
    # an alignment ends in the last blank or in the last token
    blank = jnp.take_along_axis(a, 2 * text_length[:, None], 1)[:, 0]
    token = jnp.take_along_axis(a, jnp.maximum(2 * text_length - 1, 0)[:, None], 1)[:, 0]
    return jnp.where(text_length > 0, jnp.logaddexp(blank, token), blank)


def _state_posteriors(logits, text, length, text_length, blank):
    """P(state s at frame t | text) [B, T, S], and the tokens of the states [B, S].

    It is the derivative of log p(text) by the log p of s at t.
    """
    tokens, skips = _path(text, blank)
    log_p = _emissions(lax.stop_gradient(logits), tokens)
    lengths = _lengths(log_p, text, length, text_length)
    posteriors = jax.grad(lambda log_p: _log_likelihood(log_p, skips, *lengths).sum())(log_p)
    return posteriors, tokens
