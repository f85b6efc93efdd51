"""Trivial baselines: (source, key) -> the readouts of somebody who learned nothing.

An empty dict says that the source admits no such baseline.
"""

import functools
import io
import math
from collections.abc import Callable, Iterator

import jax
import numpy as np
from PIL import Image

from ssljax.data.source import Source, draws, of_tokens
from ssljax.evals.measures import flat, floats
from ssljax.evals.ngram import kneser_ney as kneser_ney_ngram
from ssljax.evals.subject import pick
from ssljax.evals.templates import reader as template_reader

Readouts = dict[str, Callable]
CHANCE = 0x5EED  # a stream of draws that no source makes its data from
ORDER = 8  # of the n-grams; on Shakespeare's plays no order is better
ROWS = 20000  # of train, at most, that a baseline is fitted to
LEVELS = 256  # of a pixel


def pixels(source: Source, key: jax.Array) -> Readouts:
    """The data as they are."""
    if of_tokens(source):
        return {}
    return {'encode': lambda batch: flat(batch['x'])}


def standardized(source: Source, key: jax.Array) -> Readouts:
    """The data with mean 0 and standard deviation 1 in each row: no brightness, no contrast."""
    if of_tokens(source):
        return {}

    def encode(batch):
        x = flat(batch['x'])
        x = x - x.mean(1, keepdims=True)
        return x / np.maximum(x.std(1, keepdims=True), 1e-6)

    return {'encode': encode}


def crossfade(source: Source, key: jax.Array) -> Readouts:
    """The data are their own codes: between two rows lies a mean of both."""
    if source.vocab:
        return {}

    def decode(batch):
        return np.reshape(batch.get('z', floats(batch['x'])), np.shape(batch['x']))

    return {'encode': lambda batch: flat(batch['x']), 'decode': decode}


def real(source: Source, key: jax.Array) -> Readouts:
    """Held-out rows of the data in place of samples: the best that a sampler can be."""
    as_given = np.asarray if of_tokens(source) else floats

    def sample(batch, **options):  # those of samplers: a row is what it is
        return as_given(batch['x'])

    return {'sample': sample}


def majority(source: Source, key: jax.Array) -> Readouts:
    """The commonest class of training rows, whatever was asked."""
    if not source.classes:
        return {}

    @functools.cache
    def commonest():
        label = np.concatenate([rows['label'] for rows in fitted_to(source)])
        return np.bincount(label[label >= 0]).argmax()  # below zero: no label is known

    return {'classify': lambda batch: np.full(len(batch['x']), commonest())}


def mean_image(source: Source, key: jax.Array) -> Readouts:
    """The mean of training rows, whatever was asked."""
    if of_tokens(source):
        return {}

    @functools.cache
    def mean():
        count = min(source.splits['train'].count, ROWS)
        total = sum(floats(rows['x']).sum(0, dtype=np.float64) for rows in fitted_to(source))
        return (total / count).astype(np.float32)

    def reconstruct(batch):
        return {'reconstruction': np.repeat(mean()[None], len(batch['x']), 0)}

    return {'reconstruct': reconstruct}


def kmeans(source: Source, key: jax.Array) -> Readouts:
    """K-means of the data as they are, fitted on training rows. It is told how many clusters."""
    if of_tokens(source):
        return {}

    @functools.cache
    def fitted(clusters):
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline

        x = np.concatenate([flat(rows['x']) for rows in fitted_to(source, 10000)])
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
    x = first_row(source)
    if of_tokens(source) or x.ndim != 2 or x.shape[1] > 64:
        return {}

    @functools.cache
    def fitted():
        x = np.concatenate([rows['x'] for rows in fitted_to(source)]).astype(np.float64)
        covariance = np.cov(x.T).reshape(2 * x.shape[1:]) + 1e-6 * np.eye(x.shape[1])
        _, volume = np.linalg.slogdet(2 * np.pi * covariance)
        return x.mean(0), np.linalg.inv(covariance), volume

    def log_prob(batch):
        mean, precision, volume = fitted()
        d = batch['x'] - mean
        return -0.5 * (np.einsum('nd,de,ne->n', d, precision, d) + volume)

    return exact(log_prob)


