"""The order of the examples and the thread that delivers them."""

import threading
import time

import numpy as np
import pytest

from ssljax.data.batches import Batches, order
from ssljax.data.source import Split
from ssljax.names import Mistake

ECHO = Split(23, lambda index: {'x': index * 10})


@pytest.mark.parametrize('count, batch', [(23, 5), (23, 23), (5, 12), (40, 8), (1, 3)])
def test_every_epoch_is_a_permutation(count, batch):
    whole = np.concatenate([order(7, k, batch, count) for k in range(3 * count)])
    epochs = whole[: len(whole) // count * count].reshape(-1, count)
    np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(count), (len(epochs), 1)))
    if count > 20:
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)
        assert (order(8, 0, batch, count) != order(7, 0, batch, count)).any()


def test_permutations_are_fair():
    first = np.array([order(seed, 0, 6, 6) for seed in range(3000)])
    counts = np.stack([np.bincount(column, minlength=6) for column in first.T])
    assert ((counts - 500) ** 2 / 500).sum() < 50  # about chi2 of 25


@pytest.mark.parametrize('hosts', [1, 2, 4, 8])
def test_hosts_share_the_global_batch(hosts):
    where = [dict(process_index=h, process_count=hosts) for h in range(hosts)]
    for k in (0, 3, 1000):
        parts = [order(1, k, 16, 50, **w) for w in where]
        np.testing.assert_array_equal(np.concatenate(parts), order(1, k, 16, 50))
        assert {len(part) for part in parts} == {16 // hosts}


def test_a_far_batch_costs_what_a_near_one_does():
    def seconds(k):
        began = time.perf_counter()
        order(k, k, 256, 100_000)  # the seed differs: nothing is remembered
        return time.perf_counter() - began

    near = min(seconds(k) for k in range(3))
    assert min(seconds(10**12 + k) for k in range(3)) < 5 * near + 0.01


@pytest.mark.parametrize('start', [0, 3])
def test_batches_come_in_order_with_their_index(start):
    with Batches(ECHO, seed=2, batch=4, start=start, stop=9) as batches:
        found = list(batches)
        with pytest.raises(StopIteration):
            next(batches)
    assert [k for k, _ in found] == list(range(start, 9))
    for k, rows in found:
        np.testing.assert_array_equal(rows['index'], order(2, k, 4, 23))
        np.testing.assert_array_equal(rows['x'], rows['index'] * 10)
        assert rows['index'].dtype == np.int32
    assert not batches.thread.is_alive()


def test_two_are_made_ahead_and_no_more():
    made = []
    split = Split(23, lambda index: made.append(0) or {'x': index})
    with Batches(split, seed=0, batch=4, ahead=2) as batches:
        for used in range(4):
            for _ in range(100):
                if len(made) == used + 2:
                    break
                time.sleep(0.01)
            time.sleep(0.02)
            assert len(made) == used + 2
            next(batches)


def test_a_stream_is_read_where_there_is_one():
    def stream(indices):
        for index in indices:
            yield {'x': index * 10, 'read': np.ones(len(index))}

    with Batches(ECHO._replace(stream=stream), seed=2, batch=4, start=5, stop=9) as batches:
        for k, rows in batches:
            np.testing.assert_array_equal(rows['x'], order(2, k, 4, 23) * 10)
            assert rows['read'].all()


def test_a_stream_that_ends_early_is_an_error():
    split = ECHO._replace(stream=lambda indices: iter([{'x': np.zeros(4)}]))
    with Batches(split, seed=2, batch=4, stop=3) as batches:
        next(batches)
        with pytest.raises(RuntimeError, match='before batch 1'):
            next(batches)


def test_errors_of_the_thread_reach_the_caller():
    def rows(index):
        if 7 in index:
            raise KeyError('seven')
        return {'x': index}

    with Batches(Split(10, rows), seed=0, batch=2) as batches:
        for _ in range(2):
            with pytest.raises(KeyError, match='seven'):
                for _, batch in batches:
                    assert 7 not in batch['x']
    failing = Batches(ECHO, seed=0, batch=2, place=lambda rows: 1 / 0)
    with failing, pytest.raises(ZeroDivisionError):
        next(failing)


def test_closing_ends_the_thread_and_waiting_is_measured():
    slow = Split(23, lambda index: time.sleep(0.05) or {'x': index})
    before = threading.active_count()
    with Batches(slow, seed=0, batch=4) as batches:
        next(batches)
        assert 0.03 < batches.waited < 5
    assert threading.active_count() == before
    with pytest.raises(ValueError, match='closed'):
        next(batches)


def test_mistakes():
    with pytest.raises(Mistake, match='multiple of 3'):
        order(0, 0, 16, 50, process_count=3)
    with pytest.raises(Mistake, match='multiple of 3'):
        Batches(ECHO, seed=0, batch=16, process_count=3)
    with pytest.raises(Mistake, match='no rows'):
        Batches(Split(0, ECHO.rows), seed=0, batch=4)
