"""Sources that need no file: scikit-learn's digits and photographs, and densities in the plane."""

import functools
from typing import Annotated, Literal

import numpy as np

from ssljax.data import plane
from ssljax.data.pixels import pillow
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    draws,
    fingerprint,
    made,
    normal,
    permutation,
    select,
    uniform,
)
from ssljax.kinds import Count, Natural, Range
from ssljax.names import Mistake, choose


def digits() -> Source:
    """The 1797 handwritten digits of scikit-learn, uint8 [8, 8, 1]: 1200 / 200 / 397, a fixed cut.

    UCI Optical Recognition of Handwritten Digits, its test part. A smoke run: raw pixels do well.
    """
    from sklearn.datasets import load_digits

    images, label = load_digits(return_X_y=True)
    x = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    label = label.astype(np.int32)
    whole = Split(len(x), lambda index: {'x': x[index], 'label': label[index]})
    parts = np.split(permutation(0, 0, len(x)), [1200, 1400])
    return Source(
        'digits',
        {name: select(whole, part) for name, part in zip(SPLITS, parts, strict=True)},
        fingerprint('digits 1', x, label, *parts),
        classes=10,
        class_names=tuple('0123456789'),
    )


def patches(*, size: Annotated[int, Range(2)] = 16, gray: bool = False) -> Source:
    """Squares of scikit-learn's two photographs, uint8 [size, size, 1 or 3]; label: which one.

    Train: every square of the left 60 % of each photograph. Validation and test: squares side by
    side in the next and the last 20 %, so no pixel is in two splits.
    """
    from sklearn.datasets import load_sample_images

    photos = np.stack(load_sample_images().images)  # uint8 [2, 427, 640, 3]
    if gray:  # Rec. 601 luma, as PIL's convert('L')
        photos = np.round(photos @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)
    width = photos.shape[2]
    edges = [0, width * 6 // 10, width * 8 // 10, width]
    if not 2 <= size <= edges[3] - edges[2]:
        raise Mistake(f'patches: size={size}; type a number from 2 to {edges[3] - edges[2]}')
    windows = np.lib.stride_tricks.sliding_window_view(photos, (size, size), (1, 2))

    def split(name: str) -> Split:
        number = SPLITS.index(name)
        stride = 1 if name == 'train' else size
        view = windows[:, ::stride, edges[number] : edges[number + 1] - size + 1 : stride]
        shape = view.shape[:3]  # photograph, row, column; then [C, size, size]

        def rows(index: np.ndarray) -> Rows:
            places = np.unravel_index(index, shape)
            label = places[0].astype(np.int32)
            return {'x': view[places].transpose(0, 2, 3, 1), 'label': label}

        return Split(int(np.prod(shape)), rows)

    return Source(
        'patches',
        {name: split(name) for name in SPLITS},
        fingerprint('patches 2', size, photos),
        classes=2,
        class_names=('china', 'flower'),
        decoder=pillow(),
    )


def moons(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, angle = (u[:, 0] < 0.5).astype(int), np.pi * u[:, 1]
    x = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], -1)
    return np.where(label[:, None], -x, x) * 1.5 + 0.1 * z, label


def rings(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, angle = (u[:, 0] * 3).astype(int), 2 * np.pi * u[:, 1]
    return (label + 1)[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1) + 0.08 * z, label


def pinwheel(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label = (u[:, 0] * 5).astype(int)
    radius, across = 1 + 0.3 * z[:, 0], 0.1 * z[:, 1]
    angle = 2 * np.pi * label / 5 + 0.25 * np.exp(radius)
    c, s = np.cos(angle), np.sin(angle)
    return 2 * np.stack([c * radius - s * across, s * radius + c * across], -1), label


def checkerboard(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    column, label = (u[:, 0] * 4).astype(int), (u[:, 2] * 2).astype(int)
    y = u[:, 1] + 2 * label + column % 2  # two of the four squares of each column: density 1/8
    return np.stack([4 * u[:, 0] - 2, y - 2], -1), label


def spirals(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, angle = (u[:, 0] < 0.5).astype(int), 3 * np.pi * np.sqrt(u[:, 1])
    x = angle[:, None] / np.pi * np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.where(label[:, None], -x, x) + 0.08 * z, label


def gaussians(u: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label = (u[:, 0] * 8).astype(int)
    angle = np.pi / 4 * label
    return 2 * np.stack([np.cos(angle), np.sin(angle)], -1) + 0.2 * z, label


KINDS = {  # draws -> points and the part each belongs to; the number of parts
    'moons': (moons, 2),
    'rings': (rings, 3),
    'pinwheel': (pinwheel, 5),
    'checkerboard': (checkerboard, 2),
    'spirals': (spirals, 2),
    'gaussians': (gaussians, 8),
}


def density(
    *,
    kind: Literal[*KINDS] = 'moons',
    train: Count = 100_000,
    validation: Natural = 10_000,
    test: Natural = 10_000,
    seed: Natural = 0,
) -> Source:
    """Points of a density in the plane, float32 [2]; each a function of (seed, split, index).

    The true log density is known, but that of the pinwheel.

    kind: the density: moons, rings, pinwheel, checkerboard, spirals or gaussians.
    train, validation, test: rows of each split.
    seed: of the points.
    """
    points, classes = KINDS[choose(kind, KINDS, 'density')]
    counts = dict(train=train, validation=validation, test=test)

    def rows(split: str, index: np.ndarray) -> Rows:
        words = draws(seed, SPLITS.index(split), index, 5)
        x, label = points(uniform(words[:, :3]), normal(words[:, 3:]))
        return {'x': x.astype(np.float32), 'label': label.astype(np.int32)}

    return Source(
        f'density:{kind}',
        made(counts, rows, draws=5, size=12),
        fingerprint('density 1', kind, seed, tuple(counts.items())),
        classes=classes,
        class_names=tuple(map(str, range(classes))),
        log_density=functools.partial(plane.log_density, kind) if kind in plane.EXACT else None,
    )