def bernoulli(source: Source, key: jax.Array) -> Readouts:
    """Each pixel is white by itself, as often as in training rows; for black and white images.

    One white and one black are added to the counts of a pixel.
    """
    if of_tokens(source) or first_row(source).dtype != np.uint8:
        return {}
    few = next(fitted_to(source, 500))['x']
    if not np.isin(few, (0, 255)).all():
        return {}

    @functools.cache
    def logs():  # of black and of white [H W C]
        count = min(source.splits['train'].count, ROWS)
        white = sum((rows['x'] > 127).sum(0) for rows in fitted_to(source)).ravel()
        return np.log1p(count - white) - np.log(count + 2), np.log1p(white) - np.log(count + 2)

    def log_prob(batch):
        black, white = logs()
        x = np.asarray(batch['x']).reshape(len(batch['x']), -1) > 127
        return np.where(x, white, black).sum(1)

    return exact(log_prob)


def per_pixel(source: Source, key: jax.Array) -> Readouts:
    """Each pixel has one of 256 levels by itself, as often as in training rows; for uint8 images.

    One is added to the count of each level. The mass of a row in nats is exact.
    """
    if of_tokens(source) or first_row(source).dtype != np.uint8:
        return {}

    @functools.cache
    def table():  # log p of pixel and level [H W C, 256]
        count, size = min(source.splits['train'].count, ROWS), first_row(source)[0].size
        counts = np.zeros(size * LEVELS, np.int32)
        for rows in fitted_to(source):
            x = rows['x'].reshape(len(rows['x']), -1)
            for part in x:  # a pixel is at one level in a row, so no place is met twice
                counts[np.arange(size) * LEVELS + part] += 1
        return (np.log1p(counts) - np.log(count + LEVELS)).astype(np.float32).reshape(size, LEVELS)

    def log_prob(batch):
        x = np.asarray(batch['x']).reshape(len(batch['x']), -1)
        return table()[np.arange(x.shape[1]), x].sum(1, dtype=np.float64)

    return exact(log_prob)


def webp(source: Source, key: jax.Array) -> Readouts:
    """The length of a lossless WebP file of each image, as nats: a code length is a likelihood."""
    x = first_row(source)
    if source.vocab or x.dtype != np.uint8 or x.ndim != 4 or x.shape[-1] not in (1, 3):
        return {}

    def length(image):
        file = io.BytesIO()
        whole = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert('RGB')
        whole.save(file, 'WEBP', lossless=True, quality=100, method=6)  # as small as it gets
        return file.tell()

    return exact(lambda batch: -8 * math.log(2) * np.array([length(x) for x in batch['x']]))


def truth(source: Source, key: jax.Array) -> Readouts:
    """The density that the rows were drawn from, where it is known: no model does better."""
    if source.log_density is None:
        return {}
    return exact(lambda batch: source.log_density(batch['x']))


def mahalanobis(source: Source, key: jax.Array) -> Readouts:
    """How far a row is from the mean of training rows, in the metric of their covariance.

    A normal fitted to pixels; each gets a hundredth of their mean variance more.
    """
    if source.vocab or first_row(source)[0].size > 4096:
        return {}

    @functools.cache
    def fitted():
        x = np.concatenate([flat(rows['x']) for rows in fitted_to(source, 10000)])
        covariance = np.cov(x.T, dtype=np.float64)
        ridge = 0.01 * np.trace(covariance) / len(covariance)
        return x.mean(0), np.linalg.inv(covariance + ridge * np.eye(len(covariance)))

    def free_energy(batch):
        mean, precision = fitted()
        d = flat(batch['x']) - mean
        return np.einsum('nd,nd->n', d @ precision, d) / 2

    return {'free_energy': free_energy}


