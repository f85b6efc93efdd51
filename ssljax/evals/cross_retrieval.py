"""From an image to its texts and from a text to its image, in the space that both share.

Karpathy, Fei-Fei 2015, arXiv:1412.2306 (section 4.2).
"""

from collections.abc import Mapping
from functools import partial
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import percent, unit
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.evals.text_vectors import embedded
from ssljax.kinds import Count, Counts, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    at: Counts = (1, 5, 10),
) -> Scores:
    """By cosine, in percent: text_recall_k, whether one of an image's texts is among the k nearest
    of all texts; image_recall_k, whether a text's image is among the k nearest images.

    The batch's `text` is [B, T], or [B, n, T] where an image has n texts. A tie counts against the
    right one, so what is equal for all finds nothing. rank: the median place, from 1. chance:
    the recall of an order that is drawn.
    split, size: so many rows of this split; none: all. at: each k.
    """
    ask, _ = (readout(subject, name, 'cross_retrieval') for name in ('embed', 'embed_text'))
    part = part_of(subject.source, split)
    if 'text' not in (rows := part.rows(np.arange(1))):
        raise Mistake(
            f'cross_retrieval needs images with texts; the split {split} of {subject.source.name}'
            f' has {", ".join(sorted(rows))}: leave cross_retrieval out of the evals'
        )
    z, rows = answers(ask, part, pick(part.count, size), keep=('text', 'text_length'))
    each = rows['text'].shape[1] if rows['text'].ndim == 3 else 1
    z_text = embedded(subject, flattened(rows, each), 'cross_retrieval')
    mine, theirs = np.arange(len(z)), np.arange(len(z_text)) // each  # the image of each
    sides = {'text': (z, mine, z_text, theirs), 'image': (z_text, theirs, z, mine)}
    ranks = {kind: places(*each) for kind, each in sides.items()}
    recalls = {f'{kind}_recall_{k}': percent(r <= k) for kind, r in ranks.items() for k in at}
    others = {f'{kind}_rank': float(np.median(rank)) for kind, rank in ranks.items()}
    others |= {f'text_chance_{k}': chance(len(z_text), each, k) for k in at}
    others |= {f'image_chance_{k}': chance(len(z), 1, k) for k in at}
    return averaged(recalls, **others, images=len(z), texts=len(z_text))


def chance(count: int, right: int, k: int) -> float:
    """Percent of draws of k of so many, `right` of them right, that have a right one."""
    missed = comb(count - right, k) / comb(count, k) if k <= count else 0.0
    return 100 * (1 - missed)


def flattened(rows: Mapping[str, np.ndarray], each: int) -> dict[str, np.ndarray]:
    """[B, n, T] as [B * n, T], lengths likewise."""
    text = rows['text'].reshape(-1, rows['text'].shape[-1])
    return {'text': text} | {k: v.reshape(-1) for k, v in rows.items() if k == 'text_length'}


def places(z: Any, owner: np.ndarray, others: Any, owners: np.ndarray) -> np.ndarray:
    """For each row of z, the place among all `others` of the nearest one of the same owner."""
    sides = [everywhere(unit(v).astype(np.float32)) for v in (z, others)]
    ids = [everywhere(v.astype(np.int32)) for v in (owner, owners)]
    queries = np.arange(len(z), dtype=np.int32)
    return by_blocks(partial(place, *sides, *ids), queries, 2**23 // len(others) + 1)[0]


@jax.jit
def place(z, others, owner, owners, queries):
    s = jnp.matmul(z[queries], others.T, precision='highest')
    mine = owner[queries][:, None] == owners
    best = jnp.where(mine, s, -jnp.inf).max(1, keepdims=True)
    return (1 + (~mine & (s >= best)).sum(1),)


evaluator = Evaluator(
    run=score,
    needs=('embed', 'embed_text'),
    shown={
        'text_recall_1': Shown('image to text, recall at 1'),
        'image_recall_1': Shown('text to image, recall at 1'),
    },
)
