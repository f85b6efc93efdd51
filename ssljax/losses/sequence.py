"""Losses over sequences of tokens.

>>> import jax.numpy as jnp
>>> print(next_token(jnp.zeros((1, 3, 2)), jnp.array([[0, 1, 1]])))  # log 2, twice
[[0.6931472 0.6931472]]
"""

import jax

from ssljax.losses._rows import nats


def next_token(logits: jax.Array, tokens: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
    """Negative log-likelihood of each token after the first, in nats.

    Shannon 1951; Bengio et al. 2003:
        l(t) = -log softmax(logits[t - 1])[tokens[t]].
    logits [B, T, V], tokens int [B, T] -> [B, T - 1]. mask [B, T]: the weight of each token; zero
    where it is not scored, and the loss is zero there.
    """
    found = nats(logits[:, :-1], tokens[:, 1:])
    return found if mask is None else found * mask[:, 1:]
