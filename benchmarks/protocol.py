"""How far a protocol moves a number, and whether the order of methods holds:
python benchmarks/protocol.py --runs WORKDIR... --out=results/protocol.json

Of every run the features of bank and test rows are computed once; then k, temperature, scaling, the
size of the bank, the layer and the solver are changed one at a time; few-shot episodes, clusters
and retrieval follow. The order of methods (means over their seeds) is compared with that of the
default by Kendall's tau. --baselines adds pixels and the untrained encoders of the runs. What the
file has already is not measured again; --add joins other files.
"""

import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

import numpy as np  # noqa: E402

from ssljax import cache, cli  # noqa: E402

VIEW = dict(name='crop', scale=(0.4, 1.0), flip=0.5)  # of the probe by SGD
DEFAULT = 'k-NN k=20 T=0.07, raw, whole bank'


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/protocol.py', __doc__)
    parser.add_argument('--runs', nargs='*', type=Path, default=[], metavar='WORKDIR')
    parser.add_argument('--baselines', action='store_true')
    parser.add_argument('--add', type=Path, nargs='*', default=[], metavar='FILE')
    parser.add_argument('--probe', type=int, default=10_000, help='training rows of probes')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args(argv)
    from ssljax.log import write_json

    parts = [json.loads(path.read_text()) for path in (known.out, *known.add) if path.exists()]
    runs = {name: run for part in parts for name, run in part['runs'].items()}
    facts = {k: v for part in parts for k, v in part.items() if k not in ('runs', 'rows')}
    for workdir in known.runs:
        for name, method, subject in subjects(workdir, known.baselines):
            if name in runs:
                continue
            began = time.perf_counter()
            found, facts = measured(subject, known.probe)
            runs[name] = {'method': method, 'baseline': subject.name != 'trained', 'numbers': found}
            print(f'{name}: {time.perf_counter() - began:.0f} s', flush=True)
            write_json(known.out, {**facts, 'runs': runs, 'rows': ordered(runs)})
    write_json(known.out, {**facts, 'runs': runs, 'rows': ordered(runs)})
    return 0


def ordered(runs: dict) -> list[dict]:
    """A row per protocol: each method's mean and deviation over its seeds, and the order's tau."""
    from scipy.stats import kendalltau

    found: dict[str, dict[str, list[float]]] = {}
    for run in runs.values():
        for protocol, value in run['numbers'].items():
            found.setdefault(protocol, {}).setdefault(run['method'], []).append(value)
    learned = sorted({run['method'] for run in runs.values() if not run['baseline']})
    order = {p: [fmean(of[m]) for m in learned if m in of] for p, of in found.items()}
    rows = []
    for protocol, methods in found.items():
        numbers = {
            m: {'mean': fmean(v), 'sd': stdev(v) if len(v) > 1 else 0.0, 'values': v}
            for m, v in methods.items()
        }
        row = {'protocol': protocol, 'methods': numbers}
        if len(learned) > 1:
            row['tau'] = float(kendalltau(order[DEFAULT], order[protocol]).statistic)
        rows.append(row)
    return rows


def subjects(workdir: Path, baselines: bool) -> Iterator[tuple[str, str, Any]]:
    """Name, method and subject: the trained run, and what did not learn."""
    import ssljax
    from ssljax import evals, evaluate
    from ssljax.workdir import job_of

    cache.programs()
    model, job = ssljax.load(workdir), job_of(workdir)
    method = job.config['method']
    yield workdir.name, method, evaluate.subject(model, job.source, 'trained')
    if baselines:
        name = f'untrained {method}'
        yield name, name, evaluate.subject(job.untrained(), job.source, 'untrained')
        for name, asks in evals.trivial('knn', job.source, None).items():
            yield name, name, evals.Subject(name, job.source, asks, None, kept={})


def measured(subject: Any, probe: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Numbers by protocol, in percent, and what all subjects have in common."""
    import jax

    from ssljax import evals
    from ssljax.evals.fine_tune import flat, read, weights
    from ssljax.evals.knn import classify, whitened
    from ssljax.evals.subject import features

    def numbers_of(name: str, **options: Any) -> dict[str, float]:
        return evals.offered()[name].run(subject, **options).numbers

    source = subject.source
    (bank, label), (queries, truth) = (
        features(subject, name, np.arange(source.splits[name].count), 'protocol')
        for name in ('train', 'test')
    )
    numbers: dict[str, float] = {}

    def knn(name: str, bank, queries, k: int, temperature: float):
        predicted, _ = classify(bank, label[: len(bank)], queries, [(k, temperature)])
        numbers[name] = 100 * float(np.mean(predicted[0] == truth))

    knn(DEFAULT, bank, queries, 20, 0.07)
    for k, temperature in ((1, 0.07), (5, 0.07), (200, 0.07), (20, 0.5), (20, 0.02), (200, 0.1)):
        knn(f'k-NN k={k} T={temperature}', bank, queries, k, temperature)
    for rows in (1000, 10_000):
        knn(f'k-NN, bank of {rows}', bank[:rows], queries, 20, 0.07)
    mean, scale = bank.mean(0), np.maximum(bank.std(0), 1e-6)
    knn('k-NN, centered', bank - mean, queries - mean, 20, 0.07)
    knn('k-NN, standardized', (bank - mean) / scale, (queries - mean) / scale, 20, 0.07)
    knn('k-NN, whitened', *whitened(bank, queries), 20, 0.07)
    knn('k-NN k=200 T=0.1, whitened', *whitened(bank, queries), 200, 0.1)
    if subject.model:
        row = source.splits['train'].rows(np.arange(1))
        names = ' '.join(flat(weights(subject.model.state, read(subject.model, row))))
        layers = {int(n): b for b, n in re.findall(r'encoder/((?:blocks|BatchNorm)_(\d+))/', names)}
        last = max(layers)
        for title, number in (('last block', last), ('block before the last', last - 1)):
            plain = dict(also=(), whiten=False, picture=False, bank_size=None)
            found = numbers_of('knn', layer=layers[number], **plain)
            numbers[f'k-NN, {title}, mean over places'] = found['accuracy']
    solvers = {'linear_probe': {}, 'linear_svm': {}, 'mlp_probe': {}, 'sgd_probe': {'view': VIEW}}
    for name, options in solvers.items():
        found = numbers_of(name, train_size=probe, **options)
        numbers[f'{name}, {probe} rows'] = found['accuracy']
    found = numbers_of('linear_probe', train_size=1000)
    numbers['linear_probe, 1000 rows'] = found['accuracy']
    found = numbers_of('few_shot')
    numbers['few_shot, 5 ways, 5 shots'] = found['accuracy']
    numbers['few_shot, 5 ways, 1 shot'] = found['accuracy_1_shot']
    found = numbers_of('kmeans')
    numbers['kmeans, accuracy'] = found['accuracy']
    numbers |= {f'kmeans, {name} x 100': 100 * found[name] for name in ('nmi', 'ari')}
    found = numbers_of('retrieval')
    numbers['retrieval, mean average precision'] = found['mean_average_precision']
    numbers['retrieval, recall at 1'] = found['recall_1']
    data = {'name': source.name, 'fingerprint': source.fingerprint, 'decoder': source.decoder}
    device = jax.devices()[0].device_kind
    return numbers, {'device': device, 'data': data, 'bank': len(bank), 'queries': len(queries)}


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
