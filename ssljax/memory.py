"""Updates of memory, the part of the state besides params: averages, queues, pools."""

import jax
import jax.numpy as jnp

from ssljax.method import Tree


def ema(old: Tree, new: Tree, momentum: jax.Array | float) -> Tree:
    """Exponential moving average of two trees: momentum * old + (1 - momentum) * new."""
    return jax.tree.map(lambda a, b: a + (1 - momentum) * (b - a), old, new)


def ring(queue: jax.Array, rows: jax.Array, step: jax.Array) -> jax.Array:
    """The queue [K, ...] with its oldest rows replaced by those of a step [B, ...], B <= K.

    It is a scatter, so that only the new rows are sent between devices, however the queue is cut.
    """
    K, B = len(queue), len(rows)
    if B > K:
        raise ValueError(f'{B} rows do not fit into a queue of {K}')
    # (step % K) first: step * B overflows int32 in a long run
    return queue.at[((step % K) * B + jnp.arange(B)) % K].set(rows)


def exchange(
    key: jax.Array, pool: jax.Array, new: jax.Array, *, old: float = 0.5
) -> tuple[jax.Array, jax.Array]:
    """Exchanges each new row, with chance `old`, for a random past one of the pool.

    pool [R, ...], new [B, ...], B <= R -> rows [B, ...], pool. Shrivastava et al. 2017, 2.3.
    """
    slot_key, swap_key = jax.random.split(key)
    slots = jax.random.choice(slot_key, len(pool), (len(new),), replace=False)
    swap = jax.random.bernoulli(swap_key, old, (len(new),)).reshape(-1, *[1] * (new.ndim - 1))
    past = pool[slots]
    return jnp.where(swap, past, new), pool.at[slots].set(jnp.where(swap, new, past))
