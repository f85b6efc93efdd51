"""Losses that tell the views of one example from all others.

Where a loss compares all pairs it takes `block`: so many columns at a time, and no array of all
pairs is made, forward or backward. The value is the same; a second derivative is not to be had.

>>> z = jnp.eye(4)  # four examples, told apart
>>> print(f'{info_nce(z, z, temperature=0.1).mean():.4f}')
0.0001
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp, softplus

from ssljax.losses._rows import Axis, everywhere, itself, own, products, unit
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
    z1, z2 [B, D] -> [B], the mean of an example's two anchors. axis_name: the mapped axis whose
    shards make up the batch.
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
    """DCL: NT-Xent whose denominator leaves the positive out, so that small batches learn too.

    Yeh et al. 2021, arXiv:2110.06848, eq. 6: with z and j(i) as in `nt_xent`,
        l(i) = -z_i.z_j(i) / t + log sum_{k not in {i, j(i)}} exp(z_i.z_k / t).
    z1, z2 [B, D], B of two and more -> [B], the mean of an example's two anchors.
    """
    return _all_views(z1, z2, temperature, False, block, axis_name)


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
    """InfoNCE: among all z2 of the batch, each z1 finds its own.

    van den Oord et al. 2018, arXiv:1807.03748, eq. 4, with unit vectors and the temperature of
    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(z1_i.z2_i / t) / sum_k exp(z1_i.z2_k / t).
    z1, z2 [B, D] -> [B]. negatives [M, D]: more rows to tell from, the same on all shards.
    alike [B, N], N the rows of all shards: true where row k is no true negative of i; it is left
    out of i's sum, the own one never. symmetric: the mean of this and of z2 finding its z1.
    """
    z1, z2 = unit(z1), unit(z2)
    positive = (z1 * z2).sum(-1) / temperature

    def one(z, other, out):
        out = None if out is None else out & ~itself(len(z), axis_name)
        found = _log_sum(z / temperature, other, out=out, block=block, axis_name=axis_name)
        if negatives is not None:
            # plus zero: like z it differs by shard, since its gradient does
            more = _log_sum(z / temperature, unit(negatives) + 0 * z[:1], block=block)
            found = jnp.logaddexp(found, more)
        return found - positive

    if not symmetric:
        return one(z1, z2, alike)
    back = None if alike is None else everywhere(alike, axis_name).T[own(len(z1), axis_name)]
    return (one(z1, z2, alike) + one(z2, z1, back)) / 2


def moco(
    query: jax.Array, keys: jax.Array, queue: jax.Array, *, temperature: float = 0.07
) -> jax.Array:
    """InfoNCE of a query among its key and a queue of older keys.

    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(q_i.k_i / t) / (exp(q_i.k_i / t) + sum_m exp(q_i.queue_m / t)).
    query, keys [B, D], queue [M, D] -> [B]. No gradient flows to keys, new or old.
    """
    k, queue = (jax.lax.stop_gradient(unit(k)) for k in (keys, queue))
    q = unit(query)
    positive = (q * k).sum(-1) / temperature
    return jnp.logaddexp(positive, logsumexp(products(q, queue) / temperature, -1)) - positive


def clip(
    image: jax.Array,
    text: jax.Array,
    *,
    scale: jax.Array | float = 1 / 0.07,
    block: int | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """CLIP: each image finds its text, and each text its image.

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
    """SigLIP: for every pair a yes or no, does this text belong to this image?

    Zhai et al. 2023, arXiv:2303.15343, eq. 1: with s_ik = 1 for k = i, else -1,
        l(i) = -sum_k log sigmoid(s_ik (scale * image_i.text_k + bias)).
    image, text [B, D] -> [B]. The paper learns log(scale) and bias, from these values.
    """
    image, text = unit(image), unit(text)
    own_logit = scale * (image * text).sum(-1) + bias
    # the bias as one more feature, of which every text has one
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
    # the mean over P of z_i.z_p is z_i times the sum of its class, without itself, over |P|
    names = everywhere(labels, axis_name)
    group = jnp.searchsorted(jnp.sort(names), labels)  # [B], below N and the same on all shards
    sums = jnp.zeros((len(names), D)).at[group].add(z.sum(1))
    sizes = jnp.zeros(len(names), int).at[group].add(V)
    if axis_name is not None:
        sums, sizes = lax.psum((sums, sizes), axis_name)
    count = sizes[group, None] - 1  # [B, 1]
    found = (z * (sums[group, None] - z)).sum(-1) / temperature / jnp.maximum(count, 1)  # [B, V]
    return jnp.where(count > 0, others.reshape(B, V) - found, 0).mean(-1)


def margin_pair(z1: jax.Array, z2: jax.Array, same: jax.Array, *, margin: float = 1.0) -> jax.Array:
    """Like pairs attract; unlike ones repel while they are nearer than the margin.

    Hadsell, Chopra, LeCun 2006 (CVPR), eq. 4: with d = |z1 - z2|,
        l = d^2 / 2 where same, else max(0, margin - d)^2 / 2.
    z1, z2 [B, D], same bool [B] -> [B]. Rows are taken as they are.
    """
    square = _square_distance(z1, z2)
    distance = jnp.sqrt(square + 1e-12)  # the small number: a slope at distance zero
    return jnp.where(same, square, jnp.square(jnp.maximum(margin - distance, 0))) / 2


def triplet(
    anchor: jax.Array, positive: jax.Array, negative: jax.Array, *, margin: float = 0.2
) -> jax.Array:
    """The positive shall be nearer than the negative, by a margin.

    Schroff et al. 2015, arXiv:1503.03832, eq. 3:
        l = max(0, |a - p|^2 - |a - n|^2 + margin).
    [B, D] each -> [B]. Rows are taken as they are; the paper's have length one.
    """
    nearer = _square_distance(anchor, positive) - _square_distance(anchor, negative)
    return jnp.maximum(nearer + margin, 0)


def _log_sum(a: jax.Array, b: jax.Array, **options) -> jax.Array:
    """log sum over k of exp(a(i).b(k)): [A]."""
    return over_pairs(LOG_SUM_EXP, a, b, **options)


def _all_views(z1, z2, temperature, positives, block, axis_name) -> jax.Array:
    """The mean over an example's two anchors i of log sum exp(z_i.z_k / t) - z_i.z_j(i) / t, where
    k are the views of all other examples and, with `positives`, j(i): [B]."""
    z1, z2 = unit(z1), unit(z2)
    options = dict(block=block, axis_name=axis_name)

    def others(z, alike, other):
        z = z / temperature
        alike = _log_sum(z, alike, itself=False, **options)
        return jnp.logaddexp(alike, _log_sum(z, other, itself=positives, **options))

    return (others(z1, z1, z2) + others(z2, z2, z1)) / 2 - (z1 * z2).sum(-1) / temperature


def _square_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)).sum(-1)
