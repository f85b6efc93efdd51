"""Compiles a method's turns into one train step."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ssljax import form
from ssljax.method import Batch, Method, State, Tree, Turn


def make_step(
    method: Method, optimizers: Mapping[str, Any], places: Any = None, *, accumulate: int = 1
) -> Callable[..., tuple[State, dict]]:
    """(state, batch, key, acting) -> state, metrics. `acting` is static: the turns of this step."""

    def step(state: State, batch: Batch, key: jax.Array, acting: tuple[str, ...]):
        before, metrics, batch = state, {}, floats(batch)
        # a turn's key does not depend on who else acts
        keys = jax.random.split(jax.random.fold_in(key, state.step), len(method.turns) + 1)
        keys = dict(zip((*method.turns, 'after'), keys, strict=True))
        for name in acting:
            turn = method.turns[name]
            part = select(state.params, turn.moves)
            grads, memory, logs = descent(turn, keys[name], state, part, batch, accumulate)
            memory = form.same(state.memory, memory, f'memory by the loss of {name}')
            grads = hold(turn, state.step, grads)
            updates, opt = optimizers[name].update(grads, state.opt[name], part)
            part = optax.apply_updates(part, hold(turn, state.step, updates))
            opt = {**state.opt, name: opt}
            state = state.replace(params={**state.params, **part}, memory=memory, opt=opt)
            metrics |= {f'{name}/{k}': v for k, v in logs.items()}
        if method.after:
            new, logs = method.after(keys['after'], state, batch)
            state, metrics = form.kept('after', state, new), metrics | logs
        form.scalars(metrics)
        return form.same(before, state.replace(step=state.step + 1), 'the state by a step'), metrics

    out = None if places is None else (places, None)
    return jax.jit(step, static_argnames='acting', donate_argnames='state', out_shardings=out)


def descent(turn: Turn, key: jax.Array, state: State, part: Tree, batch: Batch, accumulate: int):
    """Gradient along `part`, memory and metrics of one turn, in `accumulate` micro-batches."""

    def objective(part, key, memory, batch):
        inside = state.replace(params={**state.params, **part}, memory=memory)
        value, memory, logs = turn.loss(key, inside, batch)
        return value, (memory, {'loss': value, **logs})

    gradient, memory, parts = jax.grad(objective, has_aux=True), state.memory, []
    # not a lax.scan: a convolution's gradient is some twenty times slower in one, on a CPU
    for i in range(accumulate):
        # every accumulate-th row, so that each device keeps the rows that it has
        rows = jax.tree.map(lambda x, i=i: x.reshape(-1, accumulate, *x.shape[1:])[:, i], batch)
        grads, (memory, logs) = gradient(part, jax.random.fold_in(key, i), memory, rows)
        parts.append((grads, logs))
    grads, logs = jax.tree.map(lambda *leaves: sum(leaves) / accumulate, *parts)
    return grads, memory, logs | {'gradient_norm': optax.tree.norm(grads)}


def floats(batch: Batch) -> Batch:
    """Images, the entries x and y, travel as uint8 and are numbers in [-1, 1] from here on."""
    images = [k for k in ('x', 'y') if k in batch and batch[k].dtype == jnp.uint8]
    return {**batch, **{k: batch[k] / 127.5 - 1 for k in images}}


def select(params: dict, moves: tuple[str, ...]) -> dict:
    return {name: params[name] for name in moves or params}


def hold(turn: Turn, step: jax.Array, tree: dict) -> dict:
    """Exact zeros for the params held at this step (a zero gradient alone is moved by decay)."""
    for name, when in turn.holds.items():
        tree = tree | {name: jax.tree.map(partial(jnp.where, when(step), 0), tree[name])}
    return tree
