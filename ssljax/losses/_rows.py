"""Helpers for rows of a batch, also when other shards hold a part of the batch.

Precision: what is computed of float64 is float64; of float32, shorter floats and integers, float32.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

# the mapped axis, or axes, whose shards make up the batch, under shard_map, pmap or vmap
Axis = str | tuple[str, ...] | None


def precise(x: jax.Array) -> jax.Array:
    """In the precision in which losses are computed, float32 or more."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def like(value: Any, x: jax.Array) -> jax.Array:
    """An option, a number or traced, in the precision of x: it never widens a result."""
    return jnp.asarray(value, x.dtype)


def on(where: jax.Array | None, x: jax.Array) -> jax.Array:
    """x with zero in rows that are off, whatever is there; where [B, ...], x [B, ..., ...]."""
    if where is None:
        return x
    return jnp.where(where.reshape(where.shape + (1,) * (x.ndim - where.ndim)), x, 0)


def absolute(x: jax.Array) -> jax.Array:
    """|x| with slope zero at zero, where that of jnp.abs is one."""
    return jnp.where(x == 0, 0, jnp.abs(x))


def unit(z: jax.Array) -> jax.Array:
    """Rows of length one. A row shorter than 1e-12 has no direction: zero, without a gradient."""
    z = precise(z)
    largest = lax.stop_gradient(jnp.abs(z).max(-1, keepdims=True, initial=0))
    short = largest < 1e-12
    z = jnp.where(short, 0, z / jnp.where(short, 1, largest))  # so no square overflows
    square = jnp.square(z).sum(-1, keepdims=True)
    return z * lax.rsqrt(jnp.where(short, 1, square))


def products(a: jax.Array, b: jax.Array) -> jax.Array:
    """[A, D], [B, D] -> [A, B]."""
    # the default precision of an accelerator is too low: a small temperature multiplies its error
    cut, rows = explicit(a) or explicit(b), explicit(a)
    if cut is not None:
        cut = NamedSharding(cut.mesh, PartitionSpec(rows and rows.spec[0], None))
    return jnp.matmul(a, b.T, precision='highest', out_sharding=cut)


def nats(logits: jax.Array, labels: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """Cross entropy with labels, -log softmax(logits)[label]: [..., K], int [...] -> [...].

    where: bool [...]; elsewhere the loss is zero, whatever logits and labels are. A label that is
    no class, where it is read, makes the loss NaN.
    """
    logits, labels = precise(on(where, logits)), on(where, labels)[..., None]
    classes = jnp.arange(logits.shape[-1], dtype=labels.dtype)
    label_logits = jnp.where(labels == classes, logits, 0).sum(-1)
    known = ((labels >= 0) & (labels < len(classes)))[..., 0]
    return on(where, jnp.where(known, jax.nn.logsumexp(logits, -1) - label_logits, jnp.nan))


def expected(p: jax.Array, values: jax.Array) -> jax.Array:
    """sum_k p_k values_k, where p_k = 0 adds nothing even if the value is infinite: 0 log 0 = 0."""
    return jnp.where(p > 0, p * jnp.where(p > 0, values, 0), 0).sum(-1)


def across(targets: jax.Array, log_p: jax.Array) -> jax.Array:
    """Cross entropy from each target view to every other view, the mean over these pairs.

    targets [B, G, K], of the first G of the views log_p [B, V, K] -> [B].
    """
    log_p = jnp.maximum(log_p, jnp.finfo(log_p.dtype).min)  # finite, so that 0 log 0 = 0
    terms = -jnp.einsum('bgk,bvk->bgv', targets, log_p, precision='highest')
    different = 1 - jnp.eye(
        terms.shape[1], terms.shape[2], dtype=terms.dtype
    )  # a view is not its own target
    return jnp.where(different > 0, terms, 0).sum((1, 2)) / different.sum()


def row_sums(x: jax.Array) -> jax.Array:
    """The sum of all numbers of each row, [B, ...] -> [B]."""
    return x.sum(tuple(range(1, x.ndim)))


def row_means(x: jax.Array) -> jax.Array:
    """The mean of all numbers of each row, [B, ...] -> [B]."""
    return x.mean(tuple(range(1, x.ndim)))


# ---- the rows of other shards


def shards(axis_name: Axis) -> int:
    """How many make up the batch."""
    if axis_name is None:
        return 1
    try:
        return lax.axis_size(axis_name)
    except NameError:
        raise NameError(
            f'axis_name={axis_name!r}: the loss is inside no shard_map, pmap or vmap with this '
            'axis name; under jit alone, leave axis_name out'
        ) from None


def total(count: int, axis_name: Axis) -> int:
    """The number of rows of all shards."""
    return count * shards(axis_name)


def least(count: int, axis_name: Axis) -> int:
    """How many rows a shard has at least, if all have so many."""
    return -(-count // shards(axis_name))


def everywhere(x: jax.Array, axis_name: Axis) -> jax.Array:
    """The rows of all shards [N, ...]; without an axis name: x, on every device."""
    if axis_name is not None:
        return lax.all_gather(x, axis_name, tiled=True)
    cut = explicit(x)
    return x if cut is None else jax.reshard(x, NamedSharding(cut.mesh, PartitionSpec()))


def own(count: int, axis_name: Axis) -> jax.Array:
    """The indices of this shard's rows among the rows of all shards: int [count]."""
    index = jnp.arange(count, dtype=jnp.int32)
    return index if axis_name is None else index + count * lax.axis_index(axis_name)


def itself(count: int, axis_name: Axis) -> jax.Array:
    """True where a row of this shard is compared with itself: bool [count, N], N of all shards."""
    return own(count, axis_name)[:, None] == jnp.arange(total(count, axis_name), dtype=jnp.int32)


def over_shards(x: jax.Array, axis_name: Axis) -> jax.Array:
    """The mean over shards of an array that each shard has."""
    return x if axis_name is None else lax.pmean(x, axis_name)


def size(x: jax.Array, axis_name: Axis, where: jax.Array | None = None) -> jax.Array:
    """The number of rows of all shards, at least one; with `where`: of those that are on."""
    if where is None:
        return like(total(len(x), axis_name), x)
    count = where.astype(x.dtype).sum()
    count = count if axis_name is None else lax.psum(count, axis_name)
    return jnp.maximum(count, 1)


def mean(x: jax.Array, axis_name: Axis, where: jax.Array | None = None) -> jax.Array:
    """The mean over the rows of all shards, [B, ...] -> [...]; with `where`: over those on."""
    if where is None:
        return over_shards(x.mean(0), axis_name)
    sums = on(where, x).sum(0)
    sums = sums if axis_name is None else lax.psum(sums, axis_name)
    return sums / size(x, axis_name, where)


def explicit(x: jax.Array) -> NamedSharding | None:
    """How x is cut over Explicit axes of a mesh, of which operations have to be told; else None."""
    cut = jax.typeof(x).sharding
    return cut if any(axis is not None for axis in cut.spec) else None
