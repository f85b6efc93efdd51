"""Penalties of the codes of an autoencoder: few active units, or units that ignore small changes.

>>> print(sparse_l1(jnp.array([[0.5, -1.0, 0.0]])))
[1.5]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.losses._rows import Axis, absolute, like, mean, precise, row_sums
from ssljax.losses._shapes import ArrayLike, arrays


def sparse_l1(codes: ArrayLike) -> jax.Array:
    """The sum of the magnitudes of a row's codes, which drives most of them to zero.

    Lee et al. 2006 (NIPS, Efficient sparse coding), eq. 2, without its weight:  sum_j |h_j|.
    codes h [B, ...] -> [B]. Its slope at zero is zero.

    >>> print(sparse_l1([[0.5, -2.0]]))
    [2.5]
    """
    (codes,) = arrays('B ...', codes=codes)
    codes = precise(codes)
    return row_sums(absolute(codes))


def sparse_kl(
    codes: ArrayLike,
    *,
    target: ArrayLike = 0.05,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """How far mean activations are from a small one, one value for a batch.

    Ng 2011 (Stanford CS294A, Sparse autoencoder), section 3: with m_j the mean of unit j over rows,
        sum_j r log(r / m_j) + (1 - r) log((1 - r) / (1 - m_j)),  r = target.
    codes [B, ...] between 0 and 1 -> [].

    target: the share of time that a unit should be active.
    where: bool [B], the rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{sparse_kl([[0.0], [1.0]], target=0.5):.4f}')
    0.0000
    """
    codes, where = arrays('B ...', 'B', codes=codes, where=where)
    active = mean(precise(codes), axis_name, where)
    active = jnp.clip(active, 1e-6, 1 - 1e-6)  # finite for a dead unit
    target = like(target, active)
    entropy = target * jnp.log(target) + (1 - target) * jnp.log1p(-target)
    cross = target * jnp.log(active) + (1 - target) * jnp.log1p(-active)
    return (entropy - cross).sum()


def contractive(encoder: Callable[[jax.Array], jax.Array], x: ArrayLike) -> jax.Array:
    """The squared Frobenius norm of an encoder's Jacobian: how much codes change with their row.

    Rifai et al. 2011 (ICML, Contractive auto-encoders), eq. 1:  sum_ij (dh_j / dx_i)^2.
    encoder: x [B, ...] -> codes [B, H], each from its own row alone. x [B, ...] -> [B]. It costs a
    backward pass for each of the H codes; `contractive_sigmoid` costs none.

    >>> print(contractive(lambda x: 3 * x, [[1.0, 1.0]]))
    [18.]
    """
    (x,) = arrays('B ...', x=x)
    codes, back = jax.vjp(encoder, precise(x))
    arrays('B ...', 'B H', x=x, encoder=codes)
    each = jnp.eye(codes.shape[1], dtype=codes.dtype)
    slopes = jax.vmap(lambda one: back(one + jnp.zeros_like(codes))[0])(each)
    return row_sums(jnp.square(slopes).sum(0))


def contractive_sigmoid(codes: ArrayLike, *, kernel: ArrayLike) -> jax.Array:
    """`contractive` of one layer of sigmoids, from its codes and kernel.

    Rifai et al. 2011 (ICML, Contractive auto-encoders), section 3: with h = sigmoid(x W + b),
        sum_j (h_j (1 - h_j))^2 sum_i W_ij^2.
    codes h [B, H], kernel W [D, H] -> [B].

    >>> print(contractive_sigmoid([[0.5]], kernel=[[4.0]]))
    [1.]
    """
    codes, kernel = arrays('B H', 'D H', codes=codes, kernel=kernel)
    codes = precise(codes)
    return (jnp.square(codes * (1 - codes)) * jnp.square(precise(kernel)).sum(0)).sum(-1)
