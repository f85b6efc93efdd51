"""Losses for few labels and many rows without one, whose targets are the net's predictions.

>>> sure = jnp.array([[9.0, 0.0], [0.0, 0.1]])  # the first is confident, the second is not
>>> print(f'{fixmatch(jnp.zeros((2, 2)), sure, threshold=0.95)[0]:.4f}')
0.6931
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, softmax

from ssljax.losses._rows import expected, like, nats, precise, unit
from ssljax.losses._shapes import ArrayLike, arrays


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, smoothing: ArrayLike = 0.0) -> jax.Array:
    """Cross entropy with labels; `smoothing` is the part of their weight spread over all classes.

    Szegedy et al. 2015, arXiv:1512.00567, section 7 (there 0.1; by default none):
        l = -(1 - s) log p[label] - s/K sum_k log p_k.
    logits [..., K], labels int [...] -> [...]. A label that is no class makes the loss NaN.

    >>> print(f'{cross_entropy([[0.0, 0.0]], [1])[0]:.4f}')  # log 2
    0.6931
    """
    logits, labels = arrays('... K', '...', logits=logits, labels=labels)
    loss = nats(logits, labels)
    if isinstance(smoothing, int | float) and smoothing == 0:
        return loss
    s = like(smoothing, loss)
    return (1 - s) * loss - s * log_softmax(precise(logits)).mean(-1)


def pseudo_label(logits: ArrayLike, *, threshold: ArrayLike = 0.0) -> jax.Array:
    """Cross entropy with the likeliest class, where its probability reaches the threshold.

    Lee 2013 (ICML workshop), eqs. 15 and 16:  l = -log max_k p_k, else zero.
    logits [B, K] -> [B]. The paper has no threshold: its default is zero.

    >>> print(f'{pseudo_label([[0.0, 0.0]])[0]:.4f}')
    0.6931
    """
    (logits,) = arrays('B K', logits=logits)
    return fixmatch(logits, logits, threshold=threshold)


def fixmatch(strong: ArrayLike, weak: ArrayLike, *, threshold: ArrayLike = 0.95) -> jax.Array:
    """Cross entropy of a strong view with the likeliest class of a weak view, where that is sure.

    Sohn et al. 2020, arXiv:2001.07685, eq. 4: with q = softmax(weak),
        l = 1(max q >= threshold) * -log softmax(strong)[argmax q].
    strong, weak [B, K] -> [B]. No gradient flows to the weak view. The threshold is the paper's.

    >>> print(f'{fixmatch([[0.0, 0.0]], [[9.0, 0.0]])[0]:.4f}')  # log 2
    0.6931
    """
    strong, weak = arrays('B K', strong=strong, weak=weak)
    q = lax.stop_gradient(softmax(precise(weak)))
    return nats(strong, q.argmax(-1), where=q.max(-1) >= like(threshold, q))


def entropy(logits: ArrayLike) -> jax.Array:
    """The entropy of the prediction; small values keep class boundaries away from rows.

    Grandvalet & Bengio 2004 (NIPS), eq. 6:  -sum_k p_k log p_k, in nats, with 0 log 0 = 0.
    logits [B, K] -> [B].

    >>> print(f'{entropy([[0.0, 0.0, -jnp.inf]])[0]:.4f}')  # log 2
    0.6931
    """
    (logits,) = arrays('B K', logits=logits)
    log_p = log_softmax(precise(logits))
    return -expected(jnp.exp(log_p), log_p)


def flexmatch(strong: ArrayLike, weak: ArrayLike, *, thresholds: ArrayLike) -> jax.Array:
    """`fixmatch` with a threshold for each class, lower where the class is learned less.

    Zhang et al. 2021, arXiv:2110.08263, section 3: with q = softmax(weak), k = argmax q,
        l = 1(q_k >= thresholds[k]) * -log softmax(strong)[k].
    strong, weak [B, K] -> [B]. No gradient flows to the weak view.

    thresholds: [K], as from `flexmatch_thresholds`.

    >>> print(flexmatch([[0.0, 0.0]], [[2.0, 0.0]], thresholds=[0.8, 0.9]))  # q is 0.88
    [0.6931472]
    """
    strong, weak, thresholds = arrays(
        'B K', 'B K', 'K', strong=strong, weak=weak, thresholds=thresholds
    )
    q = lax.stop_gradient(softmax(precise(weak)))
    likeliest = q.argmax(-1)
    own = jnp.arange(q.shape[-1]) == likeliest[:, None]
    threshold = jnp.where(own, like(thresholds, q), 0).sum(-1)
    return nats(strong, likeliest, where=q.max(-1) >= threshold)


def flexmatch_thresholds(counts: ArrayLike, *, rows: int, threshold: ArrayLike = 0.95) -> jax.Array:
    """The threshold of each class, by how many rows are surely of it.

    Zhang et al. 2021, arXiv:2110.08263, section 3, with its warm-up and convex mapping:
        b_k = n_k / max(max_j n_j, rows - sum_j n_j),  thresholds_k = threshold b_k / (2 - b_k).
    counts n [K]: the rows without a label whose last prediction of a weak view was class k, with a
    probability of at least `threshold` -> [K].

    rows: all rows without a label. While most are not sure of any class, all thresholds are low.

    >>> print(flexmatch_thresholds([4, 0], rows=6, threshold=0.75))
    [0.75 0.  ]
    """
    (counts,) = arrays('K', counts=counts)
    counts = precise(counts)
    learned = counts / jnp.maximum(jnp.maximum(counts.max(), rows - counts.sum()), 1)
    return like(threshold, learned) * learned / (2 - learned)


def mean_teacher(student: ArrayLike, teacher: ArrayLike) -> jax.Array:
    """Squared distance of the prediction of a student from that of its averaged teacher.

    Tarvainen & Valpola 2017, arXiv:1703.01780, section 2:
        l = 1/K |softmax(student) - softmax(teacher)|^2.
    logits [B, K], of two views -> [B]. As in the authors' code, a mean over classes. No gradient
    flows to the teacher, whose weights are a moving average. The weight of it is `ramp_up`.

    >>> print(mean_teacher([[0.0, 0.0]], [[99.0, 0.0]]))
    [0.25]
    """
    student, teacher = arrays('B K', student=student, teacher=teacher)
    target = lax.stop_gradient(softmax(precise(teacher)))
    return jnp.square(softmax(precise(student)) - target).mean(-1)


def ramp_up(step: ArrayLike, *, rise: int) -> jax.Array:
    """A weight that rises from near zero to one over the first steps: a number -> a number.

    Laine & Aila 2016, arXiv:1610.02242, section 2.1:  exp(-5 (1 - t)^2),  t = min(step / rise, 1).

    >>> print(ramp_up(10, rise=10))
    1.0
    """
    t = jnp.clip(precise(jnp.asarray(step)) / rise, 0, 1)
    return jnp.exp(-5 * jnp.square(1 - t))


def vat(
    predict: Callable[[jax.Array], jax.Array],
    x: ArrayLike,
    direction: ArrayLike,
    *,
    radius: ArrayLike = 8.0,
    rounds: int = 1,
) -> jax.Array:
    """How far the prediction moves at most when a row moves a little; no label is needed.

    Miyato et al. 2017, arXiv:1704.03976, section 3: with p = softmax(predict(.)), H
    the second derivative of KL(p(x) | p(x + r)) by r at zero,
        d = H d / |H d|, repeated,  l = KL(p(x) | p(x + radius d)).
    predict: x [B, ...] -> logits [B, K], each from its own row alone; direction, of N(0, 1), as x
    -> [B]. No gradient flows through p(x) and d. H d is exact here, where the paper has a
    difference: J^T (diag p - p p^T) J d, with J the derivative of logits.

    radius: the length of the step; 8 is that of the authors' code for CIFAR-10.
    rounds: of the power method.

    >>> print(vat(lambda x: 0 * x, [[1.0, 1.0]], [[1.0, 0.0]]))
    [0.]
    """
    x, direction = arrays('B ...', x=x, direction=direction)
    x = precise(x)
    logits, back = jax.vjp(predict, lax.stop_gradient(x))
    arrays('B ...', 'B K', x=x, predict=logits)
    p = lax.stop_gradient(softmax(precise(logits)))
    d = _unit_rows(precise(direction))
    for _ in range(rounds):
        change = precise(jax.jvp(predict, (lax.stop_gradient(x),), (d,))[1])
        change = p * (change - (p * change).sum(-1, keepdims=True))
        d = _unit_rows(back(change.astype(logits.dtype))[0])
    moved = log_softmax(precise(predict(x + lax.stop_gradient(like(radius, d) * d))))
    return (p * (log_softmax(precise(lax.stop_gradient(logits))) - moved)).sum(-1)


def sharpen(p: ArrayLike, *, temperature: ArrayLike = 0.5) -> jax.Array:
    """A distribution over classes of lower entropy: the targets of MixMatch.

    Berthelot et al. 2019, arXiv:1905.02249, eq. 7:  p_k^(1/T) / sum_j p_j^(1/T),  T = temperature.
    p [..., K], there the mean of the predictions of several views -> [..., K]. No gradient flows to
    p. As targets they go into `soft_cross_entropy`; into a squared error in the paper.

    >>> print(sharpen([0.5, 0.5]))
    [0.5 0.5]
    """
    (p,) = arrays('... K', p=p)
    p = lax.stop_gradient(precise(p))
    return softmax(jnp.log(jnp.maximum(p, jnp.finfo(p.dtype).tiny)) / like(temperature, p))


def _unit_rows(x):
    """Rows [B, ...] of length one."""
    return unit(x.reshape(len(x), -1)).reshape(x.shape)
