"""Losses of a student net that predicts the output of a teacher net.

>>> z = jnp.eye(3)
>>> print(cosine_regression(z, 5 * z), cosine_regression(z, -z))
[0. 0. 0.] [4. 4. 4.]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp, softmax

from ssljax.losses._rows import Axis, across, everywhere, mean, nats, unit
from ssljax.losses._shapes import arrays
from ssljax.losses._where import cross, kept, real


def cosine_regression(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """The squared distance of unit vectors: the loss of BYOL and SimSiam.

    Grill et al. 2020, arXiv:2006.07733, eq. 2:  l = |p / |p| - z / |z||^2 = 2 - 2 cos(p, z).
    The loss of Chen & He 2020, arXiv:2011.10566, eq. 1, is l / 2 - 1.
    prediction, target [B, D] -> [B]. No gradient flows to the target.
    """
    return 2 - 2 * (unit(prediction) * lax.stop_gradient(unit(target))).sum(-1)


def dino(
    student: jax.Array,
    teacher: jax.Array,
    *,
    center: jax.Array,
    student_temperature: float = 0.1,
    teacher_temperature: jax.Array | float = 0.04,
) -> jax.Array:
    """Cross entropy from the teacher's sharpened, centered views to the student's other views.

    Caron et al. 2021, arXiv:2104.14294, eqs. 1 to 4: with p_g = softmax((t_g - c) / tau_t),
        l = mean over g != v of  -sum_k p_g[k] log softmax(s_v / tau_s)[k].
    student [B, V, K], of which the first G views are those of teacher [B, G, K]; center [K] -> [B].
    No gradient flows to the teacher or the center.
    """
    s = jax.nn.log_softmax(student.astype(jnp.float32) / student_temperature)
    t = (teacher.astype(jnp.float32) - center) / teacher_temperature
    p = lax.stop_gradient(jax.nn.softmax(t))
    return across(p, s)


def dino_center(
    center: jax.Array, teacher: jax.Array, *, momentum: float = 0.9, axis_name: Axis = None
) -> jax.Array:
    """The center after a batch: a running mean of the teacher's logits.

    Caron et al. 2021, arXiv:2104.14294, eq. 4:  c <- m c + (1 - m) mean over views and batch of t.
    center [K], teacher [B, G, K] -> [K]; no gradient reaches the teacher.
    """
    new = mean(lax.stop_gradient(teacher.astype(jnp.float32)).mean(1), axis_name)
    return momentum * center + (1 - momentum) * new


def dino_temperature(
    step: jax.Array | int, *, first: float = 0.04, last: float = 0.07, rise: int
) -> jax.Array:
    """The teacher's temperature: a straight line from first to last over `rise` steps, then last.

    Caron et al. 2021, arXiv:2104.14294, appendix (a): 0.04 to 0.07 over the first 30 epochs.
    """
    return first + (last - first) * jnp.minimum(step / max(rise, 1), 1.0)


def sinkhorn_center(
    teacher: jax.Array,
    *,
    temperature: jax.Array | float,
    rounds: int = 3,
    where: jax.Array | None = None,
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
    axis_name: the mapped axis whose shards make up the batch.
    """
    teacher, where = arrays('... K', '...', teacher=teacher, where=where)
    t = lax.stop_gradient(real(teacher) / temperature).reshape(-1, teacher.shape[-1])
    where = None if where is None else where.astype(bool).reshape(-1, 1)
    t = kept(t, None if where is None else where[:, 0])
    columns = jnp.zeros(t.shape[-1], t.dtype)  # what is taken off each prototype
    rows = jnp.zeros((len(t), 1), t.dtype)
    for _ in range(rounds):
        sums = logsumexp(t - rows, 0, keepdims=True, where=where)  # of this shard
        columns = logsumexp(everywhere(sums, axis_name), 0)
        rows = logsumexp(t - columns, -1, keepdims=True)
    return columns * temperature


def msn(
    anchors: jax.Array,
    targets: jax.Array,
    *,
    temperature: float = 0.1,
    target_temperature: float = 0.025,
    weight: float = 1.0,
    axis_name: Axis = None,
) -> jax.Array:
    """MSN: masked views predict the prototypes of the whole view, and all prototypes are used.

    Assran et al. 2022, arXiv:2204.07141, eq. 1: with p_im = softmax(anchors_im / t), sharper
    q_i = softmax(targets_i / t+), H the entropy and p the mean of p_im over all views and examples,
        l(i) = mean_m -sum_k q_i[k] log p_im[k] - weight * H(p).
    anchors [B, M, K] and targets [B, K], cosines of views and prototypes -> [B]. No gradient flows
    to the targets.

    temperature, target_temperature: t and t+.
    weight: of the mean entropy, which is the same for every row.
    axis_name: the mapped axis whose shards make up the batch.
    """
    anchors, targets = arrays('B M K', 'B K', anchors=anchors, targets=targets)
    log_p = log_softmax(real(anchors) / temperature)
    q = lax.stop_gradient(softmax(real(targets) / target_temperature))
    p = mean(jnp.exp(log_p).mean(1), axis_name)
    # a prototype that nobody uses adds nothing, and its slope must not be infinite
    entropy = -(p * jnp.log(jnp.maximum(p, 1e-30))).sum()
    return cross(q[:, None], log_p).mean(1) - weight * entropy


