"""What stands beside the loop: a window on its metrics, its signals, its end by divergence."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import processes, signals


class Diverged(Exception):
    """A loss that is not finite: the run stops, the last good checkpoint stays."""


class Window:
    """The metrics since the last line of the log; read late, so that the host never waits on one.

    At most two steps are in flight: a host that ran on would pile up batches on the device.
    """

    def __init__(self, start: int):
        self.first = self.next = start
        self.metrics, self.waited = [], 0.0
        self.rest()

    def add(self, metrics: Mapping[str, Any]) -> None:
        self.metrics.append(metrics)
        self.next += 1
        if len(self.metrics) > 2:
            jax.block_until_ready(self.metrics[-3])

    def check(self) -> list[dict[str, float]]:
        """The numbers of the window's steps, if every loss is finite."""
        numbers = jax.device_get(self.metrics)
        for i, values in enumerate(numbers):
            for name, value in values.items():
                if name.endswith('/loss') and not np.isfinite(value):
                    raise Diverged(f'{name} is {value} at step {self.first + i + 1}')
        return numbers

    def read(self, batch: int, waited: float, steps: int) -> dict[str, float]:
        """Means over the window and its speed; starts the next window."""
        numbers = self.check()
        names = {name for values in numbers for name in values}
        means = {
            name: sum(float(v[name]) for v in numbers if name in v)
            / sum(name in v for v in numbers)
            for name in sorted(names)
        }
        seconds, cpu = time.perf_counter() - self.began, time.process_time() - self.cpu_began
        speed = {
            'seconds': seconds,
            'cpu_seconds': cpu,
            'examples_per_second': len(numbers) * batch / seconds,
            'waiting': min((waited - self.waited) / seconds, 1.0),
            'seconds_left': (steps - self.next) * seconds / max(len(numbers), 1),
        }
        self.first, self.metrics, self.waited = self.next, [], waited
        self.rest()
        return {**means, **speed}

    def rest(self) -> None:
        """What lies before is no training time of the next window."""
        self.began, self.cpu_began = time.perf_counter(), time.process_time()


def finite(state: Any, step: int) -> None:
    """A checkpoint never holds a NaN that its losses have not met yet."""

    def good(tree):
        leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
        return jnp.all(jnp.array([jnp.isfinite(x).all() for x in leaves]))

    if not jax.jit(good)((state.params, state.memory)):
        raise Diverged(f'params or memory are not finite after step {step}')


class Preemption:
    """The loop and its last save: a signal ends the run after the step, with a checkpoint."""

    def __enter__(self) -> 'Preemption':
        self.obeyed, self.old = False, signals.hold()
        return self

    def agreed(self, step: int, *, last: int, every: int = 10) -> bool:
        """Whether to stop after this step. Many processes agree on it, every so many steps."""
        if not processes.several():
            self.obeyed = bool(signals.caught)
        elif step % every == 0 or step == last:
            self.obeyed = processes.any_of(bool(signals.caught))
        return self.obeyed

    def __exit__(self, kind: Any, *_: Any) -> None:
        signals.release(self.old, obeyed=self.obeyed or kind is not None)
