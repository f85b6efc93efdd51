"""Norms of tokens, in the form that is fast on their backend."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from ssljax.nets import layers
from ssljax.nets.layers import one_cpu


def rms(x: jax.Array, *, native: bool | None = None) -> jax.Array:
    """x divided by its root mean square along the last axis, no gain (Zhang & Sennrich 2019).

    native: whether the gradient and its sums are XLA's own, or ours, which are faster on a CPU but
    have no forward mode. None: ours on a single CPU device.
    """
    if not one_cpu() if native is None else native:
        return layers.rms(x)
    return _rms(x.astype(jnp.float32)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Each token with mean 0 and variance 1, then a gain and a bias for each entry.

    Params and values are those of flax.linen.LayerNorm; statistics are float32.
    """

    epsilon: float = 1e-6
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param('scale', nn.initializers.ones, x.shape[-1:])
        bias = self.param('bias', nn.initializers.zeros, x.shape[-1:])
        y = layer_norm(x.astype(jnp.float32), scale, bias, epsilon=self.epsilon)
        return y.astype(self.dtype or jnp.promote_types(x.dtype, scale.dtype))


def layer_norm(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    *,
    epsilon: float,
    native: bool | None = None,
) -> jax.Array:
    """x [..., D] normalized along D, times scale [D], plus bias [D]; native: as of `rms`."""
    if not one_cpu() if native is None else native:
        y = x - x.mean(-1, keepdims=True)
        return y * lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + epsilon) * scale + bias
    return _layer_norm(x, scale, bias, epsilon)


# Ours: sums are products with ones, since XLA:CPU adds the numbers of a row one after another, and
# the gradient is written out, so that no more is kept than the result and one number of each row.


def mean(x: jax.Array) -> jax.Array:
    """Along the last axis, which stays, of length 1."""
    D = x.shape[-1]
    return (x.reshape(-1, D) @ jnp.full((D, 1), 1 / D, x.dtype)).reshape(*x.shape[:-1], 1)


def total(x: jax.Array) -> jax.Array:
    """The sum of all rows: [..., D] -> [D]."""
    rows = x.reshape(-1, x.shape[-1])
    return (jnp.ones((1, len(rows)), x.dtype) @ rows)[0]


@jax.custom_vjp
def _rms(x):
    return _rms_forward(x)[0]


def _rms_forward(x):
    rate = lax.rsqrt(mean(jnp.square(x)) + 1e-6)
    return x * rate, (x * rate, rate)


def _rms_backward(saved, g):
    y, rate = saved
    return (rate * (g - y * mean(g * y)),)


_rms.defvjp(_rms_forward, _rms_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _layer_norm(x, scale, bias, epsilon):
    return _layer_norm_forward(x, scale, bias, epsilon)[0]


def _layer_norm_forward(x, scale, bias, epsilon):
    y = x - mean(x)
    rate = lax.rsqrt(mean(jnp.square(y)) + epsilon)
    y = y * rate
    return y * scale + bias, (y, rate, scale)


def _layer_norm_backward(epsilon, saved, g):
    y, rate, scale = saved
    h = g * scale
    return rate * (h - mean(h) - y * mean(h * y)), total(g * y), total(g)


_layer_norm.defvjp(_layer_norm_forward, _layer_norm_backward)
