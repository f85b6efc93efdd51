"""ClusterFit beside its source, on sets that neither learned from:
python benchmarks/refit.py --refit=WORKDIR --source=WORKDIR --out=results/clusterfit-transfer.json

Yan et al. 2020, arXiv:1912.03330, section 4. --refit: a run of configs/clusterfit.py; --source: the
run that its graft names, of a net of the same form. Features are frozen; the net of --refit at step
0 and pixels stand beside.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cache, cli  # noqa: E402

TARGETS = {
    'tiny_imagenet': dict(name='tfds:tiny_imagenet_50', size=32, test='validation'),
    'caltech101': dict(name='tfds:caltech101_96', size=32),
}
EVALS = {
    'knn': dict(bank_size=None, picture=False),
    'linear_probe': dict(train_size=None, validation='none'),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/refit.py', __doc__)
    for name in ('refit', 'source'):
        parser.add_argument(f'--{name}', type=Path, required=True, metavar='WORKDIR')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    import jax

    import ssljax
    from ssljax import data, evals, evaluate, trivial
    from ssljax.log import write_json
    from ssljax.workdir import job_of
    from ssljax.written import record

    cache.programs()
    models = {
        'refit': ssljax.load(known.refit),
        'source': ssljax.load(known.source),
        'untrained': job_of(known.refit).untrained(),
    }
    configs = {who: record(vars(known)[who])['config'] for who in ('refit', 'source')}
    facts = ('method', 'steps', 'batch', 'seed')
    out = {
        'runs': {who: {k: config[k] for k in facts} for who, config in configs.items()},
        'protocol': EVALS,
        'rows': {},
    }
    for target, spec in TARGETS.items():
        source = data.make(spec)
        subjects = {who: evaluate.subject(m, source, who) for who, m in models.items()}
        for name, options in EVALS.items():
            some = [*subjects.values(), *trivial.subjects(name, source)]
            for one in some:
                scores = evals.offered()[name].run(one, **options)
                row = out['rows'].setdefault(target, {}).setdefault(name, {})
                row[one.name] = scores.numbers['accuracy']
                print(target, name, one.name, row[one.name], flush=True)
            write_json(known.out, out | {'device': str(jax.devices()[0])})
    return 0


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
