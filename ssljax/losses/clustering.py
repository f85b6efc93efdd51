"""Losses with labels that the method itself has computed.

>>> scores = jnp.zeros((2, 2, 3))  # two examples, two views, three prototypes, equal scores
>>> print(f'{swav(scores).mean():.4f}')  # log 3
1.0986
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp
from jax.typing import ArrayLike

from ssljax.losses._rows import (
    Axis,
    across,
    everywhere,
    like,
    nats,
    on,
    precise,
    size,
)
from ssljax.losses._shapes import arrays


def deepcluster(logits: ArrayLike, labels: ArrayLike, *, weight: ArrayLike = 1.0) -> jax.Array:
    """Cross entropy with the cluster that each example was assigned to, weighted.

    Caron et al. 2018, arXiv:1807.05520, eq. 2. Section 3.3: a weight of one over the size of an
    example's cluster has the effect of sampling clusters evenly.
        l(i) = -w_i log softmax(logits_i)[y_i].
    logits [B, K], labels int [B], weight a number or [B] -> [B].

    >>> print(f'{deepcluster([[0.0, 0.0]], [1], weight=2.0)[0]:.4f}')  # 2 log 2
    1.3863
    """
    logits, labels, weight = arrays('B K', 'B', '-> B', logits=logits, labels=labels, weight=weight)
    loss = nats(logits, labels)
    return like(weight, loss) * loss


def sinkhorn(
    scores: ArrayLike,
    *,
    epsilon: ArrayLike = 0.05,
    rounds: int = 3,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """Assigns a batch to prototypes by scores, to each prototype equally: shares, no gradient.

    Caron et al. 2020, arXiv:2006.09882, eqs. 3 to 5 (Cuturi 2013, arXiv:1306.0895):
        q = diag(u) exp(scores / epsilon) diag(v),
    whose columns, the prototypes, have equal sums and whose rows sum to one. Columns and rows are
    scaled in turn, the rows last. Computed in logarithms, so that a small epsilon does not
    overflow. scores [B, K] -> [B, K].

    epsilon: how soft the shares are; the paper's (appendix A).
    rounds: of scaling, 3 in the paper (section 3.1); with none: softmax(scores / epsilon).
    where: bool [B], rows that count; None: all. The shares of the others are zero.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(sinkhorn([[1.0, 0.0], [1.0, 0.0]]))  # both want the first
    [[0.5 0.5]
     [0.5 0.5]]
    """
    scores, where = arrays('B K', 'B', scores=scores, where=where)
    if rounds < 0:
        raise ValueError(f'sinkhorn: rounds={rounds}; it must be 0 or more')
    log_q = lax.stop_gradient(on(where, precise(scores)))
    log_q /= like(epsilon, log_q)
    share = jnp.log(size(log_q, axis_name, where) / log_q.shape[-1])
    counts = None if where is None else where.astype(bool)[:, None]
    for _ in range(rounds):
        column_sums = logsumexp(log_q, 0, keepdims=True, where=counts)  # [1, K], of this shard
        log_q += share - logsumexp(everywhere(column_sums, axis_name), 0)
        log_q -= logsumexp(log_q, -1, keepdims=True)
    return lax.stop_gradient(on(where, jnp.exp(log_q if rounds else log_softmax(log_q))))


def swav(
    scores: ArrayLike,
    *,
    assigned: int = 2,
    temperature: ArrayLike = 0.1,
    epsilon: ArrayLike = 0.05,
    rounds: int = 3,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SwAV: a view predicts the prototypes to which another view is assigned.

    Caron et al. 2020, arXiv:2006.09882, eqs. 1 and 2: with q_g = sinkhorn(s_g) for each of the
    first `assigned` views,
        l = mean over g != v of  -sum_k q_g[k] log softmax(s_v / t)[k].
    scores [B, V, K], cosines of views and prototypes, V at least 2 -> [B].

    assigned: how many views, the first ones, are assigned to prototypes; 2 in the paper.
    temperature: t, of the predictions; the paper's (appendix A).
    epsilon, rounds: of `sinkhorn`.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{swav(jnp.zeros((1, 2, 4)))[0]:.4f}')  # log 4
    1.3863
    """
    scores, where = arrays('B V K', 'B', scores=scores, where=where, at_least=dict(V=2))
    if not 1 <= assigned <= scores.shape[1]:
        raise ValueError(f'swav: assigned={assigned}; it must be 1 to {scores.shape[1]}, the views')
    scores = on(where, precise(scores))
    log_p = log_softmax(scores / like(temperature, scores))
    options = dict(epsilon=epsilon, rounds=rounds, where=where, axis_name=axis_name)
    q = jnp.stack([sinkhorn(scores[:, g], **options) for g in range(assigned)], 1)
    return on(where, across(q, log_p))
