"""A linear head on frozen features of augmented images, by SGD: the customary protocol.

He et al. 2019, arXiv:1911.05722 (section 4.1); many rates at once, the best on validation rows,
Oquab et al. 2023, arXiv:2304.07193 (appendix B.3).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssljax import augment
from ssljax.evals.baselines import floats, pixels, standardized
from ssljax.evals.frozen import frozen
from ssljax.evals.layer import at_layer
from ssljax.evals.subject import Subject, accuracy, answers, images, readout
from ssljax.losses import cross_entropy

NEEDS = ('encode',)
BASELINES = (pixels, standardized)
SHOWN = ('accuracy',)  # what a table shows, where it is there


def sgd_probe(
    subject: Subject,
    *,
    train: str = 'train',
    validation: str = 'validation',
    test: str = 'test',
    train_size: int | None = 10000,
    validation_size: int | None = None,
    test_size: int | None = None,
    layer: str = '',
    view: Mapping[str, Any] = dict(name='crop', scale=(0.4, 1.0), flip=0.0),
    learning_rates: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    momentum: float = 0.9,
    batch: int = 256,
    epochs: int = 10,
) -> dict[str, float]:
    """Test accuracy in percent of the rate that is best on validation rows.

    In each epoch every training row is seen by another view, of the size of the images; flip=0.5
    where a mirror image is of the same class. Each rate falls to zero as a cosine; fixed draws.
    """
    subject = at_layer(subject, layer)
    encode, part = readout(subject, 'encode', 'sgd_probe'), images(subject, train, 'sgd_probe')
    splits, sizes = (train, validation, test), (train_size, validation_size, test_size)
    rows = frozen(subject, 'sgd_probe', splits, sizes)
    shape = part.rows(np.arange(1))['x'].shape[1:3]
    look = jax.jit(partial(augment.views, augment.make(view, size=shape), n=1))
    size = min(batch, len(rows.x))
    steps = len(rows.x) // size

    def seen(epoch, batch):  # features of one view of each row
        key = jax.random.fold_in(jax.random.key(epoch), batch['index'][0])
        h = encode(batch | {'x': np.asarray(look(key, floats(batch['x'])))})
        return (h.reshape(len(h), -1).astype(np.float32) - rows.mean) / rows.scale

    rates = jnp.asarray(learning_rates, jnp.float32)
    optimizer = optax.sgd(optax.cosine_decay_schedule(1.0, epochs * steps), momentum)
    shape = len(rates), rows.x.shape[1], int(rows.y.max()) + 1
    heads = {'w': jnp.zeros(shape), 'b': jnp.zeros((shape[0], 1, shape[2]))}
    carry = heads, optimizer.init(heads)
    walk = jax.jit(partial(descend, optimizer, rates))
    for epoch in range(epochs):
        h, _ = answers(partial(seen, epoch), part, rows.index)
        order = np.random.default_rng(epoch).permutation(len(h))[: steps * size]
        carry = walk(carry, h, rows.y, order.reshape(steps, size).astype(np.int32))
    heads, _ = carry
    scores = [accuracy(named, rows.y_val)[0] for named in predict(heads, rows.x_val)]
    best = int(np.argmax(scores))
    percent, error = accuracy(predict(heads, rows.x_test)[best], rows.y_test)
    return {
        'accuracy': percent,
        'standard_error': error,
        'validation_accuracy': scores[best],
        'learning_rate': learning_rates[best],
        'train': len(rows.x),
        'queries': len(rows.x_test),
    }


def descend(optimizer, rates, carry, h, y, order):
    """One epoch of all heads, one of each rate: h [N, D], y [N], order [steps, B]."""

    def loss(heads, i):
        logits = jnp.matmul(h[i], heads['w']) + heads['b']  # [R, B, K]
        return cross_entropy(logits, jnp.broadcast_to(y[i], logits.shape[:2])).mean(1).sum()

    def step(carry, i):
        heads, opt = carry
        updates, opt = optimizer.update(jax.grad(loss)(heads, i), opt)
        updates = jax.tree.map(lambda u: u * rates[:, None, None], updates)
        return (optax.apply_updates(heads, updates), opt), None

    return jax.lax.scan(step, carry, order)[0]


def predict(heads, x: np.ndarray) -> np.ndarray:
    """Classes by each head [R, N]."""
    return np.asarray((jnp.matmul(x, heads['w']) + heads['b']).argmax(2))
