"""Sources: what make offers, glyphs, embedded sets, arrays; purity, splits, mistakes."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from ssljax import data
from ssljax.data import source
from ssljax.data.glyphs import CANVAS, EM, FACTORS, FONTS, prototypes, sample
from ssljax.names import Mistake

SMALL = dict(name='glyphs', train=300, validation=40, test=50)


def rows(spec, split='train', index=(0, 1, 2)):
    return data.make(spec).splits[split].rows(np.array(index))


def test_sources_are_found_by_listing_and_make_a_source():
    offered = data.offered()
    assert {'arrays', 'folder', 'glyphs', 'text', 'tfds', 'few_labels', 'sound'} <= set(offered)
    alone = []
    for name, function in offered.items():
        assert function.__name__ == name and function.__doc__
        options = inspect.signature(function).parameters.values()
        assert all(o.kind is o.KEYWORD_ONLY and o.annotation is not o.empty for o in options), name
        files = {'path', 'dir'} & set(inspect.signature(function).parameters)
        if not files and all(o.default is not o.empty for o in options):
            alone.append(name)
            made = data.make(name)
            assert isinstance(made, source.Source) and made.splits['train'].count > 1
            assert data.make(made) is made
    assert {'density', 'digits', 'glyphs', 'patches', 'python_text'} < set(alone)


NAMES = ['density', 'digits', 'glyphs', 'patches', 'python_text', 'scenes', 'shapes_video', 'tones']


@pytest.mark.parametrize('name', NAMES)
def test_rows_do_not_depend_on_company(name):
    one, two = data.make(dict(name=name)), data.make(dict(name=name))
    assert one.fingerprint == two.fingerprint
    for split in one.splits:
        count = one.splits[split].count
        index = np.random.default_rng(0).integers(0, count, 60)
        index = np.append(index, [0, count - 1])
        whole = one.splits[split].rows(index)
        for key, values in whole.items():
            assert len(values) == len(index)
            assert values.dtype in (np.uint8, np.int32, np.float32), key
        for i in (0, 7, 60, 61):  # alone, repeated, in another order, from another Source
            alone = two.splits[split].rows(index[[i, i, 3]])
            for key, values in whole.items():
                np.testing.assert_array_equal(alone[key], values[[i, i, 3]], err_msg=key)


def test_seeds_splits_and_kinds_differ():
    prints = [
        data.make(spec).fingerprint
        for spec in (
            SMALL,
            SMALL | dict(seed=1),
            SMALL | dict(train=299),
            SMALL | dict(classes='01'),
            dict(name='density'),
            dict(name='density', kind='rings'),
            dict(name='patches'),
            dict(name='patches', gray=True),
            dict(name='python_text'),
            dict(name='python_text', validation=100),
        )
    ]
    assert len(set(prints)) == len(prints)
    small = SMALL | dict(keep=('contrast',))
    for other in (rows(small | dict(seed=1)), rows(small, 'test')):
        assert (other['x'] != rows(small)['x']).any((1, 2, 3)).all()
        assert (other['contrast'] != rows(small)['contrast']).all()


def test_draws_are_uniform_and_normal():
    words = source.draws(3, 1, np.arange(2000), 50)
    u, z = source.uniform(words), source.normal(words)
    assert len(np.unique(words)) == words.size
    counts = np.histogram(u, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 150  # chi2 of 99: 134 at 0.01
    assert abs(np.corrcoef(u[:-1].ravel(), u[1:].ravel())[0, 1]) < 0.013  # rows: 4 / sqrt(1e5)
    assert abs(np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]) < 0.013  # words
    assert abs(z.mean()) < 0.013 and abs(z.std() - 1) < 0.01 and abs((z**4).mean() - 3) < 0.15


# glyphs -------------------------------------------------------------------------------------------


def test_factors_are_made_where_they_are_asked_for_and_change_nothing_else():
    plain, kept = rows(SMALL), rows(SMALL | dict(keep=('slant', 'font')))
    assert set(plain) == {'x', 'label'} and set(kept) == {'x', 'label', 'slant', 'font'}
    for name in plain:
        np.testing.assert_array_equal(plain[name], kept[name])
    assert data.make(SMALL).fingerprint != data.make(SMALL | dict(keep=('font',))).fingerprint
    made = data.make('glyphs')
    old = json.loads((Path(__file__).parents[1] / 'results/simclr.json').read_text())['data']
    if old['name'] == 'glyphs' and old['decoder'] == made.decoder:  # its runs can go on
        assert made.fingerprint == old['fingerprint']


def test_no_font_is_in_two_splits():
    assert [len(fonts) for fonts in FONTS.values()] == [13, 3, 5]
    assert len({font for fonts in FONTS.values() for font in fonts}) == 21
    spec = dict(name='glyphs', train=400, validation=200, test=200, keep=('font',))
    seen = [set(rows(spec, name, np.arange(200))['font']) for name in source.SPLITS]
    assert seen == [set(range(13)), {13, 14, 15}, {16, 17, 18, 19, 20}]


def test_factors_have_their_ranges_and_classes_are_even():
    found = rows(dict(name='glyphs', train=4000, keep=FACTORS), index=np.arange(4000))
    for name, low, high in (
        ('size', 15.6, 23.4),
        ('aspect', -0.15, 0.15),
        ('slant', -0.15, 0.15),
        ('rotation', -0.1, 0.1),
        ('position', -6, 6),
        ('stroke', 0.22, 0.48),
    ):
        values = found[name]
        assert values.min() >= low and values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * (high - low), name
        assert abs(values.std() - (high - low) / 12**0.5) < 0.03 * (high - low), name
    assert abs((found['contrast'] > 0).mean() - 0.5) < 0.04
    counts = np.bincount(found['label'], minlength=34)
    assert len(counts) == 34 and ((counts - 4000 / 34) ** 2 / (4000 / 34)).sum() < 65  # chi2 of 33


def test_the_ink_is_where_the_factors_say():
    found = rows(SMALL | dict(keep=FACTORS), index=np.arange(300))
    x = found['x'][..., 0] / 255.0
    ink = (x - np.median(x, (1, 2), keepdims=True)) * np.sign(found['contrast'])[:, None, None]
    ink = ink > 0.2
    inside = np.abs(found['position']).max(1) < 3  # the whole character is in the image
    boxes = [ndimage.find_objects(i.astype(int))[0] for i in ink[inside]]
    center = np.array([[(s.start + s.stop - 1) / 2 - 15.5 for s in box] for box in boxes])
    assert np.abs(np.median(center - found['position'][inside], 0)).max() < 0.3
    assert np.corrcoef(center[:, 0], found['position'][inside, 0])[0, 1] > 0.9
    tall = np.array([box[0].stop - box[0].start for box in boxes])
    assert np.corrcoef(tall, found['size'][inside])[0, 1] > 0.5


def test_bilinear_lookup_is_scipys():
    table = prototypes('AQ')
    assert table[..., [0, -1], :].max() < 1e-3 and table[..., [0, -1]].max() < 1e-3
    y, x = np.random.default_rng(0).uniform(-30, 30, (2, 3, 5, 5)).astype(np.float32)
    which = np.array([0, 5, 41])
    got = sample(table.reshape(-1), which, y, x)
    for b, i in enumerate(which):
        at = [y[b] + (CANVAS - 1) / 2, x[b] + (CANVAS - 1) / 2]
        expected = ndimage.map_coordinates(table[i // 2, i % 2], at, order=1)
        np.testing.assert_allclose(got[b], expected, atol=1e-5)
    height = (table[0, 0] > 0.5).any(1).sum()  # DejaVu's A is 0.729 of an em tall
    assert abs(height - 0.729 * EM) <= 1.5


def test_size_scales_the_image_not_the_task():
    small = SMALL | dict(keep=('position',))
    small, large = rows(small), rows(small | dict(size=64))
    assert large['x'].shape == (3, 64, 64, 1)
    np.testing.assert_array_equal(large['label'], small['label'])
    np.testing.assert_allclose(large['position'], small['position'] * 2, rtol=1e-6)
    shrunk = large['x'].reshape(3, 32, 2, 32, 2).mean((2, 4))
    assert np.corrcoef(shrunk.ravel(), small['x'].ravel())[0, 1] > 0.98


# embedded -----------------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    made = data.make(dict(name='digits'))
    assert [s.count for s in made.splits.values()] == [1200, 200, 397]
    found = [s.rows(np.arange(s.count)) for s in made.splits.values()]
    x = np.concatenate([f['x'] for f in found]).reshape(-1, 64)
    label = np.concatenate([f['label'] for f in found])
    pairs = {
        (tuple(np.round(a * (16 / 255)).astype(int)), b) for a, b in zip(x, label, strict=True)
    }
    truth = load_digits(return_X_y=True)
    assert pairs == {(tuple(a.astype(int)), b) for a, b in zip(*truth, strict=True)}


def test_patches_are_of_disjoint_regions():
    from sklearn.datasets import load_sample_image

    made = data.make(dict(name='patches', size=20))
    china = load_sample_image('china.jpg')
    first = made.splits['train'].rows(np.array([0, 1, 365]))[
        'x'
    ]  # 384 columns: 365 places in a row
    np.testing.assert_array_equal(first, [china[:20, :20], china[:20, 1:21], china[1:21, :20]])
    edges = {'train': (0, 384), 'validation': (384, 512), 'test': (512, 640)}
    for name, (low, high) in edges.items():
        split = made.splits[name]
        patch = split.rows(np.array([split.count - 1]))['x'][0]
        flower = load_sample_image('flower.jpg')[:, low:high]
        windows = np.lib.stride_tricks.sliding_window_view(flower, (20, 20), (0, 1))
        assert (windows == patch.transpose(2, 0, 1)).all((-1, -2, -3)).any()
    assert made.splits['test'].count == 2 * (427 // 20) * (128 // 20)


def test_densities_have_their_shapes():
    def points(kind):
        return rows(dict(name='density', kind=kind), index=np.arange(5000)).values()

    x, _ = points('checkerboard')
    cells, counts = np.unique(np.floor(x).astype(int), axis=0, return_counts=True)
    assert len(cells) == 8 and len(set(cells.sum(1) % 2)) == 1 and (abs(counts - 625) < 110).all()
    x, label = points('rings')
    assert np.abs(np.linalg.norm(x, axis=1) - 1 - label).std() < 0.1
    x, label = points('gaussians')
    angle = np.pi / 4 * label
    rest = x - 2 * np.stack([np.cos(angle), np.sin(angle)], -1)
    assert np.abs(np.cov(rest.T) - 0.04 * np.eye(2)).max() < 0.004
    for kind, classes in (('moons', 2), ('pinwheel', 5), ('spirals', 2)):
        x, label = points(kind)
        assert np.abs(x).max() < 6 and set(label) == set(range(classes))
        assert data.make(dict(name='density', kind=kind)).classes == classes


# arrays and shared pieces -------------------------------------------------------------------------


def test_arrays_round_trip(tmp_path):
    rng = np.random.default_rng(0)
    x, label = rng.integers(0, 256, (20, 5, 4), np.uint8), np.arange(20) % 3
    np.savez(tmp_path / 'a.npz', x=x, label=label, at=np.arange(20.0), x_test=x[:7])
    made = data.make(dict(name=f'arrays:{tmp_path}/a.npz', validation=6, keep=('at',)))
    assert {k: s.count for k, s in made.splits.items()} == dict(train=14, test=7, validation=6)
    assert made.classes == 3
    found = [made.splits[k].rows(np.arange(made.splits[k].count)) for k in ('train', 'validation')]
    merged = {k: np.concatenate([f[k] for f in found]) for k in found[0]}
    at = merged['at'].astype(int)
    assert sorted(at) == list(range(20)) and merged['at'].dtype == np.float32
    np.testing.assert_array_equal(merged['x'], x[at, :, :, None])
    np.testing.assert_array_equal(merged['label'], label[at])
    before = made.fingerprint
    x[3, 3, 3] ^= 1
    np.savez(tmp_path / 'a.npz', x=x, label=label, at=np.arange(20.0), x_test=x[:7])
    spec = dict(name=f'arrays:{tmp_path}/a.npz', validation=6, keep=('at',))
    assert data.make(spec).fingerprint != before


def test_arrays_by_the_names_of_splits(tmp_path):
    x, label = np.arange(80, dtype=np.uint8).reshape(20, 2, 2), np.arange(20) % 3
    np.savez(tmp_path / 'a.npz', x_train=x, label_train=label, x_test=x[:7], label_test=label[:7])
    made = data.make(dict(name=f'arrays:{tmp_path}/a.npz'))
    assert {k: s.count for k, s in made.splits.items()} == dict(train=20, test=7)
    np.testing.assert_array_equal(made.splits['train'].rows(np.arange(20))['label'], label)


def test_selected_rows_are_those_of_the_whole(tmp_path):
    """Asked at random, and as a stream."""

    def rows(index):
        return {'x': 10 * index}

    whole = source.Split(20, rows, lambda indices: map(rows, indices))
    some = source.select(whole, np.array([7, 3, 11]))
    asked = [np.array([2, 0]), np.array([1])]
    assert some.count == 3
    for found in ([some.rows(index) for index in asked], some.stream(iter(asked))):
        assert [batch['x'].tolist() for batch in found] == [[110, 70], [30]]


def test_what_cannot_be_held_out_is_named(tmp_path):
    np.savez(tmp_path / 'a.npz', x=np.zeros((20, 5, 4), np.uint8))
    for name in ('test', 'validation'):
        with pytest.raises(Mistake, match=f'{name}=20 rows cannot be held out of 20'):
            data.make({'name': f'arrays:{tmp_path}/a.npz', name: 20})


def test_squares_know_their_photograph():
    from sklearn.datasets import load_sample_image

    made = data.make(dict(name='patches', size=32))
    found = made.splits['test'].rows(np.arange(made.splits['test'].count))
    for label, name in enumerate(made.class_names):  # side by side they are its last fifth
        squares = found['x'][found['label'] == label].reshape(13, 4, 32, 32, 3)
        whole = squares.swapaxes(1, 2).reshape(13 * 32, 4 * 32, 3)
        np.testing.assert_array_equal(whole, load_sample_image(f'{name}.jpg')[: 13 * 32, 512:])


def test_held_rows_are_made_once():
    asked = []

    def make(index):
        asked.extend(index)
        return {'x': index * 2}

    split = source.held(source.Split(10, make))
    for index in ([3, 3, 1], [1, 9], [3]):
        np.testing.assert_array_equal(split.rows(np.array(index))['x'], np.array(index) * 2)
    assert sorted(asked) == [1, 3, 9]


def test_drawn_rows_are_made_few_at_a_time_since_draws_take_memory():
    asked = []

    def make(split, index):
        asked.append(len(index))
        return {'x': index * 2}

    for size, again in ((8, 0), (2**30, 1)):  # small splits are kept, large ones made again
        splits = source.made(dict(train=50, test=0), make, draws=2**18, size=size)
        assert list(splits) == ['train']
        index = np.random.default_rng(0).permutation(50)[:30]
        for time in range(2):
            asked.clear()
            np.testing.assert_array_equal(splits['train'].rows(index)['x'], index * 2)
            assert max(asked, default=0) <= 4 and sum(asked) == (0 if time and not again else 30)
        assert len(splits['train'].rows(index[:0])['x']) == 0


SAVED = {
    'keys': dict(y=np.zeros(3)),
    'floats': dict(x=np.zeros((2, 4, 4, 3), np.float32)),
    'rows': dict(x=np.zeros((2, 4), np.float32), label=np.zeros(3, int)),
    'label': dict(x=np.zeros((2, 4), np.float32), label=np.array([0, -1])),
    'nan': dict(x=np.full((2, 4), np.nan)),
    'object': dict(x=np.array([{}, 'a'], object)),
    'shapes': dict(x=np.zeros((2, 4)), x_test=np.zeros((2, 5))),
    'alone': dict(x=np.zeros((2, 4)), label_test=np.zeros(2, int)),
    'text': dict(x=np.array(['a', 'b'])),
}


@pytest.mark.parametrize(
    'spec, says',
    [
        (dict(name='glyph'), 'did you mean glyphs'),
        (dict(), 'has no name'),
        (dict(name='glyphs', sizes=3), 'did you mean size'),
        (dict(name='glyphs:x'), 'nothing after a colon'),
        (dict(name='glyphs', classes='A!'), "'!'"),
        (dict(name='glyphs', classes='AA'), 'different'),
        (dict(name='glyphs', size=4), 'size=4'),
        (dict(name='glyphs', train=-1), 'train=-1'),
        (dict(name='glyphs', keep=('slam',)), 'did you mean slant'),
        (7, 'no source'),
        (dict(name='density', kind='moon'), 'did you mean moons'),
        (dict(name='patches', size=200), '128'),
        (dict(name='arrays'), 'arrays:PATH'),
        (dict(name='arrays:/nowhere.npz'), '/nowhere.npz'),
        (dict(name='arrays:keys'), 'has y but neither x nor x_train'),
        (dict(name='arrays:floats'), 'uint8'),
        (dict(name='arrays:rows'), '3 rows but x has 2'),
        (dict(name='arrays:label'), 'whole numbers'),
        (dict(name='arrays:nan'), 'not finite'),
        (dict(name='arrays:object'), 'plain numbers'),
        (dict(name='arrays:shapes'), r'(5,)'),
        (dict(name='arrays:alone'), 'no x_test'),
        (dict(name='arrays:text'), 'numbers'),
        (dict(name='arrays:shapes', validation=2), 'shape'),
        (dict(name='arrays:good', validation=2), 'between 1 and 1'),
        (dict(name='arrays:good', test=1), 'has x_test'),
        (dict(name='arrays:broken'), 'cannot be read'),
    ],
)
def test_mistakes_are_one_line(spec, says, tmp_path):
    name = '' if spec == 7 else spec.get('name', '').removeprefix('arrays:')
    if name in (*SAVED, 'good', 'broken'):
        spec = spec | dict(name=f'arrays:{tmp_path / name}.npz')
        good = dict(x=np.zeros((2, 4)), x_test=np.zeros((1, 4)))
        np.savez(tmp_path / f'{name}.npz', **SAVED.get(name, good))
        if name == 'broken':
            (tmp_path / 'broken.npz').write_bytes(b'PK\x03\x04 cut')
    with pytest.raises(Mistake) as error:
        data.make(spec)
    assert says in str(error.value) and '\n' not in str(error.value)
