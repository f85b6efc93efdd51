"""Sources whose classes are of unequal size."""

import numpy as np
import pytest

from ssljax import data
from ssljax.data import source
from ssljax.data.source import Source, Split
from ssljax.names import Mistake


def counted(count=3000, classes=5, missing=0):
    """Rows that say their number; the label is that modulo the classes, -1 for the first few."""

    def rows(index):
        label = np.where(index < missing, -1, index % classes).astype(np.int32)
        return {'x': index[:, None].astype(np.float32), 'label': label}

    return Source('counted', {name: Split(count, rows) for name in source.SPLITS}, 'mark', classes)


def made(inner, **options):
    return data.make(dict(name='long_tailed', of=inner, **options))


def train(one):
    return one.splits['train'].rows(np.arange(one.splits['train'].count))


@pytest.mark.parametrize('ratio', [1, 8, 20.0])
def test_sizes_fall_by_one_factor_and_add_up(ratio):
    rows = train(made(counted(), count=1003, ratio=ratio))
    sizes = np.bincount(rows['label'], minlength=5)
    assert sizes.sum() == 1003 and len(np.unique(rows['x'])) == 1003
    exact = ratio ** (-np.arange(5) / 4)
    assert np.abs(sizes - 1003 * exact / exact.sum()).max() <= 1
    np.testing.assert_array_equal(rows['label'], rows['x'][:, 0] % 5)  # rows keep their own


def test_all_else_stays():
    inner = counted()
    one = made(inner, count=100)
    assert (one.classes, one.name) == (5, 'long_tailed(counted)')
    for name in ('validation', 'test'):
        assert one.splits[name] is inner.splits[name]


def test_the_draw_is_of_the_seed_and_in_the_fingerprint():
    changed = [{}, dict(seed=1), dict(count=101), dict(ratio=2.0)]
    found = [made(counted(), **{'count': 100, **change}) for change in changed]
    assert len({one.fingerprint for one in found}) == 4
    first, other = (train(one)['x'] for one in found[:2])
    np.testing.assert_array_equal(first, train(made(counted(), count=100))['x'])
    assert 0 < len(np.intersect1d(first, other)) < 50
    assert np.abs(first.mean() / 1500 - 1) < 0.3  # of the whole set, not of its start


def test_rows_without_a_label_are_left_out():
    assert train(made(counted(missing=500), count=1000, ratio=2))['x'].min() >= 500


def test_mistakes_are_one_line():
    with pytest.raises(Mistake, match='type count=') as error:
        made(counted(), count=1600)
    assert '\n' not in str(error.value)
    count = int(str(error.value).split('type count=')[1].split()[0])  # what it says works
    assert 800 < count < 1000 and len(train(made(counted(), count=count))['x']) == count
    with pytest.raises(Mistake, match='counted has none'):
        made(counted()._replace(classes=0))
