"""Text windows score each token once; n-grams against a slow statement of their formulas."""

import collections
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from ssljax import data
from ssljax.data.tokens import UNSEEN
from ssljax.evals.ngram import kneser_ney, witten_bell
from ssljax.names import Mistake

TEXT = 'the quick brown fox jumps over the lazy dog; ' * 9 + 'Zebra crossing, the end of it'
DATA = Path(os.environ.get('SSLJAX_DATA', Path(__file__).parents[1].parent / 'shared' / 'data'))


def make(tmp_path, raw=TEXT, **options):
    (tmp_path / 'a.txt').write_bytes(raw.encode() if isinstance(raw, str) else raw)
    return data.make(dict(name=f'text:{tmp_path}/a.txt', **options))


def read(source, ids):
    return ''.join(source.vocab[i] for i in ids)


@pytest.mark.parametrize('length, stride', [(16, 0), (16, 15), (16, 1), (9, 3), (2, 1)])
@pytest.mark.parametrize('symbols', ['characters', 'bytes'])
def test_every_token_is_scored_once_after_its_context(tmp_path, length, stride, symbols):
    made = make(tmp_path, length=length, stride=stride, validation=37, test=0.11, symbols=symbols)
    end = int(len(TEXT) * 0.89)
    known = set(TEXT[: end - 37])
    plain = TEXT if symbols == 'bytes' else ''.join(c if c in known else UNSEEN for c in TEXT)
    for name, low, high in (('validation', end - 37, end), ('test', end, len(TEXT))):
        split = made.splits[name]
        rows = split.rows(np.arange(split.count))
        assert rows['x'].shape == rows['mask'].shape == (split.count, length)
        scored = np.concatenate([x[m == 1] for x, m in zip(rows['x'], rows['mask'], strict=True)])
        assert read(made, scored) == plain[low:high]
        assert rows['mask'][:, 0].max() == 0  # it has no context
        assert set(np.unique(rows['mask'])) == {0, 1}
        for x in rows['x']:  # each window is a piece of the text: scored tokens end it
            assert read(made, x) in plain
        np.testing.assert_array_equal(rows['mask'], np.sort(rows['mask'], 1))
    train = made.splits['train'].rows(np.arange(made.splits['train'].count))['x']
    pieces = [plain[i : i + length] for i in range(end - 37 - length + 1)]
    assert [read(made, x) for x in train] == pieces


def test_unseen_characters_share_one_more_token(tmp_path):
    made = make(tmp_path)
    assert made.vocab == (*sorted(set(TEXT[: int(len(TEXT) * 0.9)])), UNSEEN)
    assert make(tmp_path, 'ab' * 300).vocab == ('a', 'b')
    late = 'ab' * 260 + 'zb' + 'ab' * 39  # 600 characters: 503 of training, 37 of validation
    assert make(tmp_path, late, validation=37).vocab == ('a', 'b', UNSEEN)
    assert len(make(tmp_path, symbols='bytes').vocab) == 256


def test_gzip_and_bytes_read_the_same_text(tmp_path):
    one = make(tmp_path, 'Übung macht den Meister. ' * 20, symbols='bytes')
    with gzip.open(tmp_path / 'b.txt.gz', 'wb') as file:
        file.write(('Übung macht den Meister. ' * 20).encode())
    two = data.make(dict(name=f'text:{tmp_path}/b.txt.gz', symbols='bytes'))
    assert one.fingerprint == two.fingerprint
    ids = two.splits['train'].rows(np.array([0]))['x'][0]
    assert read(two, ids).encode('latin-1').decode()[:5] == 'Übung'


def test_fingerprint_follows_text_and_windows(tmp_path):
    prints = [
        make(tmp_path, *raw, **options).fingerprint
        for raw, options in (
            ((), {}),
            ((TEXT + '.',), {}),
            ((), dict(length=64)),
            ((), dict(stride=9)),
            ((), dict(validation=9)),
            ((), dict(symbols='bytes')),
        )
    ]
    assert len(set(prints)) == len(prints)


@pytest.mark.parametrize(
    'options, says',
    [
        (dict(length=1), 'from 2'),
        (dict(length=9999), 'to 390'),
        (dict(length=9, stride=9), 'from 1 to 8'),
        (dict(validation=9999), 'validation=9999'),
        (dict(test=1.0), 'test=1.0'),
        (dict(symbols='words'), 'characters'),
        (dict(raw=b'\xff\xfe'), 'symbols=bytes'),
        (dict(raw=''), 'validation'),
    ],
)
def test_mistakes_are_one_line(tmp_path, options, says):
    with pytest.raises(Mistake) as error:
        make(tmp_path, **options)
    assert says in str(error.value) and '\n' not in str(error.value)


