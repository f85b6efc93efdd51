"""How much of a text is read wrong: edits over characters, and over words.

Levenshtein 1966 (Soviet Physics Doklady 10): the fewest insertions, deletions and substitutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.evals.subject import Subject, answers, pick, ratio, readout, split
from ssljax.names import Mistake

NEEDS = ('transcribe',)
BASELINES = ()
SHOWN = ('character_error', 'word_error')  # what a table shows, where it is there
LESS = ('character_error', 'word_error')  # of these less is better


def transcription(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    shown: int = 20,
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Edits over the length of the truth, in percent, over all rows together; above 100 where much
    is read that is not there. Saves some lines, truth above reading.

    transcribe gives token ids [B, T], below zero where nothing is read; the truth is the batch's
    `text` [B, L] and `text_length` [B]. Words are what blanks part.
    """
    return score(subject, split, size, shown, options)


def score(subject, name, size, shown, options):
    ask = readout(subject, 'transcribe', 'transcription')
    source, part = subject.source, split(subject.source, name)
    if 'text' not in (rows := part.rows(np.arange(1))) or not source.vocab:
        raise Mistake(
            f'transcription needs texts and a vocabulary; the split {name} of {source.name} has'
            f' {", ".join(sorted(rows))}: leave transcription out of the evals'
        )
    index = pick(part.count, size)
    ids, rows = answers(ask, part, index, keep=('text', 'text_length'), **options)
    if ids.ndim != 2 or ids.dtype.kind not in 'iu' or ids.max(initial=-1) >= len(source.vocab):
        raise Mistake(
            f'transcription needs token ids [B, T] below {len(source.vocab)}; {subject.name} gave'
            f' {ids.dtype}{list(ids.shape)} up to {ids.max(initial=-1)}'
        )
    text = rows['text']
    length = rows.get('text_length', np.full(len(text), text.shape[1]))
    truth = [written(source.vocab, line[:n]) for line, n in zip(text, length, strict=True)]
    read = [written(source.vocab, line[line >= 0]) for line in ids]
    if not any(truth):
        raise Mistake(f'transcription: all texts of the split {name} of {source.name} are empty')
    characters, error = errors(truth, read)
    words, _ = errors([line.split() for line in truth], [line.split() for line in read])
    lines = [f'{a}\n{b}\n' for a, b in zip(truth[:shown], read[:shown], strict=True)]
    subject.save('transcription', '\n'.join(lines))
    exact = np.mean([a == b for a, b in zip(truth, read, strict=True)])
    return {
        'character_error': characters,
        'standard_error': error,
        'word_error': words,
        'exact': 100 * float(exact),
        'rows': len(truth),
    }


def written(vocab: Sequence[str], ids: np.ndarray) -> str:
    return ''.join(vocab[i] for i in ids)


def errors(truth: Sequence[Sequence[Any]], read: Sequence[Sequence[Any]]) -> tuple[float, float]:
    """Edits in percent of the truth's length, and the standard error over blocks of rows."""
    found = np.array([edits(a, b) for a, b in zip(truth, read, strict=True)], np.float64)
    percent, error = ratio(found, np.array([len(a) for a in truth], np.float64))
    return 100 * percent, 100 * error


def edits(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that make b of a."""
    ids: dict[Any, int] = {}
    x, y = (np.array([ids.setdefault(v, len(ids)) for v in s], np.int64) for s in (a, b))
    steps = np.arange(len(y) + 1)
    row = steps.copy()  # of b's beginnings, after none of a
    for v in x:
        kept = np.append(row[0] + 1, np.minimum(row[1:] + 1, row[:-1] + (y != v)))
        # then insertions, each one more than its left neighbor: a running minimum
        row = np.minimum.accumulate(kept - steps) + steps
    return int(row[-1])
