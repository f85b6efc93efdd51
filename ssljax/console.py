"""Tables of numbers on the console."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssljax import evals

WIDTH = 118


def table(results: Mapping[str, Any]) -> str:
    """Subjects down; across, what each evaluator shows. Wide tables wrap."""
    columns: dict[tuple[str, str], str] = {}
    rows: dict[str, dict] = {}
    for name, result in results.items():
        evaluator = evals.offered()[name]
        for who, numbers in result['scores'].items():
            for metric in evaluator.shown:
                if metric in numbers:
                    # k200, not accuracy_k200: it follows accuracy
                    short = metric.removeprefix(f'{evaluator.first}_').replace('_', ' ')
                    columns[name, metric] = f'{name} {short}'
                    rows.setdefault(who, {})[name, metric] = digits(numbers[metric])
    last = ('untrained', 'trained')  # below those who learned nothing
    names = sorted(rows, key=lambda who: last.index(who) if who in last else -1)
    blocks: list[list] = []
    for column, head in columns.items():
        cells = [head, *(rows[who].get(column, '-') for who in names)]
        if not blocks or sum(2 + width(c) for c in [*blocks[-1], cells]) > WIDTH:
            blocks.append([['', *names]])
        blocks[-1].append(cells)
    return ''.join('\n' + '\n'.join(aligned(block)) + '\n' for block in blocks)


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns side by side: the first to the left, numbers to the right, a rule below the
    heads."""
    first, *others = [[c[0], '-' * width(c), *c[1:]] for c in columns]
    columns = [
        [cell.ljust(width(first)) for cell in first],
        *([cell.rjust(width(c)) for cell in c] for c in others),
    ]
    return ['  '.join(cells) for cells in zip(*columns, strict=True)]


def width(cells: Sequence[str]) -> int:
    return max(map(len, cells))


def digits(value: float) -> str:
    """Three digits that count, and two decimals at least; of a count, its own digits."""
    if isinstance(value, int):
        return str(value)
    below = max(0, -math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0
    return f'{value:.{min(2 + below, 6)}f}'
