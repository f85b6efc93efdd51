"""Whether rows of another source have more energy than those of the source that was learned.

Hendrycks, Gimpel 2017, arXiv:1610.02136 (area under the curve); Du, Mordatch 2019,
arXiv:1903.08689, section 4.4 (energies).
"""

from typing import Any

import numpy as np

from ssljax import data
from ssljax.evals.baselines import bernoulli, gaussian, mahalanobis, per_pixel
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, DataSpec, OtherSplit, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 2000,
    other: DataSpec = dict(name='glyphs', size=8, train=1),
    other_split: OtherSplit = 'test',
) -> Scores:
    """auc: how often, in percent, a row of `other` has more free energy than one of this source.

    It is the area under the ROC curve, 50 for who cannot tell. Of a row it is the share of the
    other rows that have more energy, a tie being a half. Nothing was learned of `other`: a model
    that gives little energy to simple rows of any kind may be far below 50.

    split, size: so many rows of this split; none: all. As many of the other.
    other, other_split: a source whose rows have the same shape, and its split.
    """
    ask = readout(subject, 'free_energy', 'out_of_class')
    mine, theirs = part_of(subject.source, split), None
    source = data.make(other)
    theirs = part_of(source, other_split)
    shapes = [part.rows(np.arange(1))['x'] for part in (mine, theirs)]
    if shapes[0].shape != shapes[1].shape or shapes[0].dtype != shapes[1].dtype:
        told = [f'{x.dtype}{list(x.shape[1:])}' for x in shapes]
        raise Mistake(
            f'out_of_class: rows of {source.name} are {told[1]}, those of {subject.source.name}'
            f' {told[0]}; type another --config.evals.out_of_class.other.name, or its size'
        )
    f, g = (energies(subject, ask, part, size) for part in (mine, theirs))
    from scipy.stats import rankdata  # a second of imports

    # the rank among all, without that among its own, counts those of `other` that are below
    below = rankdata(np.concatenate([f, g]))[: len(f)] - rankdata(f)
    numbers = {'energy': float(f.mean()), 'energy_other': float(g.mean())}
    return averaged({'auc': 100 * (1 - below / len(g))}, **numbers, rows=len(f), others=len(g))


def energies(subject: Subject, ask: Any, part: Any, size: int | None) -> np.ndarray:
    f, _ = answers(ask, part, pick(part.count, size))
    if f.ndim != 1 or np.isnan(f).any():
        raise Mistake(
            f'out_of_class needs free_energy [B], numbers; {subject.name} gave {list(f.shape)} with'
            f' {int(np.isnan(f).sum())} that are none'
        )
    return f.astype(np.float64)


evaluator = Evaluator(
    run=score,
    needs=('free_energy',),
    baselines=(gaussian, bernoulli, per_pixel, mahalanobis),
    shown={'auc': Shown('out of class, AUC', trivial=50.0)},
)
