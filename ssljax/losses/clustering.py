"""Losses against labels that the method made itself."""

import jax
import jax.numpy as jnp


def deepcluster(
    logits: jax.Array, labels: jax.Array, *, weight: jax.Array | float = 1.0
) -> jax.Array:
    """Cross entropy with the cluster that each example was assigned to, weighted.

    Caron et al. 2018, arXiv:1807.05520, eq. 2; section 3.3: weighting by the inverse of the size of
    an example's cluster equals sampling evenly over clusters:
        l(i) = -w_i log softmax(logits_i)[y_i].
    logits [B, K], labels int [B], weight [B] -> [B].
    """
    logits = logits.astype(jnp.float32)
    found = jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
    return weight * (jax.nn.logsumexp(logits, -1) - found)
