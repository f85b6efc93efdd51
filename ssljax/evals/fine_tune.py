"""Fine-tuning: the weights that `encode` reads learn on, below a new linear head.

The switches are those of Kornblith, Shlens, Le 2019, arXiv:1805.08974 (statistics), Howard, Ruder
2018, arXiv:1801.06146 (a head first, rates by layer), and Bao et al. 2021, arXiv:2106.08254 (layer
decay). The untrained model is training from scratch by the same recipe.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import unflatten_dict

from ssljax import augment, optim
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.measures import percent
from ssljax.evals.subject import (
    Subject,
    answers,
    classes,
    features,
    images_of,
    part_of,
    pick,
    readout,
)
from ssljax.kinds import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Regex,
    SplitName,
    TestSplit,
    ViewSpec,
)
from ssljax.losses import cross_entropy
from ssljax.names import Mistake, choose
from ssljax.sharding import path_name
from ssljax.step import floats


def score(
    subject: Subject,
    *,
    train: SplitName = 'train',
    test: TestSplit = 'test',
    train_size: Count | None = 10000,
    test_size: Count | None = None,
    view: ViewSpec = dict(name='crop', scale=(0.4, 1.0), flip=0.0),
    learning_rate: Positive = 1e-3,
    weight_decay: NonNegative = 0.05,
    encoder_rate: NonNegative = 1.0,
    layer_decay: Positive = 1.0,
    only: Regex = '',
    frozen: Natural = 0,
    statistics: Literal['stored', 'batch'] = 'stored',
    batch: Count = 128,
    steps: Count = 300,
) -> Scores:
    """Test accuracy in percent after so many steps of AdamW on train_size labels; fixed draws.

    train, test: splits. train_size, test_size: rows of each; none: all.
    view: of the training rows; flip=0.5 where a mirror image is of the same class.
    learning_rate, weight_decay, batch, steps: of AdamW; the rate warms up for a tenth of the steps,
    then falls to zero as a cosine.
    encoder_rate: the encoder's rate over the head's. layer_decay: that of a block over the next.
    only: of the encoder's params, those whose path matches this regular expression learn.
    frozen: first steps in which the head alone learns.
    statistics: of batch norm, 'stored' (as for features) or 'batch' (as in training; the stored
    ones follow).
    """
    choose(statistics, ('stored', 'batch'), 'statistics')
    readout(subject, 'encode', 'fine_tune')
    model, part = subject.model, images_of(subject, train, 'fine_tune')
    if model is None:
        raise Mistake(f'fine_tune needs a model; {subject.name} has no weights')
    index = pick(part.count, train_size)
    h, label = features(subject, train, index[:2000], 'fine_tune')
    if label.min() == label.max():
        raise Mistake(
            f'fine_tune needs two classes; {len(h)} rows of the split {train} of'
            f' {subject.source.name} are of class {label[0]}: set train_size higher'
        )
    if not (count := subject.source.classes):
        count = int(answers(lambda rows: rows['label'], part, index)[0].max()) + 1
    rows, state = part.rows(index[:1]), model.state
    paths = read(model, rows)
    start = {
        'encoder': weights(state, paths),
        'head': {'kernel': jnp.zeros((h.shape[1], count)), 'bias': jnp.zeros(count)},
    }
    mean, scale = h.mean(0), np.maximum(h.std(0), 1e-6)

    def logits(key, state, stats, learned, batch):
        state = filled(state, paths, 'params', flat(learned['encoder']))
        state = filled(state, paths, 'batch_stats', stats)
        h = model.readouts['encode'](key, state, batch)
        h = (h.reshape(len(h), -1).astype(jnp.float32) - mean) / scale
        return h @ learned['head']['kernel'] + learned['head']['bias']

    random = np.random.default_rng(0)

    def draw():
        rows = part.rows(index[random.integers(len(index), size=batch)])
        return model.place({name: rows[name] for name in ('x', 'label')})

    stats, learned = descend(
        logits,
        state,
        parts(state, paths, 'batch_stats') if statistics == 'batch' else {},
        start,
        draw,
        share=shares(start['encoder'], encoder_rate, layer_decay, only),
        view=augment.make(view, size=rows['x'].shape[1:3]),
        optimizer=adamw(learning_rate, weight_decay, steps),
        frozen=frozen,
        steps=steps,
    )

    def classify(key, tuned, batch):
        return logits(key, *tuned, batch).argmax(1)

    ask = partial(model.over, classify, (state, stats, learned))
    part = part_of(subject.source, test)
    named, rows = answers(ask, part, pick(part.count, test_size), keep=('label',))
    label = classes(subject, test, rows, 'fine_tune')
    return averaged({'accuracy': percent(named == label)}, train=len(index), queries=len(named))


def adamw(learning_rate: float, weight_decay: float, steps: int) -> optax.GradientTransformation:
    """AdamW with a tenth of the steps of warm-up, then a cosine to zero."""
    spec = dict(name='adamw', learning_rate=learning_rate, weight_decay=weight_decay)
    return optim.make({**spec, 'warmup': steps // 10}, steps)[0]


def shares(encoder: Any, encoder_rate: float, layer_decay: float, only: str) -> Any:
    """The rate of each param of the encoder over the head's."""
    depth = optim.from_top(encoder) if layer_decay != 1 else jax.tree.map(lambda _: 0, encoder)

    def share(path, d):
        return encoder_rate * layer_decay**d if re.search(only, path_name(path)) else 0.0

    rates = jax.tree_util.tree_map_with_path(share, depth)
    if only and not any(re.search(only, name) for name in flat(depth)):
        first, *_, last = sorted(flat(depth))
        raise Mistake(f'fine_tune: only={only!r} matches none of the params {first} to {last}')
    return rates


