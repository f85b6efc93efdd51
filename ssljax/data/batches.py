"""The order of the examples and their delivery: batch k is a pure function of (seed, k)."""

import functools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ssljax.data.source import Rows, Split, permutation
from ssljax.names import Mistake

epoch_order = functools.lru_cache(maxsize=4)(permutation)  # a batch may straddle two epochs


def order(
    seed: int, k: int, batch: int, count: int, *, process_index: int = 0, process_count: int = 1
) -> np.ndarray:
    """Indices of batch k, int64 [batch] (or this process's slice); each epoch is a permutation."""
    if batch % process_count:
        raise Mistake(
            f'a batch of {batch} cannot be shared by {process_count} processes;'
            f' type a multiple of {process_count}'
        )
    share = batch // process_count
    place = k * batch + process_index * share + np.arange(share)
    epochs, within = np.divmod(place, count)
    index = np.empty(share, np.int64)
    for epoch in np.unique(epochs):
        now = epochs == epoch
        index[now] = epoch_order(seed, int(epoch), count)[within[now]]
    return index


class Batches:
    """Iterates over (k, place(rows of batch k)) from `start`, made in a thread `ahead` of the use.

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
        process_index: int = 0,
        process_count: int = 1,
    ):
        if split.count < 1:
            raise Mistake('the split has no rows; type another data set or a smaller validation')
        self.waited = 0.0
        self.closed = threading.Event()
        self.room = threading.Semaphore(ahead)  # counts batches, so that exactly `ahead` are held
        self.ready: queue.SimpleQueue = queue.SimpleQueue()
        self.over: BaseException | None = None

        def index(k: int) -> np.ndarray:
            where = dict(process_index=process_index, process_count=process_count)
            return order(seed, k, batch, split.count, **where)

        index(start)  # a mistake shows here, not in the thread
        work = (split, index, start, stop, place)
        self.thread = threading.Thread(target=self.fill, args=work, daemon=True)
        self.thread.start()

    def fill(self, split, index, start, stop, place) -> None:
        def steps() -> Iterator[int]:
            k = start
            while stop is None or k < stop:
                yield k
                k += 1

        stream = None
        try:
            if split.stream:
                stream = split.stream(index(k) for k in steps())
            for k in steps():
                self.room.acquire()
                if self.closed.is_set():
                    return
                rows = next(stream, None) if stream else split.rows(index(k))
                if rows is None:  # a bare StopIteration would pass for the end of the run
                    raise RuntimeError(f'the stream of rows ended before batch {k}')
                self.ready.put((k, place({**rows, 'index': index(k).astype(np.int32)})))
            self.ready.put(StopIteration())
        except BaseException as error:  # whatever ends the thread belongs to the caller
            self.ready.put(error)
        finally:
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
