"""Trains a config for several seeds and writes the numbers with their protocol:
python benchmarks/seeds.py --config=configs/simclr.py --out=results/simclr.json [--seeds=0,1,2]

Every seed is a run of the training command, and resumes as such. Seeds may be run one after
another, also on several machines, into the same file: those that it has stay, and none that is
finished is run again.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cli, config  # noqa: E402
from ssljax.names import Mistake  # noqa: E402

POINTS = 40  # of the curve that is kept
FACTS = ('data', 'device', 'versions', 'python', 'revision')


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/seeds.py', __doc__)
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument('--seeds', default='0,1,2')
    parser.add_argument(
        '--workdir', type=Path, default=Path('runs'), help='where the runs are kept'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--again', action='store_true', help='evaluate finished seeds again')
    known, rest = parser.parse_known_args(argv)
    changes = cli.overrides(parser, rest)
    from ssljax.log import write_json

    asked = [int(seed) for seed in known.seeds.split(',')]
    old = json.loads(known.out.read_text()) if known.out.exists() else {'seeds': []}
    kept = [finished(known, changes, seed, old) for seed in old['seeds'] if seed not in asked]
    for seed in asked:
        kept.append(run(known.config, changes, seed, place(known, seed), again=known.again))
    write_json(known.out, summary(known.config, sorted(kept, key=lambda r: r['seed'])))
    print(known.out)
    return 0


def place(known: Any, seed: int) -> Path:
    return known.workdir.absolute() / f'{known.out.stem}-{seed}'


def settings(name: str, changes: list, seed: int) -> dict:
    """The resolved config of a seed; which options of evaluators it has is part of it."""
    from ssljax import resolve

    return config.as_json(resolve.resolve(name, [*changes, ('seed', str(seed))]))


def elsewhere(settings: dict) -> dict:
    """A config without its seed, and without the folder of the data, as another machine has it."""
    kept = {k: v for k, v in settings.items() if k not in ('seed', 'data')}
    return kept | {'data': {k: v for k, v in settings['data'].items() if k != 'dir'}}


def finished(known: Any, changes: list, seed: int, old: dict) -> dict:
    """The record of a seed that the file has: that of its workdir, else what the file says."""
    path, whole = place(known, seed) / 'seed.json', settings(known.config, changes, seed)
    record = json.loads(path.read_text()) if path.exists() else apart(old, seed)
    if 'config' not in record or elsewhere(record['config']) != elsewhere(whole):
        raise Mistake(
            f'{known.out} has seed {seed}, but of another config, or of a version that did not'
            f' write the config; type --seeds={seed},{known.seeds} to run it again, or give'
            ' another --out'
        )
    return record


def apart(old: dict, seed: int) -> dict:
    """The record of one seed, from the summary of several."""
    if 'config' not in old:
        return {}
    i = old['seeds'].index(seed)
    its = {name: old['disagree'].get(name, [old[name]] * (i + 1))[i] for name in FACTS}
    evals = {}
    for name, one in old['evals'].items():
        scores = {
            who: {metric: number['values'][i] for metric, number in numbers.items()}
            for who, numbers in one['scores'].items()
        }
        evals[name] = {'protocol': one['protocol'], 'scores': scores}
    minutes = {name: of_seeds[i] for name, of_seeds in old['minutes'].items()}
    cost = {'minutes': minutes.pop('whole'), 'cpu_minutes': minutes.pop('cpu')}
    return {
        'seed': seed,
        'config': old['config'] | {'seed': seed},
        'results': {
            'evals': evals,
            'device': its.pop('device'),
            'minutes': minutes,
            **{name: old[name][i] for name in ('examples_seen', 'training_cpu_seconds')},
        },
        'run': {**its, 'overrides': old['overrides'], 'config': old['config']},
        'curve': old['curve'] if i == 0 else [],
        'last': {
            turn: {metric: number['values'][i] for metric, number in numbers.items()}
            for turn, numbers in old.get('last', {}).items()
        },
        'told': old['told'][i],
        'spent': [cost | {'megabytes': old['peak_megabytes'][i]}],
    }


def run(name: str, changes: list, seed: int, workdir: Path, *, again: bool = False) -> dict:
    """One seed of a config, in a process of its own: what its workdir says, and what it cost.

    A seed that is finished is not trained again, and evaluated only `again`, or if the evaluators'
    options are others now; it costs what it cost. One that was stopped goes on.
    """
    from ssljax.log import write_json

    whole, path = settings(name, changes, seed), workdir / 'seed.json'
    record = json.loads(path.read_text()) if path.exists() else {'spent': []}
    if record.get('config') == whole and not again:
        print(f'{workdir}: finished before; --again evaluates it again', flush=True)
        return record
    flags = [f'--config.{field}={value}' for field, value in changes]
    flags = [f'--config={name}', f'--workdir={workdir}', *flags, f'--config.seed={seed}']
    code, cost = call(['-m', 'ssljax.train', *flags])
    if 'config' not in record:
        record['spent'].append(cost)
    if code:
        if (workdir / 'run.json').exists():
            write_json(path, record)
        raise SystemExit(code)
    record |= {
        'seed': seed,
        'config': whole,
        'results': json.loads((workdir / 'results.json').read_text()),
        'run': json.loads((workdir / 'run.json').read_text()),
        'curve': curve(workdir / 'metrics.jsonl'),
        'last': last(workdir / 'metrics.jsonl'),
        'told': told(workdir / 'metrics.jsonl'),
    }
    write_json(path, record)
    return record


def call(words: list[str]) -> tuple[int, dict[str, float]]:
    """Runs Python in a process of its own: its exit code and what it cost."""
    began = time.perf_counter()
    path = {**os.environ, 'PYTHONPATH': str(ROOT)}
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=path)
    _, status, usage = os.wait4(process.pid, 0)  # this process's own, not the greatest so far
    cost = {
        'minutes': (time.perf_counter() - began) / 60,
        'cpu_minutes': (usage.ru_utime + usage.ru_stime) / 60,
        'megabytes': usage.ru_maxrss / (1024 if sys.platform == 'linux' else 1024**2),
    }
    return os.waitstatus_to_exitcode(status), cost


def curve(path: Path) -> list[dict]:
    """Losses and measures of collapse while training."""
    kinds = ('/loss', '/rank', '/spread')
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keep = [{k: v for k, v in line.items() if k == 'step' or k.endswith(kinds)} for line in lines]
    keep = [line for line in keep if len(line) > 1]
    return keep[:: max(len(keep) // POINTS, 1)]


def last(path: Path) -> dict[str, dict[str, float]]:
    """What each turn said in the last line of training: turn -> metric -> value."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    of_training = [line for line in lines if any(k.endswith('/loss') for k in line)]
    found: dict[str, dict[str, float]] = {}
    for name, value in of_training[-1].items() if of_training else ():
        turn, _, metric = name.partition('/')
        if metric:
            found.setdefault(turn, {})[metric] = value
    return found


