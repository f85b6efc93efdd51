"""Whether features use their space: numbers that fall where a method collapses. Needs jax alone.

>>> z = jax.random.normal(jax.random.key(0), (1000, 8))
>>> print(f'{effective_rank(z):.1f} {spread(z):.1f}')
8.0 1.0
>>> print(f'{effective_rank(z[:, :2] @ jnp.ones((2, 8))):.1f} {spread(jnp.ones((1000, 8))):.1f}')
1.0 0.0
"""

import jax
import jax.numpy as jnp


def effective_rank(z: jax.Array) -> jax.Array:
    """The effective rank of rows z [N, D] of length one, centered: from 1 to the lesser of N and D,
    and 0 where all rows are one.

    Roy & Vetterli 2007 (EUSIPCO), section 2. It sees how even the directions are and not how far
    rows lie apart: for that there is `spread`. Of a batch it costs little; of many wide rows the
    singular values take minutes on a CPU. In a loss, as a metric, give it stop_gradient(z):
    the number is the same, but without it JAX also computes the singular vectors, which takes
    several times as long.
    """
    z = directions(z)
    return rank_of(jnp.linalg.svd(z - z.mean(0), compute_uv=False), len(z))


def rank_of(s: jax.Array, count: int) -> jax.Array:
    """exp H(s / sum s) of the singular values s of so many centered rows of length one."""
    p = s / jnp.maximum(s.sum(), 1e-12)
    entropy = -(p * jnp.log(jnp.where(p > 0, p, 1))).sum()
    # what rounding leaves of rows that are all one is no direction
    return jnp.where(s.max() > 1e-6 * jnp.sqrt(count), jnp.exp(entropy), 0)


def participation(z: jax.Array) -> jax.Array:
    """Another effective rank of the same rows, cheap enough for every step: (sum e)^2 / sum e^2 of
    the eigenvalues e of their covariance, by two matrix norms. Never above effective_rank."""
    z = directions(z)
    z = z - z.mean(0)
    gram = z.T @ z if z.shape[1] < len(z) else z @ z.T  # either has the same eigenvalues
    trace, squares = jnp.trace(gram), jnp.square(gram).sum()
    # what rounding leaves of rows that are all one is no direction
    return jnp.where(trace > 1e-10 * len(z), jnp.square(trace) / jnp.maximum(squares, 1e-30), 0)


def spread(z: jax.Array) -> jax.Array:
    """sqrt(D) times the mean deviation of an entry of rows z [N, D] of length one: about 1 where
    rows point everywhere, 0 where all point one way. Chen & He 2020, arXiv:2011.10566, section 4.1.
    """
    return jnp.sqrt(z.shape[1]) * directions(z).std(0).mean()


def directions(z: jax.Array) -> jax.Array:
    """Rows of length one in float32; zero stays zero."""
    z = z.astype(jnp.float32)
    return z * jax.lax.rsqrt(jnp.maximum(jnp.square(z).sum(1, keepdims=True), 1e-12))
