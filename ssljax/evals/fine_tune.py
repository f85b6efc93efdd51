"""Fine-tuning: the weights that `encode` reads learn on, below a new linear head.

The switches are those of Kornblith, Shlens, Le 2019, arXiv:1805.08974 (statistics), Howard, Ruder
2018, arXiv:1801.06146 (a head first, rates by layer), and Bao et al. 2021, arXiv:2106.08254 (layer
decay). The untrained model is training from scratch by the same recipe.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import unflatten_dict

from ssljax import augment, optim
from ssljax.evals.subject import (
    Model,
    Subject,
    accuracy,
    answers,
    classes,
    features,
    images,
    pick,
    split,
)
from ssljax.losses import cross_entropy
from ssljax.names import Mistake, choose
from ssljax.sharding import path_name
from ssljax.step import floats

NEEDS = 'encode'
BASELINES = ()
SHOWN = ('accuracy',)  # what a table shows, where it is there


def fine_tune(
    subject: Subject,
    *,
    train: str = 'train',
    test: str = 'test',
    train_size: int | None = 10000,
    test_size: int | None = None,
    view: Mapping[str, Any] = dict(name='crop', scale=(0.4, 1.0), flip=0.5),
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    encoder_rate: float = 1.0,
    layer_decay: float = 1.0,
    only: str = '',
    frozen: int = 0,
    statistics: str = 'stored',
    batch: int = 128,
    steps: int = 300,
) -> dict[str, float]:
    """Test accuracy in percent after so many steps of AdamW on train_size labels; fixed draws.

    encoder_rate: the encoder's rate over the head's. layer_decay: that of a block over the next.
    only: of the encoder's params, those whose path matches this regular expression learn.
    frozen: first steps in which the head alone learns.
    statistics: of batch norm, 'stored' (as for features) or 'batch' (as in training; the stored
    ones follow).
    """
    choose(statistics, ('stored', 'batch'), 'statistics')
    model, part = subject.model, images(subject, train, 'fine_tune')
    if model is None:
        raise Mistake(f'fine_tune needs a model; {subject.name} has no weights')
    index = pick(part.count, train_size)
    h, y = features(subject, train, index[:2000], 'fine_tune')
    mean, scale = h.mean(0), np.maximum(h.std(0), 1e-6)
    y = classes(subject, train, {'label': part.rows(index)['label']}, 'fine_tune')
    if y.min() == y.max():
        raise Mistake(f'fine_tune needs two classes; all {len(y)} rows are of class {y[0]}')
    shape, size = part.rows(index[:1])['x'].shape[1:3], min(batch, len(index))
    encode, look = model.readouts['encode'], augment.make(view, size=shape)
    paths = read(model, part.rows(index[:1]))
    encoder = weights(model.state, paths)
    count = int(y.max()) + 1
    learned = {
        'encoder': encoder,
        'head': {'kernel': jnp.zeros((h.shape[1], count)), 'bias': jnp.zeros(count)},
    }
    spec = dict(name='adamw', weight_decay=weight_decay, warmup=min(steps // 10, steps - 1))
    optimizer, _ = optim.make({**spec, 'learning_rate': learning_rate}, steps)
    # of the rate, for each param of the encoder
    depth = optim.from_top(encoder) if layer_decay != 1 else jax.tree.map(lambda _: 0, encoder)
    share = jax.tree_util.tree_map_with_path(
        lambda path, d: encoder_rate * layer_decay**d * bool(re.search(only, path_name(path))),
        depth,
    )
    if not any(jax.tree.leaves(share)):
        raise Mistake(f'fine_tune: only={only!r} matches none of {", ".join(sorted(flat(depth)))}')

    def logits(key, state, learned, batch):
        h = encode(key, filled(state, paths, learned['encoder']), batch)
        h = (h.reshape(len(h), -1).astype(jnp.float32) - mean) / scale
        return h @ learned['head']['kernel'] + learned['head']['bias']

    @jax.jit
    def step(key, state, learned, opt, batch, share, acts):
        k1, k2 = jax.random.split(key)
        batch, found = floats(batch), {}
        batch |= {'x': augment.views(look, k1, batch['x'], 1)}

        def loss(learned):
            with nn.intercept_methods(partial(by_batch, found, statistics)):
                value = cross_entropy(logits(k2, state, learned, batch), batch['label'])
            return value.mean(), dict(found)

        grads, found = jax.grad(loss, has_aux=True)(learned)
        updates, opt = optimizer.update(grads, opt, learned)
        moved = jax.tree.map(lambda u, s: u * s * acts, updates['encoder'], share)
        learned = optax.apply_updates(learned, {**updates, 'encoder': moved})
        return followed(state, paths, found), learned, opt

    state, opt, random = model.state, optimizer.init(learned), np.random.default_rng(0)
    for i in range(steps):
        rows = part.rows(index[random.integers(len(index), size=size)])
        rows = model.place({name: rows[name] for name in ('x', 'label')})
        acts = np.float32(i >= frozen)
        state, learned, opt = step(jax.random.key(i), state, learned, opt, rows, share, acts)

    def classify(key, tuned, batch):
        return logits(key, *tuned, batch).argmax(1)

    ask, part = partial(model.over, classify, (state, learned)), split(subject.source, test)
    named, rows = answers(ask, part, pick(part.count, test_size), keep=('label',))
    percent, error = accuracy(named, classes(subject, test, rows, 'fine_tune'))
    return {
        'accuracy': percent,
        'standard_error': error,
        'train': len(index),
        'queries': len(named),
    }


def read(model: Model, rows: Mapping[str, Any]) -> set[str]:
    """Paths of what `encode` reads of the state."""
    encode = model.readouts['encode']
    program = jax.make_jaxpr(lambda s: encode(jax.random.key(0), s, floats(rows)))(model.state)
    used = {id(v) for equation in program.jaxpr.eqns for v in equation.invars}
    leaves = zip(flat(model.state), program.jaxpr.invars, strict=True)
    return {path for path, v in leaves if id(v) in used}


def weights(state: Any, paths: set[str]) -> dict[str, Any]:
    """The params among them, {'encoder': {...}}, wherever in the state they are."""
    found = {after(p, 'params'): leaf for p, leaf in flat(state).items() if p in paths}
    found.pop('', None)
    if not found:
        raise Mistake('fine_tune: encode of this method reads no params; leave it out of the evals')
    return unflatten_dict({tuple(name.split('/')): leaf for name, leaf in found.items()})


def flat(tree: Any) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def after(path: str, word: str) -> str:
    """What follows the last `word` of a path: 'encoder/Dense_0/kernel'; '' where it has none."""
    _, found, rest = f'/{path}'.rpartition(f'/{word}/')
    return rest if found else ''


def changed(state: Any, paths: set[str], word: str, change: Any) -> Any:
    """The state with change(name, leaf) at those paths where a name follows the word."""

    def at(path, leaf):
        path = path_name(path)
        name = after(path, word) if path in paths else ''
        return change(name, leaf) if name else leaf

    return jax.tree_util.tree_map_with_path(at, state)


def filled(state: Any, paths: set[str], encoder: Any) -> Any:
    """The state with these params in place of those that `encode` reads."""
    new = flat(encoder)
    return changed(state, paths, 'params', lambda name, leaf: new[name])


def by_batch(found: dict, statistics: str, call: Any, args: Any, options: Any, context: Any) -> Any:
    """With statistics='batch': batch norm by the batch; what it was goes to `found`."""
    norm = context.module
    if statistics == 'stored' or not isinstance(norm, nn.BatchNorm):
        return call(*args, **options)
    x = args[0].astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    found['/'.join(norm.path)] = {'mean': mean, 'var': var}
    params = norm.variables.get('params', {})
    x = (x - mean) * jax.lax.rsqrt(var + norm.epsilon) * params.get('scale', 1)
    return (x + params.get('bias', 0)).astype(args[0].dtype)


def followed(
    state: Any, paths: set[str], found: Mapping[str, Any], *, momentum: float = 0.9
) -> Any:
    """The stored statistics, moved toward those of a batch."""
    new = flat(dict(found))

    def move(name, leaf):
        return momentum * leaf + (1 - momentum) * new[name] if name in new else leaf

    return changed(state, paths, 'batch_stats', move)
