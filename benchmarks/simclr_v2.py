"""SimCLR v2 in its three runs: pretrain, learn few labels from inside the head, distill:
python benchmarks/simclr_v2.py --out=results/simclr-v2.json

Chen et al. 2020, arXiv:2006.10029, table 2: with and without distilling, at 1 and 10 percent of
the labels. SimCLR with three layers in its projector is trained without labels; its encoder and the
first layer of the projector are fine-tuned on the rows with labels; a student of the encoder's form
learns what that net says of all rows. A net from scratch learns the same labels. Errors are of the
test rows, and nothing is chosen by them. Runs that are finished are not run again.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import seeds  # noqa: E402
from ssljax import cli  # noqa: E402
from ssljax.names import Mistake  # noqa: E402

PER_CLASS = '45,450'  # of 4500: 1 and 10 percent
DEEP = [('model.projector.dims', '(256, 256, 64)'), ('log.evaluate', '0'), ('evals', "{'knn': {}}")]
WAYS = {
    'scratch': 'labels alone, from scratch',
    'tuned': 'pretrained, then the labels',
    'distilled': 'then distilled on all rows',
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/simclr_v2.py', __doc__)
    parser.add_argument('--per_class', default=PER_CLASS, help='labels of each class')
    parser.add_argument('--steps', type=int, default=1000, help='of pretraining')
    parser.add_argument('--workdir', type=Path, default=Path('runs/simclr_v2'), metavar='DIR')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/simclr-v2.json')
    known = parser.parse_args(argv)
    from ssljax.log import write_json

    def ran(name: str, config: str, *changes: tuple[str, str]) -> tuple[dict, Path]:
        workdir = known.workdir.absolute() / name
        return seeds.run(config, list(changes), 0, workdir), workdir

    deep = [*DEEP, ('steps', str(known.steps)), ('optim.net.warmup', str(known.steps // 10))]
    first, pretrained = ran('pretrained', 'configs/simclr.py:cifar10_small', *deep)
    first = of_simclr(first)
    rows = earlier(known.out, first)
    for count in map(int, known.per_class.split(',')):
        of = ('data.per_class', str(count))
        teacher = Path()
        for way in WAYS:
            name = f'{way}-{count}'
            if way == 'scratch':
                record, _ = ran(name, 'configs/simclr_v2.py:cifar10_tuned', of)
            elif way == 'tuned':
                grafts = ('graft', str(from_simclr(pretrained)))
                record, teacher = ran(name, 'configs/simclr_v2.py:cifar10_tuned', of, grafts)
            else:
                grafts = ('graft', str(from_teacher(teacher)))
                record, _ = ran(name, 'configs/simclr_v2.py:cifar10_distilled', of, grafts)
            rows[count, way] = {'per_class': count, 'way': way, **kept(record)}
            print(rows[count, way], flush=True)
            ordered = sorted(rows.values(), key=lambda row: row['per_class'])
            write_json(known.out, {'pretrained': first, 'rows': ordered})
    return 0


def earlier(path: Path, first: Mapping[str, Any]) -> dict[tuple[int, str], dict]:
    """The rows that a file has already, all of this pretrained net."""
    if not path.exists():
        return {}
    found = json.loads(path.read_text())
    if any(found['pretrained'][name] != first[name] for name in ('steps', 'knn')):
        raise Mistake(f'{path} has rows of another pretrained net; give another --out')
    return {(row['per_class'], row['way']): row for row in found['rows']}


def from_simclr(workdir: Path) -> dict[str, str]:
    """The encoder and the first layer of the projector, which is the neck's only one."""
    return {
        f'{part}/{mine}': f'{workdir}:{part}/{theirs}'
        for part in ('params', 'memory/stats')
        for mine, theirs in (('encoder', 'encoder'), ('neck', 'projector'))
    }


def from_teacher(workdir: Path) -> dict[str, str]:
    """All that the teacher is; its head has no statistics."""
    paths = [f'params/{name}' for name in ('encoder', 'neck', 'head')]
    paths += [f'memory/stats/{name}' for name in ('encoder', 'neck')]
    return {path: f'{workdir}:{path}' for path in paths}


def kept(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the file has of a run that names classes."""
    scores = record['results']['evals']['error_rate']['scores']
    return {
        'error': scores['trained']['error'],
        'majority': scores['majority']['error'],
        'steps': record['config']['steps'],
        **cost_and_facts(record),
    }


def of_simclr(record: Mapping[str, Any]) -> dict[str, Any]:
    scores = record['results']['evals']['knn']['scores']
    knn = {who: one['accuracy'] for who, one in scores.items()}
    return {'knn': knn, 'steps': record['config']['steps'], **cost_and_facts(record)}


def cost_and_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    spent = record['results']['training_cpu_seconds']
    return {'training_cpu_seconds': spent, **seeds.facts(record)}


def table(path: Path = ROOT / 'results/simclr-v2.json') -> str:
    """A row per way, a column per number of labels: errors in percent."""
    from benchmarks.tables import grid

    if not path.exists():
        return 'Nothing has been run yet.'
    found = json.loads(path.read_text())
    counts = list(dict.fromkeys(row['per_class'] for row in found['rows']))
    errors = {(row['way'], row['per_class']): row['error'] for row in found['rows']}
    rows = [
        [WAYS[way], *(f'{errors[way, n]:.1f}' if (way, n) in errors else '' for n in counts)]
        for way in WAYS
    ]
    first = found['pretrained']
    below = f'Test error of CIFAR-10; {first["steps"]} steps of pretraining; always the same class:'
    below += f' {found["rows"][0]["majority"]:.1f}. One seed.'
    return grid(['', *(f'{n} labels a class' for n in counts)], rows, below)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
