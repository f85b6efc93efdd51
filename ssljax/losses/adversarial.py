"""Losses of a generator and a critic that play against each other.

>>> print(wasserstein_critic(real=jnp.array([3.0]), fake=jnp.array([1.0])))
[-2.]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def wasserstein_critic(real: jax.Array, fake: jax.Array) -> jax.Array:
    """The critic's loss: minus the difference of its values on real and fake.

    Arjovsky et al. 2017, arXiv:1701.07875, eq. 3:  f(fake) - f(real).
    Critic values real, fake [B] -> [B].
    """
    return fake.astype(jnp.float32) - real.astype(jnp.float32)


def wasserstein_generator(fake: jax.Array) -> jax.Array:
    """The generator's loss: minus the critic's value on fake.

    Arjovsky et al. 2017, arXiv:1701.07875:  -f(fake).
    Critic values [B] -> [B].
    """
    return -fake.astype(jnp.float32)


def gradient_penalty(
    key: jax.Array, critic: Callable[[jax.Array], jax.Array], real: jax.Array, fake: jax.Array
) -> jax.Array:
    """How far the critic's slope between real and fake is from one.

    Gulrajani et al. 2017, arXiv:1704.00028, eq. 3:
        x = e real + (1 - e) fake,  e ~ U[0, 1] per example;  (|grad_x f(x)| - 1)^2.
    critic: x [B, ...] -> [B], each value of its own row only. real, fake [B, ...] -> [B].
    """
    real, fake = real.astype(jnp.float32), fake.astype(jnp.float32)
    e = jax.random.uniform(key, (len(real),) + (1,) * (real.ndim - 1))
    slope = jax.grad(lambda x: critic(x).astype(jnp.float32).sum())(e * real + (1 - e) * fake)
    # the small number keeps the gradient finite where the slope is zero
    norm = jnp.sqrt(jnp.square(slope).sum(tuple(range(1, slope.ndim))) + 1e-12)
    return jnp.square(norm - 1)
