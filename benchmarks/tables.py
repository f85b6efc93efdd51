"""Writes the tables of README and docs from results/: python benchmarks/tables.py [--check]"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    api,
    coverage,
    dino_table,
    dino_traces,
    plans,
    simclr_v2,
    speed_tables,
    sweep_tables,
)
from ssljax import evals  # noqa: E402

PAGES = (
    'README.md', 'docs/api-losses.md', 'docs/dino.md', 'docs/evaluation.md', 'docs/faults.md',
    'docs/losses.md', 'docs/plans.md', 'docs/results.md', 'docs/speed.md', 'docs/sweeps.md',
    'docs/table.md',
)  # fmt: skip
# the evaluators whose numbers compare features, or what a model makes of them
FEATURES = ('knn', 'linear_probe', 'cluster', 'reconstruction')
FIRST = ('knn', 'perplexity', 'samples')  # the evaluator whose number stands for a run


def shown(name: str, metric: str) -> evals.Shown:
    """How a number of an evaluator is shown."""
    return evals.offered()[name].shown.get(metric, evals.Shown(decimals=2))


def runs() -> Iterator[tuple[str, dict]]:
    """What seeds.py wrote, by name."""
    for path in sorted((ROOT / 'results').glob('*.json')):
        found = json.loads(path.read_text())
        if 'evals' in found:
            yield path.stem, found


def read(name: str) -> dict:
    return json.loads((ROOT / 'results' / f'{name}.json').read_text())


def grid(head: Sequence[str], rows: Iterable[Sequence[str]], below: str = '') -> str:
    """A table in Markdown, and a line below it."""
    body = [head, ['---'] * len(head), *rows]
    lines = ['|' + '|'.join(row) + '|' if row[0] == '---' else told(row) for row in body]
    return '\n'.join([*lines, *(['', below] if below else [])])


def told(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'


def versions(found: dict) -> str:
    return ', '.join(f'{name} {version}' for name, version in found['versions'].items())


def results() -> str:
    """A row per run, of its first number: trivial baselines, untrained, trained; mean and sd."""

    def row(run: str, found: dict) -> list[str]:
        name = next(name for name in (*FIRST, *found['evals']) if name in found['evals'])
        metric, minutes = evals.offered()[name].first, found['minutes']
        scores = found['evals'][name]['scores'].items()
        values = {who: s[metric]['values'] for who, s in scores if metric in s}
        short = partial(spread, digits=shown(name, metric).decimals)
        untrained, trained = (short(values.pop(who)) for who in ('untrained', 'trained'))
        return [
            f'`{run}`',
            f'{name} {metric.replace("_", " ")}',
            ', '.join(f'{who} {short(v)}' for who, v in values.items()),
            untrained,
            f'**{trained}**',
            str(len(found['seeds'])),
            f'{fmean(minutes["whole"]):.0f} ({fmean(minutes["cpu"]):.0f})',
        ]

    head = ['run', 'number', 'trivial', 'untrained', '**trained**', 'seeds', 'minutes (of CPU)']
    return grid(head, (row(run, found) for run, found in runs()))


def features() -> str:
    """A row per number that compares features: means, deviations and the least gain over seeds."""
    rows = []
    for run, found in runs():
        for name, metric, title in numbers(found):
            result = found['evals'][name]
            scores = {w: s[metric]['values'] for w, s in result['scores'].items() if metric in s}
            if not {'trained', 'untrained'} <= scores.keys():
                continue
            short = partial(spread, digits=shown(name, metric).decimals)
            sign = -1 if shown(name, metric).less else 1
            gains = [sign * (a - b) for a, b in zip(scores['trained'], scores['untrained'])]
            models = {who: scores.pop(who) for who in ('untrained', 'trained')}
            trivial = ', '.join(f'{who} {short(values)}' for who, values in scores.items())
            row = [f'`{run}`', title.format(**result['protocol']), trivial]
            row += [short(models['untrained']), f'**{short(models["trained"])}**']
            rows.append([*row, short(gains), short([min(gains)])])
    head = ['run', 'number', 'trivial', 'untrained', '**trained**', 'gain', 'least gain']
    return grid(head, rows)


def numbers(found: dict) -> Iterator[tuple[str, str, str]]:
    """Evaluator, number and its title, of the FEATURES that a run has."""
    for name in FEATURES:
        if name in found['evals']:
            for metric, how in evals.offered()[name].shown.items():
                yield name, metric, how.title or f'{name} {metric}'.replace('_', ' ')


def mask_ratio() -> str:
    """A row per masking ratio, and what stands beside them."""
    found = read('mae-mask-ratio')
    digits = {'ratio': 2, 'linear': 1, 'fine-tuned': 1, 'removed': 2, 'cpu_minutes': 1}
    rows = [[f'{row[k]:.{n}f}' for k, n in digits.items()] for row in found['mask_ratio']]
    beside = '; '.join(f'{name} {value:.1f}' for name, value in found['beside'].items())
    head = [name.replace('cpu_', 'CPU ') for name in digits]
    return grid(head, rows, f'Beside: {beside}.')


def costs() -> str:
    """A row per run of FEATURES: how much it saw, and in what time."""

    def row(run: str, found: dict) -> list[str]:
        seen = round(fmean(found.get('examples_seen', [found['steps'] * found['batch']])))
        cpu = [60 * minutes for minutes in found['minutes']['training_cpu']]
        used = [
            str(round(number['mean'])) if number else '-'
            for number in (
                found['evals'].get(name, {}).get('scores', {}).get('trained', {}).get(metric)
                for name, metric in (('knn', 'bank'), ('linear_probe', 'train'))
            )
        ]
        cpu = spread(found.get('training_cpu_seconds', cpu), digits=0)
        return [f'`{run}`', str(len(found['seeds'])), str(seen), cpu, *used]

    head = ['run', 'seeds', 'examples seen', 'CPU seconds of training', 'k-NN bank', 'probe rows']
    return grid(head, (row(*one) for one in runs() if one[1]['evals'].keys() & set(FEATURES)))


def spread(values: Sequence[float], *, digits: int) -> str:
    """Mean ± standard deviation, the latter where it says something."""
    short = f'{fmean(values):.{digits}f}'
    if len(values) > 1 and (sd := f'{stdev(values):.{digits}f}') != f'{0:.{digits}f}':
        short += f' ± {sd}'
    return short


def first_error(line: dict[str, float]) -> float | None:
    return next((v for k, v in line.items() if k.endswith('error')), None)


def rounds() -> str:
    """Of runs that label their own rows: a row per step at which the error was measured, labels
    were made, or both, in this order."""
    rows = []
    for name, found in runs():
        told = [line for seed in found.get('told', ()) for line in seed]
        if not any('purity' in line for line in told):
            continue
        for step in sorted({line['step'] for line in told}):
            here = [line for line in told if line['step'] == step]
            error = [v for line in here if (v := first_error(line)) is not None]
            shares = [[100 * line[k] for line in here if k in line] for k in ('accepted', 'purity')]
            cells = [spread(s, digits=1) if s else '' for s in (error, *shares)]
            rows.append([f'`{name}`', f'{step:,}', *cells])
    return grid(['run', 'step', 'validation error', 'then accepted', 'of these right'], rows)


def faults() -> str:
    """A row per fault that was planted in the program that is here."""
    found = read('faults')
    rows = [
        [
            row['fault'],
            f'`{row["file"]}`',
            f'`{row["test"]}`' if row['test'] else f'**nothing** {row.get("why", "")}'.strip(),
        ]
        for row in found['faults']
    ]
    below = ''
    if (planted := found.get('planted', len(rows))) > len(rows):
        below = (
            f'{len(rows)} of {planted} faults of `tests/faults.toml`: the program of the others has'
            ' changed since they were judged, or they are new.'
        )
    return grid(['fault', 'file', 'caught by'], rows, below)


def meshes() -> str:
    """A row per loss of a set: how far each way of cutting the batch is from the plain call."""
    found = read('meshes')
    ways = [way for way in found['losses'][0] if way not in ('loss', 'gradient')]

    def apart(one: dict) -> str:
        slope = '' if one['gradient'] is None else f', {one["gradient"]:.0e}'
        return f'{one["value"]:.0e}{slope}'

    rows = [[f'`{row["loss"]}`', *(apart(row[way]) for way in ways)] for row in found['losses']]
    below = f'jax {found["jax"]}, {found["devices"]} simulated devices.'
    return grid(['loss', *ways], rows, below)


def parity() -> str:
    """A row per pair of implementations."""
    found = read('parity')
    rows = [
        [
            f'`{row["loss"]}`',
            f'{row["package"]} {row["version"]}, {row["what"]}',
            f'{row["value"]:.0e}',
            '-' if row['gradient'] is None else f'{row["gradient"]:.0e}',
            row['note'] if row['agrees'] else f'**differs**: {row["note"]}',
        ]
        for row in found['pairs']
    ]
    return grid(['loss', 'beside', 'value', 'gradient', 'note'], rows, f'jax {found["jax"]}.')


def peer_tests() -> str:
    """Per library: how many of its own tests pass over ours, and why the others cannot."""
    found = read('peer-tests')
    rows = []
    for peer, one in found.items():
        apart = '; '.join(f'{n}: {why}' for why, n in one['apart'].items())
        rows.append(
            [f'{peer} {one["version"]}', str(one['passed']), str(len(one['failed'])), apart]
        )
    below = f'jax {", ".join(dict.fromkeys(one["jax"] for one in found.values()))}.'
    return grid(['library', 'pass', 'fail', 'left out, and why'], rows, below)


def pairs(name: str) -> str:
    """A row per loss and N: seconds, over those of the dense form, and megabytes, by form."""
    found = read(name)
    forms = list(dict.fromkeys(row['form'] for row in found['losses']))
    cells: dict[tuple, dict] = {}
    for row in found['losses']:
        ratio = '' if row['ratio'] is None else f' ({row["ratio"]:.2f})'
        cells.setdefault((row['loss'], row['n']), {})[row['form']] = (
            f'{row["seconds"]:.3g} s{ratio}, {row["megabytes"]:.0f} MB'
        )
    rows = [
        [f'`{loss}`', str(n), *(mine.get(form, '') for form in forms)]
        for (loss, n), mine in cells.items()
    ]
    below = f'{found["device"]}, {found["cores"]} cores; {versions(found)}{noted(found)}.'
    return grid(['loss', 'N', *forms], rows, below)


def noted(found: dict) -> str:
    return f'; {found["note"]}' if 'note' in found else ''


def large_batch() -> str:
    found = read('large-batch-h100')
    rows = [
        [r['form'], f'{r["temporaries_megabytes"]:.0f} MB', f'{r["examples_per_second"]:.0f}']
        for r in found['rows']
    ]
    below = f'{found["encoder"]}, {found["dtype"]}, {found["device"]}{noted(found)}.'
    return grid(['batch', 'temporary memory', 'examples per second'], rows, below)


def step_torch() -> str:
    found = read('step-torch-h100')
    rows = [
        [form, f'{rate:.0f}', f'{found["ratio_to_best_torch"][form]:.2f}']
        for form, rate in found['examples_per_second'].items()
    ]
    below = f'{found["device"]}; batch {found["batch"]}, {found["dtype"]}; {versions(found)}.'
    return grid(['step', 'examples per second', 'time over the best of torch'], rows, below)


def eval_speed() -> str:
    found = read('eval')
    rows = [
        [
            row['task'].replace('_', ' '),
            row['form'],
            f'{row["seconds"]:.2f}',
            f'{row["ratio"]:.2f}',
            f'{row["megabytes"]:.0f} MB',
            f'{row["accuracy"]:.2f}',
        ]
        for row in found['rows']
        if 'accuracy' in row
    ]
    below = f'{found["bank"]} bank rows, {found["queries"]} queries, {found["dim"]} features;'
    below += f' probe on {found["train"]} rows; {found["device"]}, {found["cores"]} cores;'
    head = ['task', 'by', 'seconds', 'ours over it', 'extra memory', 'accuracy']
    return grid(head, rows, f'{below} {versions(found)}.')


def protocol() -> str:
    """A row per protocol, a column per method, and how its order agrees with the default's."""
    found = read('protocol')
    kinds = {run['method']: run['baseline'] for run in found['runs'].values()}
    methods = sorted(kinds, key=lambda method: (kinds[method], method))  # who learned nothing: last
    rows = [
        [
            row['protocol'],
            *(spread(of[m]['values'], digits=1) if m in of else '' for m in methods),
            f'{row["tau"]:.2f}',
        ]
        for row in found['rows']
        for of in [row['methods']]
    ]
    counts = Counter(run['method'] for run in found['runs'].values() if not run['baseline'])
    below = f'{found["bank"]} bank rows, {found["queries"]} test rows of {found["data"]["name"]};'
    below += f' seeds: {", ".join(map(str, sorted(set(counts.values()))))}; of a baseline, 1.'
    return grid(['protocol', *methods, 'order (tau)'], rows, below)


