"""Losses of models whose density is known up to a constant factor.

>>> print(free_energy_difference(real=jnp.array([1.0]), model=jnp.array([3.0])))
[-2.]
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, like, mean, precise, row_sums
from ssljax.losses._shapes import ArrayLike, arrays


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


def persistent_contrastive_divergence(
    energy: Callable[[jax.Array], jax.Array],
    x: ArrayLike,
    chain: ArrayLike,
    *,
    axis_name: Axis = None,
) -> jax.Array:
    """Free energy of data minus the mean of that of chains, which are never started again.

    Tieleman 2008 (ICML, Training RBMs using approximations to the likelihood gradient):
        l = F(x) - 1/M sum_m F(x'_m).
    energy F: [N, ...] -> [N], x [B, ...], chain x' [M, ...] -> [B]. The chains are constants: they
    are kept from step to step, and moved on by a few steps of a sampler under the energy of now,
    before this. The value is no likelihood, its gradient estimates that of -log p.

    axis_name: the mapped axis, or axes, whose shards make up the batch, and the chains.

    >>> print(persistent_contrastive_divergence(lambda x: x[:, 0], [[3.0]], [[1.0], [2.0]]))
    [1.5]
    """
    x, chain = arrays('B ...', 'M ...', x=x, chain=chain)
    chain = lax.stop_gradient(precise(chain))
    x, of_x = arrays('B ...', 'B', x=x, energy=energy(precise(x)))
    return precise(of_x) - mean(precise(energy(chain)), axis_name)


def implicit_score_matching(score: Callable[[jax.Array], jax.Array], x: ArrayLike) -> jax.Array:
    """The score, the gradient of the log density, is fitted without knowing it anywhere.

    Hyvarinen 2005 (JMLR 6), eq. 4:  l = sum_i d s_i(x) / d x_i + 1/2 s_i(x)^2.
    score s: x [B, ...] -> [B, ...], each row from its own alone; x [B, ...] -> [B]. Its mean is
    1/2 E |s - d log p|^2 less a constant. It costs a forward derivative for each entry of a row;
    `sliced_score_matching` costs one for each direction.

    >>> print(implicit_score_matching(lambda x: -x, [[1.0, 1.0]]))  # -2 + 1
    [-1.]
    """
    (x,) = arrays('B ...', x=x)
    x = precise(x)
    each = jnp.eye(math.prod(x.shape[1:]), dtype=x.dtype).reshape(-1, *x.shape[1:])
    x, s = arrays('B ...', x=x, score=score(x))
    return _slopes(score, x, each[None]).sum(1) + row_sums(jnp.square(precise(s))) / 2


def sliced_score_matching(
    score: Callable[[jax.Array], jax.Array],
    x: ArrayLike,
    directions: ArrayLike,
    *,
    reduced: bool = True,
) -> jax.Array:
    """Implicit score matching along random directions, a few in the place of all axes.

    Song et al. 2019, arXiv:1905.07088, section 3: with v of mean zero and covariance one,
        l = mean over v of v . d(v . s(x)) / dx + 1/2 |s(x)|^2  (or, not reduced, 1/2 (v . s(x))^2).
    score s: x [B, ...] -> [B, ...], each row from its own alone; x [B, ...], directions v
    [B, P, ...], P for each row, of N(0, 1) or signs -> [B].

    reduced: whether the square is exact, which reduces the variance.

    >>> print(sliced_score_matching(lambda x: -x, [[1.0, 1.0]], [[[1.0, -1.0]]]))
    [-1.]
    """
    x, directions = arrays('B ...', 'B P ...', x=x, directions=directions)
    x, directions = precise(x), precise(directions)
    x, s = arrays('B ...', x=x, score=score(x))
    s = precise(s)
    slopes = _slopes(score, x, directions).mean(1)
    if reduced:
        return slopes + row_sums(jnp.square(s)) / 2
    along = (directions * s[:, None]).reshape(*directions.shape[:2], -1).sum(-1)
    return slopes + jnp.square(along).mean(1) / 2


def _slopes(score, x, directions):
    """v . d(v . s(x)) / dx for directions v [B or 1, P, ...]: [B, P]."""

    def slope(v):
        v = v + jnp.zeros_like(x)
        return row_sums(v * precise(jax.jvp(score, (x,), (v,))[1]))

    return jax.vmap(slope, 1, 1)(directions)
