"""A bound on held-out likelihood: the rows cost no more nats than it says, and may cost fewer."""

from collections.abc import Mapping
from typing import Any

from ssljax.evals.baselines import bernoulli, gaussian, per_pixel, webp
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
    """Mean of (minus) a lower bound on the log likelihood of `size` rows of a split (none: of all).

    It is no density: of two methods the one with the lower number need not be the likelier. The
    baselines' likelihoods are exact. `options` go to the readout `bound`, [B] in nats.
    """
    return of_rows(subject, 'bound', 'bound', split, size, options)


evaluator = Evaluator(
    run=score,
    needs=('bound',),
    baselines=(gaussian, bernoulli, per_pixel, webp),
    shown={
        'bits_per_dim': Shown('bits per dimension, at most', less=True, decimals=3),
        'nats': Shown('nats per row, at most', less=True, decimals=2),
    },
    asks=passed_on('bound'),
)
