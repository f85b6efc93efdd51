"""Many queries against all rows: by blocks of one size, each cut over all devices."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.sharding import mesh, of_batch, place


def by_blocks(ask: Callable, queries: np.ndarray, block: int) -> tuple[np.ndarray, ...]:
    """What a jitted `ask` answers for all queries [Q, ...]: host arrays [Q, ...].

    ask: some of them -> arrays with a row each. The last block is padded, so that one program
    serves all.
    """
    devices = mesh()
    cuts = of_batch(devices).num_devices
    block = -(-min(block, len(queries)) // cuts) * cuts
    whole = NamedSharding(devices, P())

    def answered(at):
        part = queries[at : at + block]
        part = np.pad(part, ((0, block - len(part)), *((0, 0) for _ in part.shape[1:])))
        answer = ask(place(devices, {'queries': part})['queries'])
        return jax.device_get(jax.device_put(answer, whole))

    # Two at a time, since XLA:CPU sorts a block on one core: k-NN takes 0.85 of the time. But where
    # devices exchange rows, all must start their programs in one order
    first, *rest = range(0, len(queries), block)
    parts = [answered(first)]  # compiles
    with ThreadPoolExecutor(2 if devices.size == 1 else 1) as pool:
        parts += pool.map(answered, rest)
    return tuple(np.concatenate(found)[: len(queries)] for found in zip(*parts, strict=True))


def everywhere(x: np.ndarray) -> jax.Array:
    """Host rows, whole on each device."""
    return jax.device_put(x, NamedSharding(mesh(), P()))
