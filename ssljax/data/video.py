"""Clips without a file: a shape that moves before one that stands still.

A clip is a pure function of (seed, split, index).
"""

from typing import Annotated, Literal

import numpy as np

from ssljax.data.source import SPLITS, Rows, Source, draws, fingerprint, made, normal, uniform
from ssljax.kinds import Count, Natural, Range
from ssljax.names import choose

DIRECTIONS = ('right', 'right-down', 'down', 'left-down', 'left', 'left-up', 'up', 'right-up')
SHAPES = ('triangle', 'square', 'disk')
FACTORS = ('direction', 'shape', 'position', 'moving')
SCALARS = 24


def shapes_video(
    *,
    size: Annotated[int, Range(16, 256)] = 32,
    frames: Annotated[int, Range(2, 64)] = 8,
    color: bool = False,
    label: Literal['direction', 'shape'] = 'direction',
    train: Count = 4_000,
    validation: Natural = 500,
    test: Natural = 1_000,
    seed: Natural = 0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Clips uint8 [frames, size, size, 1 or 3] of a shape that moves before one that stands still.

    What leaves at a side comes in at the other, so no single frame tells the direction.

    size: side of a frame in pixels.
    frames: frames of a clip.
    color: whether clips have three channels; else one.
    label: what the class is, of the shape that moves: one of 8 directions, or of 3 shapes.
    train, validation, test: rows of each split.
    seed: of the clips.
    keep: direction, shape, position [frames, 2] (down, across) and moving [frames, size, size, 1],
    which pixels it covers, of the shape that moves, as entries of the rows.
    """
    for name in keep:
        choose(name, FACTORS, 'factor of shapes_video')
    counts = dict(train=train, validation=validation, test=test)
    channels = 3 if color else 1
    pixels = frames * size * size * channels
    names = DIRECTIONS if label == 'direction' else SHAPES

    def rows(split: str, index: np.ndarray) -> Rows:
        words = draws(seed, SPLITS.index(split), index, SCALARS + pixels)
        clips = render(words, frames, size, channels)
        return {'x': clips['x'], 'label': clips[label]} | {name: clips[name] for name in keep}

    options = (size, frames, color, label, tuple(counts.items()), seed, tuple(keep))
    return Source(
        'shapes_video',
        made(counts, rows, draws=SCALARS + pixels, size=pixels),
        fingerprint('shapes_video 1', *options),
        classes=len(names),
        class_names=names,
    )


def render(words: np.ndarray, frames: int, size: int, channels: int) -> Rows:
    """Random words -> x uint8 [B, frames, size, size, channels] and all that it was made from."""
    scalar = iter(words[:, :SCALARS].T)

    def draw(low: float, high: float, *, whole: bool = False) -> np.ndarray:
        values = uniform(next(scalar), low, high)
        return values.astype(np.int32) if whole else values.astype(np.float32)

    direction, shape = draw(0, 8, whole=True), draw(0, 3, whole=True)
    still = (shape + draw(1, 3, whole=True)) % 3  # another one stands
    speed, angle = draw(1, 2) * size / 32, direction * (np.pi / 4)
    step = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)  # [B, 2]: down, across
    start = np.stack([draw(0, size), draw(0, size)], -1)
    rest = np.stack([draw(0, size), draw(0, size)], -1)
    time = np.arange(frames)[:, None]
    position = (start[:, None] + step[:, None] * time) % size  # [B, frames, 2]
    moving = outline(position, shape, draw(0, 2 * np.pi), draw(0.12, 0.2) * size, size)
    standing = outline(rest[:, None], still, draw(0, 2 * np.pi), draw(0.12, 0.2) * size, size)

    # the ground is darker or lighter than both shapes, by a contrast that is drawn
    ground, sign = draw(0.3, 0.7), np.where(draw(-1, 1) < 0, -1, 1).astype(np.float32)
    tint = np.stack([draw(0.2, 0.3) for _ in range(2 * channels)], -1)  # [B, 2 * channels]
    noise = draw(0.005, 0.03)
    values = ground[:, None] + sign[:, None] * tint
    front, back = (v[:, None, None, None] for v in np.split(values, 2, -1))
    image = ground[:, None, None, None, None] * np.ones_like(moving)[..., None]
    image = image + standing[..., None] * (back - image)
    image = image + moving[..., None] * (front - image)
    grain = normal(words[:, SCALARS:]).reshape(image.shape)
    image = image + noise[:, None, None, None, None] * grain
    return {
        'x': np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8),
        'direction': direction,
        'shape': shape,
        'position': position.astype(np.float32),
        'moving': (moving > 0.5).astype(np.uint8)[..., None],
    }


def outline(
    place: np.ndarray, shape: np.ndarray, turn: np.ndarray, radius: np.ndarray, size: int
) -> np.ndarray:
    """How much of each pixel a shape covers, about: places [B, T, 2] -> [B, T, size, size]."""
    grid = np.arange(size, dtype=np.float32)
    half = size / 2  # to the nearest copy of the shape: the canvas has no rim
    down = ((grid - place[..., :1] + half) % size - half)[..., :, None]
    across = ((grid - place[..., 1:] + half) % size - half)[..., None, :]
    reach = np.full(np.broadcast_shapes(down.shape, across.shape), -np.inf, np.float32)
    corners = np.array([3, 4, 4])[shape]
    for side in range(4):  # a polygon is where all its sides are far enough
        angle = turn + 2 * np.pi * (side % corners) / corners
        y, x = (f(angle).astype(np.float32)[:, None, None, None] for f in (np.sin, np.cos))
        reach = np.maximum(reach, y * down + x * across)
    disk = (shape == SHAPES.index('disk'))[:, None, None, None]
    reach = np.where(disk, np.hypot(down, across), reach)
    edge = np.array([0.78, 0.89, 1.0])[shape] * radius  # from the center; equal areas
    return np.clip(edge[:, None, None, None] - reach + 0.5, 0, 1).astype(np.float32)
