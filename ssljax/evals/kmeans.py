"""K-means of features against classes that nobody told it of."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import cluster as clustering
from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import unit
from ssljax.evals.partitions import against
from ssljax.evals.subject import Subject, features, part_of, pick
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    layer: str = '',
    clusters: Natural = 0,
    starts: Count = 10,
    rounds: Count = 50,
) -> Scores:
    """Centered features of length one, grouped by k-means, against classes.

    nmi, ari (the adjusted Rand index) and purity are shares; accuracy is that of the best
    one-to-one naming of clusters by classes, in percent, where there are as many.

    split, size: so many rows of this split; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    clusters: how many; 0: as many as classes.
    starts: of k-means, each from other random rows; the tightest counts. rounds: of each.
    """
    subject, source = at_layer(subject, layer), subject.source
    h, label = features(subject, split, pick(part_of(source, split).count, size), 'kmeans')
    classes = source.classes or int(label.max()) + 1
    count = clusters or classes
    if not 1 < count <= len(h) or label.min() == label.max():
        raise Mistake(
            f'kmeans needs two classes, and more rows than clusters; the {len(h)} rows of the split'
            f' {split} of {source.name} are of {len(np.unique(label))}, clusters={count}'
        )
    x = jnp.asarray(unit(h - h.mean(0)))
    tries = (grouped(x, start, count, rounds) for start in range(starts))
    _, cluster = min(tries, key=lambda one: one[0])
    scores = against(cluster, label, count, classes)
    return scores._replace(numbers=scores.numbers | {'clusters': count, 'rows': len(h)})


def grouped(x: jax.Array, start: int, count: int, rounds: int) -> tuple[float, np.ndarray]:
    """The mean squared distance to the centers, and the cluster of each row."""
    cluster, centers, _ = clustering.kmeans(jax.random.key(start), x, k=count, rounds=rounds)
    return float(jnp.square(x - centers[cluster]).sum(1).mean()), np.asarray(cluster)


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={
        'nmi': Shown('k-means, NMI', decimals=3),
        'accuracy': Shown('k-means, accuracy'),
    },
)
