"""Printed characters through a noisy channel: labeled images without end, drawn by a formula.

class -> render (font, size, position, slant, stroke) -> channel (ground, contrast, blur, noise).
An image is a pure function of (seed, split, index); nothing is downloaded.
"""

import functools
import string
from typing import Annotated

import numpy as np

from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    draws,
    fingerprint,
    made,
    normal,
    uniform,
)
from ssljax.kinds import Count, Natural, Range
from ssljax.names import Mistake, choose

# Every font that matplotlib ships with a true alphabet. No test font is seen in training (its
# family may be: these are about seven designs), nor is a validation font in either of the others.
FONTS = {
    'train': (
        'DejaVuSans',
        'DejaVuSans-Oblique',
        'DejaVuSans-Bold',
        'DejaVuSans-BoldOblique',
        'DejaVuSansMono',
        'DejaVuSansMono-Oblique',
        'DejaVuSansMono-BoldOblique',
        'DejaVuSerif',
        'DejaVuSerif-Italic',
        'DejaVuSerif-BoldItalic',
        'STIXGeneral',
        'STIXGeneralItalic',
        'cmr10',
    ),
    'validation': ('DejaVuSerif-Bold', 'STIXGeneralBolIta', 'cmti10'),
    'test': ('DejaVuSansMono-Bold', 'STIXGeneralBol', 'cmb10', 'cmss10', 'cmtt10'),
}
CANVAS, EM = 64, 48  # of a prototype, in pixels
SCALARS, FIELD = 32, 8  # words for the factors; the ground texture's grid
FACTORS = ('font', 'size', 'aspect', 'slant', 'rotation', 'position', 'stroke', 'contrast')


def glyphs(
    *,
    size: Annotated[int, Range(8, 256)] = 32,
    train: Count = 20_000,
    validation: Natural = 2_000,
    test: Natural = 4_000,
    seed: Natural = 0,
    classes: str = '0123456789ABCDEFGHJKLMNPQRSTUVWXYZ',
    keep: tuple[str, ...] = (),
) -> Source:
    """Gray uint8 images [size, size, 1] of printed characters.

    size: side of an image in pixels; it scales the image, not the task.
    train, validation, test: rows of each split.
    seed: of the images.
    classes: the characters. By default O and I are left out: they look like 0 and 1.
    keep: factors of FACTORS that are to be entries of the rows, beside x and label.
    """
    odd = sorted(set(classes) - set(string.digits + string.ascii_letters))
    if odd or len(set(classes)) != len(classes) or len(classes) < 2:
        problem = f'characters {"".join(odd)!r}' if odd else f'{classes!r}'
        raise Mistake(
            f'glyphs: classes has {problem}; type two or more different ones of 0-9A-Za-z'
        )
    if not 8 <= size <= 256:
        raise Mistake(f'glyphs: size={size}; type a number of pixels from 8 to 256')
    counts = dict(train=train, validation=validation, test=test)
    for name, count in counts.items():
        if count < 0:
            raise Mistake(f'glyphs: {name}={count}; type a number of images')
    for name in keep:
        choose(name, FACTORS, 'factor of glyphs')
    table = prototypes(classes)

    def rows(split: str, index: np.ndarray) -> Rows:
        return render(table, seed, split, index, size, keep)

    import matplotlib

    what = (size, seed, classes, tuple(counts.items()), FONTS, table)
    return Source(
        'glyphs',
        made(counts, rows, draws=SCALARS + FIELD**2 + size**2, size=size**2),
        fingerprint('glyphs 1', *what, *([tuple(keep)] if keep else [])),
        classes=len(classes),
        class_names=tuple(classes),
        decoder=f'matplotlib {matplotlib.__version__}',
    )


