"""Losses of models that are known up to a constant: energies and their slopes.

>>> print(free_energy_difference(real=jnp.array([1.0]), model=jnp.array([3.0])))
[-2.]
"""

import jax
import jax.numpy as jnp
from jax import lax


def free_energy_difference(real: jax.Array, model: jax.Array) -> jax.Array:
    """What data have more in free energy than the model's own samples: its slope is that of -log p.

    Hinton 2002 (Neural Computation 14):  d -log p(x) = dF(x) - E_model dF(x'), so
        l = F(x) - F(x').
    F(v) = -log sum_h exp -E(v, h) of a row each, [B], [B] -> [B]. The samples x' come of a chain, a
    few steps from data (contrastive divergence), and are held fixed. The value is no likelihood.
    """
    return real.astype(jnp.float32) - model.astype(jnp.float32)


def denoising_score_matching(
    score: jax.Array, noise: jax.Array, *, sigma: jax.Array | float = 1.0
) -> jax.Array:
    """The slope of log density at a noisy row points back to the clean one.

    Vincent 2011 (Neural Computation 23), weighted by sigma^2 so that all levels of noise
    count alike: Song & Ermon 2019, arXiv:1907.05600, eqs. 5 and 6. With x' = x + sigma e,
        l = 1/2 |sigma s(x') + e|^2.
    score s(x'), noise e [B, ...]; sigma, a number or one of each row [B] -> [B].
    """
    score, noise = score.astype(jnp.float32), lax.stop_gradient(noise.astype(jnp.float32))
    sigma = jnp.asarray(sigma, jnp.float32)
    sigma = sigma.reshape(sigma.shape + (1,) * (score.ndim - sigma.ndim))
    return jnp.square(sigma * score + noise).sum(tuple(range(1, score.ndim))) / 2
