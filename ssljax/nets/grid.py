"""Images as a grid of overlapping patches, and what is known of a row from the rows above.

van den Oord et al. 2018, arXiv:1807.03748, section 3.2.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Counts, Dtype
from ssljax.names import Mistake
from ssljax.nets.conv import ConvNet
from ssljax.nets.layers import Activation, Dense, Norm, activate, check


class PatchGrid(nn.Module):
    patch: int
    apart: int
    conv: ConvNet
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Images [B, H, W, C] -> a latent of each patch [B, rows, columns, width]."""
        if x.ndim != 4 or min(x.shape[1:3]) < self.patch:
            raise Mistake(
                f'patch_grid takes images [H, W, C] of {self.patch} pixels or more; found'
                f' {list(x.shape[1:])}'
            )
        rows, columns = ((length - self.patch) // self.apart + 1 for length in x.shape[1:3])
        tall = jnp.stack(
            [x[:, i : i + self.patch] for i in range(0, rows * self.apart, self.apart)], 1
        )
        cut = [
            tall[:, :, :, j : j + self.patch] for j in range(0, columns * self.apart, self.apart)
        ]
        patches = jnp.stack(cut, 2)  # [B, rows, columns, size, size, C]
        h = self.conv(patches.reshape(-1, *patches.shape[3:]), train=train)
        z = Dense(self.width, dtype=self.dtype)(h)
        return z.reshape(len(x), rows, columns, self.width)


def patch_grid(
    *,
    patch: Count = 64,
    apart: Count = 32,
    widths: Counts = (64, 128, 256, 512),
    width: Count = 1024,
    norm: Norm = None,
    activation: Activation = 'relu',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> latents [B, rows, columns, width]: one small net for all patches.

    By default 7 x 7 of an image of 256 pixels. No net sees more than one patch, and no norm over a
    batch should be asked for: a patch would be told of others by it.

    patch: its side, in pixels. apart: pixels from a patch to the next; fewer than patch: they
    overlap.
    widths: of the strided convolutions. width: of a latent.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    activation: a name of `layers.ACTIVATIONS`.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm, activation)
    options = dict(kernel=3, stride=2, pool='mean', standardize=False, kernel_init='he')
    conv = ConvNet(tuple(widths), norm=norm, activation=activation, dtype=dtype, **options)
    return PatchGrid(patch, apart, conv, width, dtype)


class RowContext(nn.Module):
    width: int
    depth: int
    dtype: Any

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Latents [B, rows, columns, D] -> contexts of the same shape."""
        if z.ndim != 4:
            raise Mistake(
                f'row_context takes latents [rows, columns, D]; found {list(z.shape[1:])}: type'
                ' context.name=gru for a sequence'
            )
        c = z
        for _ in range(self.depth):
            h = activate(Dense(self.width, dtype=self.dtype)(c), 'relu')
            h = jnp.pad(h, ((0, 0), (1, 0), (1, 1), (0, 0)))  # a row above, a column on each side
            rows, columns = z.shape[1:3]
            seen = [h[:, i : i + rows, j : j + columns] for i in range(2) for j in range(3)]
            h = activate(Dense(self.width, dtype=self.dtype)(jnp.concatenate(seen, -1)), 'relu')
            c = c + Dense(z.shape[-1], dtype=self.dtype)(h)
        return activate(c, 'relu')


def row_context(*, width: Count = 256, depth: Count = 5, dtype: Dtype | None = None) -> nn.Module:
    """Latents [B, rows, columns, D] -> contexts: a place sees its own row and the rows above.

    Residual blocks, each with convolutions of two rows by three columns: as a PixelCNN that
    generates row by row (van den Oord et al. 2016, arXiv:1606.05328). The i-th row of contexts is a
    function of the first i rows of latents.

    width: of the convolutions. depth: blocks; each sees one more row.
    dtype: of the computation; None: that of inputs and params.
    """
    return RowContext(width, depth, dtype)
