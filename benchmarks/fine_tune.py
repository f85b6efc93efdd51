"""Fine-tuning encoders on all or a few labels, each switch on and off:
python benchmarks/fine_tune.py --encoder WORKDIR... --out=results/fine-tune.json

By the evaluator `fine_tune`: everything learns; the last block and the head alone; the encoder at a
tenth of the rate; the encoder held for a tenth of the steps first; batch norm by the batch (where
there is one); rates that fall from block to block (where there are blocks). The untrained encoder,
trained from scratch by the same recipe, stands beside. The number is the accuracy on test rows, and
nothing is chosen by it. What the file has already is not done again; --add joins other such files.
"""

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from ssljax import cache, cli  # noqa: E402

VIEW = dict(name='crop', scale=(0.4, 1.0), flip=0.5)


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/fine_tune.py', __doc__)
    parser.add_argument('--encoder', type=Path, nargs='*', default=[], metavar='WORKDIR')
    parser.add_argument('--rows', default='450,4500,45000', help='labels: 1, 10, 100 percent')
    parser.add_argument('--steps', type=int, default=1000)
    parser.add_argument('--only', default='', metavar='SWITCH,SWITCH')
    parser.add_argument('--add', type=Path, nargs='*', default=[], metavar='FILE')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    from ssljax.log import write_json

    parts = [json.loads(path.read_text()) for path in (known.out, *known.add) if path.exists()]
    rows = {named(row): row for part in parts for row in part['rows']}
    facts = {k: v for part in parts for k, v in part.items() if k != 'rows'}
    for workdir in known.encoder:
        for row, common in tuned(workdir, known, rows):
            rows[named(row)] = row
            facts |= common
            print(row, flush=True)
            write_json(known.out, {**facts, 'rows': list(rows.values())})
    write_json(known.out, {**facts, 'rows': list(rows.values())})
    return 0


def named(row: dict) -> tuple[str, int, str]:
    return row['encoder'], row['labels'], row['switch']


def tuned(workdir: Path, known: Any, rows: Mapping[Any, dict]) -> Iterator[tuple[dict, dict]]:
    """The rows of one encoder that are not there yet, each with what all have in common."""
    import jax

    import ssljax
    from ssljax import evaluate
    from ssljax.evals.fine_tune import flat, read, score, weights
    from ssljax.workdir import job_of

    cache.programs()
    model, job = ssljax.load(workdir), job_of(workdir)
    who = evaluate.subject(model, job.source, 'trained')
    fresh = evaluate.subject(job.untrained(), job.source, 'untrained')
    paths = read(who.model, job.train.rows([0]))
    encoder = weights(model.state, paths)
    numbers = [int(n) for name in flat(encoder) for n in re.findall(r'^encoder/\w+_(\d+)/', name)]
    switches = {
        'from scratch': {},
        'all': {},
        'last block': {'only': rf'^encoder/(\w+_{max(numbers)}|norm)/'},
        'encoder at a tenth': {'encoder_rate': 0.1},
        'head first': {'frozen': known.steps // 10},
    }
    if any('batch_stats' in path for path in paths):
        switches['batch statistics'] = {'statistics': 'batch'}
    if any('blocks' in name for name in flat(encoder)):
        switches['layer decay 0.75'] = {'layer_decay': 0.75}
    device = jax.devices()[0].device_kind
    common = {'steps': known.steps, 'view': VIEW, 'data': job.source.name, 'device': device}
    for labels in map(int, known.rows.split(',')):
        for switch, options in switches.items():
            row = {'encoder': workdir.name, 'labels': labels, 'switch': switch}
            if named(row) in rows or (known.only and switch not in known.only.split(',')):
                continue
            began, subject = time.perf_counter(), fresh if switch == 'from scratch' else who
            common_options = dict(train_size=labels, steps=known.steps, view=VIEW)
            scores = score(subject, **common_options, **options)
            row |= {'method': job.config['method'], **scores.numbers, 'options': options}
            row['seconds'] = round(time.perf_counter() - began, 1)
            yield row, common


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
