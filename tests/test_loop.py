"""The loop's own bookkeeping, fed with numbers that are known: what is logged, when, and over what.

The job is a toy whose step answers its own number, and the clock is ours: a step takes 2 seconds,
of which the host waits half a second for its batch.
"""

import contextlib
import io
import json
import signal
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import optax
import pytest
import tensorboardX

from ssljax import log, train, watch, written
from ssljax.log import Log
from ssljax.method import Method, Refresh, State, Turn, every

SECONDS, WAIT, BATCH = 2.0, 0.5, 8


class Clock:
    """Time that passes only in steps."""

    now = 100.0

    def perf_counter(self):
        return self.now

    def process_time(self):
        return 10 * self.now


class Batches(contextlib.AbstractContextManager):
    def __init__(self, start, steps, clock):
        self.start, self.steps, self.clock, self.waited = start, steps, clock, 0.0

    def __iter__(self):
        for i in range(self.start, self.steps):
            self.waited += WAIT
            yield i, {'x': jnp.full(BATCH, i)}

    def __exit__(self, *_):
        return None


class Checkpoints:
    """Saves every third step and the last."""

    def __init__(self):
        self.saved, self.closed = [], False

    def due(self, step, steps):
        return step % 3 == 0 or step == steps

    def save(self, state, settings):
        self.saved.append(int(state.step))

    def close(self):
        self.closed = True


@pytest.fixture
def run(tmp_path, monkeypatch):
    """(steps, start, turns, refresh, metrics, **options of the loop) -> what came of it."""

    def run(steps=7, start=0, metrics=None, refresh=None, turns=None, **options):
        clock, checkpoints, calls = Clock(), Checkpoints(), []
        monkeypatch.setattr(watch.time, 'perf_counter', clock.perf_counter)
        monkeypatch.setattr(watch.time, 'process_time', clock.process_time)
        turns = turns or {'net': Turn(None)}

        def step(state, batch, key, acting):
            i = int(state.step)
            assert int(batch['x'][0]) == i
            calls.append((i, acting))
            clock.now += SECONDS
            values = (
                metrics(i) if metrics else {f'{name}/loss': jnp.array(i * 1.0) for name in acting}
            )
            return state.replace(step=state.step + 1), values

        method = Method(init=None, turns=turns, refresh=refresh)
        job = SimpleNamespace(
            run=SimpleNamespace(steps=steps, batch=BATCH),
            method=method,
            config={},
            evals={},
            rates={name: (lambda i, k=k: 10 * k + i) for k, name in enumerate(turns, 1)},
            step=lambda: step,
            key=jax.random.key,
            optimizers={name: optax.sgd(0.1) for name in turns},
            placed=lambda state: state,
            sweep=lambda purpose: None,
            acting=lambda i: tuple(name for name, turn in turns.items() if turn.when(i)),
            batches=lambda first: Batches(first, steps, clock),
        )
        state = State(jnp.array(start), {}, {}, {})
        given = dict(every=3, evaluate=0, curve={}, tensorboard=False) | options
        state, done = train.loop(job, state, checkpoints, tmp_path, **given)
        lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
        return SimpleNamespace(
            lines=lines, calls=calls, saved=checkpoints.saved, done=done, state=state,
            closed=checkpoints.closed, clock=clock,
        )  # fmt: skip

    return run


def test_a_line_has_the_means_of_its_own_steps(run):
    """Of steps 0 to 2, 3 to 5, and 6, which is alone; numbered by the steps done."""
    found = run()
    assert [line['step'] for line in found.lines] == [3, 6, 7]
    assert [line['net/loss'] for line in found.lines] == [1.0, 4.0, 6.0]
    assert found.done and found.closed and int(found.state.step) == 7
    assert [i for i, _ in found.calls] == list(range(7))


def test_the_logged_rate_is_that_of_the_last_step_that_was_made(run):
    assert [line['net/learning_rate'] for line in run().lines] == [12, 15, 16]


def test_speed_waiting_and_time_left(run):
    for line, count in zip(run().lines, (3, 3, 1), strict=True):
        assert line['seconds'] == SECONDS * count
        assert line['cpu_seconds'] == 10 * SECONDS * count
        assert line['examples_per_second'] == BATCH / SECONDS
        assert line['waiting'] == WAIT / SECONDS
        assert line['seconds_left'] == SECONDS * (7 - line['step'])