def fine_tune() -> str:
    """A row per method and number of labels, a column per switch."""
    found = read('fine-tune')
    cells: dict[tuple, dict] = {}
    for row in found['rows']:
        mine = cells.setdefault((row['method'], row['labels']), {})
        mine.setdefault(row['switch'], []).append(row['accuracy'])
    switches = list(dict.fromkeys(switch for mine in cells.values() for switch in mine))
    rows = [
        [method, str(labels), *(spread(mine[s], digits=1) if s in mine else '' for s in switches)]
        for (method, labels), mine in sorted(cells.items())
    ]
    seeds = sorted({len(values) for mine in cells.values() for values in mine.values()})
    below = f'{found["steps"]} steps of 128 on {found["data"]}, {found["device"]};'
    return grid(
        ['method', 'labels', *switches], rows, f'{below} seeds: {", ".join(map(str, seeds))}.'
    )


LOOKS = {  # what is learned -> its run
    'colors, from labels': 'classifier-scenes',
    'DINO': 'dino-scenes',
    'DINO, crops of 0.7 of the scene and more, less jitter': 'dino-scenes-wide',
    'DINO, crops of half the scene and more, gray, more jitter': 'dino-scenes-gray',
    'DINO, another random field over each view': 'dino-scenes-ink',
}


