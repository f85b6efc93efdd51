"""Where the class token looks in the last block, head by head.

Caron et al. 2021, arXiv:2104.14294 (figure 1).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.measures import entropy, floats, unit
from ssljax.evals.pictures import heated, strips
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 2000,
    images: Natural = 8,
    options: Mapping[str, Any] = {},
) -> Scores:
    """How spread and how alike the maps [B, heads, h, w] are, and a picture of some.

    entropy: of a map scaled to sum 1, as a share of a uniform map's; the mean, the least and the
    greatest head. similarity: the mean cosine of two heads' maps of one image; 1: all heads are
    one. Spread maps are alike whatever they show, so read the two together. mass: what falls on
    the grid, the rest being on other tokens.

    split, size: so many rows of this split; none: all.
    images: in the picture; 0: no picture.
    options: of the readout attend.
    """
    part = part_of(subject.source, split)
    index = pick(part.count, size)
    ask = partial(readout(subject, 'attend', 'attention'), **options)
    measured, _ = answers(partial(measures, ask, subject.name), part, index)
    mass, similarity, *heads = measured.T  # [N] each
    if images:
        chosen = np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)
        picture(subject, ask, part, index[chosen])
    rows = {
        'entropy': np.mean(heads, 0),
        'similarity': similarity,
        'entropy_least': min(heads, key=np.mean),
        'entropy_greatest': max(heads, key=np.mean),
        'mass': mass,
    }
    if len(heads) == 1:
        del rows['similarity']
    return averaged(rows, heads=len(heads), rows=len(measured))


def measures(ask: Callable, who: str, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of each row: the mass, the similarity, and the entropy of each head [B, 2 + heads]."""
    maps = np.asarray(ask(batch), np.float32)
    if maps.ndim != 4 or len(maps) != len(batch['x']) or maps.shape[2] * maps.shape[3] < 2:
        raise Mistake(f'attention needs maps [B, heads, h, w]; {who} gave {list(maps.shape)}')
    if not np.isfinite(maps).all() or maps.min() < 0:
        raise Mistake(f'attention: maps of {who} have values that are no shares: below 0, or NaN')
    flat = maps.reshape(*maps.shape[:2], -1)  # [B, heads, hw]
    mass = flat.sum(-1)
    share = flat / np.maximum(mass, 1e-12)[..., None]
    spread = entropy(share) / np.log(flat.shape[-1])
    heads = maps.shape[1]
    pairs = np.einsum('bip,bjp->bij', unit(flat), unit(flat))[:, ~np.eye(heads, dtype=bool)]
    alike = pairs.mean(1) if heads > 1 else np.ones(len(maps))
    return np.column_stack([mass.mean(1), alike, spread])


def picture(subject: Subject, ask: Callable, part: Any, index: np.ndarray) -> None:
    """Images, and below each what every head looks at, as heat over it in gray."""
    rows = part.rows(index) | {'index': index.astype(np.int32)}
    x, maps = floats(rows['x']), np.asarray(ask(rows))
    if x.ndim != 4:
        return
    zoom = max(1, 96 // max(x.shape[1:3]))  # before the heat, which is smooth
    x = x.repeat(zoom, 1).repeat(zoom, 2)
    shown = {'image': x}
    shown |= {f'head {h + 1}': heated(x, maps[:, h]) for h in range(maps.shape[1])}
    subject.save('attention', strips(shown))


evaluator = Evaluator(
    run=score,
    needs=('attend',),
    shown={
        'entropy': Shown('attention, entropy', decimals=3),
        'similarity': Shown('attention, likeness of heads', decimals=3),
    },
    asks=passed_on('attend'),
    lacking={'similarity': 'similarity: there is one head'},
)
