"""The fewest insertions, deletions and substitutions that make one text of another.

Levenshtein 1966 (Soviet Physics Doklady 10).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ssljax.evals.measures import ratio


def written(vocab: Sequence[str], ids: np.ndarray) -> str:
    return ''.join(vocab[i] for i in ids)


def errors(truth: Sequence[Sequence[Any]], read: Sequence[Sequence[Any]]) -> np.ndarray:
    """Rows [N] whose mean is the edits in percent of the truth's length."""
    lengths = np.array([len(a) for a in truth])
    return 100 * ratio([edits(a, b) for a, b in zip(truth, read, strict=True)], lengths)


def edits(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that make b of a."""
    ids: dict[Any, int] = {}
    x, y = (np.array([ids.setdefault(v, len(ids)) for v in s], np.int64) for s in (a, b))
    steps = np.arange(len(y) + 1)
    row = steps.copy()  # of b's beginnings, after none of a
    for v in x:
        kept = np.append(row[0] + 1, np.minimum(row[1:] + 1, row[:-1] + (y != v)))
        # then insertions, each one more than its left neighbor: a running minimum
        row = np.minimum.accumulate(kept - steps) + steps
    return int(row[-1])
