"""Pairs of rows, classes apart, and traces of pens."""

import numpy as np
import pytest

from ssljax import data
from ssljax.names import Mistake

DIGITS = dict(name='digits')
PENS = dict(name='pens', train=300, validation=20, test=40, writers=10)


def rows(spec, split='train', count=None):
    part = data.make(spec).splits[split]
    return part.rows(np.arange(count or part.count))


@pytest.mark.parametrize('spec', [dict(name='pairs', of=DIGITS), PENS])
def test_rows_do_not_depend_on_company(spec):
    one, two = data.make(spec), data.make(spec)
    assert one.fingerprint == two.fingerprint
    for split in one.splits:
        index = np.random.default_rng(0).integers(0, one.splits[split].count, 30)
        whole, alone = one.splits[split].rows(index), two.splits[split].rows(index[[7, 7, 3]])
        for name, values in whole.items():
            np.testing.assert_array_equal(alone[name], values[[7, 7, 3]], err_msg=name)


def test_a_pair_is_of_one_class_where_it_says_so():
    found, plain = rows(dict(name='pairs', of=DIGITS, times=3, share=0.3)), rows(DIGITS)
    assert len(found['x']) == 3600 and set(found) == {'x', 'y', 'same', 'label'}
    np.testing.assert_array_equal(found['x'][1200:2400], plain['x'])
    np.testing.assert_array_equal(found['label'], np.tile(plain['label'], 3))
    numbers = {x.tobytes(): i for i, x in enumerate(plain['x'])}
    assert len(numbers) == 1200  # no digit is there twice, so that y tells its row
    j = np.array([numbers[y.tobytes()] for y in found['y']])
    np.testing.assert_array_equal(plain['label'][j] == found['label'], found['same'])
    assert (j != np.tile(np.arange(1200), 3)).all()  # no row is its own partner
    assert abs(found['same'].mean() - 0.3) < 3 * (0.21 / 3600) ** 0.5
    assert (j[:1200] != j[1200:2400]).mean() > 0.95
    # partners of each kind are drawn evenly: every row is one about three times
    times = np.bincount(j, minlength=1200)
    assert ((times - 3) ** 2 / 3).sum() < 1200 + 4 * (2 * 1200) ** 0.5


def test_a_class_of_one_row_has_no_like_pair(tmp_path):
    x = np.arange(10, dtype=np.float32)[:, None]
    np.savez(tmp_path / 'few.npz', x_train=x, label_train=[0, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    spec = dict(name='pairs', of=dict(name=f'arrays:{tmp_path}/few.npz'), times=200, share=0.9)
    found = rows(spec)
    alone = found['label'] == 0
    assert not found['same'][alone].any() and found['same'][~alone].mean() > 0.85
    assert set(found['y'][alone].ravel()) == set(range(1, 10))


def test_classes_apart():
    spec = dict(name='classes_apart', of=DIGITS, test=3, validation=2)
    made = data.make(spec)
    seen = {name: rows(spec, name) for name in made.splits}
    classes = {name: set(found['label'].tolist()) for name, found in seen.items()}
    assert [len(classes[name]) for name in ('train', 'validation', 'test')] == [5, 2, 3]
    assert set.union(*classes.values()) == set(range(10))
    for name, found in seen.items():  # all rows of these classes, in their order
        whole = rows(DIGITS, name)
        kept = np.isin(whole['label'], list(classes[name]))
        np.testing.assert_array_equal(found['x'], whole['x'][kept])
    assert 'validation' not in data.make({**spec, 'validation': 0}).splits
    others = [spec, {**spec, 'seed': 1}, {**spec, 'test': 4}, {**spec, 'validation': 1}]
    assert len({data.make(one).fingerprint for one in others}) == 4
    with pytest.raises(Mistake, match='leave none of the 10 classes'):
        data.make({**spec, 'test': 8})


def test_pairs_need_labels():
    with pytest.raises(Mistake, match='pairs needs labels'):
        data.make(dict(name='pairs', of=dict(name='python_text')))
    with pytest.raises(Mistake, match='rows without a label'):
        data.make(dict(name='pairs', of=dict(name='few_labels', of=DIGITS)))


def test_pens():
    spec = PENS | dict(train=3000)
    found, made = rows(spec), data.make(spec)
    assert found['x'].shape == found['y'].shape == (3000, 128, 2)
    assert found['x'].dtype == np.float32 and abs(found['same'].mean() - 0.5) < 0.03
    np.testing.assert_array_equal(found['label'], np.arange(3000) % 10)
    labels = [set(rows(spec, name)['label'].tolist()) for name in made.splits]
    assert labels == [set(range(10)), set(range(10, 20)), set(range(20, 30))]  # writers of its own
    for trace in (found['x'], found['y']):
        assert np.abs(trace.mean(1)).max() < 0.02
        assert np.abs(trace.std((1, 2)) - 0.5).max() < 0.01
    options = [{}, dict(seed=1), dict(length=64), dict(writers=9), dict(wobble=0.1), dict(test=3)]
    assert len({data.make(PENS | o).fingerprint for o in options}) == 6


def test_a_forgery_has_the_shape_and_another_rhythm():
    """Along the path, a forgery is as near as a genuine trace; in time it is not."""
    found = rows(PENS | dict(train=400, wobble=0.01))
    x, y, same = found['x'], found['y'], found['same']

    def path(trace):
        """Equally spaced along the line, so that time is gone."""
        line = np.array([np.convolve(c, np.ones(3) / 3, 'same') for c in trace.T]).T
        gone = np.r_[0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
        even = np.linspace(0, gone[-1], 60)
        return np.stack([np.interp(even, gone, c) for c in line.T], -1)

    in_time = np.linalg.norm(x - y, axis=-1).mean(1)
    along = np.array([np.linalg.norm(path(a) - path(b), axis=-1).mean() for a, b in zip(x, y)])
    assert np.median(in_time[~same]) > 3 * np.median(in_time[same])
    # nearer along the path than the signatures of two writers are
    strangers = [np.linalg.norm(path(a) - path(b), axis=-1).mean() for a, b in zip(x, x[1:])]
    assert np.median(along[~same]) < 0.5 * np.median(strangers)
