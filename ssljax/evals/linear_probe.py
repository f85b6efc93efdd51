"""Multinomial logistic regression on frozen features, its L2 penalty chosen on validation rows.

Kornblith, Shlens, Le 2019, arXiv:1805.08974 (appendix A.1): L-BFGS to convergence over a sweep.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding
from threadpoolctl import threadpool_limits

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.frozen import Frozen, frozen, search
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject
from ssljax.losses import cross_entropy
from ssljax.sharding import mesh
from ssljax.sharding import rows as by_row

NEEDS = ('encode',)
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
    layer: str = '',
    l2: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5),
    steps: int = 300,
) -> dict[str, float]:
    """Test accuracy in percent of the penalty that is best on validation rows."""
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(at_layer(subject, layer), 'linear_probe', splits, sizes)
    return linear(rows, l2, steps, cross_entropy)


def linear(rows: Frozen, l2: Sequence[float], steps: int, loss: Callable) -> dict[str, float]:
    """The scores of the best linear head by a loss (logits [B, K], labels [B]) -> [B]."""
    # the principal axes: for the penalty a rotation changes nothing, for the solver it does (fit)
    rows = rows.turned(principal(rows.x)) if rows.x.shape[1] <= WIDEST else rows

    def at(strength, start):
        return fit(rows.x, rows.y, l2=strength, start=start, steps=steps, loss=loss)

    return search(rows, l2, at, predict)


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
    loss: Callable = cross_entropy,
) -> Params:
    """argmin of the mean loss + l2/2 |w|^2 (scikit-learn's C is 1 / (l2 N)); bias is free.

    Ends about tolerance^2 / 2 above the minimum. Quick where the features [N, D] are uncorrelated.
    """
    if start is None:
        classes = int(y.max()) + 1
        start = {'w': jnp.zeros((x.shape[1], classes)), 'b': jnp.zeros(classes)}
    devices = mesh()  # the rows are cut over them, where their number divides
    x, y = (jax.device_put(v, NamedSharding(devices, by_row(v.shape, devices, 0))) for v in (x, y))
    return descend(start, x, y, l2, tolerance, steps=steps, loss=loss)


def predict(params: Params, x: np.ndarray) -> np.ndarray:
    return np.asarray((x @ params['w'] + params['b']).argmax(1))


# Measured on 10k x 512 with 34 classes: this loop takes 0.4 to 0.7 of the time of scipy's L-BFGS-B
# over a jitted value and gradient, and reaches the same minimum.
@partial(jax.jit, static_argnames=('steps', 'loss'))
def descend(start, x, y, l2, tolerance, *, steps, loss):
    # w = unit * v: in v the curvature, about mean(x^2) / K + l2 where classes are alike, is 1
    unit = (jnp.square(x).mean(0) / len(start['b']) + l2)[:, None] ** -0.5  # [D, 1]

    def objective(params):
        w = params['w'] * unit
        logits = jnp.matmul(x, w, precision='highest') + params['b']  # [N, K]
        return loss(logits, y).mean() + l2 / 2 * jnp.square(w).sum()

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
