"""Held-out likelihood of rows whose density is exact. Texts are scored by `perplexity`."""

from collections.abc import Mapping
from typing import Any

from ssljax.evals.baselines import bernoulli, gaussian, per_pixel, truth, webp
from ssljax.evals.evaluator import Evaluator, Scores, Shown, passed_on
from ssljax.evals.likelihood import of_rows
from ssljax.evals.subject import Subject
from ssljax.kinds import Count, SplitName


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Mean negative log likelihood of `size` rows of a split (none: of all), less is better.

    log_prob is [B], of the row as the method sees it: bits per dimension of 8-bit pixels are those
    of a method that returns the mass of a pixel's bin. `options` go to it.
    """
    return of_rows(subject, 'log_prob', 'density', split, size, options)


evaluator = Evaluator(
    run=score,
    needs=('log_prob',),
    baselines=(gaussian, bernoulli, per_pixel, truth, webp),
    shown={
        'bits_per_dim': Shown('bits per dimension', less=True, decimals=3),
        'nats': Shown('nats per row', less=True, decimals=2),
    },
    asks=passed_on('log_prob'),
)
