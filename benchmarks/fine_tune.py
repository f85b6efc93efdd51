"""Fine-tuning an encoder on all or a few labels, each switch on and off:
python benchmarks/fine_tune.py --data=DIR --encoder=WORKDIR --out=results/fine-tune.json

configs/classifier.py:cifar10_conv (--variant for others) starts at the encoder of the workdir and
at its statistics. The switches: everything learns; the last block and the head alone; the encoder
at a tenth of the rate; the encoder held for a tenth of the steps first; batch norm with the
statistics that it came with; rates that fall from block to block (a transformer's). From scratch
stands beside. The number is the accuracy on test rows; nothing is chosen by it. Runs that are
finished are not run again.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from seeds import call  # noqa: E402

from ssljax import cli  # noqa: E402
from ssljax.log import write_json  # noqa: E402

RATE, BATCH = 1e-3, 128
STILL = {'match': '^encoder/(?!.*_{last})', 'name': 'sgd', 'learning_rate': 0.0}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/fine_tune.py', __doc__)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='of cifar10')
    parser.add_argument('--encoder', type=Path, nargs='+', required=True, metavar='WORKDIR')
    parser.add_argument('--variant', default='cifar10_conv')
    parser.add_argument('--rows', default='450,4500,45000', help='labels: 1, 10, 100 percent')
    parser.add_argument('--steps', type=int, default=300)
    parser.add_argument('--only', default='', metavar='SWITCH,SWITCH')
    parser.add_argument('--last', type=int, default=3, help='the number of the last block')
    parser.add_argument('--workdir', type=Path, default=Path('runs/fine-tune'), metavar='DIR')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    still = {**STILL, 'match': STILL['match'].format(last=known.last)}
    tenth = {'match': '^encoder/', 'name': 'adamw', 'learning_rate': RATE / 10}
    switches = {
        'from scratch': {},
        'all': {},
        'last block and head': {'optim.net.groups': {'still': still}},
        'encoder at a tenth': {'optim.net.groups': {'encoder': tenth}},
        'held for a tenth': {'model.frozen': known.steps // 10},
        'stored statistics': {'model.statistics': 'stored'},
        'layer decay 0.75': {'optim.net.layer_decay': 0.75},
    }
    chosen = known.only.split(',') if known.only else list(switches)
    rows = []
    for encoder in known.encoder:
        for labels in map(int, known.rows.split(',')):
            for switch in chosen:
                flags = {'data.rows': 0 if labels == 45000 else labels, **switches[switch]}
                found = tuned(known, encoder, switch, labels, flags)
                rows.append({'encoder': encoder.name, 'labels': labels, 'switch': switch, **found})
                print(rows[-1], flush=True)
    old = json.loads(known.out.read_text())['rows'] if known.out.exists() else []
    new = {(r['encoder'], r['labels'], r['switch']) for r in rows}
    kept = [r for r in old if (r['encoder'], r['labels'], r['switch']) not in new]
    facts = {'steps': known.steps, 'variant': known.variant, 'batch': BATCH}
    write_json(known.out, {**facts, 'rows': kept + rows})
    return 0


def tuned(known, encoder: Path, switch: str, labels: int, changes: dict) -> dict:
    """Accuracy in percent, its standard error and the minutes of CPU."""
    name = f'{"scratch" if switch == "from scratch" else encoder.name}-{labels}-{switch}'
    workdir = known.workdir.absolute() / f'{name}-{known.steps}'.replace(' ', '_')
    path = workdir / 'results.json'
    if not path.exists():
        changes = {
            'data.dir': known.data.absolute(),
            'steps': known.steps,
            'batch': BATCH,
            'optim.net.warmup': known.steps // 10,
            'optim.net.learning_rate': RATE,
            **changes,
        }
        if switch != 'from scratch':
            source = encoder.absolute()
            parts = ['params/encoder']
            parts += ['memory/stats/encoder'] if known.variant == 'cifar10_conv' else []
            changes['graft'] = {part: f'{source}:{part}' for part in parts}
        flags = [f'--config.{key}={value}' for key, value in changes.items()]
        config = f'--config=configs/classifier.py:{known.variant}'
        code, _ = call(['-m', 'ssljax.train', config, f'--workdir={workdir}', *flags])
        if code:
            raise SystemExit(code)
    found = json.loads(path.read_text())
    scores = found['evals']['error_rate']['scores']['trained']
    return {
        'accuracy': 100 - scores['error'],
        'standard_error': scores['standard_error'],
        'cpu_minutes': found['minutes']['training_cpu'],
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
