"""What the core refuses at trace time: a state whose form changes, metrics that are not scalars."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.method import Tree


def strong(tree: Tree) -> Tree:
    """Without weak types: a weakly typed scalar in the state compiles the step twice."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)


def untouched(old: Tree, new: Tree) -> bool:
    old, new = jax.tree.leaves(old), jax.tree.leaves(new)
    return len(old) == len(new) and all(a is b for a, b in zip(old, new, strict=True))


def same(old: Tree, new: Tree) -> Tree:
    """`new`, if its paths, shapes and dtypes are those of `old`; jit alone would just recompile."""

    def read(tree: Tree) -> dict[str, str]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {jax.tree_util.keystr(p): f'{x.dtype}{list(x.shape)}' for p, x in leaves}

    olds, news = read(old), read(new)
    for path in sorted(olds.keys() | news.keys()):
        was, now = olds.get(path, 'absent'), news.get(path, 'absent')
        if was != now:
            raise TypeError(f'a step may not change the form of the state: {path} {was} -> {now}')
    return new


def scalars(metrics: Mapping[str, Any]) -> None:
    for name, value in metrics.items():
        if jnp.ndim(value):
            raise TypeError(f'metric {name} is not a scalar: shape {jnp.shape(value)}')
