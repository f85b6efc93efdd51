"""Likelihoods of mixtures: each row is drawn from one of several components.

>>> even, x = jnp.zeros((1, 2)), jnp.array([[1.0]])
>>> middle = jnp.array([[[1.0], [-1.0]]])  # two components of variance one
>>> print(f'{gaussian_mixture(even, middle, jnp.zeros((1, 2, 1)), x)[0]:.4f}')
1.4852
"""

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid, log_softmax, logsumexp, softmax

from ssljax.losses._rows import precise, row_sums
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses.likelihood import LARGEST, LOG_2PI


def gaussian_mixture(
    logits: ArrayLike, mean: ArrayLike, log_variance: ArrayLike, x: ArrayLike
) -> jax.Array:
    """-log p(x) of a mixture of normal distributions, of each row its own or one for all.

    Bishop 2006, Pattern Recognition and Machine Learning, eq. 9.14, and Bishop 1994 (Aston
    NCRG/94/004, Mixture density networks), where a net gives the parts for each row: with shares
    pi = softmax(logits),
        -log sum_k pi_k prod_d N(x_d; m_kd, v_kd).
    logits [B, ..., K], mean, log_variance [B, ..., K, D], x [B, ..., D] -> [B], summed over the
    axes between; or logits [K], mean, log_variance [K, D], the same for all rows, which EM with
    `responsibilities` lowers. A component of one variance in all dimensions has it repeated.

    >>> print(f'{gaussian_mixture([0.0], [[0.0]], [[0.0]], [[0.0]])[0]:.4f}')  # log(2 pi) / 2
    0.9189
    """
    for_all = jnp.asarray(logits).ndim == 1
    own = '' if for_all else 'B ... '
    logits, mean, log_variance, x = arrays(
        f'{own}K', f'{own}K D', f'{own}K D', 'B ... D',
        logits=logits, mean=mean, log_variance=log_variance, x=x,
    )  # fmt: skip
    return row_sums(-logsumexp(_joint(logits, mean, log_variance, x), -1))


def responsibilities(
    logits: ArrayLike, mean: ArrayLike, log_variance: ArrayLike, x: ArrayLike
) -> jax.Array:
    """The E-step of `gaussian_mixture`: the chance of each component, given x.

    Bishop 2006, Pattern Recognition and Machine Learning, eq. 9.23: with pi = softmax(logits),
        r_k = pi_k N(x; m_k, v_k) / sum_j pi_j N(x; m_j, v_j).
    logits [K], mean, log_variance [K, D], x [B, D] -> [B, K]. EM holds r fixed in its M-step.

    >>> mean, zero = jnp.array([[1.0], [-1.0]]), jnp.zeros((2, 1))
    >>> print(responsibilities(jnp.zeros(2), mean, zero, [[0.0]]))
    [[0.5 0.5]]
    """
    logits, mean, log_variance, x = arrays(
        'K', 'K D', 'K D', 'B D', logits=logits, mean=mean, log_variance=log_variance, x=x
    )
    return softmax(_joint(logits, mean, log_variance, x))


def logistic_mixture(
    logits: ArrayLike,
    mean: ArrayLike,
    log_scale: ArrayLike,
    x: ArrayLike,
    *,
    levels: int = 256,
) -> jax.Array:
    """-log p(x) of a mixture of logistic distributions, discretized to levels.

    Salimans et al. 2017, arXiv:1701.05517, eqs. 1 and 2: levels are evenly spaced from -1 to 1, h
    is half their distance, and the first and last level also get the mass beyond them;
        p(x) = sum_k pi_k [sigmoid((x + h - m_k) / s_k) - sigmoid((x - h - m_k) / s_k)].
    logits of pi, mean, log_scale [B, ..., K], x [B, ...] -> [B]. As in the authors' code,
    log s is at least -7. The default is the levels of a byte.

    >>> wide = jnp.full((1, 1, 1), 20.0)  # all but in the two end levels
    >>> print(f'{logistic_mixture(wide, wide, wide, [[-1.0]], levels=2)[0]:.4f}')  # log 2
    0.6931
    """
    logits, mean, log_scale, x = map(
        precise,
        arrays(
            'B ... K', 'B ... K', 'B ... K', 'B ...',
            logits=logits, mean=mean, log_scale=log_scale, x=x,
        ),
    )  # fmt: skip
    log_p = _level(mean, log_scale, x[..., None], levels)
    return row_sums(-logsumexp(log_softmax(logits) + log_p, -1))


