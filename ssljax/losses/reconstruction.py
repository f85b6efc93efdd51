"""Losses between masked patches and their prediction.

>>> patches, mask = jnp.ones((1, 2, 3)), jnp.array([[True, False]])
>>> print(simmim(patches + 0.5, patches, mask))
[0.5]
"""

import jax
import jax.numpy as jnp


def mae(
    prediction: jax.Array, patches: jax.Array, mask: jax.Array, *, normalize: bool = True
) -> jax.Array:
    """Mean squared error over the pixels of masked patches, each patch normalized.

    He et al. 2021, arXiv:2111.06377, section 3: with m, v the mean and variance of the pixels x of
    a patch, its target is (x - m) / sqrt(v + 1e-6);
        l = mean over masked patches of mean (prediction - target)^2.
    prediction, patches [B, T, P], mask [B, T], true where masked -> [B].
    """
    target = patches.astype(jnp.float32)
    if normalize:
        mean, variance = target.mean(-1, keepdims=True), target.var(-1, keepdims=True)
        target = (target - mean) / jnp.sqrt(variance + 1e-6)
    return _over_masked(jnp.square(prediction.astype(jnp.float32) - target), mask)


def simmim(prediction: jax.Array, patches: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean absolute error over the pixels of masked patches.

    Xie et al. 2021, arXiv:2111.09886, section 3.4:  |y_M - x_M|_1 over the number of masked pixels.
    prediction, patches [B, T, P], mask [B, T], true where masked -> [B].
    """
    error = jnp.abs(prediction.astype(jnp.float32) - patches.astype(jnp.float32))
    return _over_masked(error, mask)


def _over_masked(error: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean over the pixels of masked patches, [B, T, P] at [B, T] -> [B]."""
    error, mask = error.mean(-1), mask.astype(jnp.float32)
    return (error * mask).sum(-1) / jnp.maximum(mask.sum(-1), 1)
