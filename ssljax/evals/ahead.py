"""How far ahead a predictor sees: a latent to come is told from those of other rows."""

import numpy as np

from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 500,
    among: Count = 50,
) -> Scores:
    """Percent of places whose latent scores highest with its prediction, among so many rows.

    accuracy_k: predicted from k places before, over all places that have such a prediction.
    accuracy: the mean over these k. chance: by guessing, 100 / among.

    split, size: so many rows of this split; none: all.
    among: rows in a group, of which one is right; what is left of the last group is not asked.
    """
    part = part_of(subject.source, split)
    index = pick(part.count, size)
    groups = len(index) // among
    if not groups or among < 2:
        raise Mistake(
            f'ahead: among={among}, and the split {split} of {subject.source.name} gives'
            f' {len(index)} rows; type a number from 2 to {len(index)}'
        )
    ask = readout(subject, 'foresee', 'ahead')
    told, _ = answers(ask, part, index[: groups * among], chunk=among)
    told = told.reshape(groups, among, -1, *told.shape[-2:]).astype(np.float32)
    target, rows = told[..., 0, :], {}  # [groups, among, places, D]
    for k in range(1, told.shape[3]):
        prediction = told[..., k, :]
        asked = prediction.any(-1)  # zeros: no prediction
        if asked.any():
            scores = np.einsum('gisd,gjsd->gisj', prediction, target)
            right = asked & (scores.argmax(-1) == np.arange(among)[:, None])
            share = right.sum(-1) * (asked.size / asked.shape[-1] / asked.sum())
            rows[f'accuracy_{k}'] = 100 * share.ravel()  # a row counts by its places
    if not rows:
        raise Mistake('ahead: foresee predicts nothing; its predictions are all zero')
    mean = np.mean(list(rows.values()), 0)
    return averaged({'accuracy': mean, **rows}, chance=100 / among, rows=len(mean))


evaluator = Evaluator(
    run=score,
    needs=('foresee',),
    shown={
        'accuracy': Shown('latents to come, among {among}'),
        'accuracy_1': Shown('one step ahead'),
    },
    lacking={'accuracy_1': 'accuracy_1: the method does not predict the next step'},
)
