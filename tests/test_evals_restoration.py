"""Thresholds against search and formulas; restoration against counts by hand."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import toys

import ssljax
from ssljax import evals
from ssljax.evals import binarize
from ssljax.evals import pages as trivial
from ssljax.evals.edits import edits
from ssljax.evals.restoration import insertions, opened, read_by
from ssljax.names import Mistake


def gray(count=3, shape=(20, 31), seed=0):
    """Dark strokes on light paper under a light that falls off, uint8 [N, H, W]."""
    random = np.random.default_rng(seed)
    x = 210 + 8 * random.normal(size=(count, *shape))
    x[:, 6:9, 4:25] -= 120
    x[:, 3:17, 12:14] -= 120
    x *= np.linspace(1, 0.45, shape[1])
    return np.clip(x, 0, 255).astype(np.uint8)


# thresholds ----


def by_search(image):
    """The threshold whose two classes have the least variance within, each over its own mean."""
    best, least = 0, np.inf
    for t in range(256):
        below, above = image[image <= t].astype(float), image[image > t].astype(float)
        if len(below) and len(above):
            within = len(below) * below.var() + len(above) * above.var()
            if within < least - 1e-6:
                best, least = t, within
    return best


def test_otsu_is_exhaustive_search():
    random = np.random.default_rng(0)
    odd = [gray(1)[0], random.integers(256, size=(20, 31)), random.integers(3, size=(20, 31))]
    two = np.where(random.random((20, 31)) < 0.1, 40, 200)
    x = np.stack([*odd, two, two * 0 + 77]).astype(np.uint8)
    got = binarize.otsu(x)
    assert got.shape == (5, 1, 1)
    assert got.ravel().tolist() == [by_search(image) for image in x]
    assert got[3, 0, 0] == 40 and got[4, 0, 0] == 0  # the least of many; of one level, none


@pytest.mark.parametrize('window, k', [(3, 0.5), (9, 0.2), (41, 0.1)])
def test_sauvola_is_its_formula_at_each_pixel(window, k):
    x = gray(2)
    want = np.zeros(x.shape)
    for n, i, j in np.ndindex(x.shape):
        half = window // 2
        part = x[n, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1].astype(float)
        want[n, i, j] = part.mean() * (1 + k * (part.std() / 100 - 1))
    got = binarize.sauvola(x, window=window, k=k, deviation=100)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_f1_is_of_pixels():
    random = np.random.default_rng(0)
    found, truth = random.random((2, 4, 6, 7)) < 0.3
    found[3] = truth[3] = False
    got = binarize.f1(found, truth)
    for n in range(3):
        right = (found[n] & truth[n]).sum()
        precision, recall = right / found[n].sum(), right / truth[n].sum()
        np.testing.assert_allclose(got[n], 2 * precision * recall / (precision + recall))
    assert got[3] == 1


def pages(count=24, **more):
    """x under uneven light, y evenly lit."""
    x = gray(count)[..., None]
    y = np.full_like(x, 210)
    y[:, 6:9, 4:25] = y[:, 3:17, 12:14] = 90
    y[np.arange(count), 1, np.arange(count)] = 90  # each is another one
    rows = dict(x=x, y=y, **more)
    return toys.source(**dict.fromkeys(('train', 'validation', 'test'), rows))


def test_baselines_are_these_thresholds_and_only_of_pairs():
    source = pages()
    made = evals.trivial('restoration', source, toys.KEY)
    assert list(made) == ['unchanged', 'otsu', 'sauvola']
    x = gray(24)[..., None]
    one = made['otsu']['translate']({'x': x})
    assert one.dtype == np.float32 and set(np.unique(one)) == {-1, 1}
    np.testing.assert_array_equal(one[..., 0] < 0, x[..., 0] <= binarize.otsu(x[..., 0]))
    np.testing.assert_allclose(made['unchanged']['translate']({'x': x}), x / 127.5 - 1, atol=1e-6)
    scores = {
        who: toys.scores('restoration', toys.subject(source, **asks)[0], images=0).numbers
        for who, asks in made.items()
    }
    assert scores['otsu']['f1'] == scores['unchanged']['f1'] < scores['sauvola']['f1'] - 10
    assert not evals.trivial('restoration', toys.labeled(), toys.KEY)
    black = trivial.black_and_white(np.array([[[True, False]]]), np.zeros((1, 1, 2, 3)))
    np.testing.assert_array_equal(black[0, 0], [[-1] * 3, [1] * 3])


def test_sauvola_is_the_best_of_its_grid_on_validation():
    source = pages()
    rows = source.splits['validation'].rows(np.arange(24))
    x, y = rows['x'][..., 0], rows['y'][..., 0]
    found = [
        binarize.f1(x <= binarize.sauvola(x, window=w, k=k), y <= 90).mean()
        for w, k in itertools.product((9, 15, 25, 41), (0.05, 0.1, 0.2, 0.35))
    ]
    made = trivial.sauvola(source, toys.KEY)['translate'](rows)
    np.testing.assert_allclose(binarize.f1(made[..., 0] < 0, y <= 90).mean(), max(found))
    assert max(found) > min(found)


# what was read ----


def edit_scripts(a, b):
    """(edits, insertions) of every alignment of two short texts."""
    if not a or not b:
        return {(len(a) + len(b), len(b))}
    steps = ((a[1:], b[1:], a[0] != b[0], 0), (a[1:], b, 1, 0), (a, b[1:], 1, 1))
    return {(e + d, i + j) for s, t, d, j in steps for e, i in edit_scripts(s, t)}


def test_insertions_are_the_fewest_of_the_fewest_edits():
    random = np.random.default_rng(0)
    for _ in range(60):
        a, b = (''.join(random.choice(list('abc'), random.integers(0, 6))) for _ in range(2))
        want = min(edit_scripts(a, b))
        assert (edits(a, b), insertions(a, b)) == want, (a, b)
    assert insertions('line', 'lime') == insertions('line', 'lne') == insertions('', '') == 0
    assert insertions('', 'abc') == 3 and insertions('line', 'a line') == 2
    assert insertions([4, 7], [7, 7, 4]) == 1


VOCAB = tuple('abcd')


def test_characters_are_counted_as_by_hand():
    text = np.array([[0, 1, 2, 3], [2, 2, 0, 0], [1, 0, 0, 0]])
    rows = dict(text=text, text_length=np.array([4, 2, 1]), length=np.array([31, 20, 9]))
    source = pages(3, **rows)._replace(vocab=VOCAB)
    reads = {  # what is read of restored lines, then of clean ones
        True: [[0, 1, 2, 3, 3], [2, -1, 2, -1, -1], [-1] * 5],  # one more, right, nothing
        False: [[0, 1, 2, -1, -1], [2, 2, -1, -1, -1], [1, -1, -1, -1, -1]],  # one less, right
    }

    def reader(x, given):
        assert x.dtype == np.uint8 and x.shape == (3, 20, 31, 1)
        np.testing.assert_array_equal(given['length'], [31, 20, 9])
        return np.array(reads[bool((x == 255).any())])

    who, saved = toys.subject(source, translate=lambda b: np.ones(b['x'].shape, np.float32))
    scores = toys.scores('restoration', who, reader=reader)
    assert scores.numbers['character_error'] == pytest.approx(100 * 2 / 7)
    assert scores.numbers['invented'] == pytest.approx(100 * 1 / 7)
    assert scores.numbers['clean_error'] == pytest.approx(100 * 1 / 7)
    assert scores.numbers['invented_characters'] == 1
    assert saved['reading'] == 'abcd\nabcdd\nabc\n\ncc\ncc\ncc\n\nb\n\nb\n'
    with pytest.raises(Mistake, match='no text'):
        evals.offered()['restoration'].run(who._replace(source=pages(3)), reader=reader)


def test_pixels_are_counted_as_by_hand():
    source = pages(3)
    rows = source.splits['test'].rows(np.arange(3))
    half = np.where(rows['y'] == 90, -0.2, 0.9).astype(np.float32)
    half[:, :, 13:] = 0.9  # the right half of the ink is lost
    who, saved = toys.subject(
        source,
        translate=lambda b: half[b['index']],
        translate_y=lambda b: b['y'] / 127.5 - 1,
        reconstruct=lambda b: {'reconstruction': b['x'] / 127.5 - 1},
    )
    scores = toys.scores('restoration', who)
    ink = rows['y'][..., 0] == 90
    found = ink & (np.arange(31) < 13)
    want = [100 * 2 * (f & i).sum() / (f.sum() + i.sum()) for f, i in zip(found, ink)]
    np.testing.assert_allclose(scores.rows['f1'], want)
    error = np.square(half - (rows['y'] / 127.5 - 1)).mean((1, 2, 3))
    np.testing.assert_allclose(scores.rows['mse'], error, rtol=1e-5)
    assert set(saved) == {'restored', 'both-ways'}
    assert saved['both-ways'].height > saved['restored'].height
    assert 'character_error' not in scores.numbers


def test_mistakes_of_restoration_are_one_line(tmp_path):
    run = evals.offered()['restoration'].run
    who, _ = toys.subject(pages(3), translate=lambda b: np.ones((len(b['x']), 4, 4, 1)))
    with pytest.raises(Mistake) as found:
        run(who)
    toys.one_line(found, 'a clean y for each x', '[4, 4, 1]', '[20, 31, 1]')
    who, _ = toys.subject(pages(3), translate=lambda b: np.full(b['x'].shape, np.nan))
    with pytest.raises(Mistake) as found:
        run(who)
    toys.one_line(found, '3 of 3 images', 'not finite')
    with pytest.raises(Mistake) as found:
        opened(str(tmp_path), VOCAB)
    toys.one_line(found, 'is not a workdir')


def test_a_reader_is_opened_once_and_told_lengths_alone(monkeypatch):
    opens, asked = [], []

    def load(workdir):
        opens.append(workdir)
        run = SimpleNamespace(tokens=VOCAB, row={'x': 0, 'length': 0, 'text': 0})
        return SimpleNamespace(run=run, readouts={'transcribe': 0}, transcribe=transcribe)

    def transcribe(batch):
        asked.append(batch)
        return np.array([[2, -1], [3, 1]])

    monkeypatch.setattr(ssljax, 'load', load, raising=False)
    opened.cache_clear()
    rows, x = dict(length=np.array([4, 9]), text=np.zeros((2, 3))), np.zeros((2, 8, 8, 1), np.uint8)
    for _ in range(2):
        assert read_by('here', VOCAB)(x, rows) == ['c', 'db']
    assert opens == ['here'] and [sorted(batch) for batch in asked] == [['length', 'x']] * 2
    with pytest.raises(Mistake, match='other characters'):
        read_by('here', ('a', 'b'))
    opened.cache_clear()
