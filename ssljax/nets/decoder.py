"""A decoder from vectors to images of real numbers, whose meaning depends on the loss."""

from typing import Any

import flax.linen as nn
import jax

from ssljax.kinds import Count, Counts, Dtype
from ssljax.names import Mistake
from ssljax.nets.layers import (
    Activation,
    Conv,
    ConvTranspose,
    Dense,
    Init,
    Norm,
    activate,
    check,
    normalize,
)


class ConvDecoder(nn.Module):
    shape: tuple[int, int, int]
    widths: tuple[int, ...]
    norm: str | None
    activation: str
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, z: jax.Array, train: bool = False) -> jax.Array:
        (H, W, C), options = self.shape, dict(kernel_init=self.kernel_init, dtype=self.dtype)
        n = len(self.widths)
        h, w = (-(-side // 2**n) for side in (H, W))  # rounded up; the output is cropped
        # a bias before a batch norm would be subtracted again
        inner = options | dict(bias=self.norm != 'batch')
        x = Dense(h * w * self.widths[0], **inner)(z).reshape(-1, h, w, self.widths[0])
        for width in self.widths:
            x = activate(normalize(x, self.norm, train=train, dtype=self.dtype), self.activation)
            x = ConvTranspose(width, **inner)(x)
        x = activate(normalize(x, self.norm, train=train, dtype=self.dtype), self.activation)
        return Conv(C, 3, **options)(x)[:, :H, :W]


def conv_decoder(
    *,
    shape: tuple[Count, Count, Count] = (32, 32, 1),
    widths: Counts = (64, 32, 16),
    norm: Norm = 'batch',
    activation: Activation = 'relu',
    kernel_init: Init = 'he',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Vectors z [B, D] -> [B, *shape]; each layer doubles height and width, the last one does not.

    The last layer is linear: its output can be logits, means, or means and scales (with twice the
    channels).

    shape: (H, W, C) of the output; any H and W.
    widths: output channels of each doubling.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    activation: a name of `layers.ACTIVATIONS`.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm, activation)
    if not widths or min(shape) < 1:
        raise Mistake(f'conv_decoder: shape={shape}, widths={widths}; type sizes of 1 and more')
    return ConvDecoder(tuple(shape), tuple(widths), norm, activation, kernel_init, dtype)
