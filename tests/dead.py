"""Dead state, read off the jaxpr of a step: what is never written, what is never read."""

import functools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jobs
from jax.interpreters import partial_eval
from jobs import acting_sets, batch, differing

from ssljax import model, train
from ssljax.sharding import path_name
from ssljax.step import floats


def paths(tree) -> list[str]:
    return [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def flow(function, *args):
    """-> jaxpr of function(*args) and the paths of its outputs."""
    jaxpr, out = jax.make_jaxpr(function, return_shape=True)(*args)
    return jaxpr.jaxpr, paths(out)


def needs(jaxpr, wanted: list[bool]) -> list[bool]:
    """Which inputs the wanted outputs are computed from."""
    return partial_eval.dce_jaxpr(jaxpr, wanted)[1]


class Flow(NamedTuple):
    """A traced program: what comes in, as 'state/params/...' and 'batch/x', and what goes out."""

    jaxpr: Any
    inputs: list[str]
    outputs: list[str]

    def used(self, wanted: Callable[[str], bool] = lambda name: True) -> set[str]:
        """The inputs that the wanted outputs are computed from."""
        used = needs(self.jaxpr, [wanted(name) for name in self.outputs])
        return {name for name, one in zip(self.inputs, used) if one}


def traced(function, job, rows) -> Flow:
    """Of (key, state, batch) -> anything."""
    given = {'batch': rows, 'key': job.key(model.STEP), 'state': job.shapes}
    jaxpr, outputs = flow(lambda g: function(g['key'], g['state'], g['batch']), given)
    return Flow(jaxpr, paths(given), outputs)


@functools.lru_cache(maxsize=8)
def of_step(method, acting) -> Flow:
    job = jobs.smoke(method)
    step = job.step().__wrapped__
    return traced(lambda key, state, rows: step(state, rows, key, acting), job, batch(job, 0))


@functools.lru_cache(maxsize=16)
def of_readout(method, name) -> Flow:
    job = jobs.smoke(method)
    readout = partial(job.method.readouts[name], **jobs.options(name))
    return traced(lambda key, state, rows: readout(key, state, floats(rows)), job, batch(job, 0))


def written(job, step, acting) -> set[str]:
    """The paths of a state that a step of these turns does not hand on as they came."""
    program = step.__wrapped__
    found = traced(
        lambda key, state, rows: program(state, rows, key, acting)[0], job, batch(job, 0)
    )
    return changed(found, paths(job.shapes))


def changed(found: Flow, names: list[str]) -> set[str]:
    """Of a program whose first outputs are a new state: what it does not hand on as it came."""
    came = dict(zip(found.inputs, found.jaxpr.invars))
    pairs = zip(names, found.jaxpr.outvars)
    return {name for name, out in pairs if out is not came[f'state/{name}']}


def dead(method) -> tuple[set[str], set[str]]:
    """-> params and memory never written, and never read on the way to a loss or a readout."""
    job = jobs.smoke(method)
    names = paths(job.shapes)
    written, sources = set(), {name: set() for name in names}
    live, read_out = set(), set()

    def of_state(used):
        return {name.removeprefix('state/') for name in used if name.startswith('state/')}

    for acting in acting_sets(job):
        step = of_step(method, acting)
        for name in changed(step, names):
            written.add(name)
            sources[name] |= of_state(step.used(lambda out, name=name: out == f'0/{name}'))
        live |= of_state(step.used(lambda out: out.endswith('/loss')))
    refresh = job.method.refresh  # runs eagerly, so by numbers
    if refresh and any(refresh.when(i) for i in range(job.config['steps'])):
        before = job.fresh()
        after, _ = train.refresh(job, before, 0, job.sweep())
        written |= set(differing(before, after))
        rule = traced(lambda key, state, _: jobs.traced_refresh(job)(key, state)[0], job, {})
        for name in changed(rule, names):
            sources[name] |= of_state(rule.used(lambda out, name=name: out == name))
    for name in job.method.readouts:
        read_out |= of_state(of_readout(method, name).used())
    live |= read_out
    while more := set().union(*(sources[name] for name in live)) - live:
        live |= more
    # the statistics of a head that no readout runs need only be written
    heads = {n.split('/')[1] for n in names if n.startswith('params/')}
    heads -= {n.split('/')[1] for n in read_out if n.startswith('params/')}
    spared = {n for n in names if n.startswith('memory/stats/') and n.split('/')[2] in heads}
    mine = {n for n in names if n.startswith(('params/', 'memory/'))}
    constant = {n for n in mine if any(n.startswith(path) for path in job.method.needs)}
    return mine - written - constant, mine - live - spared
