"""Are these two of one class? Pairs are told apart by the distance of their features.

The equal error rate is the customary measure of who verifies signatures, speakers and faces.
"""

import numpy as np

from ssljax.data.source import mapped
from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import unit
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject, *, split: SplitName = 'test', size: Count | None = None, cosine: bool = False
) -> Scores:
    """Percent of errors where as many true pairs are refused as false ones are accepted.

    error: the mean of the shares that are wrong, of the pairs that are the same and of others, at
    that threshold of the distance. missed: the share of true pairs that is refused where one in a
    hundred false ones is accepted. Rows need x, y and `same`, as those of the source `pairs`.

    split, size: so many pairs of this split; none: all.
    cosine: whether features have length one before they are compared.
    """
    ask = readout(subject, 'encode', 'verification')
    part = part_of(subject.source, split)
    index = pick(part.count, size)
    rows = part.rows(index[:1])
    if absent := [name for name in ('y', 'same') if name not in rows]:
        raise Mistake(
            f'verification needs {", ".join(absent)} in the rows of {subject.source.name}: type'
            ' data=dict(name="pairs", of=dict(...)), or leave verification out of the evals'
        )
    z1, rows = answers(ask, part, index, keep=('same',))
    second = mapped(part, lambda i, rows: {'x': rows['y']})
    z2, _ = answers(ask, second, index)
    z1, z2 = (np.reshape(z, (len(z), -1)).astype(np.float64) for z in (z1, z2))
    if cosine:
        z1, z2 = unit(z1), unit(z2)
    same = rows['same'].astype(bool)
    if same.all() or not same.any():
        raise Mistake(
            f'verification: all {len(same)} pairs of {split} are alike in `same`; set size higher'
        )
    distance = np.linalg.norm(z1 - z2, axis=1)
    wrong = (distance > equal(distance, same)) == same
    # each kind counts half, however many pairs it has
    weight = len(same) / (2 * np.where(same, same.sum(), (~same).sum()))
    strict = np.quantile(distance[~same], 0.01)
    return averaged(
        {'error': 100 * weight * wrong},
        missed=float(100 * (distance[same] >= strict).mean()),
        rows=len(same),
    )


def equal(distance: np.ndarray, same: np.ndarray) -> float:
    """The threshold at which the shares of true pairs above and of false ones not above are most
    alike: one of the distances, or below all of them."""
    order = np.argsort(distance, kind='stable')
    d, true = distance[order], same[order]
    accepted = np.stack([np.cumsum(true) / true.sum(), np.cumsum(~true) / (~true).sum()])
    apart = np.abs(1 - accepted[0] - accepted[1])
    apart[:-1][d[:-1] == d[1:]] = np.inf  # of equal distances, all are accepted or none
    return float(d[apart.argmin()])


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={
        'error': Shown('verification, equal error rate', less=True, trivial=50.0),
        'missed': Shown('verification, missed at 1 % false', less=True),
    },
)
