"""Printed and scanned lines: what the entries say is what is in the picture."""

import os
from pathlib import Path

import numpy as np
import pytest

from ssljax import data
from ssljax.data.glyphs import FONTS
from ssljax.data.lines import ALPHABET, PHRASE, corpus, typeface
from ssljax.data.scanned import placed
from ssljax.names import Mistake

DATA = Path(os.environ.get('SSLJAX_DATA', Path(__file__).parents[1].parent / 'shared' / 'data'))
LINES = dict(name='lines', train=200, validation=40, test=40)


def rows(spec, split='train', count=40):
    return data.make(spec).splits[split].rows(np.arange(count))


def written(found, vocab):
    return [
        ''.join(vocab[i] for i in line[:n])
        for line, n in zip(found['text'], found['text_length'], strict=True)
    ]


def test_lines_have_their_form_and_only_what_is_asked_for():
    found, made = rows(LINES), data.make(LINES)
    assert found['x'].shape == (40, 32, 256, 1) and found['x'].dtype == np.uint8
    assert set(found) == {'x', 'length', 'text', 'text_length'}
    assert {found[n].dtype for n in ('length', 'text', 'text_length')} == {np.dtype(np.int32)}
    assert (found['length'] <= 256).all() and (found['text_length'] >= 1).all()
    inside = np.arange(found['text'].shape[1]) < found['text_length'][:, None]
    assert (found['text'][~inside] == 0).all() and found['text'].max() < len(made.vocab)
    for line in written(found, made.vocab):
        assert line == line.strip() and '  ' not in line
    kept = rows(LINES | dict(keep=('positions', 'font')))
    np.testing.assert_array_equal(kept['x'], found['x'])
    again = data.make(LINES).splits['train'].rows(np.array([7, 3]))
    np.testing.assert_array_equal(again['x'], found['x'][[7, 3]])
    options = (
        {}, dict(seed=1), dict(height=24), dict(width=128), dict(words=2), dict(train=9),
        dict(keep=('font',)),
    )  # fmt: skip
    assert len({data.make(LINES | o).fingerprint for o in options}) == 7
    for other in (rows(LINES | dict(seed=1)), rows(LINES, 'test')):
        assert (other['x'] != found['x']).any((1, 2, 3)).all()
    with pytest.raises(Mistake, match='did you mean positions'):
        data.make(LINES | dict(keep=('position',)))


def test_ink_lies_where_characters_are_said_to_be_and_the_ground_is_empty():
    found = rows(LINES | dict(keep=('positions', 'font')), count=200)
    dark, near = [], []
    for x, length, text, n, places in zip(
        *(found[name] for name in ('x', 'length', 'text', 'text_length', 'positions'))
    ):
        profile = x[..., 0].astype(float)
        profile = np.median(profile[:3], 0) - profile.min(0)  # darkest of a column
        assert np.ptp(profile[length:]) < 70 or length == 256
        assert (np.diff(places[:n]) > 0).all() and 0 < places[0] and places[n - 1] < length
        blank = text[:n] == ALPHABET.index(' ')
        columns = np.clip(places[:n].astype(int), 2, 253)[:, None] + np.arange(-2, 3)
        ink = profile[columns].max(1)
        dark.extend(ink[~blank] / profile.max())
        near.extend(profile[columns].min(1)[blank] / profile.max())
    assert np.mean(np.array(dark) > 0.4) > 0.97 and np.mean(np.array(near) < 0.4) > 0.95


def test_splits_have_fonts_and_text_of_their_own():
    parts = [corpus(name) for name in ('train', 'validation', 'test')]
    assert [len(part) > 3000 for part in parts] == [True] * 3
    lines = [{part[i : i + PHRASE] for i in range(len(part) - PHRASE + 1)} for part in parts]
    for one, two in ((0, 1), (0, 2), (1, 2)):  # but for words that a phrase left out has parted
        assert len(lines[one] & lines[two]) < 0.005 * len(lines[two])
    first = 0
    for name in ('train', 'validation', 'test'):
        font = rows(LINES | dict(keep=('font',)), name)['font']
        assert first <= font.min() and font.max() < first + len(FONTS[name])
        first += len(FONTS[name])
    for name in (font for fonts in FONTS.values() for font in fonts):
        assert set(typeface(name, ALPHABET)) == set(ALPHABET)


