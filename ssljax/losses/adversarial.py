"""Losses of a generator and a critic, which are trained against each other.

These go together: `minimax_critic` with `minimax_generator` or `non_saturating_generator`;
`least_squares_critic` with `least_squares_generator`; `hinge_critic` and `wasserstein_critic`, both
with `wasserstein_generator`. Critic values are real numbers, [B], or of a critic of patches
[B, ...]; where a paper has a probability D, it is the sigmoid of the value.

>>> print(wasserstein_critic(real=jnp.array([3.0]), fake=jnp.array([1.0])))
[-2.]
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus

from ssljax.losses._rows import Axis, absolute, mean, nats, on, precise, row_means, row_sums
from ssljax.losses._shapes import ArrayLike, arrays


def minimax_critic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Cross entropy of a classifier of real and fake.

    Goodfellow et al. 2014, arXiv:1406.2661, eq. 1:  -log D(real) - log(1 - D(fake)).
    real, fake [B] -> [B].

    >>> print(f'{minimax_critic([0.0], [0.0])[0]:.4f}')  # 2 log 2
    1.3863
    """
    real, fake = arrays('...', real=real, fake=fake)
    return softplus(-precise(real)) + softplus(precise(fake))


def minimax_generator(fake: ArrayLike) -> jax.Array:
    """Minus the critic's loss on fake; its gradient is near zero where the critic is right.

    Goodfellow et al. 2014, arXiv:1406.2661, eq. 1:  log(1 - D(fake)). [B] -> [B].

    >>> print(f'{minimax_generator([0.0])[0]:.4f}')  # -log 2
    -0.6931
    """
    (fake,) = arrays('...', fake=fake)
    return -softplus(precise(fake))


def non_saturating_generator(fake: ArrayLike) -> jax.Array:
    """The critic's loss with fake labeled as real; its gradient is large where the critic is right.

    Goodfellow et al. 2014, arXiv:1406.2661, section 3:  -log D(fake). [B] -> [B].

    >>> print(f'{non_saturating_generator([0.0])[0]:.4f}')  # log 2
    0.6931
    """
    (fake,) = arrays('...', fake=fake)
    return softplus(-precise(fake))


def least_squares_critic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Squared error of a critic whose value should be 1 on real and 0 on fake.

    Mao et al. 2016, arXiv:1611.04076, eqs. 2 and 9:  ((f(real) - 1)^2 + f(fake)^2) / 2.
    real, fake [B] -> [B].

    >>> print(least_squares_critic([1.0], [2.0]))
    [2.]
    """
    real, fake = map(precise, arrays('...', real=real, fake=fake))
    return (jnp.square(real - 1) + jnp.square(fake)) / 2


def least_squares_generator(fake: ArrayLike) -> jax.Array:
    """Squared error where the critic's value on fake should be 1.

    Mao et al. 2016, arXiv:1611.04076, eqs. 2 and 9:  (f(fake) - 1)^2 / 2. [B] -> [B].

    >>> print(least_squares_generator([3.0]))
    [2.]
    """
    (fake,) = arrays('...', fake=fake)
    return jnp.square(precise(fake) - 1) / 2


def hinge_critic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Zero where the critic's value is above 1 on real and below -1 on fake; else linear.

    Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eq. 16:
        max(0, 1 - f(real)) + max(0, 1 + f(fake)).
    real, fake [B] -> [B]. The generator's loss is `wasserstein_generator`.

    >>> print(hinge_critic([2.0], [0.5]))
    [1.5]
    """
    real, fake = map(precise, arrays('...', real=real, fake=fake))
    return relu(1 - real) + relu(1 + fake)


def wasserstein_critic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """The critic's loss: minus the difference of its values on real and fake.

    Arjovsky et al. 2017, arXiv:1701.07875, eq. 3:  f(fake) - f(real). real, fake [B] -> [B].

    >>> print(wasserstein_critic([3.0], [1.0]))
    [-2.]
    """
    real, fake = map(precise, arrays('...', real=real, fake=fake))
    return fake - real


def wasserstein_generator(fake: ArrayLike) -> jax.Array:
    """The generator's loss: minus the critic's value on fake.

    Arjovsky et al. 2017, arXiv:1701.07875:  -f(fake). [B] -> [B].

    >>> print(wasserstein_generator([1.0]))
    [-1.]
    """
    (fake,) = arrays('...', fake=fake)
    return -precise(fake)


