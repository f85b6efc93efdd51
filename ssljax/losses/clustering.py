"""Losses against labels that the method made itself.

>>> scores = jnp.zeros((2, 2, 3))  # two examples, two views, three prototypes: nothing is known
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

    Caron et al. 2018, arXiv:1807.05520, eq. 2; section 3.3: weighting by the inverse of the size of
    an example's cluster equals sampling evenly over clusters:
        l(i) = -w_i log softmax(logits_i)[y_i].
    logits [B, K], labels int [B], weight [B] -> [B].
    """
    return weight * nats(logits, labels)


def sinkhorn(
    scores: jax.Array, *, epsilon: float = 0.05, rounds: int = 3, axis_name: Axis = None
) -> jax.Array:
    """Assigns a batch evenly to prototypes, as the scores would have it: shares, no gradient.

    Caron et al. 2020, arXiv:2006.09882, eqs. 3 to 5 (Cuturi 2013, arXiv:1306.0895): the matrix
    diag(u) exp(scores / epsilon) diag(v) whose columns, the prototypes, have equal sums and whose
    rows sum to one; columns and rows are scaled in turn, the rows last. In logarithms, so that no
    epsilon overflows. scores [B, K] -> [B, K].
    """
    log_q = lax.stop_gradient(scores.astype(jnp.float32)) / epsilon
    N, K = total(len(scores), axis_name), scores.shape[-1]
    for _ in range(rounds):
        here = logsumexp(log_q, 0, keepdims=True)  # [1, K], then of all shards
        log_q += jnp.log(N / K) - logsumexp(everywhere(here, axis_name), 0)
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
    """SwAV: a view predicts the prototypes that the batch assigns to another view.

    Caron et al. 2020, arXiv:2006.09882, eqs. 1 and 2: with q_g = sinkhorn(s_g) for each of the
    first `assigned` views,
        l = mean over g != v of  -sum_k q_g[k] log softmax(s_v / t)[k].
    scores [B, V, K], cosines of views and prototypes -> [B].
    """
    log_p = log_softmax(scores.astype(jnp.float32) / temperature)
    options = dict(epsilon=epsilon, rounds=rounds, axis_name=axis_name)
    q = jnp.stack([sinkhorn(scores[:, g], **options) for g in range(assigned)], 1)
    return across(q, log_p)
