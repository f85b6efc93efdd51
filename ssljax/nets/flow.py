"""Invertible nets: x -> z and log |det dz/dx| of each row, and `inverse`, z -> x.

Dinh et al. 2014, arXiv:1410.8516 (additive coupling, diagonal scale); 2016, arXiv:1605.08803
(affine coupling, masks, scales); Kingma & Dhariwal 2018, arXiv:1807.03039 (actnorm).
"""

import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.linalg import solve_triangular

from ssljax.kinds import Count, Counts, Dtype, Natural
from ssljax.names import Mistake
from ssljax.nets.layers import Conv, Dense


class Actnorm(nn.Module):
    """A scale and a shift of each channel, at first those that standardize the first batch."""

    each: bool = False  # of each entry of a row instead: the diagonal scale of NICE

    @nn.compact
    def affine(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        axes = 0 if self.each else tuple(range(x.ndim - 1))
        log_scale = self.param('log_scale', lambda key: -jnp.log(x.std(axes) + 1e-6))
        return log_scale, self.param('shift', lambda key: -x.mean(axes))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_scale, shift = self.affine(x)
        places = x[0].size // log_scale.size
        return (x + shift) * jnp.exp(log_scale), jnp.full(len(x), places * log_scale.sum())

    def inverse(self, z: jax.Array) -> jax.Array:
        log_scale, shift = self.affine(z)
        return z * jnp.exp(-log_scale) - shift


class Triangular(nn.Module):
    """A triangular matrix and a shift along the last axis; of one normal it makes any other."""

    @nn.compact
    def affine(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        dim, axes = x.shape[-1], tuple(range(x.ndim - 1))
        log_scale = self.param('log_scale', lambda key: -jnp.log(x.std(axes) + 1e-6))
        above = self.param('above', nn.initializers.zeros, (dim, dim))
        shift = self.param('shift', lambda key: -x.mean(axes))
        return jnp.triu(above, 1) + jnp.diag(jnp.exp(log_scale)), shift, log_scale

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        matrix, shift, log_scale = self.affine(x)
        z = jnp.matmul(x + shift, matrix, precision=lax.Precision.HIGHEST)
        return z, jnp.full(len(x), x[0].size // len(log_scale) * log_scale.sum())

    def inverse(self, z: jax.Array) -> jax.Array:
        matrix, shift, _ = self.affine(z)
        rows = z.reshape(-1, z.shape[-1])
        x = solve_triangular(matrix, rows.T, trans=1).T  # x matrix = z
        return x.reshape(z.shape) - shift


class Residual(nn.Module):
    """The log scale s and the shift t of a coupling, both zero at first; s [...] is 0 if additive.

    A stem, `depth` residual blocks and a last layer, convolutions or dense as x is; s is a tanh
    times a learned bound, as in Real NVP.
    """

    affine: bool
    width: int
    depth: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        def layer(h, dim, kernel=3, **options):
            if x.ndim == 4:
                return Conv(dim, kernel, dtype=self.dtype, **options)(h)
            return Dense(dim, dtype=self.dtype, **options)(h)

        channels = x.shape[-1]
        h = layer(x, self.width)
        for _ in range(self.depth):
            inner = jax.nn.relu(layer(jax.nn.relu(h), self.width))
            h = h + layer(inner, self.width, kernel=1)
        h = jax.nn.relu(h)
        parts = 2 if self.affine else 1
        out = layer(h, parts * channels, kernel_init='zeros').astype(jnp.float32)
        if not self.affine:
            return jnp.zeros_like(out), out
        s, t = jnp.split(out, 2, -1)
        return self.param('bound', nn.initializers.ones, (channels,)) * jnp.tanh(s), t


class Coupling(nn.Module):
    """Entries under the mask stay and say how the others move: y = x exp(s) + t; s = 0: additive.

    mask: checkerboard (of the places of an image, of the entries of a vector) or channels (the
    first half of the last axis stays); flip: the other entries stay.
    """

    mask: str = 'checkerboard'
    flip: bool = False
    affine: bool = True
    width: int = 16
    depth: int = 1
    dtype: Any = None

    def setup(self) -> None:
        self.net = Residual(self.affine, self.width, self.depth, self.dtype)

    def moves(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """s and t, zero where entries stay; the same of x as of y."""
        shape = x.shape[1:]
        if self.mask == 'channels':
            stays = np.arange(shape[-1]) < shape[-1] // 2
        elif len(shape) > 1:
            stays = (np.indices(shape[:-1]).sum(0) % 2 == 0)[..., None]
        else:
            stays = np.arange(*shape) % 2 == 0
        stays = np.float32(stays != self.flip)
        s, t = self.net(stays * x)
        return (1 - stays) * s, (1 - stays) * t

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        s, t = self.moves(x)
        return x * jnp.exp(s) + t, s.reshape(len(s), -1).sum(1)

    def inverse(self, z: jax.Array) -> jax.Array:
        s, t = self.moves(z)
        return (z - t) * jnp.exp(-s)


class Squeeze(nn.Module):
    """Each square of 2 x 2 pixels becomes one of four times the channels."""

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        B, H, W, C = x.shape
        x = x.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(B, H // 2, W // 2, 4 * C), jnp.zeros(B)

    def inverse(self, z: jax.Array) -> jax.Array:
        B, H, W, C = z.shape
        z = z.reshape(B, H, W, 2, 2, C // 4).transpose(0, 1, 3, 2, 4, 5)
        return z.reshape(B, 2 * H, 2 * W, C // 4)


class Logit(nn.Module):
    """y in [0, 1) -> logit(alpha + (1 - 2 alpha) y), which has no ends. Real NVP, section 4.1."""

    alpha: float = 0.05  # the paper's (1 - alpha) y would reach 1, where the logit has no bound

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        p = self.alpha + (1 - 2 * self.alpha) * x
        slope = math.log(1 - 2 * self.alpha) - jnp.log(p) - jnp.log1p(-p)
        return jnp.log(p) - jnp.log1p(-p), slope.reshape(len(x), -1).sum(1)

    def inverse(self, z: jax.Array) -> jax.Array:
        return (jax.nn.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)


class Flat(nn.Module):
    """Rows of a shape as vectors."""

    shape: tuple[int, ...]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x.reshape(len(x), -1), jnp.zeros(len(x))

    def inverse(self, z: jax.Array) -> jax.Array:
        return z.reshape(len(z), *self.shape)


class FactorOut(nn.Module):
    """Half of the channels is done; the others go on through `rest`, which makes vectors of them.

    Real NVP, section 3.6. In z what went on is first: from coarse to fine.
    """

    rest: nn.Module
    shape: tuple[int, ...]  # of a row, [H, W, C]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        on, done = jnp.split(x, 2, -1)
        z, log_det = self.rest(on)
        return jnp.concatenate([z, done.reshape(len(x), -1)], -1), log_det

    def inverse(self, z: jax.Array) -> jax.Array:
        on, done = jnp.split(z, 2, -1)
        done = done.reshape(len(z), *self.shape[:-1], -1)
        return jnp.concatenate([self.rest.inverse(on), done], -1)


class Chain(nn.Module):
    """Maps one after another: log determinants add."""

    layers: tuple[nn.Module, ...]

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_det = jnp.zeros(len(x))
        for layer in self.layers:
            x, more = layer(x)
            log_det = log_det + more
        return x, log_det

    def inverse(self, z: jax.Array) -> jax.Array:
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z


def flow_image(
    *,
    shape: Counts = (32, 32, 3),
    scales: Count = 2,
    width: Count = 16,
    depth: Natural = 1,
    coupling: Literal['affine', 'additive'] = 'affine',
    dtype: Dtype | None = None,
) -> nn.Module:
    """Real NVP, images [B, H, W, C] <-> [B, H W C]: at each scale three couplings with masks of a
    checkerboard, a squeeze, three of channels, and half of the channels is done; four at the last.

    shape: of an image [H, W, C]; a method gives it.
    scales: how many.
    width: channels inside a coupling; twice as many at the next scale.
    depth: residual blocks inside a coupling.
    coupling: affine, with an actnorm before each; or additive, of fixed volume, and at the end a
    scale of each entry (NICE).
    dtype: of the nets in the couplings; None: that of inputs and params. All else is float32.
    """
    unit = 2 ** (scales - 1)
    if len(shape) != 3 or shape[0] % unit or shape[1] % unit:
        raise Mistake(
            f'flow_image: rows {list(shape)} have no {scales} scales; it takes images [H, W, C]'
            f' with H and W divisible by {unit}: type another scales, or name=flow_vector'
        )
    affine = coupling == 'affine'

    def couplings(mask: str, count: int, width: int) -> list[nn.Module]:
        parts = [Coupling(mask, i % 2 == 1, affine, width, depth, dtype) for i in range(count)]
        return [layer for part in parts for layer in ([Actnorm()] * affine + [part])]

    def scale(shape: tuple[int, ...], scales: int, width: int) -> nn.Module:
        if scales == 1:
            return Chain((*couplings('checkerboard', 4, width), Flat(shape)))
        (H, W, C), twice = shape, 2 * width
        rest = scale((H // 2, W // 2, 2 * C), scales - 1, twice)
        layers = [*couplings('checkerboard', 3, width), Squeeze(), *couplings('channels', 3, twice)]
        return Chain((*layers, FactorOut(rest, (H // 2, W // 2, 4 * C))))

    whole = scale(tuple(shape), scales, width)
    return whole if affine else Chain((whole, Actnorm(each=True)))


def flow_vector(
    *,
    shape: Counts = (2,),
    couplings: Natural = 8,
    width: Count = 64,
    depth: Natural = 1,
    coupling: Literal['affine', 'additive'] = 'affine',
    linear: bool = False,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Couplings of vectors [B, ...] <-> [B, D], whose masks take turns: even entries, odd entries.

    shape: of a row; a method gives it.
    couplings: how many.
    width, depth: of the residual net inside a coupling.
    coupling: affine, with an actnorm before each; or additive, of fixed volume, and at the end a
    scale of each entry (NICE).
    linear: whether a triangular matrix comes first: with couplings=0 the model is a normal.
    dtype: of the nets in the couplings; None: that of inputs and params. All else is float32.
    """
    if not (couplings or linear):
        raise Mistake('flow_vector: couplings=0 moves nothing; type couplings=8, or linear=True')
    affine = coupling == 'affine'
    layers = [Flat(tuple(shape))] + [Triangular()] * linear
    for i in range(couplings):
        layers += [Actnorm()] * affine
        layers.append(Coupling('checkerboard', i % 2 == 1, affine, width, depth, dtype))
    return Chain((*layers, *([] if affine else [Actnorm(each=True)])))
