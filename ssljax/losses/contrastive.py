"""Losses that tell the views of one example from all others."""

import jax
import jax.numpy as jnp
from jax import lax


def nt_xent(
    z1: jax.Array, z2: jax.Array, *, temperature: float = 0.5, axis_name: str | None = None
) -> jax.Array:
    """NT-Xent: the two views of an example attract, all other views of the batch repel.

    Chen et al. 2020, arXiv:2002.05709, eq. 1: with z the 2B unit rows of z1, z2, and j(i) the
    other view of i,
        l(i) = -log exp(z_i.z_j(i) / t) / sum_{k != i} exp(z_i.z_k / t).
    z1, z2 [B, D] -> [B], the mean of an example's two anchors. axis_name: the mapped axis whose
    shards make up the batch.
    """
    z1, z2 = _unit(z1), _unit(z2)
    B, start = len(z1), 0
    all1, all2 = z1, z2
    if axis_name is not None:
        all1, all2 = (lax.all_gather(z, axis_name, tiled=True) for z in (z1, z2))
        start = lax.axis_index(axis_name) * B
    itself = jnp.arange(B)[:, None] + start == jnp.arange(len(all1))  # [B, N]
    positive = (z1 * z2).sum(-1) / temperature

    def denominator(z, same, other):
        # finite, not -inf: a batch of one then has no NaN in its gradient
        same = jnp.where(itself, jnp.finfo(z.dtype).min / 2, _products(z, same) / temperature)
        return jnp.logaddexp(_logsumexp(same), _logsumexp(_products(z, other) / temperature))

    return (denominator(z1, all1, all2) + denominator(z2, all2, all1)) / 2 - positive


def info_nce(
    z1: jax.Array, z2: jax.Array, *, temperature: float = 0.07, axis_name: str | None = None
) -> jax.Array:
    """InfoNCE: among all z2 of the batch, each z1 finds its own.

    van den Oord et al. 2018, arXiv:1807.03748, eq. 4, with unit vectors and the temperature of
    He et al. 2020, arXiv:1911.05722, eq. 1:
        l(i) = -log exp(z1_i.z2_i / t) / sum_k exp(z1_i.z2_k / t).
    z1, z2 [B, D] -> [B]. axis_name: the mapped axis whose shards make up the batch.
    """
    z1, z2 = _unit(z1), _unit(z2)
    all2 = z2 if axis_name is None else lax.all_gather(z2, axis_name, tiled=True)
    positive = (z1 * z2).sum(-1) / temperature
    return _logsumexp(_products(z1, all2) / temperature) - positive


def _unit(z: jax.Array) -> jax.Array:
    """Rows of length one in float32; a zero row stays zero, with a finite gradient."""
    z = z.astype(jnp.float32)
    return z * lax.rsqrt(jnp.maximum(jnp.square(z).sum(-1, keepdims=True), 1e-12))


def _products(a: jax.Array, b: jax.Array) -> jax.Array:
    # in full: the short products of an accelerator err by more than a small temperature forgives
    return jnp.matmul(a, b.T, precision='highest')


def _logsumexp(logits: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(logits, axis=-1)
