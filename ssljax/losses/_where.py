"""Masks that select: what they leave out reaches neither a value nor a gradient."""

import jax
import jax.numpy as jnp


def real(x: jax.Array) -> jax.Array:
    """In float32, or wider where x is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def kept(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """x [B, T, ...] where `where` [B, T], else 0; None: everywhere.

    For arguments: a NaN under a mask must be gone before anything is computed with it, since
    behind a `where` its gradient is 0 * NaN.
    """
    if where is None:
        return x
    where = where.astype(bool).reshape(where.shape + (1,) * (x.ndim - where.ndim))
    return jnp.where(where, x, jnp.zeros((), x.dtype))


def mean_where(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """The mean of each row's numbers where `where`: [B, ...] -> [B]; 0 for a row without any."""
    axes = tuple(range(1, x.ndim))
    if where is None:
        return x.mean(axes)
    count = where.astype(bool).sum(axes, dtype=x.dtype)
    return kept(x, where).sum(axes) / jnp.maximum(count, 1)


def cross(p: jax.Array, log_q: jax.Array) -> jax.Array:
    """-sum_k p[k] log q[k], [..., K] -> [...]; 0 log 0 is 0."""
    return -jnp.where(p > 0, p * log_q, jnp.zeros((), p.dtype)).sum(-1)
