"""Losses without negatives: statistics of a batch keep features or rows from becoming equal.

`where`, bool [B]: a row that is off, whatever is in it, has no part in a statistic. `axis_name`:
the mapped axis, or axes, whose shards make up the batch.

>>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # white
>>> print(f'{barlow_twins(z, z):.4f}')
0.0000
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    Axis,
    everywhere,
    itself,
    least,
    like,
    mean,
    on,
    precise,
    products,
    size,
    unit,
)
from ssljax.losses._shapes import arrays


def barlow_twins(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    weight: ArrayLike = 5e-3,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """Barlow Twins, one value for a batch: two views' features correlate as the identity does.

    Zbontar et al. 2021, arXiv:2103.03230, eqs. 1 and 2: with C[d, e] the correlation over the
    batch of feature d of one view and e of the other,
        l = sum_d (1 - C[d, d])^2 + weight * sum_{d != e} C[d, e]^2.
    z1, z2 [B, D], B at least 2 -> []. A variance of 1e-5 is added, as their batch norm does. The
    weight, the paper's lambda, is its best (section 3).

    >>> z = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # a feature, and a copy of it
    >>> print(f'{barlow_twins(z, z):.4f}')
    0.0100
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    z1, z2 = (_centered(z, axis_name, where) for z in (z1, z2))
    z1, z2 = (z * lax.rsqrt(mean(jnp.square(z), axis_name, where) + 1e-5) for z in (z1, z2))
    C = _moments(z1, z2, axis_name, where)
    diagonal = jnp.diagonal(C)
    others = jnp.square(C).sum() - jnp.square(diagonal).sum()
    return jnp.square(1 - diagonal).sum() + like(weight, C) * others


def vicreg(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    invariance: ArrayLike = 25.0,
    variance: ArrayLike = 25.0,
    covariance: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """VICReg, one value for a batch: views are equal, features spread and are not correlated.

    Bardes et al. 2021, arXiv:2105.04906, eqs. 1 to 6: with S the covariance over the batch
    (divided by B - 1) of one view's features,
        s = mean (z1 - z2)^2,  v = mean_d max(0, 1 - sqrt(S[d, d] + 1e-4)),
        c = 1/D sum_{d != e} S[d, e]^2;
        l = invariance * s + variance * (v1 + v2) / 2 + covariance * (c1 + c2).
    z1, z2 [B, D], B at least 2 -> []. This is the authors' code, to which their weights belong: s
    is a mean over features too and v a mean over views, where the paper's text has sums.

    invariance, variance, covariance: weights of s, v and c; the paper's (section 4.2).
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(vicreg(z, z + 1))  # 25, the square distance
    25.0
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    z1, z2 = on(where, precise(z1)), on(where, precise(z2))
    s = mean(jnp.square(z1 - z2).mean(-1), axis_name, where)
    N, D = size(z1, axis_name, where), z1.shape[-1]

    def v_and_c(z):
        z = _centered(z, axis_name, where)
        S = _moments(z, z, axis_name, where) * (N / jnp.maximum(N - 1, 1))
        diagonal = jnp.diagonal(S)
        v = jnp.maximum(1 - jnp.sqrt(diagonal + 1e-4), 0).mean()
        return v, (jnp.square(S).sum() - jnp.square(diagonal).sum()) / D

    (v1, c1), (v2, c2) = v_and_c(z1), v_and_c(z2)
    a, b, c = (like(weight, s) for weight in (invariance, variance, covariance))
    return a * s + b * (v1 + v2) / 2 + c * (c1 + c2)


def koleo(z: ArrayLike, *, where: ArrayLike | None = None, axis_name: Axis = None) -> jax.Array:
    """KoLeo: pushes each example away from its nearest one, so that all spread over the sphere.

    Sablayrolles et al. 2018, arXiv:1806.03198, eq. 4, as in Oquab et al. 2023, arXiv:2304.07193:
    with unit rows,
        l(i) = -log min_{k != i} |z_i - z_k|.
    z [B, D], B at least 2 -> [B].

    >>> print(f'{koleo([[1.0, 0.0], [0.0, 1.0]])[0]:.4f}')  # -log sqrt 2
    -0.3466
    """
    z, where = arrays('B D', 'B', z=z, where=where, at_least=dict(B=least(2, axis_name)))
    z = unit(on(where, z))
    all_z = everywhere(z, axis_name)
    out = itself(len(z), axis_name)
    if where is not None:
        out |= ~everywhere(where.astype(bool), axis_name)
    nearest = jnp.where(out, -2, lax.stop_gradient(products(z, all_z))).argmax(-1)
    if axis_name is None:
        nearest = everywhere(nearest, None)
    square = jnp.square(z - all_z[nearest]).sum(-1)
    return on(where, -jnp.log(square + 1e-16) / 2)  # finite for rows that are equal


def _centered(z: jax.Array, axis_name: Axis, where: jax.Array | None) -> jax.Array:
    z = on(where, precise(z))
    return on(where, z - mean(z, axis_name, where))


def _moments(a: jax.Array, b: jax.Array, axis_name: Axis, where: jax.Array | None) -> jax.Array:
    """The mean over the batch of a[d] b[e]: [D, D]; rows that are off are zero."""
    sums = products(a.T, b.T)
    sums = sums if axis_name is None else lax.psum(sums, axis_name)
    return sums / size(a, axis_name, where)
