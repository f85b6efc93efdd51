"""Recurrent nets over sequences that are padded to one length.

LSTM: Hochreiter & Schmidhuber 1997 (Neural Computation 9); in both directions, Graves & Schmidhuber
2005 (Neural Networks 18). GRU: Cho et al. 2014, arXiv:1406.1078.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ssljax.kinds import Count, Decay, Dtype
from ssljax.nets.layers import Dense, initializer


@jax.custom_vjp
def reverse(x: jax.Array, length: jax.Array) -> jax.Array:
    """The first `length` frames of each row [B, T, ...] backward; the others come after them."""
    frames = jnp.arange(x.shape[1])
    index = (length[:, None] - 1 - frames) % x.shape[1]  # [B, T]
    return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), 1)


# Frames that trade places: the gradient trades them back. JAX's own adds them up one by one.
reverse.defvjp(lambda x, length: (reverse(x, length), length), lambda n, g: (reverse(g, n), None))


class BothWays(nn.Module):
    """An LSTM from the left and one from the right: [B, T, C] -> [B, T, 2 * width]."""

    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, length: jax.Array) -> jax.Array:
        # what the gates get from the frames is one product over all frames, outside the scan
        gates = Dense(8 * self.width, kernel_init='xavier', dtype=self.dtype)(x)
        gates = gates.astype(jnp.float32)
        ahead, back = jnp.split(gates, 2, -1)
        ahead, back = (g.swapaxes(0, 1) for g in (ahead, reverse(back, length)))  # [T, B, 4 width]
        kernels = [Recurrent(self.width, self.dtype, name=way)() for way in ('ahead', 'back')]
        ahead, back = (recur(g, w).swapaxes(0, 1) for g, w in zip((ahead, back), kernels))
        both = jnp.concatenate([ahead, reverse(back, length)], -1)
        return both.astype(self.dtype or both.dtype)


class Recurrent(nn.Module):
    """A matrix [width, gates * width] that is needed at every frame.

    Its parameter ends in two axes of 1: fsdp cuts one of the last two, and so leaves it whole.
    """

    width: int
    dtype: Any
    gates: int = 4

    @nn.compact
    def __call__(self) -> jax.Array:
        shape, init = (self.width, self.gates * self.width), initializer('xavier')
        kernel = self.param('kernel', lambda key: init(key, shape)[..., None, None])[..., 0, 0]
        return kernel.astype(self.dtype or kernel.dtype)


def turn(h: jax.Array, c: jax.Array, gates: jax.Array, kernel: jax.Array) -> tuple:
    """One frame of an LSTM: output and cell [B, width] after it; both stay float32."""
    gates = gates + (h.astype(kernel.dtype) @ kernel).astype(jnp.float32)
    write, forget, read, value = jnp.split(gates, 4, -1)
    c = jax.nn.sigmoid(forget + 1) * c + jax.nn.sigmoid(write) * jnp.tanh(value)
    return jax.nn.sigmoid(read) * jnp.tanh(c), c


def scanned(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """All frames of an LSTM: gates [T, B, 4 width], what the input gives -> [T, B, width]."""

    def frame(state, gates):
        h, c = turn(*state, gates, kernel)
        return (h, c), h

    zeros = jnp.zeros((gates.shape[1], len(kernel)))
    return lax.scan(frame, (zeros, zeros), gates)[1]


# The same, with the gradient for the kernel as one product over all frames, after the scan; by
# JAX's own rule each frame adds a matrix to another, which a CPU feels.
recur = jax.custom_vjp(scanned)


def _forward(gates, kernel):
    h, back = jax.vjp(lambda gates: scanned(gates, kernel), gates)
    return h, (h, back, kernel)


def _backward(saved, slope):
    h, back, kernel = saved
    (gates,) = back(slope)  # also the slope of the product with the kernel, which is added to them
    before, own = (x.reshape(-1, x.shape[-1]).astype(kernel.dtype) for x in (h[:-1], gates[1:]))
    return gates, before.T @ own


recur.defvjp(_forward, _backward)


class LSTM(nn.Module):
    width: int
    depth: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(
        self, x: jax.Array, length: jax.Array | None = None, train: bool = False
    ) -> jax.Array:
        """[B, T, C] -> [B, T, 2 * width]; length int [B]: how many frames are meant, None: all."""
        B, T, _ = x.shape
        length = jnp.full(B, T) if length is None else length
        for _ in range(self.depth):
            x = BothWays(self.width, self.dtype)(x, length)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return x


def lstm(
    *, width: Count = 128, depth: Count = 1, dropout: Decay = 0.0, dtype: Dtype | None = None
) -> nn.Module:
    """LSTMs in both directions over padded sequences: [B, T, C] -> [B, T, 2 * width].

    Frames beyond the length of a row change nothing within it. The bias of the forget gate is one
    more than its parameter. Hochreiter & Schmidhuber 1997.

    width: of the state, in each direction.
    depth: layers.
    dropout: its rate, after each layer.
    dtype: of the products; the state is float32. None: that of inputs and params.
    """
    return LSTM(width, depth, dropout, dtype)


class GRU(nn.Module):
    width: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """[B, T, C] -> [B, T, width]; a frame depends on no later one."""
        # what the gates get from the frames is one product over all frames, outside the scan
        gates = Dense(3 * self.width, kernel_init='xavier', dtype=self.dtype)(x)
        kernel = Recurrent(self.width, self.dtype, gates=3, name='ahead')()

        def frame(h, own):
            past = (h.astype(kernel.dtype) @ kernel).astype(jnp.float32)
            (write, reset, value), (w, r, v) = (jnp.split(g, 3, -1) for g in (own, past))
            write, reset = jax.nn.sigmoid(write + w), jax.nn.sigmoid(reset + r)
            h = h + write * (jnp.tanh(value + reset * v) - h)
            return h, h

        start = jnp.zeros((len(x), self.width))
        _, h = lax.scan(frame, start, gates.astype(jnp.float32).swapaxes(0, 1), unroll=2)
        return h.swapaxes(0, 1).astype(self.dtype or h.dtype)


def gru(*, width: Count = 256, dtype: Dtype | None = None) -> nn.Module:
    """Gated recurrent units from the first frame to the last: [B, T, C] -> [B, T, width].

    A frame of the output depends on no later frame. The reset gate scales what comes of the state,
    after the product with its matrix. Cho et al. 2014, arXiv:1406.1078.

    width: of the state.
    dtype: of the products; the state is float32. None: that of inputs and params.
    """
    return GRU(width, dtype)