def looks() -> str:
    """Of each net, whether the class token looks at the letter: Jaccard in percent, a head each."""
    rows = []
    for title, name in LOOKS.items():
        scores = read(name)['evals']['segmentation']['scores']
        told = [
            ' / '.join(f'{scores[who][k]["mean"]:.1f}' for k in ('jaccard', 'jaccard_best_head'))
            for who in ('untrained', 'trained')
        ]
        rows.append([title, str(read(name)['steps']), *told])
    middle = scores['center']['jaccard']['mean']
    below = f'Best head of all scenes / of each scene. A square in the middle: {middle:.1f}.'
    return grid(['what is learned', 'steps', 'untrained', 'trained'], rows, below)


def whole(made: Callable[[], tuple[Sequence[str], Iterable[Sequence[str]]]]) -> str:
    """A table that its command makes: its head and its rows."""
    return grid(*made())


TABLES = {
    'eval_speed': eval_speed,
    'protocol': protocol,
    'fine_tune': fine_tune,
    'meshes': meshes,
    'parity': parity,
    'peer_tests': peer_tests,
    'pairs_cpu': partial(pairs, 'losses'),
    'pairs_gpu': partial(pairs, 'losses-h100'),
    'large_batch': large_batch,
    'step_torch': step_torch,
    'results': results,
    'rounds': rounds,
    'families': coverage.families,
    'dino_table_conv': partial(dino_table.table, 'conv'),
    'dino_table_vit': partial(dino_table.table, 'vit'),
    'dino_traces': dino_traces.table,
    'simclr_v2': simclr_v2.table,
    'plans_large': partial(whole, plans.large),
    'plans_compiled': partial(whole, plans.compiled),
    'features': features,
    'looks': looks,
    'mask_ratio': mask_ratio,
    'costs': costs,
    'faults': faults,
    'api_losses': api.losses,
    'speed': speed_tables.summary,
    'speed_rows': partial(speed_tables.all_rows, speed_tables.CPU),
    'speed_scale': partial(speed_tables.all_rows, ['speed-scale']),
    'speed_gpu': speed_tables.gpu,
    **{name: partial(whole, made) for name, made in sweep_tables.TABLES.items()},
}


def written(text: str) -> str:
    """A page with its tables made anew, between <!-- NAME --> and <!-- end -->."""

    def table(match: re.Match) -> str:
        return f'<!-- {match[1]} -->\n{TABLES[match[1]]()}\n<!-- end -->'

    return re.sub(r'<!-- (\w+) -->\n.*?<!-- end -->', table, text, flags=re.S)


def main() -> int:
    stale = []
    for page in PAGES:
        path = ROOT / page
        old = path.read_text()
        if (new := written(old)) != old:
            stale.append(page)
            if '--check' not in sys.argv:
                path.write_text(new)
    if '--check' in sys.argv and stale:
        print(f'not what results/ says: {", ".join(stale)}; type python benchmarks/tables.py')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
