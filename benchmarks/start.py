"""How long until something happens: whole processes, from their start to their end, or to the line
of the first step: python benchmarks/start.py --out=results/speed-start.json

cold: with an empty cache directory. cached: the second start, in a new workdir. resumed: the same
command again in a workdir with a checkpoint.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

TRAIN = ('-m', 'ssljax.train')
CALLS = {
    'train --help': (*TRAIN, '--help'),
    'import ssljax': ('-c', 'import ssljax'),
    'import ssljax.losses': ('-c', 'import ssljax.losses'),
    'import jax': ('-c', 'import jax'),  # what the row above cannot go below
}
WORKS = (*CALLS, 'dry run', 'first step, cold', 'first step, cached', 'first step, resumed')


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python benchmarks/start.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--config', default='configs/simclr.py', metavar='FILE[:VARIANT]')
    parser.add_argument('--only', default='', metavar='WORDS', help='works whose name has these')
    parser.add_argument('--rounds', type=int, default=5, help='of the first step: at most 3')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known, changes = parser.parse_known_args()
    chosen = [name for name in WORKS if known.only in name]
    if not chosen:
        parser.error(f'--only={known.only} is in none of: {", ".join(WORKS)}')
    command = (*TRAIN, f'--config={known.config}', *changes)
    with tempfile.TemporaryDirectory() as folder:
        forms = {name: whole(CALLS[name]) for name in CALLS if name in chosen}
        if 'dry run' in chosen:
            forms['dry run'] = whole((*command, '--dry_run'))
        seconds = in_turns(forms, known.rounds)
        few = min(known.rounds, 3)
        seconds |= first_steps(command, Path(folder), chosen, few)

    import rounds
    from rows import keep

    head = {**rounds.about(), 'config': known.config, 'gigaflop_per_second': rounds.peak()}
    rows = [{'work': name, **rounds.compared({'ours': s})} for name, s in seconds.items()]
    for row in rows:
        told = ' '.join(f'{value / 1e3:8.2f}' for value in row['milliseconds']['ours'])
        print(f'{row["work"]:24}{told} s', flush=True)
    keep(known.out, head, rows)
    return 0


def whole(arguments: tuple[str, ...]) -> Callable[[], float]:
    """A call that runs a process of Python to its end; -> its seconds."""

    def call() -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=-3)
        return time.perf_counter() - began

    return call


def in_turns(forms: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds by form, one a round, after a round that is not counted: it reads files from disk."""
    counted = [{name: call() for name, call in forms.items()} for _ in range(rounds + 1)][1:]
    return {name: [seconds[name] for seconds in counted] for name in forms}


def first_steps(
    command: tuple[str, ...], folder: Path, chosen: list[str], rounds: int
) -> dict[str, list[float]]:
    """Seconds to the first step by work; a cache that was filled by one start serves the next."""
    seconds: dict[str, list[float]] = {}
    for i in range(rounds):
        cold, cached = ('first step, cold' in chosen), ('first step, cached' in chosen)
        cache = folder / (f'cache {i}' if cold else 'cache')
        if cold:
            took = first_step(command, folder / f'cold {i}', cache)
            seconds.setdefault('first step, cold', []).append(took)
        elif not cache.exists():
            first_step(command, folder / 'filling', cache)
        if cached:
            took = first_step(command, folder / f'cached {i}', cache)
            seconds.setdefault('first step, cached', []).append(took)
        if 'first step, resumed' in chosen:
            workdir = folder / 'resumed'
            if not workdir.exists():
                first_step(command, workdir, cache, steps=2, save=True)
            took = first_step(command, workdir, cache)
            seconds.setdefault('first step, resumed', []).append(took)
    return seconds


def first_step(
    command: tuple[str, ...], workdir: Path, cache: Path, *, steps: int = 1, save: bool = False
) -> float:
    """Seconds from the start of a process to the line of its first step; then it is ended.

    save: by a signal that lets it save first.
    """
    began = time.perf_counter()
    flags = [f'--workdir={workdir}', '--config.log.every=1']
    process = subprocess.Popen(
        [sys.executable, *command, *flags],
        cwd=ROOT,
        env={**os.environ, 'XDG_CACHE_HOME': str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if line.startswith('step ') and (steps := steps - 1) == 0:
                return time.perf_counter() - began
        raise SystemExit(f'{" ".join(command)} made no step:\n{process.stderr.read()}')
    finally:
        process.terminate() if save else process.kill()
        process.communicate()


if __name__ == '__main__':
    sys.exit(main())
