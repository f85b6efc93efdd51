"""Cross entropy with labels that are soft, wrong at times, or of rare classes.

>>> even = jnp.zeros((1, 2))
>>> print(soft_cross_entropy(even, [[0.25, 0.75]]))  # log 2
[0.6931472]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp

from ssljax.losses._rows import like, nats, precise, products
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._strips import NOTHING


def soft_cross_entropy(logits: ArrayLike, targets: ArrayLike) -> jax.Array:
    """Cross entropy with a distribution over classes, such as labels that annotators disagree on.

    Szegedy et al. 2015, arXiv:1512.00567, section 7:  -sum_k t_k log softmax(logits)_k.
    logits, targets [B, ..., K], which sum to one -> [B, ...].

    >>> print(soft_cross_entropy([[0.0, 0.0]], [[0.25, 0.75]]))  # log 2
    [0.6931472]
    """
    logits, targets = arrays('B ... K', logits=logits, targets=targets)
    log_p, targets = log_softmax(precise(logits)), precise(targets)
    # a class of no weight costs nothing, even if it is ruled out by a logit of -inf
    return -(targets * jnp.where(targets == 0, jnp.maximum(log_p, NOTHING), log_p)).sum(-1)


def forward_corrected(logits: ArrayLike, labels: ArrayLike, *, noise: ArrayLike) -> jax.Array:
    """Cross entropy with labels that are wrong at known rates.

    Patrini et al. 2016, arXiv:1609.03683, theorem 2: with T[j, k] the chance that a row of class j
    is labeled k,
        l = -log sum_j T[j, label] softmax(logits)_j.
    logits [B, K], labels int [B], noise T [K, K], whose rows sum to one -> [B]. Its minimum is that
    of the right labels, where T is right.

    >>> noise = [[0.8, 0.2], [0.2, 0.8]]
    >>> print(f'{forward_corrected([[9.0, -9.0]], [0], noise=noise)[0]:.4f}')  # -log 0.8
    0.2231
    """
    logits, labels, noise = arrays('B K', 'B', 'K K', logits=logits, labels=labels, noise=noise)
    log_p = log_softmax(precise(logits))
    noise = like(noise, log_p)
    is_label = jnp.arange(len(noise)) == labels[:, None]
    rates = products(is_label.astype(noise.dtype), noise)  # [B, K]: of this label, by class
    top = lax.stop_gradient(jnp.where(rates > 0, log_p, NOTHING).max(-1, keepdims=True))
    # classes of rate zero have a slope by it, but may lie far above the others
    p = (rates * jnp.exp(jnp.minimum(log_p - top, 60))).sum(-1)
    return -jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny)) - top[:, 0]


def symmetric_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike = 0.1,
    beta: ArrayLike = 1.0,
    log_zero: ArrayLike = -4.0,
) -> jax.Array:
    """Cross entropy both ways, of which the reverse is bounded, so wrong labels pull less.

    Wang et al. 2019, arXiv:1908.06112, eqs. 5 to 7: with p = softmax(logits), q one-hot of labels,
        l = alpha (-sum_k q_k log p_k) + beta (-sum_k p_k log q_k),  where log 0 = A = log_zero,
    so the second is -A (1 - p[label]).
    logits [B, K], labels int [B] -> [B].

    alpha, beta: the weights; by default the paper's for CIFAR-10.
    log_zero: A, below zero; in the authors' code log 1e-4.

    >>> print(f'{symmetric_cross_entropy([[0.0, 0.0]], [0])[0]:.4f}')  # 0.1 log 2 + 4 / 2
    2.0693
    """
    logits, labels = arrays('B K', 'B', logits=logits, labels=labels)
    forward = nats(logits, labels)
    alpha, beta, log_zero = (like(option, forward) for option in (alpha, beta, log_zero))
    return alpha * forward - beta * log_zero * -jnp.expm1(-forward)


def focal(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: ArrayLike = 2.0,
    weight: ArrayLike | None = None,
) -> jax.Array:
    """Cross entropy in which rows that are predicted well already count little.

    Lin et al. 2017, arXiv:1708.02002, eq. 5: with p = softmax(logits)[label],
        l = -a[label] (1 - p)^gamma log p.
    logits [B, K], labels int [B] -> [B]. The paper's sigmoid of one logit x has logits (0, x).

    gamma: how fast weight falls with p; zero: cross entropy.
    weight: a [K], of each class, such as (0.75, 0.25) of the paper; None: one.

    >>> print(focal([[0.0, 0.0]], [1], gamma=1.0))  # half of log 2
    [0.3465736]
    """
    logits, labels, weight = arrays('B K', 'B', 'K', logits=logits, labels=labels, weight=weight)
    logits = precise(logits)
    own = jnp.arange(logits.shape[-1]) == labels[:, None]
    # the log of 1 - p from the other classes, for it keeps its digits where p rounds to one
    rest = logsumexp(jnp.where(own, NOTHING, logits), -1) - logsumexp(logits, -1)
    loss = jnp.exp(like(gamma, rest) * rest) * nats(logits, labels)
    return loss if weight is None else jnp.where(own, like(weight, loss), 0).sum(-1) * loss
