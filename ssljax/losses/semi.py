"""Losses for few labels and many rows without one, whose targets are the net's predictions.

>>> sure = jnp.array([[9.0, 0.0], [0.0, 0.1]])  # the first is confident, the second is not
>>> print(fixmatch(jnp.zeros((2, 2)), sure, threshold=0.95))
[0.6931472 0.       ]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, softmax

from ssljax.losses._rows import nats


def cross_entropy(logits: jax.Array, labels: jax.Array, *, smoothing: float = 0.0) -> jax.Array:
    """Cross entropy with labels; `smoothing` is the part of their weight spread over all classes.

    Szegedy et al. 2015, arXiv:1512.00567, section 7:
        l = -(1 - s) log p[label] - s/K sum_k log p_k.
    logits [B, K], labels int [B] -> [B].
    """
    loss = nats(logits, labels)
    if not smoothing:
        return loss
    return (1 - smoothing) * loss - smoothing * log_softmax(logits.astype(jnp.float32)).mean(-1)


def pseudo_label(logits: jax.Array, *, threshold: float = 0.0) -> jax.Array:
    """Cross entropy with the likeliest class, where its probability reaches the threshold.

    Lee 2013 (ICML workshop), eqs. 15 and 16:  l = -log max_k p_k, else zero.
    logits [B, K] -> [B].
    """
    return fixmatch(logits, logits, threshold=threshold)


def fixmatch(strong: jax.Array, weak: jax.Array, *, threshold: float = 0.95) -> jax.Array:
    """Cross entropy of a strong view with the likeliest class of a weak view, where that is sure.

    Sohn et al. 2020, arXiv:2001.07685, eq. 4: with q = softmax(weak),
        l = 1(max q >= threshold) * -log softmax(strong)[argmax q].
    strong, weak [B, K] -> [B]. No gradient flows to the weak view.
    """
    q = lax.stop_gradient(softmax(weak.astype(jnp.float32)))
    return jnp.where(q.max(-1) >= threshold, nats(strong, q.argmax(-1)), 0)


def entropy(logits: jax.Array) -> jax.Array:
    """The entropy of the prediction; small values keep class boundaries away from rows.

    Grandvalet & Bengio 2004 (NIPS), eq. 6:  -sum_k p_k log p_k, in nats.
    logits [B, K] -> [B].
    """
    log_p = log_softmax(logits.astype(jnp.float32))
    return -(jnp.exp(log_p) * log_p).sum(-1)
