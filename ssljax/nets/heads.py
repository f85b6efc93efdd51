"""Heads: layers between features and a loss, other than an mlp."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Dtype
from ssljax.nets.layers import initializer


class Prototypes(nn.Module):
    count: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param('kernel', initializer('normal'), (x.shape[-1], self.count))
        x, kernel = unit(x, -1), unit(kernel, 0)
        x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
        return (x @ kernel).astype(jnp.float32)


def unit(x: jax.Array, axis: int) -> jax.Array:
    """x scaled to length one along an axis, in float32; zero stays zero, with a finite gradient."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(axis, keepdims=True), 1e-12))


def prototypes(*, count: Count = 65536, dtype: Dtype | None = None) -> nn.Module:
    """Cosines [..., count] of x with learned vectors: a dense layer with unit columns, no bias.

    The last layer of Caron et al. 2021, arXiv:2104.14294 (weight norm with a gain of one),
    and the prototypes of Caron et al. 2020, arXiv:2006.09882.
    """
    return Prototypes(count, dtype)


class Forecast(nn.Module):
    steps: int
    dtype: Any

    @nn.compact
    def __call__(self, c: jax.Array, z: jax.Array | None = None) -> jax.Array:
        """Contexts [..., C] -> predictions [..., steps, D], as wide as latents z; None: as c."""
        C, D = c.shape[-1], (c if z is None else z).shape[-1]
        # a score z . W_k c is a sum over D: it starts narrow at any width. Where scores started
        # wide, training lowered them by making the latents of all rows alike
        kernel = self.param('kernel', initializer((C * D) ** -0.5), (C, self.steps * D))
        c, kernel = nn.dtypes.promote_dtype(c, kernel, dtype=self.dtype)
        return (c.reshape(-1, c.shape[-1]) @ kernel).reshape(*c.shape[:-1], self.steps, D)


def forecast(*, steps: Count = 12, dtype: Dtype | None = None) -> nn.Module:
    """A matrix for each step ahead, from contexts to the latents that are to come.

    The W_k of van den Oord et al. 2018, arXiv:1807.03748, equation 3: no bias, no activation.
    The variance of a weight starts at 1 / (C D), so scores start near 0 and the loss near chance.

    steps: how many.
    dtype: of the products; None: that of inputs and params.
    """
    return Forecast(steps, dtype)
