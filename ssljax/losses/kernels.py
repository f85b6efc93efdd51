"""Losses of sets by a kernel between rows: how two sets differ, how a set spreads.

>>> x = jnp.array([[0.0], [1.0]])
>>> print(mmd(x, x, kernel=gaussian_kernel(1.0), unbiased=False))  # a set is where it is itself
0.0
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from ssljax.losses._rows import Axis, everywhere, itself, least, like, mean, on, precise, size
from ssljax.losses._shapes import ArrayLike, arrays

Kernel = Callable[[jax.Array, jax.Array], jax.Array]


def gaussian_kernel(*scales: ArrayLike) -> Kernel:
    """The sum over scales s of exp(-|a - b|^2 / 2 s^2): a function of [A, D], [M, D] -> [A, M].

    >>> print(gaussian_kernel(1.0, 2.0)(jnp.zeros((1, 3)), jnp.zeros((1, 3))))
    [[2.]]
    """

    def kernel(a: ArrayLike, b: ArrayLike) -> jax.Array:
        squares = _squares(a, b)
        each = [jnp.exp(-squares / (2 * like(scale, squares) ** 2)) for scale in scales]
        return jnp.stack(each).sum(0)

    return kernel


def mmd(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kernel: Kernel,
    unbiased: bool = True,
    where: ArrayLike | None = None,
    where_y: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The squared maximum mean discrepancy of two sets, one value for a batch.

    Gretton et al. 2012 (JMLR 13), eq. 3, or eq. 5 if biased:
        mean_{i /= k} k(x_i, x_k) + mean_{i /= k} k(y_i, y_k) - 2 mean_{i, k} k(x_i, y_k).
    x [B, D], y [M, D] -> []. A critic's features of x and y (MMD GAN) are such rows.

    kernel: a function of [A, D], [M, D] -> [A, M], as `gaussian_kernel`; its scale should be about
        that of the distances between rows.
    unbiased: pairs of a row with itself are left out; then equal sets are slightly below zero. If
        not, they count, and the value is never below zero.
    where, where_y: bool [B], bool [M], the rows of x and of y that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> kernel = lambda a, b: a @ b.T
    >>> print(mmd([[1.0]], [[3.0]], kernel=kernel, unbiased=False))  # (1 - 3)^2
    4.0
    """
    pair = dict.fromkeys('BM', least(2, axis_name)) if unbiased else {}
    x, y, where, where_y = arrays(
        'B D', 'M D', 'B', 'M', x=x, y=y, where=where, where_y=where_y, at_least=pair
    )
    x, y = on(where, precise(x)), on(where_y, precise(y))

    def over(rows, others, counts):
        """The mean of the kernel over all rows of the second set: one for each of the first."""
        return _mean_of_columns(kernel(rows, everywhere(others, axis_name)), counts, axis_name)

    def within(rows, counts):
        if not unbiased:
            return mean(over(rows, rows, counts), axis_name, counts)
        k = kernel(rows, everywhere(rows, axis_name))
        k = jnp.where(itself(len(rows), axis_name), 0, k)
        pairs = mean(_mean_of_columns(k, counts, axis_name), axis_name, counts)
        N = size(rows, axis_name, counts)
        return pairs * (N / jnp.maximum(N - 1, 1))

    between = mean(over(x, y, where_y), axis_name, where)
    return within(x, where) + within(y, where_y) - 2 * between


def renyi_entropy(
    z: ArrayLike, *, sigma: ArrayLike = 1.0, where: ArrayLike | None = None, axis_name: Axis = None
) -> jax.Array:
    """Renyi's quadratic entropy of a set of rows, one value for a batch, by a kernel estimate.

    Principe, Xu & Fisher 2000 (in Haykin, Unsupervised Adaptive Filtering), of the density
    p(z) = 1/N sum_i N(z; z_i, sigma^2):
        -log of the integral of p^2 = -log 1/N^2 sum_{i, k} N(z_i - z_k; 0, 2 sigma^2).
    z [B, D] -> [], in nats. Of normal rows of variance v it is near D/2 log(4 pi (v + sigma^2)).

    sigma: the width of the estimate.
    where: bool [B], the rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{renyi_entropy([[0.0], [0.0]]):.4f}')  # log(4 pi) / 2
    1.2655
    """
    z, where = arrays('B D', 'B', z=z, where=where)
    z = precise(on(where, z))
    sigma = like(sigma, z)
    constant = z.shape[1] / 2 * math.log(4 * math.pi) + z.shape[1] * jnp.log(sigma)
    potentials = _mean_of_columns(_potentials(z, sigma, axis_name), where, axis_name)
    return constant - jnp.log(mean(potentials, axis_name, where))


def quadratic_mutual_information(
    y: ArrayLike,
    z: ArrayLike,
    *,
    sigma: ArrayLike = 1.0,
    divergence: Literal['cauchy_schwarz', 'euclidean'] = 'cauchy_schwarz',
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """How much rows of y say of their rows of z, one value for a batch: zero if nothing.

    Principe, Xu & Fisher 2000 (in Haykin, Unsupervised Adaptive Filtering): with the density of
    `renyi_entropy`, p of pairs and q = p(y) p(z), and the integrals
        V_J of p^2,  V_M of q^2,  V_C of p q:
        cauchy_schwarz: log V_J + log V_M - 2 log V_C,  euclidean: V_J + V_M - 2 V_C.
    y [B, D], z [B, E] -> []. For a loss that keeps information, take minus.

    sigma: the width of the estimate, of y and of z.
    divergence: which of the two distances between p and q.
    where: bool [B], the rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(quadratic_mutual_information([[0.0], [1.0]], [[2.0], [2.0]]))
    0.0
    """
    if divergence not in ('cauchy_schwarz', 'euclidean'):
        raise ValueError(f'divergence={divergence!r}: it is cauchy_schwarz or euclidean')
    y, z, where = arrays('B D', 'B E', 'B', y=y, z=z, where=where)
    y, z = precise(on(where, y)), precise(on(where, z))
    sigma = like(sigma, y)
    of_y, of_z = (_potentials(rows, sigma, axis_name) for rows in (y, z))
    pairs = partial(_mean_of_columns, where=where, axis_name=axis_name)
    joint = mean(pairs(of_y * of_z), axis_name, where)
    each = mean(pairs(of_y), axis_name, where) * mean(pairs(of_z), axis_name, where)
    cross = mean(pairs(of_y) * pairs(of_z), axis_name, where)
    if divergence == 'cauchy_schwarz':  # constant factors of the density cancel
        return jnp.log(joint) + jnp.log(each) - 2 * jnp.log(cross)
    return (joint + each - 2 * cross) * (4 * math.pi * sigma**2) ** (-(y.shape[1] + z.shape[1]) / 2)


def _potentials(z, sigma, axis_name):
    """N(z_i - z_k; 0, 2 sigma^2) without its constant, to the rows of all shards: [B, N]."""
    return jnp.exp(-_squares(z, everywhere(z, axis_name)) / (4 * sigma**2))


def _mean_of_columns(k, where, axis_name):
    """The mean of [B, N] over the rows of all shards that count: [B]."""
    if where is None:
        return k.mean(1)
    counts = everywhere(where, axis_name)
    return jnp.where(counts, k, 0).sum(1) / size(k, axis_name, where)


def _squares(a, b):
    """Squared distances as sums of squares: exactly zero, and never below, where rows are equal."""
    return jnp.square(a[:, None] - b).sum(-1)
