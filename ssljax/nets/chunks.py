"""A batch through a net a few rows at a time, with one gradient."""

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

from ssljax.names import Mistake


def in_chunks(
    function: Callable[..., tuple[Any, jax.Array]],
    key: jax.Array,
    stats: Any,
    x: jax.Array,
    *,
    rows: int | None,
) -> tuple[Any, jax.Array]:
    """function(key, stats, x) -> stats, z, over `rows` of x at a time: stats, z [B, ...].

    The gradient is that of the whole batch, and activations are held for one chunk: the forward
    pass keeps only z, and the backward pass makes each chunk's activations again (Gao et al. 2021,
    arXiv:2101.06983). Batch norm sees a chunk at a time, and its statistics pass from one to the
    next. Each chunk has its own key. rows None: all at once. On a CPU the gradient of a convolution
    is some eight times slower in here.
    """
    if rows is None:
        return function(key, stats, x)
    if len(x) % rows:
        raise Mistake(f'chunks of {rows} rows do not divide a batch of {len(x)}; type a divisor')
    count = len(x) // rows

    def one(stats, part):
        return function(part[0], stats, part[1])

    # every count-th row, so that each device keeps the rows that it has
    parts = x.reshape(rows, count, *x.shape[1:]).swapaxes(0, 1)
    step = jax.checkpoint(one, prevent_cse=False)
    stats, z = lax.scan(step, stats, (jax.random.split(key, count), parts))
    return stats, z.swapaxes(0, 1).reshape(len(x), *z.shape[2:])