def test_a_resumed_loop_goes_on_from_its_step(run):
    found = run(start=4)
    assert [i for i, _ in found.calls] == [4, 5, 6]
    assert [line['step'] for line in found.lines] == [6, 7]
    assert [line['net/loss'] for line in found.lines] == [4.5, 6.0]
    assert found.lines[0]['examples_per_second'] == BATCH / SECONDS
    assert found.lines[0]['seconds_left'] == SECONDS


def test_checkpoints_are_saved_when_due_and_once(run):
    assert run().saved == [3, 6, 7]
    assert run(steps=6).saved == [3, 6]


def test_a_turn_is_logged_over_the_steps_in_which_it_acts(run):
    """A turn that acts in every second step: its mean is over those, and it has its own rate."""
    turns = {'critic': Turn(None), 'generator': Turn(None, when=every(2, 1))}
    found = run(steps=6, turns=turns)
    assert [acting for _, acting in found.calls] == [('critic',), ('critic', 'generator')] * 3
    assert [line['critic/loss'] for line in found.lines] == [1.0, 4.0]
    assert [line['generator/loss'] for line in found.lines] == [1.0, 4.0]  # of 1; of 3 and 5
    # of the turns that act in the last step of the window
    assert 'generator/learning_rate' not in found.lines[0]
    assert found.lines[1]['generator/learning_rate'] == 25
    assert found.lines[1]['critic/learning_rate'] == 15


def test_a_refresh_comes_before_its_step_and_is_a_line(run):
    order = []

    def rule(key, state, sweep):
        order.append(int(state.step))
        return state, {'agreement': 0.5, 'drawn': jax.random.uniform(key)}

    found = run(steps=4, refresh=Refresh(rule, every(2)), metrics=lambda i: order.append(i) or {})
    assert order == [0, 0, 1, 2, 2, 3]
    events = [line for line in found.lines if 'agreement' in line]
    assert (
        [line['step'] for line in events]
        == [0, 2]
        == [line['step'] for line in found.lines if 'refresh' in line]
    )
    assert events[0]['drawn'] != events[1]['drawn']  # each has a key of its own


def test_a_loss_that_is_not_finite_names_its_step(run):
    bad = lambda i: {'net/loss': jnp.array(jnp.nan if i == 4 else 1.0)}  # noqa: E731
    with pytest.raises(watch.Diverged, match='net/loss is nan at step 5'):
        run(metrics=bad)


def test_points_of_a_curve_are_no_training_time(run, monkeypatch):
    seen = []

    def point(job, state, step, curve, log):
        seen.append((step, curve))
        watch.time.perf_counter.__self__.now += 1000

    monkeypatch.setattr(train, 'point', point)
    found = run(steps=8, every=4, evaluate=4, curve={'knn': {'k': 1}})
    assert seen == [(4, {'knn': {'k': 1}}), (8, {'knn': {'k': 1}})]
    assert [line['examples_per_second'] for line in found.lines] == [BATCH / SECONDS] * 2


def test_a_signal_ends_the_run_after_the_step_with_line_and_checkpoint(run, monkeypatch):
    monkeypatch.setattr(watch.Preemption, 'agreed', lambda self, step, **_: step == 5)
    found = run()
    assert not found.done and int(found.state.step) == 5
    assert found.saved == [3, 5] and [line['step'] for line in found.lines] == [3, 5]
    assert [line['net/loss'] for line in found.lines] == [1.0, 3.5]


def test_a_refresh_that_comes_again_after_a_resume_stands_once(run):
    """Killed after the refresh before step 4, whose step was saved."""
    rule = Refresh(lambda key, state, sweep: (state, {'agreement': 0.5}), every(2))
    whole = run(steps=6, refresh=rule)
    again = run(steps=6, start=4, refresh=rule)
    places = [line['step'] for line in whole.lines]
    assert places == [0, 2, 3, 4, 6]
    assert [line['step'] for line in again.lines] == places
    assert ['refresh' in line for line in again.lines] == [
        'refresh' in line for line in whole.lines
    ]


