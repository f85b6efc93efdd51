"""A reader that has learned nothing: pieces of ink, each named after the nearest printed character.

Its constants were chosen on the validation lines of the source `lines`.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ssljax.data.glyphs import FONTS
from ssljax.data.lines import BASE, typeface

X = 8  # the height of an x, in pixels of a patch
ROWS, COLUMNS, UP = 22, 24, 15  # of a patch, and those of its rows that are above the baseline
INK = 0.4  # what belongs to a piece, over the darkest
GAP = 0.55  # of a blank between two pieces, over the height of an x
LOW = 0.35  # quantile of the pieces' heights that is about that of an x
TALL = (0.88, 1, 1.12)  # what is tried beside it


class Templates(NamedTuple):
    """Printed characters, of all fonts that lines are trained on."""

    patches: np.ndarray  # [M, ROWS * COLUMNS], of length 1
    tokens: np.ndarray  # [M]


@functools.cache
def templates(vocab: tuple[str, ...]) -> Templates:
    from scipy.ndimage import gaussian_filter

    characters = ''.join(token for token in vocab if len(token) == 1 and token.strip())
    patches, tokens = [], []
    for name in FONTS['train']:
        face = typeface(name, ''.join(dict.fromkeys(characters + 'x')))
        tall = np.ptp(np.flatnonzero((face['x'].ink > 0.5).any(1))) + 1
        for token, character in enumerate(vocab):
            if character in characters and character in face and face[character].ink.size:
                ink = face[character].ink
                columns = np.flatnonzero((ink > 0.5 * ink.max()).any(0))
                middle = (columns[0] + columns[-1] + 1) / 2
                ink = gaussian_filter(ink, 0.7)  # as fine as a patch
                patches.append(patch(ink, BASE - face[character].top, middle, tall))
                tokens.append(token)
    return Templates(np.array(patches), np.array(tokens))


def patch(ink: np.ndarray, base: float, middle: float, tall: float) -> np.ndarray:
    """Ink around (base, middle), scaled so that an x of `tall` pixels has X; of length 1."""
    from PIL import Image

    zoom = tall / X
    place = (zoom, 0, middle - zoom * COLUMNS / 2, 0, zoom, base - zoom * UP)
    image = Image.fromarray(ink.astype(np.float32))
    size = (COLUMNS, ROWS)
    image = image.transform(size, Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)
    values = np.asarray(image).ravel()
    return values / max(np.linalg.norm(values), 1e-6)


def pieces(image: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Ink of a line [H, W] in 0..1, and its pieces (top, bottom, left, right) from the left.

    A piece is what hangs together, with what stands above or below it.
    """
    from scipy.ndimage import find_objects, gaussian_filter, label

    dark = np.percentile(image, 90) - gaussian_filter(image.astype(np.float32), 0.5)
    ink = np.clip(dark / max(np.percentile(dark, 99), 8), 0, 1)
    marked, _ = label(ink > INK, np.ones((3, 3)))
    boxes = [(r.start, r.stop, c.start, c.stop) for r, c in find_objects(marked)]
    boxes = [box for box in boxes if (box[1] - box[0]) * (box[3] - box[2]) >= 3]
    merged: list[tuple[int, int, int, int]] = []
    for box in sorted(boxes, key=lambda b: b[2]):
        last = merged[-1] if merged else (0, 0, -9, -9)
        shared = min(last[3], box[3]) - max(last[2], box[2])
        if shared > 0.5 * min(last[3] - last[2], box[3] - box[2]):
            merged[-1] = tuple(f(a, b) for f, a, b in zip((min, max, min, max), last, box))
        else:
            merged.append(box)
    return ink, merged


def read(known: Templates, blank: int, image: np.ndarray) -> list[int]:
    """The tokens of a line of bytes [H, W]; `blank` is that of a space, -1: there is none."""
    ink, boxes = pieces(image)
    if not boxes:
        return []
    box = np.array(boxes, np.float32)
    base, best, tall = np.median(box[:, 1]), -np.inf, 0.0
    middle = np.quantile(np.maximum(box[:, 1] - box[:, 0], 5), LOW)
    for height in middle * np.array(TALL):  # that at which the pieces are most like characters
        patches = [patch(ink[:, c:d], base, (d - c) / 2, height) for _, _, c, d in boxes]
        likeness = np.array(patches) @ known.patches.T
        if (score := likeness.max(1).mean()) > best:
            best, tall, tokens = score, height, known.tokens[likeness.argmax(1)]
    gaps = (box[1:, 2] - box[:-1, 3]) / tall
    line = [int(tokens[0])]
    for token, gap in zip(tokens[1:], gaps, strict=True):
        line += [blank] * bool(blank >= 0 and gap > GAP) + [int(token)]
    return line


def reader(vocab: Sequence[str]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Lines uint8 [B, H, W, 1] and their columns [B] -> tokens int32 [B, L], -1 behind."""
    vocab = tuple(vocab)
    known, blank = templates(vocab), vocab.index(' ') if ' ' in vocab else -1

    def transcribe(x: np.ndarray, length: np.ndarray) -> np.ndarray:
        found = [
            read(known, blank, line[:, :n].mean(-1)) for line, n in zip(x, length, strict=True)
        ]
        ids = np.full((len(x), max([1, *map(len, found)])), -1, np.int32)
        for row, tokens in zip(ids, found, strict=True):
            row[: len(tokens)] = tokens
        return ids

    return transcribe
