"""Losses for few labels and many rows without one, whose targets are the net's predictions.

>>> sure = jnp.array([[9.0, 0.0], [0.0, 0.1]])  # the first is confident, the second is not
>>> print(f'{fixmatch(jnp.zeros((2, 2)), sure, threshold=0.95)[0]:.4f}')
0.6931
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, softmax
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    expected,
    like,
    nats,
    precise,
)
from ssljax.losses._shapes import arrays


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, smoothing: ArrayLike = 0.0) -> jax.Array:
    """Cross entropy with labels; `smoothing` is the part of their weight spread over all classes.

    Szegedy et al. 2015, arXiv:1512.00567, section 7 (there 0.1; by default none):
        l = -(1 - s) log p[label] - s/K sum_k log p_k.
    logits [..., K], labels int [...] -> [...]. A label that is no class makes the loss NaN.

    >>> print(f'{cross_entropy([[0.0, 0.0]], [1])[0]:.4f}')  # log 2
    0.6931
    """
    logits, labels = arrays('... K', '...', logits=logits, labels=labels)
    loss = nats(logits, labels)
    if isinstance(smoothing, int | float) and smoothing == 0:
        return loss
    s = like(smoothing, loss)
    return (1 - s) * loss - s * log_softmax(precise(logits)).mean(-1)


def pseudo_label(logits: ArrayLike, *, threshold: ArrayLike = 0.0) -> jax.Array:
    """Cross entropy with the likeliest class, where its probability reaches the threshold.

    Lee 2013 (ICML workshop), eqs. 15 and 16:  l = -log max_k p_k, else zero.
    logits [B, K] -> [B]. The paper has no threshold: its default is zero.

    >>> print(f'{pseudo_label([[0.0, 0.0]])[0]:.4f}')
    0.6931
    """
    (logits,) = arrays('B K', logits=logits)
    return fixmatch(logits, logits, threshold=threshold)


def fixmatch(strong: ArrayLike, weak: ArrayLike, *, threshold: ArrayLike = 0.95) -> jax.Array:
    """Cross entropy of a strong view with the likeliest class of a weak view, where that is sure.

    Sohn et al. 2020, arXiv:2001.07685, eq. 4: with q = softmax(weak),
        l = 1(max q >= threshold) * -log softmax(strong)[argmax q].
    strong, weak [B, K] -> [B]. No gradient flows to the weak view. The threshold is the paper's.

    >>> print(f'{fixmatch([[0.0, 0.0]], [[9.0, 0.0]])[0]:.4f}')  # log 2
    0.6931
    """
    strong, weak = arrays('B K', strong=strong, weak=weak)
    q = lax.stop_gradient(softmax(precise(weak)))
    return nats(strong, q.argmax(-1), where=q.max(-1) >= like(threshold, q))


def entropy(logits: ArrayLike) -> jax.Array:
    """The entropy of the prediction; small values keep class boundaries away from rows.

    Grandvalet & Bengio 2004 (NIPS), eq. 6:  -sum_k p_k log p_k, in nats, with 0 log 0 = 0.
    logits [B, K] -> [B].

    >>> print(f'{entropy([[0.0, 0.0, -jnp.inf]])[0]:.4f}')  # log 2
    0.6931
    """
    (logits,) = arrays('B K', logits=logits)
    log_p = log_softmax(precise(logits))
    return -expected(jnp.exp(log_p), log_p)
