"""Planes [H, W], the channels of an image [H, W, C]: operators split, compute on planes, and stack.

In a chain of operators under jit, the compiler removes the stacks and splits between them, so that
all of it works on planes, with long inner loops, and is stacked once. What comes between must do so
too: a jnp.where of two stacked images, for example, keeps both stacks, and twice the time.
"""

from typing import Any

import jax
import jax.numpy as jnp


def planes(x: jax.Array) -> list[jax.Array]:
    """The channels as separate planes [H, W]."""
    return [x[..., c] for c in range(x.shape[-1])]


def stack(parts: list[jax.Array]) -> jax.Array:
    """Planes back to [H, W, C]."""
    return jnp.stack(parts, -1)


def where(acts: Any, changed: jax.Array, x: jax.Array) -> jax.Array:
    """The changed image where it `acts`, else x."""
    pairs = zip(planes(changed), planes(x), strict=True)
    return stack([jnp.where(acts, new, old) for new, old in pairs])


def products(rows: jax.Array, x: jax.Array, cols: jax.Array) -> jax.Array:
    """rows [h, H] @ plane [H, W] @ cols.T [W, w] of each channel; under vmap, batched products."""
    return stack([rows @ plane @ cols.T for plane in planes(x)])
