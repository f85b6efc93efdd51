"""Means of what a mask selects."""

import jax
import jax.numpy as jnp

from ssljax.losses._rows import on, row_means, row_sums


def mean_where(x: jax.Array, where: jax.Array | None) -> jax.Array:
    """The mean of each row's numbers where `where`: [B, ...] -> [B]; 0 for a row without any."""
    if where is None:
        return row_means(x)
    return row_sums(on(where, x)) / jnp.maximum(row_sums(where.astype(x.dtype)), 1)
