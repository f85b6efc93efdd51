"""Vectors of words, and files of questions about them: what word_similarity and analogies share."""

from pathlib import Path

import numpy as np

from ssljax.data.source import Split
from ssljax.evals.subject import Subject, answers, readout
from ssljax.names import Mistake


def vocabulary(subject: Subject, who: str) -> dict[str, int]:
    """The token of each word, in lower case; the first, of several spellings."""
    readout(subject, 'vectors', who)
    if not subject.source.vocab:
        raise Mistake(f'{who} needs words; {subject.source.name} has no vocabulary')
    known: dict[str, int] = {}
    for token, word in enumerate(subject.source.vocab):
        known.setdefault(word.lower(), token)
    return known


def lines(path: str, who: str) -> list[str]:
    """The lines of a file that are not empty and no comments."""
    if not path or not Path(path).expanduser().is_file():
        raise Mistake(f'{who}: no file {path!r}; type --evals.{who}.path=FILE')
    text = Path(path).expanduser().read_text(encoding='utf8')
    return [line for line in text.splitlines() if line.strip() and not line.startswith('#')]


def vectors(subject: Subject, who: str) -> np.ndarray:
    """Of all tokens [V, D]."""
    count = len(subject.source.vocab)
    tokens = Split(count, lambda i: {'x': i.astype(np.int32)[:, None]})
    made, _ = answers(readout(subject, 'vectors', who), tokens, np.arange(count))
    return made.reshape(count, -1).astype(np.float32)
