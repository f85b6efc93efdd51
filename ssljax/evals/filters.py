"""What the first layer looks for: its weights as pictures; and how many features a row has.

Olshausen, Field 1996 (Nature 381), figure 4; Treves, Rolls 1991 (Network 2): what `active` is.
"""

import math
import re
from typing import Any

import jax
import numpy as np

from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.pictures import grid
from ssljax.evals.subject import Subject, answers, images_of, pick, readout
from ssljax.kinds import Count, Regex, SplitName
from ssljax.names import Mistake
from ssljax.sharding import path_name


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 1000,
    count: Count = 100,
    path: Regex = '',
) -> Scores:
    """A picture of filters, those of the longest weights first, how spread they are, and how many
    features a row has.

    spread: (sum of w^2)^2 / (D sum of w^4) of a filter's D weights, the mean of all filters: 1, all
    weights are equally large; 1/3, they are normal noise; near 0, the filter is a few pixels.
    active: (sum of |h|)^2 / (D sum of h^2) of a row's D features: 1, all are equally large; near 0,
    the row has a few.

    split, size: so many rows of this split are encoded; none: all.
    count: of the filters in the picture.
    path: a regular expression on the paths of params, as of `decayed` of an optimizer; empty: the
    first kernel in the order of their names that fits the images: [pixels, units], or of
    convolutions [k, k, channels, units].
    """
    ask = readout(subject, 'encode', 'filters')
    part = images_of(subject, split, 'filters')
    h, _ = answers(ask, part, pick(part.count, size))
    h = np.abs(h.reshape(len(h), -1).astype(np.float64))
    active = np.square(h.sum(1)) / np.maximum(h.shape[1] * np.square(h).sum(1), 1e-300)
    shape = part.rows(np.arange(1))['x'].shape[1:]
    params = subject.model.state if subject.model else {}
    found = kernels(params, shape, path)
    if not found:
        raise Mistake(
            f'filters: {subject.name} has no kernel{path and f" with a path like {path!r}"} that'
            f' fits images {list(shape)}: leave filters out of the evals'
        )
    w = next(iter(found.values()))
    power = np.square(w.reshape(len(w), -1).astype(np.float64))
    length = power.sum(1)
    spread = np.square(length) / np.maximum(w[0].size * np.square(power).sum(1), 1e-300)
    shown = w[np.argsort(-length, kind='stable')[:count]]
    # gray is zero; each filter has its own scale
    shown = shown / np.maximum(np.abs(shown).max((1, 2, 3), keepdims=True), 1e-12)
    subject.save('filters', grid(shown, math.ceil(math.sqrt(len(shown)))))
    return averaged({'active': active}, spread=float(spread.mean()), filters=len(w))


def kernels(params: Any, shape: tuple[int, ...], path: str = '') -> dict[str, np.ndarray]:
    """Kernels that fit images [H, W, C], by path: filters [units, h, w, C]."""
    out = {}
    for place, leaf in jax.tree_util.tree_leaves_with_path(params):
        name = path_name(place)
        if not re.search(path or r'^params/.*(^|/)kernel$', name):
            continue
        if leaf.ndim == 2 and leaf.shape[0] == math.prod(shape):
            out[name] = np.asarray(leaf).T.reshape(-1, *shape)
        elif leaf.ndim == 4 and leaf.shape[2] == shape[2]:
            out[name] = np.asarray(leaf).transpose(3, 0, 1, 2)
    return out


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    shown={
        'spread': Shown('filters, spread', less=True, decimals=3),
        'active': Shown('features, active share', decimals=3),
    },
)
