"""The order of the examples and the thread that delivers them."""

import itertools
import threading
import time

import numpy as np
import pytest

from ssljax.data.batches import Batches, batch_rows, order
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


TWO = Split(23, None, domains=(ECHO, Split(7, lambda index: {'y': -index})))


def streamed(split):
    """The split read through a stream alone, which asks for three batches ahead."""

    def stream(indices):
        ahead = [index for index in itertools.islice(indices, 3)]
        while ahead:
            yield split.rows(ahead.pop(0))
            ahead.extend(itertools.islice(indices, 1))

    return Split(split.count, None, stream)


@pytest.mark.parametrize('hosts', [1, 2, 3, 16])
@pytest.mark.parametrize('how', ['rows', 'stream', 'two domains', 'two streams'])
def test_processes_make_their_own_rows_of_the_global_batch(hosts, how):
    split = TWO if how.startswith('two') else ECHO
    if how == 'two streams':
        split = split._replace(domains=tuple(map(streamed, split.domains)))
    if how == 'stream':
        split = streamed(split)
    places = np.random.default_rng(hosts).permutation(16)  # of a mesh: any cut of the batch
    cuts, whole, parts = np.array_split(places, hosts), [], []
    with Batches(TWO if 'two' in how else ECHO, seed=1, batch=16, start=5, stop=9) as batches:
        whole = list(batches)
    for cut in cuts:
        with Batches(
            split, seed=1, batch=16, start=5, stop=9, mine=cut, place=lambda rows: [rows]
        ) as batches:
            parts.append([(k, rows) for k, (rows,) in batches])
        assert {len(v) for _, rows in parts[-1] for v in rows.values()} == {len(cut)}
    for at, (k, rows) in enumerate(whole):
        np.testing.assert_array_equal(rows['index'], order(1, k, 16, 23))
        for name, values in rows.items():
            union = np.empty_like(values)
            for cut, part in zip(cuts, parts, strict=True):
                assert part[at][0] == k
                union[cut] = part[at][1][name]
            np.testing.assert_array_equal(union, values, err_msg=name)


def test_two_domains_each_walk_their_own_permutations():
    def by_hand(number, count):  # one permutation of a domain, from the bits of its key
        bits = np.random.Philox(key=np.array([3, number], np.uint64)).random_raw(count)
        return sorted(range(count), key=lambda i: bits[i])

    with Batches(TWO, seed=3, batch=5, stop=12) as batches:
        found = [rows for _, rows in batches]
    walks = {name: np.concatenate([r[name] for r in found]) for name in ('index', 'index_y')}
    for name, count, first in (('index', 23, 0), ('index_y', 7, 2**48)):
        epochs = [by_hand(first + e, count) for e in range(60 // count + 1)]
        np.testing.assert_array_equal(walks[name], np.concatenate(epochs)[:60])
        for epoch in range(60 // count):  # no row twice before all have been seen
            assert len(set(walks[name][epoch * count : (epoch + 1) * count])) == count
    np.testing.assert_array_equal(np.concatenate([r['x'] for r in found]), walks['index'] * 10)
    np.testing.assert_array_equal(np.concatenate([r['y'] for r in found]), -walks['index_y'])
    assert found[0]['index_y'].dtype == np.int32


def test_rows_that_two_files_have_in_pairs_are_not_met_in_pairs():
    twins = Split(500, None, domains=(Split(500, ECHO.rows), Split(500, lambda i: {'y': i})))
    rows = batch_rows(twins, seed=0, k=0, batch=500)
    assert (rows['index'] == rows['index_y']).sum() < 8  # about one by chance


def test_a_batch_at_once_is_the_one_that_is_delivered():
    for split in (ECHO, TWO):
        with Batches(split, seed=4, batch=6, start=10**9, mine=np.array([5, 0])) as batches:
            k, rows = next(batches)
        at_once = batch_rows(split, seed=4, k=k, batch=6, mine=np.array([5, 0]))
        assert rows.keys() == at_once.keys()
        for name in rows:
            np.testing.assert_array_equal(rows[name], at_once[name], strict=True)


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
    with pytest.raises(ValueError, match='outside of a batch of 16'):
        Batches(ECHO, seed=0, batch=16, mine=np.array([3, 16]))
    empty = Split(0, ECHO.rows)
    for split in (empty, ECHO._replace(domains=(ECHO, empty))):
        with pytest.raises(Mistake, match='no rows'):
            Batches(split, seed=0, batch=4)
