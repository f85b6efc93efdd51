"""Losses of a student net that predicts the output of a teacher net.

>>> z = jnp.eye(3)
>>> print(cosine_regression(z, 5 * z), cosine_regression(z, -z))
[0. 0. 0.] [4. 4. 4.]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp, softmax

from ssljax.losses._rows import (
    Axis,
    across,
    everywhere,
    expected,
    like,
    mean,
    nats,
    on,
    precise,
    unit,
)
from ssljax.losses._shapes import ArrayLike, arrays


def cosine_regression(prediction: ArrayLike, target: ArrayLike) -> jax.Array:
    """The squared distance of unit vectors: the loss of BYOL and SimSiam.

    Grill et al. 2020, arXiv:2006.07733, eq. 2:  l = |p / |p| - z / |z||^2 = 2 - 2 cos(p, z).
    The loss of Chen & He 2020, arXiv:2011.10566, eq. 1, is l / 2 - 1.
    prediction, target [B, D] -> [B]. No gradient flows to the target.

    >>> print(cosine_regression([[1.0, 0.0]], [[0.0, 2.0]]))
    [2.]
    """
    prediction, target = arrays('B D', prediction=prediction, target=target)
    return 2 - 2 * (unit(prediction) * lax.stop_gradient(unit(target))).sum(-1)


def dino(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    center: ArrayLike,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.04,
) -> jax.Array:
    """Cross entropy from the teacher's sharpened, centered views to the student's other views.

    Caron et al. 2021, arXiv:2104.14294, eqs. 1 to 4: with p_g = softmax((t_g - c) / tau_t),
        l = mean over g != v of  -sum_k p_g[k] log softmax(s_v / tau_s)[k].
    student [B, V, K], V at least 2, of which the first G views are those of teacher [B, G, K];
    center c [K] -> [B]. No gradient flows to the teacher or the center. A class that is -inf in
    the teacher has no part. The temperatures are the paper's (section 3.1).

    >>> student, teacher = jnp.zeros((1, 5, 4)), jnp.zeros((1, 2, 4))
    >>> print(f'{dino(student, teacher, center=jnp.zeros(4))[0]:.4f}')  # log 4
    1.3863
    """
    student, teacher, center = arrays(
        'B V K', 'B G K', 'K', at_least=dict(V=2, G=1),
        student=student, teacher=teacher, center=center,
    )  # fmt: skip
    if (G := teacher.shape[1]) > (V := student.shape[1]):
        raise ValueError(f'dino: teacher has {G} views, and student has {V}; it must have them all')
    s, t = precise(student), precise(teacher)
    log_p = jax.nn.log_softmax(s / like(student_temperature, s))
    t = (t - like(center, t)) / like(teacher_temperature, t)
    return across(like(lax.stop_gradient(jax.nn.softmax(t)), log_p), log_p)


def dino_center(
    center: ArrayLike,
    teacher: ArrayLike,
    *,
    momentum: ArrayLike = 0.9,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The center after a batch: a running mean of the teacher's logits.

    Caron et al. 2021, arXiv:2104.14294, eq. 4:  c <- m c + (1 - m) mean over views and batch of t.
    center [K], teacher [B, G, K] -> [K]; no gradient reaches the teacher. The momentum is that of
    the authors' code. where: bool [B], rows that count. axis_name: the mapped axis, or axes, whose
    shards make up the batch.

    >>> print(dino_center(jnp.zeros(2), jnp.ones((3, 2, 2)), momentum=0.5))
    [0.5 0.5]
    """
    center, teacher, where = arrays('K', 'B G K', 'B', center=center, teacher=teacher, where=where)
    center = precise(center)
    new = like(mean(lax.stop_gradient(precise(teacher)).mean(1), axis_name, where), center)
    momentum = like(momentum, center)
    return momentum * center + (1 - momentum) * new


def dino_temperature(
    step: ArrayLike, *, first: ArrayLike = 0.04, last: ArrayLike = 0.07, rise: int
) -> jax.Array:
    """The teacher's temperature, a number: a line from first to last over `rise` steps, then last.

    Caron et al. 2021, arXiv:2104.14294, appendix (a): 0.04 to 0.07 over the first 30 epochs,
        first + (last - first) * min(step / rise, 1).
    step [] -> [].

    >>> print(f'{dino_temperature(50, rise=100):.3f}')
    0.055
    """
    (step,) = arrays('', step=step)
    first, last = like(first, precise(step)), like(last, precise(step))
    return first + (last - first) * jnp.minimum(precise(step) / max(rise, 1), 1)


