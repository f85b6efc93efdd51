"""Is anything slower than what is committed? python benchmarks/check.py [--only=steps,start]

Runs each benchmark that has a committed result again and compares row by row: by the ratio to
PyTorch; where it took no part, by the time over that of a product of matrices on the same machine
in the same run. What got slower by more than a fifth is told, and the exit code is 1. With
--out=DIR the new results stay there under the names of the committed ones, and rows that are not
measured stay as they are: --out=results renews what is committed. With --new=DIR nothing is run:
DIR is such a folder.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import rows  # noqa: E402

MOST = 1.2  # times what is committed
# the command of each committed file; rows that it does not measure are not compared
COMMANDS = {
    'speed-steps': ('steps.py',),
    'speed-augment': ('augment.py',),
    'speed-input': ('input.py',),
    'speed-start': ('start.py',),
    'speed-scale': ('scale.py',),
    'losses': ('losses.py',),
    'eval': ('eval.py',),
}


class Line(NamedTuple):
    """One row then and now."""

    work: str
    was: float | None
    now: float | None
    by: str  # what both are measured by; or why they cannot be compared

    @property
    def factor(self) -> float | None:
        return None if self.was is None or self.now is None else self.now / self.was


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='python benchmarks/check.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--new', type=Path, metavar='DIR', help='new results; runs nothing')
    where.add_argument('--out', type=Path, metavar='DIR', help='keeps what is measured')
    parser.add_argument('--old', type=Path, default=ROOT / 'results', metavar='DIR')
    parser.add_argument('--only', metavar='A,B', help=f'of: {", ".join(map(short, COMMANDS))}')
    known = parser.parse_args(argv)
    chosen = known.only.split(',') if known.only else [*map(short, COMMANDS)]
    if odd := set(chosen) - {*map(short, COMMANDS)}:
        parser.error(f'unknown: {", ".join(odd)}; offered: {", ".join(map(short, COMMANDS))}')
    if known.out:
        known.out.mkdir(parents=True, exist_ok=True)
    slower, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, command in COMMANDS.items():
            old = known.old / f'{name}.json'
            new = (known.new or known.out or Path(folder)) / f'{name}.json'
            if short(name) not in chosen or not old.exists():
                continue
            before = rows.read(old)  # which the command may write into
            if known.new is None:
                print(f'{short(name)}: python benchmarks/{" ".join(command)}', flush=True)
                if not run(command, new):
                    failed.append(short(name))
            if new.exists():
                slower += told(name, before, rows.read(new))
            elif known.new:
                print(f'{short(name)}: not measured again')
    for name in failed:
        print(f'{name}: the command failed')
    print(f'{len(slower)} slower by more than {MOST - 1:.0%}')
    return int(bool(slower or failed))


def short(name: str) -> str:
    return name.removeprefix('speed-')


def run(command: Sequence[str], out: Path) -> bool:
    script, *flags = command
    done = [sys.executable, str(ROOT / 'benchmarks' / script), *flags, f'--out={out.absolute()}']
    return subprocess.run(done, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def told(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Line]:
    """Prints a line for each row; -> those that got slower."""
    machines = [found.get('processor') or found.get('device') for found in (old, new)]
    if machines[0] != machines[1]:
        print(f'{short(name)}: committed on {machines[0]}, now on {machines[1]}')
    slower = []
    for line in compared(old, new):
        worse = line.factor is not None and line.factor > MOST
        slower += [line] if worse else []
        what = line.by if line.factor is None else f'{line.was:.3g} -> {line.now:.3g} {line.by}'
        print(f'{short(name)}: {line.work}: {what}{"  SLOWER" if worse else ""}', flush=True)
    return slower


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Line]:
    """A line for each committed row."""
    again = {row['work']: row for row in new['rows']}
    lines = []
    for row in old['rows']:
        work, now = row['work'], again.get(row['work'])
        if now is None or now == row:  # no two measurements are equal
            lines.append(Line(work, None, None, 'not measured again'))
        elif 'ratio' in row and 'ratio' in now:
            lines.append(Line(work, row['ratio'], now['ratio'], 'of the time of torch'))
        else:
            values = [products(old, row), products(new, now)]
            by = 'GFLOP of products of matrices'
            if None in values:
                why = ' (torch took no part this time)' if 'ratio' in row else ''
                by = f'not comparable{why}'
            lines.append(Line(work, *values, by))
    return lines


def products(found: Mapping[str, Any], row: Mapping[str, Any]) -> float | None:
    """Our time in GFLOP of the matrix peak that was measured beside it."""
    form, peak = rows.ours(row), rows.peak(found, row)
    return None if form is None or peak is None else row['milliseconds'][form][1] * peak / 1e3


if __name__ == '__main__':
    sys.exit(main())
