"""Where the class token looks in the last block, head by head.

Caron et al. 2021, arXiv:2104.14294 (figure 1).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import floats
from ssljax.evals.pictures import heated, strips
from ssljax.evals.subject import Subject, answers, entropy, pick, readout, split, unit
from ssljax.names import Mistake

NEEDS = ('attend',)
BASELINES = ()
SHOWN = ('entropy', 'similarity')  # what a table shows, where it is there


def attention(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = 2000,
    images: int = 8,
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """How spread and how alike the maps [B, heads, h, w] are, and a picture of some.

    entropy: of a map scaled to sum 1, as a share of a uniform map's; the mean, the least and the
    greatest head. similarity: the mean cosine of two heads' maps of one image; 1: all heads are
    one. Spread maps are alike whatever they show, so read the two together. mass: what falls on
    the grid, the rest being on other tokens.
    """
    return score(subject, split, size, images, options)


def score(subject, name, size, images, options):
    part = split(subject.source, name)
    index = pick(part.count, size)
    ask = partial(readout(subject, 'attend', 'attention'), **options)
    found, _ = answers(partial(measures, ask, subject.name), part, index)
    mass, similarity, *heads = found.mean(0, dtype=np.float64)
    if images:
        chosen = np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)
        picture(subject, ask, part, index[chosen])
    scores = {
        'entropy': float(np.mean(heads)),
        'entropy_least': float(min(heads)),
        'entropy_greatest': float(max(heads)),
        'similarity': float(similarity),
        'mass': float(mass),
        'heads': len(heads),
        'rows': len(found),
    }
    if len(heads) == 1:
        del scores['similarity']
    return scores


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
