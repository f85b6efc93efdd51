"""Sound without a file: three notes, and the class is how the pitch goes.

A wave is a pure function of (seed, split, index).
"""

from typing import Annotated

import numpy as np

from ssljax.data.source import SPLITS, Rows, Source, draws, fingerprint, made, normal, uniform
from ssljax.kinds import Count, Natural, Positive, Range
from ssljax.names import choose

STEPS = ('up', 'level', 'down')  # from a note to the next
FACTORS = ('pitch', 'starts')
HARMONICS, SCALARS = 4, 16


def tones(
    *,
    seconds: Positive = 0.5,
    rate: Annotated[int, Range(8000)] = 8000,
    train: Count = 4_000,
    validation: Natural = 500,
    test: Natural = 1_000,
    seed: Natural = 0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Waves float32 [seconds * rate] in [-1, 1] of three notes; 9 classes: up-up, up-level, ...

    Pitch, size of the steps (2 to 5 semitones), timbre, tempo, onset, loudness and noise are drawn
    for each row and tell nothing of its class.

    seconds: length of a wave.
    rate: samples per second.
    train, validation, test: rows of each split.
    seed: of the waves.
    keep: pitch [3] in hertz and starts [3], the first sample of each note, as entries of the rows.
    """
    for name in keep:
        choose(name, FACTORS, 'factor of tones')
    count = max(1, round(seconds * rate))
    counts = dict(train=train, validation=validation, test=test)

    def rows(split: str, index: np.ndarray) -> Rows:
        drawn = notes(draws(seed, SPLITS.index(split), index, SCALARS + count), rate)
        return {name: drawn[name] for name in ('x', 'label', *keep)}

    options = (float(seconds), rate, tuple(counts.items()), seed, tuple(keep))
    return Source(
        'tones',
        made(counts, rows, draws=SCALARS + count, size=4 * count),
        fingerprint('tones 1', *options),
        classes=9,
        class_names=tuple(f'{first}-{second}' for first in STEPS for second in STEPS),
    )


def notes(words: np.ndarray, rate: int) -> Rows:
    """Random words [B, SCALARS + T] -> x float32 [B, T], label int32 [B], and the factors."""
    scalar = iter(words[:, :SCALARS].T)
    count = words.shape[1] - SCALARS

    def draw(low: float, high: float) -> np.ndarray:
        return uniform(next(scalar), low, high)[:, None]  # [B, 1]

    label = draw(0, 9).astype(np.int32)
    steps = 1 - np.concatenate(np.divmod(label, 3), 1)  # 1 up, 0 level, -1 down: [B, 2]
    middle, size = draw(-8, 8), draw(2, 5)  # semitones around 440 Hz
    pitch = np.cumsum(np.concatenate([0 * middle, steps * size], 1), 1)  # [B, 3]
    pitch = 440 * 2 ** ((pitch + middle - pitch.mean(1, keepdims=True)) / 12)  # hertz
    note, start = draw(0.2, 0.3), draw(0, 0.1)  # parts of the whole
    time = (np.arange(count) / count - start) / note  # in notes, [B, T]
    which = np.clip(time.astype(int), 0, 2)
    since = time - which
    turns = np.cumsum(np.take_along_axis(pitch, which, 1), 1) / rate
    phase = 2 * np.pi * (draw(0, 1) + turns)
    tone = sum(draw(0, 1) / k * np.sin(k * phase) for k in range(1, HARMONICS + 1))
    decay, loud, noise = draw(0.5, 3), draw(0.2, 0.6), draw(0.002, 0.03)
    sounds = (time >= 0) & (time < 3)
    envelope = sounds * np.minimum(since / 0.05, 1) * np.exp(-decay * since)
    tone *= envelope
    tone *= loud / np.maximum(np.abs(tone).max(1, keepdims=True), 1e-6)
    x = tone + noise * normal(words[:, SCALARS:])
    return {
        'x': np.clip(x, -1, 1).astype(np.float32),
        'label': label[:, 0],
        'pitch': pitch.astype(np.float32),
        'starts': np.ceil((start + note * np.arange(3)) * count).astype(np.int32),
    }