def test_words_and_heights():
    made = data.make(LINES | dict(words=1, width=128))
    assert all(' ' not in line for line in written(rows(LINES | dict(words=1)), made.vocab))
    two = written(rows(LINES | dict(words=2)), made.vocab)
    assert {line.count(' ') for line in two} == {0, 1} or {line.count(' ') for line in two} == {1}
    small = rows(LINES | dict(height=16, width=128))
    assert small['x'].shape[1:] == (16, 128, 1)
    ids = made.tokens(['a b', 'No.'])
    assert written(ids, made.vocab) == ['a b', 'No.']
    with pytest.raises(Mistake, match="characters '@'"):
        made.tokens(['a@'])


def test_a_scanned_line_keeps_its_shape():
    line = np.full((40, 100, 1), 200, np.uint8)
    line[10:30, 20:30] = 0
    long = np.full((10, 200, 1), 90, np.uint8)
    x, length = placed([line, long], 20, 64)
    assert length.tolist() == [50, 64] and x.shape == (2, 20, 64, 1)
    assert (x[0, :, 50:] == 200).all() and x[0, 10, 12] < 40 and x[0, 2, 12] > 180
    assert (x[1] == 90).all()


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_scanned_lines():
    spec = dict(name='scanned_lines', dir=str(DATA), height=24, width=640, validation=40)
    made = data.make(spec)
    assert {k: v.count for k, v in made.splits.items()} == dict(train=520, validation=40, test=140)
    found = made.splits['train'].rows(np.arange(100))
    ink = found['x'].astype(float).std((1, 3))  # of each column
    for row, n in zip(ink, found['length'], strict=True):
        assert row[:n].mean() > 10 and row[n:].max(initial=0) < 1e-6
    frames = -(-found['length'] // 4)
    assert (found['text_length'] < frames).all()
    texts = written(found, made.vocab)
    assert sum('ſ' in text for text in texts) > 60
    again = made.tokens(texts)
    np.testing.assert_array_equal(again['text'], found['text'])


# both at once -------------------------------------------------------------------------------------


def test_joined_trains_on_both_and_is_tested_on_the_second():
    first = LINES | dict(width=128)
    second = dict(name='lines', width=128, train=50, validation=20, test=30, seed=3)
    one, two = data.make(first), data.make(second)
    made = data.make(dict(name='joined', first=first, second=second, share=0.5))
    assert {k: v.count for k, v in made.splits.items()} == dict(train=400, validation=20, test=30)
    index = np.array([399, 0, 199, 200, 250, 251])
    found = made.splits['train'].rows(index)
    np.testing.assert_array_equal(
        found['x'][[1, 2]], one.splits['train'].rows(np.array([0, 199]))['x']
    )
    np.testing.assert_array_equal(
        found['x'][[0, 3, 4, 5]], two.splits['train'].rows(np.array([49, 0, 0, 1]))['x']
    )
    np.testing.assert_array_equal(
        made.splits['test'].rows(np.arange(30))['x'], two.splits['test'].rows(np.arange(30))['x']
    )
    few = data.make(dict(name='joined', first=first, second=second, share=0.01))
    assert few.splits['train'].count == 250 and few.fingerprint != made.fingerprint


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_joined_texts_read_as_before_in_one_vocabulary():
    first = LINES | dict(height=24, width=640)
    second = dict(name='scanned_lines', dir=str(DATA), height=24, width=640)
    made = data.make(dict(name='joined', first=first, second=second))
    found = made.splits['train'].rows(np.array([0, 1, 200, 201]))
    for part, spec in ((slice(0, 2), first), (slice(2, 4), second)):
        alone = data.make(spec)
        some = {name: values[part] for name, values in found.items()}
        assert written(some, made.vocab) == written(
            alone.splits['train'].rows(np.arange(2)), alone.vocab
        )
    assert len(set(made.vocab)) == len(made.vocab) and 'ſ' in made.vocab
    assert written(made.tokens(['daſs']), made.vocab) == ['daſs']


def test_what_cannot_be_joined_is_a_mistake():
    for second, options, says in (
        (LINES | dict(height=16), {}, 'type options that make them equal'),
        (LINES, dict(share=1.0), 'between 0 and 1'),
    ):
        with pytest.raises(Mistake) as error:
            data.make(dict(name='joined', first=LINES, second=second, **options))
        assert says in str(error.value) and '\n' not in str(error.value)
