"""Tokenizers there and back, padding, and packed rows: no token lost, none in a foreign text."""

import numpy as np
import pytest

from ssljax.data.tokens import (
    MARKS,
    PAD,
    UNSEEN,
    bytes_of_utf8,
    captions,
    characters,
    packed,
    padded,
    words,
)
from ssljax.names import Mistake

TEXTS = ["It's a dog, a DOG!", 'Straße \N{GRINNING FACE} a cat']


@pytest.mark.parametrize('marks', [(), MARKS])
def test_characters_are_sorted_and_the_last_token_is_all_others(marks):
    made, seen = characters(TEXTS, marks=marks), sorted(set(''.join(TEXTS)))
    assert made.vocab == (*marks, *seen, UNSEEN)
    for text in TEXTS:
        ids = made.encode(text)
        assert ids.dtype == np.int32 and made.decode(ids) == text
        assert ids.tolist() == [len(marks) + seen.index(c) for c in text]
    late = made.encode('a\x01\N{PILE OF POO}d')  # below and above all that it knows
    assert made.decode(late) == f'a{UNSEEN}{UNSEEN}d' and late[1] == len(made.vocab) - 1
    assert len(made.encode('')) == 0
    assert characters([]).encode('ab').tolist() == [0, 0]


@pytest.mark.parametrize('marks', [(), MARKS])
def test_bytes_know_all_texts(marks):
    made = bytes_of_utf8(marks=marks)
    assert len(made.vocab) == 256 + len(marks) and made.vocab[len(marks) + 65] == 'A'
    for text in TEXTS:
        ids = made.encode(text)
        assert ids.tolist() == [len(marks) + b for b in text.encode()]
        assert made.decode(ids) == text
    assert made.decode(made.encode('é')[:1]) == UNSEEN  # a broken character


def test_words_are_the_commonest_first():
    made = words(TEXTS, marks=MARKS)
    assert made.vocab[:5] == (*MARKS, 'a', 'dog')  # three, two, then one each by the alphabet
    assert made.vocab[5:-1] == tuple(sorted(['!', ',', "it's", 'cat', 'straße', '\U0001f600']))
    assert made.decode(made.encode(TEXTS[0])) == "it's a dog , a dog !"
    assert made.decode([0, 1, *made.encode('a bird'), 2]) == f'a {UNSEEN}'
    assert words(TEXTS, size=2).vocab == ('a', 'dog', UNSEEN)
    assert words(TEXTS, least=2).vocab == ('a', 'dog', UNSEEN)
    assert words(TEXTS, least=4).encode('a dog').tolist() == [0, 0]
    kept = words(['a red A'], lower=False)
    assert kept.vocab == ('A', 'a', 'red', UNSEEN)
    # no text can write a mark
    assert PAD not in made.encode('<pad> <start>') and made.encode('<end>')[0] > 2


def test_rows_are_padded_and_a_long_text_loses_its_end():
    rows = padded([np.array([5, 6, 7]), np.array([], int), np.array([8, 9, 4, 3, 2])], 4)
    assert rows['text'].tolist() == [[5, 6, 7, 0], [0, 0, 0, 0], [8, 9, 4, 3]]
    assert rows['text_length'].tolist() == [3, 0, 4]
    assert {values.dtype for values in rows.values()} == {np.dtype(np.int32)}
    made = words(['a b c'], marks=MARKS)
    rows = captions(made, ['a b', 'c b a b'], length=5)
    assert rows['text'].tolist() == [[1, 3, 4, 2, 0], [1, 5, 4, 3, 2]]
    assert rows['text_length'].tolist() == [4, 5]
    assert captions(made, [], length=5)['text'].shape == (0, 5)
    for tokenizer, length in ((words(['a']), 5), (made, 2)):
        with pytest.raises(Mistake, match='captions need'):
            captions(tokenizer, ['a'], length=length)


def test_packed_by_hand():
    texts = [np.arange(10, 13), np.arange(20, 25), np.arange(30, 32), np.array([], int)]
    texts += [np.arange(40, 49)]  # longer than a row: 6 and 3
    rows = packed(texts, 6)
    assert rows['x'].tolist() == [
        [40, 41, 42, 43, 44, 45],
        [20, 21, 22, 23, 24, PAD],
        [10, 11, 12, 46, 47, 48],
        [30, 31, PAD, PAD, PAD, PAD],
    ]
    assert rows['segment'].tolist() == [
        [1] * 6,
        [1] * 5 + [0],
        [1, 1, 1, 2, 2, 2],
        [1, 1, 0, 0, 0, 0],
    ]
    assert rows['mask'].tolist() == [
        [0, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 1, 0, 1, 1],
        [0, 1, 0, 0, 0, 0],
    ]
    assert packed([], 6)['x'].shape == (0, 6)
    with pytest.raises(Mistake, match='from 1'):
        packed(texts, 0)


@pytest.mark.parametrize('seed', range(5))
def test_packed_rows_hold_each_text_whole_and_once(seed):
    random = np.random.default_rng(seed)
    texts = [1 + 50 * i + np.arange(n) for i, n in enumerate(random.integers(1, 17, 60))]
    rows = packed(texts, 16)
    found = []
    for x, segment, mask in zip(rows['x'], rows['segment'], rows['mask'], strict=True):
        count = segment.max()
        assert (np.diff(segment[segment > 0]) >= 0).all() and (segment[len(x[x > 0]) :] == 0).all()
        for number in range(1, count + 1):
            found.append(tuple(x[segment == number]))
            assert mask[segment == number].tolist() == [0] + [1] * (len(found[-1]) - 1)
    assert sorted(found) == sorted(tuple(text) for text in texts)
    filled = sum(map(len, texts)) / rows['x'].size
    assert filled > 0.9 and not rows['mask'][rows['segment'] == 0].any()
    half = (rows['segment'] == 0).sum(1) >= 8  # two rows that fit into one would be one
    assert half.sum() <= 1
