"""Masks: exact counts, what is equally likely, what hangs together, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from ssljax.augment import mask
from ssljax.names import Mistake

KEY = jax.random.key(0)


def draw(make, shape, n=64, **kw):
    """n masks of one kind."""
    one = jax.jit(jax.vmap(lambda key: make(key, shape, **kw)))
    return np.asarray(one(jax.random.split(KEY, n)))


@pytest.mark.parametrize(
    'make, shape, ratio, want',
    [
        (mask.random, 196, 0.75, 147),
        (mask.random, (5, 3, 2), 0.4, 12),
        (mask.random, (7, 7), 0.0, 0),
        (mask.random, (2, 3), 1.0, 6),
        (mask.block, (6, 20), 0.9, 108),
        (mask.block, (3, 3), 0.5, 4),  # less than the smallest block
        (mask.block, (4, 4), 0.0, 0),
    ],
)
def test_counts_are_exact(make, shape, ratio, want):
    m = draw(make, shape, ratio=ratio)
    assert m.dtype == bool and m.shape == (64, *((shape,) if isinstance(shape, int) else shape))
    assert (m.reshape(64, -1).sum(1) == want).all()
    assert mask.count(shape, ratio=ratio) == want


def test_one_key_one_mask_and_one_compilation():
    def make(key):
        return jnp.stack([m(key, (8, 8), ratio=0.5) for m in (mask.random, mask.block)])

    one, keys = jax.jit(make), jax.random.split(KEY, 8)
    loop = np.stack([one(key) for key in keys])  # [8, 2, 8, 8]
    assert one._cache_size() == 1
    np.testing.assert_array_equal(one(keys[3]), loop[3])
    np.testing.assert_array_equal(draw(mask.block, (8, 8), 8, ratio=0.5), loop[:, 1])  # under vmap
    assert len(np.unique(loop.reshape(16, -1), axis=0)) == 16


def test_random_masks_are_equally_likely():
    m = draw(mask.random, 5, 5000, ratio=0.4)
    counts = np.unique(m, axis=0, return_counts=True)[1]  # each of the 10 pairs
    assert len(counts) == 10 and scipy.stats.chisquare(counts).pvalue > 1e-3
    n, p = 5000, 0.75
    each = draw(mask.random, (7, 7), n, ratio=p).sum(0).ravel()
    p = round(49 * p) / 49
    statistic = ((each - n * p) ** 2 / (n * p * (1 - p))).sum() * 48 / 49  # counts are tied: 48
    assert 1e-3 < scipy.stats.chi2(48).sf(statistic) < 0.999


def neighbors(m):
    """The mean number of masked neighbors, of four, of a masked patch."""
    p = np.pad(m, ((0, 0), (1, 1), (1, 1))).astype(int)
    return (p[:, 2:, 1:-1] + p[:, :-2, 1:-1] + p[:, 1:-1, 2:] + p[:, 1:-1, :-2])[m].mean()


def parts(m):
    """The mean number of connected parts of a mask."""
    return np.mean([scipy.ndimage.label(one)[1] for one in m])


def paper(rng, side=14, ratio=0.4, least=16, aspect=(0.3, 1 / 0.3)):
    """Bao et al. 2021, algorithm 1, which goes on until more than the ratio is masked."""
    m = np.zeros((side, side), bool)
    while m.sum() <= ratio * side**2:
        s = rng.uniform(*sorted((least, ratio * side**2 - m.sum())))
        r = np.exp(rng.uniform(*np.log(aspect)))
        a, b = int(round(np.sqrt(s * r))), int(round(np.sqrt(s / r)))
        if 0 < a < side and 0 < b < side:
            top, left = rng.integers(side - a + 1), rng.integers(side - b + 1)
            m[top : top + a, left : left + b] = True
    return m


def test_block_masks_hang_together_as_in_the_paper():
    m = draw(mask.block, (14, 14), 1000, ratio=0.4)
    assert (m.sum((1, 2)) == 78).all()
    rng = np.random.default_rng(0)
    want, loose = (
        np.stack([paper(rng) for _ in range(500)]),
        draw(mask.random, (14, 14), ratio=0.4),
    )
    assert abs(neighbors(m) - neighbors(want)) < 0.15 < neighbors(m) - neighbors(loose) - 1.5
    assert 1 <= parts(m) <= parts(want) < 2 < parts(loose)
    share, other = m.mean(0), want.mean(0) * m.mean() / want.mean()
    assert np.abs(share - other).max() < 0.12 and share.min() > 0.01  # the same places
    for turned in (share[::-1], share[:, ::-1], share.T):
        assert np.abs(share - turned).max() < 0.1  # no side is preferred


def test_blocks_keep_their_least_size_and_their_aspect():
    m = draw(mask.block, (14, 14), 500, ratio=0.15, least=29)  # one block, and what it lacks
    assert parts(m) == 1
    extent = np.array([np.ptp(np.nonzero(one), 1) + 1 for one in m])
    assert np.median(29 / extent.prod(1)) > 0.88  # nearly a rectangle
    low, high = np.percentile(extent, (5, 95), 0)
    assert (
        (low <= 4).all() and (9 <= high).all() and (high <= 10).all()
    )  # 3 x 10 at an aspect of 0.3
    flat = draw(mask.block, (14, 14), 500, ratio=0.15, least=29, aspect=(3, 4))  # width over height
    down, across = np.array([np.ptp(np.nonzero(one), 1) + 1 for one in flat]).mean(0)
    assert 2.7 * down < across < 4 * down


def test_some_views_have_blocks_of_one_of_the_ratios():
    options = dict(share=0.6, ratios=(0.25, 0.5))
    draws = jax.jit(lambda key: mask.some_blocks(key, 40, (8, 8), **options))
    first, second = (np.asarray(draws(key)) for key in jax.random.split(KEY))
    for m in (first, second):
        assert m.shape == (40, 8, 8)
        counts = m.sum((1, 2))
        assert (counts > 0).sum() == 24 and set(counts) == {0, 16, 32}
        assert parts(m[counts > 0]) < 2
    assert (first.any((1, 2)) != second.any((1, 2))).any()  # which ones, is drawn


def test_a_tube_is_one_mask_for_all_frames():
    m = draw(mask.tube, (5, 6, 7), 32, ratio=0.8)
    np.testing.assert_array_equal(m, np.broadcast_to(m[:, :1], m.shape))
    assert (m[:, 0].sum((1, 2)) == round(0.8 * 42)).all()
    assert len(np.unique(m[:, 0], axis=0)) == 32


def test_split_is_where_the_mask_is_not_and_where_it_is():
    m = np.stack([np.random.default_rng(k).permutation(28) < 17 for k in range(20)])
    m, n = m.reshape(20, 4, 7), 17
    kept, masked = jax.jit(jax.vmap(lambda m: mask.split(m, n)))(m)
    assert kept.dtype == jnp.int32
    np.testing.assert_array_equal(kept, [np.flatnonzero(~one) for one in m])
    np.testing.assert_array_equal(masked, [np.flatnonzero(one) for one in m])
    for n, whole in ((0, jnp.zeros(5, bool)), (5, jnp.ones(5, bool))):
        assert [len(part) for part in mask.split(whole, n)] == [5 - n, n]


@pytest.mark.parametrize(
    'make, shape, kw, says',
    [
        (mask.random, 9, dict(ratio=1.5), 'ratio is 1.5'),
        (mask.block, (9,), dict(ratio=0.5), 'a grid'),
        (mask.block, (9, 9), dict(ratio=0.5, least=0), 'least=0'),
        (mask.block, (9, 9), dict(ratio=0.5, aspect=0.3), 'aspect is 0.3'),
        (mask.tube, (9, 9), dict(ratio=0.5), 'tube masks'),
    ],
)
def test_a_bad_mask_is_one_line(make, shape, kw, says):
    with pytest.raises(Mistake, match=says) as found:
        make(KEY, shape, **kw)
    assert '\n' not in str(found.value)
