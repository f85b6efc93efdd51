"""Bounds on the likelihood of held-out rows from weighted samples of the posterior.

Kingma, Welling 2013, arXiv:1312.6114 (ELBO); Burda et al. 2015, arXiv:1509.00519 (eq. 8: more
samples, a tighter bound).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ssljax.evals.baselines import gaussian
from ssljax.evals.subject import Subject, answers, pick, ratio, readout, split
from ssljax.names import Mistake

NEEDS = ('log_weights',)
BASELINES = (gaussian,)
SHOWN = ('importance_weighted', 'elbo')  # what a table shows, where it is there


def evidence(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = 1000,
    samples: int = 64,
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Mean nats per row: elbo, the mean of log w; importance_weighted, the log of the mean of w.

    log_weights gives log w = log p(x, z) - log q(z | x), [B, samples]. bits_per_dim is of the
    importance-weighted bound; effective: (sum w)^2 / sum w^2, of so many samples, on average: near
    one, and the bound is loose.
    """
    return score(subject, split, size, samples, options)


def score(subject, name, size, samples, options):
    part = split(subject.source, name)
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
    nats, error = ratio(bound, np.ones(len(bound)))
    dims = math.prod(part.rows(np.arange(1))['x'].shape[1:])
    return {
        'importance_weighted': nats,
        'standard_error': error,
        'elbo': float(w.mean()),
        'bits_per_dim': -nats / dims / math.log(2),
        'effective': float(np.exp(2 * logsumexp(w, axis=1) - logsumexp(2 * w, axis=1)).mean()),
        'samples': samples,
        'rows': len(w),
    }
