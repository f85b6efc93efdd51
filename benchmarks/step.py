"""How fast is the real step of a config: python benchmarks/step.py --config=configs/simclr.py

Data, augmentation, losses and optimizers are those that train.py runs. FLOPs are XLA's count of the
compiled step, in which the body of a loop counts once: a lower bound where there are loops.
"""

import json
import math
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import rounds  # noqa: E402

from ssljax import cli, config, plan  # noqa: E402


def main() -> int:
    parser = cli.parser('benchmarks/step.py', __doc__, 'configs:\n' + config.listing())
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument('--steps', type=int, default=30, help='steps that are timed')
    parser.add_argument('--chunk', type=int, default=5, help='steps between two readings')
    parser.add_argument('--out', type=Path, metavar='FILE', help='the numbers as JSON')
    known, rest = parser.parse_known_args()
    found = measure(known.config, cli.overrides(parser, rest), known.steps, known.chunk)
    for name, value in found.items():
        print(f'{name:28}{value:.4g}' if isinstance(value, float) else f'{name:28}{value}')
    if known.out:
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def opened(name: str, changes: Iterable[tuple[str, str]] = (), data: Any = None) -> Any:
    """The job of a config. data: a Source in place of its own, so that no file is read."""
    from ssljax import resolve
    from ssljax.job import make

    settings = resolve.resolve(name, list(changes))
    return make(settings if data is None else {**settings, 'data': data})


def drawn(row: Mapping[str, Any], *, count: int = 50_000, vocab: Sequence[str] = ()) -> Any:
    """A source of random rows. row: entry -> function (generator, rows) -> array of so many."""
    import numpy as np

    from ssljax.data.source import Source, Split

    def rows(index):
        random = np.random.default_rng(0)
        return {name: draw(random, len(index)) for name, draw in row.items()}

    split = Split(count, rows)
    return Source('drawn', {'train': split, 'test': split}, 'drawn', vocab=tuple(vocab))


def first(job: Any) -> Any:
    """The first batch of a job."""
    with job.batches(stop=1) as batches:
        _, batch = next(batches)
    return batch


def repeated(job: Any, steps: int) -> Callable[[], None]:
    """A call of so many steps of a job on its first batch, from its first state on."""
    import jax

    from ssljax import model

    batch = first(job)
    state, key, step = job.fresh(), job.key(model.STEP), job.step()
    acting = [job.acting(i) for i in range(steps)]  # in the end, all players have had their turns
    programs = {a: step.lower(state, batch, key, a).compile() for a in dict.fromkeys(acting)}

    def run() -> None:
        nonlocal state
        for turns in acting:
            state, _ = programs[turns](state, batch, key)
        jax.block_until_ready(state)

    return run


def size(job: Any) -> int:
    """How many parameters the method has."""
    import jax

    return sum(leaf.size for leaf in jax.tree.leaves(job.shapes.params))


def measure(name: str, changes: list, steps: int, chunk: int) -> dict:
    import jax

    from ssljax import model
    from ssljax.watch import AHEAD

    began = time.perf_counter()
    job = opened(name, changes)
    rows, state, key = job.run.batch, job.fresh(), job.key(model.STEP)
    jax.block_until_ready(state)
    start_seconds = time.perf_counter() - began

    chunks = max(steps // chunk, 1)
    acting = [job.acting(i) for i in range((chunks + 1) * chunk)]  # the first chunk warms up
    began, step, programs = time.perf_counter(), job.step(), {}
    batch = first(job)
    for turns in dict.fromkeys(acting):
        programs[turns] = step.lower(state, batch, key, turns).compile()
    compile_seconds = time.perf_counter() - began

    rates, waits, seconds, waited = [], [], 0.0, 0.0
    with job.batches(stop=len(acting)) as batches:
        began = time.perf_counter()
        flying = []  # as in train.py: so many steps, else the host takes batches that nobody needs
        for i, batch in batches:
            state, metrics = programs[acting[i]](state, batch, key)
            flying.append(metrics)
            if len(flying) > AHEAD:
                jax.block_until_ready(flying.pop(0))
            if (i + 1) % chunk == 0:
                jax.block_until_ready(state)
                now = time.perf_counter()
                if i >= chunk:
                    rates.append(rows * chunk / (now - began))
                    waits.append(batches.waited - waited)
                    seconds += now - began
                began, waited = now, batches.waited
    timed = Counter(acting[chunk:])
    flops_of = {turns: plan.costs(one).get('flops', math.nan) for turns, one in programs.items()}
    flops = sum(n * flops_of[turns] for turns, n in timed.items()) / timed.total()
    memory = [program.memory_analysis() for program in programs.values()]
    rates.sort()
    middle = rates[len(rates) // 2]
    fastest = rounds.peak(dtype=job.config['dtype'])['jax']
    return {
        'config': name,
        'changes': ' '.join(f'{k}={v}' for k, v in changes),
        **rounds.about('optax'),
        'devices': jax.device_count(),
        'batch': rows,
        'dtype': job.config['dtype'],
        'steps': timed.total(),
        'examples_per_second_min': rates[0],
        'examples_per_second': middle,
        'examples_per_second_max': rates[-1],
        'step_milliseconds': 1e3 * rows / middle,
        'clock_noise': rates[-1] / rates[0],  # of equal chunks of steps
        'waiting_for_data': sum(waits) / seconds,
        'start_seconds': start_seconds,
        'compile_seconds': compile_seconds,
        'gigaflop_per_step': flops / 1e9,
        'gigaflop_per_second': flops / 1e9 * middle / rows,
        'peak_gigaflop_per_second': fastest,
        'share_of_peak': flops / 1e9 * middle / rows / fastest / jax.device_count(),
        'program_megabytes': max(map(plan.peak, memory)) / 1e6,
        'process_megabytes': resident() / 1e6,
    }


def resident() -> int:
    """Most memory that this process ever held."""
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def extra(call: Callable[[], Any]) -> tuple[float, Any]:
    """Megabytes that this process holds more at its most in a call than before, and its result.

    Not known but on Linux, where the most so far can be forgotten.
    """
    status, forget = Path('/proc/self/status'), Path('/proc/self/clear_refs')
    if not forget.exists():
        return float('nan'), call()

    def held(what: str) -> float:
        return int(re.search(rf'{what}:\s+(\d+) kB', status.read_text())[1]) / 1e3

    forget.write_text('5')
    before, result = held('VmRSS'), call()
    return held('VmHWM') - before, result


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
