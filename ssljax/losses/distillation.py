"""Losses of a student net that predicts the output of a teacher net.

>>> z = jnp.eye(3)
>>> print(cosine_regression(z, 5 * z), cosine_regression(z, -z))
[0. 0. 0.] [4. 4. 4.]
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    Axis,
    across,
    like,
    mean,
    precise,
    unit,
)
from ssljax.losses._shapes import arrays


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
