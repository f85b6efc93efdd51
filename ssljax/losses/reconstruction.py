"""Losses between masked patches and their prediction.

>>> patches, mask = jnp.ones((1, 2, 3)), jnp.array([[True, False]])
>>> print(simmim(patches + 0.5, patches, mask))
[0.5]
"""

import jax
import jax.numpy as jnp

from ssljax.losses._rows import absolute, like, nats, on, precise
from ssljax.losses._shapes import ArrayLike, arrays


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


def beit(logits: ArrayLike, tokens: ArrayLike, mask: ArrayLike) -> jax.Array:
    """Cross entropy of the visual tokens of masked patches.

    Bao et al. 2021, arXiv:2106.08254, eq. 1:
        l = -mean over masked patches i of log softmax(logits_i)[tokens_i].
    logits [B, T, V], tokens int [B, T], mask bool [B, T], true where masked -> [B]. A mean over
    masked patches, as in the authors' code, where the paper has a sum; a row without any is zero.

    >>> print(beit([[[0.0, 0.0], [5.0, 0.0]]], [[1, 0]], [[True, False]]))  # log 2
    [0.6931472]
    """
    logits, tokens, mask = arrays('B T V', 'B T', 'B T', logits=logits, tokens=tokens, mask=mask)
    mask = mask.astype(bool)
    # what is not masked may be anything, also a token that does not exist
    loss = nats(logits, tokens, where=mask)
    return loss.sum(-1) / jnp.maximum(mask.astype(loss.dtype).sum(-1), 1)


def context_encoder(
    prediction: ArrayLike,
    x: ArrayLike,
    region: ArrayLike,
    *,
    seen: ArrayLike | None = None,
    weight: ArrayLike = 10.0,
) -> jax.Array:
    """Squared error of a predicted region, more of it in the margin that the net could see.

    Pathak et al. 2016, arXiv:1604.07379, eq. 1 and the overlap of section 3.2:
        l = mean over pixels of the region of w (prediction - x)^2,  w = weight where seen, else 1.
    prediction, x [B, H, W, C]; region, seen, bool [B, H, W] -> [B]. A mean over the region, as in
    the authors' code, where the paper has a norm.

    seen: which pixels of the region the net was shown, a band along its edge (7 pixels in the
        paper); None: none.
    weight: of the band, beside one.

    >>> x = jnp.zeros((1, 1, 2, 1))
    >>> print(context_encoder(x + 2, x, [[[True, False]]]))
    [4.]
    """
    prediction, x, region, seen = arrays(
        'B H W C', 'B H W C', 'B H W', 'B H W', prediction=prediction, x=x, region=region, seen=seen
    )
    region = region.astype(bool)
    error = on(region, precise(prediction)) - on(region, precise(x))
    error = jnp.square(error).mean(-1)
    if seen is not None:
        error = jnp.where(seen.astype(bool), like(weight, error), 1) * error
    return error.sum((1, 2)) / jnp.maximum(region.astype(error.dtype).sum((1, 2)), 1)
