"""How much of a text is read wrong: edits over characters, and over words.

Levenshtein 1966 (Soviet Physics Doklady 10): the fewest insertions, deletions and substitutions.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ssljax.evals.baselines import nearest_template
from ssljax.evals.edits import errors, written
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.measures import percent
from ssljax.evals.pictures import bytes_of, column, lettering
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    shown: Natural = 20,
    images: Natural = 10,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Edits over the length of the truth, in percent, over all rows together; above 100 where much
    is read that is not there.

    transcribe gives token ids [B, T], below zero where nothing is read; the truth is the batch's
    `text` [B, L] and `text_length` [B]. Words are what blanks part. exact: rows without an edit.

    split, size: so many rows of this split; none: all.
    shown: lines that are saved, truth above reading.
    images: lines with the most edits that are saved as a picture, where rows are images.
    options: of the readout transcribe.
    """
    ask = readout(subject, 'transcribe', 'transcription')
    source, part = subject.source, part_of(subject.source, split)
    if 'text' not in (rows := part.rows(np.arange(1))) or not source.vocab:
        raise Mistake(
            f'transcription needs texts and a vocabulary; the split {split} of {source.name} has'
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
        raise Mistake(f'transcription: all texts of the split {split} of {source.name} are empty')
    lines = [f'{a}\n{b}\n' for a, b in zip(truth[:shown], read[:shown], strict=True)]
    if lines:
        subject.save('transcription', '\n'.join(lines))
    wrong = errors(truth, read)
    if images and part.rows(np.arange(1))['x'].ndim == 4:
        worst = np.argsort(-wrong, kind='stable')[:images]
        picture(subject, part.rows(index[worst]), [(truth[i], read[i]) for i in worst])
    return averaged(
        {
            'character_error': wrong,
            'word_error': errors([line.split() for line in truth], [line.split() for line in read]),
            'exact': percent([a == b for a, b in zip(truth, read, strict=True)]),
        },
        rows=len(truth),
    )


def picture(subject: Subject, rows: Mapping[str, Any], texts: Sequence[tuple[str, str]]) -> None:
    """Lines, and below each what it reads and, in red, how it was read."""
    font, parts = lettering(14), []
    for image, (truth, read) in zip(bytes_of(rows['x']), texts, strict=True):
        line = Image.fromarray(image)
        told = Image.new('RGB', (line.width * 2, 40), 'white')
        draw = ImageDraw.Draw(told)
        draw.text((2, 0), truth, 'black', font)
        draw.text((2, 18), read, (200, 0, 0), font)
        parts += [line.resize((line.width * 2, line.height * 2)), told]
    subject.save('misread', column(parts))


evaluator = Evaluator(
    run=score,
    needs=('transcribe',),
    baselines=(nearest_template,),
    shown={
        'character_error': Shown('character error', less=True),
        'word_error': Shown('word error', less=True),
    },
    asks=passed_on('transcribe'),
    neighbors=True,  # lines of one page, or of one speaker
)
