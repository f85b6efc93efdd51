"""Compares runs: python -m ssljax.compare runs/* [--evals=knn] [--out=DIR].

Runs whose configs differ in nothing but the seed are one row: their mean and standard deviation.
Numbers stand in one column only if data, protocol and rows are the same. Bold: the best, and every
row that a permutation test over seeds does not tell from it (p > 0.05).
"""

import csv
import itertools
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from ssljax import cli
from ssljax.names import Mistake, choose

ALPHA = 0.05
ENOUGH = 100_000  # partitions of the seeds, above which they are drawn and not listed


class Row(NamedTuple):
    """Runs of one config: for each column, the numbers of its seeds."""

    name: str
    seeds: int
    trained: dict[str, list[float]]
    untrained: dict[str, list[float]]


class Table(NamedTuple):
    columns: list[str]  # 'knn accuracy', or with a letter where protocols differ
    less: dict[str, bool]  # whether less is better
    trivial: dict[str, dict[str, float]]  # baseline -> column -> number
    rows: list[Row]
    notes: list[str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.compare', __doc__)
    parser.add_argument('workdirs', nargs='+', type=Path, metavar='WORKDIR')
    parser.add_argument('--evals', metavar='A,B', help='evaluators; by default all that were run')
    parser.add_argument('--out', type=Path, metavar='DIR', help='writes compare.md and compare.csv')
    known = parser.parse_args(argv)
    found = table(known.workdirs, known.evals.split(',') if known.evals else None)
    show(found)
    if known.out:
        cli.writable(known.out).mkdir(parents=True, exist_ok=True)
        (known.out / 'compare.md').write_text(markdown(found))
        with (known.out / 'compare.csv').open('w', newline='') as file:
            csv.writer(file).writerows(long(found))
        print(f'\n{known.out / "compare.md"}, {known.out / "compare.csv"}')
    return 0


def table(workdirs: Sequence[Path], names: Sequence[str] | None = None) -> Table:
    """The numbers of the runs in these workdirs."""
    from ssljax import evals

    runs = [read(path) for path in workdirs]
    offered = list(dict.fromkeys(name for run in runs for name in run['results']['evals']))
    for name in names or ():
        choose(name, offered, 'evaluator of these runs')
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(run['group'], []).append(run)
    columns, less, trivial, notes = [], {}, {}, []
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}  # (group, who) -> column -> numbers
    for name in names or offered:
        module = evals.module(name)
        kinds: dict[str, str] = {}  # protocol -> letter
        for group, mine in groups.items():
            for run in mine:
                if not (result := run['results']['evals'].get(name)):
                    continue
                kind = protocol(run, result)
                letter = kinds.setdefault(kind, chr(ord('a') + len(kinds)))
                for who, scores in result['scores'].items():
                    for metric in (m for m in module.SHOWN if m in scores):
                        column = f'{name} {metric}'.replace('_', ' ')
                        column += f' ({letter})' if letter > 'a' else ''
                        if column not in columns:
                            columns.append(column)
                        less[column] = metric in getattr(module, 'LESS', ())
                        if who in ('trained', 'untrained'):
                            place = cells.setdefault((group, who), {}).setdefault(column, [])
                            place.append(scores[metric])
                        else:
                            trivial.setdefault(who, {})[column] = scores[metric]
        if len(kinds) > 1:
            told = '; '.join(f'({letter}) {kind}' for kind, letter in kinds.items())
            notes.append(f'{name} was not run alike everywhere, so in columns of its own: {told}')
    order = sorted(range(len(columns)), key=lambda i: columns[i].split()[0])
    rows = [
        Row(label(mine), len(mine), cells.get((g, 'trained'), {}), cells.get((g, 'untrained'), {}))
        for g, mine in groups.items()
    ]
    if all(row.seeds == 1 for row in rows) and len(rows) > 1:
        notes.append('one seed each: nothing is tested, and nothing bold')
    return Table([columns[i] for i in order], less, trivial, rows, notes)


def read(path: Path) -> dict[str, Any]:
    """A run's numbers and config, and `group`: what all seeds of it share."""
    for name, what in (('run.json', 'is not a workdir'), ('results.json', 'was not evaluated')):
        if not (path / name).is_file():
            raise Mistake(
                f'{path} {what}: it has no {name}'
                + ('; type python -m ssljax.evaluate --workdir=' + str(path)) * (name[:2] == 're')
            )
    run = json.loads((path / 'run.json').read_text())
    here = {'data': {'dir': ''}, 'seed': 0, 'log': {}, 'checkpoint': {}, 'mesh': {}, 'evals': {}}
    kept = {**run['config'], **{k: v for k, v in here.items() if k != 'data'}}
    kept['data'] = {**run['config'].get('data', {}), **here['data']}
    results = json.loads((path / 'results.json').read_text())
    group = json.dumps([kept, run['data']], sort_keys=True)
    return {'path': path, 'run': run, 'results': results, 'group': group}


