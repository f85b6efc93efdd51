"""Multinomial logistic regression on frozen features, its L2 penalty chosen on validation rows.

Kornblith, Shlens, Le 2019, arXiv:1805.08974 (appendix A.1): L-BFGS to convergence over a sweep.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from threadpoolctl import threadpool_limits

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.subject import Subject, accuracy, features, pick, split
from ssljax.names import Mistake

NEEDS = 'encode'
BASELINES = (pixels, standardized)
SHOWN = ('accuracy',)  # what a table shows, where it is there
# Up to so many features their principal axes are found: on 45k rows of 3072 pixels that takes 80 s
# of two busy cores, and each of about six fits then 15 s instead of 170.
WIDEST = 4096


def linear_probe(
    subject: Subject,
    *,
    train: str = 'train',
    validation: str = 'validation',
    test: str = 'test',
    train_size: int | None = 10000,
    validation_size: int | None = None,
    test_size: int | None = None,
    l2: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5),
    steps: int = 300,
) -> dict[str, float]:
    """Test accuracy in percent of the penalty that is best on validation rows.

    Where the source has no such split, every tenth of the training rows is held out for it.
    """
    source = subject.source
    i = pick(split(source, train).count, train_size)
    if len(i) < 20:
        raise Mistake(f'linear_probe needs 20 training rows; {train} gives {len(i)}')
    x, y = features(subject, train, i, 'linear_probe')
    if y.min() == y.max():
        raise Mistake(
            f'linear_probe needs two classes; all {len(i)} rows of the split {train} of'
            f' {source.name} are of class {y[0]}: set train_size higher or leave it out of evals'
        )
    if validation in source.splits:
        j = pick(source.splits[validation].count, validation_size)
        x_val, y_val = features(subject, validation, j, 'linear_probe')
    else:
        held = np.arange(len(x)) % 10 == 9
        x_val, y_val, x, y = x[held], y[held], x[~held], y[~held]
    x_test, y_test = features(
        subject, test, pick(split(source, test).count, test_size), 'linear_probe'
    )
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(scale > 1e-6, scale, 1)  # a dead feature stays zero
    x = (x - mean) / scale
    # the principal axes: for the penalty a rotation changes nothing, for the solver it does (fit)
    axes = principal(x) if x.shape[1] <= WIDEST else np.eye(x.shape[1], dtype='f')
    x, x_val, x_test = x @ axes, (x_val - mean) / scale @ axes, (x_test - mean) / scale @ axes

    best, worse, params = None, 0, None
    for strength in sorted(l2, reverse=True):  # each start is the stronger penalty's solution
        params = fit(x, y, l2=strength, start=params, steps=steps)
        score, _ = accuracy(predict(params, x_val), y_val)
        if best is None or score > best[0]:  # a tie goes to the stronger penalty
            best, worse = (score, strength, params), 0
        else:
            worse += 1
        if worse == 2:  # past the best, and weaker penalties are the slow ones
            break
    score, strength, params = best
    percent, error = accuracy(predict(params, x_test), y_test)
    return {
        'accuracy': percent,
        'standard_error': error,
        'validation_accuracy': score,
        'l2': strength,
        'train': len(x),
        'queries': len(x_test),
    }


def principal(x: np.ndarray) -> np.ndarray:
    """The axes [D, D] in which centered features [N, D] are uncorrelated."""
    scatter = x.T @ x
    # for 3072 features on two busy cores: 43 s, and 370 s where two threads wait for one another
    with threadpool_limits(1):
        return np.linalg.eigh(scatter)[1]


Params = dict[str, jax.Array]


def fit(
    x: np.ndarray,
    y: np.ndarray,
    *,
    l2: float,
    start: Params | None = None,
    steps: int = 300,
    tolerance: float = 1e-3,
) -> Params:
    """argmin of mean cross entropy + l2/2 |w|^2 (scikit-learn's C is 1 / (l2 N)); bias is free.

    Ends about tolerance^2 / 2 above the minimum. Quick where the features [N, D] are uncorrelated.
    """
    if start is None:
        classes = int(y.max()) + 1
        start = {'w': jnp.zeros((x.shape[1], classes)), 'b': jnp.zeros(classes)}
    return descend(start, jnp.asarray(x), jnp.asarray(y), l2, tolerance, steps=steps)


def predict(params: Params, x: np.ndarray) -> np.ndarray:
    return np.asarray((x @ params['w'] + params['b']).argmax(1))


# Measured on 10k x 512 with 34 classes: this loop takes 0.4 to 0.7 of the time of scipy's L-BFGS-B
# over a jitted value and gradient, and reaches the same minimum.
@partial(jax.jit, static_argnames='steps')
def descend(start, x, y, l2, tolerance, *, steps):
    # w = unit * v: in v the curvature, about mean(x^2) / K + l2 where classes are alike, is 1
    unit = (jnp.square(x).mean(0) / len(start['b']) + l2)[:, None] ** -0.5  # [D, 1]

    def objective(params):
        w = params['w'] * unit
        logits = jnp.matmul(x, w, precision='highest') + params['b']  # [N, K]
        loss = optax.losses.softmax_cross_entropy_with_integer_labels(logits, y).mean()
        return loss + l2 / 2 * jnp.square(w).sum()

    solver = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(objective)

    def move(carry):
        params, state, _ = carry
        value, grad = value_and_grad(params, state=state)
        updates, state = solver.update(
            grad, state, params, value=value, grad=grad, value_fn=objective
        )
        params = optax.apply_updates(params, updates)
        return params, state, optax.tree.norm(optax.tree.get(state, 'grad'))

    def unfinished(carry):
        _, state, norm = carry
        return (optax.tree.get(state, 'count') < steps) & (norm > tolerance)

    start = start | {'w': start['w'] / unit}
    params, *_ = jax.lax.while_loop(unfinished, move, (start, solver.init(start), jnp.inf))
    return params | {'w': params['w'] * unit}
