"""Trains a config for several seeds and writes the numbers with their protocol:
python benchmarks/seeds.py --config=configs/simclr.py --out=results/simclr.json [--seeds=0,1,2]

Every seed is a run of the training command, and resumes as such.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cli  # noqa: E402
from ssljax.log import write_json  # noqa: E402

POINTS = 40  # of the curve that is kept


def main() -> int:
    parser = cli.parser('benchmarks/seeds.py', __doc__)
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument('--seeds', default='0,1,2')
    parser.add_argument(
        '--workdir', type=Path, default=Path('runs'), help='where the runs are kept'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known, rest = parser.parse_known_args()
    changes = cli.overrides(parser, rest)
    runs = [run(known, changes, int(seed)) for seed in known.seeds.split(',')]
    write_json(known.out, summary(known.config, runs))
    print(known.out)
    return 0


def run(known, changes: list, seed: int) -> dict:
    """One seed, in a process of its own: what its workdir says, and its minutes."""
    workdir = known.workdir / f'{known.out.stem}-{seed}'
    flags = [f'--config.{name}={value}' for name, value in changes]
    command = ['-m', 'ssljax.train', f'--config={known.config}', f'--workdir={workdir}']
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = [sys.executable, *command, *flags, f'--config.seed={seed}']
    subprocess.run(whole, check=True, cwd=ROOT, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = spent.ru_utime + spent.ru_stime - used.ru_utime - used.ru_stime
    found = {
        'seed': seed,
        'results': json.loads((workdir / 'results.json').read_text()),
        'run': json.loads((workdir / 'run.json').read_text()),
        'curve': curve(workdir / 'metrics.jsonl'),
        'minutes': {'whole': (time.perf_counter() - began) / 60, 'cpu': cpu / 60},
        'peak_megabytes': spent.ru_maxrss / 1024,
    }
    return found


def curve(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    keep = [{k: v for k, v in line.items() if k == 'step' or k.endswith('/loss')} for line in lines]
    return keep[:: max(len(keep) // POINTS, 1)]


def summary(name: str, runs: list[dict]) -> dict:
    """Mean and standard deviation over seeds of every number; machine and versions of the first."""
    first = runs[0]['run']
    evals = {}
    for evaluator, result in runs[0]['results']['evals'].items():
        scores = {}
        for who, numbers in result['scores'].items():
            scores[who] = {}
            for metric in numbers:
                values = [r['results']['evals'][evaluator]['scores'][who][metric] for r in runs]
                spread = stdev(values) if len(values) > 1 else 0.0
                scores[who][metric] = {'mean': fmean(values), 'sd': spread, 'values': values}
        evals[evaluator] = {'protocol': result['protocol'], 'scores': scores}
    return {
        'command': f'python -m ssljax.train --config={name}',
        'overrides': {k: v for k, v in first['overrides'].items() if k not in ('seed', 'data.dir')},
        'seeds': [r['seed'] for r in runs],
        'method': first['config']['method'],
        'steps': first['config']['steps'],
        'batch': first['config']['batch'],
        'data': first['data'],
        'device': runs[0]['results']['device'],
        'versions': first['versions'],
        'python': first['python'],
        'revision': first['revision'],
        'minutes': {
            'training': [r['results']['minutes']['training'] for r in runs],
            'training_cpu': [r['results']['minutes']['training_cpu'] for r in runs],
            'whole': [round(r['minutes']['whole'], 2) for r in runs],
            'cpu': [round(r['minutes']['cpu'], 2) for r in runs],
        },
        'peak_megabytes': [round(r['peak_megabytes']) for r in runs],
        'evals': evals,
        'curve': runs[0]['curve'],
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
