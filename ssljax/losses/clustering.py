"""Losses with labels that the method itself has computed.

>>> scores = jnp.zeros((2, 2, 3))  # two examples, two views, three prototypes, equal scores
>>> print(f'{swav(scores).mean():.4f}')  # log 3
1.0986
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp

from ssljax.losses._rows import Axis, across, everywhere, like, nats, on, precise, size, unit
from ssljax.losses._shapes import ArrayLike, arrays
from ssljax.losses.distillation import cosine_regression


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
    options: dict[str, Any] = dict(epsilon=epsilon, rounds=rounds, where=where, axis_name=axis_name)
    q = jnp.stack([sinkhorn(scores[:, g], **options) for g in range(assigned)], 1)
    return on(where, across(q, log_p))


def deepcluster_v2(
    z: ArrayLike, labels: ArrayLike, centroids: ArrayLike, *, temperature: ArrayLike = 0.1
) -> jax.Array:
    """DeepCluster-v2: the classifier of each view are the centroids of the last clustering.

    Caron et al. 2020, arXiv:2006.09882, section 4.1 and appendix: with unit rows and c_k the
    centroids of spherical k-means over the projections of the last epoch,
        l(i) = mean_v -log exp(z_iv.c_y / t) / sum_k exp(z_iv.c_k / t).
    z [B, V, D], labels int [B], centroids [K, D] -> [B]. No gradient flows to the centroids.

    >>> z = jnp.eye(2)[:, None]
    >>> print(f'{deepcluster_v2(z, jnp.arange(2), jnp.eye(2), temperature=1.0)[0]:.4f}')
    0.3133
    """
    z, labels, centroids = arrays('B V D', 'B', 'K D', z=z, labels=labels, centroids=centroids)
    z, c = unit(z), lax.stop_gradient(everywhere(unit(centroids), None))
    logits = jnp.einsum('bvd,kd->bvk', z, c, precision='highest') / like(temperature, z)
    views = jnp.zeros(z.shape[1], labels.dtype)
    return nats(logits, labels[:, None] + views).mean(1)


def nat(z: ArrayLike, target: ArrayLike) -> jax.Array:
    """NAT: half the squared distance of an example and the noise vector that it was assigned.

    Bojanowski & Joulin 2017, arXiv:1704.05310, eqs. 2 and 4:  l = 1/2 |z / |z| - c|^2, c of length
    one. z, target [B, D] -> [B]. No gradient flows to the target. In each batch, rows and targets
    are matched anew: `target[assignment(-z @ target.T)]` of unit z.

    >>> print(nat([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [1.0, 0.0]]))
    [0. 1.]
    """
    z, target = arrays('B D', z=z, target=target)
    return cosine_regression(z, target) / 2


def assignment(cost: ArrayLike) -> jax.Array:
    """The cheapest one-to-one assignment of rows to columns: an index of a column for each row.

    Bojanowski & Joulin 2017, arXiv:1704.05310, eq. 5: the columns c(i), all different, with the
    least  sum_i cost[i, c(i)].  Exact, by shortest augmenting paths (Jonker & Volgenant 1987).
    cost [N, M], N at most M, finite -> int [N]. N^2 short steps one after another: for batches.

    >>> print(assignment(jnp.array([[1.0, 2.0], [1.0, 3.0]])))
    [1 0]
    """
    (cost,) = arrays('N M', cost=cost)
    N, M = cost.shape
    if N > M:
        raise ValueError(f'assignment: cost is [{N}, {M}]; it must be [N, M], N at most M')
    cost = jnp.nan_to_num(
        everywhere(lax.stop_gradient(precise(cost)), None)
    )  # a search among NaN would never end
    inf = jnp.inf

    def add(row, state):
        # column M is where the search for the row begins; owner N: the column is free
        row_price, price, owner = state
        owner = owner.at[M].set(row)

        def search(loop):
            column, row_price, price, slack, came_from, seen = loop
            seen = seen.at[column].set(True)
            row = owner[column]
            reduced = cost[row] - row_price[row] - price[:M]
            nearer = ~seen[:M] & (reduced < slack)
            slack = jnp.where(nearer, reduced, slack)
            came_from = jnp.where(nearer, column, came_from)
            unseen = jnp.where(seen[:M], inf, slack)
            column = unseen.argmin()
            least = unseen[column]
            row_price = row_price.at[owner].add(jnp.where(seen, least, 0))
            price = price - jnp.where(seen, least, 0)
            return column, row_price, price, slack - least, came_from, seen

        column, row_price, price, _, came_from, _ = lax.while_loop(
            lambda loop: owner[loop[0]] < N,
            search,
            (
                jnp.array(M),
                row_price,
                price,
                jnp.full(M, inf, cost.dtype),
                jnp.full(M, M),
                jnp.zeros(M + 1, bool),
            ),
        )

        def shift(loop):  # along the path, each column goes to the row before it
            column, owner = loop
            before = came_from[column]
            return before, owner.at[column].set(owner[before])

        _, owner = lax.while_loop(lambda loop: loop[0] < M, shift, (column, owner))
        return row_price, price, owner

    state = jnp.zeros(N + 1, cost.dtype), jnp.zeros(M + 1, cost.dtype), jnp.full(M + 1, N)
    owner = lax.fori_loop(0, N, add, state)[2]
    return jnp.zeros(N, int).at[owner[:M]].set(jnp.arange(M), mode='drop')


def self_labelling(
    logits: ArrayLike,
    *,
    sharpness: ArrayLike = 25.0,
    rounds: int = 80,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SeLa: labels that fit the classifier best while all classes are equally large: shares.

    Asano et al. 2019, arXiv:1911.05371, eqs. 6 to 8: with P = softmax(logits), the matrix
    diag(a) P^sharpness diag(b) whose columns have equal sums and whose rows sum to one.
    logits [N, K] of the whole data set -> [N, K], no gradient. The labels are the argmax of rows;
    the loss is `cross_entropy` with them, until the next round.

    sharpness: lambda; with more, shares are nearer to 0 or 1, and need more rounds.
    rounds: how often columns and rows are scaled; the rows last. The authors go on until the
        factors change by less than a tenth, all together.
    where: bool [N], rows that count; None: all. The shares of the others are zero.
    axis_name: the mapped axis, or axes, whose shards make up the data.

    >>> shares = self_labelling(jnp.array([[0.1, 0.0], [0.0, 0.1]]))
    >>> print(f'{shares[0, 0]:.4f} {shares[1, 0]:.4f}')  # sigmoid(2.5) and the rest
    0.9241 0.0759
    """
    logits, where = arrays('N K', 'N', logits=logits, where=where)
    counts = None if where is None else where.astype(bool)[:, None]
    log_p = log_softmax(on(where, precise(logits)))
    log_p = lax.stop_gradient(log_p * like(sharpness, log_p))

    def scale(_, log_q):
        sums = everywhere(logsumexp(log_q, 0, keepdims=True, where=counts), axis_name)
        return log_softmax(log_q - logsumexp(sums, 0))

    return on(where, jnp.exp(lax.fori_loop(0, rounds, scale, log_softmax(log_p))))
