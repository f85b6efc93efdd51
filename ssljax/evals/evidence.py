"""Bounds on the likelihood of held-out rows from weighted samples of the posterior.

Kingma, Welling 2013, arXiv:1312.6114 (ELBO); Burda et al. 2015, arXiv:1509.00519 (eq. 8: more
samples, a tighter bound).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ssljax.evals.baselines import bernoulli, gaussian, per_pixel
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 1000,
    samples: Count = 64,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Mean nats per row: elbo, the mean of log w; importance_weighted, the log of the mean of w.

    split, size: so many rows of this split are scored; none: all.
    samples: of the posterior, for each row. log_weights gives log w = log p(x, z) - log q(z | x) of
    each, [B, samples].
    options: of log_weights, beside `samples`.

    bits_per_dim is of the importance-weighted bound; effective: (sum w)^2 / sum w^2, of so many
    samples, on average: near one, and the bound is loose.
    """
    part = part_of(subject.source, split)
    ask = readout(subject, 'log_weights', 'evidence')
    w, _ = answers(ask, part, pick(part.count, size), samples=samples, **options)
    if w.ndim != 2 or w.shape[1] != samples:
        raise Mistake(
            f'evidence needs log_weights [B, {samples}]; {subject.name} gave {list(w.shape)}'
        )
    if bad := int(np.isnan(w).any(1).sum()):
        raise Mistake(f'evidence: log_weights of {subject.name} are not numbers in {bad} rows')
    w = w.astype(np.float64)
    bound = logsumexp(w, axis=1) - math.log(samples)  # [N]
    dims = math.prod(part.rows(np.arange(1))['x'].shape[1:])
    return averaged(
        {
            'importance_weighted': bound,
            'elbo': w.mean(1),
            'bits_per_dim': -bound / dims / math.log(2),
            'effective': np.exp(2 * logsumexp(w, axis=1) - logsumexp(2 * w, axis=1)),
        },
        samples=samples,
        rows=len(w),
    )


evaluator = Evaluator(
    run=score,
    needs=('log_weights',),
    baselines=(gaussian, bernoulli, per_pixel),
    shown={
        'importance_weighted': Shown('importance-weighted bound, nats', decimals=2),
        'elbo': Shown('ELBO, nats', decimals=2),
    },
    asks=lambda options: {'log_weights': {**options['options'], 'samples': options['samples']}},
)
