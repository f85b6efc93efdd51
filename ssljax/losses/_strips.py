"""Reductions over all pairs of rows: all columns at once, or a strip of columns at a time.

value(i) = reduce over k of s(i, k) = a(i).b(k). With strips, the array of all pairs is never made.
Its slope by s(i, k) is a function of s(i, k) and value(i), so nothing but the values is kept for a
derivative, which computes each strip again: one product of a strip for the values, three for value
and gradient beside those. With several shards, the columns are passed from shard to shard in a
ring. The slope is a rule of forward mode, and plain code to JAX: it is transposed for a gradient,
and has derivatives of its own; vmap passes through.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, everywhere, explicit, own, products, shards

NOTHING = float(jnp.finfo(jnp.float32).min) / 2  # finite, so a row without any pair has no NaN


class Fold(NamedTuple):
    """A reduction that can be computed strip by strip."""

    start: tuple[float, ...]
    add: Callable  # carry, each [A], and s [A, T] -> carry
    value: Callable  # carry -> [A]
    slope: Callable  # s [A, T] and value [A, 1] -> d value / d s


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


class How(NamedTuple):
    """What does not change the arrays of a call, but the program."""

    fold: Fold
    itself: bool
    block: int | None
    axis_name: Axis
    both: bool  # whether the columns have values, too


class Columns(NamedTuple):
    b: jax.Array  # [T, D]
    index: jax.Array  # type: ignore[assignment]  # int [T], among the columns of all shards
    out: jax.Array | None  # bool [T], true for columns that are left out
    more: Any = None  # for a derivative: the tangent of b [T, D], and values of the columns [T]


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
    how = How(fold, itself, _at_a_time(block), axis_name, both=False)
    return _values(how, a, b, (out, _not(where), None))[0]


def both_ways(
    fold: Fold,
    a: jax.Array,
    b: jax.Array,
    *,
    itself: bool = True,
    out: jax.Array | None = None,
    where: jax.Array | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> tuple[jax.Array, jax.Array]:
    """The values of the rows of a [B, D] over those of b [B, D], and of b's over a's: [B], [B].

    As two calls of `over_pairs`, but each pair is computed once.

    itself, out, block, axis_name: as of `over_pairs`; out is turned for the values of b.
    where: bool [B], of rows and columns.
    """
    options: dict = dict(itself=itself, where=where, block=block, axis_name=axis_name)
    if axis_name is not None or explicit(a) or explicit(b):  # a column's rows lie on all shards
        turned = None if out is None else everywhere(out, axis_name).T[own(len(a), axis_name)]
        return (
            over_pairs(fold, a, b, out=out, **options),
            over_pairs(fold, b, a, out=turned, **options),
        )
    how = How(fold, itself, _at_a_time(block), None, both=True)
    return _values(how, a, b, (out, _not(where), _not(where)))


def _at_a_time(block):
    if block is not None and block < 1:
        raise ValueError(f'block={block}: the columns at a time are one or more, or None')
    return block


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _values(how: How, a: jax.Array, b: jax.Array, masks: tuple) -> tuple:
    """The values of rows [A], and of columns [M] or None.

    masks: of pairs [A, N], columns [M] and rows [A], true for what is left out; each may be None.
    """
    fold = how.fold

    def strip(carry, columns):
        s, by_row, by_column = _pairs(how, a, columns, masks)
        carry = fold.add(carry, _filled(s, by_row))
        if not how.both:
            return carry, None
        own_start = tuple(jnp.full_like(columns.b[:, 0], value) for value in fold.start)
        return carry, fold.value(fold.add(own_start, _filled(s, by_column).T))

    start = tuple(jnp.full_like(a[:, 0], value) for value in fold.start)
    carry, by_column = _over_strips(how, strip, start, b, masks[1])
    return fold.value(carry), by_column


@_values.defjvp
def _slopes(how, given, tangents):
    (a, b, masks), (da, db, _) = given, tangents
    values = _values(how, a, b, masks)
    of_rows, of_columns = values

    def strip(total, columns):
        s, by_row, by_column = _pairs(how, a, columns, masks)
        db, value = columns.more
        ds = products(da, columns.b) + products(a, db)

        def through(value, out):
            slope = how.fold.slope(_filled(s, out), value)
            return ds * (slope if out is None else jnp.where(out, 0, slope))

        total += through(of_rows[:, None], by_row).sum(-1)
        return total, through(value, by_column).sum(0) if how.both else None

    more = db, of_columns
    start = jnp.zeros_like(da[:, 0])
    return values, _over_strips(how, strip, start, b, masks[1], more)


def _not(where):
    return None if where is None else ~where


def _filled(s, out):
    return s if out is None else jnp.where(out, NOTHING, s)


def _pairs(how, a, columns, masks):
    """s [A, T], and the pairs that values of rows, and of columns, leave out: bool or None."""
    pairs, _, rows = masks
    left_out = None
    if not how.itself:
        left_out = own(len(a), how.axis_name)[:, None] == columns.index
    if pairs is not None:
        pairs = pairs[:, columns.index]
        left_out = pairs if left_out is None else left_out | pairs
    both = columns.out, None if rows is None else rows[:, None]
    by_row, by_column = (_either(left_out, mask) for mask in both)
    return products(a, columns.b), by_row, by_column


def _either(one, other):
    if one is None or other is None:
        return other if one is None else one
    return one | other


def _over_strips(how, strip, carry, b, out, more=None):
    """What a strip (carry, columns) -> (carry, by column) carries out of all columns, and what it
    says of each: [M, ...]."""
    block, axis_name = how.block, how.axis_name
    if block is None or axis_name is None:
        b, out, more = jax.tree.map(lambda x: everywhere(x, axis_name), (b, out, more))
        columns = Columns(b, jnp.arange(len(b), dtype=jnp.int32), out, more)
        return strip(carry, columns) if block is None else _in_strips(strip, carry, columns, block)
    columns = Columns(b, own(len(b), axis_name), out, more)
    return _in_a_ring(strip, carry, columns, block, axis_name), None


def _in_strips(strip, carry, columns, block):
    # nothing of a strip is kept for the backward pass but what enters it
    strip = jax.checkpoint(strip, prevent_cse=False)
    carry, told = lax.scan(strip, carry, _cut(columns, block))
    count = len(columns.index)
    return carry, jax.tree.map(lambda x: x.T.reshape(-1)[:count], told)


def _in_a_ring(strip, carry, columns, block, axis_name):
    size = shards(axis_name)

    def shard(loop, _):  # the columns go on to the next shard, the rows and what they carry stay
        carry, columns = loop
        carry, _ = _in_strips(strip, carry, columns, block)
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

    def cut(x, filled_up_by=0):
        edges = [(0, missing), *[(0, 0)] * (x.ndim - 1)]
        x = jnp.pad(x, edges, constant_values=filled_up_by)
        return x.reshape(-1, strips, *x.shape[1:]).swapaxes(0, 1)

    out = columns.out
    if missing and out is None:
        out = jnp.zeros_like(columns.index, bool)
    return Columns(
        cut(columns.b),
        cut(columns.index),
        None if out is None else cut(out, True),
        jax.tree.map(cut, columns.more),
    )
