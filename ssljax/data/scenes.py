"""Captioned scenes: a colored letter on a textured ground, and words that say what is where.

A row is a pure function of (seed, split, index). Which colors a letter has differs between splits:
training has seen each color and each letter, and never the pairs that are tested.
"""

import re
from typing import Annotated, Literal

import numpy as np

from ssljax.data.glyphs import EM, FIELD, FONTS, prototypes, sample, stretch
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    draws,
    fingerprint,
    made,
    normal,
    permutation,
    uniform,
)
from ssljax.data.tokens import MARKS, Tokenizer, captions, words
from ssljax.kinds import Count, Natural, Range
from ssljax.names import Mistake, choose

COLORS = {  # red, green and blue in [0, 1]
    'red': (0.90, 0.12, 0.12),
    'white': (0.92, 0.92, 0.92),
    'yellow': (0.95, 0.90, 0.20),
    'green': (0.15, 0.70, 0.20),
    'cyan': (0.25, 0.85, 0.90),
    'blue': (0.20, 0.32, 0.95),
    'purple': (0.58, 0.22, 0.85),
    'pink': (0.98, 0.55, 0.78),
}
SIZES = {'small': (15.0, 18.0), 'large': (24.0, 29.0)}  # em, in pixels of a side of 48
PLACES = {  # down and across from the center, times STEP pixels
    'top left': (-1, -1),
    'top right': (-1, 1),
    'center': (0, 0),
    'bottom left': (1, -1),
    'bottom right': (1, 1),
}
FACTORS = ('color', 'letter', 'size', 'place')
KEPT = (*FACTORS, 'mask')
OWN = {'train': slice(0, 5), 'validation': slice(5, 6), 'test': slice(6, 8)}  # of eight colors
PHRASES = (
    'a {size} {color} {letter} at the {place}',
    'the {letter} at the {place} is {size} and {color}',
    '{size} {color} letter {letter}, {place}',
    'there is a {letter}, {size} and {color}, at the {place}',
    'at the {place} a {size} {color} letter {letter}',
    'a picture of a {size} {color} {letter} at the {place}',
    # those above tell all; training has these, too
    'a {color} {letter}',
    'a picture of a {color} {letter}',
    'a {color} letter {letter}',
    'the {letter} is {color}',
    'a {size} {letter} at the {place}',
    'a {size} {color} letter',
    'something {color} at the {place}',
    'the letter {letter}',
)
TELL_ALL = 6
STEP = 12
LENGTH = 16  # tokens of a caption, at most
SCALARS = 32  # random words for the factors


def scenes(
    *,
    size: Annotated[int, Range(16, 256)] = 48,
    train: Count = 20_000,
    validation: Natural = 160,
    test: Natural = 320,
    seed: Natural = 0,
    letters: str = 'ABCEFGHKMRSTXZ24',
    label: Literal['pair', 'color', 'letter', 'size', 'place'] = 'pair',
    keep: tuple[str, ...] = (),
) -> Source:
    """Images uint8 [size, size, 3] of a colored letter, with `text` int32 [16] and `text_length`.

    Of the eight colors of each letter, training has five, validation a sixth, test the other two;
    test has 5 fonts and validation 3 that training has not. The pairs of a split come in all sizes
    and places, each combination before any comes twice. A caption tells color, letter, size and
    place; in training some tell less.

    size: side of an image in pixels; it scales the image, not the task.
    train, validation, test: rows of each split.
    seed: of the images, and of which colors of a letter are tested.
    letters: the characters, eight or more.
    label: what the class is: the pair of color and letter, as 'red K', or one of FACTORS.
    keep: what is to be an entry of the rows, too: FACTORS, as numbers, and mask uint8 [size, size],
    which is 1 where the letter covers the ground.
    """
    if len(set(letters)) != len(letters) or len(letters) < len(COLORS) or not letters.isalnum():
        raise Mistake(
            f'scenes: letters={letters!r}; type {len(COLORS)} or more different ones of 0-9A-Za-z'
        )
    choose(label, ('pair', *FACTORS), 'label of scenes')
    for name in keep:
        choose(name, KEPT, 'entry of scenes')
    counts = dict(train=train, validation=validation, test=test)
    table, tokenizer = prototypes(letters), vocabulary(letters)
    combinations = {name: combined(seed, name, len(letters)) for name in SPLITS}
    named = dict(color=tuple(COLORS), letter=tuple(letters), size=tuple(SIZES), place=tuple(PLACES))
    named['pair'] = tuple(f'{color} {letter}' for color in COLORS for letter in letters)

    def rows(split: str, index: np.ndarray) -> Rows:
        words = draws(seed, SPLITS.index(split), index, SCALARS + FIELD**2 + size**2)
        of_split = combinations[split]
        factors = dict(zip(FACTORS, of_split[index % len(of_split)].T))
        phrases = PHRASES if split == 'train' else PHRASES[:TELL_ALL]
        told = uniform(words[:, 0], 0, len(phrases)).astype(int)
        texts = [
            phrases[phrase].format(**{name: named[name][i] for name, i in zip(FACTORS, row)})
            for phrase, row in zip(told, zip(*factors.values()))
        ]
        factors['pair'] = factors['color'] * np.int32(len(letters)) + factors['letter']
        x, mask = render(table, split, words, size, factors)
        written = captions(tokenizer, texts, length=LENGTH)
        known = factors | {'mask': mask}
        return {'x': x, 'label': factors[label], **written} | {name: known[name] for name in keep}

    import matplotlib

    what = (size, seed, letters, tuple(counts.items()), label, tuple(keep))
    return Source(
        'scenes',
        made(counts, rows, draws=SCALARS + FIELD**2 + size**2, size=3 * size**2),
        fingerprint('scenes 1', *what, table, COLORS, SIZES, PLACES, PHRASES),
        classes=len(named[label]),
        class_names=named[label],
        vocab=tokenizer.vocab,
        decoder=f'matplotlib {matplotlib.__version__}',
        tokens=lambda texts: captions(tokenizer, texts, length=LENGTH),
    )


