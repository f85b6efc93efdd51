"""Times several forms of one work in one process, in turns: a ratio then holds on a shared machine.

A benchmark gives calls that return when all is done, and writes what `about` and `compared` say.
"""

import datetime
import os
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import peers

Seconds = Mapping[str, list[float]]


def timed(
    forms: Mapping[str, Callable[[], Any]], rounds: int, *, most: float = 60.0
) -> dict[str, list[float]]:
    """Seconds of each form, one a round. The first call of each compiles and is not counted.

    most: seconds after which a form takes no further turn (but has had two).
    """
    for form in forms.values():
        form()
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for turn in range(rounds):
        names = list(forms)
        for name in names if turn % 2 == 0 else names[::-1]:
            if len(seconds[name]) < 2 or sum(seconds[name]) < most:
                began = time.perf_counter()
                forms[name]()
                seconds[name].append(time.perf_counter() - began)
    return seconds


def compared(
    seconds: Seconds, *, ours: str = 'ours', theirs: str | tuple[str, ...] = 'torch'
) -> dict[str, Any]:
    """Least, median and greatest milliseconds of each form, and the ratio to the best of theirs.

    The ratio is of medians; its range is of the rounds in which both took a turn.
    """
    found: dict[str, Any] = {
        'milliseconds': {n: [1e3 * f(s) for f in (min, median, max)] for n, s in seconds.items()},
        'rounds': max(map(len, seconds.values())),
    }
    others = [name for name in seconds if name.startswith(theirs)]
    if ours in seconds and others:
        best = min(others, key=lambda name: median(seconds[name]))
        pairs = [a / b for a, b in zip(seconds[ours], seconds[best])]
        found['ratio'] = median(seconds[ours]) / median(seconds[best])
        found['ratio_range'] = [min(pairs), max(pairs)]
        found['beside'] = best
    return found


def about(*packages: str) -> dict[str, Any]:
    """The day, the machine and the versions, for the head of a file of results."""
    import jax

    return {
        'date': datetime.date.today().isoformat(),
        'device': jax.devices()[0].device_kind,
        'processor': processor(),
        'cores': os.cpu_count(),
        'load': os.getloadavg()[0],  # other work on the machine makes every number worse
        'versions': peers.versions('jax', 'jaxlib', 'flax', *packages),
    }


def processor() -> str:
    """The name of the CPU, where the system tells it."""
    try:
        lines = open('/proc/cpuinfo').read().splitlines()
    except OSError:
        return ''
    return next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), '')


def peak(n: int = 2048, dtype: str = 'float32', rounds: int = 7) -> dict[str, float]:
    """GFLOP/s of a product of two n x n matrices: what the machine gives here and now.

    PyTorch's is measured in the same rounds where it is loaded already.
    """
    import jax
    import jax.numpy as jnp

    a = jnp.asarray(jax.random.normal(jax.random.key(0), (n, n)), dtype)
    product = jax.jit(lambda a: a @ a).lower(a).compile()
    forms = {'jax': lambda: jax.block_until_ready(product(a))}
    if torch := sys.modules.get('torch'):
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
        b = torch.randn(n, n, device=device, dtype=getattr(torch, dtype))

        def theirs():
            (b @ b)[0, 0].item()

        forms['torch'] = theirs
    seconds = timed(forms, rounds)
    return {name: 2e-9 * n**3 / median(s) for name, s in seconds.items()}
