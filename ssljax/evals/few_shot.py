"""N-way K-shot: a handful of examples of classes, then which of them are these?

Vinyals et al. 2016, arXiv:1606.04080 (episodes); by the nearest class mean of centered unit
features, Wang et al. 2019, arXiv:1911.04623 (CL2N).
"""

import numpy as np

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import unit
from ssljax.evals.subject import Subject, encoded, features, part_of, pick
from ssljax.kinds import Count, Counts, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    ways: Count = 5,
    shots: Counts = (5, 1),
    queries: Count = 15,
    episodes: Count = 600,
    split: SplitName = 'test',
    size: Count | None = None,
    center: SplitName = 'train',
    center_size: Count | None = 5000,
    layer: str = '',
) -> Scores:
    """Mean percent right over episodes, the same for every subject; an episode is a row.

    ways: classes of an episode. shots: examples of each class to learn from; accuracy is that of
    the first number, the others follow by their number, as accuracy_1_shot.
    queries: rows of each class to name. episodes: how many are drawn.
    split, size: where they are drawn from, and of how many of its rows; none: of all.
    center, center_size: features are centered by the mean of so many rows of this split; no label
    of it is read.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    """
    subject, source = at_layer(subject, layer), subject.source
    h, label = features(subject, split, pick(part_of(source, split).count, size), 'few_shot')
    around = pick(part_of(source, center).count, center_size)
    mean, _ = encoded(subject, center, around, 'few_shot')
    h = unit(h - mean.mean(0))
    members = [np.flatnonzero(label == c) for c in range(label.max() + 1)]
    members = [rows for rows in members if len(rows) >= max(shots) + queries]
    if len(members) < ways:
        raise Mistake(
            f'few_shot needs {ways} classes of {max(shots) + queries} rows; the split {split} of'
            f' {source.name} has {len(members)}: set ways, shots or queries lower'
        )
    right = {}
    for i, shot in enumerate(shots):
        random = np.random.default_rng(0)
        name = 'accuracy' if i == 0 else f'accuracy_{shot}_shot'
        right[name] = [
            100 * episode(random, h, members, ways, shot, queries) for _ in range(episodes)
        ]
    return averaged(right, ways=ways, shots=shots[0], episodes=episodes, rows=len(h))


def episode(random, h, members, ways, shot, queries) -> float:
    chosen = random.choice(len(members), ways, replace=False)
    rows = np.stack([random.choice(members[c], shot + queries, replace=False) for c in chosen])
    means = unit(h[rows[:, :shot]].mean(1))  # [ways, D]
    named = (h[rows[:, shot:]] @ means.T).argmax(-1)  # [ways, queries]
    return float((named == np.arange(ways)[:, None]).mean())


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={
        'accuracy': Shown('{ways} ways, {shots[0]} shots'),
        'accuracy_1_shot': Shown('{ways} ways, 1 shot'),
    },
)