def vocabulary(letters: str) -> Tokenizer:
    """The words of all captions; a capital A is a letter and no article."""
    plain = [re.sub('{.*?}', '', phrase) for phrase in PHRASES]
    return words([*plain, *COLORS, *SIZES, *PLACES, *letters], marks=MARKS, lower=False)


def combined(seed: int, split: str, letters: int) -> np.ndarray:
    """Color, letter, size and place of all scenes of a split, in a fixed order: int32 [N, 4].

    The colors of a letter are one order of the eight, turned from letter to letter; a split has
    its own part of it. So each color is new, in test, for as many letters as any other.
    """
    colors = permutation(seed, 0, len(COLORS))[OWN[split]]
    turn = permutation(seed, 1, letters)  # of each letter
    every = np.indices((len(colors), letters, len(SIZES), len(PLACES)), np.int32).reshape(4, -1)
    color = (colors[every[0]] + turn[every[1]]) % len(COLORS)
    every = np.stack([color.astype(np.int32), *every[1:]], 1)
    return every[permutation(seed, 2 + SPLITS.index(split), len(every))]


def render(
    table: np.ndarray, split: str, words: np.ndarray, size: int, factors: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """Random words [B, SCALARS + FIELD^2 + size^2] and factors -> images uint8 [B, size, size, 3],
    and where their letters are [B, size, size].

    The first word is that of the phrase.
    """
    n, unit = len(words), size / 48  # lengths below are in pixels of a 48 x 48 image
    scalar = iter(words[:, 1:SCALARS].T)

    def draw(low: float, high: float) -> np.ndarray:
        return uniform(next(scalar), low, high).astype(np.float32)[:, None, None]

    first = sum(len(FONTS[name]) for name in SPLITS[: SPLITS.index(split)])
    font = draw(first, first + len(FONTS[split])).astype(np.int32)[:, 0, 0]
    low, high = np.array(list(SIZES.values()), np.float32)[factors['size']].T[..., None, None]
    em = low + (high - low) * draw(0, 1)
    places = np.array(list(PLACES.values()), np.float32)[factors['place']]
    down, across = (STEP * v[:, None, None] + draw(-1.5, 1.5) for v in places.T)
    aspect, slant, rotation = draw(-0.12, 0.12), draw(-0.12, 0.12), draw(-0.1, 0.1)
    stroke, texture, noise = draw(0.22, 0.48), draw(0.02, 0.07), draw(0.004, 0.03)
    level = draw(0.05, 0.3)
    tint = np.concatenate([draw(-0.06, 0.06) for _ in range(3)], 2)[:, None]  # [B, 1, 1, 3]
    shade = np.concatenate([draw(-0.07, 0.07) for _ in range(3)], 2)[:, None]

    # 1. Ink: each pixel looks up its place in the prototype, as in glyphs.py
    grid = ((np.arange(size) - (size - 1) / 2) / unit).astype(np.float32)
    x, y = grid[None, None, :] - across, grid[None, :, None] - down
    cos, sin = np.cos(rotation), np.sin(rotation)
    x, y = cos * x + sin * y, cos * y - sin * x
    x, y = (x + slant * y) * (EM / em * np.exp(-aspect / 2)), y * (EM / em * np.exp(aspect / 2))
    ink = sample(table.reshape(-1), font * table.shape[1] + factors['letter'], y, x)
    ink = np.clip((ink - stroke) / 0.35 + 0.5, 0, 1)[..., None]

    # 2. Ground, letter, noise
    weave = normal(words[:, SCALARS : SCALARS + FIELD**2]).reshape(n, FIELD, FIELD)
    ramp = stretch(size)
    ground = (level + texture * (ramp @ weave @ ramp.T))[..., None] + tint
    color = np.array(list(COLORS.values()), np.float32)[factors['color']][:, None, None] + shade
    grain = noise * normal(words[:, SCALARS + FIELD**2 :]).reshape(n, size, size)
    image = ground + ink * (color - ground) + grain[..., None]
    mask = (ink[..., 0] > 0.5).astype(np.uint8)
    return np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), mask