def knowledge_distillation(
    student: jax.Array, teacher: jax.Array, *, temperature: jax.Array | float
) -> jax.Array:
    """Knowledge distillation: the divergence of softened classes, in units that T does not change.

    Hinton et al. 2015, arXiv:1503.02531, section 2: with p = softmax(teacher / T) and
    q = softmax(student / T),  l = T^2 sum_k p[k] log(p[k] / q[k]).
    The paper's cross entropy is more by the entropy of p, which has no gradient.
    student, teacher [B, K] -> [B]. No gradient flows to the teacher.
    """
    student, teacher = arrays('B K', student=student, teacher=teacher)
    log_q = log_softmax(real(student) / temperature)
    log_p = log_softmax(lax.stop_gradient(real(teacher)) / temperature)
    p = jnp.exp(log_p)
    return jnp.square(temperature) * (cross(p, log_q) - cross(p, log_p))


def deit_soft(
    student: jax.Array,
    distilled: jax.Array,
    teacher: jax.Array,
    labels: jax.Array,
    *,
    temperature: float = 3.0,
    weight: float = 0.1,
) -> jax.Array:
    """DeiT, soft: labels for the class token, the teacher's softened classes for the other token.

    Touvron et al. 2020, arXiv:2012.12877, eq. 2: with q and p the softmax of the distillation
    token's and the teacher's logits over tau,
        l = (1 - weight) * -log softmax(student)[y] + weight * tau^2 sum_k p[k] log(p[k] / q[k]).
    student, distilled, teacher [B, K], labels int [B] -> [B]. No gradient flows to the teacher. A
    net without the second token gives its logits twice.
    """
    student, distilled, teacher, labels = arrays(
        'B K', 'B K', 'B K', 'B', student=student, distilled=distilled, teacher=teacher,
        labels=labels,
    )  # fmt: skip
    soft = knowledge_distillation(distilled, teacher, temperature=temperature)
    return (1 - weight) * nats(student, labels) + weight * soft


def deit_hard(
    student: jax.Array, distilled: jax.Array, teacher: jax.Array, labels: jax.Array
) -> jax.Array:
    """DeiT, hard: labels for the class token, the teacher's decision for the distillation token.

    Touvron et al. 2020, arXiv:2012.12877, eq. 3: with y_t the argmax of the teacher,
        l = -1/2 log softmax(student)[y] - 1/2 log softmax(distilled)[y_t].
    student, distilled, teacher [B, K], labels int [B] -> [B]. A net without the second token gives
    its logits twice.
    """
    student, distilled, teacher, labels = arrays(
        'B K', 'B K', 'B K', 'B', student=student, distilled=distilled, teacher=teacher,
        labels=labels,
    )  # fmt: skip
    return (nats(student, labels) + nats(distilled, teacher.argmax(-1))) / 2


def obow(logits: jax.Array, bag: jax.Array) -> jax.Array:
    """OBoW: a crop predicts which visual words the teacher sees in the whole image.

    Gidaris et al. 2020, arXiv:2012.11552, section 3:  l = -sum_k bag[k] log softmax(logits)[k].
    logits, bag [B, K], of `bag_of_words` -> [B]. No gradient flows to the bag.
    """
    logits, bag = arrays('B K', logits=logits, bag=bag)
    return cross(lax.stop_gradient(real(bag)), log_softmax(real(logits)))


def bag_of_words(
    features: jax.Array, vocabulary: jax.Array, *, delta: jax.Array | float
) -> jax.Array:
    """The visual words of an image: the target of `obow`.

    Gidaris et al. 2020, arXiv:2012.11552, section 3.1: with q_u = softmax(-|f_u - v|^2 / delta)
    over the words v, the bag is  max_u q_u, divided by its sum.
    features [B, U, D], one for each place; vocabulary [K, D] -> [B, K]. No gradient.

    delta: 1/15 of the running mean of the squared distance of a feature and its nearest word.
    """
    features, vocabulary = map(
        real, arrays('B U D', 'K D', features=features, vocabulary=vocabulary)
    )
    scores = 2 * jnp.einsum('bud,kd->buk', features, vocabulary, precision='highest')
    scores -= jnp.square(vocabulary).sum(-1)  # |f|^2 is the same for all words
    bag = softmax(scores / delta).max(1)
    return lax.stop_gradient(bag / bag.sum(-1, keepdims=True))
