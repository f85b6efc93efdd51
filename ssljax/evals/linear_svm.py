"""Linear support vector machines on frozen features, one class against the rest.

Fan et al. 2008 (LIBLINEAR, JMLR 9): the squared hinge with an L2 penalty, as in Goyal et al. 2019,
arXiv:1905.01235 (section 4), who probe with it.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.frozen import frozen
from ssljax.evals.layer import at_layer
from ssljax.evals.linear_probe import linear
from ssljax.evals.subject import Subject

NEEDS = ('encode',)
BASELINES = (pixels, standardized)
SHOWN = ('accuracy',)  # what a table shows, where it is there


def linear_svm(
    subject: Subject,
    *,
    train: str = 'train',
    validation: str = 'validation',
    test: str = 'test',
    train_size: int | None = 10000,
    validation_size: int | None = None,
    test_size: int | None = None,
    layer: str = '',
    l2: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4),
    steps: int = 300,
) -> dict[str, float]:
    """Test accuracy in percent of the penalty that is best on validation rows.

    The class whose machine is surest is named. LIBLINEAR's C is 1 / (2 l2 N).
    """
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(at_layer(subject, layer), 'linear_svm', splits, sizes)
    return linear(rows, l2, steps, squared_hinge)


def squared_hinge(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """sum_k max(0, 1 - s_k logits_k)^2, s_k = 1 for the label's class, else -1: [B, K] -> [B]."""
    sign = 2 * jax.nn.one_hot(labels, logits.shape[-1]) - 1
    return jnp.square(jax.nn.relu(1 - sign * logits)).sum(-1)
