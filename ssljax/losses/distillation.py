"""Losses of a student net that predicts the output of a teacher net.

>>> z = jnp.eye(3)
>>> print(cosine_regression(z, 5 * z), cosine_regression(z, -z))
[0. 0. 0.] [4. 4. 4.]
"""

import jax
import jax.numpy as jnp
from jax import lax

from ssljax.losses._rows import Axis, across, mean, unit


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
