"""The precision in which losses are computed."""

import jax
import jax.numpy as jnp


def precise(x: jax.Array) -> jax.Array:
    """x in float32; in float64 if it is given in that."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
