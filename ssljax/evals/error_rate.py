"""How often a classifier is wrong."""

from ssljax.evals.baselines import majority
from ssljax.evals.subject import Subject, accuracy, answers, classes, pick, readout, split
from ssljax.names import Mistake

NEEDS = ('classify',)
BASELINES = (majority,)
SHOWN = ('error',)  # what a table shows, where it is there
LESS = ('error',)  # of these less is better


def error_rate(subject: Subject, *, split: str = 'test', size: int | None = None) -> dict:
    """Percent of rows whose class is named wrong, with its binomial standard error."""
    return score(subject, split, size)


def score(subject: Subject, name: str, size: int | None) -> dict[str, float]:
    part = split(subject.source, name)
    ask = readout(subject, 'classify', 'error_rate')
    found, rows = answers(ask, part, pick(part.count, size), keep=('label',))
    label = classes(subject, name, rows, 'error_rate')
    if found.shape != label.shape or found.dtype.kind not in 'iu':
        raise Mistake(
            f'error_rate needs one class per row; {subject.name} gave {found.dtype}'
            f'{list(found.shape)} for {len(label)} rows'
        )
    right, error = accuracy(found, label)
    return {'error': 100 - right, 'standard_error': error, 'rows': len(label)}