@functools.lru_cache(maxsize=4)
def prototypes(classes: str) -> np.ndarray:
    """Each font's characters, centered on their ink and softened: float32 [F, K, 64, 64]."""
    import os

    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font, LoadFlags

    distance = np.arange(CANVAS)[:, None] - np.arange(CANVAS)
    blur = np.exp(-0.5 * (distance / 1.2) ** 2) / (1.2 * np.sqrt(2 * np.pi))
    table = np.zeros((sum(map(len, FONTS.values())), len(classes), CANVAS, CANVAS), np.float32)
    for f, name in enumerate(font for fonts in FONTS.values() for font in fonts):
        font = FT2Font(os.path.join(get_data_path(), 'fonts', 'ttf', f'{name}.ttf'))
        font.set_size(EM, 72)  # at 72 dots an inch a point is a pixel
        for c, character in enumerate(classes):
            font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
            font.draw_glyphs_to_bitmap(antialiased=True)
            ink = np.asarray(font.get_image(), np.float32) / 255
            ink = ink[np.ix_(ink.any(1), ink.any(0))]
            top, left = (CANVAS - ink.shape[0]) // 2, (CANVAS - ink.shape[1]) // 2
            table[f, c, top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return (blur @ table @ blur).astype(np.float32)


def render(
    table: np.ndarray,
    seed: int,
    split: str,
    index: np.ndarray,
    size: int,
    keep: tuple[str, ...] = (),
) -> Rows:
    """Draws the factors of each image, then the image: x uint8 [B, size, size, 1], label, ..."""
    n, unit = len(index), size / 32  # lengths below are in pixels of a 32 x 32 image
    words = draws(seed, SPLITS.index(split), index, SCALARS + FIELD**2 + size**2)
    scalar = iter(words[:, :SCALARS].T)

    def draw(low: float, high: float) -> np.ndarray:
        return uniform(next(scalar), low, high).astype(np.float32)

    first = sum(len(FONTS[name]) for name in SPLITS[: SPLITS.index(split)])
    label = uniform(next(scalar), 0, table.shape[1]).astype(np.int32)
    font = uniform(next(scalar), first, first + len(FONTS[split])).astype(np.int32)
    em, aspect, slant = draw(15.6, 23.4), draw(-0.15, 0.15), draw(-0.15, 0.15)
    rotation, across, down = draw(-0.10, 0.10), draw(-6, 6), draw(-6, 6)
    stroke, contrast = draw(0.22, 0.48), draw(0.5, 0.9)
    polarity = np.where(draw(-1, 1) < 0, -1, 1).astype(np.float32)
    offset, slope, direction = draw(-0.1, 0.1), draw(0, 0.0375), draw(0, 2 * np.pi)
    texture, blur, noise = draw(0, 0.018), draw(0.1, 0.9), draw(0.003, 0.015)
    occluded, tall, wide = draw(0, 1) < 0.045, draw(3, 8), draw(3, 8)
    top, left, gray = draw(0, 1), draw(0, 1), draw(0, 1)

    def each(values: np.ndarray) -> np.ndarray:
        return values[:, None, None]

    # 1. Ink: each pixel looks up its place in the prototype (shift, rotate, slant, scale undone).
    grid = ((np.arange(size) - (size - 1) / 2) / unit).astype(np.float32)
    x, y = grid[None, None, :] - each(across), grid[None, :, None] - each(down)
    x, y = (
        each(np.cos(rotation)) * x + each(np.sin(rotation)) * y,
        each(np.cos(rotation)) * y - each(np.sin(rotation)) * x,
    )
    x = (x + each(slant) * y) * each(EM / em * np.exp(-aspect / 2))
    y = y * each(EM / em * np.exp(aspect / 2))
    ink = sample(table.reshape(-1), font * table.shape[1] + label, y, x)
    ink = np.clip((ink - each(stroke)) / 0.35 + 0.5, 0, 1)

    # 2. Ground: level, a slope across it, a smooth texture.
    weave = normal(words[:, SCALARS : SCALARS + FIELD**2]).reshape(n, FIELD, FIELD)
    ramp = stretch(size)
    ground = each(0.5 - polarity * contrast / 2 + offset) + each(texture) * (ramp @ weave @ ramp.T)
    ground += (
        each(slope)
        * (each(np.cos(direction)) * grid + each(np.sin(direction)) * grid[:, None])
        / 16
    )
    image = ground + each(polarity * contrast) * ink

    # 3. Channel: a patch in the way (rarely), blur, noise, eight bits.
    rows, columns = np.arange(32 * unit)[None, :, None] / unit, np.arange(32 * unit) / unit
    top, left = top * (32 - tall), left * (32 - wide)
    hidden = (rows >= each(top)) & (rows < each(top + tall)) & each(occluded)
    hidden = hidden & (columns >= each(left)) & (columns < each(left + wide))
    image = np.where(hidden, each(gray), image)
    kernel = np.exp(-0.5 * ((grid[:, None] - grid) / each(blur)) ** 2)
    kernel /= kernel.sum(-1, keepdims=True)
    image = kernel @ image @ kernel.transpose(0, 2, 1)
    image = image + each(noise) * normal(words[:, SCALARS + FIELD**2 :]).reshape(n, size, size)
    x = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)[..., None]
    factors = {
        'font': font,
        'size': em * unit,
        'aspect': aspect,
        'slant': slant,
        'rotation': rotation,
        'position': np.stack([down, across], -1) * unit,
        'stroke': stroke,
        'contrast': polarity * contrast,
    }
    return {'x': x, 'label': label} | {name: factors[name] for name in keep}


def sample(flat: np.ndarray, which: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of canvas `which` at (y, x) from its center, [B, H, W]; its rim is empty."""
    y = np.clip(y + (CANVAS - 1) / 2, 0, CANVAS - 1.001)
    x = np.clip(x + (CANVAS - 1) / 2, 0, CANVAS - 1.001)
    row, column = y.astype(np.int32), x.astype(np.int32)
    y, x = y - row, x - column
    at = which[:, None, None] * CANVAS**2 + row * CANVAS + column
    above = flat[at] * (1 - x) + flat[at + 1] * x
    below = flat[at + CANVAS] * (1 - x) + flat[at + CANVAS + 1] * x
    return above * (1 - y) + below * y


def stretch(size: int) -> np.ndarray:
    """Linear interpolation from FIELD points to `size`: [size, FIELD]."""
    coordinate = np.linspace(0, FIELD - 1, size)[:, None]
    return np.maximum(0, 1 - np.abs(coordinate - np.arange(FIELD))).astype(np.float32)
