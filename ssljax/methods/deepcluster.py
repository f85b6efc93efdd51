"""DeepCluster: the features of the whole set are clustered, and the net learns the clusters' names.

Caron et al. 2018, arXiv:1807.05520. Here the encoder's output is clustered, of images as they come;
the authors cluster that of the neck, before its last activation, of the gradients of gray images.
The new head keeps the optimizer's state of the old one, where theirs has a new optimizer, and
nothing is dropped out, where they drop half of the neck.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.cluster import agreement, kmeans, new_head, whiten
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import clustering
from ssljax.method import Method, Refresh, Run, Turn, every
from ssljax.nets import Nets


def deepcluster(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    neck: NetSpec = dict(name='mlp', dims=(4096, 4096), last_activation=True),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    clusters: Count = 10000,
    dims: Count = 256,  # principal axes of the features that are clustered
    rounds: Count = 20,  # of k-means
    epochs: Positive = 1,  # between two clusterings
) -> Method:
    head = dict(name='mlp', dims=(clusters,), kernel_init=0.01)
    nets = Nets(encoder=encoder, neck=neck, head=head, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):
        return net.head(net.neck(net.encoder(x)))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        labels = jnp.arange(run.examples) % clusters  # until the first clustering, before step 0
        return params, {'stats': stats, 'labels': labels, 'weight': jnp.ones(run.examples)}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        logits = forward(net, augment.views(view, key, batch['x'], 1))
        labels, weight = (state.memory[name][batch['index']] for name in ('labels', 'weight'))
        value = clustering.deepcluster(logits, labels, weight=weight)
        accuracy = (logits.argmax(1) == labels).mean()
        return value.mean(), state.memory | {'stats': net.stats}, {'accuracy': accuracy}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def assign(key, state, batch):
        return forward(nets(state.params, state.memory['stats']), batch['x']).argmax(1)

    def rule(key, state, sweep):
        """Clusters the features; the head's old columns mean nothing now, so it starts anew."""
        k1, k2 = jax.random.split(key)
        features = whiten(jnp.asarray(sweep(encode, state)), dims=dims)
        labels, _, emptied = kmeans(k1, features, k=clusters, rounds=rounds)
        size = jnp.zeros(clusters).at[labels].add(1)
        weight = run.examples / jnp.maximum((size > 0).sum(), 1) / size[labels]  # its mean is 1
        head = new_head(k2, state.params['head'], deviation=0.01)
        old = state.memory['labels']
        metrics = {
            'emptied': emptied,
            'agreement': agreement(old, labels, k=clusters),  # of this round with the last
            'largest': size.max() / run.examples,
        }
        state = state.replace(params=state.params | {'head': head})
        return state.remember(labels=labels, weight=weight), metrics

    refresh = Refresh(rule, every(max(int(epochs * run.steps_per_epoch), 1)))
    readouts = {'encode': encode, 'assign': assign}
    rows = ('labels', 'weight')
    return Method(init, {'net': Turn(loss)}, None, refresh, readouts, by_rows=rows)
