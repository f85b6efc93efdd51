"""Densities in the plane: a picture of the model's beside the true one, and the nats between them.

Grathwohl et al. 2018, arXiv:1810.01367 (figure 2: such pictures).
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from scipy.special import logsumexp

from ssljax.data.source import Split
from ssljax.evals.baselines import gaussian, truth
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.likelihood import negative
from ssljax.evals.measures import floats
from ssljax.evals.pictures import strips
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    cells: Natural = 128,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Nats per row, how far they are from the truth's, and a picture: truth, model, samples.

    kl: the mean of log p - log q over rows of the true p, an estimate of KL(p | q); where the true
    density is known. mass: of the model within the picture, 1 for a density that lies in it.

    split, size: so many rows of this split are scored; none: all.
    cells: the grid of the picture has so many on each side; 0: no picture, and no mass.
    options: of the readout log_prob.
    """
    ask = partial(readout(subject, 'log_prob', 'density_map'), **options)
    part = part_of(subject.source, split)
    index = pick(part.count, size)
    x = floats(part.rows(index)['x'])
    if x.ndim != 2 or x.shape[1] != 2:
        raise Mistake(
            f'density_map needs points [2]; {subject.source.name} has rows {list(x.shape[1:])}:'
            ' leave density_map out of the evals'
        )
    log_q, _ = answers(ask, part, index)
    log_q, numbers = -negative(subject, 'log_prob', 'density_map', log_q), {}
    if cells:
        grid, area = squares(x, cells)
        found, _ = answers(ask, Split(len(grid), lambda i: {'x': grid[i]}), np.arange(len(grid)))
        on_grid = -negative(subject, 'log_prob', 'density_map', found)
        numbers['mass'] = float(np.exp(logsumexp(on_grid) + np.log(area)))
        picture(subject, part, index, x, grid, on_grid, cells)
    rows = {'nats': -log_q}
    if subject.source.log_density:
        rows = {'kl': subject.source.log_density(x) - log_q, **rows}
    return averaged(rows, **numbers, rows=len(x))


def squares(x: np.ndarray, cells: int) -> tuple[np.ndarray, float]:
    """The middles of cells x cells squares around the points, from the top left, and their area."""
    low, high = x.min(0), x.max(0)
    middle, reach = (low + high) / 2, 0.575 * max(high - low)  # a margin of 15 percent
    side = 2 * reach / cells
    along = (np.arange(cells) + 0.5) * side - reach
    grid = np.stack(np.meshgrid(along, -along), -1).reshape(-1, 2) + middle  # y upwards
    return grid.astype(np.float32), float(side**2)


def picture(
    subject: Subject,
    part: Split,
    index: np.ndarray,
    x: np.ndarray,
    grid: np.ndarray,
    log_q: np.ndarray,
    cells: int,
) -> None:
    """The true density, or where the rows are; the model's, and its samples if it has them."""
    side = grid[1, 0] - grid[0, 0]

    def counted(points):  # how many are in each square, four squares in one
        column, row = np.floor((points - grid[0]) * (1, -1) / side + 0.5).T.astype(int) // 2
        few = -(-cells // 2)
        inside = (0 <= row) & (row < few) & (0 <= column) & (column < few)
        counts = np.bincount(row[inside] * few + column[inside], minlength=few * few)
        return counts.reshape(few, few).repeat(2, 0).repeat(2, 1)[:cells, :cells]

    q = np.exp(log_q).reshape(cells, cells)
    shown, most = {}, q.max()
    if subject.source.log_density:
        p = np.exp(subject.source.log_density(grid)).reshape(cells, cells)
        shown['truth'], most = p / p.max(), p.max()
    else:
        shown['data'] = share(counted(x))
    shown['model'] = q / most  # in the colors of the truth
    if 'sample' in subject.readouts:
        points, _ = answers(subject.readouts['sample'], part, index)
        shown['samples'] = share(counted(points[np.isfinite(points).all(1)]))
    zoom = max(1, 256 // cells)
    images = {name: heat(v).repeat(zoom, 0).repeat(zoom, 1)[None] for name, v in shown.items()}
    subject.save('density_map', strips(images))


def share(counts: np.ndarray) -> np.ndarray:
    return counts / max(counts.max(), 1)


def heat(v: np.ndarray) -> np.ndarray:
    """Values [H, W] as black, red, yellow, white: uint8 [H, W, 3]; 1 and more is white."""
    return np.round(255 * np.clip(3 * v[..., None] - np.arange(3), 0, 1)).astype(np.uint8)


evaluator = Evaluator(
    run=score,
    needs=('log_prob',),
    baselines=(gaussian, truth),
    shown={
        'kl': Shown('KL from the truth, nats', less=True, decimals=3),
        'nats': Shown('nats per point', less=True, decimals=3),
    },
    asks=passed_on('log_prob'),
    lacking={'kl': 'kl: the true density is not known', 'mass': 'mass: there is no picture'},
)
