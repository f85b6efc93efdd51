"""k-NN and linear probe beside torch's, scikit-learn's and lightly's, on the same features; and the
embedding of a config's images beside its training step:
python benchmarks/eval.py --out=results/eval.json [--only=knn]

Features are drawn: classes overlap, directions have a spectrum, as a trained encoder's do, and a
fifth of the labels are any. All take turns in one process; memory is what it holds more at its
most in the first call than before (Linux). lightly takes part where it is installed, and its k-NN
is that of its own file. Tasks may be measured one after another into the same file.
"""

import json
import sys
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import peers  # noqa: E402
import rounds  # noqa: E402
from step import extra  # noqa: E402

from ssljax import cli  # noqa: E402

CLASSES = 10
TASKS = ('knn', 'linear_probe', 'embedding')
IMAGES = 1024  # that are embedded


def main() -> int:
    parser = cli.parser('benchmarks/eval.py', __doc__)
    parser.add_argument('--bank', type=int, default=50_000)
    parser.add_argument('--queries', type=int, default=2_000)
    parser.add_argument('--dim', type=int, default=512)
    parser.add_argument('--train', type=int, default=10_000, help='rows of the linear probe')
    parser.add_argument('--config', default='configs/simclr.py', help='whose images are embedded')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--only', default=','.join(TASKS), metavar='TASK,TASK')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    sizes = {name: getattr(known, name) for name in ('bank', 'queries', 'dim', 'train')}
    head = rounds.about('scikit-learn', 'lightly', 'torch') | sizes
    if not peers.versions('torch'):
        print('PyTorch is not installed: it takes no part')
    for task in known.only.split(','):
        if task == 'embedding':
            mine = embedding(known.config, known.rounds)
        else:
            mine = beside(task, *forms_of(task, **sizes), known.rounds)
        for row in mine:
            print(row, flush=True)
        if known.out:
            head |= {'gigaflop_per_second': rounds.peak()}
            merge(known.out, head, mine)
    return 0


def merge(out: Path, head: dict, mine: list[dict]) -> None:
    """Writes the rows into the file; those of other tasks stay."""
    old = json.loads(out.read_text())['rows'] if out.exists() else []
    rows = [row for row in old if row['task'] != mine[0]['task']]
    rows += [{**row, 'date': head['date']} for row in mine]
    rows.sort(key=lambda row: TASKS.index(row['task']))
    out.write_text(json.dumps({**head, 'rows': rows}, indent=1) + '\n')


def forms_of(task: str, bank: int, queries: int, dim: int, train: int) -> tuple[dict, np.ndarray]:
    """The calls by form, each -> predicted classes; and the true ones."""
    x, y = drawn(1, bank, dim)
    q, truth = drawn(2, queries, dim)
    if task == 'linear_probe':
        few = x[:train], y[:train], q
        forms = {'ours': ours_linear, 'scikit-learn': scikit_linear}
        return {name: partial(form, *few) for name, form in forms.items()}, truth
    forms = {'ours': ours_knn, 'scikit-learn': scikit_knn}
    if peers.versions('torch'):
        forms['torch'] = torch_knn
        forms['torch, blocks of 100'] = partial(torch_knn, block=100)
    if peers.versions('lightly'):
        forms['lightly'] = lightly_knn
    return {name: partial(form, x, y, q) for name, form in forms.items()}, truth


def beside(task: str, forms: dict, truth: np.ndarray, turns: int) -> list[dict]:
    memory, score = {}, {}
    for name, run in forms.items():  # compiles, warms up
        memory[name], predicted = extra(run)
        score[name] = 100 * float((np.asarray(predicted) == truth).mean())
    seconds = rounds.timed(forms, turns)
    compared = rounds.compared(seconds, theirs=('torch', 'lightly'))
    return [
        {
            'task': task,
            'form': name,
            'seconds': median(seconds[name]),
            'milliseconds': compared['milliseconds'][name],
            'ratio_range': compared.get('ratio_range'),  # to the best of torch
            'ratio': median(seconds['ours']) / median(seconds[name]),
            'megabytes': memory[name],
            'accuracy': score[name],
        }
        for name in forms
    ]


def embedding(config: str, turns: int) -> list[dict]:
    """Images per second of `encode`, as an evaluator asks it, and of the training step."""
    import jax

    from ssljax import evaluate, job, model, resolve

    one = job.make(resolve.resolve(config, []))
    state, key = one.fresh(), one.key(model.STEP)
    with one.batches(stop=1) as batches:
        ((_, batch),) = batches
    rows = one.source.splits['train'].rows(np.arange(IMAGES)) | {'index': np.arange(IMAGES)}
    ask = evaluate.subject(one.model.at(state), one.source, 'untrained').readouts['encode']
    program = one.step().lower(state, batch, key, one.acting(0)).compile()
    held = [one.fresh()]  # a step takes the state that it is given

    def step():
        held[0], metrics = program(held[0], batch, key)
        jax.block_until_ready(metrics)

    forms = {
        f'ours, encode of {IMAGES}': lambda: ask(rows),
        f'training step of {one.run.batch}': step,
    }
    seconds = rounds.timed(forms, turns)
    found = rounds.compared(seconds)['milliseconds']
    return [
        {
            'task': 'embedding',
            'form': name,
            'seconds': median(seconds[name]),
            'milliseconds': found[name],
            'images_per_second': count / median(seconds[name]),
        }
        for name, count in zip(forms, (IMAGES, one.run.batch))
    ]


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


def torch_knn(bank, label, queries, k=200, temperature=0.1, block=500):
    import torch

    bank, queries = (torch.nn.functional.normalize(torch.from_numpy(x)) for x in (bank, queries))
    label, named = torch.from_numpy(label).long(), []
    for part in queries.split(block):
        near, index = (part @ bank.T).topk(k)
        weight = ((near - near[:, :1]) / temperature).exp()
        votes = torch.zeros(len(part), CLASSES).scatter_add_(1, label[index], weight)
        named.append(votes.argmax(1))
    return torch.cat(named).numpy()


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
    sys.exit(cli.guarded(main))
