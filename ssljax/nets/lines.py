"""Encoders of text lines: images [B, H, W, C] become features of frames, four columns each."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Counts, Decay, Dtype
from ssljax.names import Mistake, around
from ssljax.nets.layers import Conv, Dense, activate, normalize, rms
from ssljax.nets.rnn import LSTM
from ssljax.nets.transformer import Block

STRIDE = 4  # columns of a frame


class Columns(nn.Module):
    """Convolutions that keep a quarter of the columns: [B, H, W, C] -> [B, W / 4, width].

    Columns beyond the length are set to zero before every layer, so that what is there, and how
    much of it, changes nothing.
    """

    widths: tuple[int, ...]
    width: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, length: jax.Array, train: bool) -> jax.Array:
        if x.ndim != 4 or x.shape[2] % STRIDE:
            say = 'rows are no images' if x.ndim != 4 else f'{around(x.shape[2], STRIDE)} would fit'
            raise Mistake(
                f'a line is [H, W, C], W a multiple of 4; found {list(x.shape[1:])}: {say}'
            )
        W = x.shape[2]

        def cut(x):
            count = -(-length * x.shape[2] // W)
            return jnp.where(inside(count, x.shape[2])[:, None, :, None], x, 0)

        x = cut(x)
        pixels = length[:, None, None, None] * (x.shape[1] * x.shape[3])
        x = cut(x - x.sum((1, 2, 3), keepdims=True) / pixels)  # mean 0, deviation 1
        x = x / jnp.maximum(jnp.sqrt(jnp.square(x).sum((1, 2, 3), keepdims=True) / pixels), 1e-3)
        for i, width in enumerate(self.widths):
            layer = Conv(width, 3, 2 if i < 2 else 1, kernel_init='he', dtype=self.dtype)
            x = cut(activate(layer(x), 'relu'))
        x = x.swapaxes(1, 2).reshape(len(x), W // STRIDE, -1)
        x = Dense(self.width, bias=False, dtype=self.dtype)(x)
        x = activate(normalize(x, 'token', train=train, dtype=self.dtype), 'relu')
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class Line(nn.Module):
    columns: dict
    kind: str  # lstm or transformer
    width: int
    depth: int
    heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, x: jax.Array, length: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """[B, H, W, C], length int [B] of columns (None: all) -> features [B, W / 4, D]."""
        length = jnp.full(len(x), x.shape[2]) if length is None else length
        x = Columns(**self.columns, dropout=self.dropout, dtype=self.dtype)(x, length, train)
        frames = -(-length // STRIDE)
        if self.kind == 'lstm':
            x = LSTM(self.width, self.depth, self.dropout, self.dtype)(x, frames, train)
        else:
            options = dict(
                heads=self.heads,
                expand=4,
                norm='rms',
                positions='rotary',
                activation='relu2',
                bias=False,
                normalize_qk=True,
                scale=1.2,
                kernel_init='lecun',
                init_out='zeros',
                causal=False,
            )
            for _ in range(self.depth):
                block = Block(**options, dropout=self.dropout, dtype=self.dtype)
                x = block(x, train, length=frames)
            x = rms(x)
        return jnp.where(inside(frames, x.shape[1])[..., None], x, 0)


def inside(length: jax.Array, count: int) -> jax.Array:
    """Which of `count` places are meant: bool [B, count]."""
    return jnp.arange(count) < length[:, None]


def line_lstm(
    *,
    widths: Counts = (16, 32, 64),
    width: Count = 128,
    depth: Count = 1,
    dropout: Decay = 0.0,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Convolutions, then LSTMs in both directions: [B, H, W, C] -> [B, W / 4, 2 * width].

    Each line gets mean 0 and deviation 1 first. Features of frames beyond the length are zero, and
    the columns that they stand for change nothing before it.

    widths: channels of the convolutions; the first two halve height and width.
    width: of each LSTM's state, and of a frame before them.
    depth: layers of LSTMs.
    dropout: its rate, before and after each of these.
    dtype: of the computation; None: that of inputs and params.
    """
    columns = dict(widths=widened(widths), width=width)
    return Line(columns, 'lstm', width, depth, 0, dropout, dtype)


def line_transformer(
    *,
    widths: Counts = (16, 32, 64),
    width: Count = 128,
    depth: Count = 3,
    heads: Count = 4,
    dropout: Decay = 0.0,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Convolutions, then blocks of a transformer that see all frames: -> [B, W / 4, width].

    Lines and padding as of `line_lstm`; positions are rotary.

    widths: channels of the convolutions; the first two halve height and width.
    width: of a frame.
    depth: blocks.
    heads: of attention, in each block.
    dropout: its rate, in the blocks and before them.
    dtype: of the computation; None: that of inputs and params.
    """
    if width % heads or (width // heads) % 2:
        raise Mistake(f'width {width} is no even multiple of {heads} heads; type width={2 * heads}')
    columns = dict(widths=widened(widths), width=width)
    return Line(columns, 'transformer', width, depth, heads, dropout, dtype)


def widened(widths: tuple[int, ...]) -> tuple[int, ...]:
    if len(widths) < 2:
        raise Mistake(f'widths={widths}: the first two layers halve the line; type widths=(16, 32)')
    return tuple(widths)
