"""Every option matters: moved off its value, a run is another, and a resumption is refused.

A run is told apart by its first batches, the schedules of its turns, and the traced step, refresh
and readouts: nothing is compiled.
"""

import functools
import itertools
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jobs
import numpy as np
import pytest

from ssljax import config, model, optim, resolve, workdir
from ssljax.job import make
from ssljax.log import write_json
from ssljax.names import Mistake
from ssljax.step import floats, select

every_method = pytest.mark.parametrize('method', jobs.METHODS)
# fields of a config that are not of one method; the others are FREE, or say which data
SHARED = ('seed', 'steps', 'batch', 'accumulate', 'dtype')


def moved(value: Any) -> Iterator[Any]:
    """Other values of the kind that this one has, the nearest first."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, 2 * value, value // 2, value - 1)
    elif isinstance(value, float):
        yield from (value * 0.75, value + 0.25)
    elif isinstance(value, tuple) and value:
        for first in moved(value[0]):
            yield (first, *value[1:])
        for last in moved(value[-1]):
            yield (*value[:-1], last)
    elif value is None:
        yield from (4, 0.5, {'name': 'mlp', 'dims': (8,)})
    elif isinstance(value, Mapping):
        for name, old in value.items():
            yield from ({**value, name: new} for new in moved(old) if name != 'name')
        if 'name' in value:  # another view, another net
            yield from ({'name': 'crop', 'size': 32}, {'name': 'mlp', 'dims': (8,)})
    elif isinstance(value, str):
        yield from ('gaussian', 'stored', 'bernoulli', 'bfloat16', 'linear', 'mlp', 'sinkhorn')
        yield from ('semi_hard', 'context')


def text(jaxpr) -> str:
    """A program and the arrays in it."""
    arrays = [np.asarray(c).tobytes() for c in jaxpr.consts if hasattr(c, 'dtype')]
    return f'{jaxpr.jaxpr}{[zlib.crc32(a) for a in arrays]}'


def parts(one) -> Iterator[Any]:
    """All that the options of a run can change, the cheapest first."""
    steps, turns, key = range(one.run.steps), one.method.turns, one.key(model.STEP)
    whens = [turn.when for turn in turns.values()]
    whens += [held for turn in turns.values() for held in turn.holds.values()]
    whens += [one.method.refresh.when] if one.method.refresh else []
    yield [[float(rate(i)) for i in steps] for rate in one.rates.values()]
    yield [[bool(when(i)) for i in steps] for when in whens]
    yield str(one.shapes), str(jax.random.key_data(key)), one.run
    yield [{k: zlib.crc32(np.asarray(v)) for k, v in jobs.batch(one, i).items()} for i in (0, 1)]
    rows = model.batch_shapes(one.run)
    half = jax.eval_shape(floats, rows)
    functions = [turn.loss for turn in turns.values()] + [one.method.after or (lambda *given: 0)]
    for function in functions + list(one.method.readouts.values()):
        yield text(jax.make_jaxpr(function)(key, one.shapes, half))
    yield refresh_of(one)
    for name, turn in turns.items():
        part, update = select(one.shapes.params, turn.moves), one.optimizers[name].update
        yield text(jax.make_jaxpr(update)(part, one.shapes.opt[name], part))
    for acting in jobs.acting_sets(one):
        yield text(one.step().trace(one.shapes, rows, key, acting).jaxpr)


def differ(one, other) -> bool:
    pairs = itertools.zip_longest(known(one), parts(other))
    return any(a != b for a, b in pairs)


PARTS = {}


def known(one) -> Iterator[Any]:
    """The parts of the run that others are compared with, each made once."""
    made, rest = PARTS.setdefault(id(one), ([], parts(one)))
    for i in itertools.count():
        if i == len(made):
            try:
                made.append(next(rest))
            except StopIteration:
                return
        yield made[i]


def refresh_of(one) -> str:
    """The traced rule, over a readout's answers for all rows."""
    if one.method.refresh is None:
        return ''
    return text(jax.make_jaxpr(jobs.traced_refresh(one))(one.key(model.REFRESH), one.shapes))


def others(settings: Mapping, *path: str) -> Iterator[Mapping]:
    """The config with other values at a path, those that can be built."""
    *blocks, name = path
    for new in moved(functools.reduce(lambda tree, key: tree[key], path, settings)):
        changed = {**settings}
        inner = changed
        for block in blocks:
            inner[block] = {**inner[block]}
            inner = inner[block]
        inner[name] = new
        try:
            resolved = resolve.resolve(changed)
            one = make(resolved, jax.devices()[:1])
        except (Mistake, TypeError, ValueError, AssertionError):  # no value of this option
            continue
        if config.differences(settings, resolved):
            yield one


def dead(settings: Mapping, paths: Iterable[tuple[str, ...]], folder) -> Iterator[str]:
    """The options with which nothing changes, of two other values that a run can have."""
    one = make(settings, jax.devices()[:1])
    write_json(folder / 'run.json', {'config': config.as_json(settings)})
    for path in paths:
        tried = []
        for other in others(settings, *path):
            with pytest.raises(Mistake, match='belongs to another config'):
                workdir.same_run(other.config, folder)
            try:
                tried.append(differ(one, other))
            except Exception:  # it can be made, and does not fit the rest
                continue
            if any(tried) or len(tried) == 2:
                break
        if not any(tried):
            yield f'{".".join(path)} ({len(tried)} tried)'


# a part of the proof: what it finds is changed by the method's own files alone
@pytest.mark.slow
@every_method
def test_every_keyword_of_a_method_makes_another_run(method, tmp_path):
    settings = jobs.settings(method)
    assert not list(dead(settings, [('model', name) for name in settings['model']], tmp_path))


def test_every_other_field_makes_another_run(tmp_path):
    settings = jobs.settings('simclr')
    assert not list(dead(settings, [(name,) for name in SHARED], tmp_path))


@pytest.mark.parametrize('name', optim.offered())
def test_every_option_of_an_optimizer_makes_another_run(name, tmp_path):
    spec = 'optim.decoder'
    given = {f'{spec}.name': name} | ({} if name == 'adam' else {f'{spec}.weight_decay': 0.1})
    plain = jobs.settings('gpt', **given)
    stepped = jobs.settings('gpt', **given, **{f'{spec}.shape': 'step'})
    names = set(plain['optim']['decoder']) - {'name', 'groups'}
    of_steps = names & {'drops', 'factor'}
    for settings, some in ((plain, names - of_steps), (stepped, of_steps)):
        paths = [('optim', 'decoder', option) for option in sorted(some)]
        assert not list(dead(settings, paths, tmp_path))