def told(path: Path) -> list[dict]:
    """What refreshes did and what evaluators said while training."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if not k.endswith('seconds')}
        for line in lines
        if not any(k.endswith('/loss') for k in line)
    ]


def facts(record: dict) -> dict:
    """Of a seed: its data, and the machine and versions that trained it."""
    return {name: record['results' if name == 'device' else 'run'][name] for name in FACTS}


def shared(dicts: Iterable[dict]) -> list[str]:
    """The keys that all have, in the order of the first."""
    first, *others = dicts
    return [key for key in first if all(key in other for other in others)]


def summary(name: str, runs: list[dict]) -> dict:
    """Mean and standard deviation over seeds of every number; machine and versions of the first,
    and under `disagree` what is not the same for all."""
    first, found = runs[0]['run'], [r['results']['evals'] for r in runs]
    evals = {}
    for evaluator in shared(found):
        scores = {}
        for who in shared(one[evaluator]['scores'] for one in found):
            numbers = [one[evaluator]['scores'][who] for one in found]
            scores[who] = {}
            for metric in shared(numbers):
                values = [one[metric] for one in numbers]
                if isinstance(values[0], list):  # an interval is of one run: in its results.json
                    continue
                spread = stdev(values) if len(values) > 1 else 0.0
                scores[who][metric] = {'mean': fmean(values), 'sd': spread, 'values': values}
        evals[evaluator] = {'protocol': found[0][evaluator]['protocol'], 'scores': scores}
    cost = {name: [[c[name] for c in r['spent']] for r in runs] for name in runs[0]['spent'][0]}
    ends = [r.get('last', {}) for r in runs]
    of_runs = [facts(r) for r in runs]
    every = {name: [fact[name] for fact in of_runs] for name in FACTS}
    return {
        'command': f'python -m ssljax.train --config={name}',
        'overrides': {k: v for k, v in first['overrides'].items() if k not in ('seed', 'data.dir')},
        'seeds': [r['seed'] for r in runs],
        'method': first['config']['method'],
        'steps': first['config']['steps'],
        'batch': first['config']['batch'],
        'config': elsewhere(runs[0]['config']),
        **of_runs[0],
        'disagree': {
            k: values for k, values in every.items() if any(v != values[0] for v in values)
        },
        'examples_seen': [r['results']['examples_seen'] for r in runs],
        'training_cpu_seconds': [r['results']['training_cpu_seconds'] for r in runs],
        'minutes': {
            'training': [r['results']['minutes']['training'] for r in runs],
            'training_cpu': [r['results']['minutes']['training_cpu'] for r in runs],
            'whole': [round(sum(parts), 2) for parts in cost['minutes']],
            'cpu': [round(sum(parts), 2) for parts in cost['cpu_minutes']],
        },
        'peak_megabytes': [round(max(parts)) for parts in cost['megabytes']],
        'evals': evals,
        'curve': runs[0]['curve'],
        'last': {
            turn: {
                metric: {'values': [one[turn][metric] for one in ends]}
                for metric in shared(one[turn] for one in ends)
            }
            for turn in shared(ends)
        },
        'told': [r.get('told', []) for r in runs],
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
