"""Losses of colors: as classes of a gray image, or copied from a reference frame.

>>> gray, classes = jnp.array([[0.0, 0.0]]), jnp.array([[0.0, 0.0], [50.0, 0.0]])
>>> print(color_targets(gray, classes, neighbors=1))
[[1. 0.]]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp, softmax

from ssljax.losses._rows import like, on, precise, row_means
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._strips import NOTHING


def color_targets(
    color: ArrayLike, classes: ArrayLike, *, neighbors: int = 5, sigma: ArrayLike = 5.0
) -> jax.Array:
    """Colors as distributions over the classes of color that are nearest to them.

    Zhang et al. 2016, arXiv:1603.08511, section 2.1: of the nearest classes c, the weights are
    exp(-|y - c|^2 / 2 sigma^2), over their sum.
    color y [..., 2], such as a and b of CIE Lab, classes [Q, 2] -> [..., Q]. No gradient flows to
    either.

    neighbors: how many classes have weight.
    sigma: the width, in units of color.

    >>> print(color_targets([0.0, 0.0], [[0.0, 1.0], [1.0, 0.0]], neighbors=2))
    [0.5 0.5]
    """
    color, classes = arrays('... D', 'Q D', color=color, classes=classes)
    if not 1 <= neighbors <= len(classes):
        raise ValueError(f'neighbors={neighbors}: there are {len(classes)} classes')
    color, classes = lax.stop_gradient((precise(color), precise(classes)))
    sigma = like(sigma, color)
    squares = jnp.square(color[..., None, :] - classes).sum(-1)
    _, nearest = lax.top_k(-squares, neighbors)
    near = jax.nn.one_hot(nearest, len(classes), dtype=bool).any(-2)
    return softmax(jnp.where(near, -squares / (2 * sigma**2), -jnp.inf))


def color_weights(frequency: ArrayLike, *, mix: ArrayLike = 0.5) -> jax.Array:
    """Weights of classes of color that make up for rare colors, one on average.

    Zhang et al. 2016, arXiv:1603.08511, eq. 4: with frequency p over pixels, Q classes,
        w ~ 1 / ((1 - mix) p + mix / Q),  sum_q p_q w_q = 1.
    frequency [Q], which sums to one -> [Q].

    mix: the share of the uniform distribution in the frequencies.

    >>> print(color_weights([0.5, 0.5]))
    [1. 1.]
    """
    (frequency,) = arrays('Q', frequency=frequency)
    frequency = precise(frequency)
    mix = like(mix, frequency)
    weight = 1 / ((1 - mix) * frequency + mix / len(frequency))
    return weight / (frequency * weight).sum()


def color_classes(
    logits: ArrayLike, targets: ArrayLike, *, weight: ArrayLike | None = None
) -> jax.Array:
    """Cross entropy of the classes of color of each pixel, in which rare colors weigh more.

    Zhang et al. 2016, arXiv:1603.08511, eqs. 2 and 3: with the targets Z of a pixel,
        l = -mean over pixels of w[argmax_q Z_q] sum_q Z_q log softmax(logits)_q.
    logits, targets [B, ..., Q] -> [B]. A mean over pixels where the paper has a sum.

    weight: w [Q], as from `color_weights`; None: one.

    >>> print(color_classes([[[0.0, 0.0]]], [[[1.0, 0.0]]], weight=[2.0, 1.0]))  # 2 log 2
    [1.3862944]
    """
    logits, targets, weight = arrays(
        'B ... Q', 'B ... Q', 'Q', logits=logits, targets=targets, weight=weight
    )
    targets = precise(targets)
    loss = -(targets * log_softmax(precise(logits))).sum(-1)
    if weight is not None:
        likeliest = jnp.arange(targets.shape[-1]) == targets.argmax(-1)[..., None]
        loss = jnp.where(likeliest, like(weight, loss), 0).sum(-1) * loss
    return row_means(loss)


def copied(
    target: ArrayLike, reference: ArrayLike, values: ArrayLike, *, temperature: ArrayLike = 1.0
) -> jax.Array:
    """What the pixels of a frame copy from those of a reference frame: colors, or an object's mask.

    Vondrick et al. 2018, arXiv:1806.09594, eqs. 1 and 2: with features f of both frames,
        y_j = sum_i A_ij c_i,  A_ij = softmax over i of f_i . f_j / temperature.
    target [B, M, D], reference [B, N, D], values c [B, N, C] -> [B, M, C].

    temperature: the paper's is one in training.

    >>> print(copied([[[9.0]]], [[[9.0], [-9.0]]], [[[1.0], [2.0]]]))
    [[[1.]]]
    """
    target, reference, values = arrays(
        'B M D', 'B N D', 'B N C', target=target, reference=reference, values=values
    )
    pointer = softmax(_pointer(target, reference, temperature))
    return jnp.einsum('bmn,bnc->bmc', pointer, precise(values), precision='highest')


def color_pointer(
    target: ArrayLike,
    reference: ArrayLike,
    colors: ArrayLike,
    reference_colors: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
) -> jax.Array:
    """Cross entropy of the colors of a frame, each copied from where its pixel points to.

    Vondrick et al. 2018, arXiv:1806.09594, eqs. 1 to 3: with A of `copied`,
        l = -mean over pixels j of log sum over i with the color of j of A_ij.
    target [B, M, D], reference [B, N, D]; classes of color of their pixels, colors int [B, M],
    reference_colors int [B, N] -> [B]. A mean over pixels where the paper has a sum, and over those
    alone whose color the reference has: no pointer can be right for the others.

    temperature: the paper's is one.

    >>> print(color_pointer([[[0.0]]], [[[1.0], [1.0]]], [[0]], [[0, 1]]))  # log 2
    [0.6931472]
    """
    target, reference, colors, reference_colors = arrays(
        'B M D', 'B N D', 'B M', 'B N',
        target=target, reference=reference, colors=colors, reference_colors=reference_colors,
    )  # fmt: skip
    scores = _pointer(target, reference, temperature)
    right = colors[:, :, None] == reference_colors[:, None]
    loss = logsumexp(scores, -1) - logsumexp(jnp.where(right, scores, NOTHING), -1)
    scored = right.any(-1)
    return on(scored, loss).sum(-1) / jnp.maximum(scored.astype(loss.dtype).sum(-1), 1)


def _pointer(target, reference, temperature):
    """f_j . f_i / temperature, [B, M, N]."""
    products = jnp.einsum('bmd,bnd->bmn', precise(target), precise(reference), precision='highest')
    return products / like(temperature, products)
