"""Losses of models whose density is known up to a constant factor.

>>> print(free_energy_difference(real=jnp.array([1.0]), model=jnp.array([3.0])))
[-2.]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    like,
    precise,
    row_sums,
)
from ssljax.losses._shapes import arrays


def free_energy_difference(real: ArrayLike, model: ArrayLike) -> jax.Array:
    """Free energy of data minus that of the model's samples; its gradient estimates -log p's.

    Hinton 2002 (Neural Computation 14):  d -log p(x) = dF(x) - E_model dF(x'), so
        l = F(x) - F(x').
    F(v) = -log sum_h exp -E(v, h) of each row [B], or their means [], -> the same. The
    samples x' are constants, from a Markov chain: in contrastive divergence, a few steps from data.
    The value is no likelihood.

    >>> print(free_energy_difference([1.0, 2.0], [3.0, 2.0]))
    [-2.  0.]
    """
    real, model = arrays('...', real=real, model=model)
    return precise(real) - precise(model)


def denoising_score_matching(
    score: ArrayLike, noise: ArrayLike, *, sigma: ArrayLike = 1.0
) -> jax.Array:
    """The score, the gradient of the log density, at a noisy row should point to the clean row.

    Vincent 2011 (Neural Computation 23), weighted by sigma^2 so that all levels of noise have the
    same weight: Song & Ermon 2019, arXiv:1907.05600, eqs. 5 and 6. With x' = x + sigma e,
        l = 1/2 |sigma s(x') + e|^2.
    score s(x'), noise e [B, ...]; sigma: a number, or [B] -> [B].

    >>> print(denoising_score_matching([[1.0, 0.0]], [[-2.0, 0.0]], sigma=2.0))
    [0.]
    """
    score, noise, sigma = arrays('B ...', 'B ...', '-> B', score=score, noise=noise, sigma=sigma)
    score, noise = precise(score), lax.stop_gradient(precise(noise))
    sigma = like(sigma, score).reshape((-1,) + (1,) * (score.ndim - 1))
    return row_sums(jnp.square(sigma * score + noise)) / 2