def exact(log_prob: Callable) -> Readouts:
    """A likelihood that is known is its own bound, each of its weighted samples is it, and its free
    energy has Z = 1."""

    def log_weights(batch, *, samples):
        return np.repeat(log_prob(batch)[:, None], samples, 1)

    return {
        'log_prob': log_prob,
        'bound': log_prob,
        'log_weights': log_weights,
        'free_energy': lambda batch: -log_prob(batch),
        'log_z_weights': lambda batch, *, steps: np.zeros(len(batch['x'])),
    }


def center(source: Source, key: jax.Array) -> Readouts:
    """One head that looks at the middle, where photographs have their object."""
    if of_tokens(source) or first_row(source).ndim != 4:
        return {}

    def attend(batch):
        side = np.linspace(-1, 1, 32)
        heat = np.exp(-2 * (side[:, None] ** 2 + side**2))
        return np.broadcast_to(heat / heat.sum(), (len(batch['x']), 1, 32, 32))

    return {'attend': attend}


def nearest_template(source: Source, key: jax.Array) -> Readouts:
    """Pieces of ink of a line, each named after the nearest character of the fonts to train on."""
    rows = source.splits['train'].rows(np.arange(1))
    if not source.vocab or 'text' not in rows or not is_line(rows['x']):
        return {}

    def transcribe(batch, **options):  # those of a model, as a beam, are none of its own
        x = np.asarray(batch['x'])
        length = batch.get('length', np.full(len(x), x.shape[2]))
        return template_reader(source.vocab)(x, length)

    return {'transcribe': transcribe}


def evenly(source: Source, key: jax.Array) -> Readouts:
    """The tokens of a text evenly spread over the columns of its line."""
    rows = source.splits['train'].rows(np.arange(1))
    if not {'text', 'positions'} <= set(rows) or not is_line(rows['x']):
        return {}

    def align(batch, **options):
        count, width = batch['text'].shape[1], batch['x'].shape[2]
        sizes = batch.get('text_length', np.full(len(batch['text']), count))[:, None]
        length = batch.get('length', np.full(len(sizes), width))[:, None]
        places = (np.arange(count) + 0.5) / np.maximum(sizes, 1) * length
        return {'positions': np.where(np.arange(count) < sizes, places, 0).astype(np.float32)}

    return {'align': align}


def is_line(x: np.ndarray) -> bool:
    """Whether rows are gray images of bytes."""
    return x.ndim == 4 and x.shape[-1] == 1 and x.dtype == np.uint8


def unigram(source: Source, key: jax.Array) -> Readouts:
    """How often each token occurs in train, one added to every count."""
    if not of_tokens(source):
        return {}

    @functools.cache
    def table():
        counts = 1.0 + np.bincount(train_ids(source), minlength=len(source.vocab))
        return np.log(counts / counts.sum())

    return {'token_log_prob': lambda batch: table()[batch['x'][:, 1:]]}


def kneser_ney(source: Source, key: jax.Array) -> Readouts:
    """Interpolated modified Kneser-Ney of order ORDER, trained on the whole of train."""
    if not of_tokens(source):
        return {}

    def token_log_prob(batch):
        ids, place = unfold(batch['x'], batch['mask'])
        log_p = kneser_ney_ngram(train_ids(source), ids, ORDER, len(source.vocab))
        return np.where(place >= 0, log_p[place], 0)[:, 1:]

    return {'token_log_prob': token_log_prob}


def first_row(source: Source) -> np.ndarray:
    """x of one training row [1, ...]."""
    return np.asarray(source.splits['train'].rows(np.arange(1))['x'])


def fitted_to(
    source: Source, count: int = ROWS, *, chunk: int = 1000
) -> Iterator[dict[str, np.ndarray]]:
    """At most so many training rows, by chunks: large images in one piece would fill the memory."""
    train = source.splits['train']
    index = pick(train.count, count)
    for start in range(0, len(index), chunk):
        yield train.rows(index[start : start + chunk])


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
