"""Metric learning: distances between the rows of a labeled batch.

>>> z, labels = jnp.array([[0.0], [1.0], [3.0], [7.0]]), jnp.array([0, 0, 1, 1])
>>> print(batch_hard_triplet(z, labels, margin=0.5))  # rows 1 and 2 are nearer than 2 and 3
[0.  0.  2.5 0. ]
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import softplus

from ssljax.losses._rows import Axis, everywhere, itself, least, like, on, precise, products
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._strips import LOG_SUM_EXP, over_pairs


def margin_pair(
    z1: ArrayLike, z2: ArrayLike, same: ArrayLike, *, margin: ArrayLike = 1.0
) -> jax.Array:
    """Pairs that are the same attract; others repel while they are nearer than the margin.

    Hadsell, Chopra, LeCun 2006 (CVPR), eq. 4: with d = |z1 - z2|,
        l = d^2 / 2 where same, else max(0, margin - d)^2 / 2.
    z1, z2 [B, D], same bool [B] -> [B]. Rows are not normalized; the paper names no margin.

    >>> print(f'{margin_pair([[0.0, 0.0]], [[0.3, 0.4]], [False])[0]:.4f}')  # (1 - 0.5)^2 / 2
    0.1250
    """
    z1, z2, same = arrays('B D', 'B D', 'B', z1=z1, z2=z2, same=same)
    square = _square_distance(z1, z2)
    distance = jnp.sqrt(square + 1e-12)  # the small number keeps the gradient finite at zero
    apart = jnp.maximum(like(margin, distance) - distance, 0)
    return jnp.where(same, square, jnp.square(apart)) / 2


def triplet(
    anchor: ArrayLike, positive: ArrayLike, negative: ArrayLike, *, margin: ArrayLike = 0.2
) -> jax.Array:
    """The positive should be nearer to the anchor than the negative, by a margin.

    Schroff et al. 2015, arXiv:1503.03832, eq. 3:
        l = max(0, |a - p|^2 - |a - n|^2 + margin).
    [B, D] each -> [B]. Rows are not normalized; the paper's have length one, and its margin is 0.2.

    >>> print(triplet([[0.0]], [[0.5]], [[0.5]]))
    [0.2]
    """
    anchor, positive, negative = arrays('B D', anchor=anchor, positive=positive, negative=negative)
    difference = _square_distance(anchor, positive) - _square_distance(anchor, negative)
    return jnp.maximum(difference + like(margin, difference), 0)


def semi_hard_triplet(
    z: ArrayLike,
    labels: ArrayLike,
    *,
    margin: ArrayLike = 0.2,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """Triplets of all positives with the nearest negative that is further than the positive.

    Schroff et al. 2015, arXiv:1503.03832, eq. 3 and section 3.2: with D the squared distance, P(i)
    the other rows of i's class and n(i, p) the row of another class that has the least D(i, n)
    among those with D(i, n) > D(i, p),
        l(i) = 1/|P(i)| sum_{p in P(i)} max(0, D(i, p) - D(i, n(i, p)) + margin).
    z [B, D], labels int [B] -> [B]. A pair without such a negative adds nothing; a row without a
    positive is 0. Rows are not normalized; the paper's have length one.

    margin: the paper's.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z, labels = jnp.array([[0.0], [1.0], [3.0], [7.0]]), jnp.array([0, 0, 1, 1])
    >>> print(semi_hard_triplet(z, labels, margin=10.0))
    [2. 7. 0. 0.]
    """
    z, labels, where = arrays(
        'B D', 'B', 'B', z=z, labels=labels, where=where, at_least=dict(B=least(2, axis_name))
    )
    where = jnp.ones_like(labels, bool) if where is None else where.astype(bool)
    z = on(where, precise(z))
    if axis_name is None:  # an Explicit mesh cannot place the search below
        z, labels, where = everywhere(z, None), everywhere(labels, None), everywhere(where, None)
    all_z = everywhere(z, axis_name)
    distance = _square_distances(z, all_z)
    positive, negative = _others(labels, where, axis_name)

    # negatives by distance, then behind them the rest; where each positive would stand among them
    far = jnp.where(negative, lax.stop_gradient(distance), jnp.inf)
    order = far.argsort(-1)
    far = jnp.take_along_axis(far, order, -1)
    place = jax.vmap(lambda row, d: jnp.searchsorted(row, d, side='right'))(
        far, lax.stop_gradient(distance)
    )
    found = place < negative.sum(-1, keepdims=True)
    nearest = jnp.take_along_axis(order, jnp.minimum(place, far.shape[-1] - 1), -1)
    gap = distance - jnp.take_along_axis(distance, nearest, -1)
    terms = jnp.where(positive & found, jnp.maximum(gap + like(margin, z), 0), 0)
    return on(where, terms.sum(-1) / jnp.maximum(positive.sum(-1, dtype=terms.dtype), 1))


def batch_hard_triplet(
    z: ArrayLike,
    labels: ArrayLike,
    *,
    margin: ArrayLike | None = 0.2,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The furthest row of an example's class should be nearer than the nearest of any other class.

    Hermans et al. 2017, arXiv:1703.07737, eq. 5: with distances d, not squared,
        l(i) = max(0, margin + max_p d(i, p) - min_n d(i, n)),
    over the other rows p of i's class and the rows n of other classes; with margin=None the soft
    margin log(1 + exp(max_p d(i, p) - min_n d(i, n))).
    z [B, D], labels int [B] -> [B]; 0 for a row without a positive or a negative. Rows are not
    normalized.

    margin: None: soft.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> rows, labels = [[0.0], [1.0], [3.0], [9.0]], [0, 0, 1, 1]
    >>> print(batch_hard_triplet(rows, labels, margin=1.0))  # of 3: 6 to 9, 2 to 1
    [0. 0. 5. 0.]
    """
    z, labels, where = arrays(
        'B D', 'B', 'B', z=z, labels=labels, where=where, at_least=dict(B=least(2, axis_name))
    )
    where = jnp.ones_like(labels, bool) if where is None else where.astype(bool)
    z = on(where, precise(z))
    all_z = everywhere(z, axis_name)
    near = lax.stop_gradient(_square_distances(z, all_z))
    positive, negative = _others(labels, where, axis_name)

    def distance(chosen):  # exact, for the two that count
        # on an Explicit mesh, indices of rows of all devices are needed whole
        chosen = chosen if axis_name is not None else everywhere(chosen, None)
        square = jnp.square(z - all_z[chosen]).sum(-1)
        return jnp.sqrt(square + 1e-12)  # the small number keeps the gradient finite at zero

    furthest = distance(jnp.where(positive, near, -1).argmax(-1))
    gap = furthest - distance(jnp.where(negative, near, jnp.inf).argmin(-1))
    value = softplus(gap) if margin is None else jnp.maximum(gap + like(margin, z), 0)
    return on(where, jnp.where(positive.any(-1) & negative.any(-1), value, 0))


