"""What each defect of documents costs a reader: python benchmarks/degradation.py --reader=WORKDIR
--out=results/degradation.json

The reader is a run of configs/ctc.py. For each kind of ssljax.augment.document and each severity,
test lines are degraded, with the same draws at each severity, and read as they are.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cli  # noqa: E402


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/degradation.py', __doc__)
    parser.add_argument('--reader', required=True, metavar='WORKDIR', help='that reads lines')
    parser.add_argument('--severities', default='0,0.2,0.4,0.6,0.8,1')
    parser.add_argument('--lines', type=int, default=200)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    from ssljax.augment.document import KINDS
    from ssljax.log import write_json

    kinds = {}
    for kind in KINDS:
        kinds[kind] = {s: read(kind, float(s), known) for s in known.severities.split(',')}
        print(kind, {s: round(row['character_error'], 1) for s, row in kinds[kind].items()})
    command = f'python benchmarks/degradation.py --reader=WORKDIR --lines={known.lines}'
    write_json(known.out, {'command': command, 'lines': known.lines, 'kinds': kinds})
    return 0


def read(kind: str, severity: float, known: object) -> dict:
    """What is read of the test lines at this severity."""
    import jax

    from ssljax import data, evals
    from ssljax.evals.evaluator import interval
    from ssljax.evals.pages import unchanged

    lines = dict(name='lines', train=1, validation=1, test=known.lines)
    view = dict(name='document', kinds=(kind,), severity=severity)
    source = data.make(dict(name='viewed', of=lines, view=view, keep=('y',)))
    key = jax.random.key(0)
    subject = evals.Subject('unchanged', source, unchanged(source, key), key)
    scores = evals.offered()['restoration'].run(subject, images=0, reader=known.reader)
    names = ('character_error', 'invented', 'f1')
    return {name: scores.numbers[name] for name in names} | {
        'interval_95': interval(scores.rows['character_error'])
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
