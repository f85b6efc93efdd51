"""The generator and critic of DCGAN. Radford et al. 2016, arXiv:1511.06434."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Dtype
from ssljax.names import Mistake
from ssljax.nets.layers import Conv, ConvTranspose, Dense, Init, Norm, activate, check, normalize


def doublings(size: int) -> int:
    """How many times 4 pixels are doubled to get `size`."""
    n = (size // 4).bit_length() - 1
    if size < 8 or size != 4 << n:
        raise Mistake(f'DCGAN has no size {size}; offered: 8, 16, 32, 64, 128, ...')
    return n


class Generator(nn.Module):
    size: int
    width: int
    channels: int
    norm: str | None
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        n = doublings(self.size)
        options = dict(bias=self.norm != 'batch', kernel_init=self.kernel_init, dtype=self.dtype)
        width = self.width << (n - 1)
        x = Dense(16 * width, **options)(z).reshape(-1, 4, 4, width)
        for i in range(n):
            x = jax.nn.relu(normalize(x, self.norm, train=train, dtype=self.dtype))
            width = self.channels if i == n - 1 else width // 2
            x = ConvTranspose(width, **options)(x)
        return jnp.tanh(x)


class Critic(nn.Module):
    width: int
    norm: str | None
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        options = dict(bias=self.norm != 'batch', kernel_init=self.kernel_init, dtype=self.dtype)
        for i in range(doublings(x.shape[1])):
            x = Conv(self.width << i, 4, 2, **options)(x)
            x = normalize(x, self.norm if i else None, train=train, dtype=self.dtype)
            x = activate(x, 'leaky_relu')
        return Dense(1, **options)(x.reshape(len(x), -1))[:, 0]


def dcgan_generator(
    *,
    size: Count = 32,
    width: Count = 64,
    channels: Count = 1,
    norm: Norm = 'batch',
    kernel_init: Init = 'normal',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Latents z [B, D] -> images [B, size, size, channels] in (-1, 1).

    size: of the images; 4 pixels are doubled until they are so many.
    width: input channels of the last layer; each layer before it has twice as many.
    channels: of the images.
    norm: None, batch, layer, token or rms, as of `layers.normalize`, after all layers but the last.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm)
    doublings(size)
    return Generator(size, width, channels, norm, kernel_init, dtype)


def dcgan_critic(
    *,
    width: Count = 64,
    norm: Norm = None,
    kernel_init: Init = 'normal',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, H, C] -> one value each [B]; the paper's has norm='batch'.

    width: output channels of the first layer; each layer after it has twice as many.
    norm: None, batch, layer, token or rms, as of `layers.normalize`, after all layers but the
    first. With a gradient penalty, None or layer: batch norm makes a value depend on other rows.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm)
    return Critic(width, norm, kernel_init, dtype)
