"""Held-out likelihood of models whose density is known up to a factor Z, which runs estimate.

Neal 2001 (Statistics and Computing 11); Salakhutdinov, Murray 2008 (ICML): table 1, with the
standard error of log Z.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ssljax.evals.baselines import bernoulli, gaussian
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    runs: Count = 100,
    steps: Count = 1000,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Mean nats per row, free_energy + log Z, less is better, and how sure log Z is.

    split, size: so many rows of this split are scored; none: all.
    runs, steps: log Z is the log of the mean of exp of `runs` weights, each of a run of `steps`.
    options: of log_z_weights, beside `steps`.

    log_z_error: the standard error of log Z, of which nats have all of it, besides that of the
    rows. The log of a mean is on average too low, and nats then look better than they are: where
    `effective`, (sum w)^2 / sum w^2, is not a large part of `runs`, type more steps.
    """
    part = part_of(subject.source, split)
    energy, weigh = (readout(subject, name, 'annealed') for name in evaluator.needs)
    shape, any_rows = part.rows(np.arange(1))['x'].shape[1:], np.arange(runs) % part.count
    f, _ = answers(energy, part, pick(part.count, size))
    # in one piece, since each call draws the same numbers
    w, _ = answers(weigh, part, any_rows, chunk=runs, steps=steps, **options)
    for name, found, count in (('free_energy', f, 'B'), ('log_z_weights', w, runs)):
        if found.ndim != 1 or not np.isfinite(found).all():
            raise Mistake(
                f'annealed needs {name} [{count}], numbers; {subject.name} gave'
                f' {list(found.shape)} with {int((~np.isfinite(found)).sum())} that are none'
            )
    log_z, error, effective = mean_of_exp(w)
    nats = f.astype(np.float64) + log_z
    return averaged(
        {'nats': nats, 'bits_per_dim': nats / math.prod(shape) / math.log(2)},
        log_z=log_z,
        log_z_error=error,
        effective=effective,
        runs=runs,
        rows=len(nats),
    )


def mean_of_exp(w: np.ndarray) -> tuple[float, float, float]:
    """log mean exp w of weights [N], its standard error, and how many of equal weight say so."""
    w, n = w.astype(np.float64), len(w)
    share = np.exp(w - logsumexp(w))  # of the sum; 1 / N each where all are equal
    error = math.sqrt(n / max(n - 1, 1) * np.square(share - 1 / n).sum())
    return float(logsumexp(w) - math.log(n)), error, float(1 / np.square(share).sum())


evaluator = Evaluator(
    run=score,
    needs=('free_energy', 'log_z_weights'),
    baselines=(gaussian, bernoulli),
    shown={
        'nats': Shown('nats per row, by annealing', less=True, decimals=2),
        'bits_per_dim': Shown('bits per dimension, by annealing', less=True, decimals=3),
        'log_z_error': Shown('standard error of log Z', less=True, decimals=3),
    },
    asks=lambda options: {'log_z_weights': {**options['options'], 'steps': options['steps']}},
)
