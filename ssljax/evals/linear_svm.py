"""Linear support vector machines on frozen features, one class against the rest.

Fan et al. 2008 (LIBLINEAR, JMLR 9): the squared hinge with an L2 penalty, as in Goyal et al. 2019,
arXiv:1905.01235 (section 4), who probe with it.
"""

import jax
import jax.numpy as jnp

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.frozen import frozen
from ssljax.evals.layer import at_layer
from ssljax.evals.linear_head import linear
from ssljax.evals.subject import Subject
from ssljax.kinds import Count, Rates, SplitName, TestSplit, ValidationSplit


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
    l2: Rates = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4),
    steps: Count = 300,
) -> Scores:
    """Test accuracy in percent of the penalty that is best on validation rows.

    The class whose machine is surest is named.

    train, validation, test: splits. Without the second, every tenth training row is held out.
    train_size, validation_size, test_size: rows of each; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    l2: penalties to choose from; LIBLINEAR's C is 1 / (2 l2 N). steps: of L-BFGS for each, at most.
    """
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(at_layer(subject, layer), 'linear_svm', splits, sizes)
    return linear(rows, l2, steps, squared_hinge)


def squared_hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """sum_k max(0, 1 - s_k logits_k)^2, s_k = 1 for the label's class, else -1: [B, K] -> [B]."""
    sign = 2 * jax.nn.one_hot(labels, logits.shape[-1]) - 1
    return jnp.square(jax.nn.relu(1 - sign * logits)).sum(-1)


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={'accuracy': Shown('linear SVM')},
)
