"""Losses that compare the views of one example with those of all others.

A loss over all pairs has the options `block`, how many columns at a time: the array of all pairs is
then never made, forward or backward, and value and derivatives are the same; `where`, bool [B]: a
row that is off, whatever is in it, is neither anchor nor positive nor negative, and its loss is
zero; `axis_name`, the mapped axis, or axes, whose shards make up the batch.

>>> z = jnp.eye(4)  # four examples, orthogonal
>>> print(f'{info_nce(z, z, temperature=0.1).mean():.4f}')
0.0001
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp, softplus

from ssljax.losses._rows import (
    Axis,
    everywhere,
    itself,
    least,
    like,
    on,
    precise,
    products,
    size,
    total,
    unit,
)
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._strips import LOG_SUM_EXP, NOTHING, SUM_SOFTPLUS, both_ways, over_pairs


def nt_xent(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    temperature: ArrayLike = 0.5,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """NT-Xent: the two views of an example attract, all other views of the batch repel.

    Chen et al. 2020, arXiv:2002.05709, eq. 1: with z the 2B unit rows of z1, z2, and j(i) the
    other view of i,
        l(i) = -log exp(z_i.z_j(i) / t) / sum_{k != i} exp(z_i.z_k / t).
    z1, z2 [B, D], B at least 2 -> [B], the mean of an example's two anchors.

    temperature: t; 0.5 is the paper's for CIFAR-10 (appendix B.9), 0.1 for ImageNet.
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{nt_xent(jnp.eye(2), jnp.eye(2), temperature=1.0)[0]:.4f}')  # log(e + 2) - 1
    0.5514
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    return _all_views(z1, z2, temperature, True, where, block, axis_name)


