"""What density and bound share: a log density, or a bound on it, of each row."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.evals.evaluator import Scores, averaged
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.names import Mistake


def of_rows(
    subject: Subject,
    name: str,
    who: str,
    split: str,
    size: int | None,
    options: Mapping[str, Any],
) -> Scores:
    """(Minus) the readout `name` [B]: nats of a row, and bits per dimension of it."""
    part = part_of(subject.source, split)
    index, shape = pick(part.count, size), part.rows(np.arange(1))['x'].shape[1:]
    log_prob, _ = answers(readout(subject, name, who), part, index, **options)
    if log_prob.shape != (len(index),):
        raise Mistake(
            f'{who} needs {name} [B]; {subject.name} gave {list(log_prob.shape)}'
            f' for x {[len(index), *shape]}'
        )
    nats = negative(subject, name, who, log_prob)
    bits = nats / math.prod(shape) / math.log(2)
    return averaged({'nats': nats, 'bits_per_dim': bits}, rows=len(nats))


def negative(subject: Subject, name: str, who: str, log_prob: np.ndarray) -> np.ndarray:
    """-log p in float64; a Mistake where it is not a number."""
    if bad := int(np.isnan(log_prob).sum()):
        raise Mistake(f'{who}: {name} of {subject.name} is not a number in {bad} rows')
    return -log_prob.astype(np.float64)