def gradient_penalty(
    key: jax.Array,
    critic: Callable[[jax.Array], jax.Array],
    real: ArrayLike,
    fake: ArrayLike,
    *,
    one_sided: bool = False,
) -> jax.Array:
    """How far the norm of the critic's gradient is from one, at points between real and fake.

    Gulrajani et al. 2017, arXiv:1704.00028, eq. 3:
        x = e real + (1 - e) fake,  e ~ U[0, 1] per example;  (|grad_x f(x)| - 1)^2.
    one_sided: only norms above one count (Petzka et al. 2017, arXiv:1709.08894).
    critic: x [B, ...] -> [B], each value from its own row alone. real, fake [B, ...] -> [B].

    >>> x = jnp.ones((1, 2))
    >>> print(gradient_penalty(jax.random.key(0), lambda x: 3 * x[:, 0], x, -x))  # (3 - 1)^2
    [4.]
    """
    real, fake = map(precise, arrays('B ...', real=real, fake=fake))
    e = jax.random.uniform(key, (len(real),) + (1,) * (real.ndim - 1), real.dtype)
    # the small number keeps the gradient finite where the slope is zero
    norm = jnp.sqrt(_steepness(critic, e * real + (1 - e) * fake) + 1e-12)
    return jnp.square(relu(norm - 1) if one_sided else norm - 1)


def r1(critic: Callable[[jax.Array], jax.Array], x: ArrayLike) -> jax.Array:
    """R1: the squared norm of the critic's gradient at data, where it should become zero.

    Mescheder et al. 2018, arXiv:1801.04406, eq. 9, without gamma:  1/2 |grad_x f(x)|^2. For
    fake instead of real rows it is their R2.
    critic: x [B, ...] -> [B], each value from its own row alone. x [B, ...] -> [B].

    >>> print(r1(lambda x: 3 * x[:, 0], jnp.ones((1, 2))))  # 3^2 / 2
    [4.5]
    """
    (x,) = arrays('B ...', x=x)
    return _steepness(critic, precise(x)) / 2


def cycle(back: ArrayLike, x: ArrayLike) -> jax.Array:
    """Cycle consistency: a row mapped to the other domain and back should be itself.

    Zhu et al. 2017, arXiv:1703.10593, eq. 2:  |F(G(x)) - x|_1; as in the authors' code, the mean
    over pixels. back F(G(x)), x [B, ...] -> [B].

    >>> print(cycle([[1.0, 5.0]], [[1.0, 1.0]]))
    [2.]
    """
    back, x = map(precise, arrays('B ...', back=back, x=x))
    return row_means(absolute(back - x))


