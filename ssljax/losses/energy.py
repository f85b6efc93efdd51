"""Losses of models whose density is known up to a constant factor.

>>> print(free_energy_difference(real=jnp.array([1.0]), model=jnp.array([3.0])))
[-2.]
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import row_sums


def free_energy_difference(real: jax.Array, model: jax.Array) -> jax.Array:
    """Free energy of data minus that of the model's samples; its gradient estimates -log p's.

    Hinton 2002 (Neural Computation 14):  d -log p(x) = dF(x) - E_model dF(x'), so
        l = F(x) - F(x').
    F(v) = -log sum_h exp -E(v, h) of each row, [B], [B] -> [B]. The samples x' are constants, from
    a Markov chain: in contrastive divergence, a few steps from data. The value is no likelihood.
    """
    return real.astype(jnp.float32) - model.astype(jnp.float32)


def denoising_score_matching(
    score: jax.Array, noise: jax.Array, *, sigma: jax.Array | float = 1.0
) -> jax.Array:
    """The score, the gradient of the log density, at a noisy row should point to the clean row.

    Vincent 2011 (Neural Computation 23), weighted by sigma^2 so that all levels of noise have the
    same weight: Song & Ermon 2019, arXiv:1907.05600, eqs. 5 and 6. With x' = x + sigma e,
        l = 1/2 |sigma s(x') + e|^2.
    score s(x'), noise e [B, ...]; sigma: a number, or [B] -> [B].
    """
    score, noise = score.astype(jnp.float32), lax.stop_gradient(noise.astype(jnp.float32))
    sigma = jnp.asarray(sigma, jnp.float32)
    sigma = sigma.reshape(sigma.shape + (1,) * (score.ndim - sigma.ndim))
    return row_sums(jnp.square(sigma * score + noise)) / 2
