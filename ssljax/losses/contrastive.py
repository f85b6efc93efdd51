"""Losses that compare the views of one example with those of all others.

A loss over all pairs has an option `block`: it computes so many columns at a time and never makes
the array of all pairs, forward or backward. The value is the same. With `block` there is no second
derivative. `axis_name` is the mapped axis whose shards make up the batch.

>>> z = jnp.eye(4)  # four examples, orthogonal
>>> print(f'{info_nce(z, z, temperature=0.1).mean():.4f}')
0.0001
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp, softplus

from ssljax.losses._rows import Axis, everywhere, itself, own, products, unit
from ssljax.losses._shapes import arrays
from ssljax.losses._strips import LOG_SUM_EXP, SUM_SOFTPLUS, over_pairs


def nt_xent(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: jax.Array | float = 0.5,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """NT-Xent: the two views of an example attract, all other views of the batch repel.

    Chen et al. 2020, arXiv:2002.05709, eq. 1: with z the 2B unit rows of z1, z2, and j(i) the
    other view of i,
        l(i) = -log exp(z_i.z_j(i) / t) / sum_{k != i} exp(z_i.z_k / t).
    z1, z2 [B, D] -> [B], the mean of an example's two anchors.
    """
    return _all_views(z1, z2, temperature, True, block, axis_name)


def decoupled(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: jax.Array | float = 0.1,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """DCL: NT-Xent without the positive in the denominator, which helps small batches.

    Yeh et al. 2021, arXiv:2110.06848, eq. 6: with z and j(i) as in `nt_xent`,
        l(i) = -z_i.z_j(i) / t + log sum_{k not in {i, j(i)}} exp(z_i.z_k / t).
    z1, z2 [B, D], B at least 2 -> [B], the mean of an example's two anchors.
    """
    return _all_views(z1, z2, temperature, False, block, axis_name)


def decoupled_weighted(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: jax.Array | float = 0.1,
    sigma: float = 0.5,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """DCLW: `decoupled` with more weight on positives that are far apart.

    Yeh et al. 2021, arXiv:2110.06848, section 3.2: the positive term of `decoupled`, z1_i.z2_i / t,
    is multiplied by  w(i) = 2 - exp(z1_i.z2_i / sigma) / mean_k exp(z1_k.z2_k / sigma),
    whose mean is one. z1, z2 [B, D], B at least 2 -> [B]. A weight has no gradient.

    temperature: t, the divisor of the cosines.
    sigma: the smaller, the more the weights differ.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch.
    """
    z1, z2 = arrays('B D', z1=z1, z2=z2)
    options = dict(temperature=temperature, block=block, axis_name=axis_name)
    positive = (unit(z1) * unit(z2)).sum(-1)
    s = lax.stop_gradient(positive) / sigma
    all_s = everywhere(s, axis_name)
    share = jnp.exp(s - logsumexp(all_s)) * len(all_s)  # 2 - w
    return decoupled(z1, z2, **options) + (share - 1) * positive / temperature


def info_nce(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: jax.Array | float = 0.07,
    negatives: jax.Array | None = None,
    alike: jax.Array | None = None,
    symmetric: bool = False,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """InfoNCE: cross entropy of each z1 with its own z2 among all z2 of the batch.

    van den Oord et al. 2018, arXiv:1807.03748, eq. 4, with unit vectors and the temperature of
    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(z1_i.z2_i / t) / sum_k exp(z1_i.z2_k / t).
    z1, z2 [B, D] -> [B].

    temperature: t, the divisor of the cosines.
    negatives: [M, D], more rows in the sum of every i; the same on all shards.
    alike: bool [B, N], N the rows of all shards; true where row k is no true negative of i. Row k
    is then left out of the sum of i, except k = i.
    symmetric: whether to take the mean with the loss of z2 among all z1.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch.
    """
    z1, z2 = unit(z1), unit(z2)
    positive = (z1 * z2).sum(-1) / temperature

    def among(z, other, out):
        out = None if out is None else out & ~itself(len(z), axis_name)
        log_sum = _log_sum(z / temperature, other, out=out, block=block, axis_name=axis_name)
        if negatives is not None:
            # 0 * z marks the negatives as different on each shard, since their gradient is
            more = _log_sum(z / temperature, unit(negatives) + 0 * z[:1], block=block)
            log_sum = jnp.logaddexp(log_sum, more)
        return log_sum - positive

    if not symmetric:
        return among(z1, z2, alike)
    alike_z2 = None if alike is None else everywhere(alike, axis_name).T[own(len(z1), axis_name)]
    return (among(z1, z2, alike) + among(z2, z1, alike_z2)) / 2


def moco(
    query: jax.Array, keys: jax.Array, queue: jax.Array, *, temperature: float = 0.07
) -> jax.Array:
    """InfoNCE: cross entropy of a query with its key among this key and a queue of older keys.

    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(q_i.k_i / t) / (exp(q_i.k_i / t) + sum_m exp(q_i.queue_m / t)).
    query, keys [B, D], queue [M, D] -> [B]. No gradient flows to keys, new or old.
    """
    k, queue = (jax.lax.stop_gradient(unit(k)) for k in (keys, queue))
    q = unit(query)
    positive = (q * k).sum(-1) / temperature
    return jnp.logaddexp(positive, logsumexp(products(q, queue) / temperature, -1)) - positive


def moco_v3(
    q1: jax.Array,
    q2: jax.Array,
    k1: jax.Array,
    k2: jax.Array,
    *,
    temperature: jax.Array | float = 0.2,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """MoCo v3: the query of each view finds the key of the other view among the batch's keys.

    Chen, Xie & He 2021, arXiv:2104.02057, eq. 1 and algorithm 1: with unit rows and
    ctr(q, k)(i) = -log exp(q_i.k_i / t) / sum_m exp(q_i.k_m / t),
        l(i) = 2 t (ctr(q1, k2)(i) + ctr(q2, k1)(i)).
    q1, q2, k1, k2 [B, D] -> [B]. No gradient flows to the keys.

    temperature: t, the divisor of the cosines; the factor 2 t keeps gradients of one size.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch.
    """
    q1, q2, k1, k2 = arrays('B D', q1=q1, q2=q2, k1=k1, k2=k2)
    k1, k2 = lax.stop_gradient((k1, k2))
    options = dict(temperature=temperature, block=block, axis_name=axis_name)
    return 2 * temperature * (info_nce(q1, k2, **options) + info_nce(q2, k1, **options))


def clip(
    image: jax.Array,
    text: jax.Array,
    *,
    scale: jax.Array | float = 1 / 0.07,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """CLIP: cross entropy of each image with its text, and of each text with its image.

    Radford et al. 2021, arXiv:2103.00020, figure 3: the mean of the cross entropies of the rows
    and of the columns of  scale * image_i.text_k. The paper learns log(scale), at most log(100).
    image, text [B, D] -> [B].
    """
    options = dict(temperature=1 / scale, symmetric=True, block=block, axis_name=axis_name)
    return info_nce(image, text, **options)


def siglip(
    image: jax.Array,
    text: jax.Array,
    *,
    scale: jax.Array | float = 10.0,
    bias: jax.Array | float = -10.0,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SigLIP: for every pair, a binary classifier of whether this text belongs to this image.

    Zhai et al. 2023, arXiv:2303.15343, eq. 1: with s_ik = 1 for k = i, else -1,
        l(i) = -sum_k log sigmoid(s_ik (scale * image_i.text_k + bias)).
    image, text [B, D] -> [B].

    scale, bias: of the cosines; the paper learns log(scale) and bias, starting from these values.
    block: columns at a time; None: all at once.
    axis_name: the mapped axis whose shards make up the batch.
    """
    image, text = unit(image), unit(text)
    own_logit = scale * (image * text).sum(-1) + bias
    # the bias is the product of one more feature: `bias` of every image, 1 of every text
    a = jnp.pad(scale * image, ((0, 0), (0, 1))).at[:, -1].set(bias)
    b = jnp.pad(text, ((0, 0), (0, 1)), constant_values=1)
    options = dict(itself=False, block=block, axis_name=axis_name)
    return softplus(-own_logit) + over_pairs(SUM_SOFTPLUS, a, b, **options)


