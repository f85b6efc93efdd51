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


@jax.custom_vjp
def recur(gates: jax.Array, kernel: jax.Array) -> jax.Array:
    """What an LSTM says at each frame: gates [T, B, 4 width], of the input alone -> [T, B, width].

    The state is float32, products are in the dtype of the kernel.
    """
    return _frames(gates, kernel)[0]


def _frames(gates, kernel):
    """The output, and what its gradient needs."""

    def frame(state, gates):
        h, c = state
        write, forget, read, value = jnp.split(gates + _product(h, kernel), 4, -1)
        write, forget, read = map(jax.nn.sigmoid, (write, forget + 1, read))
        value = jnp.tanh(value)
        now = forget * c + write * value
        shown = jnp.tanh(now)
        h = read * shown
        return (h, now), (h, (c, shown, write, forget, read, value))

    zeros = jnp.zeros((gates.shape[1], len(kernel)))
    _, (h, kept) = lax.scan(frame, (zeros, zeros), gates)
    return h, (h, kept, kernel)


def _back(saved, slope):
    """The gradient from the last frame to the first; that of the kernel is one product after it.

    JAX's own adds a matrix to another in every frame, and takes two thirds longer on a CPU.
    """
    h, kept, kernel = saved

    def frame(later, now):
        dh, dc = later
        (c, shown, write, forget, read, value), slope = now
        dh = dh + slope
        dc = dc + dh * read * (1 - jnp.square(shown))
        gates = [
            dc * value * write * (1 - write),
            dc * c * forget * (1 - forget),
            dh * shown * read * (1 - read),
            dc * write * (1 - jnp.square(value)),
        ]
        gates = jnp.concatenate(gates, -1)
        return (_product(gates, kernel.T), dc * forget), gates

    zeros = jnp.zeros_like(h[0])
    _, gates = lax.scan(frame, (zeros, zeros), (kept, slope), reverse=True)
    before, own = (x.reshape(-1, x.shape[-1]) for x in (h[:-1], gates[1:]))
    return gates, _product(before.T, own.astype(kernel.dtype)).astype(kernel.dtype)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a.astype(b.dtype), b, preferred_element_type=jnp.float32)


recur.defvjp(_frames, _back)


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
