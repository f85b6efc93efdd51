"""Who is like me? Every row asks all others; those of its class are what it looks for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import percent, unit
from ssljax.evals.subject import Subject, features, part_of, pick
from ssljax.kinds import Count, Counts, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 5000,
    at: Counts = (1, 5, 10),
    layer: str = '',
) -> Scores:
    """By cosine, in percent: recall_k, whether one of the k nearest is of the class; and the mean
    over rows of the average precision over the whole order.

    Rows whose class has no other are not asked.

    split, size: so many rows of this split; none: all. at: each k.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    """
    part = part_of(subject.source, split)
    h, label = features(at_layer(subject, layer), split, pick(part.count, size), 'retrieval')
    h = unit(h)
    asked = np.flatnonzero(np.bincount(label)[label] > 1)
    if not len(asked) or label.min() == label.max():
        raise Mistake(
            f'retrieval needs two classes, one with two rows; the {len(h)} rows of the split'
            f' {split} of {subject.source.name} have not: set size higher'
        )
    if max(at) >= len(h):
        raise Mistake(
            f'retrieval needs {max(at)} other rows for at={tuple(at)}; the split {split} of'
            f' {subject.source.name} gives {len(h) - 1}: set at lower or size higher'
        )
    rows = everywhere(h), everywhere(label)
    hits, precision = by_blocks(
        lambda part: ranks(*rows, part, at=tuple(at)), asked.astype(np.int32), 2**23 // len(h) + 1
    )
    recalls = {f'recall_{k}': percent(hit) for k, hit in zip(at, hits.T)}
    return averaged(
        {'mean_average_precision': 100 * precision, **recalls}, queries=len(asked), rows=len(h)
    )


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


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={
        'mean_average_precision': Shown('retrieval, mean average precision'),
        'recall_1': Shown('retrieval, recall at 1'),
    },
)