def relativistic_critic(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """Cross entropy of which of two rows is the real one.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.1:  -log sigmoid(f(real) - f(fake)).
    [B], [B] -> [B].

    >>> print(relativistic_critic([2.0], [2.0]))  # log 2
    [0.6931472]
    """
    real, fake = arrays('B', real=real, fake=fake)
    return softplus(precise(fake) - precise(real))


def relativistic_generator(real: ArrayLike, fake: ArrayLike) -> jax.Array:
    """The critic's loss with real and fake exchanged: fake should look more real than real.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.1:  -log sigmoid(f(fake) - f(real)).
    [B], [B] -> [B].

    >>> print(relativistic_generator([2.0], [2.0]))  # log 2
    [0.6931472]
    """
    real, fake = arrays('B', real=real, fake=fake)
    return softplus(precise(real) - precise(fake))


def relativistic_average_critic(
    real: ArrayLike, fake: ArrayLike, *, where: ArrayLike | None = None, axis_name: Axis = None
) -> jax.Array:
    """Cross entropy of whether a row is more real than the mean of the other kind.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.2:
        -log sigmoid(f(real) - mean f(fake)) - log(1 - sigmoid(f(fake) - mean f(real))).
    [B], [B] -> [B].

    where: bool [B], rows of both that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(relativistic_average_critic([2.0], [2.0]))  # 2 log 2
    [1.3862944]
    """
    real, fake, where = arrays('B', real=real, fake=fake, where=where)
    real, fake = on(where, precise(real)), on(where, precise(fake))
    above, below = real - mean(fake, axis_name, where), fake - mean(real, axis_name, where)
    return on(where, softplus(-above) + softplus(below))


def relativistic_average_generator(
    real: ArrayLike, fake: ArrayLike, *, where: ArrayLike | None = None, axis_name: Axis = None
) -> jax.Array:
    """The average critic's loss with real and fake exchanged.

    Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.2:
        -log sigmoid(f(fake) - mean f(real)) - log(1 - sigmoid(f(real) - mean f(fake))).
    [B], [B] -> [B].

    where: bool [B], rows of both that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(relativistic_average_generator([2.0], [2.0]))  # 2 log 2
    [1.3862944]
    """
    real, fake, where = arrays('B', real=real, fake=fake, where=where)
    return relativistic_average_critic(fake, real, where=where, axis_name=axis_name)


def feature_matching(
    real: ArrayLike, fake: ArrayLike, *, where: ArrayLike | None = None, axis_name: Axis = None
) -> jax.Array:
    """The distance of the mean features of real and of fake rows, one value for a batch.

    Salimans et al. 2016, arXiv:1606.03498, section 3.1:  |mean f(x) - mean f(G(z))|^2, with f a
    layer within the critic. real [B, ...], fake [M, ...] -> [], for the generator.

    where: bool [B], the real rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(feature_matching([[1.0, 2.0]], [[0.0, 2.0]]))
    1.0
    """
    real, fake, where = arrays('B ...', 'M ...', 'B', real=real, fake=fake, where=where)
    of_real = mean(on(where, precise(real)), axis_name, where)
    return jnp.square(of_real - mean(precise(fake), axis_name)).sum()


def patch(loss: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """A loss of this file for a critic that has a value for each patch of its image.

    Isola et al. 2016, arXiv:1611.07004, section 3.2.2: the mean over patches of the loss.
    loss: [B] -> [B], or of real and fake, such as `hinge_critic` -> the same of [B, ...].

    >>> print(patch(wasserstein_generator)([[1.0, 3.0]]))
    [-2.]
    """

    def patch_loss(*values: ArrayLike) -> jax.Array:
        given: dict[str, Any] = {f'values {i}': x for i, x in enumerate(values, 1)}
        each = arrays('B ...', **given)
        return jax.vmap(loss, 1, 1)(*(x.reshape(len(x), -1) for x in each)).mean(1)

    return patch_loss


def infogan(logits: ArrayLike, code: ArrayLike) -> jax.Array:
    """Minus a bound on the information that an image has about the code it was made from.

    Chen et al. 2016, arXiv:1606.03657, eq. 5, of codes c whose K values are equally likely:
        -I(c; G(z, c)) <= -log Q(c|x) - H(c),  Q = softmax(logits),  H = log K for each.
    logits [B, ..., K], code int [B, ...] -> [B]. Zero where Q knows nothing. It moves both
    generator and Q.

    >>> print(infogan([[0.0, 0.0]], [1]))
    [0.]
    """
    logits, code = arrays('B ... K', 'B ...', logits=logits, code=code)
    return row_sums(nats(logits, code) - math.log(logits.shape[-1]))


def infogan_continuous(
    mean: ArrayLike, code: ArrayLike, *, log_variance: ArrayLike = 0.0
) -> jax.Array:
    """`infogan` of codes that are uniform from -1 to 1: Q(c|x) is normal.

    Chen et al. 2016, arXiv:1606.03657, eq. 5:
        -I(c; G(z, c)) <= -log N(c; mean, variance) - H(c),  H = log 2 for each.
    mean, code [B, ...], log_variance broadcasts to their shape -> [B].

    >>> print(f'{infogan_continuous([[0.0]], [[0.0]])[0]:.4f}')  # log(pi / 2) / 2
    0.2258
    """
    mean, code, log_variance = arrays(
        'B ...', 'B ...', '-> B ...', mean=mean, code=code, log_variance=log_variance
    )
    log_variance = jnp.clip(precise(log_variance), -60, 60)
    squares = jnp.square(precise(code) - precise(mean)) * jnp.exp(-log_variance)
    return row_sums((math.log(2 * math.pi) + log_variance + squares) / 2 - math.log(2))


def _steepness(critic, x):
    """|grad_x f(x)|^2, [B]; of several values of a row, the slope of their sum."""

    def whole(x):
        value = critic(x)
        if value.shape[:1] != x.shape[:1]:  # [B], or [B, ...], whose sum counts
            raise ValueError(f'critic: its value is {[*value.shape]}; it must be [{len(x)}, ...]')
        return precise(value).sum()

    return row_sums(jnp.square(jax.grad(whole)(x)))
