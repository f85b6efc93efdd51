"""Losses over sequences of tokens.

>>> print(f'{next_token(jnp.zeros((1, 3, 2)), jnp.array([[0, 1, 1]])).sum():.4f}')  # log 2, twice
1.3863
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax

from ssljax.losses._rows import like, nats, on, precise
from ssljax.losses._shapes import ArrayLike, arrays

READ = 'B T V', 'B L', 'B', 'B'  # logits, text, length, text_length


def next_token(logits: ArrayLike, tokens: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Negative log-likelihood of each token after the first, in nats.

    Shannon 1951; Bengio et al. 2003:
        l(t) = -log softmax(logits[t - 1])[tokens[t]].
    logits [B, T, V], tokens int [B, T] -> [B, T - 1]. mask [B, T]: the weight of each token; zero
    for tokens that are not scored, where the loss is zero whatever logits and tokens are.

    >>> print(f'{next_token(jnp.zeros((1, 3, 2)), [[0, 1, -100]], mask=[[1, 1, 0]]).sum():.4f}')
    0.6931
    """
    logits, tokens, mask = arrays(
        'B T V', 'B T', 'B T', logits=logits, tokens=tokens, mask=mask, at_least=dict(T=1)
    )
    if mask is None:
        return nats(logits[:, :-1], tokens[:, 1:])
    loss = nats(logits[:, :-1], tokens[:, 1:], where=mask[:, 1:] != 0)
    return loss * like(mask[:, 1:], loss)


def masked_token(logits: ArrayLike, tokens: ArrayLike, mask: ArrayLike) -> jax.Array:
    """Negative log-likelihood of each token that the net did not see, in nats.

    Devlin et al. 2018, arXiv:1810.04805, section 3.1:
        l(t) = -log softmax(logits[t])[tokens[t]] where masked, else zero.
    logits [B, T, V], tokens int [B, T], mask bool [B, T], true where masked -> [B, T].

    >>> print(f'{masked_token(jnp.zeros((1, 2, 2)), [[1, -100]], [[True, False]]).sum():.4f}')
    0.6931
    """
    logits, tokens, mask = arrays('B T V', 'B T', 'B T', logits=logits, tokens=tokens, mask=mask)
    return nats(logits, tokens, where=mask.astype(bool))


def ctc(
    logits: ArrayLike,
    text: ArrayLike,
    *,
    length: ArrayLike | None = None,
    text_length: ArrayLike | None = None,
    blank: int = 0,
    zero_infinity: bool = False,
) -> jax.Array:
    """Negative log-likelihood of a text, over all its alignments with the frames, in nats.

    Graves et al. 2006 (ICML), eqs. 3 to 8: an alignment names a token or the blank in each frame;
    with repeats merged and then blanks dropped it must read as the text;
        l = -log sum over alignments of prod_t softmax(logits[t])[name at t].
    logits [B, T, V], text int [B, L] -> [B]; infinite, without a gradient, where the text does not
    fit into the frames.

    length, text_length: int [B], how many frames and tokens count; None: all. What lies beyond is
    not read.
    blank: the class of the blank.
    zero_infinity: whether the loss is zero, not infinite, where the text does not fit.

    >>> logits = jnp.zeros((1, 2, 2))
    >>> print(f'{ctc(logits, [[1]])[0]:.4f}')  # three of four alignments: log 4/3
    0.2877
    """
    logits, text, length, text_length = arrays(
        *READ, logits=logits, text=text, length=length, text_length=text_length, at_least=dict(T=1)
    )
    states = _states(logits, text, length, text_length, blank)
    loss = -_log_likelihood(states, states.log_p)
    return on(~jnp.isposinf(loss), loss) if zero_infinity else loss


def ctc_posteriors(
    logits: ArrayLike,
    text: ArrayLike,
    *,
    length: ArrayLike | None = None,
    text_length: ArrayLike | None = None,
    blank: int = 0,
) -> jax.Array:
    """The probability of each token in each frame, given the text: the E-step of CTC.

    Graves et al. 2006 (ICML), eqs. 14 and 15:
        p(v at t | text) = sum over alignments that name v at t of their p, over that of all.
    Cross entropy with these as targets is the M-step: its gradient, softmax(logits) - posteriors,
    is that of `ctc`. Arguments as of `ctc` -> [B, T, V], no gradient; zero in frames beyond the
    length, and where the text does not fit.

    >>> print(ctc_posteriors(jnp.zeros((1, 1, 2)), [[1]]))  # one frame, one token
    [[[0. 1.]]]
    """
    logits, text, length, text_length = arrays(
        *READ, logits=logits, text=text, length=length, text_length=text_length, at_least=dict(T=1)
    )
    states = _states(lax.stop_gradient(logits), text, length, text_length, blank)
    emitted = states.tokens[..., None] == jnp.arange(logits.shape[-1], dtype=text.dtype)
    posteriors = _posteriors(states)
    return jnp.einsum('bts,bsv->btv', posteriors, like(emitted, posteriors), precision='highest')


