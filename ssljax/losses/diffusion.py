"""Losses of diffusion models and of flow matching: a net is shown data with noise in it.

>>> x, noise, level = jnp.ones((1, 2)), jnp.zeros((1, 2)), jnp.array([0.25])
>>> print(diffuse(x, noise, level))  # sqrt(0.25) x
[[0.5 0.5]]
>>> print(ddpm(jnp.ones((1, 2)), x, noise, level, target='x0'))
[0.]
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import like, precise, row_means
from ssljax.losses._shapes import ArrayLike, arrays

Target = Literal['epsilon', 'x0', 'v']


def diffuse(x: ArrayLike, noise: ArrayLike, alpha_bar: ArrayLike) -> jax.Array:
    """Data with noise in it, as a diffusion model sees them at one level of noise.

    Ho et al. 2020, arXiv:2006.11239, eq. 4:  x_t = sqrt(a) x + sqrt(1 - a) e.
    x, noise e ~ N(0, 1) [B, ...]; alpha_bar a [B]: the share of the variance that is left of x,
    from 1 (no noise) down to 0 -> [B, ...].

    >>> print(diffuse([[2.0]], [[0.0]], [0.25]))
    [[1.]]
    """
    x, noise, alpha_bar = arrays('B ...', 'B ...', 'B', x=x, noise=noise, alpha_bar=alpha_bar)
    signal, sigma = _scales(alpha_bar, x.ndim)
    return signal * precise(x) + sigma * precise(noise)


def ddpm(
    prediction: ArrayLike,
    x: ArrayLike,
    noise: ArrayLike,
    alpha_bar: ArrayLike,
    *,
    target: Target = 'epsilon',
) -> jax.Array:
    """Squared error of what a net predicts from noisy data, all levels of noise weighted alike.

    Ho et al. 2020, arXiv:2006.11239, eq. 14, and Salimans & Ho 2022, arXiv:2202.00512, section 4:
    with x_t of `diffuse`, a = alpha_bar,
        l = mean |prediction(x_t, t) - target|^2,
        target = e ('epsilon'),  x ('x0'),  or  sqrt(a) e - sqrt(1 - a) x ('v').
    prediction, x, noise e [B, ...], alpha_bar [B] -> [B]. As in the authors' code, a mean over the
    entries of a row where the paper has a norm. Another weight of the levels multiplies the result.

    target: which of the three the net predicts; `denoised` turns each into x.

    >>> print(ddpm([[1.0]], [[2.0]], [[4.0]], [0.25]))  # (1 - 4)^2
    [9.]
    """
    prediction, x, noise, alpha_bar = arrays(
        'B ...', 'B ...', 'B ...', 'B', prediction=prediction, x=x, noise=noise, alpha_bar=alpha_bar
    )
    x, noise = precise(x), precise(noise)
    signal, sigma = _scales(alpha_bar, x.ndim)
    wanted = _chosen(target, epsilon=noise, x0=x, v=signal * noise - sigma * x)
    return row_means(jnp.square(precise(prediction) - lax.stop_gradient(wanted)))


def denoised(
    prediction: ArrayLike, noisy: ArrayLike, alpha_bar: ArrayLike, *, target: Target = 'epsilon'
) -> jax.Array:
    """The clean data that a prediction from noisy data means.

    The inverse of `diffuse`, with a = alpha_bar (Salimans & Ho 2022, arXiv:2202.00512, section 4):
        x = (x_t - sqrt(1 - a) e) / sqrt(a),  x,  or  sqrt(a) x_t - sqrt(1 - a) v.
    prediction, of what `target` says, and noisy x_t [B, ...], alpha_bar [B] -> [B, ...].

    >>> print(denoised([[0.0]], [[1.0]], [0.25]))
    [[2.]]
    """
    prediction, noisy, alpha_bar = arrays(
        'B ...', 'B ...', 'B', prediction=prediction, noisy=noisy, alpha_bar=alpha_bar
    )
    prediction, noisy = precise(prediction), precise(noisy)
    signal, sigma = _scales(alpha_bar, noisy.ndim)
    of_noise = (noisy - sigma * prediction) / jnp.maximum(signal, 1e-6)  # pure noise has no answer
    return _chosen(target, epsilon=of_noise, x0=prediction, v=signal * noisy - sigma * prediction)


def flow_path(
    x: ArrayLike, noise: ArrayLike, time: ArrayLike, *, sigma: ArrayLike = 0.0
) -> jax.Array:
    """The point at a time on the straight way from noise to data.

    Lipman et al. 2022, arXiv:2210.02747, eq. 22:  x_t = t x + (1 - (1 - s) t) e,  s = sigma.
    x, noise e ~ N(0, 1) [B, ...], time t [B] from 0 (noise) to 1 (data) -> [B, ...].

    >>> print(flow_path([[4.0]], [[0.0]], [0.25]))
    [[1.]]
    """
    x, noise, time = arrays('B ...', 'B ...', 'B', x=x, noise=noise, time=time)
    time = _beside(precise(time), x.ndim)
    return time * precise(x) + (1 - (1 - like(sigma, time)) * time) * precise(noise)


def flow_matching(
    velocity: ArrayLike, x: ArrayLike, noise: ArrayLike, *, sigma: ArrayLike = 0.0
) -> jax.Array:
    """The velocity field at a point between noise and data should be that of their straight way.

    Lipman et al. 2022, arXiv:2210.02747, eq. 23: with x_t of `flow_path`,
        l = mean |v(x_t, t) - (x - (1 - s) e)|^2,  s = sigma.
    velocity, x, noise e [B, ...] -> [B]. A mean over the entries of a row where the paper has a
    norm. Their least value is not zero: many ways cross at a point.

    sigma: the width that is left around x at t = 1.

    >>> print(flow_matching([[1.0]], [[4.0]], [[0.0]]))  # (1 - 4)^2
    [9.]
    """
    velocity, x, noise = arrays('B ...', velocity=velocity, x=x, noise=noise)
    x, noise = lax.stop_gradient((precise(x), precise(noise)))
    way = x - (1 - like(sigma, noise)) * noise
    return row_means(jnp.square(precise(velocity) - way))


def _scales(alpha_bar, ndim):
    """sqrt(a) and sqrt(1 - a), of a shape that multiplies rows."""
    alpha_bar = jnp.clip(_beside(precise(alpha_bar), ndim), 0, 1)
    return _root(alpha_bar), _root(1 - alpha_bar)


def _root(x):
    """The square root, with a slope of zero at zero."""
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)


def _beside(level: jax.Array, ndim: int) -> jax.Array:
    """[B] -> [B, 1, ...]."""
    return level.reshape(level.shape + (1,) * (ndim - 1))


def _chosen(target, **offered):
    if target not in offered:
        raise ValueError(f'target={target!r}: a net predicts one of {", ".join(offered)}')
    return offered[target]
