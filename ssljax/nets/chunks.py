"""Runs a net on a batch a few rows at a time; the gradient is that of the whole batch."""

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

    The gradient is that of the whole batch, and memory holds the activations of one chunk: the
    forward pass keeps only z, and the backward pass computes each chunk's activations again (Gao et
    al. 2021, arXiv:2101.06983). Batch norm sees one chunk at a time, and its statistics go from one
    chunk to the next. Each chunk has its own key. On a CPU the gradient of a convolution is about
    eight times slower in here.

    rows: of a chunk; None: the whole batch at once.
    """
    if rows is None:
        return function(key, stats, x)
    if len(x) % rows:
        raise Mistake(f'chunks of {rows} rows do not divide a batch of {len(x)}; type a divisor')
    count = len(x) // rows

    def chunk(stats, key_and_x):
        key, x = key_and_x
        return function(key, stats, x)

    # chunk i has the rows i, i + count, i + 2 count, ...: each device keeps its rows
    chunks = x.reshape(rows, count, *x.shape[1:]).swapaxes(0, 1)
    step = jax.checkpoint(chunk, prevent_cse=False)
    stats, z = lax.scan(step, stats, (jax.random.split(key, count), chunks))
    return stats, z.swapaxes(0, 1).reshape(len(x), *z.shape[2:])
