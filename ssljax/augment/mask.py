"""Masks for masked modeling: (key, shape) -> bool for one example, True where it is masked.

How many are masked is static, and exactly that many are: `count` says how many a ratio gives.
"""

import math

import jax
import jax.numpy as jnp

from ssljax.augment.geometry import Range, draw_box
from ssljax.augment.image import chances, ranges
from ssljax.augment.texture import inside
from ssljax.names import Mistake

Shape = int | tuple[int, ...]


def count(shape: Shape, *, ratio: float) -> int:
    """How many of a shape's entries the ratio masks."""
    chances(ratio=ratio)
    return round(ratio * math.prod((shape,) if isinstance(shape, int) else shape))


def lowest(order: jax.Array, n: int) -> jax.Array:
    """True at the n smallest of distinct numbers; n is static."""
    if n == 0:
        return jnp.zeros(order.shape, bool)
    # one sort of the numbers alone: a permutation, or ranks, take three times as long
    return order <= jnp.sort(order.ravel())[n - 1]


def random(key: jax.Array, shape: Shape, *, ratio: float) -> jax.Array:
    """Every set of round(ratio * size) entries equally likely (He et al. 2022, arXiv:2111.06377).

    (Where two draws tie in their upper bits the first is masked: chances are off by size / 2**32.)
    """
    n, shape = count(shape, ratio=ratio), (shape,) if isinstance(shape, int) else tuple(shape)
    bits = jax.random.bits(key, shape, jnp.uint32)
    size = math.prod(shape)
    low = max(size - 1, 0).bit_length()  # the place in the lowest bits: no two are equal
    place = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return lowest((bits >> low << low) | place, n)


def block(
    key: jax.Array,
    shape: tuple[int, int],
    *,
    ratio: float,
    least: int = 16,
    aspect: Range = (0.3, 1 / 0.3),
    blocks: int = 32,
) -> jax.Array:
    """Blocks of at least `least` patches until the count is reached (Bao et al. 2021, Alg. 1).

    arXiv:2106.08254. As there, a block's size is uniform between `least` and what is missing.
    Different: the count is exact, since nothing is laid when fewer than `least` are missing (the
    paper goes beyond the count, its code falls short): these grow around the last block instead.
    The aspect (width over height) is log-uniform, as in the code, over what fits into the grid. At
    most `blocks` are laid: 32 suffice for 0.75 of 14 x 14, beyond that more of a mask is growth. No
    loop depends on the draw, so that all examples of a batch, and all devices, take the same time.
    """
    if len(shape) != 2 or least < 1 or blocks < 1:
        raise Mistake(
            f'block masks a grid (H, W) by 1 or more blocks of 1 or more patches, found shape'
            f' {shape}, least={least}, blocks={blocks}; type block(key, (14, 14), ratio=0.4)'
        )
    ranges(1e-2, 1e2, aspect=aspect)
    n, size = count(shape, ratio=ratio), math.prod(shape)
    u = jax.random.uniform(key, (4 * blocks + 1,))
    least = max(min(least, n), 1)

    def lay(laid, drawn):
        k, u = drawn
        first, last = laid
        missing = n - (first < blocks).sum()
        scale = (least / size, jnp.maximum(missing, least) / size)
        box = draw_box(u, shape=shape, scale=scale, ratio=aspect)
        fits = missing >= least
        first = jnp.where(fits & inside(box, shape=shape), jnp.minimum(first, k), first)
        return (first, jnp.where(fits, jnp.stack(box), last)), None

    first = jnp.full(shape, blocks, jnp.int32)  # which block a patch came with; `blocks`: with none
    drawn = jnp.arange(blocks), u[:-1].reshape(blocks, 4)
    (first, last), _ = jax.lax.scan(lay, (first, jnp.zeros(4)), drawn)
    # rings of 4-neighbors around the last block; one not needed whole begins above, or below
    y, x = (
        jnp.ceil(jax.nn.relu(abs(jnp.arange(m) + 0.5 - start - extent / 2) - extent / 2))
        for m, start, extent in zip(shape, last[:2], last[2:], strict=True)
    )
    ring = (y[:, None] + x).astype(jnp.int32)
    turn = jnp.where(first < blocks, first, blocks + ring)
    place = jnp.arange(size).reshape(shape)
    return lowest(turn * size + jnp.where(u[-1] < 0.5, place, size - 1 - place), n)


def tube(key: jax.Array, shape: tuple[int, int, int], *, ratio: float) -> jax.Array:
    """One random mask of [H, W] for all frames of [T, H, W] (Tong et al. 2022, arXiv:2203.12602).

    What is hidden stays hidden, so that it cannot be copied from the next frame.
    """
    if len(shape) != 3:
        raise Mistake(
            f'tube masks (T, H, W), found shape {shape}; type tube(key, (8, 14, 14), ratio=0.9)'
        )
    return jnp.broadcast_to(random(key, tuple(shape[1:]), ratio=ratio), shape)


def split(mask: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Flat indices that are kept [n - count] and masked [count], each ascending.

    `count` is how many the mask holds, static; with another number the two would mix.
    """
    n = mask.size
    order = jnp.sort(jnp.arange(n) + n * mask.ravel())  # kept 0..n-1, masked n..2n-1
    return order[: n - count], order[n - count :] - n
