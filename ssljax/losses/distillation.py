"""Losses of a student that predicts a teacher."""

import jax
import jax.numpy as jnp
from jax import lax


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
    terms = -jnp.einsum('bgk,bvk->bgv', p, s, precision='highest')
    different = 1 - jnp.eye(*terms.shape[1:])  # a view never predicts itself
    return (terms * different).sum((1, 2)) / different.sum()
