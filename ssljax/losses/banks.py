"""Contrastive losses with a memory: kept rows, or keys of a net that is a slow mean.

`moco` itself is beside `info_nce`.

>>> bank = jnp.eye(4)  # four examples, orthogonal
>>> print(f'{instance_discrimination(bank[:2], jnp.arange(2), bank, temperature=0.1)[0]:.4f}')
0.0001
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp, softmax, softplus

from ssljax.losses._rows import (
    Axis,
    everywhere,
    expected,
    least,
    like,
    mean,
    nats,
    on,
    products,
    unit,
)
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses.contrastive import info_nce


def instance_discrimination(
    z: ArrayLike, index: ArrayLike, bank: ArrayLike, *, temperature: ArrayLike = 0.07
) -> jax.Array:
    """Instance discrimination: every example is a class of its own, with a kept row as its weight.

    Wu et al. 2018, arXiv:1805.01978, eqs. 2 and 3: with v_j the unit rows of the bank,
        l(i) = -log exp(v_i.z_i / t) / sum_j exp(v_j.z_i / t).
    z [B, D]; index int [B], the example's row in the bank; bank [N, D] -> [B]. No gradient flows to
    the bank; after the step, its rows `index` take in z.

    >>> bank = jnp.eye(4)
    >>> value = instance_discrimination(bank[:1], [0], bank, temperature=1.0)
    >>> print(f'{value[0]:.4f}')  # log(e + 3) - 1
    0.7437
    """
    z, index, bank = arrays('B D', 'B', 'N D', z=z, index=index, bank=bank)
    z, bank = unit(z), lax.stop_gradient(everywhere(unit(bank), None))
    return nats(products(z, bank) / like(temperature, z), index)


def instance_nce(
    z: ArrayLike,
    index: ArrayLike,
    noise: ArrayLike,
    bank: ArrayLike,
    *,
    log_normalizer: ArrayLike,
    temperature: ArrayLike = 0.07,
) -> jax.Array:
    """Instance discrimination by noise-contrastive estimation: M drawn rows instead of all N.

    Wu et al. 2018, arXiv:1805.01978, eqs. 4 to 7: with P(j|z) = exp(v_j.z / t) / Z, the noise even
    over the N rows, and h(j) = P(j|z) / (P(j|z) + M / N) the posterior chance of data,
        l(i) = -log h(i) - sum over the noise j of log(1 - h(j)).
    z [B, D], index int [B], noise int [B, M], drawn from 0 to N - 1; bank [N, D] -> [B]. No
    gradient flows to the bank.

    log_normalizer: log Z, a constant of the run; `instance_log_normalizer` of the first batch.
    temperature: t, the divisor of the cosines.

    >>> eye, noise = jnp.eye(2), jnp.array([[1], [0]])
    >>> options = dict(log_normalizer=jnp.log(jnp.e + 1), temperature=1.0)
    >>> print(f'{instance_nce(eye, jnp.arange(2), noise, eye, **options)[0]:.4f}')
    0.9515
    """
    z, index, noise, bank = arrays(
        'B D', 'B', 'B M', 'N D', z=z, index=index, noise=noise, bank=bank
    )
    z = unit(z)
    log_even = math.log(noise.shape[1] / len(bank)) + lax.stop_gradient(like(log_normalizer, z))

    def log_odds(rows):  # of data against noise, [B, any]
        return _scores(z, rows, bank, temperature) - log_even

    return softplus(-log_odds(index[:, None]))[:, 0] + softplus(log_odds(noise)).sum(-1)


def instance_log_normalizer(
    z: ArrayLike,
    noise: ArrayLike,
    bank: ArrayLike,
    *,
    temperature: ArrayLike = 0.07,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The logarithm of the constant Z of `instance_nce`, estimated: one value for a batch.

    Wu et al. 2018, arXiv:1805.01978, eq. 8:  Z = N / M sum over the noise j of exp(v_j.z / t),
    here the mean over the batch. z [B, D], noise int [B, M], bank [N, D] -> []. No gradient.

    temperature: t, the divisor of the cosines.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> eye, every = jnp.eye(2), jnp.array([[0, 1], [0, 1]])
    >>> print(f'{instance_log_normalizer(eye, every, eye, temperature=1.0):.4f}')  # log(e + 1)
    1.3133
    """
    z, noise, bank, where = arrays(
        'B D', 'B M', 'N D', 'B', z=z, noise=noise, bank=bank, where=where
    )
    z, noise = lax.stop_gradient(unit(on(where, z))), on(where, noise)
    sums = logsumexp(_scores(z, noise, bank, temperature), -1)
    largest = lax.stop_gradient(sums).max()
    largest = largest if axis_name is None else lax.pmax(largest, axis_name)
    log_mean = jnp.log(mean(jnp.exp(sums - largest), axis_name, where)) + largest
    return log_mean + math.log(len(bank) / noise.shape[1])


def nearest_row(z: ArrayLike, queue: ArrayLike) -> jax.Array:
    """NNCLR's neighbor: which row of a queue of older rows is nearest to a row.

    Dwibedi et al. 2021, arXiv:2104.14548, eq. 2: with unit rows,
        n(i) = argmin_m |z_i - queue_m|.
    z [B, D], queue [M, D] -> int [B], the first of equal ones.

    >>> print(nearest_row([[0.0, 1.0]], 3 * jnp.eye(2)))
    [1]
    """
    z, queue = arrays('B D', 'M D', z=z, queue=queue, at_least=dict(M=1))
    cosines = products(unit(z), everywhere(unit(queue), None))
    # argmax, by reductions of one array: for two, XLA sends all cosines where the queue is cut
    largest = cosines == cosines.max(-1, keepdims=True)
    return everywhere(jnp.where(largest, jnp.arange(len(queue)), len(queue) - 1).min(-1), None)


