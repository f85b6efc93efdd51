"""k-NN and linear probe beside scikit-learn's and lightly's, on the same features:
python benchmarks/eval.py --out=results/eval.json

Features are drawn: classes overlap, directions have a spectrum, as a trained encoder's do, and a
fifth of the labels are any. All take turns in one process; memory is what it holds more at its
most in the first call than before (Linux). lightly takes part where it is installed, and its k-NN
is that of its own file.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import peers  # noqa: E402
from step import extra  # noqa: E402

CLASSES = 10


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks/eval.py', description=__doc__)
    parser.add_argument('--bank', type=int, default=50_000)
    parser.add_argument('--queries', type=int, default=10_000)
    parser.add_argument('--dim', type=int, default=512)
    parser.add_argument('--train', type=int, default=10_000, help='rows of the linear probe')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    import jax

    bank, label = drawn(1, known.bank, known.dim)
    queries, truth = drawn(2, known.queries, known.dim)
    few, named = bank[: known.train], label[: known.train]
    tasks = {
        'knn': {
            'ours': lambda: ours_knn(bank, label, queries),
            'scikit-learn': lambda: scikit_knn(bank, label, queries),
        },
        'linear_probe': {
            'ours': lambda: ours_linear(few, named, queries),
            'scikit-learn': lambda: scikit_linear(few, named, queries),
        },
    }
    if peers.versions('lightly'):
        tasks['knn']['lightly'] = lambda: lightly_knn(bank, label, queries)
    rows = []
    for task, forms in tasks.items():
        seconds = {name: [] for name in forms}
        memory, score = {}, {}
        for name, run in forms.items():  # compiles, warms up
            memory[name], predicted = extra(run)
            score[name] = 100 * float((np.asarray(predicted) == truth).mean())
        for _ in range(known.rounds):
            for name, run in forms.items():
                began = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - began)
        for name in forms:
            rows.append(
                {
                    'task': task,
                    'form': name,
                    'seconds': median(seconds[name]),
                    'ratio': median(seconds['ours']) / median(seconds[name]),
                    'megabytes': memory[name],
                    'accuracy': score[name],
                }
            )
            print(rows[-1], flush=True)
    found = {
        'device': jax.devices()[0].device_kind,
        'cores': os.cpu_count(),
        'versions': peers.versions('jax', 'scikit-learn', 'lightly', 'torch'),
        **{k: v for k, v in vars(known).items() if k != 'out'},
        'rows': rows,
    }
    if known.out:
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def drawn(seed: int, count: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes; the class means are the same for every seed."""
    scale = (1 + np.arange(dim)) ** -0.5
    means = np.random.default_rng(0).normal(size=(CLASSES, dim)) * scale
    random = np.random.default_rng(seed)
    label = random.integers(CLASSES, size=count)
    noise = 2.5 * random.normal(size=(count, dim)) * scale
    told = np.where(random.random(count) < 0.2, random.integers(CLASSES, size=count), label)
    return (means[label] + noise).astype(np.float32), told.astype(np.int32)


def ours_knn(bank, label, queries, k=200, temperature=0.1):
    from ssljax.evals.knn import classify

    return classify(bank, label, queries, [(k, temperature)])[0][0]


def scikit_knn(bank, label, queries, k=200, temperature=0.1):
    from sklearn.neighbors import KNeighborsClassifier

    votes = KNeighborsClassifier(
        k, metric='cosine', weights=lambda d: np.exp((1 - d) / temperature), n_jobs=-1
    )
    return votes.fit(bank, label).predict(queries)


def lightly_knn(bank, label, queries, k=200, temperature=0.1, block=500):
    """A block of queries at a time, as its evaluation does with batches."""
    import torch

    knn = peers.lightly('knn', 'utils.benchmarking')
    bank, queries = (torch.nn.functional.normalize(torch.from_numpy(x)) for x in (bank, queries))
    label, columns = torch.from_numpy(label).long(), bank.T.contiguous()
    named = [
        knn.knn_predict(part, columns, label, CLASSES, k, temperature)[:, 0]
        for part in queries.split(block)
    ]
    return torch.cat(named).numpy()


def ours_linear(x, y, test, l2=1e-3):
    from ssljax.evals.linear_head import fit, predict, problem

    mean, scale = x.mean(0), x.std(0)
    x, test = (x - mean) / scale, (test - mean) / scale
    return predict(fit(problem(x, y), l2), test)


def scikit_linear(x, y, test, l2=1e-3):
    from sklearn.linear_model import LogisticRegression

    mean, scale = x.mean(0), x.std(0)
    line = LogisticRegression(C=1 / (l2 * len(x)), max_iter=1000)
    return line.fit((x - mean) / scale, y).predict((test - mean) / scale)


if __name__ == '__main__':
    sys.exit(main())
