"""How many directions features use: what collapses first, and needs no labels.

Roy & Vetterli 2007 (EUSIPCO), section 2; Garrido et al. 2022, arXiv:2210.02885, who choose by it.
"""

import numpy as np
from threadpoolctl import threadpool_limits

from ssljax import collapse
from ssljax.evals.baselines import pixels
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import unit
from ssljax.evals.subject import Subject, encoded, part_of, pick
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake

DEAD = 1e-5  # of the greatest deviation: an entry with less is constant


def score(
    subject: Subject, *, split: SplitName = 'test', size: Count | None = 5000, layer: str = ''
) -> Scores:
    """The effective rank of features of length one, centered: from 1 to the least of D and rows.

    dims: D. alive: the share of the D entries that vary. spread: sqrt(D) times the mean deviation
    of an entry, about 1 where features point everywhere and 0 where they all point one way.

    split, size: so many rows of this split; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    """
    index = pick(part_of(subject.source, split).count, size)
    h, _ = encoded(at_layer(subject, layer), split, index, 'rank')
    if len(h) < 2:
        raise Mistake(f'rank needs two rows; the split {split} of {subject.source.name} gives 1')
    deviation = h.std(0)
    return Scores(
        {
            'effective_rank': float(collapse.rank_of(singular_values(h), len(h))),
            'spread': float(collapse.spread(h)),
            'alive': float((deviation > DEAD * deviation.max()).mean()),
            'dims': h.shape[1],
            'rows': len(h),
        }
    )


def singular_values(h: np.ndarray) -> np.ndarray:
    """Of rows [N, D] of length one, centered.

    By the products of rows or of columns, whichever are fewer, in float64: for 2000 x 3072 a tenth
    of the time of an SVD.
    """
    h = unit(h.astype(np.float64))
    h -= h.mean(0)
    products = h @ h.T if len(h) < h.shape[1] else h.T @ h
    with threadpool_limits(1):  # threads of BLAS that wait for one another on busy cores are slow
        return np.sqrt(np.clip(np.linalg.eigvalsh(products), 0, None))


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels,),
    shown={
        'effective_rank': Shown('effective rank'),
        'spread': Shown('spread', decimals=2),
        'dims': Shown('dimensions', decimals=0),
    },
)
