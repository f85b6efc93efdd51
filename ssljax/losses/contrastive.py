"""Losses that tell the views of one example from all others.

>>> z = jnp.eye(4)  # four examples, told apart
>>> print(f'{info_nce(z, z, temperature=0.1).mean():.4f}')
0.0001
"""

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from ssljax.losses._rows import Axis, everywhere, itself, own, products, unit


def nt_xent(
    z1: jax.Array, z2: jax.Array, *, temperature: float = 0.5, axis_name: Axis = None
) -> jax.Array:
    """NT-Xent: the two views of an example attract, all other views of the batch repel.

    Chen et al. 2020, arXiv:2002.05709, eq. 1: with z the 2B unit rows of z1, z2, and j(i) the
    other view of i,
        l(i) = -log exp(z_i.z_j(i) / t) / sum_{k != i} exp(z_i.z_k / t).
    z1, z2 [B, D] -> [B], the mean of an example's two anchors. axis_name: the mapped axis whose
    shards make up the batch.
    """
    z1, z2 = unit(z1), unit(z2)
    others = _others(z1, z2, temperature, axis_name, positives=True)
    return others - (z1 * z2).sum(-1) / temperature


def decoupled(
    z1: jax.Array, z2: jax.Array, *, temperature: float = 0.1, axis_name: Axis = None
) -> jax.Array:
    """DCL: NT-Xent whose denominator leaves the positive out, so that small batches learn too.

    Yeh et al. 2021, arXiv:2110.06848, eq. 6: with z and j(i) as in `nt_xent`,
        l(i) = -z_i.z_j(i) / t + log sum_{k not in {i, j(i)}} exp(z_i.z_k / t).
    z1, z2 [B, D], B of two and more -> [B], the mean of an example's two anchors.
    """
    z1, z2 = unit(z1), unit(z2)
    others = _others(z1, z2, temperature, axis_name, positives=False)
    return others - (z1 * z2).sum(-1) / temperature


def info_nce(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: jax.Array | float = 0.07,
    negatives: jax.Array | None = None,
    alike: jax.Array | None = None,
    symmetric: bool = False,
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
    same, positive = itself(len(z1), axis_name), (z1 * z2).sum(-1) / temperature
    more = None if negatives is None else unit(negatives)

    def one(z, other, out):
        logits = products(z, everywhere(other, axis_name)) / temperature
        logits = logits if out is None else _without(out & ~same, logits)
        found = logsumexp(logits, -1)
        if more is not None:
            found = jnp.logaddexp(found, logsumexp(products(z, more) / temperature, -1))
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
    axis_name: Axis = None,
) -> jax.Array:
    """CLIP: each image finds its text, and each text its image.

    Radford et al. 2021, arXiv:2103.00020, figure 3: the mean of the cross entropies of the rows
    and of the columns of  scale * image_i.text_k. The paper learns log(scale), at most log(100).
    image, text [B, D] -> [B].
    """
    return info_nce(image, text, temperature=1 / scale, symmetric=True, axis_name=axis_name)


def siglip(
    image: jax.Array,
    text: jax.Array,
    *,
    scale: jax.Array | float = 10.0,
    bias: jax.Array | float = -10.0,
    axis_name: Axis = None,
) -> jax.Array:
    """SigLIP: for every pair a yes or no, does this text belong to this image?

    Zhai et al. 2023, arXiv:2303.15343, eq. 1: with s_ik = 1 for k = i, else -1,
        l(i) = -sum_k log sigmoid(s_ik (scale * image_i.text_k + bias)).
    image, text [B, D] -> [B]. The paper learns log(scale) and bias, from these values.
    """
    texts = everywhere(unit(text), axis_name)
    logits = scale * products(unit(image), texts) + bias
    same = itself(len(image), axis_name)
    return -jax.nn.log_sigmoid(jnp.where(same, logits, -logits)).sum(-1)


def sup_con(
    z: jax.Array, labels: jax.Array, *, temperature: float = 0.1, axis_name: Axis = None
) -> jax.Array:
    """SupCon: all views of all examples of a class attract.

    Khosla et al. 2020, arXiv:2004.11362, eq. 2: with P(i) the other views of i's class,
        l(i) = -1/|P(i)| sum_{p in P(i)} log exp(z_i.z_p / t) / sum_{k != i} exp(z_i.z_k / t).
    z [B, V, D], labels int [B] -> [B], the mean of an example's V anchors; zero where P is empty.
    """
    B, V, D = z.shape
    z = unit(z)
    every, names = everywhere(z, axis_name), everywhere(labels, axis_name)
    logits = products(z.reshape(-1, D), every.reshape(-1, D)) / temperature  # [BV, NV]
    same = itself(B * V, axis_name)
    positive = (jnp.repeat(labels, V)[:, None] == jnp.repeat(names, V)) & ~same
    count = positive.sum(-1)
    found = jnp.where(positive, logits, 0).sum(-1) / jnp.maximum(count, 1)
    value = jnp.where(count > 0, logsumexp(_without(same, logits), -1) - found, 0)
    return value.reshape(B, V).mean(-1)


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


def _others(z1, z2, temperature, axis_name, *, positives: bool) -> jax.Array:
    """log sum of exp(z_i.z_k / t) over the views k of all other examples, and with `positives` over
    the example's other view: the mean of its two anchors [B]."""
    all1, all2 = everywhere(z1, axis_name), everywhere(z2, axis_name)
    same = itself(len(z1), axis_name)

    def one(z, alike, other):
        alike = _without(same, products(z, alike) / temperature)
        other = products(z, other) / temperature
        other = other if positives else _without(same, other)
        return jnp.logaddexp(logsumexp(alike, -1), logsumexp(other, -1))

    return (one(z1, all1, all2) + one(z2, all2, all1)) / 2


def _square_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32)).sum(-1)


def _without(out: jax.Array, logits: jax.Array) -> jax.Array:
    # finite, not -inf: a row that loses all has no NaN in its gradient
    return jnp.where(out, jnp.finfo(logits.dtype).min / 2, logits)
