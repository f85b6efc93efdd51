"""Writes the tables of README and docs from results/: python benchmarks/tables.py [--check]"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import evals  # noqa: E402

PAGES = ('README.md', 'docs/evaluation.md', 'docs/faults.md', 'docs/losses.md', 'docs/results.md')
DECIMALS = {
    'accuracy': 1, 'accuracy_k200': 1, 'accuracy_whitened': 1, 'accuracy_k200_whitened': 1,
    'frechet': 1, 'nats_per_character': 3, 'nmi': 3, 'purity': 3, 'removed': 3,
    'mse': 4, 'entropy': 3,
}  # fmt: skip
FIRST = ('knn', 'density', 'samples')  # the evaluator whose number stands for a run
# what is said of features: evaluator -> number -> its name; of all of them more is better
FEATURES = {
    'knn': {
        'accuracy': 'k-NN, k = {k}',
        'accuracy_k200': 'k-NN, k = 200',
        'accuracy_whitened': 'k-NN, k = {k}, whitened',
        'accuracy_k200_whitened': 'k-NN, k = 200, whitened',
    },
    'linear_probe': {'accuracy': 'linear probe'},
    'cluster': {'nmi': 'clusters, NMI', 'purity': 'clusters, purity'},
    'reconstruction': {'removed': 'reconstruction, share removed'},
}


def runs() -> Iterator[tuple[str, dict]]:
    """What seeds.py wrote, by name."""
    for path in sorted((ROOT / 'results').glob('*.json')):
        found = json.loads(path.read_text())
        if 'evals' in found:
            yield path.stem, found


def results() -> str:
    """A row per run, of its first number: trivial baselines, untrained, trained; mean and sd."""
    lines = [
        '| run | number | trivial | untrained | **trained** | seeds | minutes (of CPU) |',
        '|' + '---|' * 7,
    ]
    for run, found in runs():
        name = next(name for name in (*FIRST, *found['evals']) if name in found['evals'])
        metric, minutes = evals.module(name).SHOWN[0], found['minutes']
        scores = found['evals'][name]['scores'].items()
        values = {who: s[metric]['values'] for who, s in scores if metric in s}
        told = partial(spread, digits=DECIMALS.get(metric, 2))
        untrained, trained = (told(values.pop(who)) for who in ('untrained', 'trained'))
        trivial = ', '.join(f'{who} {told(v)}' for who, v in values.items())
        lines.append(
            f'| `{run}` | {name} {metric.replace("_", " ")} | {trivial} | {untrained}'
            f' | **{trained}** | {len(found["seeds"])}'
            f' | {fmean(minutes["whole"]):.0f} ({fmean(minutes["cpu"]):.0f}) |'
        )
    return '\n'.join(lines)


def features() -> str:
    """A row per number that compares features: means, deviations and the least gain over seeds."""
    lines = [
        '| run | number | trivial | untrained | **trained** | gain | least gain |',
        '|' + '---|' * 7,
    ]
    for run, found in runs():
        for name, titles in FEATURES.items():
            result = found['evals'].get(name, {'scores': {}})
            for metric, title in titles.items():
                scores = {
                    w: s[metric]['values'] for w, s in result['scores'].items() if metric in s
                }
                if not {'trained', 'untrained'} <= scores.keys():
                    continue
                told = partial(spread, digits=DECIMALS.get(metric, 2))
                gains = [a - b for a, b in zip(scores['trained'], scores['untrained'])]
                models = {who: scores.pop(who) for who in ('untrained', 'trained')}
                trivial = ', '.join(f'{who} {told(values)}' for who, values in scores.items())
                lines.append(
                    f'| `{run}` | {title.format(**result["protocol"])} | {trivial}'
                    f' | {told(models["untrained"])} | **{told(models["trained"])}**'
                    f' | {told(gains)} | {told([min(gains)])} |'
                )
    return '\n'.join(lines)


def mask_ratio() -> str:
    """A row per masking ratio, and what stands beside them."""
    path = ROOT / 'results' / 'mae-mask-ratio.json'
    found = json.loads(path.read_text())
    lines = ['| ratio | linear | fine-tuned | removed | CPU minutes |', '|' + '---|' * 5]
    for row in found['mask_ratio']:
        lines.append(
            f'| {row["ratio"]:.2f} | {row["linear"]:.1f} | {row["fine-tuned"]:.1f}'
            f' | {row["removed"]:.2f} | {row["cpu_minutes"]:.1f} |'
        )
    beside = '; '.join(f'{name} {value:.1f}' for name, value in found['beside'].items())
    return '\n'.join([*lines, '', f'Beside: {beside}.'])


def costs() -> str:
    """A row per run of FEATURES: how much it saw, and in what time."""
    lines = ['| run | seeds | examples seen | CPU seconds of training | k-NN bank | probe rows |']
    lines.append('|' + '---|' * 6)
    for run, found in runs():
        if not found['evals'].keys() & FEATURES.keys():
            continue
        seen = round(fmean(found.get('examples_seen', [found['steps'] * found['batch']])))
        cpu = [60 * minutes for minutes in found['minutes']['training_cpu']]
        rows = [
            str(round(number['mean'])) if number else '-'
            for number in (
                found['evals'].get(name, {}).get('scores', {}).get('trained', {}).get(metric)
                for name, metric in (('knn', 'bank'), ('linear_probe', 'train'))
            )
        ]
        cpu = spread(found.get('training_cpu_seconds', cpu), digits=0)
        lines.append(f'| `{run}` | {len(found["seeds"])} | {seen} | {cpu} | {" | ".join(rows)} |')
    return '\n'.join(lines)


def spread(values: Sequence[float], *, digits: int) -> str:
    """Mean ± standard deviation, the latter where it says something."""
    told = f'{fmean(values):.{digits}f}'
    if len(values) > 1 and (sd := f'{stdev(values):.{digits}f}') != f'{0:.{digits}f}':
        told += f' ± {sd}'
    return told


def faults() -> str:
    path = ROOT / 'results' / 'faults.json'
    found = json.loads(path.read_text())['faults'] if path.exists() else []
    lines = ['| fault | file | caught by |', '|' + '---|' * 3]
    for row in found:
        test = f'`{row["test"]}`' if row['test'] else '**nothing**'
        lines.append(f'| {row["fault"]} | `{row["file"]}` | {test} |')
    return '\n'.join(lines)


def read(name: str) -> dict:
    return json.loads((ROOT / 'results' / f'{name}.json').read_text())


def meshes() -> str:
    """A row per loss of a set: how far each way of cutting the batch is from the plain call."""
    found = read('meshes')
    ways = [way for way in found['losses'][0] if way not in ('loss', 'gradient')]
    lines = ['| loss | ' + ' | '.join(ways) + ' |', '|' + '---|' * (len(ways) + 1)]
    for row in found['losses']:
        cells = []
        for way in ways:
            slope = row[way]['gradient']
            told = f'{row[way]["value"]:.0e}' + ('' if slope is None else f', {slope:.0e}')
            cells.append(told)
        lines.append(f'| `{row["loss"]}` | ' + ' | '.join(cells) + ' |')
    return '\n'.join([*lines, '', f'jax {found["jax"]}, {found["devices"]} simulated devices.'])


def parity() -> str:
    """A row per pair of implementations."""
    found = read('parity')
    lines = ['| loss | beside | value | gradient | note |', '|' + '---|' * 5]
    for row in found['pairs']:
        slope = '-' if row['gradient'] is None else f'{row["gradient"]:.0e}'
        note = row['note'] if row['agrees'] else f'**differs**: {row["note"]}'
        lines.append(
            f'| `{row["loss"]}` | {row["package"]} {row["version"]}, {row["what"]}'
            f' | {row["value"]:.0e} | {slope} | {note} |'
        )
    return '\n'.join([*lines, '', f'jax {found["jax"]}.'])


def pairs(name: str) -> str:
    """A row per loss and N: seconds, over those of the dense form, and megabytes, by form."""
    found = read(name)
    forms = list(dict.fromkeys(row['form'] for row in found['losses']))
    lines = ['| loss | N | ' + ' | '.join(forms) + ' |', '|' + '---|' * (len(forms) + 2)]
    for loss, n in dict.fromkeys((row['loss'], row['n']) for row in found['losses']):
        mine = {r['form']: r for r in found['losses'] if (r['loss'], r['n']) == (loss, n)}
        cells = [
            f'{mine[form]["seconds"]:.3g} s ({mine[form]["ratio"]:.2f}),'
            f' {mine[form]["megabytes"]:.0f} MB'
            if form in mine
            else ''
            for form in forms
        ]
        lines.append(f'| `{loss}` | {n} | ' + ' | '.join(cells) + ' |')
    told = ', '.join(f'{name} {version}' for name, version in found['versions'].items())
    return '\n'.join([*lines, '', f'{found["device"]}, {found["cores"]} cores; {told}.'])


def large_batch() -> str:
    found = read('large-batch-h100')
    lines = ['| batch | temporary memory | examples per second |', '|' + '---|' * 3]
    for row in found['rows']:
        memory, rate = row['temporaries_megabytes'], row['examples_per_second']
        lines.append(f'| {row["form"]} | {memory:.0f} MB | {rate:.0f} |')
    return '\n'.join([*lines, '', f'{found["encoder"]}, {found["dtype"]}, {found["device"]}.'])


def step_torch() -> str:
    found = read('step-torch-h100')
    lines = ['| step | examples per second | time over the best of torch |', '|' + '---|' * 3]
    for form, rate in found['examples_per_second'].items():
        ratio = found['ratio_to_best_torch'][form]
        lines.append(f'| {form} | {rate:.0f} | {ratio:.2f} |')
    told = ', '.join(f'{name} {version}' for name, version in found['versions'].items())
    told = f'{found["device"]}; batch {found["batch"]}, {found["dtype"]}; {told}.'
    return '\n'.join([*lines, '', told])


def eval_speed() -> str:
    found = read('eval')
    lines = ['| task | by | seconds | ours over it | extra memory | accuracy |', '|' + '---|' * 6]
    for row in found['rows']:
        lines.append(
            f'| {row["task"].replace("_", " ")} | {row["form"]} | {row["seconds"]:.2f}'
            f' | {row["ratio"]:.2f} | {row["megabytes"]:.0f} MB | {row["accuracy"]:.2f} |'
        )
    told = ', '.join(f'{name} {version}' for name, version in found['versions'].items())
    rows = f'{found["bank"]} bank rows, {found["queries"]} queries, {found["dim"]} features'
    rows += f'; probe on {found["train"]} rows; {found["device"]}, {found["cores"]} cores'
    return '\n'.join([*lines, '', f'{rows}; {told}.'])


def protocol() -> str:
    """A row per protocol, a column per method, and how its order agrees with the default's."""
    found = read('protocol')
    methods = list(found['rows'][0]['methods'])
    lines = ['| protocol | ' + ' | '.join(methods) + ' | order (tau) |']
    lines.append('|' + '---|' * (len(methods) + 2))
    for row in found['rows']:
        cells = [spread(row['methods'][m]['values'], digits=1) for m in methods]
        lines.append(f'| {row["protocol"]} | ' + ' | '.join(cells) + f' | {row["tau"]:.2f} |')
    rows = f'{found["bank"]} bank rows, {found["queries"]} test rows of {found["data"]["name"]}'
    return '\n'.join([*lines, '', f'{rows}; three seeds each.'])


