"""Whether vectors find words alike that people find alike.

Finkelstein et al. 2002 (WordSim-353); Hill et al. 2014, arXiv:1408.3456 (SimLex-999).
"""

import numpy as np

from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.measures import unit
from ssljax.evals.subject import Subject
from ssljax.evals.word_vectors import lines, vectors, vocabulary
from ssljax.names import Mistake


def score(subject: Subject, *, path: str = '') -> Scores:
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
    return Scores(
        {
            'spearman': 100 * r,
            # of Fisher's transform, at r: a correlation is no mean over rows
            'standard_error': 100 * (1 - r**2) / max(len(rows) - 3, 1) ** 0.5,
            'covered': 100 * len(rows) / len(pairs),
            'pairs': len(rows),
        }
    )


def numeric(text: str) -> bool:
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


evaluator = Evaluator(
    run=score, needs=('vectors',), shown={'spearman': Shown('word similarity, Spearman')}
)
