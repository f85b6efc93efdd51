"""The likelihood of frames whose text is not known, but for a language model.

>>> never = -jnp.inf  # token 1 is the only word of the language, and every text has one of it
>>> language = jnp.array([[never, 0.0], [0.0, never]])
>>> print(f'{ctc_language_model(jnp.zeros((1, 2, 2)), log_bigram=language)[0]:.4f}')  # 3 of 4 ways
0.2877
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax

from ssljax.losses._rows import like, on, precise
from ssljax.losses._shapes import ArrayLike, arrays


def ctc_language_model(
    logits: ArrayLike,
    *,
    log_bigram: ArrayLike,
    log_prior: ArrayLike | None = None,
    length: ArrayLike | None = None,
    blank: int = 0,
) -> jax.Array:
    """Negative log-likelihood of frames over all texts of a language and all their alignments.

    Graves et al. 2006 (ICML), eq. 3, with the text summed out under a model P of texts, exactly:
        l = -log sum_texts P(text) sum_alignments prod_t p_t(name at t),
        p_t = softmax(logits[t]), divided by the prior of each name where one is given.
    An alignment names a token or the blank in each frame, as in `ctc`. P is a bigram model; its
    texts are never listed: a state is the last token, and whether a blank came since. The gradient
    is that of EM: softmax(logits) less the posteriors of names, given the language alone.
    logits [B, T, V] -> [B], in nats; infinite where no text of the language fits.

    log_bigram: [V, V], log P(next | last). The blank stands for the edge of a text: its row is of
        the first token, its column of an end after each token (zeros: ends are not modeled).
    log_prior: [V], log of how often a frame has each name. Then p_t is, up to a factor, the
        likelihood of the frame (Bourlard & Morgan 1994); without it the best net ignores the
        frames, and reads the likeliest text everywhere.
    length: int [B], how many frames count; None: all.
    blank: the index of the blank.

    >>> language = [[-jnp.inf, 0.0], [0.0, -jnp.inf]]  # all texts are one token
    >>> print(f'{ctc_language_model([[[0.0, 0.0]]], log_bigram=language)[0]:.4f}')  # log 2
    0.6931
    """
    logits, log_bigram, log_prior, length = arrays(
        'B T V', 'V V', 'V', 'B',
        logits=logits, log_bigram=log_bigram, log_prior=log_prior, length=length,
    )  # fmt: skip
    T, V = logits.shape[1:]
    if length is not None:
        logits = on(jnp.arange(T) < length[:, None], logits)  # beyond it may be anything
    log_p = log_softmax(precise(logits))
    language = like(log_bigram, log_p)
    if log_prior is not None:
        log_p = log_p - like(log_prior, log_p)
    is_blank = jnp.arange(V) == blank
    repeats = jnp.eye(V, dtype=bool)
    changes = jnp.where(repeats, -jnp.inf, language)  # a token after itself needs a blank between

    # for the backward pass it keeps a token and a blank for each frame, not all pairs of tokens
    @partial(jax.checkpoint, prevent_cse=False)
    def frame(state, t_and_log_p):
        token, pause = state  # log p of all ways so far whose last token is v: in it, or after it
        t, log_p = t_and_log_p
        arrivals = [token[:, :, None] + changes, pause[:, :, None] + language]
        arrivals = _log_sum(jnp.concatenate([*arrivals, token[:, None]], 1), 1)
        new_token = jnp.where(is_blank, -jnp.inf, arrivals + log_p)
        new_pause = _log_sum(jnp.stack([token, pause]), 0) + log_p[:, blank, None]
        counts = True if length is None else (t < length)[:, None]
        return (jnp.where(counts, new_token, token), jnp.where(counts, new_pause, pause)), None

    nothing = jnp.full_like(log_p[:, 0], -jnp.inf)
    start = nothing, jnp.where(is_blank, 0, nothing)  # after the edge
    (token, pause), _ = lax.scan(frame, start, (jnp.arange(T), log_p.swapaxes(0, 1)))
    ends = jnp.concatenate([token, pause], 1) + jnp.tile(language[:, blank], 2)
    return -_log_sum(ends, 1)


def _log_sum(x, axis):
    """log sum exp with a gradient of zero, and no NaN, where all is -inf."""
    top = lax.stop_gradient(x.max(axis, keepdims=True))
    top = jnp.where(top == -jnp.inf, 0, top)
    total = jnp.exp(x - top).sum(axis)
    some = total > 0
    log = jnp.log(jnp.where(some, total, 1)) + top.squeeze(axis)
    return jnp.where(some, log, -jnp.inf)
