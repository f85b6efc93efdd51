"""Text as windows of tokens: training windows start anywhere, each other token is scored once."""

import gzip
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from ssljax.data.source import Rows, Source, Split, fingerprint
from ssljax.data.tokens import characters
from ssljax.kinds import Natural, Range, Share
from ssljax.names import Mistake, choose

Symbols = Literal['characters', 'bytes']
Length = Annotated[int, Range(2)]  # of a window


def text(
    *,
    path: str = '',
    symbols: Symbols = 'characters',
    length: Length = 129,
    stride: Natural = 0,
    validation: Natural = 0,
    test: Share = 0.1,
) -> Source:
    """Any UTF-8 file, or .gz of one, as windows of tokens.

    path: the file.
    symbols: what a token is, 'characters' or 'bytes'.
    length: tokens of a window.
    stride: new tokens that a window of validation or test scores; 0: half of its predictions.
    validation: symbols before the test part that are the validation split; 0: none.
    test: the last part of the text, from 0 to below 1, that is the test split.
    """
    if not path:
        raise Mistake('text: no file named; type name=text:PATH')
    file = Path(path).expanduser()
    if not file.is_file():
        raise Mistake(f'text: no file {file}; type the path of a text file')
    with (gzip.open if file.suffix == '.gz' else open)(file, 'rb') as handle:
        raw = handle.read()
    window = dict(length=length, stride=stride, validation=validation, test=test)
    return _windows(f'text:{file.name}', raw, symbols=symbols, **window)


def python_text(
    *,
    symbols: Symbols = 'characters',
    length: Length = 129,
    stride: Natural = 0,
    validation: Natural = 0,
    test: Share = 0.1,
) -> Source:
    """The English prose that ships with Python, its help topics. It differs between versions.

    symbols: what a token is, 'characters' or 'bytes'.
    length: tokens of a window.
    stride: new tokens that a window of validation or test scores; 0: half of its predictions.
    validation: symbols before the test part that are the validation split; 0: none.
    test: the last part of the text, from 0 to below 1, that is the test split.
    """
    from pydoc_data.topics import topics

    raw = '\n'.join(topics[name] for name in sorted(topics)).encode()
    window = dict(length=length, stride=stride, validation=validation, test=test)
    return _windows('python_text', raw, symbols=symbols, **window)


def shakespeare(
    *,
    dir: str = '',
    symbols: Symbols = 'characters',
    length: Length = 129,
    stride: Natural = 0,
    validation: Natural = 0,
    test: Share = 0.1,
) -> Source:
    """tiny_shakespeare, its three parts joined: first 90 % train, last 10 % test, as usual.

    Karpathy 2015, github.com/karpathy/char-rnn.

    dir: where the data sets of TFDS are (empty: TFDS_DATA_DIR, else ~/tensorflow_datasets).
    symbols: what a token is, 'characters' or 'bytes'.
    length: tokens of a window.
    stride: new tokens that a window of validation or test scores; 0: half of its predictions.
    validation: symbols before the test part that are the validation split; 0: none.
    test: the last part of the text, from 0 to below 1, that is the test split.
    """
    from ssljax.data.records import records

    features, parts = records('tiny_shakespeare', dir)
    whole = [
        features.deserialize_example_np(parts[name].raw(np.array([0]))[0])['text']
        for name in ('train', 'validation', 'test')
    ]
    window = dict(length=length, stride=stride, validation=validation, test=test)
    return _windows('shakespeare', b''.join(whole), symbols=symbols, **window)


def _windows(
    name: str,
    raw: bytes,
    *,
    symbols: str,
    length: int,
    stride: int,
    validation: int,
    test: float,
) -> Source:
    """The windows of one text: x int32 [length]; in validation and test also mask float32 [length].

    train, `validation` symbols, test follow each other in the text. Next-token prediction reads
    x[:-1] and predicts x[1:]; mask is 1 where a window scores the token. A window scores `stride`
    new tokens (0: half of its predictions); those before them, from the split before if need be,
    are context. So every token of a split is scored once, in a window of full length.
    """
    ids, vocab, cut = ids_of(name, raw, symbols, validation, test)
    stride = stride or (length - 1) // 2
    if not 2 <= length <= cut[0]:
        raise Mistake(f'{name}: length={length}; type a number from 2 to {cut[0]}')
    if not 1 <= stride < length:
        raise Mistake(
            f'{name}: stride={stride}; type a number from 1 to {length - 1}, as the first token of'
            f' a window of {length} has no context'
        )
    span = np.arange(length)

    def windows(index: np.ndarray) -> Rows:
        return {'x': ids[index[:, None] + span]}

    def scored(first: int, end: int) -> Split:
        def rows(index: np.ndarray) -> Rows:
            low = first + index * stride
            high = np.minimum(low + stride, end)
            positions = high[:, None] - length + span  # [B, length]
            return {'x': ids[positions], 'mask': (positions >= low[:, None]).astype(np.float32)}

        return Split(-((first - end) // stride), rows)

    splits = {'train': Split(cut[0] - length + 1, windows)}
    if validation:
        splits['validation'] = scored(cut[0], cut[1])
    if cut[1] < len(ids):
        splits['test'] = scored(cut[1], len(ids))
    options = (symbols, length, stride, validation, test)
    return Source(name, splits, fingerprint('text 1', raw, options), vocab=vocab)


def ids_of(
    name: str, raw: bytes, symbols: str, validation: int, test: float
) -> tuple[np.ndarray, tuple[str, ...], tuple[int, int]]:
    """Text -> ids int32 [N], the string of each id, and where train and validation end.

    The vocabulary is the sorted characters of train. If a later split has others, they share one
    more id, UNSEEN: a model can only learn that it is rare. Bytes are always 256.
    """
    if choose(symbols, ('characters', 'bytes'), 'symbols') == 'bytes':
        whole = np.frombuffer(raw, np.uint8).astype(np.int32)
    else:
        try:
            whole = raw.decode('utf-8')
        except UnicodeDecodeError as error:
            raise Mistake(f'{name}: not UTF-8 at byte {error.start}; type symbols=bytes') from error
    if not 0 <= test < 1:
        raise Mistake(f'{name}: test={test}; type a part of the text, from 0 to below 1')
    end = int(len(whole) * (1 - test))
    if not 0 <= validation < end:
        raise Mistake(f'{name}: validation={validation}; type a number of symbols below {end}')
    cut = (end - validation, end)
    if symbols == 'bytes':
        return whole, tuple(map(chr, range(256))), cut
    vocab, encode, _ = characters([whole[: cut[0]]])
    ids = encode(whole)
    return ids, vocab[: ids.max() + 1], cut  # without UNSEEN where nothing is
