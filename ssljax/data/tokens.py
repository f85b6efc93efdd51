"""Texts as tokens: characters, bytes or words; rows of one length; several texts in one row.

>>> english = words(['a red K', 'a blue K'], marks=MARKS)
>>> english.vocab
('<pad>', '<start>', '<end>', 'a', 'k', 'blue', 'red', '\N{REPLACEMENT CHARACTER}')
>>> captions(english, ['A red M'], length=6)['text'].tolist()
[[1, 3, 6, 7, 2, 0]]
"""

import collections
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ssljax.data.source import Rows
from ssljax.names import Mistake

UNSEEN = '\N{REPLACEMENT CHARACTER}'  # the last token: whatever is not in the vocabulary
MARKS = ('<pad>', '<start>', '<end>')  # ids 0, 1 and 2, where a vocabulary begins with them
PAD, START, END = range(3)
WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")  # a word, or a sign that is no space


class Tokenizer(NamedTuple):
    """Texts to numbers and back."""

    vocab: tuple[str, ...]  # id -> string
    encode: Callable[[str], np.ndarray]  # text -> ids int32 [T]
    decode: Callable[[Iterable[int]], str]  # ids -> text, without marks


def characters(texts: Iterable[str], *, marks: tuple[str, ...] = ()) -> Tokenizer:
    """One token for each character of these texts, in the order of Unicode.

    marks: tokens that no text has, before the others.
    """
    seen = np.unique(np.concatenate([points(''), *map(points, texts)]))

    def encode(text: str) -> np.ndarray:
        ids = points(text)
        place = np.searchsorted(seen, ids)
        known = np.append(seen, 0)[place] == ids
        known &= place < len(seen)
        return np.where(known, place, len(seen)).astype(np.int32) + np.int32(len(marks))

    vocab = (*marks, *map(chr, seen), UNSEEN)
    return Tokenizer(vocab, encode, functools.partial(joined, vocab, len(marks), ''))


def bytes_of_utf8(*, marks: tuple[str, ...] = ()) -> Tokenizer:
    """One token for each of the 256 bytes, so that nothing is unknown.

    marks: tokens that no text has, before the others.
    """
    first = len(marks)

    def encode(text: str) -> np.ndarray:
        return np.frombuffer(text.encode(), np.uint8).astype(np.int32) + np.int32(first)

    def decode(ids: Iterable[int]) -> str:
        return bytes(i - first for i in ids if i >= first).decode(errors='replace')

    return Tokenizer((*marks, *map(chr, range(256))), encode, decode)


def words(
    texts: Iterable[str],
    *,
    marks: tuple[str, ...] = (),
    size: int | None = None,
    least: int = 1,
    lower: bool = True,
) -> Tokenizer:
    """One token for each word or sign of these texts, the commonest first.

    marks: tokens that no text has, before the others.
    size: so many of the commonest words; None: all.
    least: times that a word must occur.
    lower: whether capitals are small letters.
    """

    def cut(text: str) -> list[str]:
        return WORD.findall(text.lower() if lower else text)

    counts = collections.Counter(word for text in texts for word in cut(text))
    common = sorted(counts, key=lambda word: (-counts[word], word))[:size]
    vocab = (*marks, *(word for word in common if counts[word] >= least), UNSEEN)
    ids = {word: i for i, word in enumerate(vocab) if i >= len(marks)}

    def encode(text: str) -> np.ndarray:
        return np.array([ids.get(word, len(vocab) - 1) for word in cut(text)], np.int32)

    return Tokenizer(vocab, encode, functools.partial(joined, vocab, len(marks), ' '))


def points(text: str) -> np.ndarray:
    """The code points of a text, uint32 [T]."""
    return np.frombuffer(text.encode('utf-32-le'), np.uint32)


def joined(vocab: tuple[str, ...], first: int, space: str, ids: Iterable[int]) -> str:
    """The strings of ids from `first` on, those before are marks."""
    return space.join(vocab[i] for i in ids if i >= first)


def padded(texts: Sequence[np.ndarray], length: int) -> Rows:
    """Ids of each text -> `text` int32 [N, length], PAD behind it, and `text_length` int32 [N].

    What is longer loses its end.
    """
    rows = np.full((len(texts), length), PAD, np.int32)
    lengths = np.array([min(len(ids), length) for ids in texts], np.int32)
    for row, ids, n in zip(rows, texts, lengths):
        row[:n] = ids[:n]
    return {'text': rows, 'text_length': lengths}


def captions(tokenizer: Tokenizer, texts: Sequence[str], *, length: int) -> Rows:
    """`text` and `text_length` of texts between START and END; what is longer loses words, not END.

    The tokenizer's vocabulary begins with MARKS.
    """
    if tokenizer.vocab[:3] != MARKS or length < 3:
        raise Mistake(f'captions need marks={MARKS} and a length from 3; length={length}')
    ids = [tokenizer.encode(text)[: length - 2] for text in texts]
    return padded([np.concatenate([[START], i, [END]]) for i in ids], length)


def packed(texts: Sequence[np.ndarray], length: int) -> Rows:
    """Ids of many texts -> few rows that hold several each, none of them cut that fits into a row.

    x int32 [R, length]: texts one behind the other, then PAD.
    segment int32 [R, length]: which text of its row a token is of, from 1; 0 behind the last.
    mask float32 [R, length]: 1 where a token can be predicted: not the first one of its text.

    A text longer than a row is cut into pieces, and each is a text. The longest are placed first,
    each in the fullest row that has room, of equals in the first.
    """
    if length < 1:
        raise Mistake(f'rows of length={length}; type a number from 1')
    pieces = [ids[i : i + length] for ids in texts for i in range(0, len(ids), length)]
    rows: list[list[np.ndarray]] = []
    room: dict[int, list[int]] = collections.defaultdict(list)  # free places -> rows, in order
    for piece in sorted(pieces, key=len, reverse=True):  # stable: of equals the first one first
        free = next((n for n in range(len(piece), length) if room[n]), None)
        if free is None:
            row, free = len(rows), length
            rows.append([])
        else:
            row = room[free].pop(0)
        rows[row].append(piece)
        room[free - len(piece)] = sorted([*room[free - len(piece)], row])
    x = np.full((len(rows), length), PAD, np.int32)
    segment, mask = np.zeros_like(x), np.zeros(x.shape, np.float32)
    for r, row in enumerate(rows):
        at = 0
        for number, piece in enumerate(row, 1):
            end = at + len(piece)
            x[r, at:end], segment[r, at:end], mask[r, at + 1 : end] = piece, number, 1
            at = end
    return {'x': x, 'segment': segment, 'mask': mask}
