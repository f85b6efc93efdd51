"""Patches of one image [H, W, C] on a grid, row by row: for jigsaws and context prediction."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.names import Mistake


def corners(shape: tuple, n: int, *, size: int, gap: int | None = None) -> np.ndarray:
    """Upper left corners [n * n, 2] of n x n patches.

    With a gap, they are so many pixels apart and the grid is in the middle of the image (with a
    negative gap they overlap, as in Oord et al. 2018). Without, each patch is in the middle of one
    of n x n equal cells.
    """
    i = np.arange(n)
    if gap is None:
        lines = [((2 * i + 1) * length - n * size) // (2 * n) for length in shape[:2]]
    else:
        whole = n * size + (n - 1) * gap
        lines = [(length - whole) // 2 + i * (size + gap) for length in shape[:2]]
    if n < 1 or size < 1 or min(line[0] for line in lines) < 0:
        most = f'size={(min(shape[:2]) - (n - 1) * (gap or 0)) // n}' if n > 0 else 'n=3'
        raise Mistake(
            f'{n} x {n} patches of {size} pixels, gap={gap}, do not fit into {list(shape)};'
            f' type {most} or less, and a smaller gap'
        )
    return np.stack(np.meshgrid(*lines, indexing='ij'), -1).reshape(-1, 2)


def grid(x: jax.Array, n: int, *, size: int, gap: int | None = None, offsets: Any = 0) -> jax.Array:
    """n x n patches, [n * n, size, size, C], each moved by its offset [n * n, 2] (down, right).

    Offsets are whole pixels and may be traced; at the border a patch stays inside the image.
    """
    corner = corners(x.shape, n, size=size, gap=gap) + offsets
    # clipped here: a slice would count negative positions from the other end
    corner = jnp.clip(corner, 0, jnp.array([x.shape[0] - size, x.shape[1] - size]))
    # a gather, hundreds of times faster than products with matrices of 0 and 1
    cut = jax.vmap(lambda p: jax.lax.dynamic_slice(x, (p[0], p[1], 0), (size, size, x.shape[2])))
    return cut(corner)


def random_grid(
    key: jax.Array, x: jax.Array, n: int, *, size: int, gap: int | None = None, jitter: int = 0
) -> jax.Array:
    """The grid with every patch moved by up to `jitter` pixels, down or up and right or left.

    Gap and jitter break lines that continue from patch to patch and would give positions away
    (Doersch et al. 2015, arXiv:1505.05192; Noroozi and Favaro 2016, arXiv:1603.09246).
    """
    offsets = jax.random.randint(key, (n * n, 2), -jitter, jitter + 1)
    return grid(x, n, size=size, gap=gap, offsets=offsets)


def dense(x: jax.Array, *, size: int) -> jax.Array:
    """Every patch of maps [B, H, W, ..., C], one beginning at each pixel: [B, h, w, ..., D], with
    D = size * size * C, the entries of a patch row by row."""
    h, w = (n - size + 1 for n in x.shape[1:3])
    i = range(size)
    x = jnp.stack([x[:, a : a + h, b : b + w] for a in i for b in i], -2)
    return x.reshape(*x.shape[:-2], -1)


def symmetries(views: int, *, size: int, channels: int) -> np.ndarray:
    """Views of a square patch [D] as permutations [views, D] of its entries: x[order[v]].

    views: 1, the patch itself; 2, with its mirror image; 8, both in the four quarter turns.
    """
    turns, mirrors = {1: ((0,), (1,)), 2: ((0,), (1, -1)), 8: (range(4), (1, -1))}[views]
    patch = np.arange(size * size * channels).reshape(size, size, channels)
    return np.stack([np.rot90(patch, k)[:, ::m].ravel() for k in turns for m in mirrors])


def quadrants(x: jax.Array) -> jax.Array:
    """Sums of maps [B, H, W, C] over their four quarters, row by row: [B, 4 C].

    Of an odd side, the first half has the line in the middle.
    """
    h, w = (-(-n // 2) for n in x.shape[1:3])
    halves = [
        half[:, :, part] for half in (x[:, :h], x[:, h:]) for part in (slice(w), slice(w, None))
    ]
    return jnp.concatenate([quarter.sum((1, 2)) for quarter in halves], 1)


def permute(x: jax.Array, table: Any, index: Any) -> jax.Array:
    """Patches [n, ...] in the order of row `index` of a table of permutations [P, n]."""
    return x[jnp.asarray(table)[index]]


def assemble(x: jax.Array, *, gap: int = 0, fill: float = 1.0) -> jax.Array:
    """n * n patches as one picture, with lines of `gap` pixels between them."""
    n = math.isqrt(len(x))
    x = jnp.pad(x, ((0, 0), (0, gap), (0, gap), (0, 0)), constant_values=fill)
    _, h, w, C = x.shape
    whole = x.reshape(n, n, h, w, C).swapaxes(1, 2).reshape(n * h, n * w, C)
    return whole[: n * h - gap, : n * w - gap]