def n_pair(
    anchor: ArrayLike,
    positive: ArrayLike,
    *,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """N-pair: the positives of all other anchors are an anchor's negatives.

    Sohn 2016 (NIPS), section 3.2, the loss N-pair-mc:
        l(i) = log(1 + sum_{k != i} exp(a_i.p_k - a_i.p_i)).
    anchor, positive [B, D], one pair of each class -> [B]. Rows are not normalized; the paper keeps
    their lengths small by a penalty on the squares, which is not part of the equation.

    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{n_pair(jnp.eye(2), 3 * jnp.eye(2))[0]:.4f}')  # log(1 + exp(-3))
    0.0486
    """
    anchor, positive, where = arrays(
        'B D', 'B D', 'B', anchor=anchor, positive=positive, where=where,
        at_least=dict(B=least(2, axis_name)),
    )  # fmt: skip
    where = None if where is None else where.astype(bool)
    anchor, positive = on(where, precise(anchor)), on(where, precise(positive))
    options: dict[str, Any] = dict(where=where, block=block, axis_name=axis_name)
    log_sum = over_pairs(LOG_SUM_EXP, anchor, positive, **options)
    return on(where, log_sum - (anchor * positive).sum(-1))


def _others(labels, where, axis_name):
    """The rows of all shards that are of a row's class, and those of others: bool [B, N] twice."""
    same = labels[:, None] == everywhere(labels, axis_name)
    counts = everywhere(where, axis_name)
    return same & counts & ~itself(len(labels), axis_name), ~same & counts


def _square_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """[A, D], [B, D] -> [A, B]."""
    squares = jnp.square(a).sum(-1)[:, None] + jnp.square(b).sum(-1)
    return jnp.maximum(squares - 2 * products(a, b), 0)


def _square_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.square(precise(a) - precise(b)).sum(-1)
