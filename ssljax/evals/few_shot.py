"""N-way K-shot: a handful of examples of classes, then which of them are these?

Vinyals et al. 2016, arXiv:1606.04080 (episodes); by the nearest class mean of centered unit
features, Wang et al. 2019, arXiv:1911.04623 (CL2N).
"""

from collections.abc import Sequence

import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject, encoded, features, pick, split, unit
from ssljax.names import Mistake

NEEDS = ('encode',)
BASELINES = (pixels, standardized)
SHOWN = ('accuracy', 'accuracy_1_shot')  # what a table shows, where it is there


def few_shot(
    subject: Subject,
    *,
    ways: int = 5,
    shots: Sequence[int] = (5, 1),
    queries: int = 15,
    episodes: int = 600,
    split: str = 'test',
    size: int | None = None,
    center: str = 'train',
    center_size: int | None = 5000,
    layer: str = '',
) -> dict[str, float]:
    """Mean percent right over episodes drawn from the split, with its standard error.

    Each episode draws `ways` classes, and of each `shots` examples to learn from and `queries` to
    name. accuracy is that of the first of `shots`, the others follow by their number. Features are
    centered by the mean of the split `center`; no label of it is read.
    """
    subject = at_layer(subject, layer)
    return score(subject, ways, shots, queries, episodes, split, size, center, center_size)


def score(subject, ways, shots, queries, episodes, name, size, center, center_size):
    part = split(subject.source, name)
    h, label = features(subject, name, pick(part.count, size), 'few_shot')
    around = pick(split(subject.source, center).count, center_size)
    mean, _ = encoded(subject, center, around, 'few_shot')
    h = unit(h - mean.mean(0))
    members = [np.flatnonzero(label == c) for c in range(label.max() + 1)]
    members = [rows for rows in members if len(rows) >= max(shots) + queries]
    if len(members) < ways:
        raise Mistake(
            f'few_shot needs {ways} classes of {max(shots) + queries} rows; the split {name} of'
            f' {subject.source.name} has {len(members)}: set ways, shots or queries lower'
        )
    found = {}
    for i, shot in enumerate(shots):
        random = np.random.default_rng(0)
        right = [episode(random, h, members, ways, shot, queries) for _ in range(episodes)]
        at = '' if i == 0 else f'_{shot}_shot'
        found[f'accuracy{at}'] = 100 * float(np.mean(right))
        found[f'standard_error{at}'] = 100 * float(np.std(right) / np.sqrt(episodes))
    return found | {'ways': ways, 'shots': shots[0], 'episodes': episodes, 'rows': len(h)}


def episode(random, h, members, ways, shot, queries) -> float:
    chosen = random.choice(len(members), ways, replace=False)
    rows = np.stack([random.choice(members[c], shot + queries, replace=False) for c in chosen])
    means = unit(h[rows[:, :shot]].mean(1))  # [ways, D]
    named = (h[rows[:, shot:]] @ means.T).argmax(-1)  # [ways, queries]
    return float((named == np.arange(ways)[:, None]).mean())
