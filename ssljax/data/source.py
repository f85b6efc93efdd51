"""What a source of data is, and what sources share: selections, host memory, counted draws."""

import collections
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.names import Mistake

Rows = dict[str, np.ndarray]
SPLITS = ('train', 'validation', 'test')


class Split(NamedTuple):
    """Random access to rows, and for sets larger than host memory a stream of them.

    Two unpaired domains are two splits, each trained on in an order of its own. Then `count` is
    that of the first, and `rows` gives pairs, for evaluation.
    """

    count: int
    rows: Callable[[np.ndarray], Rows]  # indices [B] -> host arrays [B, ...]
    stream: Callable[[Iterator[np.ndarray]], Iterator[Rows]] | None = None  # the same, read ahead
    domains: tuple['Split', ...] = ()  # empty: the split itself is the only one


class Source(NamedTuple):
    """A data set: its splits and what must stay equal when a run is resumed."""

    name: str
    splits: dict[str, Split]
    fingerprint: str
    classes: int = 0
    class_names: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ()  # token id -> string, of x or of `text` beside x
    decoder: str = ''  # what decoded the pixels
    tokens: Callable[[Sequence[str]], Rows] | None = None  # texts -> `text`, `text_length` of rows
    log_density: Callable[[np.ndarray], np.ndarray] | None = None  # x -> its true log p, if known
    words: tuple[str, ...] = ()  # those that its texts may have, if known: a dictionary


def of_tokens(source: Source) -> bool:
    """Whether x itself is text: a vocabulary may also be that of captions."""
    some = next(iter(source.splits.values()))
    x = some.rows(np.arange(1))['x'] if source.vocab else np.zeros(0)
    return x.dtype.kind in 'iu' and x.dtype != np.uint8


def entries(source: Source) -> Rows:
    """The first training row of a source, as a batch of one."""
    return source.splits['train'].rows(np.arange(1))


def select(split: Split, index: np.ndarray) -> Split:
    """The rows of a split that `index` names, renumbered from 0."""
    stream = split.stream and (lambda indices: split.stream(index[i] for i in indices))
    domains = split.domains and (select(split.domains[0], index), *split.domains[1:])
    return Split(len(index), lambda i: split.rows(index[i]), stream, domains)


def mapped(split: Split, change: Callable[[np.ndarray, Rows], Rows]) -> Split:
    """The split whose rows are change(index, rows); of two domains, the first is changed."""

    def stream(indices: Iterator[np.ndarray]) -> Iterator[Rows]:
        asked: collections.deque = collections.deque()  # a stream reads ahead, in another thread

        def noted() -> Iterator[np.ndarray]:
            for index in indices:
                asked.append(index)
                yield index

        for rows in split.stream(noted()):
            yield change(asked.popleft(), rows)

    domains = split.domains and (mapped(split.domains[0], change), *split.domains[1:])
    rows = lambda index: change(index, split.rows(index))  # noqa: E731
    return Split(split.count, rows, split.stream and stream, domains)


def hold_out(split: Split, count: int, name: str = 'validation') -> tuple[Split, Split]:
    """Splits `count` rows off the end of a fixed permutation: (what stays, what is held out)."""
    if not 0 < count < split.count:
        raise Mistake(
            f'{name}={count} rows cannot be held out of {split.count};'
            f' type a number between 1 and {split.count - 1}'
        )
    order = permutation(0, 0, split.count)
    return select(split, order[:-count]), select(split, order[-count:])


def held(split: Split) -> Split:
    """The same rows, each made at its first use and then kept in host memory."""
    store: Rows = {}
    done = np.zeros(split.count, bool)
    lock = threading.Lock()  # the prefetching thread and an evaluator may ask at once

    def rows(index: np.ndarray) -> Rows:
        with lock:
            missing = np.unique(index[~done[index]])
            if len(missing) or not store:
                for name, new in split.rows(missing).items():
                    if name not in store:
                        store[name] = np.empty((split.count, *new.shape[1:]), new.dtype)
                    store[name][missing] = new
                done[missing] = True
        return {name: values[index] for name, values in store.items()}

    return Split(split.count, rows)


def made(
    counts: Mapping[str, int], make: Callable[[str, np.ndarray], Rows], *, draws: int, size: int
) -> dict[str, Split]:
    """The splits of a source that needs no file: make(split, index) -> rows, for few at a time.

    draws, size: random words for a row, which take memory while it is made, and its bytes.
    """
    at_once = max(1, 2**20 // draws)

    def split(name: str) -> Split:
        def rows(index: np.ndarray) -> Rows:
            starts = range(0, max(len(index), 1), at_once)
            parts = [make(name, index[start : start + at_once]) for start in starts]
            return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

        plain = Split(counts[name], rows)
        return held(plain) if counts[name] * size < 2**30 else plain

    return {name: split(name) for name in SPLITS if counts.get(name)}


def fingerprint(*parts: Any) -> str:
    """A hash of bytes, arrays and plain values; it changes when any of them does."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f'{part.dtype}{part.shape}'.encode())
            part = np.ascontiguousarray(part).tobytes()
        part = part if isinstance(part, bytes) else repr(part).encode()
        total.update(len(part).to_bytes(8, 'little') + part)
    return total.hexdigest()


def permutation(seed: int, number: int, count: int) -> np.ndarray:
    """Permutation `number` of seed `seed`, int64 [count]."""
    # Sorted raw bits: Generator.permutation may change between numpy versions, Philox may not.
    key = np.array([seed % 2**64, number], np.uint64)
    return np.argsort(np.random.Philox(key=key).random_raw(count), kind='stable')


def draws(seed: int, stream: int, index: np.ndarray, n: int) -> np.ndarray:
    """n random words for each row, uint64 [B, n]: a pure function of (seed, stream, index).

    SplitMix64 started at a hash of the three. Steele et al. 2014, doi:10.1145/2660193.2660195.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over='ignore'):
        start = mix(np.array([seed % 2**64], np.uint64) + golden)
        start = mix(mix(start + np.uint64(stream) + golden) + np.asarray(index).astype(np.uint64))
        return mix(start[:, None] + golden * np.arange(1, n + 1, dtype=np.uint64))


def mix(z: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer: uint64 -> uint64, one to one."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(words: np.ndarray, low: Any = 0.0, high: Any = 1.0) -> np.ndarray:
    """Words -> float64 in [low, high)."""
    return low + (high - low) * ((words >> np.uint64(11)) * 2.0**-53)


def normal(words: np.ndarray) -> np.ndarray:
    """Words -> float32 standard normals, one a word (Box-Muller on its two halves)."""
    first = (((words >> np.uint64(32)) + np.uint64(1)) * 2.0**-32).astype(np.float32)  # (0, 1]
    second = ((words & np.uint64(0xFFFFFFFF)) * (2 * np.pi * 2.0**-32)).astype(np.float32)
    return np.sqrt(-2 * np.log(first)) * np.cos(second)
