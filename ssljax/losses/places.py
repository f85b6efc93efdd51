"""Contrastive losses of places: steps of a sequence, points of a scan, patches of an image.

>>> z = jnp.eye(3)[None]  # one example of three places, orthogonal
>>> print(f'{point_info_nce(z, z, temperature=1.0)[0]:.4f}')  # log(e + 2) - 1
0.5514
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import logsumexp

from ssljax.losses._rows import Axis, everywhere, least, like, on, precise, unit
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses._strips import NOTHING
from ssljax.losses._where import mean_where


def cpc(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    where: ArrayLike | None = None,
    all_steps: bool = False,
    axis_name: Axis = None,
) -> jax.Array:
    """CPC: the prediction of a later step finds that step among those of other examples.

    van den Oord et al. 2018, arXiv:1807.03748, eqs. 3 and 4: with the predictions p = W_k c_t of
    the step t + k from the context c_t, and z what is encoded there,
        l(i, s) = -log exp(p_is.z_is) / sum_j exp(p_is.z_js).
    prediction, target [B, T, D], place s of both the same step -> [B, T]. One call for each k. Rows
    are not normalized.

    where: bool [B, T], the steps that are there; the others are 0 and nobody's negatives.
    all_steps: whether the sum is over all steps of all examples, those of i itself too.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.ones((3, 2, 4))
    >>> print(f'{cpc(z, z)[0, 0]:.4f} {cpc(z, z, all_steps=True)[0, 0]:.4f}')  # log 3, log 6
    1.0986 1.7918
    """
    p, z, where = arrays(
        'B T D', 'B T D', 'B T', prediction=prediction, target=target, where=where,
        at_least=dict(B=1 if all_steps else least(2, axis_name)),
    )  # fmt: skip
    where = None if where is None else where.astype(bool)
    p, z = (on(where, precise(x)) for x in (p, z))
    pairs = 'btd,nsd->btns' if all_steps else 'btd,ntd->btn'
    scores = jnp.einsum(pairs, p, everywhere(z, axis_name), precision='highest')
    if where is not None:
        there = everywhere(where, axis_name)  # [N, T]
        scores = jnp.where(there if all_steps else there.T, scores, NOTHING)
    axes = (2, 3) if all_steps else 2
    return on(where, logsumexp(scores, axes) - (p * z).sum(-1))


def point_info_nce(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    temperature: ArrayLike = 0.07,
    where: ArrayLike | None = None,
) -> jax.Array:
    """PointInfoNCE: a point of one scan finds the same point of another among all matched points.

    Xie et al. 2020, arXiv:2007.10985, eq. 3: with unit rows and P the matched pairs of two scans,
        l = -sum_{i in P} log exp(z1_i.z2_i / t) / sum_{k in P} exp(z1_i.z2_k / t).
    z1, z2 [B, P, D], row i of both the same point -> [B], the mean over the pairs as in the
    authors' code, where the equation has the sum.

    temperature: t, the divisor of the cosines.
    where: bool [B, P], the pairs that are there; None: all.

    >>> z = jnp.eye(3)[None]  # one scan of three points
    >>> print(f'{point_info_nce(z, z, temperature=1.0)[0]:.4f}')  # log(e + 2) - 1
    0.5514
    """
    z1, z2, where = arrays('B P D', 'B P D', 'B P', z1=z1, z2=z2, where=where)
    return _within(z1, z2, temperature, where)


def patch_nce(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    temperature: ArrayLike = 0.07,
    where: ArrayLike | None = None,
) -> jax.Array:
    """PatchNCE: a patch of a translated image finds its own among the patches of the input image.

    Park et al. 2020, arXiv:2007.15651, eqs. 3 and 4: with unit rows,
        l = sum_s -log exp(p_s.z_s / t) / sum_r exp(p_s.z_r / t),
    p of the S patches of the output image, z of the same places in the input image.
    prediction, target [B, S, D] -> [B], the mean over patches as in the authors' code, where the
    equation has the sum; one call for each layer. No gradient flows to the target.

    temperature: t, the divisor of the cosines.
    where: bool [B, S], the patches that are there; None: all.

    >>> z = jnp.ones((1, 4, 2))
    >>> print(f'{patch_nce(z, z)[0]:.4f}')  # log 4
    1.3863
    """
    prediction, target, where = arrays(
        'B S D', 'B S D', 'B S', prediction=prediction, target=target, where=where
    )
    return _within(prediction, lax.stop_gradient(target), temperature, where)


def _within(z1, z2, temperature, where):
    """The mean InfoNCE of an example's places, among the places of this example: [B]."""
    where = None if where is None else where.astype(bool)
    z1, z2 = (unit(on(where, z)) for z in (z1, z2))
    t = like(temperature, z1)
    scores = jnp.einsum('bpd,bqd->bpq', z1, z2, precision='highest') / t
    if where is not None:
        scores = jnp.where(where[:, None], scores, NOTHING)
    positive = (z1 * z2).sum(-1) / t
    return mean_where(logsumexp(scores, -1) - positive, where)
