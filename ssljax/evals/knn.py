"""Weighted k-nearest neighbors in feature space. Wu et al. 2018, arXiv:1805.01978 (section 3.4)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.pictures import neighbors
from ssljax.evals.subject import Subject, accuracy, features, pick, split
from ssljax.names import Mistake

NEEDS = 'encode'
BASELINES = (pixels, standardized)
SHOWN = ('accuracy',)  # what a table shows, where it is there


def knn(
    subject: Subject,
    *,
    k: int = 20,
    temperature: float = 0.07,
    bank: str = 'train',
    queries: str = 'test',
    bank_size: int | None = 10000,
    query_size: int | None = None,
    picture: bool = True,
) -> dict[str, float]:
    """Percent of queries named right by the vote exp(cosine / T) of their k nearest bank rows."""
    source = subject.source
    bank_rows, query_rows = split(source, bank), split(source, queries)
    i, j = pick(bank_rows.count, bank_size), pick(query_rows.count, query_size)
    if len(i) < k or not len(j):
        raise Mistake(
            f'knn needs {k} bank rows and a query; {bank} gives {len(i)} and {queries} {len(j)}:'
            ' set k lower or the sizes higher'
        )
    h, label = features(subject, bank, i, 'knn')
    if label.min() == label.max():
        raise Mistake(
            f'knn needs two classes; all {len(i)} bank rows of {source.name} are of class'
            f' {label[0]}: set bank_size higher or leave knn out of the evals'
        )
    q, truth = features(subject, queries, j, 'knn')
    predicted, nearest = classify(h, label, q, k=k, temperature=temperature)
    if picture:
        some = np.linspace(0, len(j) - 1, min(8, len(j))).astype(int)
        close = nearest[some, :5]
        image = neighbors(
            query_rows.rows(j[some])['x'],
            np.stack([bank_rows.rows(i[row])['x'] for row in close]),
            label[close] == truth[some, None],
        )
        if image is not None:
            subject.save('neighbors', image)
    percent, error = accuracy(predicted, truth)
    return {
        'accuracy': percent,
        'standard_error': error,
        'k': k,
        'temperature': temperature,
        'bank': len(i),
        'queries': len(j),
    }


def classify(
    bank: np.ndarray,
    label: np.ndarray,
    queries: np.ndarray,
    *,
    k: int,
    temperature: float,
    block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Class of each query [Q] and its neighbors, nearest first [Q, k]; a tie goes to the lower."""
    # 64 MB of similarities at a time; the last block is padded, so that one program serves all
    block = min(len(queries), block or max(16, 2**24 // len(bank)))
    bank, queries, classes = jnp.asarray(unit(bank)), unit(queries), int(label.max()) + 1
    found = []
    for at in range(0, len(queries), block):
        part = queries[at : at + block]
        part = np.pad(part, ((0, block - len(part)), (0, 0)))
        found.append(jax.device_get(vote(bank, label, part, temperature, k=k, classes=classes)))
    predicted, nearest = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return predicted[: len(queries)], nearest[: len(queries)]


def unit(h: np.ndarray) -> np.ndarray:
    return h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)


@partial(jax.jit, static_argnames=('k', 'classes'))
def vote(bank, label, queries, temperature, *, k, classes):
    # [q, n]; in full precision, since a rounded similarity is another neighbor
    s = jnp.matmul(queries, bank.T, precision='highest')
    # the barrier keeps XLA:CPU's top-k, which a slice of its result turns into a sort (8x slower)
    s, nearest = jax.lax.optimization_barrier(jax.lax.top_k(s, k))  # [q, k]
    weight = jnp.exp((s - s[:, :1]) / temperature)  # relative to the nearest: cannot overflow
    votes = jnp.zeros((len(queries), classes))
    votes = votes.at[jnp.arange(len(queries))[:, None], label[nearest]].add(weight)
    return votes.argmax(1), nearest