def test_a_point_of_the_curve_that_a_kill_has_lost_is_made_up_for(run, monkeypatch):
    """A save comes before the point of its step, since a signal may leave time for no more."""
    seen = []

    def point(job, state, step, curve, log):
        seen.append((step, int(state.step)))
        log.scalars(step, {'knn/accuracy': 0.5, 'curve/seconds': 1.0})

    monkeypatch.setattr(train, 'point', point)
    run(steps=6, evaluate=3)
    assert seen == [(3, 3), (6, 6)]
    run(steps=6, start=3, evaluate=3)  # it stands there
    assert seen == [(3, 3), (6, 6), (6, 6)]
    run(steps=6, start=2, evaluate=3)
    assert seen[3:] == [(3, 3), (6, 6)]
    real = log.before
    monkeypatch.setattr(log, 'before', lambda *_: [one for one in real(*_) if 'knn' not in one[0]])
    run(steps=6, start=3, evaluate=3)
    assert seen[5:] == [(3, 3), (6, 6)]


def test_a_signal_while_the_last_step_is_saved_is_obeyed_and_the_save_ends(run, monkeypatch):
    """Also a second one."""

    def close(self):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(number)
        self.closed = True

    monkeypatch.setattr(Checkpoints, 'close', close)
    found = run()
    assert not found.done and found.closed and found.saved == [3, 6, 7]


def test_metrics_are_read_while_they_are_written_and_after_a_crash(tmp_path, capsys):
    path = tmp_path / 'metrics.jsonl'
    assert written.metrics(tmp_path) == [] == log.before(path, 4)
    good = '{"step": 1, "net/loss": 0.5}'
    path.write_bytes(f'{good}\n'.encode() + b'\x00\xff\x00\nnull\n[]\n{"loss": 1}\n{"step": 2, "ne')
    assert written.metrics(tmp_path) == [json.loads(good)]
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{path}: line 2, 3, 4, 5 is torn' in line  # and not the last, which has no end yet
    assert log.before(path, 4) == [(good, json.loads(good))]
    path.write_bytes(f'{good}\n{good}'.encode())
    assert written.metrics(tmp_path) == [json.loads(good)]
    with Log(tmp_path, start=4, steps=9, tensorboard=False):
        assert path.read_text() == f'{good}\n'
    assert not capsys.readouterr().err


def test_a_kill_while_metrics_are_cut_back_loses_none(tmp_path, monkeypatch):
    path = tmp_path / 'metrics.jsonl'
    path.write_text(''.join(f'{{"step": {step}}}\n' for step in range(9)))
    before = path.read_text()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(log.os, 'fsync', killed)
    with pytest.raises(KeyboardInterrupt):
        Log(tmp_path, start=4, steps=9, tensorboard=False)
    assert path.read_text() == before and [path] == list(tmp_path.iterdir())


def test_tensorboard_has_the_steps_of_the_run_also_after_a_resume(tmp_path, monkeypatch):
    told = []

    class Board:
        def __init__(self, folder, **options):
            assert options['purge_step'] == 40

        def add_scalar(self, *given):
            told.append(given)

        def close(self):
            pass

    monkeypatch.setattr(tensorboardX, 'SummaryWriter', Board)
    with Log(tmp_path, start=40, steps=100) as log:
        log.scalars(44, {'net/loss': 0.5})
    assert told == [('net/loss', 0.5, 44)]


@pytest.mark.parametrize('part', ['params', 'memory'])
def test_a_state_that_is_not_finite_is_no_checkpoint(part):
    """Wherever the NaN is; a count may be any number."""
    parts = {name: {'net': jnp.ones(2), 'count': jnp.int32(3)} for name in ('params', 'memory')}
    watch.finite(State(jnp.array(4), **parts, opt={}), 4)
    parts[part] = {'net': jnp.array([1.0, jnp.nan])}
    with pytest.raises(watch.Diverged, match='step 4'):
        watch.finite(State(jnp.array(4), **parts, opt={}), 4)


def test_of_many_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(log.processes, 'first', lambda: False)
    with Log(tmp_path, start=0, steps=4) as one:
        one.scalars(1, {'net/loss': 0.5})
    assert not list(tmp_path.iterdir())


def test_the_bar_tells_the_speed_since_the_start_of_this_process(tmp_path, monkeypatch):
    clock, shown = Clock(), io.StringIO()
    shown.isatty = lambda: True
    monkeypatch.setattr(log.time, 'perf_counter', clock.perf_counter)
    monkeypatch.setattr(log.sys, 'stderr', shown)
    with Log(tmp_path, start=40, steps=100, tensorboard=False) as one:
        clock.now += 10
        one.progress(60)
    assert '60/100  2.0 steps/s  0:20' in shown.getvalue()
