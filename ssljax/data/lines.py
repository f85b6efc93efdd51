"""Printed lines of text, drawn by a formula, and what they read.

A line is a pure function of (seed, split, index); nothing is downloaded.
"""

import functools
import math
import os
import re
import string
from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import numpy as np

from ssljax.data.glyphs import FONTS
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    draws,
    fingerprint,
    made,
    uniform,
)
from ssljax.data.tokens import UNSEEN
from ssljax.kinds import Count, Natural, Range
from ssljax.names import Mistake, choose

Side = Annotated[int, Range(16, 4096)]
ALPHABET = " !'(),-.0123456789:;?" + string.ascii_letters
EM, BASE, TALL = 32, 35, 50  # of a strip: pixels of an em, the row of the baseline, rows
SCALARS, JITTER, MOST = 16, 16, 128  # words of draws; characters of a line are at most MOST
PARTS, PHRASE = (0, 0.8, 0.9, 1), 4  # of the corpus, by split; words that no two have in a row
FACTORS = ('positions', 'font')


class Glyph(NamedTuple):
    """A printed character: ink [h, w] whose first pixel lies at (top, left) from the pen."""

    ink: np.ndarray
    top: int
    left: int
    advance: float


def lines(
    *,
    height: Side = 32,
    width: Side = 256,
    words: Natural = 0,
    train: Count = 40_000,
    validation: Natural = 500,
    test: Natural = 1_000,
    seed: Natural = 0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Printed lines, uint8 [height, width, 1], and what they read: text, text_length, length.

    The words are those of Python's help topics that need no character but those of ALPHABET. The
    splits have parts of that text and fonts of their own. Size, aspect, spacing, slant, weight,
    baseline, contrast, blur and noise are drawn for each line. A line starts at the left; length
    says how many columns it has, and what follows is ground.

    height, width: of the canvas in pixels; the height scales the print.
    words: at most so many a line; 0: as many as fit into a width that is drawn, too.
    train, validation, test: rows of each split.
    seed: of the lines.
    keep: positions (the column of each character's middle) and font, as entries of the rows.
    """
    for name in keep:
        choose(name, FACTORS, 'factor of lines')
    counts = dict(train=train, validation=validation, test=test)
    most = min(MOST, max(4, 5 * width // height))  # characters; no line has as many in practice
    texts = {name: corpus(name) for name in SPLITS}

    def rows(split: str, index: np.ndarray) -> Rows:
        found = printed(texts[split], seed, split, index, (height, width), words, most)
        return {name: found[name] for name in ('x', 'length', 'text', 'text_length', *keep)}

    import matplotlib

    options = (height, width, words, seed, tuple(counts.items()), FONTS, ALPHABET, tuple(keep))
    return Source(
        'lines',
        # few lines at a time are faster: they stay in the cache
        made(counts, rows, draws=2 * height * width, size=height * width + 8 * most),
        fingerprint('lines 1', *options, *(' '.join(texts[name]) for name in SPLITS)),
        vocab=tuple(ALPHABET),
        decoder=f'matplotlib {matplotlib.__version__}',
        tokens=speller(ALPHABET, most),
        words=tuple(sorted(set().union(*texts.values()))),
    )


@functools.cache
def corpus(split: str) -> tuple[str, ...]:
    """The words of a split's part of the text, in order.

    The topics quote each other: a phrase of PHRASE words that an earlier split has is left out.
    """
    from pydoc_data.topics import topics

    raw = ' '.join(topics[name] for name in sorted(topics)).split()
    known = re.compile(f'[{re.escape(ALPHABET.strip())}]+')
    found = [word for word in raw if known.fullmatch(word) and word.strip('-.') and len(word) < 20]
    number = SPLITS.index(split)
    low, high = (int(len(found) * share) for share in PARTS[number : number + 2])
    earlier = set(phrases(found[:low]))
    fresh = np.ones(high - low, bool)
    for i, phrase in enumerate(phrases(found[low:high])):
        if phrase in earlier:
            fresh[i : i + PHRASE] = False
    return tuple(word for word, new in zip(found[low:high], fresh, strict=True) if new)


def phrases(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)]


@functools.cache
def typeface(name: str, characters: str) -> dict[str, Glyph]:
    """The characters that a font of matplotlib has, at EM pixels, softened."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font, LoadFlags

    font = FT2Font(os.path.join(get_data_path(), 'fonts', 'ttf', f'{name}.ttf'))
    font.set_size(EM, 72)  # at 72 dots an inch a point is a pixel
    there, found = font.get_charmap(), {}
    taps = np.exp(-0.5 * (np.arange(-2, 3) / 0.8) ** 2)
    taps /= taps.sum()
    for character in characters:
        if ord(character) not in there:
            continue
        # the measures first: the bitmap is cut to the ink, and so lies where these say
        measures = font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
        left, _, _, top = (math.floor(side / 64) for side in measures.bbox)
        ink = np.zeros((0, 0), np.float32)
        if character.strip():
            font.set_text(character, 0.0, flags=LoadFlags.NO_HINTING)
            font.draw_glyphs_to_bitmap(antialiased=True)
            ink = np.asarray(font.get_image(), np.float32) / 255
            rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
            top = math.ceil(measures.bbox[3] / 64)
            ink = np.pad(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 2)
            for axis in (0, 1):
                ink = sum(tap * np.roll(ink, i - 2, axis) for i, tap in enumerate(taps))
        advance = measures.linearHoriAdvance / 65536
        found[character] = Glyph(ink.astype(np.float32), BASE - top - 2, left - 2, advance)
    return found


def printed(
    text: Sequence[str],
    seed: int,
    split: str,
    index: np.ndarray,
    canvas: tuple[int, int],
    words: int,
    most: int,
) -> Rows:
    """Draws what each line reads and how it is printed, then prints it."""
    (height, width), n = canvas, len(index)
    unit, count = height / 32, SCALARS + JITTER + -(-height * width // 8)
    random = draws(seed, SPLITS.index(split), index, count)  # [n, count]
    scalar = iter(random[:, :SCALARS].T)

    def draw(low: float, high: float) -> np.ndarray:
        return uniform(next(scalar), low, high).astype(np.float32)

    start = (draw(0, 1) * len(text)).astype(int)
    font = draw(0, len(FONTS[split])).astype(np.int32)
    em, full, space = draw(15, 22) * unit, draw(0.3, 1), draw(-0.02, 0.08)
    slant, drift, margin = draw(-0.2, 0.2), draw(-0.012, 0.012), draw(3, 8) * unit
    base, stroke, contrast = draw(21, 25) * unit, draw(0.2, 0.52), draw(0.45, 0.85)
    light, slope, blur = draw(0.85, 1.0), draw(-0.06, 0.06), draw(0, 0.25)
    noise, aspect = draw(0.005, 0.04), draw(-0.2, 0.2)
    scale = em / EM  # from a strip to the canvas, downward
    across = scale * np.exp(aspect)
    jitter = random[:, SCALARS : SCALARS + JITTER].copy().view(np.uint8)  # [n, 128]

    # 1. Strips of ink at EM pixels, glyph by glyph; the pen is a float, its glyphs are not.
    reach = int(np.ceil(width / across.min())) + 3 * EM
    strip = np.zeros((n, TALL, reach), np.float32)
    ids, sizes = np.zeros((n, most), np.int32), np.zeros(n, np.int32)
    middles, ends = np.zeros((n, most), np.float32), np.zeros(n, np.float32)
    for i in range(n):
        face = typeface(FONTS[split][font[i]], ALPHABET)
        room = (width - 2 * margin[i]) / across[i]
        line = fitting(text, start[i], words, face, space[i] * EM, room, full[i])[:most].rstrip()
        pen = 0.0
        for c, character in enumerate(line):
            glyph = face[character]
            if glyph.ink.size:
                down = int(round(drift[i] * pen)) + int(jitter[i, c % 128] % 3) - 1
                top, left = max(0, glyph.top + down), EM + round(pen) + glyph.left
                tall, wide = glyph.ink.shape
                part = strip[i, top : top + tall, left : left + wide]
                np.maximum(part, glyph.ink[: part.shape[0], : part.shape[1]], out=part)
            middles[i, c] = pen + glyph.advance / 2
            pen += glyph.advance + space[i] * EM
            ids[i, c] = PLACES[character]
        sizes[i], ends[i] = len(line), pen
    inside = np.arange(most) < sizes[:, None]
    positions = np.where(inside, margin[:, None] + middles * across[:, None], 0).astype(np.float32)
    length = np.minimum(np.ceil(2 * margin + ends * across), width).astype(np.int32)

    # 2. From strips to the canvas: rows by averages, then columns, which the slant moves.
    row = (np.arange(height) - base[:, None]) / scale[:, None] + BASE  # [n, H]
    weight = 1 - np.abs(row[..., None] - np.arange(TALL, dtype=np.float32)) * np.minimum(
        scale[:, None, None], 1
    )
    weight = np.maximum(weight, 0) * np.minimum(scale[:, None, None], 1)
    ink = weight.astype(np.float32) @ strip  # [n, H, reach]
    lean = slant[:, None] * (base[:, None] - 6 * unit - np.arange(height))  # [n, H]
    column = (np.arange(width) - margin[:, None, None] - lean[..., None]) / across[:, None, None]
    column = np.clip(column + EM, 0, reach - 1.01).astype(np.float32)
    whole = column.astype(np.int32)
    column -= whole
    whole += (np.arange(n * height, dtype=np.int32) * reach).reshape(n, height, 1)
    flat = ink.ravel()
    ink = flat[whole]
    ink += column * (flat[whole + 1] - ink)
    ink = np.clip((ink - stroke[:, None, None]) / 0.4 + 0.5, 0, 1)

    # 3. Channel: ground and contrast, blur, noise, eight bits.
    side = blur[:, None, None]
    ink[:, 1:-1] = (1 - 2 * side) * ink[:, 1:-1] + side * (ink[:, :-2] + ink[:, 2:])
    ink[:, :, 1:-1] = (1 - 2 * side) * ink[:, :, 1:-1] + side * (ink[:, :, :-2] + ink[:, :, 2:])
    ground = light[:, None] + slope[:, None] * np.linspace(-1, 1, width, dtype=np.float32)
    image = ground[:, None] - contrast[:, None, None] * ink
    grains = np.ascontiguousarray(random[:, SCALARS + JITTER :]).view(np.uint8)
    grains = NORMAL[grains[:, : height * width]].reshape(n, height, width)
    image += noise[:, None, None] * grains
    x = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)[..., None]
    first = sum(len(FONTS[name]) for name in SPLITS[: SPLITS.index(split)])
    return dict(
        x=x, length=length, text=ids, text_length=sizes, positions=positions, font=first + font
    )


PLACES = {character: i for i, character in enumerate(ALPHABET)}


@functools.cache
def quantiles() -> np.ndarray:
    """The middle of each 256th part of a standard normal: noise for a random byte."""
    from statistics import NormalDist

    return np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


NORMAL = quantiles()


def fitting(
    text: Sequence[str],
    start: int,
    words: int,
    face: dict[str, Glyph],
    space: float,
    room: float,
    full: float,
) -> str:
    """Words from `start` on that fit into this part of the room; one, cut if need be, at least."""
    line, used = '', 0.0
    wanted = room if words else room * full
    while not words or line.count(' ') < words:
        word = (' ' if line else '') + text[(start + line.count(' ') + bool(line)) % len(text)]
        wide = sum(face[c].advance + space for c in word)
        if line and (used + wide > wanted or line.count(' ') + 1 == words):
            break
        line, used = line + word, used + wide
    while used > room and len(line) > 1:
        used -= face[line[-1]].advance + space
        line = line[:-1]
    return line


def speller(vocab: Sequence[str], most: int) -> Callable[[Sequence[str]], Rows]:
    """texts -> `text` int32 [N, most] and `text_length`, as rows have them."""
    places = {character: i for i, character in enumerate(vocab)}

    def tokens(texts: Sequence[str]) -> Rows:
        ids, sizes = np.zeros((len(texts), most), np.int32), np.zeros(len(texts), np.int32)
        for i, line in enumerate(texts):
            odd = sorted(set(line) - set(places)) if UNSEEN not in places else []
            if odd or len(line) > most:
                problem = f'has characters {"".join(odd)!r}' if odd else f'has {len(line)} of them'
                raise Mistake(
                    f'the text {line[:20]!r} {problem}; type at most {most} of {"".join(vocab)}'
                )
            ids[i, : len(line)] = [places.get(c, places.get(UNSEEN, 0)) for c in line]
            sizes[i] = len(line)
        return {'text': ids, 'text_length': sizes}

    return tokens
