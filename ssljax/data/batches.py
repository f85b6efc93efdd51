"""The order of the examples and their delivery: batch k is a pure function of (seed, k)."""

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ssljax.data.source import Rows, Split, permutation
from ssljax.names import Mistake

INDEX = ('index', 'index_y')  # the entry with the indices of each domain
DOMAIN = 2**48  # permutations apart: no domain reaches those of the next

# a batch may straddle two epochs of each domain, and an evaluator may walk its own
epoch_order = functools.lru_cache(maxsize=8)(permutation)


def order(seed: int, k: int, batch: int, count: int, *, domain: int = 0) -> np.ndarray:
    """Indices of all rows of batch k, int64 [batch]; each epoch is a permutation of `count` rows.

    Each domain has permutations of its own: rows that are paired in two files are not met in pairs.
    """
    positions = k * batch + np.arange(batch)
    epochs, within = np.divmod(positions, count)
    index = np.empty(batch, np.int64)
    for epoch in np.unique(epochs):
        now = epochs == epoch
        index[now] = epoch_order(seed, domain * DOMAIN + int(epoch), count)[within[now]]
    return index


def domains(split: Split) -> dict[str, Split]:
    """What walks an order of its own, by the entry that its indices have in a batch."""
    return dict(zip(INDEX, split.domains or (split,)))


def indices(
    split: Split, seed: int, k: int, batch: int, mine: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """The rows of batch k, or those at the positions `mine` in it, of each domain."""
    by_domain = {}
    for domain, (name, part) in enumerate(domains(split).items()):
        index = order(seed, k, batch, part.count, domain=domain)
        by_domain[name] = index if mine is None else index[mine]
    return by_domain


def batch_rows(
    split: Split, *, seed: int, k: int, batch: int, mine: np.ndarray | None = None
) -> Rows:
    """Rows of one batch, made at once: the same as those that Batches delivers.

    seed: of the order of the rows.
    k: number of the batch, from 0.
    batch: rows of the global batch.
    mine: positions in the global batch of the rows to make; None: all.
    """
    index = indices(split, seed, k, batch, mine)
    return joined(index, (part.rows(index[name]) for name, part in domains(split).items()))


def joined(index: dict[str, np.ndarray], parts: Iterable[Rows]) -> Rows:
    """One batch from the rows of each domain, with their indices."""
    rows: Rows = {}
    for part in parts:
        rows |= part
    return rows | {name: values.astype(np.int32) for name, values in index.items()}


class Batches:
    """Iterates over (k, place(rows of batch k)) from `start`, made in a thread `ahead` of the use.

    mine: the positions in the global batch of the rows that this process makes; None: all.
    Holds a thread: use it in a `with`, or close it. `waited` counts the seconds the caller waited.
    """

    def __init__(
        self,
        split: Split,
        *,
        seed: int,
        batch: int,
        start: int = 0,
        stop: int | None = None,
        place: Callable[[Rows], Any] = lambda rows: rows,
        ahead: int = 2,
        mine: np.ndarray | None = None,
    ):
        if min(part.count for part in domains(split).values()) < 1:
            raise Mistake('the split has no rows; type another data set or a smaller validation')
        if mine is not None and not ((0 <= mine) & (mine < batch)).all():
            raise ValueError(f'mine has positions {mine} outside of a batch of {batch} rows')
        self.waited = 0.0
        self.closed = threading.Event()
        self.room = threading.Semaphore(ahead)  # counts batches, so that exactly `ahead` are held
        self.ready: queue.SimpleQueue = queue.SimpleQueue()
        self.over: BaseException | None = None
        index = functools.partial(indices, split, seed, batch=batch, mine=mine)
        work = (split, index, start, stop, place)
        self.thread = threading.Thread(target=self.fill, args=work, daemon=True)
        self.thread.start()

    def fill(self, split, index, start, stop, place) -> None:
        def steps() -> Iterator[int]:
            k = start
            while stop is None or k < stop:
                yield k
                k += 1

        def walk(name: str) -> Iterator[np.ndarray]:
            for k in steps():
                yield index(k=k)[name]

        parts, streams = domains(split), {}

        def rows(name: str, now: dict[str, np.ndarray], k: int) -> Rows:
            if name not in streams:
                return parts[name].rows(now[name])
            batch = next(streams[name], None)
            if batch is None:  # a bare StopIteration would pass for the end of the run
                raise RuntimeError(f'the stream of rows ended before batch {k}')
            return batch

        try:
            for name, part in parts.items():
                if part.stream:
                    streams[name] = part.stream(walk(name))
            for k in steps():
                self.room.acquire()
                if self.closed.is_set():
                    return
                now = index(k=k)
                self.ready.put((k, place(joined(now, [rows(name, now, k) for name in parts]))))
            self.ready.put(StopIteration())
        except BaseException as error:  # whatever ends the thread belongs to the caller
            self.ready.put(error)
        finally:
            for stream in streams.values():
                if hasattr(stream, 'close'):
                    stream.close()

    def __iter__(self) -> 'Batches':
        return self

    def __next__(self) -> tuple[int, Any]:
        if self.closed.is_set():
            raise ValueError('these batches are closed')
        if self.over is not None:
            raise self.over
        began = time.perf_counter()
        item = self.ready.get()
        self.waited += time.perf_counter() - began
        if isinstance(item, BaseException):
            self.over = item
            raise item
        self.room.release()
        return item

    def close(self) -> None:
        """Ends the thread; what it had prepared is dropped."""
        self.closed.set()
        self.room.release()
        self.thread.join()

    def __enter__(self) -> 'Batches':
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
