"""The host waits for no step that the device is still at, and the state is updated in place."""

import contextlib
from types import SimpleNamespace

import jax
import jobs
import numpy as np
import pytest

from ssljax import model, optim, train
from ssljax.method import Method, Refresh, State, Turn, every

REFRESHED = Refresh(lambda key, state, sweep: (state, {}), every(7, 5))


class Value:
    """A number on a device, which tells when it is waited for or read."""

    def __init__(self, step, told):
        self.step, self.told = step, told

    def block_until_ready(self):
        self.told.append(('waits', self.step))
        return self

    def __array__(self, *_, **__):
        self.told.append(('reads', self.step))
        return np.float32(self.step)

    def __int__(self):
        return int(self.__array__())


class Checkpoints:
    def __init__(self, due):
        self.saved, self.at = [], due

    def due(self, step, steps):
        return step in (self.at, steps)

    def save(self, state, config):
        self.saved.append(int(state.step))

    def close(self):
        pass


def loop(tmp_path, monkeypatch, *, refresh=None, due=0, steps=14, **options):
    """What the host did, in order: it starts, waits for and reads steps; the state's is 'state'."""
    told, started = [], iter(range(steps))
    monkeypatch.setattr(train, 'refresh', lambda job, state, i, sweep: (state, {}))
    monkeypatch.setattr(train, 'point', lambda *_: told.append(('points', None)))

    def step(state, batch, key, acting):
        told.append(('starts', i := next(started)))
        return State(Value(i + 1, []), {}, {}, {}), {'net/loss': Value(i, told)}

    job = SimpleNamespace(
        run=SimpleNamespace(steps=steps, batch=8), config={}, evals={},
        method=Method(init=None, turns={'net': Turn(None)}, refresh=refresh),
        rates={'net': lambda i: Value(i, told)},
        step=lambda: step, key=jax.random.key, sweep=lambda purpose: None,
        acting=lambda i: ('net',), batches=lambda start: Batches(steps),
    )  # fmt: skip
    given = dict(every=4, evaluate=0, curve={}, tensorboard=False) | options
    train.loop(job, State(Value(0, []), {}, {}, {}), Checkpoints(due), tmp_path, **given)
    return told


class Batches(contextlib.AbstractContextManager):
    waited = 0.0

    def __init__(self, steps):
        self.steps = steps

    def __iter__(self):
        return iter([(i, {}) for i in range(self.steps)])

    def __exit__(self, *_):
        return None


def in_flight(told):
    """(what, step, steps that had started after it) of all that the host waited for or read."""
    newest, found = -1, []
    for what, step in told:
        newest = step if what == 'starts' else newest
        if what in ('waits', 'reads'):
            found.append((what, step, newest - step))
    return found


def test_nothing_is_read_before_two_further_steps_have_started(tmp_path, monkeypatch):
    told = loop(tmp_path, monkeypatch)
    found = in_flight(told)
    last = told.index(('starts', 13))
    before = in_flight(told[:last])
    assert {late for what, _, late in before if what == 'waits'} == {2}  # and not more in flight
    assert min(late for _, _, late in before) == 2
    reads = [step for what, step, _ in before if what == 'reads']
    assert sorted(set(reads)) == [*range(8)]  # the lines of steps 4 and 8
    # when the line of step 4 is read, steps 4 and 5 are in flight, and 6 has not started
    assert told.index(('starts', 5)) < told.index(('reads', 0)) < told.index(('starts', 6))
    assert {step for what, step, _ in found if what == 'reads'} == {*range(14)}  # all, at the end


@pytest.mark.parametrize(
    'options, at',
    [(dict(due=6), 5), (dict(evaluate=8), 7), (dict(refresh=REFRESHED), 4)],
    ids=['save', 'point', 'refresh'],
)
def test_what_needs_the_state_is_preceded_by_all_lines(options, at, tmp_path, monkeypatch):
    """Where the host must wait anyway, the log has no gap: a kill after a save loses no line."""
    told = loop(tmp_path, monkeypatch, **options)
    until = told[: told.index(('starts', at + 1))]
    lines = (at + 1) // 4 * 4
    assert {step for what, step in until if what == 'reads'} >= {*range(lines)}
    assert ('points', None) not in told or told.index(('points', None)) > told.index(('reads', 7))


def test_the_log_has_each_line_once_and_in_order(tmp_path, monkeypatch):
    loop(tmp_path, monkeypatch, due=6, every=1)
    from ssljax.written import metrics

    assert [line['step'] for line in metrics(tmp_path)] == [*range(1, 15)]
    assert [line['net/loss'] for line in metrics(tmp_path)] == [*range(14)]
    assert [line['net/learning_rate'] for line in metrics(tmp_path)] == [*range(14)]


def test_a_learning_rate_is_no_number_of_the_host():
    method = Method(None, {'net': Turn(None)})
    spec = dict(name='sgd', learning_rate=1.0, shape='linear')
    _, rates = optim.make_all({'net': spec}, method, 4)
    assert isinstance(rates['net'](1), jax.Array) and float(rates['net'](1)) == 0.75


@pytest.mark.parametrize('method', ['gpt', 'wgan_gp'])
def test_the_state_is_updated_in_place(method):
    """Every byte of the old state is a byte of the new one."""
    one = jobs.smoke(method)
    state, batch = one.fresh(), jobs.batch(one, 0)
    acting, key = one.acting_sets()[-1], one.key(model.STEP)
    program = one.step().lower(one.shapes, batch, key, acting).compile()
    assert program.memory_analysis().alias_size_in_bytes >= sum(
        leaf.nbytes for leaf in jax.tree.leaves(state)
    )
    one.step()(state, batch, key, acting)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))
