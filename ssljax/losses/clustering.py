"""Losses with labels that the method itself has computed.

>>> scores = jnp.zeros((2, 2, 3))  # two examples, two views, three prototypes, equal scores
>>> print(f'{swav(scores).mean():.4f}')  # log 3
1.0986
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp

from ssljax.losses._rows import Axis, across, everywhere, nats, total


def deepcluster(
    logits: jax.Array, labels: jax.Array, *, weight: jax.Array | float = 1.0
) -> jax.Array:
    """Cross entropy with the cluster that each example was assigned to, weighted.

    Caron et al. 2018, arXiv:1807.05520, eq. 2. Section 3.3: a weight of one over the size of an
    example's cluster has the effect of sampling clusters evenly.
        l(i) = -w_i log softmax(logits_i)[y_i].
    logits [B, K], labels int [B], weight [B] -> [B].
    """
    return weight * nats(logits, labels)


def sinkhorn(
    scores: jax.Array, *, epsilon: float = 0.05, rounds: int = 3, axis_name: Axis = None
) -> jax.Array:
    """Assigns a batch to prototypes by scores, to each prototype equally: shares, no gradient.

    Caron et al. 2020, arXiv:2006.09882, eqs. 3 to 5 (Cuturi 2013, arXiv:1306.0895): the matrix
    diag(u) exp(scores / epsilon) diag(v) whose columns, the prototypes, have equal sums and whose
    rows sum to one. Columns and rows are scaled in turn, the rows last. Computed in logarithms, so
    that a small epsilon does not overflow. scores [B, K] -> [B, K].
    """
    log_q = lax.stop_gradient(scores.astype(jnp.float32)) / epsilon
    N, K = total(len(scores), axis_name), scores.shape[-1]
    for _ in range(rounds):
        column_sums = logsumexp(log_q, 0, keepdims=True)  # [1, K], of this shard
        log_q += jnp.log(N / K) - logsumexp(everywhere(column_sums, axis_name), 0)
        log_q -= logsumexp(log_q, -1, keepdims=True)
    return jnp.exp(log_q)


def swav(
    scores: jax.Array,
    *,
    assigned: int = 2,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    rounds: int = 3,
    axis_name: Axis = None,
) -> jax.Array:
    """SwAV: a view predicts the prototypes to which another view is assigned.

    Caron et al. 2020, arXiv:2006.09882, eqs. 1 and 2: with q_g = sinkhorn(s_g) for each of the
    first `assigned` views,
        l = mean over g != v of  -sum_k q_g[k] log softmax(s_v / t)[k].
    scores [B, V, K], cosines of views and prototypes -> [B].

    assigned: how many views, the first ones, are assigned to prototypes.
    temperature: t, of the predictions.
    epsilon, rounds: of `sinkhorn`.
    axis_name: the mapped axis whose shards make up the batch.
    """
    log_p = log_softmax(scores.astype(jnp.float32) / temperature)
    options = dict(epsilon=epsilon, rounds=rounds, axis_name=axis_name)
    q = jnp.stack([sinkhorn(scores[:, g], **options) for g in range(assigned)], 1)
    return across(q, log_p)
