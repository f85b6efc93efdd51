"""Weighted k-nearest neighbors in feature space. Wu et al. 2018, arXiv:1805.01978 (section 3.4)."""

from collections.abc import Iterable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.covariance import covariance, roots
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import percent
from ssljax.evals.pictures import neighbors
from ssljax.evals.subject import Subject, features, part_of, pick
from ssljax.kinds import Count, Positive, SplitName, TestSplit
from ssljax.names import Mistake

SHRINKAGE = 0.02  # of the mean variance, added to every direction's before whitening
# Similarities at a time, by whether it is a CPU: 32 MB are sorted while they are in its cache
PAIRS = {True: 2**23, False: 2**24}


def score(
    subject: Subject,
    *,
    k: Count = 20,
    temperature: Positive = 0.07,
    also: Sequence[tuple[Count, Positive]] = ((200, 0.1),),
    whiten: bool = True,
    bank: SplitName = 'train',
    queries: TestSplit = 'test',
    bank_size: Count | None = 10000,
    query_size: Count | None = None,
    layer: str = '',
    picture: bool = True,
) -> Scores:
    """Percent of queries named right by the vote exp(cosine / T) of their k nearest bank rows.

    k, temperature: of the vote. also: more pairs (k, T), as accuracy_k200, where the bank has so
    many rows.
    whiten: the same of whitened features, where a few strong directions cannot drown the others.
    bank, queries: splits. bank_size, query_size: rows of each; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    picture: whether some queries and their neighbors are saved as a picture.
    """
    source, subject = subject.source, at_layer(subject, layer)
    bank_rows, query_rows = part_of(source, bank), part_of(source, queries)
    i, j = pick(bank_rows.count, bank_size), pick(query_rows.count, query_size)
    if len(i) < k or not len(j):
        raise Mistake(
            f'knn needs {k} bank rows and a query; {bank} gives {len(i)} and {queries} {len(j)}:'
            ' set k lower or the sizes higher'
        )
    if any(np.shape(pair) != (2,) for pair in also):
        raise Mistake(f'knn: also={also} is not pairs (k, T): type also="((200, 0.1),)", or "()"')
    h, label = features(subject, bank, i, 'knn')
    if label.min() == label.max():
        raise Mistake(
            f'knn needs two classes; all {len(i)} bank rows of {source.name} are of class'
            f' {label[0]}: set bank_size higher or leave knn out of the evals'
        )
    q, truth = features(subject, queries, j, 'knn')
    votes = {f'_k{n}': (int(n), float(t)) for n, t in also if n <= len(i)}
    votes = {'': (k, temperature)} | votes
    predicted, nearest = classify(h, label, q, votes.values())
    right = {f'accuracy{name}': percent(p == truth) for name, p in zip(votes, predicted)}
    if whiten:
        h, q = whitened(h, q)
        predicted, _ = classify(h, label, q, votes.values())
        right |= {
            f'accuracy{name}_whitened': percent(p == truth) for name, p in zip(votes, predicted)
        }
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
    return averaged(right, k=k, temperature=temperature, bank=len(i), queries=len(j))


def classify(
    bank: np.ndarray,
    label: np.ndarray,
    queries: np.ndarray,
    votes: Iterable[tuple[int, float]],
    *,
    block: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Class of each query by each vote (k, T) [V, Q], and its neighbors, nearest first [Q, max k].

    A tie goes to the lower class.
    """
    block = block or max(1, PAIRS[jax.default_backend() == 'cpu'] // len(bank) // 16) * 16
    votes, rows = list(votes), unit(everywhere(bank))
    s, nearest = by_blocks(partial(search, rows, k=max(k for k, _ in votes)), queries, block)
    return np.stack([vote(s[:, :k], label[nearest[:, :k]], t) for k, t in votes]), nearest


@jax.jit
def unit(h: jax.Array) -> jax.Array:
    """Rows of length one; zero stays zero."""
    return h / jnp.maximum(jnp.linalg.norm(h, axis=-1, keepdims=True), 1e-12)


@partial(jax.jit, static_argnames='k')
def search(bank: jax.Array, queries: jax.Array, *, k: int) -> list[jax.Array]:
    """The k greatest similarities of each query, and whose they are: [q, k] twice."""
    # [q, n]; in full precision, since a rounded similarity is another neighbor
    s = jnp.matmul(unit(queries), bank.T, precision='highest')
    # the barrier keeps XLA:CPU's top-k, which a slice of its result turns into a sort (8x slower)
    return jax.lax.optimization_barrier(jax.lax.top_k(s, k))


def vote(s: np.ndarray, label: np.ndarray, temperature: float) -> np.ndarray:
    """The class of each query by its neighbors, nearest first: [Q, k] -> [Q]."""
    # on the host: XLA:CPU scatters one number at a time
    classes, rows = int(label.max()) + 1, np.arange(len(s))[:, None]
    # relative to the nearest: cannot overflow
    weight = np.exp((s - s[:, :1]).astype(np.float64) / temperature)
    votes = np.bincount((rows * classes + label).ravel(), weight.ravel(), len(s) * classes)
    return votes.reshape(len(s), classes).argmax(1)


def whitened(bank: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with the mean and the covariance of the bank, shrunk, taken off.

    Cosines do not see a rotation, so a Cholesky factor serves as the principal axes do, and for
    3072 features takes a sixth of their time.
    """
    mean, width = bank.mean(0, dtype=np.float64).astype(np.float32), bank.shape[1]
    spread = covariance(bank)
    shrinkage = SHRINKAGE * np.trace(spread) / width or 1.0  # where all features are constant
    _, inverse = roots(spread + shrinkage * np.eye(width))
    return (bank - mean) @ inverse, (queries - mean) @ inverse


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={
        'accuracy': Shown('k-NN, k = {k}'),
        'accuracy_k200': Shown('k-NN, k = 200'),
        'accuracy_whitened': Shown('k-NN, k = {k}, whitened'),
        'accuracy_k200_whitened': Shown('k-NN, k = 200, whitened'),
    },
)