def sup_con(
    z: jax.Array,
    labels: jax.Array,
    *,
    temperature: jax.Array | float = 0.1,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SupCon: all views of all examples of a class attract.

    Khosla et al. 2020, arXiv:2004.11362, eq. 2: with P(i) the other views of i's class,
        l(i) = -1/|P(i)| sum_{p in P(i)} log exp(z_i.z_p / t) / sum_{k != i} exp(z_i.z_k / t).
    z [B, V, D], labels int [B] -> [B], the mean of an example's V anchors; zero where P is empty.
    """
    B, V, D = z.shape
    z = unit(z)
    rows = z.reshape(-1, D)
    others = _log_sum(rows / temperature, rows, itself=False, block=block, axis_name=axis_name)
    # the mean over P(i) of z_i.z_p is z_i.(sum of its class - z_i) / |P(i)|
    all_labels = everywhere(labels, axis_name)
    group = jnp.searchsorted(jnp.sort(all_labels), labels)  # [B], below N, the same on all shards
    sums = jnp.zeros((len(all_labels), D)).at[group].add(z.sum(1))
    sizes = jnp.zeros(len(all_labels), int).at[group].add(V)
    if axis_name is not None:
        sums, sizes = lax.psum((sums, sizes), axis_name)
    count = sizes[group, None] - 1  # [B, 1]
    positive = (z * (sums[group, None] - z)).sum(-1) / temperature / jnp.maximum(count, 1)  # [B, V]
    return jnp.where(count > 0, others.reshape(B, V) - positive, 0).mean(-1)


def margin_pair(z1: jax.Array, z2: jax.Array, same: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Pairs that are the same attract; others repel while they are nearer than the margin.

    Hadsell, Chopra, LeCun 2006 (CVPR), eq. 4: with d = |z1 - z2|,
        l = d^2 / 2 where same, else max(0, margin - d)^2 / 2.
    z1, z2 [B, D], same bool [B] -> [B]. Rows are not normalized.
    """
    square = _square_distance(z1, z2)
    distance = jnp.sqrt(square + 1e-12)  # the small number keeps the gradient finite at zero
    return jnp.where(same, square, jnp.square(jnp.maximum(margin - distance, 0))) / 2


def triplet(
    anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, margin: float = 0.2
) -> jax.Array:
    """The positive should be nearer to the anchor than the negative, by a margin.

    Schroff et al. 2015, arXiv:1503.03832, eq. 3:
        l = max(0, |a - p|^2 - |a - n|^2 + margin).
    [B, D] each -> [B]. Rows are not normalized; the paper's have length one.
    """
    difference = _square_distance(anchor, positive) - _square_distance(anchor, negative)
    return jnp.maximum(difference + margin, 0)


def _log_sum(a: jax.Array, b: jax.Array, **options) -> jax.Array:
    """log sum over k of exp(a(i).b(k)): [A]."""
    return over_pairs(LOG_SUM_EXP, a, b, **options)


def _all_views(z1, z2, temperature, positives, block, axis_name) -> jax.Array:
    """The mean over an example's two anchors i of log sum exp(z_i.z_k / t) - z_i.z_j(i) / t: [B].

    The sum is over the views k of all other examples and, with `positives`, over j(i).
    """
    z1, z2 = unit(z1), unit(z2)
    options = dict(block=block, axis_name=axis_name)

    def others(z, first, second):  # the views of all examples, first those that have z itself
        z = z / temperature
        log_sum = _log_sum(z, first, itself=False, **options)
        return jnp.logaddexp(log_sum, _log_sum(z, second, itself=positives, **options))

    return (others(z1, z1, z2) + others(z2, z2, z1)) / 2 - (z1 * z2).sum(-1) / temperature


def _square_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)).sum(-1)
