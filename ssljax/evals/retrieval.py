"""Who is like me? Every row asks all others; those of its class are what it looks for."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject, features, pick, split, unit
from ssljax.names import Mistake

NEEDS = ('encode',)
BASELINES = (pixels, standardized)
SHOWN = ('mean_average_precision', 'recall_1')  # what a table shows, where it is there


def retrieval(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = 5000,
    at: Sequence[int] = (1, 5, 10),
    layer: str = '',
) -> dict[str, float]:
    """By cosine, in percent: recall_k, whether one of the k nearest is of the class; and the mean
    over rows of the average precision over the whole order.

    Rows whose class has no other are not asked.
    """
    return score(at_layer(subject, layer), split, size, at)


def score(subject, name, size, at):
    h, label = features(subject, name, pick(split(subject.source, name).count, size), 'retrieval')
    h = unit(h)
    asked = np.flatnonzero(np.bincount(label)[label] > 1)
    if not len(asked) or label.min() == label.max():
        raise Mistake(
            f'retrieval needs two classes, one with two rows; the {len(h)} rows of the split {name}'
            f' of {subject.source.name} have not: set size higher'
        )
    rows = everywhere(h), everywhere(label)
    found, precision = by_blocks(
        lambda part: ranks(*rows, part, at=tuple(at)), asked.astype(np.int32), 2**23 // len(h) + 1
    )
    percents = {f'recall_{k}': 100 * float(hits.mean()) for k, hits in zip(at, found.T)}
    error = 100 * float(precision.std() / np.sqrt(len(precision)))
    return {
        'mean_average_precision': 100 * float(precision.mean()),
        'standard_error': error,
        **percents,
        'queries': len(asked),
        'rows': len(h),
    }


@partial(jax.jit, static_argnames='at')
def ranks(h, label, asked, *, at):
    """Of each query: whether a row of its class is among the k nearest [q, K], and the average
    precision [q]."""
    s = jnp.matmul(h[asked], h.T, precision='highest')
    s = jnp.where(asked[:, None] == jnp.arange(len(h)), -2.0, s)  # itself comes last
    order = jnp.argsort(-s, axis=1)[:, :-1]
    right = label[order] == label[asked][:, None]  # [q, N - 1]
    hits = jnp.cumsum(right, 1)
    precision = hits / jnp.arange(1, len(h))
    average = (precision * right).sum(1) / right.sum(1)
    return jnp.stack([hits[:, k - 1] > 0 for k in at], 1), average