def decoupled(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    temperature: ArrayLike = 0.1,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """DCL: NT-Xent without the positive in the denominator, which helps small batches.

    Yeh et al. 2021, arXiv:2110.06848, eq. 6: with z and j(i) as in `nt_xent`,
        l(i) = -z_i.z_j(i) / t + log sum_{k not in {i, j(i)}} exp(z_i.z_k / t).
    z1, z2 [B, D], B at least 2 -> [B], the mean of an example's two anchors; zero for a row that
    `where` leaves alone.

    temperature: t; 0.1 is the paper's (section 4).
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{decoupled(jnp.eye(2), jnp.eye(2), temperature=1.0)[0]:.4f}')  # log 2 - 1
    -0.3069
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    return _all_views(z1, z2, temperature, False, where, block, axis_name)


def decoupled_weighted(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    temperature: ArrayLike = 0.1,
    sigma: ArrayLike = 0.5,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """DCLW: `decoupled` with more weight on positives that are far apart.

    Yeh et al. 2021, arXiv:2110.06848, section 3.2: the positive term of `decoupled`, z1_i.z2_i / t,
    is multiplied by  w(i) = 2 - exp(z1_i.z2_i / sigma) / mean_k exp(z1_k.z2_k / sigma),
    whose mean is one. z1, z2 [B, D], B at least 2 -> [B]. A weight has no gradient.

    temperature: t, the divisor of the cosines.
    sigma: the smaller, the more the weights differ.
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.eye(2)
    >>> print(decoupled_weighted(z, z, temperature=1.0))  # log 2 - 1
    [-0.30685282 -0.30685282]
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    options: dict[str, Any] = dict(
        temperature=temperature, where=where, block=block, axis_name=axis_name
    )
    positive = (unit(on(where, z1)) * unit(on(where, z2))).sum(-1)
    s = positive / like(sigma, positive)
    counts = None if where is None else everywhere(where.astype(bool), axis_name)
    mean_log = logsumexp(everywhere(s, axis_name), where=counts) - jnp.log(
        size(s, axis_name, where)
    )
    share = lax.stop_gradient(jnp.exp(s - mean_log))  # 2 - w
    more = (share - 1) * positive / like(temperature, positive)
    return decoupled(z1, z2, **options) + more


def info_nce(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    temperature: ArrayLike = 0.07,
    negatives: ArrayLike | None = None,
    alike: ArrayLike | None = None,
    symmetric: bool = False,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """InfoNCE: cross entropy of each z1 with its own z2 among all z2 of the batch.

    van den Oord et al. 2018, arXiv:1807.03748, eq. 4, with unit vectors and the temperature of
    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(z1_i.z2_i / t) / sum_k exp(z1_i.z2_k / t).
    z1, z2 [B, D], B at least 2 or `negatives` -> [B].

    temperature: t, the divisor of the cosines; 0.07 is that of He et al.
    negatives: [M, D], more rows in the sum of every i; the same on all shards.
    alike: bool [B, N], N the rows of all shards; true where row k is no true negative of i. Row k
    is then left out of the sum of i, except k = i.
    symmetric: whether to take the mean with the loss of z2 among all z1.
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{info_nce(jnp.eye(2), jnp.eye(2), temperature=1.0)[0]:.4f}')  # log(e + 1) - 1
    0.3133
    """
    z1, z2, negatives, alike, where = arrays(
        'B D', 'B D', 'M D', 'B N', 'B', at_least=_some(negatives, axis_name),
        z1=z1, z2=z2, negatives=negatives, alike=alike, where=where,
    )  # fmt: skip
    (alike,) = arrays(f'B {total(len(z1), axis_name)}', alike=alike)
    where = None if where is None else where.astype(bool)
    z1, z2 = unit(on(where, z1)), unit(on(where, z2))
    t = like(temperature, z1)
    positive = (z1 * z2).sum(-1) / t
    more = None if negatives is None else unit(negatives)
    if more is not None and axis_name is not None:
        more += 0 * z1[:1]  # marks them as different on each shard, since their gradient is

    options: dict[str, Any] = dict(where=where, block=block, axis_name=axis_name)
    out = None if alike is None else alike.astype(bool) & ~itself(len(z1), axis_name)

    def against(z, log_sum):
        if more is not None:
            log_sum = jnp.logaddexp(log_sum, _log_sum(z / t, more, block=block))
        return log_sum - positive

    if not symmetric:
        return on(where, against(z1, _log_sum(z1 / t, z2, out=out, **options)))
    of_z1, of_z2 = both_ways(LOG_SUM_EXP, z1 / t, z2, out=out, **options)
    return on(where, (against(z1, of_z1) + against(z2, of_z2)) / 2)


def moco(
    query: ArrayLike, keys: ArrayLike, queue: ArrayLike, *, temperature: ArrayLike = 0.07
) -> jax.Array:
    """InfoNCE: cross entropy of a query with its key among this key and a queue of older keys.

    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(q_i.k_i / t) / (exp(q_i.k_i / t) + sum_m exp(q_i.queue_m / t)).
    query, keys [B, D], queue [M, D] -> [B]. No gradient flows to keys, new or old. The default of
    t is the paper's.

    >>> one, other = jnp.eye(2)[:1], jnp.eye(2)[1:]
    >>> print(f'{moco(one, one, other, temperature=1.0)[0]:.4f}')  # log(e + 1) - 1
    0.3133
    """
    query, keys, queue = arrays(
        'B D', 'B D', 'M D', query=query, keys=keys, queue=queue, at_least=dict(M=1)
    )
    k, queue = (lax.stop_gradient(unit(k)) for k in (keys, queue))
    q = unit(query)
    t = like(temperature, q)
    positive = (q * k).sum(-1) / t
    return (
        jnp.logaddexp(positive, logsumexp(products(q, everywhere(queue, None)) / t, -1)) - positive
    )


def clip(
    image: ArrayLike,
    text: ArrayLike,
    *,
    scale: ArrayLike = 1 / 0.07,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """CLIP: cross entropy of each image with its text, and of each text with its image.

    Radford et al. 2021, arXiv:2103.00020, figure 3: with s_ik = scale * image_i.text_k,
        l(i) = -1/2 log softmax_k(s_ik)[i] - 1/2 log softmax_k(s_ki)[i].
    image, text [B, D], B at least 2 -> [B].

    scale: of the cosines, one over a temperature; the paper learns log(scale), at most log(100),
    from this value (section 2.5).
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{clip(jnp.eye(2), jnp.eye(2), scale=1.0)[0]:.4f}')  # log(e + 1) - 1
    0.3133
    """
    image, text, where = arrays(
        'B D', 'B D', 'B', at_least=dict(B=least(2, axis_name)),
        image=image, text=text, where=where,
    )  # fmt: skip
    options = dict(symmetric=True, where=where, block=block, axis_name=axis_name)
    return info_nce(image, text, temperature=1 / like(scale, precise(image)), **options)  # type: ignore[arg-type]


def siglip(
    image: ArrayLike,
    text: ArrayLike,
    *,
    scale: ArrayLike = 10.0,
    bias: ArrayLike = -10.0,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SigLIP: for every pair, a binary classifier of whether this text belongs to this image.

    Zhai et al. 2023, arXiv:2303.15343, eq. 1: with s_ik = 1 for k = i, else -1,
        l(i) = -sum_k log sigmoid(s_ik (scale * image_i.text_k + bias)).
    image, text [B, D], B at least 2 -> [B].

    scale, bias: of the cosines; the paper learns log(scale) and bias, starting from these values.
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{siglip(jnp.eye(2), jnp.eye(2), scale=0.0, bias=0.0)[0]:.4f}')  # 2 log 2
    1.3863
    """
    image, text, where = arrays(
        'B D', 'B D', 'B', at_least=dict(B=least(2, axis_name)),
        image=image, text=text, where=where,
    )  # fmt: skip
    where = None if where is None else where.astype(bool)
    image, text = unit(on(where, image)), unit(on(where, text))
    scale, bias = like(scale, image), like(bias, image)
    own_logit = scale * (image * text).sum(-1) + bias
    # the bias is the product of one more feature: `bias` of every image, 1 of every text
    one = jnp.ones_like(image[:, :1])
    a, b = jnp.concatenate([scale * image, bias * one], 1), jnp.concatenate([text, one], 1)
    options = dict(itself=False, where=where, block=block, axis_name=axis_name)
    return on(where, softplus(-own_logit) + over_pairs(SUM_SOFTPLUS, a, b, **options))  # type: ignore[arg-type]


def sup_con(
    z: ArrayLike,
    labels: ArrayLike,
    *,
    temperature: ArrayLike = 0.1,
    where: ArrayLike | None = None,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SupCon: all views of all examples of a class attract.

    Khosla et al. 2020, arXiv:2004.11362, eq. 2: with P(i) the other views of i's class,
        l(i) = -1/|P(i)| sum_{p in P(i)} log exp(z_i.z_p / t) / sum_{k != i} exp(z_i.z_k / t).
    z [B, V, D], labels int [B], B at least 2 -> [B], the mean of an example's V anchors; zero where
    P is empty.

    temperature: t; 0.1 is the paper's (section 4).
    where: bool [B], rows that count; None: all.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.stack([jnp.eye(2), jnp.eye(2)], 1)
    >>> print(f'{sup_con(z, [0, 1], temperature=1.0)[0]:.4f}')  # log(e + 2) - 1, as nt_xent
    0.5514
    """
    z, labels, where = arrays(
        'B V D', 'B', 'B', z=z, labels=labels, where=where, at_least=dict(B=least(2, axis_name))
    )
    where = None if where is None else where.astype(bool)
    B, V, D = z.shape
    z = unit(on(where, z))
    t, rows = like(temperature, z), z.reshape(-1, D)
    options = dict(itself=False, block=block, axis_name=axis_name)
    counted = None if where is None else jnp.broadcast_to(where[:, None], (B, V)).reshape(-1)
    others = _log_sum(rows / t, rows, where=counted, **options)
    # the mean over P(i) of z_i.z_p is z_i.(sum of its class - z_i) / |P(i)|
    all_labels = everywhere(labels, axis_name)
    labels = labels if axis_name is not None else all_labels
    group = jnp.searchsorted(jnp.sort(all_labels), labels)  # [B], below N, the same on all shards
    views = like(V, z) * jnp.ones(B, z.dtype)
    counts = views if where is None else on(where, views)
    terms = [z.sum(1), counts] if axis_name else [everywhere(x, None) for x in (z.sum(1), counts)]
    sums, sizes = (
        jnp.zeros((len(all_labels), *x.shape[1:]), x.dtype).at[group].add(x) for x in terms
    )
    if axis_name is not None:
        sums, sizes = lax.psum((sums, sizes), axis_name)
    count = sizes[group, None] - 1  # [B, 1]
    positive = (z * (sums[group, None] - z)).sum(-1) / t / jnp.maximum(count, 1)  # [B, V]
    return on(where, jnp.where(count > 0, others.reshape(B, V) - positive, 0).mean(-1))


def _some(negatives, axis_name):
    """The least sizes of a batch and of negatives: there must be one."""
    return dict(M=1, B=least(2, axis_name) if negatives is None else 1)


def _log_sum(a: jax.Array, b: jax.Array, **options) -> jax.Array:
    """log sum over k of exp(a(i).b(k)): [A]."""
    return over_pairs(LOG_SUM_EXP, a, b, **options)


def _all_views(z1, z2, temperature, positives, where, block, axis_name) -> jax.Array:
    """The mean over an example's two anchors i of log sum exp(z_i.z_k / t) - z_i.z_j(i) / t: [B].

    The sum is over the views k of all other examples and, with `positives`, over j(i).
    """
    where = None if where is None else where.astype(bool)
    z1, z2 = unit(on(where, z1)), unit(on(where, z2))
    t = like(temperature, z1)
    options = dict(where=where, block=block, axis_name=axis_name)

    of_z1, of_z2 = both_ways(LOG_SUM_EXP, z1 / t, z2, itself=positives, **options)

    def others(z, second):  # the views of all examples: of z itself, and second
        return jnp.logaddexp(_log_sum(z / t, z, itself=False, **options), second)

    anchors = others(z1, of_z1) + others(z2, of_z2)
    value = anchors / 2 - (z1 * z2).sum(-1) / t
    return on(where, jnp.where(anchors > NOTHING, value, 0))  # zero: `where` leaves no negative
