"""Losses of word vectors: a word and its neighbors against drawn words.

>>> word = jnp.ones((1, 2))
>>> print(skip_gram(word, word, jnp.zeros((1, 3, 2))))  # softplus(-2) + 3 log 2
[2.2063696]
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import softplus

from ssljax.losses._rows import on, precise
from ssljax.losses._shapes import ArrayLike, arrays


def skip_gram(center: ArrayLike, context: ArrayLike, noise: ArrayLike) -> jax.Array:
    """Skip-gram with negative sampling: a word tells its neighbor from drawn words.

    Mikolov et al. 2013, arXiv:1310.4546, eq. 4: with v the input vector of the center word, u the
    output vectors of its neighbor and of M words drawn in proportion to count^(3/4),
        l = -log sigmoid(u.v) - sum_m log sigmoid(-u_m.v).
    center, context [B, D], noise [B, M, D] -> [B].

    >>> word = jnp.ones((1, 2))
    >>> print(skip_gram(word, word, jnp.zeros((1, 3, 2))))  # softplus(-2) + 3 log 2
    [2.2063696]
    """
    given: dict[str, Any] = dict(center=center, context=context, noise=noise)
    return _against_noise(*map(precise, arrays('B D', 'B D', 'B M D', **given)))


def cbow(
    context: ArrayLike, center: ArrayLike, noise: ArrayLike, *, where: ArrayLike | None = None
) -> jax.Array:
    """CBOW: the mean of its neighbors tells a word from drawn words.

    Mikolov et al. 2013, arXiv:1301.3781, section 3.1, with the negative sampling of
    arXiv:1310.4546, eq. 4: with v the mean of the C neighbors' input vectors, u the output vectors,
        l = -log sigmoid(u.v) - sum_m log sigmoid(-u_m.v).
    context [B, C, D], center [B, D], noise [B, M, D] -> [B].

    where: bool [B, C], the places that have a neighbor; None: all.

    >>> context, noise = jnp.ones((1, 2, 1)), jnp.zeros((1, 1, 1))
    >>> print(f'{cbow(context, jnp.ones((1, 1)), noise)[0]:.4f}')  # softplus(-1) + log 2
    1.0064
    """
    context, center, noise, where = arrays(
        'B C D', 'B D', 'B M D', 'B C', context=context, center=center, noise=noise, where=where
    )
    context = precise(context)
    if where is None:
        v = context.mean(1)
    else:
        count = where.astype(bool).sum(1, dtype=context.dtype)[:, None]
        v = on(where, context).sum(1) / jnp.maximum(count, 1)
    return _against_noise(v, precise(center), precise(noise))


def _against_noise(v, u, noise):
    others = jnp.einsum('bd,bmd->bm', v, noise, precision='highest')
    return softplus(-(u * v).sum(-1)) + softplus(others).sum(-1)
