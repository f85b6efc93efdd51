"""Whether vectors find words alike that people find alike.

Finkelstein et al. 2002 (WordSim-353); Hill et al. 2014, arXiv:1408.3456 (SimLex-999).
"""

from pathlib import Path

import numpy as np

from ssljax.data.source import Split
from ssljax.evals.subject import Subject, answers, readout, unit
from ssljax.names import Mistake

NEEDS = ('vectors',)
BASELINES = ()
SHOWN = ('spearman',)  # what a table shows, where it is there


def word_similarity(subject: Subject, *, path: str = '') -> dict[str, float]:
    """Spearman's rank correlation, in percent, of cosines and people's scores.

    path: a file with a pair a line, word word score, parted by blanks. Pairs with a word that the
    vocabulary lacks are left out, and `covered` is the share of the others, in percent. vectors
    gives those of the tokens x [B, 1], [B, 1, D].
    """
    from scipy.stats import spearmanr

    known = vocabulary(subject, 'word_similarity')
    pairs = [line.split() for line in lines(path, 'word_similarity')]
    if any(len(pair) != 3 or not numeric(pair[2]) for pair in pairs):
        raise Mistake(f'word_similarity: {path} has lines that are not: word word score')
    rows = [(*words, score) for *words, score in pairs if all(w.lower() in known for w in words)]
    if len(rows) < 3:
        raise Mistake(
            f'word_similarity: {len(rows)} of {len(pairs)} pairs of {path} are in the vocabulary of'
            f' {subject.source.name} ({len(known)} words); it needs 3'
        )
    first, second = (np.array([known[row[i].lower()] for row in rows]) for i in (0, 1))
    table = unit(vectors(subject, 'word_similarity'))
    cosines = (table[first] * table[second]).sum(1)
    r = float(spearmanr(cosines, [float(row[2]) for row in rows]).statistic)
    return {
        'spearman': 100 * r,
        # of Fisher's transform, at r
        'standard_error': 100 * (1 - r**2) / max(len(rows) - 3, 1) ** 0.5,
        'covered': 100 * len(rows) / len(pairs),
        'pairs': len(rows),
    }


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
    if not path or not Path(path).expanduser().is_file():
        raise Mistake(f'{who}: no file {path!r}; type --evals.{who}.path=FILE')
    text = Path(path).expanduser().read_text(encoding='utf8')
    return [line for line in text.splitlines() if line.strip() and not line.startswith('#')]


def numeric(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def vectors(subject: Subject, who: str) -> np.ndarray:
    """Of all tokens [V, D]."""
    count = len(subject.source.vocab)
    tokens = Split(count, lambda i: {'x': i.astype(np.int32)[:, None]})
    found, _ = answers(readout(subject, 'vectors', who), tokens, np.arange(count))
    return found.reshape(count, -1).astype(np.float32)
