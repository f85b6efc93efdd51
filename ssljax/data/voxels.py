"""Solid shapes from one file of voxel grids: the grids, or points on their surfaces.

The file has bits, packed by rows: x_train and x_test uint8 [N, side**3 / 8], their classes y_train
and y_test [N], and perhaps class_names. Empty grids are left out.
"""

from collections.abc import Callable

import numpy as np

from ssljax.data.arrays import archive
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    draws,
    fingerprint,
    held,
    hold_out,
    uniform,
)
from ssljax.kinds import Count, Natural, NonNegative
from ssljax.names import Mistake

MODELNET10 = 'bathtub bed chair desk dresser monitor night_stand sofa table toilet'.split()


def voxels(*, path: str = '', validation: Natural = 0) -> Source:
    """Grids uint8 [side, side, side, 1] of 0 and 255; `validation` rows are held out of train."""

    def make(name: str, bits: np.ndarray, side: int, label: np.ndarray) -> Split:
        def rows(index: np.ndarray) -> Rows:
            return {'x': grids(bits[index], side)[..., None] * np.uint8(255), 'label': label[index]}

        return Split(len(bits), rows)

    return _shapes('voxels', path, validation, make, ())


def points(
    *,
    path: str = '',
    count: Count = 1024,
    jitter: NonNegative = 0.5,
    validation: Natural = 0,
    seed: Natural = 0,
) -> Source:
    """Points of each shape's surface, float32 [count, 3]: the grid is [-1, 1] cubed.

    A point is the center of a filled voxel that has an empty neighbor, drawn with replacement,
    and moved along each axis at random. A row is a function of (seed, split, index).

    path: the .npz file.
    count: points of a row.
    jitter: how far a point is moved along each axis at most, in voxels.
    validation: rows held out of train.
    seed: of the points.
    """

    def make(name: str, bits: np.ndarray, side: int, label: np.ndarray) -> Split:
        def rows(index: np.ndarray) -> Rows:
            words = draws(seed, SPLITS.index(name), index, 4 * count).reshape(-1, count, 4)
            places = np.empty((len(index), count, 3))
            for row, grid, word in zip(places, grids(bits[index], side), words):
                surface = np.argwhere(skin(grid))
                row[:] = surface[uniform(word[:, 0], 0, len(surface)).astype(int)]
            places += 0.5 + uniform(words[..., 1:], -jitter, jitter)
            return {'x': (places * (2 / side) - 1).astype(np.float32), 'label': label[index]}

        return held(Split(len(bits), rows))

    return _shapes('points', path, validation, make, (count, float(jitter), seed))


def _shapes(
    who: str, path: str, validation: int, make: Callable[..., Split], options: tuple
) -> Source:
    """What both share: make(split's name, packed bits, side, labels) -> Split."""
    file, npz = archive(who, path)
    splits, classes = {}, 0
    for name in ('train', 'test'):
        bits, label = npz.get(f'x_{name}'), npz.get(f'y_{name}')
        if name == 'test' and bits is None:
            continue
        side = 0 if bits is None else round((bits.shape[-1] * 8) ** (1 / 3))
        packed = side and bits.dtype == np.uint8 and bits[0].shape == (side**3 // 8,)
        if not packed or label is None or label.shape != bits.shape[:1]:
            raise Mistake(
                f'{who}: {file} has no packed bits x_{name} [N, side**3 / 8] and labels y_{name}'
                ' [N]; type the path of a file like modelnet10_32.npz'
            )
        full = bits.any(1)
        splits[name] = make(name, bits[full], side, label[full].astype(np.int32))
        classes = max(classes, 1 + int(label.max()))
    if validation:
        splits['train'], splits['validation'] = hold_out(splits['train'], validation)
    names = tuple(map(str, npz.get('class_names', range(classes))))
    if 'class_names' not in npz and file.name.startswith('modelnet10'):
        names = tuple(MODELNET10)
    contents = [part for pair in sorted(npz.items()) for part in pair]
    return Source(
        f'{who}:{file.name}',
        {name: splits[name] for name in SPLITS if name in splits},
        fingerprint(f'{who} 1', *contents, validation, *options),
        classes=len(names),
        class_names=names,
    )


def grids(bits: np.ndarray, side: int) -> np.ndarray:
    """Packed bits [B, side**3 / 8] -> 0 and 1, uint8 [B, side, side, side]."""
    return np.unpackbits(bits, axis=1).reshape(-1, side, side, side)


def skin(grid: np.ndarray) -> np.ndarray:
    """Filled voxels with one of six neighbors empty, or outside: bool [side, side, side]."""
    solid = np.pad(grid.astype(bool), 1)
    inside = np.all([np.roll(solid, step, axis) for axis in range(3) for step in (1, -1)], 0)
    return (solid & ~inside)[1:-1, 1:-1, 1:-1]
