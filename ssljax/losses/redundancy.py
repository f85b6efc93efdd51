"""Losses without negatives: statistics of a batch keep features or rows from becoming equal.

>>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # white
>>> print(f'{barlow_twins(z, z):.4f}')
0.0000
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, everywhere, itself, mean, over_shards, products, total, unit


def barlow_twins(
    z1: jax.Array, z2: jax.Array, *, weight: float = 5e-3, axis_name: Axis = None
) -> jax.Array:
    """Barlow Twins: the cross-correlation of two views' features should be the identity.

    Zbontar et al. 2021, arXiv:2103.03230, eqs. 1 and 2: with C[d, e] the correlation over the
    batch of feature d of one view and e of the other,
        l = sum_d (1 - C[d, d])^2 + weight * sum_{d != e} C[d, e]^2.
    z1, z2 [B, D] -> []. A variance of 1e-5 is added, as their batch norm does.
    """
    z1, z2 = (_centered(z, axis_name) for z in (z1, z2))
    z1, z2 = (z * lax.rsqrt(mean(jnp.square(z), axis_name) + 1e-5) for z in (z1, z2))
    C = _moments(z1, z2, axis_name)
    diagonal = jnp.diagonal(C)
    others = jnp.square(C).sum() - jnp.square(diagonal).sum()
    return jnp.square(1 - diagonal).sum() + weight * others


def vicreg(
    z1: jax.Array,
    z2: jax.Array,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    axis_name: Axis = None,
) -> jax.Array:
    """VICReg: views are equal, each feature has a deviation of one or more, no two are correlated.

    Bardes et al. 2021, arXiv:2105.04906, eqs. 1 to 6: with S the covariance over the batch
    (divided by B - 1) of one view's features,
        s = mean (z1 - z2)^2,  v = mean_d max(0, 1 - sqrt(S[d, d] + 1e-4)),
        c = 1/D sum_{d != e} S[d, e]^2;
        l = invariance * s + variance * (v1 + v2) / 2 + covariance * (c1 + c2).
    z1, z2 [B, D] -> []. This is the authors' code, to which their weights belong: s is a mean over
    features too and v a mean over views, where the paper's text has sums.

    invariance, variance, covariance: weights of s, v and c.
    axis_name: the mapped axis whose shards make up the batch.
    """
    difference = z1.astype(jnp.float32) - z2.astype(jnp.float32)
    s = mean(jnp.square(difference).mean(-1), axis_name)
    N, D = total(len(z1), axis_name), z1.shape[-1]

    def v_and_c(z):
        z = _centered(z, axis_name)
        S = _moments(z, z, axis_name) * (N / max(N - 1, 1))
        diagonal = jnp.diagonal(S)
        v = jnp.maximum(1 - jnp.sqrt(diagonal + 1e-4), 0).mean()
        return v, (jnp.square(S).sum() - jnp.square(diagonal).sum()) / D

    (v1, c1), (v2, c2) = v_and_c(z1), v_and_c(z2)
    return invariance * s + variance * (v1 + v2) / 2 + covariance * (c1 + c2)


def koleo(z: jax.Array, *, axis_name: Axis = None) -> jax.Array:
    """KoLeo: pushes each example away from its nearest one, so that all spread over the sphere.

    Sablayrolles et al. 2018, arXiv:1806.03198, eq. 4, as in Oquab et al. 2023, arXiv:2304.07193:
    with unit rows,
        l(i) = -log min_{k != i} |z_i - z_k|.
    z [B, D], B at least 2 -> [B].
    """
    z = unit(z)
    all_z = everywhere(z, axis_name)
    same = itself(len(z), axis_name)
    nearest = jnp.where(same, -2, lax.stop_gradient(products(z, all_z))).argmax(-1)
    square = jnp.square(z - all_z[nearest]).sum(-1)
    return -jnp.log(square + 1e-16) / 2  # finite for rows that are equal


def _centered(z: jax.Array, axis_name: Axis) -> jax.Array:
    z = z.astype(jnp.float32)
    return z - mean(z, axis_name)


def _moments(a: jax.Array, b: jax.Array, axis_name: Axis) -> jax.Array:
    """The mean over the batch of a[d] b[e]: [D, D]."""
    return over_shards(products(a.T, b.T) / len(a), axis_name)
