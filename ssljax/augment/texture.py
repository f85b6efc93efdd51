"""Operators that blur, add noise or remove: of one image [H, W, C]."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.color import luma
from ssljax.augment.geometry import Range, resize, span
from ssljax.augment.planes import planes, products


@functools.cache
def bands(count: int, radius: int) -> np.ndarray:
    """[radius + 1, count * count]: row d is 1 for pixels at distance d; borders are mirrored."""
    eye = np.pad(np.eye(count), ((radius, radius), (0, 0)), 'reflect' if count > 1 else 'edge')
    moved = [eye[radius + d : radius + d + count] for d in range(-radius, radius + 1)]
    both = [moved[radius]] + [moved[radius - d] + moved[radius + d] for d in range(1, radius + 1)]
    return np.stack(both).reshape(radius + 1, -1).astype(np.float32)


def blur(x: jax.Array, sigma: Any, *, radius: int) -> jax.Array:
    """Gaussian blur with 2 * radius + 1 taps and mirrored borders; sigma 0 changes nothing."""
    d = jnp.arange(radius + 1)
    taps = jnp.exp(-0.5 * (d / jnp.maximum(sigma, 1e-3)) ** 2)
    taps = taps / (2 * taps.sum() - taps[0])
    H, W, _ = x.shape
    # two products with banded matrices: on a CPU a depthwise convolution is ten times slower
    rows = (taps @ bands(H, radius)).reshape(H, H)
    cols = (taps @ bands(W, radius)).reshape(W, W)
    return products(rows, x, cols)


def gradient(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sobel's differences downwards and to the right, in [-8, 8]; edge pixels are repeated."""
    p = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), 'edge')
    down, across = p[2:] - p[:-2], p[:, 2:] - p[:, :-2]
    down = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    return down, across[:-2] + 2 * across[1:-1] + across[2:]


def sobel(x: jax.Array) -> jax.Array:
    """The length of Sobel's gradient in each channel, mapped to [-1, 1]."""
    down, across = gradient(x)
    return jnp.sqrt(down**2 + across**2) / np.sqrt(32) - 1  # sqrt(8^2 + 8^2) / 2 = sqrt(32)


def edges(x: jax.Array) -> jax.Array:
    """Sobel's gradient of the gray image in place of color, [H, W, 2]: down, across; in [-1, 1].

    The input of the net in Caron et al. 2018 (arXiv:1807.05520), who take the mean of the channels
    as gray, and black beyond the borders. Positive: it gets lighter downwards or to the right.
    """
    return jnp.concatenate(gradient(luma(planes(x))[..., None]), -1) / 8


def noise(x: jax.Array, amount: Any, grain: jax.Array) -> jax.Array:
    """x + amount * grain; for normal `grain`, `amount` is the standard deviation."""
    return x + amount * grain


def salt_pepper(x: jax.Array, amount: Any, grain: jax.Array) -> jax.Array:
    """Sets a share `amount` of values to -1 or 1, half of them to each (Vincent et al. 2010).

    `grain` is uniform in [0, 1): of the shape of x, or [H, W, 1] to set whole pixels.
    """
    return jnp.where(grain < amount / 2, -1, jnp.where(grain >= 1 - amount / 2, 1, x))


def field(x: jax.Array, amount: Any, grid: jax.Array) -> jax.Array:
    """Adds a grid [g, g], resized to a smooth field and times `amount`, to all channels."""
    return x + amount * resize(grid[..., None], size=x.shape[:2])


def inside(box: Any, *, shape: tuple) -> jax.Array:
    """Which pixels [H, W] have their center in the box (top, left, height, width)."""
    top, left, height, width = box
    i, j = jnp.arange(shape[0]) + 0.5 - top, jnp.arange(shape[1]) + 0.5 - left
    return ((i >= 0) & (i < height))[:, None] & ((j >= 0) & (j < width))


def cutout(x: jax.Array, box: Any, value: Any = 0.0) -> jax.Array:
    """Sets pixels with center in the box (top, left, height, width) to a value (0: mid gray)."""
    return jnp.where(inside(box, shape=x.shape)[..., None], value, x)


def draw_cutout(u: jax.Array, *, shape: tuple, side: Range) -> tuple:
    """A square from three uniform numbers: its side in pixels, its center in the image."""
    edge = span(u[0], *side)
    return u[1] * shape[0] - edge / 2, u[2] * shape[1] - edge / 2, edge, edge


def random_blur(
    key: jax.Array, x: jax.Array, *, sigma: Range = (0.1, 2.0), radius: int = 6
) -> jax.Array:
    """Gaussian blur with a uniform sigma."""
    return blur(x, span(jax.random.uniform(key), *sigma), radius=radius)


def random_noise(key: jax.Array, x: jax.Array, *, amount: Range = (0.0, 0.1)) -> jax.Array:
    """Gaussian noise with a uniform standard deviation."""
    u_key, grain_key = jax.random.split(key)
    return noise(x, span(jax.random.uniform(u_key), *amount), jax.random.normal(grain_key, x.shape))


def random_salt_pepper(
    key: jax.Array, x: jax.Array, *, amount: Range = (0.0, 0.1), whole: bool = True
) -> jax.Array:
    """Sets a uniform share to black or white: of whole pixels, or of the values of each channel."""
    u_key, grain_key = jax.random.split(key)
    grain = jax.random.uniform(grain_key, (*x.shape[:-1], 1) if whole else x.shape)
    return salt_pepper(x, span(jax.random.uniform(u_key), *amount), grain)


def random_field(
    key: jax.Array, x: jax.Array, *, amount: Range = (0.0, 0.2), grid: int = 4
) -> jax.Array:
    """Adds a smooth random field with a uniform amplitude."""
    u_key, grain_key = jax.random.split(key)
    grain = jax.random.normal(grain_key, (grid, grid))
    return field(x, span(jax.random.uniform(u_key), *amount), grain)


def random_cutout(
    key: jax.Array, x: jax.Array, *, side: Range, chance: float = 0.5, value: float = 0.0
) -> jax.Array:
    """Sets a square of random side and position to a value (DeVries and Taylor 2017)."""
    u = jax.random.uniform(key, (4,))
    box = draw_cutout(u, shape=x.shape, side=side)
    return jnp.where(u[3] < chance, cutout(x, box, value), x)
