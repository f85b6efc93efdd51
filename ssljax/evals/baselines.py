"""Trivial baselines: (source, key) -> the readouts of somebody who learned nothing.

An empty dict says that the source admits no such baseline.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from ssljax.data.source import Source, draws
from ssljax.evals.ngram import kneser_ney as kneser_ney_ngram
from ssljax.evals.subject import pick

Readouts = dict[str, Callable]
CHANCE = 0x5EED  # a stream of draws that no source makes its data from
ORDER = 8  # of the n-grams; on Shakespeare's plays no order is better


def pixels(source: Source, key: jax.Array) -> Readouts:
    """The data as they are."""
    if source.vocab:
        return {}
    return {'encode': lambda batch: flat(batch['x'])}


def standardized(source: Source, key: jax.Array) -> Readouts:
    """The data with mean 0 and standard deviation 1 in each row: no brightness, no contrast."""
    if source.vocab:
        return {}

    def encode(batch):
        x = flat(batch['x'])
        x = x - x.mean(1, keepdims=True)
        return x / np.maximum(x.std(1, keepdims=True), 1e-6)

    return {'encode': encode}


def real(source: Source, key: jax.Array) -> Readouts:
    """Held-out rows of the data in place of samples: the bound."""

    def sample(batch):
        return np.asarray(batch['x']) if source.vocab else floats(batch['x'])

    return {'sample': sample}


def majority(source: Source, key: jax.Array) -> Readouts:
    """The commonest class of training rows, whatever was asked."""
    if not source.classes:
        return {}

    @functools.cache
    def commonest():
        return np.bincount(some(source, 20000)['label']).argmax()

    return {'classify': lambda batch: np.full(len(batch['x']), commonest())}


def mean_image(source: Source, key: jax.Array) -> Readouts:
    """The mean of training rows, whatever was asked."""
    if source.vocab:
        return {}

    @functools.cache
    def mean():
        return floats(some(source, 20000)['x']).mean(0)

    return {'reconstruct': lambda batch: np.repeat(mean()[None], len(batch['x']), 0)}


def kmeans(source: Source, key: jax.Array) -> Readouts:
    """K-means of the data as they are, fitted on training rows. It is told how many clusters."""
    if source.vocab:
        return {}

    @functools.cache
    def fitted(clusters):
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        x = flat(some(source, 10000)['x'])
        # on 3072 pixels and for 300 clusters: the same scores in an eighth of the time
        axes = PCA(min(64, *x.shape), svd_solver='randomized', random_state=0)
        means = MiniBatchKMeans(min(clusters, len(x)), n_init=3, random_state=0)
        return make_pipeline(axes, means).fit(x)

    return {'assign': lambda batch, *, clusters: fitted(clusters).predict(flat(batch['x']))}


def chance(source: Source, key: jax.Array) -> Readouts:
    """Each row in a cluster drawn at random: what a score owes to the number of clusters."""

    def assign(batch, *, clusters):
        words = draws(0, CHANCE, batch['index'], 1)[:, 0]
        return (words % np.uint64(clusters)).astype(np.int32)

    return {'assign': assign}


def gaussian(source: Source, key: jax.Array) -> Readouts:
    """One Gaussian fitted to training rows; for vectors [N, D] that are few-dimensional."""
    x = some(source, 20000)['x']
    if source.vocab or x.ndim != 2 or x.shape[1] > 64:
        return {}
    mean, covariance = x.mean(0), np.cov(x.T) + 1e-6 * np.eye(x.shape[1])
    precision, (_, volume) = np.linalg.inv(covariance), np.linalg.slogdet(2 * np.pi * covariance)

    def log_prob(batch):
        d = batch['x'] - mean
        return -0.5 * (np.einsum('nd,de,ne->n', d, precision, d) + volume)

    def log_weights(batch, *, samples):  # exact, so each bound is it
        return np.repeat(log_prob(batch)[:, None], samples, 1)

    return {'log_prob': log_prob, 'log_weights': log_weights}


def center(source: Source, key: jax.Array) -> Readouts:
    """One head that looks at the middle, where photographs have their object."""
    if source.vocab or source.splits['train'].rows(np.arange(1))['x'].ndim != 4:
        return {}

    def attend(batch):
        side = np.linspace(-1, 1, 32)
        map = np.exp(-2 * (side[:, None] ** 2 + side**2))
        return np.broadcast_to(map / map.sum(), (len(batch['x']), 1, 32, 32))

    return {'attend': attend}


def unigram(source: Source, key: jax.Array) -> Readouts:
    """How often each token occurs in train, one added to every count."""
    if not source.vocab:
        return {}

    @functools.cache
    def table():
        counts = 1.0 + np.bincount(train_ids(source), minlength=len(source.vocab))
        return np.log(counts / counts.sum())

    return {'log_prob': lambda batch: table()[batch['x'][:, 1:]]}


def kneser_ney(source: Source, key: jax.Array) -> Readouts:
    """Interpolated modified Kneser-Ney of order ORDER, trained on the whole of train."""
    if not source.vocab:
        return {}

    def log_prob(batch):
        ids, place = unfold(batch['x'], batch['mask'])
        found = kneser_ney_ngram(train_ids(source), ids, ORDER, len(source.vocab))
        return np.where(place >= 0, found[place], 0)[:, 1:]

    return {'log_prob': log_prob}


def floats(x: np.ndarray) -> np.ndarray:
    """The host's uint8 as the device's float32 in [-1, 1]; floats as they are."""
    x = np.asarray(x)
    return x / np.float32(127.5) - 1 if x.dtype == np.uint8 else x.astype(np.float32)


def flat(x: np.ndarray) -> np.ndarray:
    return floats(x).reshape(len(x), -1)


def some(source: Source, count: int) -> dict[str, np.ndarray]:
    """At most so many training rows."""
    train = source.splits['train']
    return train.rows(pick(train.count, count))


def train_ids(source: Source) -> np.ndarray:
    """The training text as one row of tokens; its windows start at every position."""
    train = source.splits['train']
    length = train.rows(np.arange(1))['x'].shape[1]
    x = train.rows(np.append(np.arange(0, train.count - 1, length), train.count - 1))['x']
    overlap = length - 1 - (train.count - 2) % length  # of the last window with the one before
    return np.concatenate([x[:-1].ravel(), x[-1, overlap:]]) if train.count > 1 else x[0]


def unfold(x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows [B, T] that tile a text -> the text they cover, and the place in it of each scored
    token (else -1). The text starts with the context of the first window."""
    scored = mask > 0
    fresh = scored.copy()
    fresh[0, : scored[0].argmax()] = True
    place = np.where(fresh, np.cumsum(fresh).reshape(fresh.shape) - 1, -1)
    return x[fresh], np.where(scored, place, -1)
