"""A readout over many rows: padded chunks of one size, so one compilation; host arrays out."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.method import State
from ssljax.sharding import by_rows, of_batch, place
from ssljax.step import floats


class Sweep:
    """Calls readouts chunk by chunk; each (readout, options) is compiled once."""

    def __init__(self, mesh: Mesh, key: jax.Array, split: Any = None, *, chunk: int = 256):
        cuts = of_batch(mesh).num_devices
        self.mesh, self.key, self.split = mesh, key, split
        self.cuts, self.chunk = cuts, -(-chunk // cuts) * cuts
        self.compiled: dict[Any, Callable] = {}

    def __call__(self, readout: Callable, state: State, **options: Any) -> Any:
        """The readout for every row of the split, in order: arrays of [N, ...]."""
        parts = [
            self.over(readout, state, self.rows(start), start=start, **options)
            for start in range(0, self.split.count, self.chunk)
        ]
        return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)

    def rows(self, start: int) -> dict[str, np.ndarray]:
        index = np.arange(start, min(start + self.chunk, self.split.count), dtype=np.int32)
        return {**self.split.rows(index), 'index': index}

    @property
    def batch(self) -> dict[str, jax.Array]:
        """The first rows as a method sees them, for a rule that starts a new net."""
        return floats(place(self.mesh, pad(self.rows(0), self.chunk)))

    def over(
        self,
        readout: Callable,
        state: State,
        batch: Mapping[str, np.ndarray],
        *,
        start: int = 0,
        **options: Any,
    ) -> Any:
        """The readout for the rows of `batch`, any number of them."""
        name = (readout, tuple(sorted(options.items())))
        if name not in self.compiled:
            held = by_rows(readout, self.mesh)
            self.compiled[name] = jax.jit(
                lambda key, state, batch: held(key, state, floats(batch), **options),
                out_shardings=NamedSharding(self.mesh, P()),
            )
        count, parts = len(next(iter(batch.values()))), []
        # few rows are one small chunk
        chunk = min(self.chunk, -(-count // self.cuts) * self.cuts)
        for first in range(0, count, chunk):
            rows = {k: np.asarray(v)[first : first + chunk] for k, v in batch.items()}
            have = len(next(iter(rows.values())))
            key = jax.random.fold_in(self.key, start + first)
            out = self.compiled[name](key, state, place(self.mesh, pad(rows, chunk)))
            parts.append(jax.tree.map(lambda x, have=have: host(x)[:have], out))
        return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def host(x: jax.Array) -> np.ndarray:
    """As a host array; floats of any precision as float32, since NumPy knows no bfloat16."""
    rows = np.asarray(x)
    floating = jax.numpy.issubdtype(rows.dtype, jax.numpy.floating)
    return rows.astype(np.float32, copy=False) if floating else rows


def pad(rows: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Repeats the last row up to `count` rows, so that every chunk has one shape."""
    return {k: np.concatenate([v, v[-1:].repeat(count - len(v), 0)]) for k, v in rows.items()}
