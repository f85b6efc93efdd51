"""Compares runs: python -m ssljax.compare runs/* [--evals=knn] [--out=DIR].

Runs whose configs differ in nothing but the seed (and what moves no number: logs, checkpoints,
where the data lie) are one row: their mean and standard deviation. Copies of a run count once. The
numbers of a row have one protocol, on the same data, after the same steps, or it is refused.
Numbers stand in one column only if data and protocol are the same. Bold: the best, and every row
that a permutation test over seeds does not tell from it (p > 0.05).
"""

import csv
import itertools
import json
import math
import random
import string
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from ssljax import cli, sealed
from ssljax.config import FREE
from ssljax.names import Mistake, choose
from ssljax.written import read as written
from ssljax.written import record

ALPHA = 0.05
LETTERS = string.ascii_lowercase + string.ascii_uppercase  # of protocols
ENOUGH = 100_000  # partitions of the seeds, above which they are drawn and not listed


Numbers = dict[str, dict[str, float]]  # column -> workdir -> number


class Row(NamedTuple):
    """Runs of one config that differ in their seeds."""

    name: str
    seeds: int
    trained: Numbers
    untrained: Numbers


class Table(NamedTuple):
    columns: dict[str, bool]  # 'knn accuracy', with a letter where protocols differ: less is better
    trivial: dict[str, dict[str, float]]  # baseline -> column -> number
    rows: list[Row]
    notes: list[str]
    numbers: dict[str, tuple[str, str]] = {}  # column -> evaluator, number


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

    runs, notes = once([read(path) for path in workdirs])
    offered = list(dict.fromkeys(name for run in runs for name in run['evals']))
    for name in names or ():
        choose(name, offered, 'evaluator of these runs')
    groups: dict[str, list[dict]] = {}
    for run in runs:
        groups.setdefault(run['group'], []).append(run)
    rows = [Row(label(mine), len(mine), {}, {}) for mine in groups.values()]
    found = Table({}, {}, rows, notes, {})
    for name in names or offered:
        if name not in evals.offered():
            found.notes.append(f'{name} was run by another version, which had such an evaluator')
            continue
        kinds: dict[str, int] = {}  # protocol -> how many came before
        for row, mine in zip(rows, groups.values()):
            scored = [run for run in mine if name in run['evals']]
            alike(scored, name)
            if 0 < len(scored) < row.seeds:
                found.notes.append(f'{name} of {row.name}: of {len(scored)} of its seeds')
            for run in scored:
                kind = kinds.setdefault(protocol(run, name), len(kinds))
                enter(found, row, run, evals.offered()[name], name, LETTERS[kind])
        if len(kinds) > 1:
            told = '; '.join(f'({LETTERS[i]}) {kind}' for kind, i in kinds.items())
            found.notes.append(
                f'{name} was not run alike everywhere, so in columns of its own: {told}'
            )
    if all(row.seeds == 1 for row in rows) and len(rows) > 1:
        found.notes.append('one seed each: nothing is tested, and nothing bold')
        found.notes.extend(paired(found, runs))
    return found


