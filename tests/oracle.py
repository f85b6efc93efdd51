"""One call of a turn's loss, laid open, for the oracles in tests/methods/ that restate it.

    seen = oracle.see('simclr')       # the loss of its one turn, on the smoke config
    seen.views[0].out                 # what was drawn: an oracle starts from it and needs no keys
    seen.calls[0].out                 # what a net was given and what it answered

An oracle states the paper's equations of these arrays and of the batch, and compares the value, the
gradient and each memory entry. The state is not that of step 0, where a teacher is its student and
a center is zero: every float of params and memory has been moved a little.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
from jax.extend.core import get_opaque_trace_state as trace_state

from ssljax import augment, model
from ssljax.method import State
from ssljax.nets import Nets
from ssljax.nets.named import Bound
from ssljax.step import floats, select

QUICK = {'xla_backend_optimization_level': 0}  # what is compiled runs once


class Views(NamedTuple):
    """One call of augment.views."""

    spec: Mapping[str, Any] | Callable  # what the config named
    x: np.ndarray  # [B, ...]
    out: np.ndarray  # [B * n, ...]; views of one example are neighbors


class Call(NamedTuple):
    """One call of a net."""

    net: str
    method: str  # '__call__', or the method of the module that was asked
    train: bool
    params: Any  # of this net
    args: tuple
    out: Any


class Seen(NamedTuple):
    job: Any
    config: Mapping[str, Any]  # of the method: its keywords with their values
    state: State  # before
    batch: Mapping[str, jax.Array]  # images in [-1, 1]
    value: np.ndarray
    memory: Mapping[str, Any]  # what the loss answers
    logs: Mapping[str, np.ndarray]
    gradient: Mapping[str, Any]  # of the params that the turn moves
    views: list[Views]  # in the order of the calls; also `calls`
    calls: list[Call]

    def nets(self, *names: str, **options: Any) -> Nets:
        """The nets of these keywords of the method: nets(params, stats, train=True).encoder(x)"""
        return Nets(**{name: self.config[name] for name in names}, **options)


@functools.cache
def see(method: str, turn: str = '', *, step: int = 1, state: Any = None, **changes: Any) -> Seen:
    """Calls the loss of a turn (by default of the first) at this step.

    state: changes the moved state before the call, (state) -> state.
    changes: of the config, as on the command line: see('mae', model__ratio=0.5).
    """
    specs, views, calls = [], [], []  # specs: (view, what named it)
    make, draw, call = augment.make, augment.views, Bound._call
    level = None

    def recorded_make(spec, **given):
        view = make(spec, **given)
        specs.append((view, spec))
        return view

    def recorded_draw(view, key, x, n):
        out = draw(view, key, x, n)
        if trace_state() == level:  # inside a vmap or a scan it is no array of this program
            spec = next((spec for made, spec in specs if made is view), view)
            views.append(Views(spec, x, out))
        return out

    def recorded_call(self, name, *args, method='__call__', **options):
        out = call(self, name, *args, method=method, **options)
        if trace_state() == level:
            train = options.get('train', self.train)
            calls.append(Call(name, method, train, self.params.get(name, {}), args, out))
        return out

    with (
        mock.patch.object(augment, 'make', recorded_make),
        mock.patch.object(augment, 'views', recorded_draw),
        mock.patch.object(Bound, '_call', recorded_call),
    ):
        job = jobs.job(method, **changes)
        before = moved(job, step)
        before = state(before) if state else before
        turn = job.method.turns[turn or next(iter(job.method.turns))]
        batch, key = floats(jobs.batch(job, step)), job.key(model.STEP)

        def objective(part, state, batch):
            nonlocal level
            level = trace_state()
            del views[:], calls[:]
            value, memory, logs = turn.loss(key, state.replace(params=state.params | part), batch)
            level = None
            return value, (value, memory, logs, [v[1:] for v in views], [c[3:] for c in calls])

        part = select(before.params, turn.moves)
        slope, told = quick(jax.grad(objective, has_aux=True), part, before, batch)
    value, memory, logs, drawn, asked = told
    views = [Views(v.spec, *arrays) for v, arrays in zip(views, drawn, strict=True)]
    calls = [Call(*c[:3], *arrays) for c, arrays in zip(calls, asked, strict=True)]
    config, before = job.config['model'], jax.device_get(before)
    return Seen(job, config, before, batch, value, memory, logs, slope, views, calls)


def moved(job: Any, step: int) -> State:
    """The state at this step, every float of params and memory moved by 0.1 of a normal draw."""
    state, random = job.fresh(), np.random.default_rng(0)

    def move(leaf):
        noise = 0.1 * random.normal(size=leaf.shape).astype(np.float32)
        return leaf + noise if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    params, memory = jax.tree.map(move, (state.params, state.memory))
    return state.replace(params=params, memory=memory, step=state.step * 0 + step)


def quick(function: Callable, *args: Any) -> Any:
    """function(*args) as one compiled program, on the host."""
    return jax.device_get(jax.jit(function).lower(*args).compile(QUICK)(*args))


def after(seen: Seen, **changes: Any) -> tuple[State, Mapping[str, np.ndarray]]:
    """What the method's `after` makes of the state after the loss, and its metrics; changes replace
    entries of that state, as after(seen, params=...)."""
    state = seen.state.replace(**{'memory': seen.memory, **changes})
    return quick(seen.job.method.after, seen.job.key(model.STEP), state, seen.batch)


def close(found: Any, expected: Any, tolerance: float = 1e-4) -> None:
    """Equal trees, each leaf within a share of its own largest entry (and 1e-6)."""
    found, expected = jobs.leaves(found), jobs.leaves(expected)
    assert found.keys() == expected.keys()
    for path, leaf in found.items():
        scale = max(np.abs(expected[path]).max(initial=0), 1e-6 / tolerance)
        np.testing.assert_allclose(
            leaf, expected[path], rtol=0, atol=tolerance * scale, err_msg=path or 'the value'
        )