def nnclr(
    z: ArrayLike,
    prediction: ArrayLike,
    queue: ArrayLike,
    *,
    temperature: ArrayLike = 0.1,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """NNCLR: InfoNCE with the nearest older row in place of the first view.

    Dwibedi et al. 2021, arXiv:2104.14548, eqs. 2 to 4: with unit rows and n_i the row of the queue
    that is nearest to z_i (`nearest_row`),
        l(i) = -log exp(n_i.p_i / t) / sum_k exp(n_i.p_k / t).
    z [B, D] of one view, prediction [B, D] of the other, queue [M, D] -> [B]. No gradient flows to
    z or the queue. The paper takes the mean with the loss whose views have changed places.

    temperature: t, the divisor of the cosines.
    where: bool [B], rows that count; None: all.
    block: columns at a time, as for `info_nce`; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch; all have the queue.

    >>> z = jnp.eye(2)
    >>> print(f'{nnclr(z, z, 3 * z, temperature=1.0)[0]:.4f}')  # log(e + 1) - 1
    0.3133
    """
    z, prediction, queue, where = arrays(
        'B D', 'B D', 'M D', 'B', z=z, prediction=prediction, queue=queue, where=where,
        at_least=dict(B=least(2, axis_name), M=1),
    )  # fmt: skip
    neighbors = lax.stop_gradient(everywhere(queue, None))[nearest_row(on(where, z), queue)]
    options: dict[str, Any] = dict(
        temperature=temperature, where=where, block=block, axis_name=axis_name
    )
    return info_nce(neighbors, prediction, **options)


def moco_v3(
    q1: ArrayLike,
    q2: ArrayLike,
    k1: ArrayLike,
    k2: ArrayLike,
    *,
    temperature: ArrayLike = 0.2,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """MoCo v3: the query of each view finds the key of the other view among the batch's keys.

    Chen, Xie & He 2021, arXiv:2104.02057, eq. 1 and algorithm 1: with unit rows and
    ctr(q, k)(i) = -log exp(q_i.k_i / t) / sum_m exp(q_i.k_m / t),
        l(i) = 2 t (ctr(q1, k2)(i) + ctr(q2, k1)(i)).
    q1, q2, k1, k2 [B, D] -> [B]. No gradient flows to the keys.

    temperature: t, the divisor of the cosines; the factor 2 t keeps gradients of one size.
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.eye(2)
    >>> print(f'{moco_v3(z, z, z, z, temperature=1.0)[0]:.4f}')  # 4 (log(e + 1) - 1)
    1.2530
    """
    q1, q2, k1, k2, where = arrays(
        'B D', 'B D', 'B D', 'B D', 'B', at_least=dict(B=least(2, axis_name)),
        q1=q1, q2=q2, k1=k1, k2=k2, where=where,
    )  # fmt: skip
    k1, k2 = lax.stop_gradient((k1, k2))
    options: dict[str, Any] = dict(
        temperature=temperature, where=where, block=block, axis_name=axis_name
    )
    both = info_nce(q1, k2, **options) + info_nce(q2, k1, **options)
    return 2 * like(temperature, both) * both


def ressl(
    student: ArrayLike,
    teacher: ArrayLike,
    queue: ArrayLike,
    *,
    student_temperature: ArrayLike = 0.1,
    teacher_temperature: ArrayLike = 0.04,
) -> jax.Array:
    """ReSSL: two views of an example are alike in how near they are to other examples.

    Zheng et al. 2021, arXiv:2107.09282, eqs. 3 to 5: with unit rows and m_k those of the queue,
        l = -sum_k softmax(teacher.m / tau_t)[k] log softmax(student.m / tau_s)[k].
    student, teacher [B, D], queue [M, D] -> [B]. The teacher sees the weakly augmented view; no
    gradient flows to it or the queue.

    >>> queue = jnp.eye(2)
    >>> print(f'{ressl([[1.0, 1.0]], [[1.0, 0.0]], queue)[0]:.4f}')  # log 2
    0.6931
    """
    student, teacher, queue = arrays(
        'B D', 'B D', 'M D', student=student, teacher=teacher, queue=queue
    )
    teacher, queue = (lax.stop_gradient(unit(rows)) for rows in (teacher, queue))
    queue = everywhere(queue, None)
    t = products(teacher, queue) / like(teacher_temperature, teacher)
    s = products(unit(student), queue) / like(student_temperature, teacher)
    return -expected(lax.stop_gradient(softmax(t)), log_softmax(s))


def _scores(z: jax.Array, rows: jax.Array, bank: jax.Array, temperature) -> jax.Array:
    """v_j.z_b / t of the rows j [B, M] of the bank, for unit z: [B, M]; NaN where no row is."""
    rows, bank = everywhere(rows, None), everywhere(bank, None)
    inside = ((rows >= 0) & (rows < len(bank)))[..., None]
    v = jnp.where(inside, unit(bank[rows]), jnp.nan)
    return (z[:, None] * lax.stop_gradient(v)).sum(-1) / like(temperature, z)
