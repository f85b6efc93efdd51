"""Degraded images made clean: which pixels are ink, what a recognizer reads, what was invented.

x of a row is degraded and y its clean copy, which whoever restores was not told.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import ssljax
from ssljax.evals import binarize
from ssljax.evals.edits import errors, written
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import floats, ratio
from ssljax.evals.pages import grays, otsu, sauvola, unchanged
from ssljax.evals.pictures import strips
from ssljax.evals.subject import Subject, answers, images_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 500,
    images: Natural = 4,
    reader: str = '',
) -> Scores:
    """Scores `translate` of x against y, and saves pictures of both directions.

    f1 is of pixels of ink, in percent: what is at or below Otsu's threshold of the image, made or
    true. mse is of pixels in [-1, 1]. With a reader, character_error is as of `transcription`, and
    invented counts what is read where the truth has nothing: the insertions, in percent of the
    truth's length, of the alignment that has the fewest edits and, of these, the fewest insertions.
    The reader also reads the clean copies: clean_error is what it owes to itself.

    split, size: so many rows of this split; none: all.
    images: in the pictures; 0: no pictures.
    reader: the workdir of a method that has `transcribe`, trained on lines of this size; or a
    function, (images uint8 [N, H, W, C], rows) -> token ids [N, L], below zero where nothing is.
    """
    ask = readout(subject, 'translate', 'restoration')
    part = images_of(subject, split, 'restoration')
    index = pick(part.count, size)
    made, rows = answers(ask, part, index, keep=('x', 'y', 'text', 'text_length', 'length'))
    if 'y' not in rows or rows['y'].shape != made.shape:
        raise Mistake(
            f'restoration needs a clean y for each x, of the form that {subject.name} makes'
            f' {list(made.shape[1:])}; {subject.source.name} has '
            + (f'{list(rows["y"].shape[1:])}' if 'y' in rows else 'none')
        )
    if bad := int((~np.isfinite(made.reshape(len(made), -1))).any(1).sum()):
        raise Mistake(f'restoration: {bad} of {len(made)} images of {subject.name} are not finite')
    found, truth = grays(made), grays(rows['y'])
    right = binarize.f1(found <= binarize.otsu(found), truth <= binarize.otsu(truth))
    error = np.square(made - floats(rows['y'])).reshape(len(made), -1).mean(1)
    scores, numbers = {'f1': 100 * right, 'mse': error}, {'rows': len(made)}
    if images:
        chosen = np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)
        pictures(subject, {name: v[chosen] for name, v in rows.items()}, made[chosen])
    if reader:
        read = read_by(reader, subject.source.vocab)
        names = 'text', 'text_length'
        if not subject.source.vocab or any(name not in rows for name in names):
            raise Mistake(
                f'restoration: {subject.source.name} has no text to be read; leave reader'
            )
        pairs = zip(*(rows[name] for name in names), strict=True)
        texts = [written(subject.source.vocab, line[:n]) for line, n in pairs]
        lines, clean = read(to_bytes(made), rows), read(rows['y'], rows)
        inserted = [insertions(a, b) for a, b in zip(texts, lines, strict=True)]
        scores |= {
            'character_error': errors(texts, lines),
            'invented': 100 * ratio(inserted, [len(line) for line in texts]),
            'clean_error': errors(texts, clean),
        }
        numbers['invented_characters'] = sum(inserted)
        some = zip(texts, lines, clean, strict=True)
        subject.save('reading', '\n'.join('\n'.join((*three, '')) for three in list(some)[:20]))
    return averaged(scores, **numbers)


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] as uint8 of as many channels."""
    return np.round(np.clip(x * 127.5 + 127.5, 0, 255)).astype(np.uint8)


def read_by(reader: str | Callable, vocab: Sequence[str]) -> Callable:
    """(images uint8, rows) -> what is read of each, as strings."""
    ids = reader if callable(reader) else opened(reader, tuple(vocab))
    return lambda x, rows: [written(vocab, line[line >= 0]) for line in ids(x, rows)]


@functools.lru_cache(maxsize=2)  # all subjects are read by one
def opened(workdir: str, vocab: tuple[str, ...]) -> Callable:
    """(images uint8, rows) -> token ids [N, L], by the model of a workdir."""
    model = ssljax.load(workdir)
    if 'transcribe' not in model.readouts:
        raise Mistake(f'restoration: {workdir} has no readout transcribe; type another reader')
    if tuple(model.run.tokens) != vocab:
        raise Mistake(f'restoration: {workdir} reads other characters than those of this data set')

    def ids(x: np.ndarray, rows: Mapping[str, np.ndarray]) -> np.ndarray:
        known = {'length': rows['length']} if 'length' in rows else {}
        return model.transcribe({**known, 'x': x})

    return ids


def insertions(a: Sequence[Any], b: Sequence[Any]) -> int:
    """Of the fewest edits that make b of a, how many insert; the fewest of them, if one may choose.

    An edit counts `unit`, an insertion one more: so the least sum has both.
    """
    unit = len(b) + 1
    row = [j * (unit + 1) for j in range(len(b) + 1)]  # of b's beginnings, after none of a
    for v in a:
        before, row = row, [row[0] + unit]
        for j, w in enumerate(b):
            kept = before[j] + unit * (v != w)
            row.append(min(kept, before[j + 1] + unit, row[j] + unit + 1))
    return row[-1] % unit


def pictures(subject: Subject, rows: Mapping[str, np.ndarray], made: np.ndarray) -> None:
    """From degraded to clean; where it is offered, from clean to degraded, and there and back."""
    few = {**rows, 'index': np.arange(len(made), dtype=np.int32)}
    shown = {'degraded': rows['x'], subject.name: made, 'clean': rows['y']}
    subject.save('restored', strips(shown))
    if 'translate_y' in subject.readouts:
        shown = {'clean': rows['y'], 'degraded by it': subject.readouts['translate_y'](few)}
        if 'reconstruct' in subject.readouts:
            back = subject.readouts['reconstruct'](few)['reconstruction']
            shown |= {'degraded': rows['x'], 'clean by it': made, 'and back': back}
        subject.save('both-ways', strips(shown))


evaluator = Evaluator(
    run=score,
    needs=('translate',),
    baselines=(unchanged, otsu, sauvola),
    shown={
        'f1': Shown('ink, pixel F1'),
        'character_error': Shown('character error, restored', less=True),
        'invented': Shown('characters invented, percent', less=True),
        'mse': Shown('restoration, mean squared error', less=True, decimals=4),
    },
    lacking={'character_error': 'of character errors: type reader=WORKDIR, of a method that reads'},
)
