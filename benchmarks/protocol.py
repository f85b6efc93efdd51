"""How far a protocol moves a number, and whether the order of methods holds:
python benchmarks/protocol.py --runs WORKDIR... --out=results/protocol.json

Of every run the features of bank and test rows are computed once; then k, temperature, scaling, the
size of the bank and the probe are changed one at a time. The order of methods (means over their
seeds) is compared with that of the default by Kendall's tau.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402

DEFAULT = 'k-NN k=20 T=0.07, raw, whole bank'


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks/protocol.py', description=__doc__)
    parser.add_argument('--runs', nargs='+', type=Path, required=True, metavar='WORKDIR')
    parser.add_argument('--probe', type=int, default=10_000, help='training rows of probes')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args()
    import jax
    from scipy.stats import kendalltau

    found: dict[str, dict[str, list[float]]] = {}
    facts = None
    for workdir in known.runs:
        began = time.perf_counter()
        method, facts, numbers = measured(workdir, known.probe)
        for protocol, value in numbers.items():
            found.setdefault(protocol, {}).setdefault(method, []).append(value)
        print(f'{workdir.name}: {time.perf_counter() - began:.0f} s', flush=True)
    order = {p: [fmean(v) for v in methods.values()] for p, methods in found.items()}
    rows = [
        {
            'protocol': protocol,
            'methods': {
                m: {'mean': fmean(v), 'sd': stdev(v) if len(v) > 1 else 0.0, 'values': v}
                for m, v in methods.items()
            },
            'tau': float(kendalltau(order[DEFAULT], order[protocol]).statistic),
        }
        for protocol, methods in found.items()
    ]
    device = jax.devices()[0].device_kind
    known.out.write_text(json.dumps({'device': device, **facts, 'rows': rows}, indent=1) + '\n')
    return 0


def measured(workdir: Path, probe: int) -> tuple[str, dict, dict[str, float]]:
    """The method's name, what it was trained on, and accuracy by protocol, in percent."""
    import ssljax
    from ssljax.data.source import Split
    from ssljax.evals import Subject, linear_probe, linear_svm, mlp_probe
    from ssljax.evals.knn import classify, whitened
    from ssljax.evals.subject import accuracy

    run = ssljax.load(workdir)
    splits = {}
    for name in ('train', 'validation', 'test'):
        part = run.job.source.splits[name]
        h, y = [], []
        for i in np.array_split(np.arange(part.count), -(-part.count // 1024)):
            rows = part.rows(i)
            h.append(np.asarray(run.encode(rows['x'])).reshape(len(i), -1).astype(np.float32))
            y.append(rows['label'])
        splits[name] = np.concatenate(h), np.concatenate(y).astype(np.int32)
    (bank, label), (queries, truth) = splits['train'], splits['test']
    numbers: dict[str, float] = {}

    def knn(name: str, bank, queries, k: int, temperature: float, rows: int | None = None):
        predicted, _ = classify(bank[:rows], label[:rows], queries, [(k, temperature)])
        numbers[name] = accuracy(predicted[0], truth)[0]

    knn(DEFAULT, bank, queries, 20, 0.07)
    for k, temperature in ((1, 0.07), (5, 0.07), (200, 0.07), (20, 0.5), (20, 0.02), (200, 0.1)):
        knn(f'k-NN k={k} T={temperature}', bank, queries, k, temperature)
    for rows in (1000, 10_000):
        knn(f'k-NN, bank of {rows}', bank, queries, 20, 0.07, rows)
    mean, scale = bank.mean(0), np.maximum(bank.std(0), 1e-6)
    knn('k-NN, centered', bank - mean, queries - mean, 20, 0.07)
    knn('k-NN, standardized', (bank - mean) / scale, (queries - mean) / scale, 20, 0.07)
    knn('k-NN, whitened', *whitened(bank, queries), 20, 0.07)
    knn('k-NN k=200 T=0.1, whitened', *whitened(bank, queries), 200, 0.1)

    def split(x, y):
        return Split(len(x), lambda i: {'x': x[i], 'label': y[i]})

    source = run.job.source._replace(splits={name: split(*rows) for name, rows in splits.items()})
    subject = Subject('trained', source, {'encode': lambda batch: batch['x']}, None)
    for name, evaluator in (('linear probe', linear_probe), ('linear SVM', linear_svm)):
        numbers[f'{name}, {probe} rows'] = evaluator(subject, train_size=probe)['accuracy']
    numbers[f'MLP probe, {probe} rows'] = mlp_probe(subject, train_size=probe)['accuracy']
    numbers['linear probe, 1000 rows'] = linear_probe(subject, train_size=1000)['accuracy']
    data = json.loads((workdir / 'run.json').read_text())['data']
    method = run.job.config['method']
    return method, {'data': data, 'bank': len(bank), 'queries': len(queries)}, numbers


if __name__ == '__main__':
    sys.exit(main())
