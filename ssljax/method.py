"""The contract: a method is a NamedTuple of pure functions over one state tree."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax

from ssljax.kinds import Rows

Tree = Any  # any nest of dicts of arrays
Batch = Mapping[str, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """All that survives a step: the one tree that is sharded and checkpointed."""

    step: jax.Array  # int32 []
    params: dict[str, Tree]  # what is estimated, by net
    memory: dict[str, Tree]  # all else that outlives a step: stats, teacher, queue, center, ...
    opt: dict[str, Tree]  # one entry per turn

    def replace(self, **parts: Any) -> 'State':
        return dataclasses.replace(self, **parts)

    def remember(self, **entries: Tree) -> 'State':
        return self.replace(memory={**self.memory, **entries})


Loss = Callable[..., tuple[jax.Array, dict, dict]]  # (key, state, batch) -> value, memory, metrics
When = Callable[[Any], Any]  # step -> bool; written with & so that it works on a traced step too


def always(step: Any) -> Any:
    return step >= 0


def every(n: int, start: int = 0) -> When:
    return lambda step: (step >= start) & ((step - start) % n == 0)


def between(first: int, end: int) -> When:
    return lambda step: (step >= first) & (step < end)


class Turn(NamedTuple):
    """One player's move within a step: a descent along some of the params."""

    loss: Loss  # the params that descend are in state.params
    moves: tuple[str, ...] = ()  # top-level names of params; empty: all
    when: When = always  # on the host's step: who acts is static
    holds: Mapping[str, When] = {}  # name -> when these params are kept still (exactly)


class Refresh(NamedTuple):
    """An E-step over the data set, before a step: new labels, clusters, a round."""

    rule: Callable  # (key, state, sweep) -> state, metrics; sweep(readout, state) -> [N, ...]
    when: When
    restarts: tuple[str, ...] = ()  # turns whose optimizer starts afresh


class Run(NamedTuple):
    """Facts about one run that a method may need and never chooses."""

    steps: int
    steps_per_epoch: int
    examples: int  # rows to train on
    batch: int
    classes: int = 0
    vocab: int = 0  # tokens, of texts
    dtype: Any = 'float32'  # of activations
    row: Mapping[str, jax.ShapeDtypeStruct] = {}  # one example of the data, by entry
    class_names: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()  # the string of each token
    words: tuple[str, ...] = ()  # a dictionary, where the source has one


Compares = Annotated[Run, Rows(2)]  # of a method that compares the rows of a batch


class Method(NamedTuple):
    """One learning method. Every function takes key, state, the rest."""

    init: Callable  # (key, batch) -> params, memory
    turns: Mapping[str, Turn]
    after: Callable | None = None  # (key, state, batch) -> state, metrics
    refresh: Refresh | None = None
    readouts: Mapping[str, Callable] = {}  # name -> (key, state, batch, **options) -> arrays
    by_rows: tuple[str, ...] = ()  # memory with a row per example of the data, or of a pool
    needs: tuple[str, ...] = ()  # paths that a graft must fill, where the state has them
