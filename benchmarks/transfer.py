"""Encoders of CIFAR-10 on other sets of images, frozen and fine-tuned:
python benchmarks/transfer.py --simclr=WORKDIR --labels=WORKDIR --out=results/simclr-transfer.json

Chen et al. 2020, arXiv:2002.05709, table 8. --simclr: a run of configs/simclr.py:cifar10_small;
--labels: one of configs/classifier.py:cifar10_conv, the same net, told the labels. The net at step
0 stands beside, also trained from there. Nothing is chosen by the test rows, and all systems have
the same rows, rates and steps. Cells that the file has are not run again.
"""

import functools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import cells  # noqa: E402

from ssljax import cache, cli  # noqa: E402

TARGETS = {  # data, and the chance of a mirror image where that is of the same class
    'fashion_mnist': (dict(name='tfds:fashion_mnist', size=32), 0.5),
    'mnist': (dict(name='tfds:mnist', size=32), 0.0),
    'caltech101': (dict(name='tfds:caltech101_96', size=32), 0.5),
    'tiny_imagenet': (dict(name='tfds:tiny_imagenet_50', size=32, test='validation'), 0.5),
}
SYSTEMS = ('SimCLR', 'labels', 'random')
TRAIN, TEST = 4000, 2000  # rows, at most
# batch norm by the batch: stored statistics are those of CIFAR-10
TUNING = dict(train_size=TRAIN, test_size=TEST, batch=64, steps=400, statistics='batch')
LINEAR = dict(train_size=TRAIN, test_size=TEST)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/transfer.py', __doc__)
    for name in ('simclr', 'labels'):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar='WORKDIR')
    parser.add_argument('--only', default='', metavar='TARGET,TARGET')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    from ssljax.written import record

    cache.programs()
    runs = {'SimCLR': known.simclr, 'labels': known.labels}
    configs = {who: record(workdir)['config'] for who, workdir in runs.items()}
    about = {
        'command': 'python benchmarks/transfer.py --simclr=WORKDIR --labels=WORKDIR',
        'pretrained': {who: {k: c[k] for k in ('method', 'steps', 'batch', 'seed')}
                       for who, c in configs.items()},
        'protocol': {'linear': LINEAR, 'fine-tuned': TUNING},
    }  # fmt: skip
    table = {
        f'{target}, {how}, {who}': {'target': target, 'how': how, 'system': who}
        for target in TARGETS
        for how in about['protocol']
        for who in SYSTEMS
    }
    targets = known.only.split(',') if known.only else TARGETS
    only = [name for name in table if name.split(', ')[0] in targets]
    run = functools.partial(measure, runs)
    cells.fill(known.out, table, run, only=only, about=about)
    return 0


def measure(runs: Mapping[str, Path], name: str, cell: Mapping[str, str]) -> dict[str, Any]:
    """The accuracy of a system, and of each test row whether it is named right, as hexadecimal."""
    import numpy as np

    from ssljax import evals, evaluate

    workdir = runs.get(cell['system'], runs['SimCLR'])
    source, flip = target(cell['target'])
    subject = evaluate.subject(opened(workdir, cell['system'] == 'random'), source, 'trained')
    if cell['how'] == 'linear':
        scores = evals.offered()['linear_probe'].run(subject, **LINEAR)
    else:
        view = dict(name='crop', scale=(0.4, 1.0), flip=flip)
        scores = evals.offered()['fine_tune'].run(subject, view=view, **TUNING)
    right = scores.rows['accuracy'] > 0
    rows = np.packbits(right).tobytes().hex()
    train, test = (int(scores.numbers[k]) for k in ('train', 'queries'))
    return {'accuracy': scores.numbers['accuracy'], 'train': train, 'test': test, 'rows': rows}


@functools.cache
def opened(workdir: Path, untrained: bool) -> Any:
    import ssljax
    from ssljax.workdir import job_of

    return job_of(workdir).untrained() if untrained else ssljax.load(workdir)


@functools.cache
def target(name: str) -> tuple[Any, float]:
    """A target set, gray images in three channels, as the nets want them."""
    from ssljax import data
    from ssljax.data.source import mapped

    spec, flip = TARGETS[name]
    source = data.make(spec)

    def colored(index: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
        return {**rows, 'x': rows['x'].repeat(3 // rows['x'].shape[-1], -1)}

    splits = {part: mapped(rows, colored) for part, rows in source.splits.items()}
    return source._replace(splits=splits), flip


def hits(cell: Mapping[str, Any]) -> list[bool]:
    """Which test rows a cell of the file names right."""
    packed = bytes.fromhex(cell['rows'])
    return [bool(byte >> (7 - i) & 1) for byte in packed for i in range(8)][: cell['test']]


def swap_p(better: Sequence[bool], worse: Sequence[bool]) -> float:
    """How often `better` would be ahead by so many rows, or more, if in each row a coin said which
    of the two systems is which: one-sided, over all coins.

    Only rows where the two differ matter, so the count of those won is binomial.
    """
    won = sum(bool(a) and not b for a, b in zip(better, worse, strict=True))
    lost = sum(bool(b) and not a for a, b in zip(better, worse, strict=True))
    apart = won + lost
    return sum(math.comb(apart, k) for k in range(won, apart + 1)) / 2**apart


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
