"""Clustering of rows: whitening, k-means, the agreement of two partitions, a head of new names."""

from functools import partial

import jax
import jax.numpy as jnp
import optax

from ssljax.collapse import directions
from ssljax.method import Tree


@partial(jax.jit, static_argnames='dims')
def whiten(x: jax.Array, *, dims: int) -> jax.Array:
    """Rows [N, D] -> [N, dims]: their main principal axes, with variance 1, scaled to length 1."""
    x = x.astype(jnp.float32) - x.mean(0)
    variance, axes = jnp.linalg.eigh(jnp.matmul(x.T, x, precision='highest') / len(x))
    # axes with almost no variance stay small and do not become noise
    scale = jax.lax.rsqrt(variance + 1e-5 * variance[-1] + 1e-12)
    return directions(x @ (axes * scale)[:, -dims:])


@jax.jit
def zca(x: jax.Array, *, epsilon: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Mean [D] and matrix [D, D] of zero-phase whitening: (x - mean) @ matrix, of rows x [N, D].

    It turns no axis, so whitened patches look like patches (Coates & Ng 2012, section 2.1).
    epsilon: added to the variances of the principal axes, as a share of their mean, so that it
    suits codes of any scale; the authors add a number as it is, to patches of about unit variance.
    """
    mean = x.mean(0)
    x = x - mean
    variance, axes = jnp.linalg.eigh(jnp.matmul(x.T, x, precision='highest') / len(x))
    scale = jax.lax.rsqrt(jnp.maximum(variance, 0) + epsilon * variance.mean() + 1e-12)
    return mean, jnp.matmul(axes * scale, axes.T, precision='highest')


@jax.jit
def alike(z: jax.Array, *, epsilon: jax.Array | float) -> jax.Array:
    """How far the squares of two features rise and fall together: z [N, D] -> [D, D], up to 1.

    z is whitened first, since else features that are correlated are all that is found (Coates & Ng
    2011, NeurIPS 24, section 3.1). A feature without variance is like no other.
    """
    mean, matrix = zca(z, epsilon=epsilon)
    squares = jnp.square(jnp.matmul(z - mean, matrix, precision='highest'))
    squares = squares - squares.mean(0)
    squares = squares / jnp.maximum(jnp.linalg.norm(squares, axis=0), 1e-12)
    return jnp.matmul(squares.T, squares, precision='highest')


@partial(jax.jit, static_argnames=('k', 'rounds'))
def kmeans(
    key: jax.Array, x: jax.Array, *, k: int, rounds: int = 20, where: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Lloyd's k-means from k random rows: x [N, D] -> labels [N], centers [k, D], emptied [].

    The center of a cluster without rows is moved near that of a random other cluster, whose rows
    they then share (Caron et al. 2018, section 3.3); `emptied` counts how often that happened.

    x may be [N, V, D], V views of each row, all of one length: a row belongs to the center that is
    nearest to one of its views, and that view moves the center.
    where: bool [N], the rows that move centers; None: all.
    """
    start, key = jax.random.split(key)
    x = x.reshape(len(x), -1, x.shape[-1])  # [N, V, D]
    counts = jnp.ones(len(x)) if where is None else where.astype(jnp.float32)
    chance = None if where is None else counts
    centers = x[jax.random.choice(start, len(x), (k,), replace=False, p=chance), 0]

    def nearest(centers):  # -> label and view of each row
        # |x - c|^2 without the |x|^2 that all centers share
        distance = jnp.square(centers).sum(1) - 2 * jnp.matmul(x, centers.T, precision='highest')
        best = distance.reshape(len(x), -1).argmin(1)
        return best % k, x[jnp.arange(len(x)), best // k]

    def move(round, carry):
        centers, emptied = carry
        labels, view = nearest(centers)
        size = jnp.zeros(k).at[labels].add(counts)
        total = jnp.zeros_like(centers).at[labels].add(counts[:, None] * view)
        mean = total / jnp.maximum(size, 1)[:, None]
        k1, k2 = jax.random.split(jax.random.fold_in(key, round))
        other = jax.random.categorical(k1, jnp.log(size), shape=(k,))  # by size, never an empty one
        near = mean[other] + 1e-3 * view.std(0) * jax.random.normal(k2, centers.shape)
        return jnp.where((size > 0)[:, None], mean, near), emptied + (size == 0).sum()

    centers, emptied = jax.lax.fori_loop(0, rounds, move, (centers, jnp.zeros((), jnp.int32)))
    return nearest(centers)[0], centers, emptied


@partial(jax.jit, static_argnames=('k', 'rounds'))
def spherical_kmeans(
    key: jax.Array, x: jax.Array, *, k: int, rounds: int = 10
) -> tuple[jax.Array, jax.Array]:
    """K-means by cosine from k random rows: rows of length one [N, D] -> labels [N], centers of
    length one [k, D]. A center without rows stays where it is.

    Dhillon & Modha 2001, doi:10.1023/A:1007612920971; the start and the empty clusters are those of
    the authors' code of Caron et al. 2020, arXiv:2006.09882.
    """
    centers = x[jax.random.choice(key, len(x), (k,), replace=False)]

    def nearest(centers):
        return jnp.matmul(x, centers.T, precision='highest').argmax(1)

    def move(_, centers):
        labels = nearest(centers)
        size = jnp.zeros(k).at[labels].add(1)
        total = jnp.zeros_like(centers).at[labels].add(x)
        return jnp.where((size > 0)[:, None], directions(total), centers)

    centers = jax.lax.fori_loop(0, rounds, move, centers)
    return nearest(centers), centers


@partial(jax.jit, static_argnames='k')
def agreement(a: jax.Array, b: jax.Array, *, k: int) -> jax.Array:
    """Normalized mutual information of two partitions [N] into up to k groups: 0 to 1.

    It is divided by the geometric mean of the two entropies, as in Caron et al. 2018, section 4.1.
    """
    joint = jnp.zeros((k, k)).at[a, b].add(1)

    def entropy(count):
        p = count / len(a)
        return -(p * jnp.log(jnp.where(p > 0, p, 1))).sum()

    first, second = entropy(joint.sum(1)), entropy(joint.sum(0))
    mean = jnp.sqrt(first * second)  # exactly zero where a partition is a single group
    return jnp.where(mean > 0, (first + second - entropy(joint)) / jnp.where(mean > 0, mean, 1), 0)


def new_head(key: jax.Array, head: Tree, *, deviation: float) -> Tree:
    """Params of a linear head whose clusters are others now: normal weights, and no bias."""
    draw = optax.tree.random_like(key, head, jax.random.normal)
    return jax.tree.map(lambda p: deviation * p if p.ndim > 1 else 0 * p, draw)
