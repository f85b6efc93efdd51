"""Distillation of tokens: a student predicts what a teacher computes at the places it cannot see.

>>> latents = jnp.ones((2, 4, 3))
>>> print(jepa(latents, 3 * latents), data2vec(latents, 2 * latents, jnp.ones((2, 4), bool)))
[4. 4.] [0.25 0.25]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, softmax

from ssljax.losses._rows import absolute as magnitude
from ssljax.losses._rows import expected, like, on, precise, unit
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._where import mean_where


def ibot(
    student: ArrayLike,
    teacher: ArrayLike,
    mask: ArrayLike,
    *,
    center: ArrayLike,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.04,
) -> jax.Array:
    """iBOT: at masked patches, the student predicts the teacher's sharpened, centered prototypes.

    Zhou et al. 2021, arXiv:2111.07832, eq. 2: with p_i = softmax((t_i - c) / tau_t),
        l = mean over masked i of  -sum_k p_i[k] log softmax(s_i / tau_s)[k].
    student, teacher [B, T, K], mask bool [B, T], true where the student's input is masked -> [B]; 0
    without a masked patch. The mean is that of the authors' code, where the equation has a sum. No
    gradient flows to the teacher or the center.

    center: c [K], of `dino_center`, or of `sinkhorn_center` as in DINOv2.
    student_temperature, teacher_temperature: tau_s and tau_t.

    >>> sure, mask = jnp.array([[[50.0, 0.0]]]), jnp.ones((1, 1), bool)
    >>> print(f'{ibot(jnp.zeros((1, 1, 2)), sure, mask, center=jnp.zeros(2))[0]:.4f}')  # log 2
    0.6931
    """
    student, teacher, mask, center = arrays(
        'B T K', 'B T K', 'B T', 'K', student=student, teacher=teacher, mask=mask, center=center
    )
    mask = mask.astype(bool)
    student, teacher = (on(mask, precise(x)) for x in (student, teacher))
    centered = teacher - like(center, teacher)
    p = lax.stop_gradient(softmax(centered / like(teacher_temperature, teacher)))
    log_q = log_softmax(student / like(student_temperature, student))
    return mean_where(-expected(p, log_q), mask)


def gram_anchoring(student: ArrayLike, teacher: ArrayLike) -> jax.Array:
    """Gram anchoring: patches are to each other as they were in an earlier net.

    Simeoni et al. 2025 (DINOv3), arXiv:2508.10104, eq. 2: with X the unit rows of an image's P
    patches, of the student and of the Gram teacher,
        l = |X_S X_S^T - X_G X_G^T|^2 / P^2,
    the mean over pairs as in the authors' code, where the equation has the sum.
    student [B, P, D], teacher [B, P, E] -> [B]. No gradient flows to the teacher.

    >>> print(f'{gram_anchoring(jnp.ones((1, 2, 3)), jnp.eye(2)[None])[0]:.4f}')
    0.5000
    """
    student, teacher = arrays('B P D', 'B P E', student=student, teacher=teacher)

    def gram(x):
        x = unit(x)
        return jnp.einsum('bpd,bqd->bpq', x, x, precision='highest')

    return jnp.square(gram(student) - lax.stop_gradient(gram(teacher))).mean((1, 2))


def data2vec(
    prediction: ArrayLike, target: ArrayLike, mask: ArrayLike, *, beta: ArrayLike = 2.0
) -> jax.Array:
    """data2vec: a smooth L1 regression of the teacher's latents at masked places.

    Baevski et al. 2022, arXiv:2202.03555, eq. 3: with e = |target - prediction| of one feature,
        l = e^2 / (2 beta) where e <= beta, else e - beta / 2.
    prediction, target [B, T, D], mask bool [B, T] -> [B], the mean over the features of masked
    places; 0 without one. No gradient flows to the target, the mean of the teacher's last K blocks,
    each normalized.

    beta: above 0; the authors' code has 2 for images, 4 for text, and the square alone for speech.

    >>> print(data2vec([[[1.0], [9.0]]], [[[0.0], [0.0]]], [[1, 0]]))  # 1 / 4
    [0.25]
    """
    prediction, target, mask = arrays(
        'B T D', 'B T D', 'B T', prediction=prediction, target=target, mask=mask
    )
    mask = mask.astype(bool)
    prediction, target = on(mask, precise(prediction)), on(mask, precise(target))
    error = jnp.abs(prediction - lax.stop_gradient(target))
    beta = like(beta, error)
    value = jnp.where(error <= beta, jnp.square(error) / (2 * beta), error - beta / 2)
    return mean_where(value.mean(-1), mask)


def jepa(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    where: ArrayLike | None = None,
    absolute: bool = False,
) -> jax.Array:
    """JEPA: the distance of predicted and computed latents of the target blocks.

    Assran et al. 2023 (I-JEPA), arXiv:2301.08243, section 3:  l = mean (target - prediction)^2.
    Bardes et al. 2024 (V-JEPA), arXiv:2404.08471, eq. 1:  l = mean |target - prediction|.
    prediction, target [B, T, D], the tokens of all target blocks -> [B], the mean over tokens and
    features, where I-JEPA's equation sums over the features. No gradient flows to the target.

    where: bool [B, T], the tokens that are there; None: all.
    absolute: whether as in V-JEPA.

    >>> print(jepa([[[1.0], [3.0]]], [[[0.0], [0.0]]]))
    [5.]
    """
    prediction, target, where = arrays(
        'B T D', 'B T D', 'B T', prediction=prediction, target=target, where=where
    )
    where = None if where is None else where.astype(bool)
    prediction, target = on(where, precise(prediction)), on(where, precise(target))
    error = prediction - lax.stop_gradient(target)
    return mean_where((magnitude(error) if absolute else jnp.square(error)).mean(-1), where)
