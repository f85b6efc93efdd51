"""Multinomial logistic regression on frozen features, its L2 penalty chosen on validation rows.

Kornblith, Shlens, Le 2019, arXiv:1805.08974 (appendix A.1): L-BFGS to convergence over a sweep.
"""

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.frozen import frozen
from ssljax.evals.layer import at_layer
from ssljax.evals.linear_head import linear
from ssljax.evals.subject import Subject
from ssljax.kinds import Count, Rates, SplitName, TestSplit, ValidationSplit
from ssljax.losses import cross_entropy


def score(
    subject: Subject,
    *,
    train: SplitName = 'train',
    validation: ValidationSplit = 'validation',
    test: TestSplit = 'test',
    train_size: Count | None = 10000,
    validation_size: Count | None = None,
    test_size: Count | None = None,
    layer: str = '',
    l2: Rates = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5),
    steps: Count = 300,
) -> Scores:
    """Test accuracy in percent of the penalty that is best on validation rows.

    train, validation, test: splits. Without the second, every tenth training row is held out.
    train_size, validation_size, test_size: rows of each; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    l2: penalties to choose from, each on |w|^2 / 2 beside the mean loss, features being scaled to
    deviation 1. steps: of L-BFGS for each, at most.
    """
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(at_layer(subject, layer), 'linear_probe', splits, sizes)
    return linear(rows, l2, steps, cross_entropy)


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={'accuracy': Shown('linear probe')},
)
