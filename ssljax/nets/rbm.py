"""The restricted Boltzmann machine: visible and hidden units, each connected to all of the others.

Smolensky 1986; Hinton 2012 (A practical guide to training restricted Boltzmann machines), eqs. 2 to
8 and, for visible units with normal noise, section 13.2.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.kinds import Count, Dtype, NonNegative
from ssljax.nets.layers import Init, initializer

MOST = 16  # hidden units whose states are counted


class RBM(nn.Module):
    visible: int
    hidden: int
    deviation: float  # of the noise of visible units; 0: they are 0 or 1
    kernel_init: Any
    dtype: Any

    def setup(self):
        shape = (self.visible, self.hidden)
        self.kernel = self.param('kernel', initializer(self.kernel_init), shape)
        self.a = self.param('visible', nn.initializers.zeros, (self.visible,))
        self.b = self.param('hidden', nn.initializers.zeros, (self.hidden,))

    def __call__(self, v: jax.Array) -> jax.Array:
        """-log sum_h exp -E(v, h) of each row: [B, visible] -> [B], where
        E(v, h) = -a.v - b.h - v.W h, or |v - a|^2 / 2 s^2 - b.h - v.W h / s."""
        x, kernel = nn.dtypes.promote_dtype(self.scaled(v), self.kernel, dtype=self.dtype)
        to_hidden = self.b + (x @ kernel).astype(jnp.float32)
        return self.own(v) - jax.nn.softplus(to_hidden).sum(-1)

    def own(self, v):
        """The energy of visible units alone."""
        if self.deviation:
            return jnp.square((v - self.a) / self.deviation).sum(-1) / 2
        return -(v * self.a).sum(-1)  # no product of matrices: it stays in float32

    def scaled(self, v):
        return v / self.deviation if self.deviation else v

    # Chances and means are in float32: those of rounded weights would be of another model.

    def to_hidden(self, v: jax.Array) -> jax.Array:
        """The chance of each hidden unit, given the visible ones: [B, visible] -> [B, hidden]."""
        return jax.nn.sigmoid(self.b + self.scaled(v) @ self.kernel)

    def to_visible(self, h: jax.Array) -> jax.Array:
        """The chance, or the mean, of each visible unit: [B, hidden] -> [B, visible]."""
        pull = h @ self.kernel.T
        return self.a + self.deviation * pull if self.deviation else jax.nn.sigmoid(self.a + pull)

    def draw_hidden(self, key: jax.Array, v: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, self.to_hidden(v)).astype(jnp.float32)

    def draw_visible(self, key: jax.Array, h: jax.Array) -> jax.Array:
        p = self.to_visible(h)
        if self.deviation:
            return p + self.deviation * jax.random.normal(key, p.shape)
        return jax.random.bernoulli(key, p).astype(jnp.float32)

    def gibbs(self, key: jax.Array, v: jax.Array) -> jax.Array:
        """The visible units after all hidden ones, then all visible ones were drawn anew."""
        k1, k2 = jax.random.split(key)
        return self.draw_visible(k2, self.draw_hidden(k1, v))

    def log_sums(self, pull: jax.Array) -> jax.Array:
        """Log of the sum, or the integral, of exp(-E) over v, where h pulls at each visible unit:
        [..., visible] -> [...], without b.h."""
        if not self.deviation:
            return jax.nn.softplus(self.a + pull).sum(-1)
        volume = self.visible * math.log(self.deviation * math.sqrt(2 * math.pi))
        return volume + (pull * (self.a / self.deviation + pull / 2)).sum(-1)

    def log_z_alone(self) -> jax.Array:
        """log Z of a net whose kernel and hidden biases are zero."""
        return self.log_sums(jnp.zeros(self.visible)) + self.hidden * math.log(2)

    def log_z(self) -> jax.Array:
        """log Z, by the sum over all 2^hidden states of the hidden units: of 16 at most."""
        states = jnp.arange(2**self.hidden)[:, None] >> jnp.arange(self.hidden) & 1
        h = states.astype(jnp.float32)  # [2^hidden, hidden]
        return jax.nn.logsumexp(h @ self.b + self.log_sums(h @ self.kernel.T))


def alone(mean: jax.Array, deviation: float) -> jax.Array:
    """The biases of visible units that know their mean [visible] and no other unit."""
    p = jnp.clip(mean, 0.01, 0.99)
    return mean if deviation else jnp.log(p / (1 - p))


def between(visible: jax.Array, params: dict, beta: jax.Array | float) -> dict:
    """Params of the RBM whose exp(-F), with its hidden units, is on the way from one with these
    visible biases alone, at beta = 0, to that of `params`, at 1 (Salakhutdinov & Murray 2008)."""
    part = jax.tree.map(lambda leaf: beta * leaf, params)
    return part | {'visible': (1 - beta) * visible + part['visible']}


def rbm(
    *,
    visible: Count = 784,
    hidden: Count = 500,
    deviation: NonNegative = 0.0,
    kernel_init: Init = 0.01,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Rows [B, visible] -> free energies [B]; its other methods are chances, means and draws.

    visible, hidden: units.
    deviation: of the normal noise of visible units; 0: they are 0 or 1.
    kernel_init: a name of `layers.INITIALIZERS`, or the deviation of normal weights.
    dtype: of the product in the free energy; None: that of inputs and params.
    """
    return RBM(visible, hidden, deviation, kernel_init, dtype)
