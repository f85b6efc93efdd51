"""What an evaluator is: a NamedTuple, as a method is; and what is computed from its rows."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Scores(NamedTuple):
    """What an evaluator says of one subject."""

    numbers: dict[str, float]
    # of each number that is a mean over rows, its value at every row [N], whose mean it is.
    # Learning, intervals and paired comparisons use these. Percentages are 0 or 100.
    rows: Mapping[str, np.ndarray] = {}


class Shown(NamedTuple):
    """How a number is shown in tables."""

    title: str = ''  # over its column, as 'k-NN, k = {k}' of its options; '': its own name
    less: bool = False  # whether less is better
    decimals: int = 1
    trivial: float | None = None  # what who learned nothing has by definition


class Evaluator(NamedTuple):
    """One evaluator. The trained model, the untrained and whatever is trivial are its subjects."""

    run: Callable[..., Scores]  # (subject, *, options) -> Scores
    needs: tuple[str, ...] = ()  # readouts
    baselines: tuple[Callable, ...] = ()  # (source, key) -> readouts of who learned nothing
    untrained: bool = True  # whether the model at step 0 is scored beside it
    shown: Mapping[str, Shown] = {}  # numbers in tables; the first stands for the evaluator
    # options -> for each needed readout, the options that it is asked with
    asks: Callable[[Mapping[str, Any]], Mapping[str, Mapping[str, Any]]] = lambda options: {}
    told: Callable[[Mapping[str, float]], Mapping[str, Any]] = lambda numbers: {}  # trained one's
    #                numbers -> options of the baselines, as how many clusters there were
    lacking: Mapping[str, str] = {}  # number -> why it may not be there
    neighbors: bool = False  # whether rows beside each other are alike, as windows of a text

    @property
    def first(self) -> str:
        """The number that stands for the evaluator."""
        return next(iter(self.shown))


def averaged(values: Mapping[str, Any], /, **numbers: float) -> Scores:
    """Scores of numbers that are means of their values [N] at rows, and of other numbers."""
    rows = {name: np.asarray(each, np.float64) for name, each in values.items()}
    return Scores({name: float(each.mean()) for name, each in rows.items()} | numbers, rows)


def passed_on(*readouts: str) -> Callable[[Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    """`asks` of an evaluator whose option `options` goes to these readouts."""
    return lambda options: {name: options['options'] for name in readouts}


def standard_error(rows: np.ndarray, neighbors: bool = False, *, blocks: int = 64) -> float:
    """Of the mean of rows [N]: sd / sqrt(N).

    neighbors: rows beside each other are alike, so that a block of them is the unit.
    """
    rows = np.asarray(rows, np.float64)
    if len(rows) < 2 or not np.isfinite(rows).all():
        return math.inf
    if not neighbors:
        return float(rows.std() / math.sqrt(len(rows)))
    apart = rows - rows.mean()
    sums = np.array([part.sum() for part in np.array_split(apart, min(blocks, len(rows)))])
    return float(math.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(rows))


def interval(rows: np.ndarray, neighbors: bool = False) -> tuple[float, float]:
    """Where the mean lies with 95 percent confidence."""
    mean, reach = float(np.mean(rows)), 1.96 * standard_error(rows, neighbors)
    return mean - reach, mean + reach


def gain(
    rows: np.ndarray, other: np.ndarray, neighbors: bool = False, less: bool = False
) -> tuple[float, float]:
    """How much better `rows` are than `other`, row by row: the mean gain and its standard error.

    less: of this number less is better. A gain above zero is always for the better.
    """
    rows, other = np.asarray(rows, np.float64), np.asarray(other, np.float64)
    if rows.shape != other.shape:
        raise ValueError(f'rows {list(rows.shape)} and {list(other.shape)} are not the same rows')
    gains = other - rows if less else rows - other
    return float(gains.mean()), standard_error(gains, neighbors)
