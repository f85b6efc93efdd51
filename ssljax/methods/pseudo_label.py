"""Pseudo-labels: a net names the rows without a label, and learns what it is sure of as if true.

Lee 2013 (ICML workshop on challenges in representation learning). In rounds: all rows are named at
once, those below the threshold are left out, and the next net learns from the rest.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.kinds import NetSpec, Positive, Share, ViewSpec
from ssljax.losses import semi
from ssljax.method import Method, Refresh, Run, Turn, every
from ssljax.names import Mistake
from ssljax.nets import Nets

NONE = -1  # the label of a row without one


def pseudo_label(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    epochs: Positive = 10,  # of a round
    threshold: Share = 0.9,  # the least probability of a name that is learned
    trusted: bool = True,  # whether given labels stay; if not, the net may correct them
    anew: bool = True,  # whether each round has a new net
) -> Method:
    if not run.classes:
        raise Mistake('pseudo_label needs some labels, and this data has none; type few_labels')
    head = dict(name='mlp', dims=(run.classes,), kernel_init=0.01)
    nets = Nets(encoder=encoder, head=head, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> logits [B, classes]
        return net.head(net.encoder(x))

    def start(key, batch):  # of a net
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        return params, stats

    def init(key, batch):
        params, stats = start(key, batch)
        labels = jnp.full(run.examples, NONE)
        return params, {'stats': stats, 'labels': labels, 'round': jnp.int32(0)}

    def loss(key, state, batch):
        memory = state.memory
        net = nets(state.params, memory['stats'], train=True)
        logits = forward(net, augment.views(view, key, batch['x'], 1))
        # the first round has the given labels alone
        label = jnp.where(memory['round'] > 0, memory['labels'][batch['index']], batch['label'])
        known = label != NONE
        value = jnp.where(known, semi.cross_entropy(logits, jnp.maximum(label, 0)), 0)
        count = jnp.maximum(known.sum(), 1)
        logs = {'known': known.mean(), 'accuracy': (logits.argmax(1) == label).sum() / count}
        return value.sum() / count, memory | {'stats': net.stats}, logs

    def probabilities(key, state, batch):  # -> [B, classes]
        logits = forward(nets(state.params, state.memory['stats']), batch['x'])
        return jax.nn.softmax(logits.astype(jnp.float32))

    def given(key, state, batch):  # the label, and where the data know it the true one
        return batch['label'], batch.get('true_label', batch['label'])

    def rule(key, state, sweep):
        """Names all rows, keeps the names that are likely, and starts the next round."""
        p = jnp.asarray(sweep(probabilities, state))  # [N, classes]
        label, true = map(jnp.asarray, sweep(given, state))
        labels = jnp.where(p.max(1) >= threshold, p.argmax(1), NONE)
        asked = label == NONE if trusted else jnp.ones_like(label, bool)  # rows that the net names
        kept = asked & (labels != NONE)
        metrics = {'accepted': kept.sum() / jnp.maximum(asked.sum(), 1)}
        if 'true_label' in run.row:
            right = kept & (labels == true)
            metrics['purity'] = right.sum() / jnp.maximum(kept.sum(), 1)
        labels = jnp.where(asked, labels, label)
        state = state.remember(labels=labels, round=state.memory['round'] + 1)
        if anew:
            params, stats = jax.jit(start)(key, sweep.batch)
            state = state.replace(params=params).remember(stats=stats)
        return state, metrics

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def classify(key, state, batch):  # -> [B]
        return probabilities(key, state, batch).argmax(1)

    length = max(int(epochs * run.steps_per_epoch), 1)
    refresh = Refresh(rule, every(length, length), restarts=('net',))
    readouts = {'encode': encode, 'classify': classify}
    return Method(init, {'net': Turn(loss)}, None, refresh, readouts, by_rows=('labels',))
