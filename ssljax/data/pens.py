"""Signatures without a file: traces of a pen, genuine and forged, each with its rhythm.

A stroke has a lognormal speed, as quick movements of a hand do: Plamondon 1995 (Biological
Cybernetics 72). What a forger sees of a signature is its shape, not how the pen moved along it. A
row is a pure function of (seed, split, index).
"""

from typing import Annotated

import numpy as np
from scipy.special import ndtr

from ssljax.data.source import SPLITS, Rows, Source, draws, fingerprint, made, normal, uniform
from ssljax.kinds import Count, Natural, NonNegative, Range

STROKES, HABITS = 10, 6  # of a signature; numbers that say how a stroke is written
HANDS = 80  # a stream of draws, of writers; no other source has its number
NOISE = 0.01  # of positions, as a part of the deviation


def pens(
    *,
    length: Annotated[int, Range(16)] = 128,
    writers: Annotated[int, Range(2)] = 200,
    wobble: NonNegative = 0.08,
    train: Count = 16_000,
    validation: Natural = 1_000,
    test: Natural = 2_000,
    seed: Natural = 0,
) -> Source:
    """Pairs of pen traces, float32 [length, 2] each, and whether y is genuine, too: `same`.

    x is a genuine signature of a writer, the label. y is another one, or, half the time, a forgery:
    its strokes have the shape of the writer's and the timing of another writer. Each split has
    writers of its own. A trace is centered, its deviation is 0.5, and whatever time it took, it is
    resampled to one length: position over time, from the first movement to the last.

    length: frames of a trace.
    writers: of each split.
    wobble: how much a stroke of one writer differs from time to time; a forger's hand wobbles half
    as much again.
    train, validation, test: pairs of each split.
    seed: of all draws.
    """
    counts = dict(train=train, validation=validation, test=test)
    each = STROKES * HABITS + 2 * length  # words of a trace

    def rows(split: str, index: np.ndarray) -> Rows:
        number = SPLITS.index(split)
        words = draws(seed, number, index, 2 + 2 * each)
        writer = np.asarray(index) % writers + number * writers
        same = words[:, 0] >> np.uint64(63) == 0
        other = 1 + (uniform(words[:, 1]) * (writers - 1)).astype(int)
        forger = (writer + other) % writers + number * writers
        own, copied = habits(seed, writer), habits(seed, forger)
        copied[:, :3] = own[:, :3]  # the shape is seen, the timing is not
        second = np.where(same[:, None, None], own, copied)
        unsteady = np.where(same, wobble, 1.5 * wobble)
        return {
            'x': trace(own, words[:, 2 : 2 + each], np.full(len(index), wobble), length),
            'y': trace(second, words[:, 2 + each :], unsteady, length),
            'same': same,
            'label': writer.astype(np.int32),
        }

    return Source(
        'pens',
        made(counts, rows, draws=2 + 2 * each, size=16 * length),
        fingerprint('pens 1', length, writers, float(wobble), tuple(counts.items()), seed),
        classes=3 * writers,
    )


def habits(seed: int, writer: np.ndarray) -> np.ndarray:
    """How each of these writers makes each stroke: float64 [B, HABITS, STROKES].

    Direction and turn in radians, length; the time to the next stroke, the time to the middle of
    the stroke, and how much its speed is spread, in the logarithm of time.
    """
    words = draws(seed, HANDS, writer, HABITS * STROKES).reshape(-1, HABITS, STROKES)
    bend = normal(words[:, :2]).astype(np.float64)
    down_and_up = 1.2 * (-1.0) ** np.arange(STROKES)
    made = [down_and_up + 0.6 * bend[:, 0], bend[:, 1]]
    for i, (low, high) in enumerate(((0.5, 1.5), (0.4, 1.6), (0.5, 1.5), (0.15, 0.45))):
        made.append(uniform(words[:, 2 + i], low, high))
    return np.stack(made, 1)


def trace(habit: np.ndarray, words: np.ndarray, wobble: np.ndarray, length: int) -> np.ndarray:
    """Habits [B, HABITS, STROKES] and the words of a trace -> positions float32 [B, length, 2]."""
    B, own = len(habit), HABITS * STROKES
    change = wobble[:, None, None] * normal(words[:, :own]).reshape(B, HABITS, STROKES)
    direction, turn = np.moveaxis(habit[:, :2] + change[:, :2], 1, 0)
    size, pause, middle, spread = np.moveaxis(habit[:, 2:] * np.exp(change[:, 2:]), 1, 0)
    start = np.cumsum(pause, 1) - pause  # [B, STROKES]
    end = (start + 3 * middle).max(1)
    time = end[:, None] * (np.arange(length) + 0.5) / length  # [B, length]
    since = np.maximum(time[:, None] - start[..., None], 1e-6)  # [B, STROKES, length]
    z = np.log(since / middle[..., None]) / spread[..., None]
    speed = size[..., None] * np.exp(-0.5 * z**2) / (since * spread[..., None])
    angle = direction[..., None] + turn[..., None] * (ndtr(z) - 0.5)
    velocity = np.stack([(speed * np.cos(angle)).sum(1), (speed * np.sin(angle)).sum(1)], -1)
    place = np.cumsum(velocity, 1)
    place -= place.mean(1, keepdims=True)
    place /= place.std((1, 2), keepdims=True)
    place += NOISE * normal(words[:, own:]).reshape(B, length, 2)
    return (0.5 * place).astype(np.float32)
