"""Features of a frozen encoder for a probe: rows to learn from, to choose by, and to be told of."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.evals.evaluator import Scores, averaged
from ssljax.evals.measures import percent
from ssljax.evals.subject import Subject, features, part_of, pick
from ssljax.names import Mistake


class Frozen(NamedTuple):
    """Features [N, D] with mean 0 and deviation 1 over the training rows, and labels [N]."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    index: np.ndarray  # of the training rows in their split
    mean: np.ndarray  # that was taken off, and
    scale: np.ndarray  # what was divided by


def frozen(
    subject: Subject, who: str, splits: tuple[str, str, str], sizes: tuple[int | None, ...]
) -> Frozen:
    """Where the source has no split to choose by, every tenth of the training rows is held out."""
    (train, validation, test), (train_size, validation_size, test_size) = splits, sizes
    source = subject.source
    i = pick(part_of(source, train).count, train_size)
    if len(i) < 20:
        raise Mistake(f'{who} needs 20 training rows; {train} gives {len(i)}')
    x, y = features(subject, train, i, who)
    if y.min() == y.max():
        raise Mistake(
            f'{who} needs two classes; all {len(i)} rows of the split {train} of'
            f' {source.name} are of class {y[0]}: set train_size higher or leave it out of evals'
        )
    if validation in source.splits:
        j = pick(source.splits[validation].count, validation_size)
        x_val, y_val = features(subject, validation, j, who)
    else:
        held = np.arange(len(x)) % 10 == 9
        x_val, y_val, x, y, i = x[held], y[held], x[~held], y[~held], i[~held]
    j = pick(part_of(source, test).count, test_size)
    x_test, y_test = features(subject, test, j, who)
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-6, scale, 1)  # a dead feature stays zero
    x, x_val, x_test = ((h - mean) / scale for h in (x, x_val, x_test))
    return Frozen(x, y, x_val, y_val, x_test, y_test, i, mean, scale)


def search(
    rows: Frozen,
    strengths: Sequence[float],
    fit: Callable[..., Any],  # (strength, start) -> params
    predict: Callable[[Any, np.ndarray], np.ndarray],
    *,
    warm: bool = True,
) -> Scores:
    """Test accuracy of the strength of a penalty that is best on validation rows.

    From a third of the way from the strongest, uphill, until the two strengths on either side of
    the best are worse. warm: each start is the solution of the nearest strength.
    """
    strengths = sorted(strengths, reverse=True)  # strong ones are quick, so they go first
    solved, right = {}, {}

    def solve(i):
        near = min(solved, key=lambda j: abs(i - j)) if warm and solved else None
        solved[i] = fit(strengths[i], solved.get(near))
        right[i] = percent(predict(solved[i], rows.x_val) == rows.y_val)

    solve((len(strengths) - 1) // 3)
    while True:
        best = min(right, key=lambda i: (-right[i].mean(), i))  # a tie goes to the stronger
        beside = (best - 1, best + 1, best - 2, best + 2)
        unknown = [i for i in beside if 0 <= i < len(strengths) and i not in solved]
        if not unknown:
            break
        solve(unknown[0])
    return averaged(
        {
            'accuracy': percent(predict(solved[best], rows.x_test) == rows.y_test),
            'validation_accuracy': right[best],
        },
        l2=strengths[best],
        train=len(rows.x),
        queries=len(rows.x_test),
    )
