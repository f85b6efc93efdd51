"""Reductions over all pairs of rows: all columns at once, or a strip of columns at a time.

value(i) = reduce over k of s(i, k) = a(i).b(k). With strips, the array of all pairs is never made:
in the backward pass each strip is computed again. With several shards, the columns are passed from
shard to shard in a ring. All of it is plain code to JAX: derivatives of any order, forward mode and
vmap pass through.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, everywhere, own, products, shards

NOTHING = float(jnp.finfo(jnp.float32).min) / 2  # finite, so a row without any pair has no NaN


class Fold(NamedTuple):
    """A reduction that can be computed strip by strip."""

    start: tuple[float, ...]
    add: Callable  # carry, each [A], and s [A, T] -> carry
    value: Callable  # carry -> [A]


def _add_exp(carry, s):
    largest, total = carry  # the value does not depend on `largest`: it is no path of a gradient
    new = jnp.maximum(largest, lax.stop_gradient(s).max(-1))
    return new, total * jnp.exp(largest - new) + jnp.exp(s - new[:, None]).sum(-1)


LOG_SUM_EXP = Fold(
    start=(NOTHING, 0.0),
    add=_add_exp,
    value=lambda carry: carry[0] + jnp.log(carry[1]),
)
SUM_SOFTPLUS = Fold(
    start=(0.0,),
    add=lambda carry, s: (carry[0] + jax.nn.softplus(s).sum(-1),),
    value=lambda carry: carry[0],
)


class Columns(NamedTuple):
    b: jax.Array  # [T, D]
    index: jax.Array  # type: ignore[assignment]  # int [T], among the columns of all shards
    out: jax.Array | None  # bool [T], true for columns that are left out


def over_pairs(
    fold: Fold,
    a: jax.Array,
    b: jax.Array,
    *,
    itself: bool = True,
    out: jax.Array | None = None,
    where: jax.Array | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """One value for each row of a [A, D], over the rows of b [M, D] of all shards: [A].

    itself: whether row i is paired with column i.
    out: bool [A, N], true for pairs that are left out; N the columns of all shards.
    where: bool [M], true for columns that count; None: all.
    block: how many columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch; None: there is one shard.
    """
    if block is not None and block < 1:
        raise ValueError(f'block={block}: the columns at a time are one or more, or None')
    rows = own(len(a), axis_name)

    def strip(carry, columns):
        s, left_out = _pairs(a, columns, rows, itself, out)
        return fold.add(carry, s if left_out is None else jnp.where(left_out, NOTHING, s)), None

    start = tuple(jnp.full_like(a[:, 0], value) for value in fold.start)
    if block is None or axis_name is None:
        b = everywhere(b, axis_name)
        where = None if where is None else everywhere(where, axis_name)
        columns = Columns(b, jnp.arange(len(b), dtype=jnp.int32), _not(where))
        if block is None:
            return fold.value(strip(start, columns)[0])
        return fold.value(_in_strips(strip, start, columns, block))
    columns = Columns(b, own(len(b), axis_name), _not(where))
    return fold.value(_in_a_ring(strip, start, columns, block, axis_name))


def _not(where):
    return None if where is None else ~where


def _pairs(a, columns, rows, itself, out):
    """s [A, T] of the rows, and the pairs left out: bool, broadcast to [A, T], or None."""
    left_out = columns.out
    if not itself:
        same = rows[:, None] == columns.index
        left_out = same if left_out is None else left_out | same
    if out is not None:
        out = out[:, columns.index]
        left_out = out if left_out is None else left_out | out
    return products(a, columns.b), left_out


def _in_strips(strip, carry, columns, block):
    # nothing of a strip is kept for the backward pass but what enters it
    strip = jax.checkpoint(strip, prevent_cse=False)
    return lax.scan(strip, carry, _cut(columns, block))[0]


def _in_a_ring(strip, carry, columns, block, axis_name):
    size = shards(axis_name)

    def shard(loop, _):  # the columns go on to the next shard, the rows and what they carry stay
        carry, columns = loop
        carry = _in_strips(strip, carry, columns, block)
        ring = partial(lax.ppermute, perm=[(i, (i + 1) % size) for i in range(size)])
        return (carry, jax.tree.map(lambda x: ring(x, axis_name), columns)), None

    return lax.scan(shard, (carry, columns), length=size)[0][0]


def _cut(columns: Columns, block: int) -> Columns:
    """[M, ...] -> [strips, T, ...], T at most `block` and as small as possible.

    With n strips, strip i has the columns i, i + n, i + 2n, ...: so each device has a part of
    every strip.
    """
    count = len(columns.index)
    strips = -(-count // min(block, count))
    missing = -count % strips

    def cut(x, filled_up_by):
        edges = [(0, missing), *[(0, 0)] * (x.ndim - 1)]
        x = jnp.pad(x, edges, constant_values=filled_up_by)
        return x.reshape(-1, strips, *x.shape[1:]).swapaxes(0, 1)

    out = columns.out
    if missing and out is None:
        out = jnp.zeros_like(columns.index, bool)
    return Columns(
        cut(columns.b, 0), cut(columns.index, 0), None if out is None else cut(out, True)
    )
