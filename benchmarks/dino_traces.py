"""What keeps DINO from collapse, and what small crops add: entropy and divergence while it trains:
python benchmarks/dino_traces.py --out=results/dino-traces.json [--plot=docs/dino.svg]

Caron et al. 2021, arXiv:2104.14294, figure 7: the cross entropy of teacher and student is the
entropy of the teacher plus the divergence of the student from it. Where the divergence goes to zero
all images are told alike: with an entropy of log K evenly, with one of zero by one prototype. The
runs are variants of configs/dino.py, a minute each on one core; those that are finished are not run
again.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import seeds  # noqa: E402
from ssljax import cli  # noqa: E402

VARIANTS = {
    'both': 'centered and sharpened',
    'centered': 'centered alone',
    'sharpened': 'sharpened alone',
    'neither': 'neither centered nor sharpened',
    'whole': 'both, no small crops',
}
POINTS = 60  # of a trace


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/dino_traces.py', __doc__)
    parser.add_argument('--only', default=','.join(VARIANTS), metavar='VARIANT,VARIANT')
    parser.add_argument('--workdir', type=Path, default=Path('runs/dino_traces'), metavar='DIR')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/dino-traces.json')
    parser.add_argument('--plot', type=Path, metavar='FILE.svg')
    known = parser.parse_args(argv)
    from ssljax.log import write_json

    for name in known.only.split(','):
        workdir = known.workdir.absolute() / name
        record = seeds.run(f'configs/dino.py:{name}', [], 0, workdir)
        # another process may have written meanwhile
        found = json.loads(known.out.read_text())['variants'] if known.out.exists() else {}
        found[name] = kept(record, workdir / 'metrics.jsonl')
        write_json(known.out, {'variants': {k: found[k] for k in VARIANTS if k in found}})
        print(name, {k: v for k, v in found[name].items() if k not in ('trace', 'config')})
    if known.plot:
        plot(json.loads(known.out.read_text())['variants'], known.plot)
    return 0


def kept(record: Mapping[str, Any], metrics: Path) -> dict[str, Any]:
    """What the file has of a run."""
    results, model = record['results'], record['config']['model']
    evals = {name: one['scores'] for name, one in results['evals'].items()}
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    trace = traced(line for line in lines if 'student/loss' in line)
    return {
        'knn': {who: evals['knn'][who]['accuracy'] for who in evals['knn']},
        'rank': {who: evals['rank'][who]['effective_rank'] for who in evals['rank']},
        'entropy': trace[-1]['entropy'],
        'divergence': trace[-1]['divergence'],
        'prototypes': model['prototypes'],
        # two whole crops are predicted by all crops but themselves
        'pairs': 2 * (1 + model['local_views']),
        'steps': record['config']['steps'],
        'batch': record['config']['batch'],
        'training_cpu_seconds': results['training_cpu_seconds'],
        'trace': thinned(trace),
        'config': seeds.elsewhere(record['config']),
        **seeds.facts(record),
    }


def traced(lines: Any) -> list[dict[str, float]]:
    """Entropy of the teacher and divergence of the student from it, in nats, by step."""
    return [
        {
            'step': line['step'],
            'entropy': line['student/entropy'],
            'divergence': line['student/loss'] - line['student/entropy'],
        }
        for line in lines
    ]


def thinned(trace: list[dict]) -> list[dict]:
    return trace[:: max(len(trace) // POINTS, 1)]


def table(path: Path = ROOT / 'results/dino-traces.json') -> str:
    """A row per variant, at its last step."""
    from benchmarks.tables import grid

    if not path.exists():
        return 'No variant has been run yet.'
    found = json.loads(path.read_text())['variants']
    rows = []
    for name, one in found.items():
        knn, rank = one['knn'], one['rank']
        rows.append(
            [
                VARIANTS[name],
                f'{one["entropy"]:.2f}',
                f'{one["divergence"]:.2f}',
                verdict(one),
                f'{knn["trained"]:.1f} ({knn["untrained"]:.1f})',
                f'{rank["trained"]:.1f} ({rank["untrained"]:.1f})',
                str(one['pairs']),
                f'{one["training_cpu_seconds"]:.0f}',
            ]
        )
    first = next(iter(found.values()))
    below = (
        f'log K = {math.log(first["prototypes"]):.2f}; k-NN of pixels {first["knn"]["pixels"]:.1f};'
    )
    below += f' {first["steps"]} steps of {first["batch"]} on {first["data"]["name"]}, one seed.'
    head = ['teacher', 'entropy', 'divergence', '', 'k-NN (untrained)', 'rank (untrained)']
    return grid([*head, 'pairs of crops', 'CPU seconds'], rows, below)


def verdict(one: Mapping[str, Any]) -> str:
    """Whether the teacher says the same of all images, and what; a twentieth of log K is none."""
    whole = math.log(one['prototypes'])
    if one['divergence'] > whole / 20:
        return ''
    if one['entropy'] > 0.95 * whole:
        return '**collapsed**: all prototypes alike'
    if one['entropy'] < whole / 20:
        return '**collapsed**: one prototype'
    return '**collapsed**: the same prototypes for all'


def plot(found: Mapping[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    plt.rcParams['svg.hashsalt'] = 'ssljax'  # the same numbers, the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    for name in [name for name in found if name != 'whole']:
        trace = found[name]['trace']
        for ax, number in zip(axes, ('entropy', 'divergence')):
            steps, values = zip(*((point['step'], point[number]) for point in trace))
            ax.plot(steps, values, label=VARIANTS[name])
    whole = math.log(next(iter(found.values()))['prototypes'])
    axes[0].axhline(whole, color='gray', linestyle=':', linewidth=1)
    axes[0].annotate('log K', (0, whole), va='bottom', color='gray')
    titles = ('entropy of the teacher', 'divergence of the student from the teacher')
    for ax, title in zip(axes, titles):
        ax.set(xlabel='step', ylabel='nats', title=title)
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, metadata={'Date': None})


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
