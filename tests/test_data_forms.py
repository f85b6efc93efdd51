"""Rows that are no images: clips, sound, points, padded rows; from arrays, files and formulas."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ssljax import data
from ssljax.names import Mistake

DATA = Path(os.environ.get('SSLJAX_DATA', Path(__file__).parents[1].parent / 'shared' / 'data'))
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 4, 5, 5, 3), np.uint8)


def whole(made, split='train'):
    return made.splits[split].rows(np.arange(made.splits[split].count))


def arrays(tmp_path, options=(), **saved):
    np.savez(tmp_path / 'a.npz', **saved)
    return data.make(dict(name=f'arrays:{tmp_path}/a.npz', **dict(options)))


# arrays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'x, dtype, shape',
    [
        (PIXELS, np.uint8, (4, 5, 5, 3)),  # clips
        (PIXELS[..., :1], np.uint8, (4, 5, 5, 1)),
        (PIXELS[:, 0], np.uint8, (5, 5, 3)),  # images
        (PIXELS[:, 0, ..., 0], np.uint8, (5, 5, 1)),
        (RNG.normal(size=(6, 50)), np.float32, (50,)),  # sound
        (RNG.normal(size=(6, 50, 2)), np.float32, (50, 2)),
        (RNG.normal(size=(6, 40, 3)), np.float32, (40, 3)),  # points
        (RNG.normal(size=(6, 3, 3)).astype('f'), np.float32, (3, 3)),
        (RNG.integers(0, 99, (6, 12)), np.int32, (12,)),  # tokens
    ],
)
def test_x_and_y_of_every_form(tmp_path, x, dtype, shape):
    made = arrays(tmp_path, x=x, y=x[::-1], x_test=x[:2], y_test=x[:2])
    rows = whole(made)
    for name, values in (('x', x), ('y', x[::-1])):
        assert rows[name].dtype == dtype and rows[name].shape == (6, *shape)
        np.testing.assert_array_equal(rows[name].reshape(x.shape), values.astype(dtype))
    assert data.shapes(made)['y'].shape == shape and made.splits['test'].count == 2


def test_only_what_is_asked_for_and_only_x_and_y_are_images(tmp_path):
    x, truth = PIXELS[:, 0], RNG.integers(0, 2, 6).astype(bool)
    mask, extra = RNG.integers(0, 12, (6, 5, 5), np.uint8), np.arange(6.0)
    saved = dict(
        x=x, mask=mask, labelled=truth, extra=extra, more=extra, x_test=x, extra_test=extra
    )
    made = arrays(tmp_path, **saved)
    rows = whole(made)
    assert set(rows) == {'x', 'mask', 'labelled'} and set(whole(made, 'test')) == {'x'}
    assert rows['mask'].dtype == np.uint8 and rows['mask'].shape == (6, 5, 5)
    assert rows['labelled'].dtype == bool
    kept = arrays(tmp_path, dict(keep=('extra',)), **saved)
    assert set(whole(kept)) == {'x', 'mask', 'labelled', 'extra'}
    assert set(whole(kept, 'test')) == {'x', 'extra'} and kept.fingerprint != made.fingerprint


def test_rows_of_variable_length(tmp_path):
    length, text_length = np.array([1, 9, 3, 9, 2, 5], np.uint8), np.array([0, 4, 1, 1, 2, 3])
    saved = dict(x=RNG.normal(size=(6, 9)), length=length, text=np.ones((6, 4), np.int64))
    rows = whole(arrays(tmp_path, text_length=text_length, **saved))
    np.testing.assert_array_equal(rows['length'], length)
    np.testing.assert_array_equal(rows['text_length'], text_length)
    assert {rows[n].dtype for n in ('length', 'text', 'text_length')} == {np.dtype(np.int32)}
    held = arrays(tmp_path, dict(validation=2), **saved)
    both = {
        tuple(x): n for s in held.splits for x, n in zip(*map(whole(held, s).get, ['x', 'length']))
    }
    assert both == {tuple(x): n for x, n in zip(saved['x'].astype('f'), length, strict=True)}


FLAT = np.zeros((3, 7), np.float32)
BAD = {
    'length of 0': (dict(x=FLAT, length=[1, 0, 7]), 'from 0 to 7; type numbers from 1 to 7'),
    'length above T': (dict(x=FLAT, length=[1, 8, 7]), 'from 1 to 7, the places'),
    'length of floats': (dict(x=FLAT, length=[1.0, 2, 3]), 'whole numbers, [N]'),
    'length of pairs': (dict(x=FLAT, length=np.ones((3, 2), int)), 'whole numbers, [N]'),
    'length of nothing': (dict(x=np.zeros(3), length=[1, 1, 1]), 'of x [N, T, ...]'),
    'text_length alone': (dict(x=FLAT, text_length=[1, 1, 1]), 'text [N, T, ...], which is not'),
    'gray floats': (dict(x=np.zeros((3, 8, 8))), 'images are uint8'),
    'float images': (dict(x=np.zeros((3, 8, 8, 3))), 'images are uint8'),
    'float clips': (dict(x=np.zeros((3, 2, 8, 8, 3))), 'clips uint8'),
    'clips of two channels': (dict(x=np.zeros((3, 2, 8, 8, 2), np.uint8)), 'clips uint8'),
    'six axes': (dict(x=np.zeros((3, 2, 2, 8, 8, 3), np.uint8)), 'clips uint8'),
    'y in floats': (dict(x=FLAT, y=np.zeros((3, 8, 8))), 'y of train'),
    'classes as y': (dict(x=FLAT, y=[0, 1, 2]), 'named label'),
    'not finite': (dict(x=np.full((3, 4, 2), np.nan)), 'not finite'),
}


@pytest.mark.parametrize('case', BAD)
def test_arrays_that_cannot_be_rows(tmp_path, case):
    saved, says = BAD[case]
    with pytest.raises(Mistake) as error:
        arrays(tmp_path, **saved)
    assert says in str(error.value) and '\n' not in str(error.value)


def test_what_is_to_be_kept_must_be_there(tmp_path):
    with pytest.raises(Mistake, match="no 'wight' to keep .did you mean weight"):
        arrays(tmp_path, dict(keep=('wight',)), x=FLAT, weight=np.ones(3))


# sound --------------------------------------------------------------------------------------------


def speech(tmp_path, change=0):
    """3 speakers say 2 words 4 times each; the file is written sample by sample, in integers."""
    clips, rows, coded = [], [], []
    for speaker in range(3):
        for word in range(2):
            for take in range(4):
                clip = RNG.integers(-(2**15), 2**15, RNG.integers(20, 90))
                clip[:2] = 2**15 - 1, -(2**15)  # the largest step wraps around
                clips.append(clip)
                rows.append((word, speaker, take))
    before = 0
    for sample in np.concatenate(clips).tolist():
        step = (sample - before + 2**15) % 2**16 - 2**15
        coded.append(2 * step if step >= 0 else -2 * step - 1)
        before = sample
    word, speaker, take = np.array(rows, np.uint8).T
    coded = np.array(coded)
    coded[-1] ^= change
    saved = dict(
        lo=(coded % 256).astype(np.uint8), hi=(coded // 256).astype(np.uint8), label=word,
        ends=np.cumsum([len(c) for c in clips]), speaker=speaker, take=take, rate=np.int32(100),
        speaker_names=np.array(['ann', 'bob', 'cy']),
    )  # fmt: skip
    np.savez(tmp_path / 'words.npz', **saved)
    return clips, np.array(rows), saved


def test_sound_is_what_was_written(tmp_path):
    clips, rows, _ = speech(tmp_path)
    made = data.make(dict(name=f'sound:{tmp_path}/words.npz', seconds=0.6, test=1, validation=1))
    assert (made.classes, made.class_names) == (2, ('0', '1'))
    for split, takes in dict(train=[2, 3], validation=[1], test=[0]).items():
        mine = [i for i, row in enumerate(rows) if row[2] in takes]
        found = whole(made, split)
        assert found['x'].shape == (len(mine), 60) and found['x'].dtype == np.float32
        np.testing.assert_array_equal(found['label'], rows[mine, 0])
        for x, n, i in zip(found['x'], found['length'], mine, strict=True):
            assert n == min(60, len(clips[i]))
            np.testing.assert_array_equal(x[:n] * 2**15, clips[i][:n])
            assert not x[n:].any()
        some = made.splits[split].rows(np.array([2, 0]))
        np.testing.assert_array_equal(some['x'], found['x'][[2, 0]])
    who = data.make(dict(name=f'sound:{tmp_path}/words.npz', label='speaker', test=0))
    assert who.class_names == ('ann', 'bob', 'cy') and list(who.splits) == ['train']
    np.testing.assert_array_equal(whole(who)['label'], rows[:, 1])


def test_the_fingerprint_of_sound_follows_contents_and_options(tmp_path):
    def mark(**options):
        return data.make(dict(name=f'sound:{tmp_path}/words.npz', test=1) | options).fingerprint

    clips, _, saved = speech(tmp_path)
    prints = [mark(), mark(seconds=0.5), mark(test=2), mark(validation=1), mark(label='speaker')]
    saved['lo'][0] ^= 1
    np.savez(tmp_path / 'words.npz', **saved)
    assert len({*prints, mark()}) == 6


@pytest.mark.parametrize(
    'change, options, says',
    [
        (dict(take=None), {}, 'has no take; type'),
        (dict(ends=np.arange(24)), {}, 'do not belong together'),
        (dict(ends=lambda ends: np.append(ends[-2::-1], ends[-1])), {}, 'do not belong together'),
        (dict(label=np.zeros(3, int)), {}, 'do not belong together'),
        (dict(lo=np.zeros(5, np.uint8)), {}, 'do not belong together'),
        ({}, dict(test=4), 'leave none to train on'),
    ],
)
def test_mistakes_with_sound_are_one_line(tmp_path, change, options, says):
    saved = speech(tmp_path)[2]
    saved |= {k: v(saved[k]) if callable(v) else v for k, v in change.items()}
    np.savez(tmp_path / 'words.npz', **{k: v for k, v in saved.items() if v is not None})
    with pytest.raises(Mistake) as error:
        data.make(dict(name=f'sound:{tmp_path}/words.npz', **options))
    assert says in str(error.value) and '\n' not in str(error.value)


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_spoken_digits():
    made = data.make(dict(name=f'sound:{DATA}/fsdd/fsdd.npz', validation=2))
    assert {n: s.count for n, s in made.splits.items()} == dict(
        train=1380, validation=120, test=300
    )
    rows = whole(made, 'test')
    assert rows['x'].shape == (300, 8000) and set(rows['label']) == set(range(10))
    assert 0.01 < np.abs(rows['x']).max(1).min() and rows['length'].min() > 1000
    steps = np.abs(np.diff(rows['x'])).mean() / np.abs(rows['x']).mean()
    assert steps < 0.7  # a wave: neighbors are alike; of white noise it is 1.4


# solid shapes -------------------------------------------------------------------------------------


def solids(tmp_path, count=9, side=8):
    """Boxes, and an empty grid at 4; the classes are their heights."""
    grids = np.zeros((count, side, side, side), bool)
    for i in range(count):
        grids[i, : 3 + i % 5, 2:6, 1:7] = True  # they lie against a side
    grids[4] = False
    bits, label = np.packbits(grids.reshape(count, -1), axis=1), np.arange(count) % 5
    np.savez(tmp_path / 'boxes.npz', x_train=bits, y_train=label, x_test=bits[:3], y_test=label[:3])
    return np.delete(grids, 4, 0), np.delete(label, 4)


def test_voxels_are_the_grids_without_the_empty_ones(tmp_path):
    grids, label = solids(tmp_path)
    made = data.make(f'voxels:{tmp_path}/boxes.npz')
    rows = whole(made)
    np.testing.assert_array_equal(rows['x'], grids[..., None] * 255)
    np.testing.assert_array_equal(rows['label'], label)
    assert rows['x'].dtype == np.uint8 and made.classes == 5 and made.splits['test'].count == 3
    held = data.make(dict(name=f'voxels:{tmp_path}/boxes.npz', validation=3))
    assert [s.count for s in held.splits.values()] == [5, 3, 3]
    assert list(held.splits) == ['train', 'validation', 'test']


@pytest.mark.parametrize('jitter', [0.0, 0.5])
def test_points_lie_on_the_surface(tmp_path, jitter):
    grids, label = solids(tmp_path)
    spec = dict(name=f'points:{tmp_path}/boxes.npz', count=2000, jitter=jitter)
    rows = whole(data.make(spec))
    assert rows['x'].shape == (8, 2000, 3) and rows['x'].dtype == np.float32
    np.testing.assert_array_equal(rows['label'], label)
    for points, grid in zip(rows['x'], grids, strict=True):
        surface = grid & ~ndimage.binary_erosion(grid)  # what is outside counts as empty
        place = (points.astype(float) + 1) * 4 - 0.5  # [-1, 1] is 8 voxels
        near = np.round(place).astype(int)
        assert np.abs(place - near).max() <= jitter + 1e-6
        found = np.zeros_like(grid, int)
        np.add.at(found, tuple(near.T), 1)
        assert (found[~surface] == 0).mean() > 0.999  # but for rounding at one half
        expected = 2000 / surface.sum()
        chi2 = ((found[surface] - expected) ** 2 / expected).sum()
        assert chi2 < surface.sum() + 5 * (2 * surface.sum()) ** 0.5
        if jitter:
            assert abs(np.std(place - near) - 12**-0.5) < 0.02
            assert np.abs(np.corrcoef((place - near).T)[0, 1:]).max() < 0.1


def test_points_are_drawn_once_for_each_row(tmp_path):
    solids(tmp_path)
    spec = dict(name=f'points:{tmp_path}/boxes.npz', count=16)
    made = data.make(spec)
    alone = data.make(spec).splits['train'].rows(np.array([6, 2, 6]))['x']
    np.testing.assert_array_equal(alone, whole(made)['x'][[6, 2, 6]])
    assert (whole(made)['x'][:3] != whole(made, 'test')['x']).any((1, 2)).all()
    other = data.make(spec | dict(seed=1))
    assert (whole(made)['x'] != whole(other)['x']).any((1, 2)).all()
    prints = [
        data.make(spec | o).fingerprint
        for o in ({}, dict(seed=1), dict(count=8), dict(jitter=0), dict(validation=2))
    ]
    voxels = data.make(f'voxels:{tmp_path}/boxes.npz').fingerprint
    assert len({*prints, voxels}) == 6


def test_mistakes_with_solids(tmp_path):
    np.savez(tmp_path / 'a.npz', x_train=np.zeros((3, 7), np.uint8), y_train=np.arange(3))
    np.savez(tmp_path / 'b.npz', y_train=np.zeros(3))
    bits = np.ones((3, 64), np.uint8)
    np.savez(tmp_path / 'c.npz', x_train=bits, y_train=np.arange(2))
    np.savez(tmp_path / 'd.npz', x_train=bits.astype(int), y_train=np.arange(3))
    np.savez(tmp_path / 'e.npz', x_train=bits, y_train=np.arange(3), x_test=bits)
    for name in 'abcde':
        with pytest.raises(Mistake, match=f'no packed bits x_{"test" if name == "e" else "train"}'):
            data.make(f'voxels:{tmp_path}/{name}.npz')
    with pytest.raises(Mistake, match='type name=points:PATH.npz'):
        data.make('points')


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_modelnet():
    made = data.make(
        dict(name=f'points:{DATA}/modelnet10_voxels/modelnet10_32.npz', validation=100)
    )
    assert {n: s.count for n, s in made.splits.items()} == dict(
        train=3864, validation=100, test=901
    )
    assert made.class_names[2] == 'chair' and len(made.class_names) == 10
    rows = made.splits['test'].rows(np.arange(0, 901, 20))
    assert np.abs(rows['x']).max() <= 1 and np.ptp(rows['x'], 1).max(1).min() > 0.3
