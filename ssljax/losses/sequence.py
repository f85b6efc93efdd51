"""Losses over sequences of tokens."""

import jax
import jax.numpy as jnp


def next_token(logits: jax.Array, tokens: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
    """Negative log-likelihood of each token after the first, in nats.

    Shannon 1951; Bengio et al. 2003:
        l(t) = -log softmax(logits[t - 1])[tokens[t]].
    logits [B, T, V], tokens int [B, T] -> [B, T - 1]. mask [B, T]: the weight of each token; zero
    where it is not scored, and the loss is zero there.
    """
    logits, tokens = logits[:, :-1].astype(jnp.float32), tokens[:, 1:]
    found = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
    nats = jax.nn.logsumexp(logits, axis=-1) - found
    return nats if mask is None else nats * mask[:, 1:]