def descend(
    logits: Callable,
    state: Any,
    stats: Mapping[str, jax.Array],
    learned: Any,
    draw: Callable[[], Any],
    *,
    share: Any,
    view: Callable,
    optimizer: optax.GradientTransformation,
    frozen: int,
    steps: int,
) -> tuple[Any, Any]:
    """The statistics of batch norm, which follow the batches, and the params of encoder and head.

    Without statistics batch norm is by the stored ones.

    share: the rate of each param of the encoder over the head's.
    view: the augmentation of the training images.
    optimizer: of encoder and head.
    frozen: first steps in which the head alone learns.
    steps: number of all steps.
    """

    @jax.jit
    def step(key, state, stats, learned, opt, batch, share, acts):
        k1, k2 = jax.random.split(key)
        batch = floats(batch)
        batch |= {'x': augment.views(view, k1, batch['x'], 1)}

        def loss(learned):
            seen = {}
            with nn.intercept_methods(partial(by_batch, seen)) if stats else nullcontext():
                value = cross_entropy(logits(k2, state, stats, learned, batch), batch['label'])
            return value.mean(), flat(seen)

        grads, seen = jax.grad(loss, has_aux=True)(learned)
        updates, opt = optimizer.update(grads, opt, learned)
        moved = jax.tree.map(lambda u, s: u * s * acts, updates['encoder'], share)
        learned = optax.apply_updates(learned, {**updates, 'encoder': moved})
        return {name: followed(old, seen[name]) for name, old in stats.items()}, learned, opt

    opt = optimizer.init(learned)
    for i in range(steps):
        key, acts = jax.random.key(i), np.float32(i >= frozen)
        stats, learned, opt = step(key, state, stats, learned, opt, draw(), share, acts)
    return stats, learned


def read(model: Any, rows: Mapping[str, Any]) -> set[str]:
    """Paths of what `encode` reads of the state."""
    encode = model.readouts['encode']
    program = jax.make_jaxpr(lambda s: encode(jax.random.key(0), s, floats(rows)))(model.state)
    used = {id(v) for equation in program.jaxpr.eqns for v in equation.invars}
    leaves = zip(flat(model.state), program.jaxpr.invars, strict=True)
    return {path for path, v in leaves if id(v) in used}


def weights(state: Any, paths: set[str]) -> dict[str, Any]:
    """The params among them, {'encoder': {...}}, wherever in the state they are."""
    params = parts(state, paths, 'params')
    if not params:
        raise Mistake('fine_tune: encode of this method reads no params; leave it out of the evals')
    return unflatten_dict({tuple(name.split('/')): leaf for name, leaf in params.items()})


def parts(state: Any, paths: set[str], word: str) -> dict[str, jax.Array]:
    """The leaves at those paths that have the word, by what follows it."""
    named = {after(path, word): leaf for path, leaf in flat(state).items() if path in paths}
    return {name: leaf for name, leaf in named.items() if name}


def filled(state: Any, paths: set[str], word: str, new: Mapping[str, Any]) -> Any:
    """The state with these in place of its `parts`."""

    def at(path, leaf):
        path = path_name(path)
        return new.get(after(path, word), leaf) if path in paths else leaf

    return jax.tree_util.tree_map_with_path(at, state)


def flat(tree: Any) -> dict[str, Any]:
    return {path_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def after(path: str, word: str) -> str:
    """What follows the last `word` of a path: 'encoder/Dense_0/kernel'; '' where it has none."""
    _, separator, rest = f'/{path}'.rpartition(f'/{word}/')
    return rest if separator else ''


def by_batch(seen: dict, call: Any, args: Any, options: Any, context: Any) -> Any:
    """Intercepts batch norm: by the batch, whose mean and variance go to `seen`."""
    norm = context.module
    if not isinstance(norm, nn.BatchNorm) or context.method_name != '__call__':
        return call(*args, **options)
    x = args[0].astype(jnp.float32)
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    seen['/'.join(norm.path)] = {'mean': mean, 'var': var}
    params = norm.variables.get('params', {})
    x = (x - mean) * jax.lax.rsqrt(var + norm.epsilon) * params.get('scale', 1)
    return (x + params.get('bias', 0)).astype(args[0].dtype)


def followed(old: jax.Array, new: jax.Array, *, momentum: float = 0.9) -> jax.Array:
    return momentum * old + (1 - momentum) * new


evaluator = Evaluator(run=score, needs=('encode',), shown={'accuracy': Shown('fine-tuned')})
