"""Where the characters of a known text lie in its line: alignment, the E-step of CTC.

Graves et al. 2006 (ICML), section 4.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ssljax.evals.baselines import evenly
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.pictures import bytes_of, column, lettering
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake

TALL = 9  # pixels of a token's row in the picture


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 1000,
    images: Natural = 4,
    options: Mapping[str, Any] = {},
) -> Scores:
    """How far the places of characters are from the truth, and how sure the frames are of the text.

    align gives `positions` [B, L], the expected column of each token of `text`; the truth is the
    batch's `positions`, the middle of each character. position_error: columns between them, the
    mean over a line's characters; position_spread: the same without the line's mean lag, since CTC
    does not care where in a character its token is. With `posteriors` and `aligned`
    [B, T, V + 1], blank last, overlap: the part of the mass that is the same with the text as
    without it.

    split, size: so many rows of this split; none: all.
    images: in the picture: the line, its posteriors, the truth, and the posteriors given the text.
    options: of the readout align.
    """
    ask = partial(readout(subject, 'align', 'alignment'), **options)
    part = part_of(subject.source, split)
    if 'text' not in (rows := part.rows(np.arange(1))):
        raise Mistake(
            f'alignment needs texts; the split {split} of {subject.source.name} has'
            f' {", ".join(sorted(rows))}: leave alignment out of the evals'
        )
    index, names = pick(part.count, size), []
    measured, _ = answers(partial(measures, ask, subject.name, names), part, index)
    if images and {'posteriors', 'aligned'} <= set(ask(with_index(part, index[:1]))):
        chosen = index[np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)]
        picture(subject, ask(with_index(part, chosen)), part.rows(chosen))
    return averaged(dict(zip(names, measured.T, strict=True)), rows=len(measured))


def with_index(part: Any, index: np.ndarray) -> dict[str, np.ndarray]:
    return part.rows(index) | {'index': index.astype(np.int32)}


def measures(
    ask: Callable, who: str, names: list[str], batch: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Of each row what can be measured [B, n]; what the columns are called goes to `names`."""
    answer = ask(batch)
    if not isinstance(answer, Mapping) or 'positions' not in answer:
        raise Mistake(f'alignment needs arrays by name, as dict(positions=...); see {who}')
    found, columns = np.asarray(answer['positions'], np.float64), {}
    sizes = np.asarray(batch.get('text_length', np.full(len(found), found.shape[1])))
    if 'positions' in batch:
        inside = np.arange(found.shape[1]) < sizes[:, None]
        count = np.maximum(sizes, 1)
        apart = np.where(inside, found - batch['positions'], 0)
        columns['position_error'] = np.abs(apart).sum(1) / count
        lag = (apart.sum(1) / count)[:, None]
        columns['position_spread'] = np.where(inside, np.abs(apart - lag), 0).sum(1) / count
    if 'posteriors' in answer and 'aligned' in answer:
        free, told = (np.asarray(answer[name]) for name in ('posteriors', 'aligned'))
        shared = np.minimum(free, told).sum((1, 2))
        columns['overlap'] = shared / np.maximum(told.sum((1, 2)), 1e-6)
    names[:] = columns
    return np.stack(list(columns.values()), 1) if columns else np.zeros((len(found), 0))


def picture(subject: Subject, answer: Mapping[str, np.ndarray], rows: Mapping[str, Any]) -> None:
    """Below each line: posteriors of the frames, where its characters are, posteriors given them.

    A row of pixels for each token that the text has, by its first place, the blank last.
    """
    if rows['x'].ndim != 4:
        return
    font, vocab = lettering(TALL), subject.source.vocab
    parts, images = [], bytes_of(rows['x'])
    for i, image in enumerate(images):
        size = rows['text_length'][i] if 'text_length' in rows else rows['text'].shape[1]
        text, width = rows['text'][i, :size], image.shape[1]
        blank = answer['posteriors'].shape[2] - 1
        tokens = np.array([*dict.fromkeys(text.tolist()), blank])
        zoom = width // answer['posteriors'].shape[1]
        panels = {'frames': answer['posteriors'][i].T[tokens].repeat(zoom, 1)}
        if 'positions' in rows:
            truth = np.zeros((len(tokens), width))
            for token, place in zip(text, rows['positions'][i]):
                at = int(np.clip(place, 1, width - 2))
                truth[np.flatnonzero(tokens == token), at - 1 : at + 2] = 1
            panels['truth'] = truth
        panels['given the text'] = answer['aligned'][i].T[tokens].repeat(zoom, 1)
        parts.append(labeled(image.repeat(2, 0).repeat(2, 1), [], 'line', font))
        names = ['ε' if token == blank else vocab[token].replace(' ', '␣') for token in tokens]
        for name, panel in panels.items():
            heat = np.clip(3 * panel[..., None] - np.arange(3), 0, 1)  # black, red, yellow, white
            heat = np.round(255 * heat).astype(np.uint8).repeat(TALL, 0).repeat(2, 1)
            parts.append(labeled(heat, names, name, font))
    subject.save('alignment', column(parts, gap=3))


def labeled(pixels: np.ndarray, names: list[str], title: str, font: Any) -> Image.Image:
    """An image with its title and the names of its rows at the left."""
    whole = Image.new('RGB', (90 + pixels.shape[1], len(pixels)), 'white')
    whole.paste(Image.fromarray(pixels), (90, 0))
    draw = ImageDraw.Draw(whole)
    draw.text((2, len(pixels) / 2), title, 'black', font, anchor='lm')
    for i, name in enumerate(names):
        draw.text((86, (i + 0.5) * TALL), name, 'black', font, anchor='rm')
    return whole


evaluator = Evaluator(
    run=score,
    needs=('align',),
    baselines=(evenly,),
    shown={
        'position_error': Shown('position error, columns', less=True, decimals=2),
        'position_spread': Shown('position error but for the lag', less=True, decimals=2),
        'overlap': Shown('frames as aligned', decimals=3),
    },
    asks=passed_on('align'),
    lacking={
        'position_error': 'position_error: the lines come without positions',
        'position_spread': 'position_spread: the lines come without positions',
        'overlap': 'overlap: there are no posteriors',
    },
    neighbors=True,
)
