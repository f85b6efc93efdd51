"""How often a classifier is wrong."""

from ssljax.evals.baselines import majority
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import percent
from ssljax.evals.subject import Subject, answers, classes, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(subject: Subject, *, split: SplitName = 'test', size: Count | None = None) -> Scores:
    """Percent of `size` rows of a split (none: of all) whose class is named wrong."""
    part = part_of(subject.source, split)
    ask = readout(subject, 'classify', 'error_rate')
    named, rows = answers(ask, part, pick(part.count, size), keep=('label',))
    label = classes(subject, split, rows, 'error_rate')
    if named.shape != label.shape or named.dtype.kind not in 'iu':
        raise Mistake(
            f'error_rate needs one class per row; {subject.name} gave {named.dtype}'
            f'{list(named.shape)} for {len(label)} rows'
        )
    return averaged({'error': percent(named != label)}, rows=len(label))


evaluator = Evaluator(
    run=score,
    needs=('classify',),
    baselines=(majority,),
    shown={'error': Shown('error rate', less=True)},
)