def sinkhorn_center(
    teacher: ArrayLike,
    *,
    temperature: ArrayLike,
    rounds: int = 3,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The center with which a batch uses all prototypes equally: DINOv2's centering.

    Oquab et al. 2023, arXiv:2304.07193, section 4, by the algorithm of `sinkhorn` (Caron et al.
    2020, arXiv:2006.09882): with t_i all rows of all views, the c at which, after so many rounds,
        softmax((t_i - c) / tau)  is row i of Sinkhorn-Knopp of exp(t / tau).
    teacher [..., K] -> [K], for the option `center` of `dino` and of `ibot`, whose
    teacher_temperature is to be tau. No gradient.

    temperature: tau.
    rounds: how often columns and rows are scaled; 0: no center.
    where: bool [...], the rows that count, as the masked patches; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> c = sinkhorn_center(jnp.array([[1.0, 0.0], [1.0, 0.0]]), temperature=1.0)
    >>> print(f'{c[0] - c[1]:.4f}')  # the first prototype is used less
    1.0000
    """
    teacher, where = arrays('... K', '...', teacher=teacher, where=where)
    where = None if where is None else where.astype(bool)
    t = on(where, precise(lax.stop_gradient(teacher)))
    t = t / like(temperature, t)
    axes = tuple(range(t.ndim - 1))
    counts = None if where is None else where[..., None]
    columns = jnp.zeros(t.shape[-1], t.dtype)  # what is taken off each prototype
    rows = jnp.zeros((1,) * t.ndim, t.dtype)  # and off each row
    for _ in range(rounds):
        sums = logsumexp(t - rows, axes, where=counts)  # of this shard
        columns = logsumexp(everywhere(sums[None], axis_name), 0)
        rows = logsumexp(t - columns, -1, keepdims=True)
    return lax.stop_gradient(columns * like(temperature, t))


def msn(
    anchors: ArrayLike,
    targets: ArrayLike,
    *,
    temperature: ArrayLike = 0.1,
    target_temperature: ArrayLike = 0.025,
    weight: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """MSN: masked views predict the prototypes of the whole view, and all prototypes are used.

    Assran et al. 2022, arXiv:2204.07141, eq. 1: with p_im = softmax(anchors_im / t), sharper
    q_i = softmax(targets_i / t+), H the entropy and p the mean of p_im over all views and examples,
        l(i) = mean_m -sum_k q_i[k] log p_im[k] - weight * H(p).
    anchors [B, M, K] and targets [B, K], cosines of views and prototypes -> [B]. No gradient flows
    to the targets.

    temperature, target_temperature: t and t+; the authors'. Their runs also use all prototypes
        equally: targets - sinkhorn_center(t+ * log_softmax(targets / t+), temperature=t+).
    weight: of the mean entropy, which is the same for every row.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> sure = 1e3 * jnp.eye(4)
    >>> print(f'{msn(sure[:, None], sure)[0]:.4f}')  # -log 4
    -1.3863
    """
    anchors, targets, where = arrays(
        'B M K', 'B K', 'B', anchors=anchors, targets=targets, where=where
    )
    anchors, targets = on(where, precise(anchors)), on(where, precise(targets))
    log_p = log_softmax(anchors / like(temperature, anchors))
    q = lax.stop_gradient(softmax(targets / like(target_temperature, targets)))
    p = mean(jnp.exp(log_p).mean(1), axis_name, where)
    # a prototype that nobody uses adds nothing, and its slope must not be infinite
    entropy = -(p * jnp.log(jnp.maximum(p, 1e-30))).sum()
    return on(where, -expected(q[:, None], log_p).mean(1) - like(weight, entropy) * entropy)


def knowledge_distillation(
    student: ArrayLike, teacher: ArrayLike, *, temperature: ArrayLike
) -> jax.Array:
    """Knowledge distillation: the divergence of softened classes, in units that T does not change.

    Hinton et al. 2015, arXiv:1503.02531, section 2: with p = softmax(teacher / T) and
    q = softmax(student / T),  l = T^2 sum_k p[k] log(p[k] / q[k]).
    The paper's cross entropy is more by the entropy of p, which has no gradient.
    student, teacher [B, K] -> [B]. No gradient flows to the teacher.

    >>> student = jnp.array([[2 * jnp.log(3.0), 0.0]])
    >>> print(f'{knowledge_distillation(student, jnp.zeros((1, 2)), temperature=2.0)[0]:.4f}')
    0.5754
    """
    student, teacher = arrays('B K', student=student, teacher=teacher)
    student, teacher = precise(student), lax.stop_gradient(precise(teacher))
    T = like(temperature, student)
    log_q, log_p = log_softmax(student / T), log_softmax(teacher / like(T, teacher))
    p = jnp.exp(log_p)
    return jnp.square(T) * (expected(p, log_p) - expected(p, log_q))


def deit_soft(
    student: ArrayLike,
    distilled: ArrayLike,
    teacher: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike = 3.0,
    weight: ArrayLike = 0.1,
) -> jax.Array:
    """DeiT, soft: labels for the class token, the teacher's softened classes for the other token.

    Touvron et al. 2020, arXiv:2012.12877, eq. 2: with q and p the softmax of the distillation
    token's and the teacher's logits over tau,
        l = (1 - weight) * -log softmax(student)[y] + weight * tau^2 sum_k p[k] log(p[k] / q[k]).
    student, distilled, teacher [B, K], labels int [B] -> [B]. No gradient flows to the teacher. A
    net without the second token gives its logits twice.

    >>> zero = jnp.zeros((1, 2))
    >>> print(f'{deit_soft(zero, zero, zero, jnp.array([1]))[0]:.4f}')  # 0.9 log 2
    0.6238
    """
    student, distilled, teacher, labels = arrays(
        'B K', 'B K', 'B K', 'B', student=student, distilled=distilled, teacher=teacher,
        labels=labels,
    )  # fmt: skip
    soft = knowledge_distillation(distilled, teacher, temperature=temperature)
    weight = like(weight, soft)
    return (1 - weight) * nats(student, labels) + weight * soft


def deit_hard(
    student: ArrayLike, distilled: ArrayLike, teacher: ArrayLike, labels: ArrayLike
) -> jax.Array:
    """DeiT, hard: labels for the class token, the teacher's decision for the distillation token.

    Touvron et al. 2020, arXiv:2012.12877, eq. 3: with y_t the argmax of the teacher,
        l = -1/2 log softmax(student)[y] - 1/2 log softmax(distilled)[y_t].
    student, distilled, teacher [B, K], labels int [B] -> [B]. A net without the second token gives
    its logits twice.

    >>> zero = jnp.zeros((1, 2))
    >>> print(f'{deit_hard(zero, zero, zero, jnp.array([1]))[0]:.4f}')  # log 2
    0.6931
    """
    student, distilled, teacher, labels = arrays(
        'B K', 'B K', 'B K', 'B', student=student, distilled=distilled, teacher=teacher,
        labels=labels,
    )  # fmt: skip
    return (nats(student, labels) + nats(distilled, teacher.argmax(-1))) / 2


def obow(logits: ArrayLike, bag: ArrayLike) -> jax.Array:
    """OBoW: a crop predicts which visual words the teacher sees in the whole image.

    Gidaris et al. 2020, arXiv:2012.11552, section 3:  l = -sum_k bag[k] log softmax(logits)[k].
    logits, bag [B, K], of `bag_of_words` -> [B]. No gradient flows to the bag.

    >>> print(f'{obow(jnp.zeros((1, 4)), jnp.array([[0.5, 0.5, 0.0, 0.0]]))[0]:.4f}')  # log 4
    1.3863
    """
    logits, bag = arrays('B K', logits=logits, bag=bag)
    return -expected(lax.stop_gradient(precise(bag)), log_softmax(precise(logits)))


def bag_of_words(features: ArrayLike, vocabulary: ArrayLike, *, delta: ArrayLike) -> jax.Array:
    """The visual words of an image: the target of `obow`.

    Gidaris et al. 2020, arXiv:2012.11552, section 3.1: with q_u = softmax(-|f_u - v|^2 / delta)
    over the words v, the bag is  max_u q_u, divided by its sum.
    features [B, U, D], one for each place; vocabulary [K, D] -> [B, K]. No gradient.

    delta: 1/15 of the running mean of the squared distance of a feature and its nearest word.

    >>> words = 9 * jnp.eye(3)
    >>> print(bag_of_words(words[jnp.array([[0, 0, 2]])], words, delta=1.0))
    [[0.5 0.  0.5]]
    """
    features, vocabulary = map(
        precise, arrays('B U D', 'K D', features=features, vocabulary=vocabulary)
    )
    scores = 2 * jnp.einsum('bud,kd->buk', features, vocabulary, precision='highest')
    scores -= jnp.square(vocabulary).sum(-1)  # |f|^2 is the same for all words
    bag = softmax(scores / like(delta, scores)).max(1)
    return lax.stop_gradient(bag / bag.sum(-1, keepdims=True))
