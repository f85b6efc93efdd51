"""How much to hide: MAE at several masking ratios, its features probed and fine-tuned:
python benchmarks/mask_ratio.py --data=DIR --out=results/mae-mask-ratio.json

He et al. 2021, arXiv:2111.06377, figure 5. Every ratio pre-trains configs/mae.py:cifar10_small for
--steps, then configs/classifier.py:cifar10_vit starts at its encoder for --tuning steps. The same
classifier from scratch stands beside. Runs that are finished are not run again.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from seeds import call  # noqa: E402

from ssljax import cli  # noqa: E402

PROBED = 10_000  # rows of the linear probe


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/mask_ratio.py', __doc__)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='of cifar10')
    parser.add_argument('--ratios', default='0.1,0.3,0.5,0.75,0.9')
    parser.add_argument('--steps', type=int, default=1200)
    parser.add_argument('--tuning', type=int, default=400)
    parser.add_argument('--workdir', type=Path, default=Path('runs/mask-ratio'), metavar='DIR')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    from ssljax.log import write_json

    runs, shared = known.workdir.absolute(), [f'--config.data.dir={known.data.absolute()}']

    def tuned(name: str, *flags: str) -> float:
        flags = ('--config=configs/classifier.py:cifar10_vit', *flags)
        found = trained(
            runs / f'{name}-{known.tuning}', f'--config.steps={known.tuning}', *shared, *flags
        )
        return 100 - found['evals']['error_rate']['scores']['trained']['error']

    scratch, rows = tuned('scratch'), []
    for ratio in map(float, known.ratios.split(',')):
        mae = runs / f'mae-{ratio:g}-{known.steps}'
        flags = (f'--config.model.ratio={ratio:g}', f'--config.steps={known.steps}', *shared)
        evals = f"{{'linear_probe': {{'train_size': {PROBED}}}, 'reconstruction': {{'images': 8}}}}"
        found = trained(
            mae, '--config=configs/mae.py:cifar10_small', f'--config.evals={evals}', *flags
        )
        scores = {name: found['evals'][name]['scores'] for name in found['evals']}
        graft = f"--config.graft={{'params/encoder': '{mae}:params/encoder'}}"
        row = {
            'ratio': ratio,
            'linear': scores['linear_probe']['trained']['accuracy'],
            'fine-tuned': tuned(f'tuned-{ratio:g}-{known.steps}', graft),
            'removed': scores['reconstruction']['trained']['removed'],
            'cpu_minutes': found['minutes']['training_cpu'],
        }
        rows.append(row)
        print(row, flush=True)
    run = json.loads((mae / 'run.json').read_text())
    facts = {k: run[k] for k in ('data', 'versions', 'python', 'revision')}
    fixed = {
        'linear, untrained': scores['linear_probe']['untrained']['accuracy'],
        'linear, pixels': scores['linear_probe']['pixels']['accuracy'],
        'fine-tuned, from scratch': scratch,
    }
    protocol = {'steps': known.steps, 'tuning': known.tuning, 'probe_rows': PROBED}
    protocol['seed'] = run['config']['seed']
    write_json(known.out, {'mask_ratio': rows, 'beside': fixed, 'protocol': protocol, **facts})
    return 0


def trained(workdir: Path, *flags: str) -> dict:
    """The results of a run of the training command."""
    path = workdir / 'results.json'
    if not path.exists() and call(['-m', 'ssljax.train', f'--workdir={workdir}', *flags])[0]:
        raise SystemExit(1)
    return json.loads(path.read_text())


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
