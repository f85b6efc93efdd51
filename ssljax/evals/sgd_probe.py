"""A linear head on frozen features of augmented images, by SGD: the customary protocol.

He et al. 2019, arXiv:1911.05722 (section 4.1); many rates at once, the best on validation rows,
Oquab et al. 2023, arXiv:2304.07193 (appendix B.3).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssljax import augment
from ssljax.evals.baselines import pixels, standardized
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.frozen import frozen
from ssljax.evals.layer import at_layer
from ssljax.evals.measures import floats, percent
from ssljax.evals.subject import Subject, answers, images_of, readout
from ssljax.kinds import Count, Decay, Rates, SplitName, TestSplit, ValidationSplit, ViewSpec
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
    view: ViewSpec = dict(name='crop', scale=(0.4, 1.0), flip=0.0),
    learning_rates: Rates = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001),
    momentum: Decay = 0.9,
    batch: Count = 256,
    epochs: Count = 10,
) -> Scores:
    """Test accuracy in percent of the rate that is best on validation rows; fixed draws.

    train, validation, test: splits. Without the second, every tenth training row is held out.
    train_size, validation_size, test_size: rows of each; none: all.
    layer: a module inside the encoder, as blocks_1, whose output is taken; pixels have none.
    view: of the training rows, another in each epoch, of the size of the images; flip=0.5 where a
    mirror image is of the same class.
    learning_rates: to choose from; each falls to zero as a cosine.
    momentum, batch, epochs: of SGD.
    """
    subject = at_layer(subject, layer)
    encode, part = readout(subject, 'encode', 'sgd_probe'), images_of(subject, train, 'sgd_probe')
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
    right = percent(predict(heads, rows.x_val) == rows.y_val)  # [R, N]
    best = int(right.mean(1).argmax())
    return averaged(
        {
            'accuracy': percent(predict(heads, rows.x_test)[best] == rows.y_test),
            'validation_accuracy': right[best],
        },
        learning_rate=learning_rates[best],
        train=len(rows.x),
        queries=len(rows.x_test),
    )


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


evaluator = Evaluator(
    run=score,
    needs=('encode',),
    baselines=(pixels, standardized),
    shown={'accuracy': Shown('linear probe by SGD')},
)
