"""Dead state, read off the jaxpr of a step: what is never written, what is never read."""

from functools import partial

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


def written(job, step, acting) -> set[str]:
    """The paths of a state that a step of these turns does not hand on as they came."""
    rows, key = batch(job, 0), job.key(model.STEP)
    program = step.__wrapped__
    jaxpr, _ = flow(lambda s, b, k: program(s, b, k, acting), job.shapes, rows, key)
    names = paths(job.shapes)
    return {n for n, i, o in zip(names, jaxpr.invars, jaxpr.outvars) if o is not i}


def dead(job) -> tuple[set[str], set[str]]:
    """-> params and memory never written, and never read on the way to a loss or a readout."""
    key, rows = job.key(model.STEP), batch(job, 0)
    names = paths(job.shapes)
    changed, sources = set(), {name: set() for name in names}
    live, read_out = set(), set()
    for acting in acting_sets(job):
        step = job.step().__wrapped__
        jaxpr, outs = flow(lambda s, b, k, a=acting, f=step: f(s, b, k, a), job.shapes, rows, key)
        for i, name in enumerate(names):
            if jaxpr.outvars[i] is not jaxpr.invars[i]:
                changed.add(name)
                used = needs(jaxpr, [j == i for j in range(len(outs))])
                sources[name] |= {n for n, u in zip(names, used) if u}
        used = needs(jaxpr, [path.endswith('/loss') for path in outs])
        live |= {n for n, u in zip(names, used) if u}
    refresh = job.method.refresh  # runs eagerly, so by numbers
    if refresh and any(refresh.when(i) for i in range(job.config['steps'])):
        before = job.fresh()
        after, _ = train.refresh(job, before, 0, job.sweep())
        changed |= set(differing(before, after))
    for name, readout in job.method.readouts.items():
        readout = partial(readout, **jobs.options(name))
        jaxpr, outs = flow(lambda s, b, k, r=readout: r(k, s, floats(b)), job.shapes, rows, key)
        used = needs(jaxpr, [True] * len(outs))
        read_out |= {n for n, u in zip(names, used) if u}
    live |= read_out
    while more := set().union(*(sources[name] for name in live)) - live:
        live |= more
    # the statistics of a head that no readout runs need only be written
    heads = {n.split('/')[1] for n in names if n.startswith('params/')}
    heads -= {n.split('/')[1] for n in read_out if n.startswith('params/')}
    spared = {n for n in names if n.startswith('memory/stats/') and n.split('/')[2] in heads}
    mine = {n for n in names if n.startswith(('params/', 'memory/'))}
    constant = {n for n in mine if any(n.startswith(path) for path in job.method.needs)}
    return mine - changed - constant, mine - live - spared
