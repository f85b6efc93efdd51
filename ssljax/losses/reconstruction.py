"""Losses between masked patches and their prediction.

>>> patches, mask = jnp.ones((1, 2, 3)), jnp.array([[True, False]])
>>> print(simmim(patches + 0.5, patches, mask))
[0.5]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    absolute,
    on,
    precise,
)
from ssljax.losses._shapes import arrays


def mae(
    prediction: ArrayLike,
    patches: ArrayLike,
    mask: ArrayLike,
    *,
    normalize: bool = True,
    ddof: int = 0,
) -> jax.Array:
    """Mean squared error over the pixels of masked patches, each patch normalized.

    He et al. 2021, arXiv:2111.06377, section 3: with m, v the mean and variance of the P pixels x
    of a patch, its target is (x - m) / sqrt(v + 1e-6);
        l = mean over masked patches of mean (prediction - target)^2.
    prediction, patches [B, T, P], mask bool [B, T], true where masked -> [B]; zero where none is.

    normalize: whether the target is normalized, as in the paper's best (table 1d), or x itself.
    ddof: the variance is the sum of squares over P - ddof: 0, that of the pixels; 1, as in the
    authors' code.

    >>> patch = jnp.array([[[0.0, 2.0]]])  # normalized: -1 and 1
    >>> print(f'{mae(jnp.zeros((1, 1, 2)), patch, [[True]])[0]:.4f}')
    1.0000
    """
    prediction, patches, mask = arrays(
        'B T P', 'B T P', 'B T', prediction=prediction, patches=patches, mask=mask,
        at_least=dict(P=1 + ddof if normalize else 1),
    )  # fmt: skip
    mask = mask.astype(bool)
    target = on(mask, precise(patches))
    if normalize:
        mean, variance = target.mean(-1, keepdims=True), target.var(-1, keepdims=True, ddof=ddof)
        target = (target - mean) / jnp.sqrt(variance + 1e-6)
    return _over_masked(jnp.square(on(mask, precise(prediction)) - target), mask)


def simmim(prediction: ArrayLike, patches: ArrayLike, mask: ArrayLike) -> jax.Array:
    """Mean absolute error over the pixels of masked patches.

    Xie et al. 2021, arXiv:2111.09886, section 3.4:  |y_M - x_M|_1 over the number of masked pixels.
    prediction, patches [B, T, P], mask bool [B, T], true where masked -> [B]; zero where none is.

    >>> print(simmim([[[1.0], [9.0]]], [[[3.0], [0.0]]], [[True, False]]))
    [2.]
    """
    prediction, patches, mask = arrays(
        'B T P', 'B T P', 'B T', prediction=prediction, patches=patches, mask=mask
    )
    mask = mask.astype(bool)
    error = absolute(on(mask, precise(prediction)) - on(mask, precise(patches)))
    return _over_masked(error, mask)


def _over_masked(error: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean over the pixels of masked patches, [B, T, P] at [B, T] -> [B]."""
    count = mask.astype(error.dtype).sum(-1)
    return on(mask, error.mean(-1)).sum(-1) / jnp.maximum(count, 1)
