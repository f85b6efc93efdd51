"""Patch grids against numpy's slices; the sheets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_augment import many, picture

from ssljax.augment import patches, sheets
from ssljax.names import Mistake


def cut(x, corners, size):
    return np.stack([x[i : i + size, j : j + size] for i, j in corners])


@pytest.mark.parametrize(
    'n, size, gap, down, across',
    [
        (3, 8, None, (0, 8, 16), (1, 11, 21)),  # in the middle of cells of 8 and 10 1/3
        (3, 5, None, (1, 9, 17), (2, 13, 23)),
        (2, 7, 3, (3, 13), (7, 17)),  # in the middle of the image
        (3, 8, -4, (4, 8, 12), (7, 11, 15)),  # half of each over the next
        (1, 9, 0, (7,), (11,)),
    ],
)
def test_a_grid_is_numpys_slices(n, size, gap, down, across):
    x = picture(3)  # 24 x 31
    corners = [(i, j) for i in down for j in across]
    grid = jax.jit(lambda x: patches.grid(x, n, size=size, gap=gap))
    np.testing.assert_array_equal(grid(x), cut(x, corners, size))


def test_offsets_move_each_patch_and_stop_at_the_border():
    x, rng = picture(1), np.random.default_rng(0)
    offsets = rng.integers(-3, 4, (6, 9, 2))
    offsets[0, 0], offsets[0, -1] = (-40, -40), (40, 40)
    at = np.array([(i, j) for i in (1, 9, 17) for j in (2, 13, 23)]) + offsets
    at = np.clip(at, 0, [24 - 5, 31 - 5])
    move = jax.jit(jax.vmap(lambda x, o: patches.grid(x, 3, size=5, offsets=o), (None, 0)))
    np.testing.assert_array_equal(move(x, offsets), [cut(x, corners, 5) for corners in at])


def test_a_random_grid_fills_its_jitter():
    i, j = np.mgrid[:40, :40]
    x = np.stack([i, j, 0 * i], -1).astype('f')  # each pixel says where it is
    draw = lambda key, x: patches.random_grid(key, x, 2, size=4, gap=10, jitter=3)  # noqa: E731
    seen = many(draw, 400, x)
    moved = seen[:, :, 0, 0, :2] - [(11, 11), (11, 25), (25, 11), (25, 25)]
    assert (np.unique(moved) == np.arange(-3, 4)).all()
    counts = np.stack(
        [np.bincount(m + 3, minlength=7) for m in moved.reshape(400, 8).T.astype(int)]
    )
    assert np.abs(counts / 400 - 1 / 7).max() < 4.5 * np.sqrt(6 / 49 / 400)  # each patch, each axis
    across = np.corrcoef(moved.reshape(400, 8).T) - np.eye(8)
    assert np.abs(across).max() < 4.5 / np.sqrt(400)  # drawn apart


def test_permuted_by_index_and_assembled():
    x = picture(3, shape=(24, 24))
    table = np.stack([np.random.default_rng(k).permutation(9) for k in range(5)])
    drawn = patches.grid(x, 3, size=8)
    np.testing.assert_array_equal(patches.assemble(drawn), x)
    shuffle = jax.jit(lambda k: patches.permute(drawn, table, k))
    for k in range(5):
        np.testing.assert_array_equal(shuffle(k), [drawn[i] for i in table[k]])
        back = patches.permute(shuffle(k), np.argsort(table, 1), k)
        np.testing.assert_array_equal(back, drawn)
    assert shuffle._cache_size() == 1
    apart = np.asarray(patches.assemble(drawn, gap=2, fill=0.5))
    assert (
        apart.shape == (28, 28, 3) and (apart[8:10] == 0.5).all() and (apart[:, 18:20] == 0.5).all()
    )
    np.testing.assert_array_equal(apart[10:18, 20:], x[8:16, 16:])


@pytest.mark.parametrize('n, size, gap', [(3, 9, None), (3, 8, 1), (0, 8, None), (2, 0, None)])
def test_patches_that_do_not_fit_are_one_line(n, size, gap):
    with pytest.raises(Mistake, match='do not fit') as found:
        patches.grid(jnp.zeros((24, 31, 3)), n, size=size, gap=gap)
    assert '\n' not in str(found.value)


def test_the_sheet_of_operators_shows_ten():
    """Figure 4 of Chen et al. 2020: the original and nine operators, in two rows of five."""
    image = sheets.card(24)
    rows = []

    def draw(x):
        rows.extend(sheets.operators(x, 1))
        return [pictures for _, _, pictures in rows]

    drawn = jax.jit(draw)(jnp.asarray(image, jnp.float32) / 127.5 - 1)  # one compilation
    rows = [(name, captions, new) for (name, captions, _), new in zip(rows, drawn, strict=True)]
    assert [len(pictures) for _, _, pictures in rows] == [5, 5]
    shown = dict(zip(rows[0][1] + rows[1][1], rows[0][2] + rows[1][2], strict=True))
    shown = {name: np.asarray(x) for name, x in shown.items()}
    np.testing.assert_array_equal(shown['rotate 180 degrees'], shown['original'][::-1, ::-1])
    different = [np.abs(x - shown['original']).max() for x in shown.values()]
    assert min(different[1:]) > 0.2 and different[0] == 0
    sheet = np.asarray(sheets.page(rows, tile=48))
    assert sheet.shape == (2 * (48 + 16), 5 * (48 + 4), 3)
    np.testing.assert_array_equal(sheet[:48, :48], image.repeat(2, 0).repeat(2, 1))


def test_dense_patches_are_all_slices_of_a_map():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3, 4)).astype('f')
    found = np.asarray(patches.dense(jnp.asarray(x), size=2))
    assert found.shape == (2, 4, 5, 3, 16)
    cut = x[1, 2:4, 3:5, 1]  # [2, 2, C]
    np.testing.assert_array_equal(found[1, 2, 3, 1], cut.ravel())


@pytest.mark.parametrize('views', [1, 2, 8])
def test_symmetries_are_a_group_of_turns_and_mirror_images(views):
    order = patches.symmetries(views, size=3, channels=2)
    patch = np.random.default_rng(0).normal(size=(3, 3, 2))
    assert len({tuple(row) for row in order}) == len(order) == views
    assert {tuple(a[b]) for a in order for b in order} == {tuple(row) for row in order}
    expected = [np.rot90(patch, k)[:, ::m] for k in range(4) for m in (1, -1)]
    if views < 8:
        expected = [patch, patch[:, ::-1]][:views]
    found = {tuple(patch.ravel()[row]) for row in order}
    assert found == {tuple(view.ravel()) for view in expected}


def test_quadrants():
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype('f')
    parts = [x[:, a, b] for a in (slice(3), slice(3, 5)) for b in (slice(2), slice(2, 4))]
    expected = np.concatenate([part.sum((1, 2)) for part in parts], 1)
    np.testing.assert_allclose(patches.quadrants(jnp.asarray(x)), expected, rtol=1e-5, atol=1e-5)
