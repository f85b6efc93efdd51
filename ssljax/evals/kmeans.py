"""K-means of features against classes that nobody told it of."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import cluster as clustering
from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.cluster import against
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject, features, pick, split, unit
from ssljax.names import Mistake

NEEDS = ('encode',)
BASELINES = (pixels, standardized)
SHOWN = ('nmi', 'accuracy')  # what a table shows, where it is there


def kmeans(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    layer: str = '',
    clusters: int = 0,
    starts: int = 10,
    rounds: int = 50,
) -> dict[str, float]:
    """Centered features of length one, grouped by k-means into as many clusters as classes.

    The tightest of so many starts. nmi, ari (the adjusted Rand index) and purity are shares,
    accuracy that of the best one-to-one naming of clusters by classes, in percent, where there are
    as many.
    """
    return score(at_layer(subject, layer), split, size, clusters, starts, rounds)


def score(subject, name, size, clusters, starts, rounds):
    h, label = features(subject, name, pick(split(subject.source, name).count, size), 'kmeans')
    classes = subject.source.classes or int(label.max()) + 1
    count = clusters or classes
    if not 1 < count <= len(h) or label.min() == label.max():
        raise Mistake(
            f'kmeans needs two classes, and more rows than clusters; the {len(h)} rows of the split'
            f' {name} of {subject.source.name} are of {len(np.unique(label))}, clusters={count}'
        )
    x = jnp.asarray(unit(h - h.mean(0)))
    tries = (grouped(x, start, count, rounds) for start in range(starts))
    _, found = min(tries, key=lambda tried: tried[0])
    return against(found, label, count, classes) | {'clusters': count, 'rows': len(h)}


def grouped(x, start: int, count: int, rounds: int) -> tuple[float, np.ndarray]:
    """The mean squared distance to the centers, and the cluster of each row."""
    found, centers, _ = clustering.kmeans(jax.random.key(start), x, k=count, rounds=rounds)
    return float(jnp.square(x - centers[found]).sum(1).mean()), np.asarray(found)
