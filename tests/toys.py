"""Small sources and subjects for the tests of evaluators."""

import jax
import numpy as np

from ssljax import evals
from ssljax.data.source import Source, Split

KEY = jax.random.key(0)


def blobs(seed, count, dim=12, classes=5, noise=1.0):
    """Overlapping clusters: no method is perfect on them. The means do not depend on the seed."""
    means = np.random.default_rng(99).normal(size=(classes, dim))
    random = np.random.default_rng(seed)
    y = random.integers(classes, size=count)
    return (means[y] + noise * random.normal(size=(count, dim))).astype('f'), y.astype(np.int32)


def source(vocab=(), **splits):
    """A source of in-memory rows; the fingerprint is that of the numbers."""
    found = {
        name: Split(len(rows['x']), lambda i, rows=rows: {k: v[i] for k, v in rows.items()})
        for name, rows in splits.items()
    }
    mark = str(sum(float(np.sum(rows['x'])) for rows in splits.values()))
    return Source('toy', found, mark, vocab=vocab)


def labeled(noise=1.0, **counts):
    counts = counts or dict(train=400, validation=200, test=300)
    rows = {n: blobs(i, c, noise=noise) for i, (n, c) in enumerate(counts.items())}
    return source(**{n: dict(x=x, label=y) for n, (x, y) in rows.items()})


def subject(source, **readouts):
    saved = {}
    who = evals.Subject('someone', source, readouts, KEY, saved.__setitem__)
    return who, saved


def encode(batch):
    return batch['x']


def one_line(mistake, *parts):
    message = str(mistake.value)
    assert '\n' not in message
    for part in parts:
        assert part in message, message


def scores(name, who, **options):
    """What an evaluator says of a subject: numbers and rows."""
    return evals.offered()[name].run(who, **options)


def score(name, who, **options):
    """Its numbers."""
    return scores(name, who, **options).numbers
