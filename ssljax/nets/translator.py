"""Nets of CycleGAN: a translator of images, and a critic that has a verdict on every patch.

Zhu et al. 2017, arXiv:1703.10593, appendix 7.2.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Dtype, Natural, Odd
from ssljax.names import Mistake
from ssljax.nets.layers import Conv, ConvTranspose, Init, Norm, activate, check, normalize


def mirrored(x: jax.Array, pixels: int) -> jax.Array:
    """Pixels on every side, mirrored at the border: no frame shows in the result."""
    return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), 'reflect')


class Translator(nn.Module):
    width: int
    blocks: int
    halvings: int
    kernel: int
    channels: int
    skip: bool
    norm: str | None
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        # a norm that has a mean of its own subtracts a bias before it
        options = dict(
            bias=self.norm not in ('batch', 'instance'),
            kernel_init=self.kernel_init,
            dtype=self.dtype,
        )

        def norm(x):
            return normalize(x, self.norm, train=train, dtype=self.dtype)

        (H, W), n = x.shape[1:3], self.halvings
        ends = self.kernel, 1, 'VALID'
        y = Conv(self.width, *ends, **options)(mirrored(x, self.kernel // 2))
        y = jax.nn.relu(norm(y))
        for i in range(1, n + 1):
            y = jax.nn.relu(norm(Conv(self.width << i, 3, 2, **options)(y)))
        for _ in range(self.blocks):  # [B, H / 2^n, W / 2^n, 2^n width]
            z = Conv(self.width << n, 3, 1, 'VALID', **options)(mirrored(y, 1))
            z = Conv(self.width << n, 3, 1, 'VALID', **options)(mirrored(jax.nn.relu(norm(z)), 1))
            y = y + norm(z)
        for i in reversed(range(n)):
            y = jax.nn.relu(norm(ConvTranspose(self.width << i, **options)(y)))
        y = y[:, :H, :W]  # sides were rounded up
        y = mirrored(y, self.kernel // 2)
        y = Conv(self.channels, *ends, **options | dict(bias=True))(y)
        return jnp.tanh(y + x if self.skip else y)


class PatchCritic(nn.Module):
    width: int
    depth: int
    norm: str | None
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        options = dict(kernel_init=self.kernel_init, dtype=self.dtype)
        for i in range(self.depth + 1):
            norm = self.norm if i else None
            bias = norm not in ('batch', 'instance')
            stride = 2 if i < self.depth else 1
            x = Conv(self.width << min(i, 3), 4, stride, bias=bias, **options)(x)
            x = activate(normalize(x, norm, train=train, dtype=self.dtype), 'leaky_relu')
        return Conv(1, 4, **options)(x)[..., 0]


def translator(
    *,
    width: Count = 64,
    blocks: Natural = 9,
    halvings: Natural = 2,
    kernel: Odd = 7,
    channels: Count = 3,
    skip: bool = False,
    norm: Norm = 'instance',
    kernel_init: Init = 'normal',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> images [B, H, W, channels] in (-1, 1), of any size.

    A wide convolution, halvings, residual blocks, as many doublings, a wide convolution. The paper
    has transposed convolutions of 3x3; these are 4x4, in which every pixel has as many taps.

    width: channels at full size; each halving doubles them.
    blocks: residual ones; the paper's 9 are for 256 pixels, 6 for 128.
    halvings: of height and width; 0 or 1 where strokes are a pixel or two wide.
    kernel: of the first and the last convolution, odd.
    channels: of the result.
    skip: whether the image is added before the last tanh: the net then says what changes.
    norm: None, batch, layer, instance, token or rms, as of `layers.normalize`.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm)
    if kernel % 2 == 0:
        raise Mistake(f'translator: kernel={kernel}; type an odd number, as 7')
    return Translator(width, blocks, halvings, kernel, channels, skip, norm, kernel_init, dtype)


def patch_critic(
    *,
    width: Count = 64,
    depth: Natural = 3,
    norm: Norm = 'instance',
    kernel_init: Init = 'normal',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> a value for each patch [B, h, w].

    A value sees 70 x 70 pixels; with depth 2, 1 and 0 it is 34, 16 and 7 (Isola et al. 2017,
    arXiv:1611.07004, appendix 6.1.2).

    width: channels of the first layer; each later one has twice as many, up to eight times.
    depth: layers with stride 2; one of stride 1 and the values follow.
    norm: None, batch, layer, instance, token or rms, as of `layers.normalize`, after all layers
    but the first.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm)
    return PatchCritic(width, depth, norm, kernel_init, dtype)
