"""Reductions over all pairs of rows, at once or a strip of columns at a time.

value(i) = reduce over k of s(i, k) = a(i).b(k). In strips no array of all pairs is ever made: the
backward pass makes each strip again, from the rows and the value. On several shards the columns go
round a ring, and backward their gradient goes with them and is home after one turn.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, everywhere, own, products

NOTHING = jnp.finfo(jnp.float32).min / 2  # finite: a row that loses all has no NaN in its gradient


class Fold(NamedTuple):
    """A reduction that can be taken strip by strip."""

    start: tuple[float, ...]
    add: Callable  # carry, each [A], and s [A, T] -> carry
    value: Callable  # carry -> [A]
    slope: Callable  # s [A, T], value [A, 1] -> d value / d s, [A, T]


def _add_exp(carry, s):
    top, total = carry
    new = jnp.maximum(top, s.max(-1))
    return new, total * jnp.exp(top - new) + jnp.exp(s - new[:, None]).sum(-1)


LOG_SUM_EXP = Fold(
    start=(NOTHING, 0.0),
    add=_add_exp,
    value=lambda carry: carry[0] + jnp.log(carry[1]),
    slope=lambda s, value: jnp.exp(s - value),
)
SUM_SOFTPLUS = Fold(
    start=(0.0,),
    add=lambda carry, s: (carry[0] + jax.nn.softplus(s).sum(-1),),
    value=lambda carry: carry[0],
    slope=lambda s, value: jax.nn.sigmoid(s),
)


def over_pairs(
    fold: Fold,
    a: jax.Array,
    b: jax.Array,
    *,
    itself: bool = True,
    out: jax.Array | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """One value for each row of a [A, D], over the rows of b [M, D] of all shards: [A].

    itself: whether row i meets the i-th column. out [A, N]: the pairs that are left out. block:
    columns at a time; None: all at once.
    """
    if block is not None:
        if block < 1:
            raise ValueError(f'block={block}: the columns at a time are one or more, or None')
        return _in_strips(fold, itself, block, axis_name, a, b, out)
    every = everywhere(b, axis_name)
    columns = Columns(every, jnp.arange(len(every)), None)
    s, gone = _pairs(a, columns, own(len(a), axis_name), itself, out)
    return fold.value(fold.add(_start(fold, a), _where(gone, NOTHING, s)))


class Columns(NamedTuple):
    b: jax.Array  # [T, D]
    place: jax.Array  # int [T], among the columns of all shards
    none: jax.Array | None  # bool [T], true where the last strip is filled up


def _pairs(a, columns, place, itself, out):
    """s [A, T], and the pairs that are left out: bool, of its shape or broadcast to it, or None."""
    gone = columns.none
    if not itself:
        same = place[:, None] == columns.place
        gone = same if gone is None else gone | same
    if out is not None:
        out = out[:, columns.place]
        gone = out if gone is None else gone | out
    return products(a, columns.b), gone


def _where(gone, instead, s):
    return s if gone is None else jnp.where(gone, instead, s)


def _start(fold, a):
    return tuple(jnp.full_like(a[:, 0], value) for value in fold.start)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _in_strips(fold, itself, block, axis_name, a, b, out):
    return _forward(fold, itself, block, axis_name, a, b, out)[0]


def _forward(fold, itself, block, axis_name, a, b, out):
    place = own(len(a), axis_name)

    def strip(carry, columns):
        s, gone = _pairs(a, columns, place, itself, out)
        return fold.add(carry, _where(gone, NOTHING, s)), None

    carry, _ = _over_strips(strip, _start(fold, a), None, b, block, axis_name)
    value = fold.value(carry)
    return value, (a, b, out, value)


def _backward(fold, itself, block, axis_name, saved, g):
    a, b, out, value = saved
    place = own(len(a), axis_name)

    def strip(da, columns):
        s, gone = _pairs(a, columns, place, itself, out)
        slope = _where(gone, 0, fold.slope(s, value[:, None])) * g[:, None]
        return da + products(slope, columns.b.T), products(slope.T, a.T)

    da, db = _over_strips(strip, jnp.zeros_like(a), jnp.zeros_like(b), b, block, axis_name)
    return da, db, None


_in_strips.defvjp(_forward, _backward)


def _over_strips(strip, carry, sums, b, block, axis_name):
    """strip(carry, columns) -> carry, found; over the columns of all shards.

    Returns the last carry, and sums + found for this shard's columns [M, ...].
    """

    def shard(carry, columns):
        carry, found = lax.scan(strip, carry, _cut(columns, block))
        return carry, jax.tree.map(partial(_joined, count=len(b)), found)

    columns = Columns(b, own(len(b), axis_name), None)
    if axis_name is None:
        return shard(carry, columns)
    size = lax.axis_size(axis_name)

    def turn(_, all):
        carry, *away = all
        carry, found = shard(carry, away[0])
        away[1] = jax.tree.map(jnp.add, away[1], found)
        return carry, *lax.ppermute(away, axis_name, [(i, (i + 1) % size) for i in range(size)])

    carry, _, sums = lax.fori_loop(0, size, turn, (carry, columns, sums))
    return carry, sums


def _cut(columns: Columns, block: int) -> Columns:
    """[M, ...] -> [strips, T, ...], as even as can be, T at most `block`.

    A strip takes every so-manieth column, so that each device has some of every strip.
    """
    count = len(columns.place)
    strips = -(-count // min(block, count))
    missing = -count % strips

    def cut(x):
        x = jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)], constant_values=-1)
        return x.reshape(-1, strips, *x.shape[1:]).swapaxes(0, 1)

    b, place = cut(columns.b), cut(columns.place)
    return Columns(b, place, place < 0 if missing else None)


def _joined(found, count):
    """`_cut` undone: [strips, T, ...] -> [M, ...]."""
    return found.swapaxes(0, 1).reshape(-1, *found.shape[2:])[:count]
