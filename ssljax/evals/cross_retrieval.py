"""From an image to its texts and from a text to its image, in the space that both share.

Karpathy, Fei-Fei 2015, arXiv:1412.2306 (section 4.2).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.data.source import Split
from ssljax.evals.blocks import by_blocks, everywhere
from ssljax.evals.subject import Subject, accuracy, answers, pick, readout, split, unit
from ssljax.names import Mistake

NEEDS = ('embed', 'embed_text')
BASELINES = ()
SHOWN = ('text_recall_1', 'image_recall_1')  # what a table shows, where it is there


def cross_retrieval(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    at: Sequence[int] = (1, 5, 10),
) -> dict[str, float]:
    """By cosine, in percent: text_recall_k, whether one of an image's texts is among the k nearest
    of all texts; image_recall_k, whether a text's image is among the k nearest images.

    The batch's `text` is [B, T], or [B, n, T] where an image has n texts. A tie counts against the
    right one, so what is equal for all finds nothing. rank: the median place, from 1.
    """
    return score(subject, split, size, at)


def score(subject, name, size, at):
    ask, _ = (readout(subject, name, 'cross_retrieval') for name in NEEDS)
    part = split(subject.source, name)
    if 'text' not in (rows := part.rows(np.arange(1))):
        raise Mistake(
            f'cross_retrieval needs images with texts; the split {name} of {subject.source.name}'
            f' has {", ".join(sorted(rows))}: leave cross_retrieval out of the evals'
        )
    z, rows = answers(ask, part, pick(part.count, size), keep=('text', 'text_length'))
    each = rows['text'].shape[1] if rows['text'].ndim == 3 else 1
    z_text = embedded(subject, flattened(rows, each), 'cross_retrieval')
    mine, theirs = np.arange(len(z)), np.arange(len(z_text)) // each  # the image of each
    found = {'text': (z, mine, z_text, theirs), 'image': (z_text, theirs, z, mine)}
    scores: dict[str, float] = {}
    for kind, sides in found.items():
        rank = places(*sides)
        hits = {k: accuracy(rank <= k, np.ones(len(rank))) for k in at}
        scores |= {f'{kind}_recall_{k}': percent for k, (percent, _) in hits.items()}
        scores[f'{kind}_rank'] = float(np.median(rank))
        if kind == 'text':
            scores['standard_error'] = hits[at[0]][1]
    return scores | {'images': len(z), 'texts': len(z_text)}


def flattened(rows: Mapping[str, np.ndarray], each: int) -> dict[str, np.ndarray]:
    """[B, n, T] as [B * n, T], lengths likewise."""
    text = rows['text'].reshape(-1, rows['text'].shape[-1])
    return {'text': text} | {k: v.reshape(-1) for k, v in rows.items() if k == 'text_length'}


def embedded(subject: Subject, texts: Mapping[str, np.ndarray], who: str) -> np.ndarray:
    """z of texts [N, T]."""
    count = len(texts['text'])
    part = Split(count, lambda i: {name: values[i] for name, values in texts.items()})
    return answers(readout(subject, 'embed_text', who), part, np.arange(count))[0]


def places(z: Any, owner: np.ndarray, others: Any, owners: np.ndarray) -> np.ndarray:
    """For each row of z, the place among all `others` of the nearest one of the same owner."""
    sides = [everywhere(unit(v).astype(np.float32)) for v in (z, others)]
    ids = [everywhere(v.astype(np.int32)) for v in (owner, owners)]
    asked = np.arange(len(z), dtype=np.int32)
    (found,) = by_blocks(partial(place, *sides, *ids), asked, 2**23 // len(others) + 1)
    return found


@jax.jit
def place(z, others, owner, owners, asked):
    s = jnp.matmul(z[asked], others.T, precision='highest')
    mine = owner[asked][:, None] == owners
    best = jnp.where(mine, s, -jnp.inf).max(1, keepdims=True)
    return (1 + (~mine & (s >= best)).sum(1),)
