"""Losses of models that give data a probability: negative log likelihoods and bounds, in nats.

>>> pixels = jnp.array([[0.0, 1.0]])
>>> print(f'{bernoulli(jnp.zeros((1, 2)), pixels)[0]:.4f}')  # 2 log 2
1.3863
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import log_softmax, logsumexp, softplus

from ssljax.losses._rows import Axis, expected, like, mean, nats, precise, row_means, row_sums
from ssljax.losses._shapes import ArrayLike, arrays

LOG_2PI = math.log(2 * math.pi)
LARGEST = 60.0  # bound on |log variance|: beyond it exp(+-log variance) times a square may overflow


# ---- likelihoods


def bernoulli(logits: ArrayLike, x: ArrayLike) -> jax.Array:
    """-log p(x) of independent bits; for x between 0 and 1, the cross entropy.

    Kingma & Welling 2013, arXiv:1312.6114, eq. 11:  -sum_d x log p + (1 - x) log(1 - p) with
    p = sigmoid(logits). logits, x [B, ...] -> [B].

    >>> print(f'{bernoulli([[0.0, 0.0]], [[1.0, 0.5]])[0]:.4f}')  # 2 log 2
    1.3863
    """
    logits, x = map(precise, arrays('B ...', logits=logits, x=x))
    return row_sums(softplus(logits) - x * logits)


def gaussian(mean: ArrayLike, x: ArrayLike, *, log_variance: ArrayLike = 0.0) -> jax.Array:
    """-log p(x) of independent normal variables.

    Kingma & Welling 2013, arXiv:1312.6114, eq. 12:
        1/2 sum_d log(2 pi) + log v + (x - m)^2 / v.
    mean, x [B, ...], log_variance broadcasts to their shape -> [B]. By default the variance is one;
    |log v| counts up to 60.

    >>> print(f'{gaussian([[0.0]], [[1.0]])[0]:.4f}')  # (log 2 pi + 1) / 2
    1.4189
    """
    mean, x, log_variance = arrays(
        'B ...', 'B ...', '-> B ...', mean=mean, x=x, log_variance=log_variance
    )
    return row_sums(_gaussian(precise(mean), precise(x), log_variance))


def categorical(logits: ArrayLike, x: ArrayLike) -> jax.Array:
    """-log p(x) of independent categorical variables, such as pixels with 256 values.

    van den Oord et al. 2016, arXiv:1601.06759, section 2.2:  -sum_d log softmax(logits_d)[x_d].
    logits [B, ..., K], x int [B, ...] -> [B]. A value that is no class makes the loss NaN.

    >>> print(f'{categorical(jnp.zeros((1, 2, 4)), [[0, 3]])[0]:.4f}')  # 2 log 4
    2.7726
    """
    logits, x = arrays('B ... K', 'B ...', logits=logits, x=x)
    return row_sums(nats(logits, x))


def change_of_variables(z: ArrayLike, log_det: ArrayLike) -> jax.Array:
    """-log p(x) of a flow that maps x to z, which is standard normal.

    Dinh et al. 2016, arXiv:1605.08803, eq. 2:  -log N(z; 0, 1) - log |det dz/dx|.
    z [B, ...], log_det [B] -> [B].

    >>> print(f'{change_of_variables([[1.0]], [0.0])[0]:.4f}')  # (log 2 pi + 1) / 2
    1.4189
    """
    z, log_det = map(precise, arrays('B ...', 'B', z=z, log_det=log_det))
    return row_sums(_gaussian(0, z, 0.0)) - log_det


def dequantize(key: jax.Array, x: ArrayLike, *, levels: int = 256) -> jax.Array:
    """Integers with uniform noise, so that the likelihood of a density model is bounded.

    Theis et al. 2015, arXiv:1511.01844, section 3.1:  (x + u) / levels,  u ~ U[0, 1).
    x [...], 0 to levels - 1 -> [...], in [0, 1). -log p of the result plus D log(levels) bounds
    -log P(x). The default is the levels of a byte.

    >>> print(jnp.floor(256 * dequantize(jax.random.key(0), [7, 255])))
    [  7. 255.]
    """
    (x,) = map(precise, arrays('...', x=x))
    return (x + jax.random.uniform(key, x.shape, x.dtype)) / levels


def bits_per_dim(nats: ArrayLike, dims: int, *, cell: ArrayLike = 1.0) -> jax.Array:
    """-log p(x) in bits per dimension, of data whose levels are `cell` apart.

    Theis et al. 2015, arXiv:1511.01844, section 3.1:  (nats / D - log cell) / log 2. For pixels
    that `dequantize` put in [0, 1) the cell is 1/256; for these scaled to [-1, 1) it is 2/256.
    nats [...] -> [...]. The default is a density of levels themselves.

    >>> print(bits_per_dim(jnp.log(2.0), 1))
    1.0
    """
    (nats,) = map(precise, arrays('...', nats=nats))
    return (nats / dims - jnp.log(like(cell, nats))) / math.log(2)


def variational_dequantize(
    x: ArrayLike, sample: ArrayLike, log_q: ArrayLike, *, levels: int = 256
) -> tuple[jax.Array, jax.Array]:
    """Integers with noise that a net gives, and what the noise costs in the bound.

    Ho et al. 2019, arXiv:1902.00275, section 3.1: with u = sigmoid(v), v a sample of a flow q(v|x),
        y = (x + u) / levels,  -log P(x) <= E -log p(y) + cost,
        cost = log q(v|x) - sum log u (1 - u) + D log levels.
    x, 0 to levels - 1, sample v [B, ...], log_q of the sample [B] -> y in [0, 1), cost [B]. Uniform
    noise, which is `dequantize`, has a v of the logistic distribution and the cost D log levels.

    >>> y, cost = variational_dequantize([[3]], [[0.0]], [0.0], levels=4)
    >>> print(y, f'{cost[0]:.4f}')
    [[0.875]] 2.7726
    """
    x, sample, log_q = arrays('B ...', 'B ...', 'B', x=x, sample=sample, log_q=log_q)
    sample = precise(sample)
    y = (x.astype(sample.dtype) + jax.nn.sigmoid(sample)) / levels
    log_slope = -softplus(sample) - softplus(-sample)  # of the sigmoid
    return y, precise(log_q) + row_sums(math.log(levels) - log_slope)


def infomax_ica(u: ArrayLike, *, weight: ArrayLike) -> jax.Array:
    """-log p(x) of independent components of x, whose distributions are logistic.

    Bell & Sejnowski 1995 (Neural Computation 7), section 2: for u = x W + b the entropy of
    y = sigmoid(u) is largest where
        l = -log |det W| - sum_i log y_i (1 - y_i)
    is least on average. u [B, D], weight W [D, D] -> [B]. Its natural gradient is the rule
    dW ~ W (1 + u^T (1 - 2 y)).

    >>> print(f'{infomax_ica([[0.0]], weight=[[1.0]])[0]:.4f}')  # 2 log 2
    1.3863
    """
    u, weight = arrays('B D', 'D D', u=u, weight=weight)
    u = precise(u)
    return (softplus(u) + softplus(-u)).sum(-1) - jnp.linalg.slogdet(precise(weight))[1]


# ---- models with latent variables


def elbo(reconstruction: ArrayLike, kl: ArrayLike, *, beta: ArrayLike = 1.0) -> jax.Array:
    """The negative evidence lower bound: the reconstruction error plus the latent's divergence.

    Kingma & Welling 2013, arXiv:1312.6114, eq. 3; beta: Higgins et al. 2017 (ICLR), eq. 4:
        -E log p(x|z) + beta KL(q(z|x) | p(z)).
    reconstruction, such as `bernoulli` given a sample z, and kl, such as `kl_gaussian`, [B];
    beta a number or [B], 1 for the bound -> [B].

    >>> print(elbo([3.0], [2.0], beta=4.0))
    [11.]
    """
    reconstruction, kl, beta = arrays(
        'B', 'B', '-> B', reconstruction=reconstruction, kl=kl, beta=beta
    )
    kl = precise(kl)
    return precise(reconstruction) + like(beta, kl) * kl


def free_bits(
    kl: ArrayLike, *, least: ArrayLike, where: ArrayLike | None = None, axis_name: Axis = None
) -> jax.Array:
    """The divergence of groups of latents, free up to a bound: one value for a batch.

    Kingma et al. 2016, arXiv:1606.04934, eq. 15:  sum_j max(least, mean over the batch of KL_j).
    kl of each group [B, G] -> [], in the place of the mean of `kl` of `elbo`. Groups [B, G, D]
    have it by `jax.vmap(kl_gaussian, 1, 1)(mean, log_variance)`.

    least: nats of a group that cost nothing; there it has no gradient.
    where: bool [B], the rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(free_bits([[0.1, 3.0]], least=0.5))
    3.5
    """
    kl, where = arrays('B G', 'B', kl=kl, where=where)
    kl = precise(kl)
    return jnp.maximum(mean(kl, axis_name, where), like(least, kl)).sum()


def kl_gaussian(
    mean: ArrayLike,
    log_variance: ArrayLike,
    *,
    prior_mean: ArrayLike = 0.0,
    prior_log_variance: ArrayLike = 0.0,
) -> jax.Array:
    """KL(q | p) of independent normal variables; by default p is standard normal.

    Kingma & Welling 2013, arXiv:1312.6114, appendix B:
        1/2 sum_d log v_p - log v + (v + (m - m_p)^2) / v_p - 1.
    mean, log_variance [B, ...], those of the prior broadcast to their shape -> [B].

    >>> print(kl_gaussian([[2.0]], [[0.0]]))  # 2^2 / 2
    [2.]
    """
    mean, log_variance, prior_mean, prior_log_variance = arrays(
        'B ...', 'B ...', '-> B ...', '-> B ...', mean=mean, log_variance=log_variance,
        prior_mean=prior_mean, prior_log_variance=prior_log_variance,
    )  # fmt: skip
    mean, log_variance = precise(mean), precise(log_variance)
    prior, distance = like(prior_log_variance, log_variance), mean - like(prior_mean, mean)
    ratio = jnp.clip(log_variance - prior, -LARGEST, LARGEST)
    squares = jnp.square(distance) * jnp.exp(-jnp.clip(prior, -LARGEST, LARGEST))
    return row_sums(jnp.expm1(ratio) - ratio + squares) / 2  # expm1: accurate near ratio = 0


def kl_bernoulli(logits: ArrayLike, *, prior_logits: ArrayLike = 0.0) -> jax.Array:
    """KL(q | p) of independent bits; by default p is 1/2 for each.

        sum_d q log(q / p) + (1 - q) log((1 - q) / (1 - p)),  q = sigmoid(logits).
    logits [B, ...], prior_logits broadcast to their shape -> [B].

    >>> print(f'{kl_bernoulli([[50.0]])[0]:.4f}')  # sure of what the prior gives 1/2: log 2
    0.6931
    """
    logits, prior_logits = arrays('B ...', '-> B ...', logits=logits, prior_logits=prior_logits)
    q = precise(logits)
    p = like(prior_logits, q)
    return row_sums(jax.nn.sigmoid(q) * (q - p) - softplus(q) + softplus(p))


def kl_categorical(logits: ArrayLike, *, prior_logits: ArrayLike = 0.0) -> jax.Array:
    """KL(q | p) of independent categorical variables; by default p is uniform.

        sum_d sum_k q_k log(q_k / p_k),  q = softmax(logits), with 0 log 0 = 0.
    logits [B, ..., K], prior_logits broadcast to their shape -> [B].

    >>> print(f'{kl_categorical([[0.0, 0.0, -jnp.inf, -jnp.inf]])[0]:.4f}')  # log 4 - log 2
    0.6931
    """
    logits, prior_logits = arrays('B ... K', '-> B ... K', logits=logits, prior_logits=prior_logits)
    log_q = log_softmax(precise(logits))
    log_p = log_softmax(like(prior_logits, log_q))
    q = jnp.exp(log_q)
    return row_sums(expected(q, log_q) - expected(q, log_p))


def iwae(log_weights: ArrayLike) -> jax.Array:
    """The importance-weighted upper bound on -log p(x); it gets tighter with more samples.

    Burda et al. 2015, arXiv:1509.00519, eq. 8: with w_k = p(x, z_k) / q(z_k|x), z_k ~ q,
        -log 1/K sum_k w_k.
    log_weights [B, K] -> [B]. With one sample it is the negative ELBO with a sampled KL.

    >>> print(iwae([[0.0, 0.0]]))
    [0.]
    """
    (log_weights,) = map(precise, arrays('B K', log_weights=log_weights, at_least=dict(K=1)))
    return math.log(log_weights.shape[-1]) - logsumexp(log_weights, -1)


def vq(z: ArrayLike, code: ArrayLike, *, commitment: ArrayLike = 0.25) -> jax.Array:
    """Moves codes to the features that chose them, and features to their codes.

    van den Oord et al. 2017, arXiv:1711.00937, eq. 3:
        mean (sg(z) - e)^2 + commitment * mean (z - sg(e))^2.
    z, and the code e that each feature chose, [B, ..., D] -> [B]. As in the authors' code, a
    mean where the paper has a norm. The commitment, the paper's beta, is its value.

    >>> print(vq([[0.0, 2.0]], [[0.0, 0.0]]))  # (1 + 0.25) 2^2 / 2
    [2.5]
    """
    z, code = map(precise, arrays('B ... D', z=z, code=code))
    to_z = jnp.square(lax.stop_gradient(z) - code)
    to_code = jnp.square(z - lax.stop_gradient(code))
    return row_means(to_z + like(commitment, to_code) * to_code)


def gumbel_softmax(
    key: jax.Array,
    logits: ArrayLike,
    *,
    temperature: ArrayLike = 1.0,
    hard: bool = False,
) -> jax.Array:
    """A sample of a categorical variable that has a gradient; one-hot as temperature goes to zero.

    Jang et al. 2016, arXiv:1611.01144, eq. 2:  softmax((logits + g) / t),  g ~ Gumbel(0, 1).
    logits [..., K] -> [..., K]. hard: the value is one-hot, the gradient that of the soft sample.
    The paper learns or anneals t; 1 is where it starts.

    >>> print(gumbel_softmax(jax.random.key(0), [0.0, 99.0], hard=True))
    [0. 1.]
    """
    (logits,) = map(precise, arrays('... K', logits=logits))
    noise = jax.random.gumbel(key, logits.shape, logits.dtype)
    soft = jax.nn.softmax((logits + noise) / like(temperature, logits))
    if not hard:
        return soft
    choice = jax.nn.one_hot(soft.argmax(-1), soft.shape[-1], dtype=soft.dtype)
    return choice + soft - lax.stop_gradient(soft)


def _gaussian(mean, x, log_variance):
    log_variance = jnp.clip(like(log_variance, x), -LARGEST, LARGEST)
    return (LOG_2PI + log_variance + jnp.square(x - mean) * jnp.exp(-log_variance)) / 2
