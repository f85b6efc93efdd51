"""Masks for masked modeling: (key, shape) -> bool for one example, True where it is masked.

The number of masked entries is static and exact; `count` gives it for a ratio.
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
    """How many entries of a shape are masked at this ratio."""
    chances(ratio=ratio)
    return round(ratio * math.prod((shape,) if isinstance(shape, int) else shape))


def lowest(order: jax.Array, n: int) -> jax.Array:
    """True at the n smallest of distinct numbers; n is static."""
    if n == 0:
        return jnp.zeros(order.shape, bool)
    # one sort of the numbers: a permutation, or ranks, would take three times as long
    return order <= jnp.sort(order.ravel())[n - 1]


def random(key: jax.Array, shape: Shape, *, ratio: float) -> jax.Array:
    """round(ratio * size) entries, each set equally likely (He et al. 2022, arXiv:2111.06377).

    (Of two draws with equal upper bits the first is masked: chances are wrong by size / 2**32.)
    """
    n, shape = count(shape, ratio=ratio), (shape,) if isinstance(shape, int) else tuple(shape)
    bits = jax.random.bits(key, shape, jnp.uint32)
    size = math.prod(shape)
    low = max(size - 1, 0).bit_length()  # so many low bits hold the index: no two are equal
    index = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return lowest((bits >> low << low) | index, n)


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

    arXiv:2106.08254. As there, a block's size is uniform between `least` and the number of patches
    that are still to be masked. Different: the count is exact. When fewer than `least` patches are
    missing, the last block grows by them (the paper masks more than the count, its code fewer). The
    aspect is log-uniform, as in the code, over what fits into the grid. The number of rounds does
    not depend on the draw, so all examples of a batch, and all devices, take the same time.

    ratio: the share of patches that are masked.
    least: the smallest block, in patches.
    aspect: the range of a block's width over its height.
    blocks: the most blocks; 32 are enough for 0.75 of 14 x 14. With too few, the last one grows.
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

    def add_block(carry, k_and_u):
        k, u = k_and_u
        block_of, last_box = carry
        missing = n - (block_of < blocks).sum()
        scale = (least / size, jnp.maximum(missing, least) / size)
        box = draw_box(u, shape=shape, scale=scale, ratio=aspect)
        needed = missing >= least
        covers = needed & inside(box, shape=shape)
        block_of = jnp.where(covers, jnp.minimum(block_of, k), block_of)
        return (block_of, jnp.where(needed, jnp.stack(box), last_box)), None

    block_of = jnp.full(shape, blocks, jnp.int32)  # the first block with a patch; `blocks`: none
    drawn = jnp.arange(blocks), u[:-1].reshape(blocks, 4)
    (block_of, last_box), _ = jax.lax.scan(add_block, (block_of, jnp.zeros(4)), drawn)
    # the last block grows by rings of 4-neighbors; the last ring is filled from above or from below
    y, x = (
        jnp.ceil(jax.nn.relu(abs(jnp.arange(m) + 0.5 - start - extent / 2) - extent / 2))
        for m, start, extent in zip(shape, last_box[:2], last_box[2:], strict=True)
    )
    ring = (y[:, None] + x).astype(jnp.int32)
    rank = jnp.where(block_of < blocks, block_of, blocks + ring)
    index = jnp.arange(size).reshape(shape)
    return lowest(rank * size + jnp.where(u[-1] < 0.5, index, size - 1 - index), n)


def some_blocks(
    key: jax.Array,
    n: int,
    shape: tuple[int, int],
    *,
    share: float,
    ratios: tuple[float, ...],
    least: int = 4,
) -> jax.Array:
    """Masks [n, H, W] by `block`, of one of the ratios each; all but a share of them are empty.

    Zhou et al. 2021, arXiv:2111.07832, section 4.1. Which masks are empty is drawn; how many, not.

    least: as of `block`; DINOv2's, where iBOT has a ninth of a square grid: 16 of 14 x 14.
    """
    k1, k2, k3 = jax.random.split(key, 3)
    keys = jax.random.split(k1, (len(ratios), n))
    masks = jnp.stack(
        [
            jax.vmap(lambda k, r=ratio: block(k, shape, ratio=r, least=least))(keys[i])
            for i, ratio in enumerate(ratios)
        ]
    )  # [ratios, n, H, W]: the counts are static, so all are drawn and one is taken
    chosen = jax.random.randint(k2, (n,), 0, len(ratios))
    return masks[chosen, jnp.arange(n)] & random(k3, n, ratio=share)[:, None, None]


def tube(key: jax.Array, shape: tuple[int, int, int], *, ratio: float) -> jax.Array:
    """One random mask of [H, W] for all frames of [T, H, W] (Tong et al. 2022, arXiv:2203.12602).

    A patch is masked in all frames, so that it cannot be copied from another frame.
    """
    if len(shape) != 3:
        raise Mistake(
            f'tube masks (T, H, W), found shape {shape}; type tube(key, (8, 14, 14), ratio=0.9)'
        )
    return jnp.broadcast_to(random(key, tuple(shape[1:]), ratio=ratio), shape)


def split(mask: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Flat indices that are kept [n - count] and masked [count], each ascending.

    count: the number of masked entries, static; with another number the result is wrong.
    """
    n = mask.size
    order = jnp.sort(jnp.arange(n) + n * mask.ravel())  # kept 0..n-1, masked n..2n-1
    return order[: n - count], order[n - count :] - n
