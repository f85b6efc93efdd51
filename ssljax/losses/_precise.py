"""The precision in which losses are computed."""

from typing import Any

import jax
import jax.numpy as jnp


def precise(x: jax.Array) -> jax.Array:
    """x in float32; in float64 if it is given in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def like(value: Any, x: jax.Array) -> jax.Array:
    """An option, a number or traced, in the precision of x."""
    return jnp.asarray(value, x.dtype)
