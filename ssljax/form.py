"""What the core refuses at trace time: a state whose form changes, metrics that are not scalars."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.method import State, Tree


def strong(tree: Tree) -> Tree:
    """Without weak types: a weakly typed scalar in the state compiles the step twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)


def same(old: Tree, new: Tree, what: str) -> Tree:
    """`new` without weak types, if its paths, shapes and dtypes are those of `old`.

    jit alone would just compile again.
    """
    new = strong(new)
    olds, news = described(old), described(new)
    for path in sorted(olds.keys() | news.keys()):
        was, now = olds.get(path, 'absent'), news.get(path, 'absent')
        if was != now:
            raise TypeError(f'the form of {what} may not change: {path} {was} -> {now}')
    return new


def kept(rule: str, old: State, new: State) -> State:
    """`new`, if its form is that of `old`, and its step and optimizers are the very same."""
    pairs = [jax.tree.leaves((state.step, state.opt)) for state in (old, new)]
    if [id(leaf) for leaf in pairs[0]] != [id(leaf) for leaf in pairs[1]]:
        raise TypeError(f'{rule} may not touch state.step or state.opt')
    return new.replace(
        params=same(old.params, new.params, f'params by {rule}'),
        memory=same(old.memory, new.memory, f'memory by {rule}'),
    )


def described(tree: Tree) -> dict[str, str]:
    """{path: 'float32[3, 4]'}."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(p): f'{x.dtype}{list(x.shape)}' for p, x in leaves}


def scalars(metrics: Mapping[str, Any]) -> None:
    for name, value in metrics.items():
        if jnp.ndim(value):
            raise TypeError(f'metric {name} is not a scalar: shape {jnp.shape(value)}')