def once(runs: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The runs without copies, and what is to be said of those: a copy has the config, the seed and
    the checkpoint of another, or all its numbers."""
    kept: dict[tuple, dict[str, Any]] = {}
    notes = []
    for run in runs:
        mine = (run['group'], run['config'].get('seed'))
        scores = json.dumps({k: v['scores'].get('trained') for k, v in run['evals'].items()})
        marks = [
            (*mine, mark) for mark in (run['digest'], scores if run['evals'] else None) if mark
        ]
        other = next((kept[mark] for mark in marks if mark in kept), None)
        if other is not None:
            notes.append(f'{run["path"]} is a copy of {other["path"]}, and counts once')
        for mark in marks or [(*mine, str(run['path']))]:
            kept.setdefault(mark, other or run)
    return list({id(run): run for run in kept.values()}.values()), notes


def alike(runs: Sequence[Mapping[str, Any]], name: str) -> None:
    """Refuses seeds of one config whose numbers were made in other ways."""
    for other in runs[1:]:
        ways = [f'{protocol(run, name)}, step {reached(run, name)}' for run in (runs[0], other)]
        if ways[0] != ways[1]:
            raise Mistake(
                f'{runs[0]["path"]} and {other["path"]} are seeds of one config, but {name} was not'
                f' run alike: {ways[0]} / {ways[1]}; type'
                f' python -m ssljax.evaluate --workdir={other["path"]} --evals={name} with the same'
                ' options, on the same data, or compare them one by one'
            )


def reached(run: Mapping[str, Any], name: str) -> int | None:
    """The step of the checkpoint that an evaluator saw."""
    return run['evals'][name].get('checkpoint', run['checkpoint'])


def paired(found: Table, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of models of one seed each, how far the best number of a column is above the others', with
    its 95 percent interval over the rows that both were scored on."""
    from ssljax import evals
    from ssljax.evals.evaluator import gain

    notes = []
    for column, less in found.columns.items():
        name, metric = found.numbers[column]
        evaluator, scored = evals.offered()[name], {str(run['path']) for run in runs}
        scored &= {path for row in found.rows for path in row.trained.get(column, {})}
        values = {}
        for run in sorted(runs, key=lambda run: str(run['path'])):
            if str(run['path']) in scored and (rows := rows_of(run, name, metric)) is not None:
                values[run['path']] = rows
        if len({len(rows) for rows in values.values()}) != 1 or len(values) < 2:
            continue
        top = max(values, key=lambda path: (-1 if less else 1) * values[path].mean())
        for path, rows in values.items():
            if path != top:
                mean, error = gain(values[top], rows, evaluator.neighbors, less)
                notes.append(
                    f'{column}, row by row: {top.name} better than {path.name} by'
                    f' {number(mean)} ± {number(1.96 * error)} (these two models, not the methods)'
                )
    return notes


def rows_of(run: Mapping[str, Any], name: str, metric: str) -> Any:
    """The trained model's value of a number at each row, or None: also if the file is of another
    evaluation than the numbers, one that ended before it wrote its own."""
    import numpy as np

    file = run['path'] / 'rows' / f'{name}.npz'
    if not file.is_file():
        return None
    if run['evals'][name].get('rows_sha256', found := sealed.digest(file)) != found:
        return None
    with np.load(file) as rows:
        return rows[metric] if metric in rows else None


def enter(found: Table, row: Row, run: Mapping[str, Any], evaluator: Any, name: str, letter: str):
    """The numbers of one run by one evaluator, in the columns of their protocol."""
    for who, scores in run['evals'][name]['scores'].items():
        for metric, shown in evaluator.shown.items():
            if metric not in scores:
                continue
            column = f'{name} {metric}'.replace('_', ' ')
            column += f' ({letter})' if letter > LETTERS[0] else ''
            found.columns[column] = shown.less
            found.numbers[column] = name, metric
            if who in ('trained', 'untrained'):
                numbers = row.trained if who == 'trained' else row.untrained
                numbers.setdefault(column, {})[str(run['path'])] = scores[metric]
            else:
                found.trivial.setdefault(who, {})[column] = scores[metric]


def read(path: Path) -> dict[str, Any]:
    """A run's numbers and config, and `group`: what all seeds of it share."""
    run = record(path)
    if not (path / 'results.json').is_file():
        raise Mistake(
            f'{path} was not evaluated: it has no results.json;'
            f' type python -m ssljax.evaluate --workdir={path}'
        )
    results = written(path / 'results.json', 'evals')
    config = as_now(run['config'])
    kept = {k: v for k, v in config.items() if k not in (*FREE, 'seed', 'data')}
    kept['data'] = {k: v for k, v in config['data'].items() if k != 'dir'}
    group = json.dumps([kept, run['data']], sort_keys=True)
    facts = {'digest': results.get('checkpoint_sha256'), 'checkpoint': results.get('checkpoint')}
    return {**run, **facts, 'path': path, 'evals': results['evals'], 'group': group}


def as_now(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A config as this version resolves it, so that a run of an earlier one is grouped with it."""
    from ssljax.config import as_json
    from ssljax.resolve import again

    try:
        return as_json(again(config))
    except Mistake:
        return config


def protocol(run: Mapping[str, Any], name: str) -> str:
    """How a number was made, in words: the same for numbers that may be compared."""
    told = {k: v for k, v in run['evals'][name]['protocol'].items() if k != 'picture'}
    parts = [f'{k}={v}' for k, v in told.items()]
    data = run['evals'][name].get('data', run['data'])  # that was read; older results do not say
    decoder = f' by {data["decoder"]}' if data.get('decoder') else ''
    return f'{data["name"]} {data["fingerprint"][:8]}{decoder}, {" ".join(parts)}'


def label(runs: Sequence[Mapping[str, Any]]) -> str:
    """What the names of the workdirs share, without the numbers of seeds."""
    names = [run['path'].resolve().name for run in runs]
    if len(names) == 1:
        return names[0]
    shared = ''.join(c[0] for c in itertools.takewhile(lambda c: len(set(c)) == 1, zip(*names)))
    return shared.rstrip('-_') or runs[0]['config']['method']


def permutation_p(better: Sequence[float], worse: Sequence[float]) -> float:
    """How often the mean of `better` is above that of `worse` by so much, if seeds were dealt to
    the two at random: one-sided, over all partitions (or many drawn)."""
    every, n = [*better, *worse], len(better)
    gap = fmean(better) - fmean(worse)
    total = math.comb(len(every), n)
    if total <= ENOUGH:
        parts = itertools.combinations(range(len(every)), n)
    else:
        draw = random.Random(0)
        parts = (draw.sample(range(len(every)), n) for _ in range(ENOUGH))
        total = ENOUGH
    whole, count = sum(every), 0
    for part in parts:
        mine = sum(every[i] for i in part)
        other = mine / n - (whole - mine) / (len(every) - n)
        count += other >= gap - 1e-12 * max(abs(gap), 1)
    return count / total


def bold(found: Table, column: str) -> list[Row]:
    """The best row of a column, and those that are not told from it."""
    rows = [row for row in found.rows if column in row.trained]
    sign = -1 if found.columns[column] else 1
    numbers = [[sign * v for v in row.trained[column].values()] for row in rows]
    if len(rows) < 2 or max(map(len, numbers)) == 1:
        return []
    first = max(numbers, key=fmean)
    return [
        row
        for row, mine in zip(rows, numbers)
        if mine is first or permutation_p(first, mine) > ALPHA
    ]


def cell(numbers: Numbers, column: str) -> str:
    values = list(numbers.get(column, {}).values())
    if not values:
        return ''
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
        told = [cell(row.untrained, column) for column in found.columns]
        out.append([f'{row.name}, untrained', str(row.seeds), *told])
        marks = [mark if row in marked[column] else '' for column in found.columns]
        told = [m + cell(row.trained, column) + m for m, column in zip(marks, found.columns)]
        out.append([row.name, str(row.seeds), *told])
    return out


def markdown(found: Table) -> str:
    head = ['', 'seeds', *found.columns]
    body = [head, ['---'] * len(head), *lines(found, '**')]
    told = ['| ' + ' | '.join(line) + ' |' for line in body]
    return '\n'.join([*told, '', *found.notes]) + '\n'


def long(found: Table) -> list[list[Any]]:
    """One line per number, for whoever computes further."""
    out: list[list[Any]] = [['run', 'who', 'column', 'workdir', 'value']]
    for who, numbers in found.trivial.items():
        out += [['', who, column, '', value] for column, value in numbers.items()]
    for row in found.rows:
        for who, mine in (('untrained', row.untrained), ('trained', row.trained)):
            for column, values in mine.items():
                out += [[row.name, who, column, path, value] for path, value in values.items()]
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
