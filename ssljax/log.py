"""What a run tells: console, metrics.jsonl, TensorBoard events, run.json."""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ssljax import processes, written
from ssljax.cli import span

REFRESH, PART = 'refresh', '.part'
PACKAGES = (
    'jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'numpy', 'tensorflow-datasets',
    'tensorflow', 'tensorflow-cpu', 'ml-collections', 'matplotlib', 'pillow', 'scikit-learn',
)  # fmt: skip


class Log:
    """Writes the metrics of a run; on resume it forgets what lies after the checkpoint.

    Of many processes the first writes.
    """

    def __init__(self, workdir: Path, *, start: int, steps: int, tensorboard: bool = True):
        self.workdir, self.steps, self.start = workdir, steps, start
        self.writes = processes.first()
        path = workdir / 'metrics.jsonl'
        kept = before(path, start) if self.writes else []
        if self.writes:
            write(path, ''.join(f'{line}\n' for line, _ in kept))
        self.file = path.open('a') if self.writes else open(os.devnull, 'w')
        # whether the curve has its point at the start, which a kill after the save may have lost
        self.pointed = any(row['step'] == start and 'curve/seconds' in row for _, row in kept)
        self.board = None
        if tensorboard and self.writes:
            from tensorboardX import SummaryWriter

            # purge_step: TensorBoard drops what an earlier, killed process wrote after the start
            # max_queue 0: no limit, or the loop would wait for a writer that a full disk has ended
            events = str(workdir / 'events')
            self.board = SummaryWriter(events, purge_step=start, flush_secs=30, max_queue=0)
        self.bar = self.writes and sys.stderr.isatty()
        self.shown = self.since = time.perf_counter()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl, and the same numbers to TensorBoard."""
        self.file.write(json.dumps({'step': step, **values}) + '\n')
        self.file.flush()
        if self.board:
            for name, value in values.items():
                self.board.add_scalar(name, value, step)

    def line(self, step: int, values: Mapping[str, float]) -> None:
        """The console's line: step, losses, learning rate, examples/s, waiting, time left."""
        losses = [f'{k} {v:.4f}' for k, v in values.items() if k.endswith('/loss')]
        rates = sorted({f'{v:.2e}' for k, v in values.items() if k.endswith('/learning_rate')})
        parts = [
            f'step {step:>{len(str(self.steps))}}/{self.steps}',
            *losses,
            f'lr {" ".join(rates)}',
            f'{values["examples_per_second"]:.0f} examples/s',
            f'waiting {values["waiting"]:.0%}',
            f'ETA {span(values["seconds_left"])}',
        ]
        self.say('  '.join(parts))

    def tell(self, lines: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Lines of the loop, (step, values), to the file and the console."""
        for step, values in lines:
            self.scalars(step, values)
            self.line(step, values)

    def say(self, text: str) -> None:
        """A line on the console."""
        self.clear()
        processes.told(text)

    def progress(self, step: int) -> None:
        """A bar, on a terminal only, at most five times a second."""
        now = time.perf_counter()
        if not self.bar or now - self.shown < 0.2:
            return
        self.shown = now
        full = round(30 * step / self.steps)
        speed = (step - self.start) / (now - self.since)
        left = span((self.steps - step) / speed) if speed else '?'
        bar = (
            f'\r[{"=" * full}{" " * (30 - full)}] {step}/{self.steps}  {speed:.1f} steps/s  {left}'
        )
        print(bar, end='\x1b[K', file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self.bar:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)

    def __enter__(self) -> 'Log':
        return self

    def __exit__(self, *_: Any) -> None:
        self.clear()
        self.file.close()
        if self.board:
            self.board.close()


def before(path: Path, start: int) -> list[tuple[str, dict[str, Any]]]:
    """Lines of metrics.jsonl, and their rows, that a run from step `start` on will not write again.

    Those up to that step, but for a refresh before it, which comes again; no torn one.
    """
    kept = []
    for line, row in written.lines(path):
        if row and (row['step'] < start or row['step'] == start and REFRESH not in row):
            kept.append((line, row))
    return kept


def facts() -> dict[str, Any]:
    """Versions, devices, revision and determinism flags, for run.json."""
    import jax

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    devices = jax.devices()
    return {
        'python': platform.python_version(),
        'versions': versions,
        'platform': platform.platform(),
        'cores': os.cpu_count(),
        'devices': [str(d) for d in devices],
        'device_kind': devices[0].device_kind,
        'processes': jax.process_count(),
        'revision': revision(),
        'flags': {
            'XLA_FLAGS': os.environ.get('XLA_FLAGS', ''),
            'jax_threefry_partitionable': jax.config.jax_threefry_partitionable,
            'jax_default_matmul_precision': jax.config.jax_default_matmul_precision,
            'jax_enable_x64': jax.config.jax_enable_x64,
        },
    }


def revision() -> str:
    """The git revision of the code, with + if the tree has changes; '' outside a checkout."""
    git = ['git', '-C', str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True, text=True)
        changes = subprocess.run(
            [*git, 'status', '--porcelain', '-uno'], capture_output=True, text=True
        )
    except OSError:
        return ''
    return head.stdout.strip() + ('+' if changes.stdout.strip() else '')


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=1) + '\n')


def write(path: Path, content: str | bytes) -> None:
    """Atomically: no reader and no kill ever sees half a file, nor a torn one after a crash."""
    part = path.with_name(f'{path.stem}.{uuid.uuid4().hex[:8]}{PART}')  # of this writer alone
    try:
        with part.open('wb') as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