def test_absent_text_says_where_it_looked(tmp_path):
    with pytest.raises(Mistake, match=r'nowhere\.txt'):
        data.make(dict(name='text:nowhere.txt'))
    with pytest.raises(Mistake, match=f'in {tmp_path}.*tfds build tiny_shakespeare'):
        data.make(dict(name='shakespeare', dir=str(tmp_path)))


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_shakespeare_is_joined_in_order():
    made = data.make(dict(name='shakespeare', dir=str(DATA), validation=10_000))
    assert len(made.vocab) == 65
    train = made.splits['train']
    assert train.count + 128 == int(1_115_394 * 0.9) - 10_000
    assert read(made, train.rows(np.array([0]))['x'][0]).startswith('First Citizen:\nBefore we')
    test = made.splits['test']
    last = test.rows(np.array([test.count - 1]))['x'][0]
    assert read(made, last).endswith('Whiles thou art waking.\n')


# n-grams ------------------------------------------------------------------------------------------


def slow(train, history, order, vocab, smoothing):
    """p(each symbol | history) by dictionaries, from the recursive definition."""

    def grams(k):
        return collections.Counter(tuple(train[i : i + k]) for i in range(len(train) - k + 1))

    def counts(k):
        if k == order or smoothing == 'wb':
            return grams(k)
        return collections.Counter(gram[1:] for gram in grams(k + 1))

    def cut(c, table):
        if smoothing == 'wb' or not c:
            return 0
        n = [sum(v == i for v in table.values()) for i in range(6)]
        y = n[1] / max(n[1] + 2 * n[2], 1)
        i = min(c, 3)
        d = i - (i + 1) * y * n[i + 1] / n[i] if y and n[i] else 0.5
        return min(max(d, 0.1), i)

    def p(w, context):
        k = len(context) + 1
        table = counts(k)
        shorter = 1 / vocab if k == 1 else p(w, context[1:])
        here = {g[-1]: c for g, c in table.items() if g[:-1] == context}
        if not here:
            return shorter
        left = len(here) if smoothing == 'wb' else sum(cut(c, table) for c in here.values())
        total = sum(here.values()) + (left if smoothing == 'wb' else 0)
        c = here.get(w, 0)
        return (c - cut(c, table) + left * shorter) / total

    return np.array([p(w, tuple(history[len(history) - order + 1 :])) for w in range(vocab)])


@pytest.mark.parametrize('smoothing, fast', [('kn', kneser_ney), ('wb', witten_bell)])
@pytest.mark.parametrize('order', [1, 2, 3, 5])
def test_ngrams_sum_to_one_and_equal_the_slow_statement(smoothing, fast, order):
    rng = np.random.default_rng(order)
    train = np.concatenate(
        [np.tile([0, 1, 2], 20), rng.choice(6, 150, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])]
    )
    history = rng.integers(0, 7, 4)  # 6 and 7 are never seen in train
    for now in (history, train[60:64]):
        got = [np.exp(fast(train, np.append(now, w), order, 8)[-1]) for w in range(8)]
        np.testing.assert_allclose(sum(got), 1, rtol=1e-9)
        np.testing.assert_allclose(
            got, slow(list(train), list(now), order, 8, smoothing), rtol=1e-9
        )


def test_the_test_text_is_not_counted():
    train, test = np.arange(300) % 7, np.arange(40) % 5
    alone = kneser_ney(train, test[:10], 4, 8)
    np.testing.assert_allclose(kneser_ney(train, test, 4, 8)[:10], alone)
    assert kneser_ney(train, (np.arange(40) + 300) % 7, 4, 8).mean() > -0.1  # learned the cycle


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_ngrams_of_shakespeare():
    made = data.make(dict(name='shakespeare', dir=str(DATA)))
    train, test = made.splits['train'], made.splits['test']
    ids = train.rows(np.arange(0, train.count, 129))['x'].ravel()
    rows = test.rows(np.arange(test.count))
    scored = rows['x'][rows['mask'] == 1]
    assert abs(-kneser_ney(ids, scored, 3, 65).mean() - 2.038) < 0.002  # as measured elsewhere
    assert abs(-witten_bell(ids, scored, 3, 65).mean() - 2.049) < 0.002
