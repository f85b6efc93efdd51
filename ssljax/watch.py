"""What stands beside the loop: a window on its metrics, its signals, its end by divergence."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import processes, signals


class Diverged(Exception):
    """A loss that is not finite: the run stops, the last good checkpoint stays."""


AHEAD = 2  # steps in flight: a host that ran on would pile up batches on the device


class Window:
    """The metrics since the last line of the log, read late, so that the device never waits.

    A line is read when AHEAD further steps have started: then its own steps are done, and the
    device has work while the host writes.
    """

    def __init__(self, start: int, *, steps: int, batch: int):
        self.steps, self.batch = steps, batch
        self.first = self.next = start
        self.metrics: list[Mapping[str, Any]] = []
        self.ends: list[int] = []  # the last steps of lines that are not read yet
        self.waited = 0.0
        self.rest()

    def add(self, metrics: Mapping[str, Any]) -> None:
        """The metrics of the next step."""
        self.metrics.append(metrics)
        self.next += 1
        if len(self.metrics) > AHEAD:
            jax.block_until_ready(self.metrics[-1 - AHEAD])

    def end(self, values: Mapping[str, Any]) -> None:
        """The step that was added ends a line, which has these values, too."""
        self.metrics[-1] = {**self.metrics[-1], **values}
        self.ends.append(self.next)

    def lines(self, waited: float, *, now: bool) -> Iterator[tuple[int, dict[str, float]]]:
        """(last step, values) of each line that can be read; of all, if it must be `now`.

        waited: seconds for which the host has waited for batches, since the start.
        """
        while self.ends and (now or self.ends[0] + AHEAD <= self.next):
            yield self.ends[0], self.read(self.ends.pop(0), waited)

    def check(self, end: int | None = None) -> list[dict[str, float]]:
        """The numbers of the window's steps up to the end, if every loss is finite."""
        numbers = jax.device_get(self.metrics[: None if end is None else end - self.first])
        for i, values in enumerate(numbers):
            for name, value in values.items():
                if name.endswith('/loss') and not np.isfinite(value):
                    raise Diverged(f'{name} is {value} at step {self.first + i + 1}')
        return numbers

    def read(self, end: int, waited: float) -> dict[str, float]:
        """Means over the steps up to the end, and their speed; the next window starts there."""
        numbers = self.check(end)
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
            'examples_per_second': len(numbers) * self.batch / seconds,
            'waiting': min((waited - self.waited) / seconds, 1.0),
            'seconds_left': (self.steps - end) * seconds / max(len(numbers), 1),
        }
        self.metrics, self.first, self.waited = self.metrics[len(numbers) :], end, waited
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
