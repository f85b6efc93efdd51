"""Markov chains: steps of one, and the weights of runs that go from one model to another."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def walk(key: jax.Array, move: Callable, x: jax.Array, steps: int) -> jax.Array:
    """x [B, ...] after so many steps of move(key, x) -> x; no gradient goes through them."""
    keys = jax.random.split(key, steps)
    return jax.lax.stop_gradient(jax.lax.scan(lambda x, key: (move(key, x), None), x, keys)[0])


def anneal(key: jax.Array, energy: Callable, move: Callable, x: jax.Array, steps: int) -> jax.Array:
    """Log weights [B] of runs from the model at beta = 0 to that at 1; they estimate a ratio of Z.

    Neal 2001 (Statistics and Computing 11), also Salakhutdinov & Murray 2008, eq. 10: x [B, ...]
    are draws of the first model, energy(beta, x) [B] is -log of the unnormalized density, and
    move(key, beta, x) keeps that of beta. The mean of exp of a weight is Z of the last over Z of
    the first, for any number of steps; with few steps it takes very many runs to see it.
    """

    def step(carry, t):
        (x, log_w), (before, beta, key) = carry, t
        log_w = log_w + energy(before, x) - energy(beta, x)
        return (move(key, beta, x), log_w), None

    betas, keys = jnp.linspace(0, 1, steps + 1), jax.random.split(key, steps)
    start = x, jnp.zeros(len(x))
    return jax.lax.scan(step, start, (betas[:-1], betas[1:], keys))[0][1]