def protocol(run: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """How a number was made, in words: the same for numbers that may be compared."""
    data = run['run']['data']
    told = {k: v for k, v in result['protocol'].items() if k != 'picture'}
    parts = [f'{k}={v}' for k, v in told.items()]
    return f'{data["name"]} {data["fingerprint"][:8]}, {" ".join(parts)}'


def label(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the names of the workdirs share, without the numbers of seeds."""
    names = [run['path'].resolve().name for run in runs]
    if len(names) == 1:
        return names[0]
    shared = ''.join(c[0] for c in itertools.takewhile(lambda c: len(set(c)) == 1, zip(*names)))
    return shared.rstrip('-_') or runs[0]['run']['config']['method']


def permutation_p(better: Sequence[float], worse: Sequence[float]) -> float:
    """How often the mean of `better` is above that of `worse` by so much, if seeds were dealt to
    the two at random: one-sided, over all partitions (or many drawn)."""
    every, n = [*better, *worse], len(better)
    gap = fmean(better) - fmean(worse)
    total = math.comb(len(every), n)
    if total <= ENOUGH:
        parts = itertools.combinations(range(len(every)), n)
    else:
        import random

        draw = random.Random(0)
        parts = (draw.sample(range(len(every)), n) for _ in range(ENOUGH))
        total = ENOUGH
    whole, count = sum(every), 0
    for part in parts:
        mine = sum(every[i] for i in part)
        other = mine / n - (whole - mine) / (len(every) - n)
        count += other >= gap - 1e-12 * max(abs(gap), 1)
    return count / total


def bold(found: Table, column: str) -> set[str]:
    """The best row of a column, and those that are not told from it."""
    numbers = {row.name: row.trained[column] for row in found.rows if column in row.trained}
    if len(numbers) < 2 or max(map(len, numbers.values())) == 1:
        return set()
    sign = -1 if found.less[column] else 1
    numbers = {name: [sign * v for v in values] for name, values in numbers.items()}
    first = max(numbers, key=lambda name: fmean(numbers[name]))
    return {
        name
        for name, values in numbers.items()
        if name == first or permutation_p(numbers[first], values) > ALPHA
    }


def cell(values: Sequence[float]) -> str:
    told = number(fmean(values))
    return told + (f' ± {number(stdev(values))}' if len(values) > 1 else '')


def number(value: float) -> str:
    return f'{value:.2f}' if abs(value) >= 10 else f'{value:.3f}'


def lines(found: Table, mark: str) -> list[list[str]]:
    """Cells of the table: baselines, then of every row untrained and trained."""
    out = []
    for who, numbers in found.trivial.items():
        cells = [number(numbers[c]) if c in numbers else '' for c in found.columns]
        out.append([who, '', *cells])
    marked = {column: bold(found, column) for column in found.columns}
    for row in found.rows:
        told = [cell(row.untrained[c]) if c in row.untrained else '' for c in found.columns]
        out.append([f'{row.name}, untrained', str(row.seeds), *told])
        told = []
        for column in found.columns:
            text = cell(row.trained[column]) if column in row.trained else ''
            told.append(f'{mark}{text}{mark}' if row.name in marked[column] else text)
        out.append([row.name, str(row.seeds), *told])
    return out


def markdown(found: Table) -> str:
    head = ['', 'seeds', *found.columns]
    body = [head, ['---'] * len(head), *lines(found, '**')]
    told = ['| ' + ' | '.join(line) + ' |' for line in body]
    return '\n'.join([*told, '', *found.notes]) + '\n'


def long(found: Table) -> list[list[Any]]:
    """One line per number, for whoever computes further."""
    out: list[list[Any]] = [['run', 'who', 'column', 'seed', 'value']]
    for who, numbers in found.trivial.items():
        out += [['', who, column, '', value] for column, value in numbers.items()]
    for row in found.rows:
        for who, numbers in (('untrained', row.untrained), ('trained', row.trained)):
            for column, values in numbers.items():
                out += [[row.name, who, column, i, value] for i, value in enumerate(values)]
    return out


def show(found: Table) -> None:
    """On the terminal; wide tables wrap."""
    from rich.console import Console
    from rich.table import Table as Printed

    console = Console(width=None if sys.stdout.isatty() else 200)
    printed = Printed(box=None, pad_edge=False)
    printed.add_column('')
    for column in ('seeds', *found.columns):
        printed.add_column(column, justify='right')
    for line in lines(found, '\0'):
        cells = [f'[bold]{c.strip(chr(0))}[/bold]' if '\0' in c else c for c in line]
        printed.add_row(*cells)
    console.print(printed)
    for note in found.notes:
        console.print(note, style='dim', markup=False)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
