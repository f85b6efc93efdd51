"""Helpers for rows of a batch, also when other shards hold a part of the batch."""

import jax
import jax.numpy as jnp
from jax import lax

Axis = str | None  # the mapped axis whose shards make up the batch, under shard_map or pmap


def unit(z: jax.Array) -> jax.Array:
    """Rows of length one in float32; a zero row stays zero, with a finite gradient."""
    z = z.astype(jnp.float32)
    return z * lax.rsqrt(jnp.maximum(jnp.square(z).sum(-1, keepdims=True), 1e-12))


def products(a: jax.Array, b: jax.Array) -> jax.Array:
    """[A, D], [B, D] -> [A, B]."""
    # the default precision of an accelerator is too low: a small temperature multiplies its error
    return jnp.matmul(a, b.T, precision='highest')


def nats(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Cross entropy with labels, -log softmax(logits)[label]: [..., K], int [...] -> [...]."""
    logits = logits.astype(jnp.float32)
    label_logits = jnp.take_along_axis(logits, labels[..., None], -1)[..., 0]
    return jax.nn.logsumexp(logits, -1) - label_logits


def across(targets: jax.Array, log_p: jax.Array) -> jax.Array:
    """Cross entropy from each target view to every other view, the mean over these pairs.

    targets [B, G, K], of the first G of the views log_p [B, V, K] -> [B].
    """
    terms = -jnp.einsum('bgk,bvk->bgv', targets, log_p, precision='highest')
    different = 1 - jnp.eye(*terms.shape[1:])  # a view is never its own target
    return (terms * different).sum((1, 2)) / different.sum()


def row_sums(x: jax.Array) -> jax.Array:
    """The sum of all numbers of each row, [B, ...] -> [B]."""
    return x.sum(tuple(range(1, x.ndim)))


def row_means(x: jax.Array) -> jax.Array:
    """The mean of all numbers of each row, [B, ...] -> [B]."""
    return x.mean(tuple(range(1, x.ndim)))


def everywhere(x: jax.Array, axis_name: Axis) -> jax.Array:
    """The rows of all shards [N, ...]; without an axis name: x."""
    return x if axis_name is None else lax.all_gather(x, axis_name, tiled=True)


def own(count: int, axis_name: Axis) -> jax.Array:
    """The indices of this shard's rows among the rows of all shards: int [count]."""
    index = jnp.arange(count)
    return index if axis_name is None else index + count * lax.axis_index(axis_name)


def itself(count: int, axis_name: Axis) -> jax.Array:
    """True where a row of this shard is compared with itself: bool [count, N], N of all shards."""
    return own(count, axis_name)[:, None] == jnp.arange(total(count, axis_name))


def over_shards(x: jax.Array, axis_name: Axis) -> jax.Array:
    """The mean over shards of an array that each shard has."""
    return x if axis_name is None else lax.pmean(x, axis_name)


def mean(x: jax.Array, axis_name: Axis) -> jax.Array:
    """The mean over the rows of all shards, [B, ...] -> [...]."""
    return over_shards(x.mean(0), axis_name)


def total(count: int, axis_name: Axis) -> int:
    """The number of rows of all shards."""
    return count if axis_name is None else count * lax.axis_size(axis_name)