def ctc_positions(
    logits: ArrayLike,
    text: ArrayLike,
    *,
    length: ArrayLike | None = None,
    text_length: ArrayLike | None = None,
    blank: int = 0,
) -> jax.Array:
    """The expected frame of each token of the text: the mean of its posterior.

    Graves et al. 2006 (ICML), eq. 14:
        sum_t t p(token i at t | text) / sum_t p(token i at t | text).
    Arguments as of `ctc` -> [B, L], no gradient; zero for tokens beyond text_length, and where the
    text does not fit.

    >>> print(ctc_positions(jnp.zeros((1, 2, 2)), [[1]]))  # at 0, at 1, at both
    [[0.5]]
    """
    logits, text, length, text_length = arrays(
        *READ, logits=logits, text=text, length=length, text_length=text_length, at_least=dict(T=1)
    )
    states = _states(lax.stop_gradient(logits), text, length, text_length, blank)
    posteriors = _posteriors(states)[:, :, 1::2]  # [B, T, L], of the tokens
    mass, frames = posteriors.sum(1), jnp.arange(posteriors.shape[1], dtype=posteriors.dtype)
    moment = jnp.einsum('btl,t->bl', posteriors, frames, precision='highest')
    return jnp.where(mass > 0, moment / jnp.where(mass > 0, mass, 1), 0)


class _States(NamedTuple):
    """Of an alignment: blank, first token, blank, ..., last token, blank; S = 2L + 1."""

    tokens: jax.Array  # int [B, S], what each emits
    skips: jax.Array  # bool [B, S], whether it may follow the state two before it
    log_p: jax.Array  # [B, T, S], of its token in each frame
    frames: jax.Array  # bool [B, T], that count
    last: jax.Array  # int [B, 1], the last blank of the text


def _states(logits, text, length, text_length, blank):
    (B, T, V), L = logits.shape, text.shape[1]
    if not 0 <= blank < V:
        raise ValueError(f'ctc: blank={blank}; it must be 0 to {V - 1}, a class of the logits')
    all_of_it = jnp.full_like(logits[:, 0, :1], L, text.dtype)
    count = all_of_it if text_length is None else text_length[:, None]
    text = jnp.where(jnp.arange(L, dtype=count.dtype) < count, text, blank)
    blanks = jnp.full_like(text, blank)
    tokens = jnp.stack([blanks, text], -1).reshape(B, 2 * L)
    tokens = jnp.concatenate([tokens, jnp.full_like(count, blank, text.dtype)], 1)
    # a token may follow the one before it without a blank if it differs; a blank may not skip
    before = jnp.pad(tokens, ((0, 0), (2, 0)), constant_values=blank)[:, : 2 * L + 1]
    skips = (tokens != blank) & (tokens != before)
    times = jnp.arange(T, dtype=jnp.int32)
    frames = (times < T)[None] if length is None else times.astype(length.dtype) < length[:, None]
    log_p = log_softmax(precise(on(jnp.broadcast_to(frames, (B, T)), logits)))
    known = jnp.where(tokens < 0, V, tokens)  # no class: NaN
    index = jnp.broadcast_to(known[:, None], (B, T, 2 * L + 1))
    return _States(tokens, skips, jnp.take_along_axis(log_p, index, -1), frames, 2 * count)


def _log_likelihood(states, log_p):
    """log p of the text [B] from that of its states [B, T, S], by Graves' forward variables a."""
    S = log_p.shape[-1]

    def shifted(a, by):
        return jnp.pad(a, ((0, 0), (by, 0)), constant_values=-jnp.inf)[:, :S]

    def frame(a, now):
        counts, log_p = now
        two = jnp.where(states.skips, shifted(a, 2), -jnp.inf)
        new = _log_sum(a, shifted(a, 1), two) + log_p
        return jnp.where(counts[:, None], new, a), None

    # before the first frame: as if in the first blank, from which the first token may follow
    start = jnp.full_like(log_p[:, 0], -jnp.inf).at[:, 0].set(0)
    frames = jnp.broadcast_to(states.frames, log_p.shape[:2])
    a, _ = lax.scan(frame, start, (frames.T, log_p.swapaxes(0, 1)))
    # an alignment ends in the last blank or in the last token; of no text, in the blank
    ends = [jnp.take_along_axis(a, jnp.maximum(states.last - i, 0), 1)[:, 0] for i in (0, 1)]
    return jnp.where(states.last[:, 0] > 0, _log_sum(*ends), ends[0])


def _log_sum(*terms):
    """log of the sum of exponentials; of minus infinities alone minus infinity, slope zero."""
    largest = lax.stop_gradient(jnp.stack(terms)).max(0)
    none = largest == -jnp.inf
    largest = jnp.where(none, 0, largest)
    total = sum(jnp.exp(term - largest) for term in terms)
    return jnp.where(none, -jnp.inf, largest + jnp.log(jnp.where(none, 1, total)))


def _posteriors(states):
    """P(state s at frame t | text): the derivative of log p(text) by the log p of s at t."""
    return jax.grad(lambda log_p: _log_likelihood(states, log_p).sum())(states.log_p)