def logistic_mixture_rgb(
    logits: ArrayLike,
    mean: ArrayLike,
    log_scale: ArrayLike,
    coupling: ArrayLike,
    x: ArrayLike,
    *,
    levels: int = 256,
) -> jax.Array:
    """-log p(x) of pixels of three colors: a mixture whose components see the colors before.

    Salimans et al. 2017, arXiv:1701.05517, eq. 3: a pixel has one component for its three colors,
        p(x) = sum_k pi_k p(r; m_r) p(g; m_g + c_0 r) p(b; m_b + c_1 r + c_2 g),
    with p(.; m) the mass of a level under a logistic of mean m, as in `logistic_mixture`, and
    c = tanh(coupling), as in the authors' code, whose log s is at least -7 as here.
    logits of pi [B, ..., K], mean, log_scale, coupling [B, ..., 3, K], x [B, ..., 3] from -1 to 1
    -> [B].

    levels: how many values a color has, evenly spaced from -1 to 1.

    >>> zero, dark = jnp.zeros((1, 3, 1)), -jnp.ones((1, 3))  # of two levels: even odds
    >>> loss = logistic_mixture_rgb([[0.0]], zero, zero, zero, dark, levels=2)
    >>> print(f'{loss[0]:.4f}')  # 3 log 2
    2.0794
    """
    logits, mean, log_scale, coupling, x = arrays(
        'B ... K', 'B ... 3 K', 'B ... 3 K', 'B ... 3 K', 'B ... 3',
        logits=logits, mean=mean, log_scale=log_scale, coupling=coupling, x=x,
    )  # fmt: skip
    x, c = precise(x)[..., None], jnp.tanh(precise(coupling))
    red, green = x[..., 0, :], x[..., 1, :]
    c0, c1, c2 = (c[..., i, :] for i in range(3))
    seen = jnp.stack([jnp.zeros_like(c0), c0 * red, c1 * red + c2 * green], -2)
    log_p = _level(precise(mean) + seen, precise(log_scale), x, levels).sum(-2)
    return row_sums(-logsumexp(log_softmax(precise(logits)) + log_p, -1))


def _joint(logits, mean, log_variance, x):
    """log pi_k N(x; m_k, v_k): [..., K]."""
    log_variance = jnp.clip(precise(log_variance), -LARGEST, LARGEST)
    squares = jnp.square(precise(x)[..., None, :] - precise(mean)) * jnp.exp(-log_variance)
    log_p = -(LOG_2PI + log_variance + squares).sum(-1) / 2
    return log_softmax(precise(logits)) + log_p


def _level(mean, log_scale, x, levels):
    """log of the mass that a logistic distribution has within half a level of x."""
    if levels < 2:
        raise ValueError(f'levels={levels}; it must be 2 or more')
    h = 1 / (levels - 1)
    steep = jnp.exp(-jnp.clip(log_scale, -7, 30))
    above, below = steep * (x + h - mean), steep * (x - h - mean)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)): exact where both round to 1
    inner = log_sigmoid(above) + log_sigmoid(-below) + jnp.log(-jnp.expm1(-2 * h * steep))
    log_p = jnp.where(x < -1 + h, log_sigmoid(above), inner)
    log_p = jnp.where(x > 1 - h, log_sigmoid(-below), log_p)
    return log_p
