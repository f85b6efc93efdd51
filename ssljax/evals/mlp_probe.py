"""A net of one hidden layer on frozen features: what is there, if not in a linear form."""

from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.frozen import frozen, search
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject
from ssljax.kinds import Count, Least, NonNegative, Positive, SplitName, TestSplit, ValidationSplit
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
    hidden: Count = 512,
    decay: Annotated[tuple[NonNegative, ...], Least(1)] = (1.0, 0.1, 0.01),
    learning_rate: Positive = 1e-3,
    batch: Count = 256,
    epochs: Count = 20,
) -> Scores:
    """Test accuracy in percent of the weight decay that is best on validation rows (`l2`).

    AdamW, its rate falling to zero as a cosine; fixed draws.

    train, validation, test: splits. Without the second, every tenth training row is held out.
    train_size, validation_size, test_size: rows of each; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    hidden: width of the hidden layer. decay: weight decays to choose from.
    learning_rate, batch, epochs: of AdamW; the rate is the first, before it falls.
    """
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(at_layer(subject, layer), 'mlp_probe', splits, sizes)
    count, size = len(rows.x), min(batch, len(rows.x))
    random = np.random.default_rng(0)
    orders = [random.permutation(count)[: count // size * size] for _ in range(epochs)]
    index = np.concatenate(orders).reshape(-1, size).astype(np.int32)
    classes = int(rows.y.max()) + 1

    def at(strength, start):
        return descend(rows.x, rows.y, index, strength, learning_rate, hidden, classes)

    return search(rows, decay, at, predict, warm=False)


@partial(jax.jit, static_argnums=(5, 6))
def descend(x, y, index, decay, learning_rate, hidden, classes):
    k1, k2 = jax.random.split(jax.random.key(0))
    params = {
        'w': jax.random.normal(k1, (x.shape[1], hidden)) * (2 / x.shape[1]) ** 0.5,
        'b': jnp.zeros(hidden),
        'v': jax.random.normal(k2, (hidden, classes)) * hidden**-0.5,
        'c': jnp.zeros(classes),
    }
    rate = optax.cosine_decay_schedule(learning_rate, len(index))
    matrices = {name: p.ndim > 1 for name, p in params.items()}
    optimizer = optax.adamw(rate, weight_decay=decay, mask=matrices)

    def step(carry, i):
        params, opt = carry
        grads = jax.grad(lambda p: cross_entropy(logits(p, x[i]), y[i]).mean())(params)
        updates, opt = optimizer.update(grads, opt, params)
        return (optax.apply_updates(params, updates), opt), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), index)
    return params


def logits(params, x):
    return jax.nn.relu(x @ params['w'] + params['b']) @ params['v'] + params['c']


def predict(params, x: np.ndarray) -> np.ndarray:
    return np.asarray(logits(params, x).argmax(1))


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={'accuracy': Shown('MLP probe')},
)
