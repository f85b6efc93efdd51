"""Whose class the nearest older row is of: python benchmarks/purity.py --workdir=DIR --out=FILE

Of a run whose method has a queue and the readout `neighbor` (the index of the image in the queue
that is nearest to a row): of rows to train on and of test rows the percent whose neighbor is of
their class, and, of the former, the percent whose neighbor is the image itself. Beside it the same
with a row of the queue that is drawn. Dwibedi et al. 2021, arXiv:2104.14548, section 4.3.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cli  # noqa: E402
from ssljax.names import Mistake  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/purity.py', __doc__)
    parser.add_argument('--workdir', type=Path, required=True, metavar='DIR')
    parser.add_argument('--size', type=int, default=10_000, help='rows of each split, at most')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)

    import numpy as np

    from ssljax import evaluate
    from ssljax.evals.subject import answers, classes, part_of, pick, readout
    from ssljax.log import facts, write_json
    from ssljax.reopen import load
    from ssljax.workdir import job_of

    source, model = job_of(known.workdir).source, load(known.workdir)
    subject = evaluate.subject(model, source, 'trained')
    ask, train, found = readout(subject, 'neighbor', 'purity'), part_of(source, 'train'), {}
    owners = np.asarray(model.state.memory['owners'])
    if (owners < 0).any():
        raise Mistake(f'the queue of {known.workdir} is not full yet; train for more steps')
    drawn = np.random.default_rng(0).choice(owners, known.size)

    def label(index: np.ndarray) -> np.ndarray:  # of rows to train on
        return classes(subject, 'train', {'label': train.rows(index)['label']}, 'purity')

    for name in ('train', 'test'):
        part = part_of(source, name)
        index = pick(part.count, known.size)
        nearest, rows = answers(ask, part, index, keep=('label',))
        same, by_chance = (rows['label'] == label(i) for i in (nearest, drawn[: len(index)]))
        found[name] = {
            'rows': len(index),
            'purity': round(100 * float(same.mean()), 2),
            'drawn': round(100 * float(by_chance.mean()), 2),
        }
        if name == 'train':
            found[name]['own'] = round(100 * float((nearest == index).mean()), 2)
    here = {k: facts()[k] for k in ('device_kind', 'versions', 'python', 'revision')}
    write_json(known.out, {'purity': found, 'queue': len(owners), 'step': model.step, **here})
    print(found, known.out)
    return 0


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
