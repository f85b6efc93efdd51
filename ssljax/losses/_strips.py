"""Reductions over all pairs of rows: all columns at once, or a strip of columns at a time.

value(i) = reduce over k of s(i, k) = a(i).b(k). With strips, the array of all pairs is never made:
the backward pass computes each strip again, from the rows and the value. With several shards, the
columns are passed from shard to shard in a ring. In the backward pass their gradient travels with
them; after one round each gradient is back on the shard that has its columns.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, everywhere, own, products

NOTHING = jnp.finfo(jnp.float32).min / 2  # finite, so a row without any pair has no NaN gradient


class Fold(NamedTuple):
    """A reduction that can be computed strip by strip."""

    start: tuple[float, ...]
    add: Callable  # carry, each [A], and s [A, T] -> carry
    value: Callable  # carry -> [A]
    slope: Callable  # s [A, T], value [A, 1] -> d value / d s, [A, T]


def _add_exp(carry, s):
    largest, total = carry
    new = jnp.maximum(largest, s.max(-1))
    return new, total * jnp.exp(largest - new) + jnp.exp(s - new[:, None]).sum(-1)


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

    itself: whether row i is paired with column i.
    out: bool [A, N], true for pairs that are left out; N the columns of all shards.
    block: how many columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch; None: there is one shard.
    """
    if block is not None:
        if block < 1:
            raise ValueError(f'block={block}: the columns at a time are one or more, or None')
        return _in_strips(fold, itself, block, axis_name, a, b, out)
    all_b = everywhere(b, axis_name)
    columns = Columns(all_b, jnp.arange(len(all_b)), None)
    s, left_out = _pairs(a, columns, own(len(a), axis_name), itself, out)
    return fold.value(fold.add(_start(fold, a), _replaced(left_out, NOTHING, s)))


class Columns(NamedTuple):
    b: jax.Array  # [T, D]
    index: jax.Array  # int [T], among the columns of all shards
    padding: jax.Array | None  # bool [T], true for columns that only fill up the last strip


def _pairs(a, columns, index, itself, out):
    """s [A, T] of the rows `index`, and the pairs left out: bool, broadcast to [A, T], or None."""
    left_out = columns.padding
    if not itself:
        same = index[:, None] == columns.index
        left_out = same if left_out is None else left_out | same
    if out is not None:
        out = out[:, columns.index]
        left_out = out if left_out is None else left_out | out
    return products(a, columns.b), left_out


def _replaced(left_out, value, s):
    return s if left_out is None else jnp.where(left_out, value, s)


def _start(fold, a):
    return tuple(jnp.full_like(a[:, 0], value) for value in fold.start)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _in_strips(fold, itself, block, axis_name, a, b, out):
    return _forward(fold, itself, block, axis_name, a, b, out)[0]


def _forward(fold, itself, block, axis_name, a, b, out):
    index = own(len(a), axis_name)

    def strip(carry, columns):
        s, left_out = _pairs(a, columns, index, itself, out)
        return fold.add(carry, _replaced(left_out, NOTHING, s)), None

    carry, _ = _over_strips(strip, _start(fold, a), None, b, block, axis_name)
    value = fold.value(carry)
    return value, (a, b, out, value)


def _backward(fold, itself, block, axis_name, saved, g):
    a, b, out, value = saved
    index = own(len(a), axis_name)

    def strip(da, columns):
        s, left_out = _pairs(a, columns, index, itself, out)
        slope = _replaced(left_out, 0, fold.slope(s, value[:, None])) * g[:, None]
        return da + products(slope, columns.b.T), products(slope.T, a.T)

    da, db = _over_strips(strip, jnp.zeros_like(a), jnp.zeros_like(b), b, block, axis_name)
    return da, db, None


_in_strips.defvjp(_forward, _backward)


def _over_strips(strip, carry, sums, b, block, axis_name):
    """Calls strip(carry, columns) -> carry, terms for every strip of the columns of all shards.

    Returns the last carry, and for this shard's columns sums + their terms of all shards [M, ...].
    """

    def shard(carry, columns):
        carry, terms = lax.scan(strip, carry, _cut(columns, block))
        return carry, jax.tree.map(partial(_joined, count=len(b)), terms)

    columns = Columns(b, own(len(b), axis_name), None)
    if axis_name is None:
        return shard(carry, columns)
    size = lax.axis_size(axis_name)

    def pass_on(_, loop):  # `columns` and `sums` go to the next shard, `carry` stays
        carry, columns, sums = loop
        carry, terms = shard(carry, columns)
        sent = [columns, jax.tree.map(jnp.add, sums, terms)]
        return carry, *lax.ppermute(sent, axis_name, [(i, (i + 1) % size) for i in range(size)])

    carry, _, sums = lax.fori_loop(0, size, pass_on, (carry, columns, sums))
    return carry, sums


def _cut(columns: Columns, block: int) -> Columns:
    """[M, ...] -> [strips, T, ...], T at most `block` and as small as possible.

    With n strips, strip i has the columns i, i + n, i + 2n, ...: so each device has a part of
    every strip.
    """
    count = len(columns.index)
    strips = -(-count // min(block, count))
    missing = -count % strips

    def cut(x):
        x = jnp.pad(x, [(0, missing), *[(0, 0)] * (x.ndim - 1)], constant_values=-1)
        return x.reshape(-1, strips, *x.shape[1:]).swapaxes(0, 1)

    b, index = cut(columns.b), cut(columns.index)
    return Columns(b, index, index < 0 if missing else None)


def _joined(x, count):
    """The inverse of `_cut`: [strips, T, ...] -> [M, ...]."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:count]