def fine_tune() -> str:
    """A row per switch, a column per encoder and number of labels."""
    found = read('fine-tune')
    heads = list(dict.fromkeys((r['encoder'], r['labels']) for r in found['rows']))
    lines = ['| | ' + ' | '.join(f'{e}, {n} labels' for e, n in heads) + ' |']
    lines.append('|' + '---|' * (len(heads) + 1))
    for switch in dict.fromkeys(row['switch'] for row in found['rows']):
        mine = {(r['encoder'], r['labels']): r for r in found['rows'] if r['switch'] == switch}
        cells = [
            f'{mine[h]["accuracy"]:.1f} ± {mine[h]["standard_error"]:.1f}' if h in mine else ''
            for h in heads
        ]
        lines.append(f'| {switch} | ' + ' | '.join(cells) + ' |')
    return '\n'.join([*lines, '', f'{found["steps"]} steps of 128; ±: of the test rows.'])


TABLES = {
    'eval_speed': eval_speed,
    'protocol': protocol,
    'fine_tune': fine_tune,
    'meshes': meshes,
    'parity': parity,
    'pairs_cpu': partial(pairs, 'losses'),
    'pairs_gpu': partial(pairs, 'losses-h100'),
    'large_batch': large_batch,
    'step_torch': step_torch,
    'results': results,
    'features': features,
    'mask_ratio': mask_ratio,
    'costs': costs,
    'faults': faults,
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
