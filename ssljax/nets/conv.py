"""A plain convolutional encoder for small images."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Counts, Dtype
from ssljax.names import choose
from ssljax.nets.layers import Activation, Conv, Init, Norm, activate, check, normalize


class ConvNet(nn.Module):
    widths: tuple[int, ...]
    kernel: int
    stride: int
    norm: str | None
    activation: str
    pool: str
    standardize: bool
    kernel_init: Any
    dtype: Any

    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = self.places(x, train)
        return x.mean((1, 2)) if self.pool == 'mean' else x.reshape(len(x), -1)

    @nn.compact
    def places(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Images [B, H, W, C] -> features of places [B, h, w, D]."""
        options = dict(bias=self.norm != 'batch', kernel_init=self.kernel_init, dtype=self.dtype)
        if self.standardize:
            axes = (1, 2, 3)
            x = x - x.mean(axes, keepdims=True)
            x = x / jnp.maximum(x.std(axes, keepdims=True), 1e-3)
        for width in self.widths:
            x = Conv(width, self.kernel, self.stride, **options)(x)
            x = activate(normalize(x, self.norm, train=train, dtype=self.dtype), self.activation)
        return x


def conv(
    *,
    widths: Counts = (16, 32, 64, 128),
    kernel: Count = 3,
    stride: Count = 2,
    norm: Norm = 'batch',
    activation: Activation = 'relu',
    pool: Literal['flatten', 'mean'] = 'flatten',
    standardize: bool = False,
    kernel_init: Init = 'lecun',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Strided convolutions [B, H, W, C] -> [B, D]: 512 features of 32x32 by default.

    widths: output channels of each layer.
    kernel, stride: of each layer.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    activation: a name of `layers.ACTIVATIONS`.
    pool: flatten (features keep their position) or mean (over positions).
    standardize: whether each image gets mean 0 and deviation 1 before the first layer, so that
    light and contrast are no features.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm, activation)
    choose(pool, ('flatten', 'mean'), 'pool')
    return ConvNet(
        tuple(widths), kernel, stride, norm, activation, pool, standardize, kernel_init, dtype
    )
