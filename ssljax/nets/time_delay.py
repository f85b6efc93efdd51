"""Convolutions over time: waves, pen strokes, any sequence of one length."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Counts, Dtype
from ssljax.names import Mistake
from ssljax.nets.layers import Activation, Dense, Init, Norm, activate, check, normalize


class TimeDelay(nn.Module):
    widths: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    norm: str | None
    activation: str
    pool: str
    kernel_init: Any
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """[B, T] or [B, T, C] -> frames [B, T', D], or [B, D']."""
        if x.ndim not in (2, 3):
            raise Mistake(f'time_delay takes rows [T] or [T, C]; found {list(x.shape[1:])}')
        x = x[..., None] if x.ndim == 2 else x
        for width, kernel, stride in zip(self.widths, self.kernels, self.strides):
            bias = self.norm != 'batch'
            layer = Dense(width, bias=bias, kernel_init=self.kernel_init, dtype=self.dtype)
            x = normalize(
                layer(windows(x, kernel, stride)), self.norm, train=train, dtype=self.dtype
            )
            x = activate(x, self.activation)
        if self.pool == 'none':
            return x
        return x.mean(1) if self.pool == 'mean' else x.reshape(len(x), -1)


def windows(x: jax.Array, kernel: int, stride: int) -> jax.Array:
    """What a kernel sees, every `stride` frames: [B, T, C] -> [B, ceil(T / stride), kernel * C].

    Zeros lie before and after the row, as with padding SAME.
    """
    B, T, C = x.shape
    count, parts = -(-T // stride), -(-kernel // stride)
    before = max((count - 1) * stride + kernel - T, 0) // 2
    whole = (count + parts - 1) * stride  # frames of all blocks of one stride
    x = jnp.pad(x, ((0, 0), (before, max(whole - T - before, 0)), (0, 0)))
    blocks = x[:, :whole].reshape(B, -1, stride * C)  # faster than a slice for each frame
    return jnp.concatenate([blocks[:, i : i + count] for i in range(parts)], -1)[..., : kernel * C]


def time_delay(
    *,
    widths: Counts = (512, 512, 512, 512, 512),
    kernels: Counts = (10, 8, 4, 4, 4),
    strides: Counts = (5, 4, 2, 2, 2),
    norm: Norm = None,
    activation: Activation = 'relu',
    pool: Literal['none', 'flatten', 'mean'] = 'none',
    kernel_init: Init = 'he',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Strided convolutions over time, [B, T] or [B, T, C] -> [B, T / 160, 512] by default.

    The defaults are those of van den Oord et al. 2018, arXiv:1807.03748, section 3.1, for waves.
    Such layers are called time-delay: Waibel et al. 1989 (IEEE TASSP 37).

    widths, kernels, strides: of each layer: outputs, frames that it sees, frames from one to the
    next.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    activation: a name of `layers.ACTIVATIONS`.
    pool: none (frames as they are), flatten (one vector, by position) or mean (over frames).
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the computation; None: that of inputs and params.
    """
    check(norm, activation)
    if not len(widths) == len(kernels) == len(strides):
        raise Mistake(
            f'time_delay has {len(widths)} widths, {len(kernels)} kernels and {len(strides)}'
            ' strides; type as many of each'
        )
    options = (norm, activation, pool, kernel_init, dtype)
    return TimeDelay(tuple(widths), tuple(kernels), tuple(strides), *options)
