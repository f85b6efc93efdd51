"""DeeperCluster: clusters within clusters of the whole set, and how far an image was turned.

Caron et al. 2019, arXiv:1905.01278. The paper starts from an encoder that learned rotation: a
graft. All heads of sub-classes stand side by side, where the paper's devices have one each. As in
`deepcluster`, the encoder's output is clustered, of images as they come (the authors': the neck's,
before its last activation, of gradients), and new heads keep the optimizer's state of the old.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.augment.geometry import quarter
from ssljax.cluster import agreement, kmeans, new_head, whiten
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import clustering
from ssljax.method import Method, Refresh, Run, Turn, every
from ssljax.nets import Nets


def deepercluster(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    neck: NetSpec = dict(name='mlp', dims=(4096, 4096), last_activation=True),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    groups: Count = 4,  # m clusters of the whole set: 4 m super-classes, by the turns of an image
    clusters: Count = 80000,  # k: in each group
    dims: Count = 4096,  # principal axes of the features that are clustered; of fewer features: all
    rounds: Count = 10,  # of k-means
    epochs: Positive = 3,  # T: between two clusterings
) -> Method:
    heads = {'super_head': 4 * groups, 'sub_head': 4 * groups * clusters}
    specs = {name: dict(name='mlp', dims=(n,), kernel_init=0.01) for name, n in heads.items()}
    nets = Nets(encoder=encoder, neck=neck, **specs, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> V f [B, 4 m] and W_s f of each super-class s [B, 4 m, k]
        f = net.neck(net.encoder(x))
        return net.super_head(f), net.sub_head(f).reshape(len(x), 4 * groups, clusters)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        i = jnp.arange(run.examples)  # until the first clustering, before step 0
        first = {'groups': i % groups, 'labels': i % clusters, 'weight': jnp.ones(run.examples)}
        return params, {'stats': stats, **first}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        B, memory, index = len(batch['x']), state.memory, batch['index']
        turns = jax.random.randint(k2, (B,), 0, 4)
        x = jax.vmap(quarter)(augment.views(view, k1, batch['x'], 1), turns)
        net = nets(state.params, memory['stats'], train=True)
        of_super, of_sub = forward(net, x)
        y = 4 * memory['groups'][index] + turns  # the super-class: which group, turned how far
        z, weight = memory['labels'][index], memory['weight'][index]
        of_own = of_sub[jnp.arange(B), y]  # only the head of its own super-class
        # the loss of V, and of W_s for the super-class s of the image alone
        first = clustering.deepcluster(of_super, y, weight=weight)
        second = clustering.deepcluster(of_own, z, weight=weight)
        logs = {
            'super_accuracy': (of_super.argmax(1) == y).mean(),
            'sub_accuracy': (of_own.argmax(1) == z).mean(),
            'turn_accuracy': (of_super.argmax(1) % 4 == turns).mean(),
        }
        return (first + second).mean(), memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def assign(key, state, batch):  # the cluster, of clusters * groups, of an image as it stands
        of_super, of_sub = forward(nets(state.params, state.memory['stats']), batch['x'])
        group = of_super[:, ::4].argmax(1)
        return group * clusters + of_sub[jnp.arange(len(group)), 4 * group].argmax(1)

    def rule(key, state, sweep):
        """k-means into groups, and again within each; the heads start anew."""
        k1, k2, k3 = jax.random.split(key, 3)
        features = whiten(jnp.asarray(sweep(encode, state)), dims=dims)
        group, _, emptied = kmeans(k1, features, k=groups, rounds=rounds)
        labels = jnp.zeros_like(group)
        for m, k in enumerate(jax.random.split(k2, groups)):
            own = group == m
            inside, _, empty = kmeans(k, features, k=clusters, rounds=rounds, where=own)
            labels, emptied = jnp.where(own, inside, labels), emptied + empty
        size = jnp.zeros((groups, clusters)).at[group, labels].add(1)
        used = (size > 0).sum(1)  # clusters of each group
        # as if groups were drawn alike, and clusters within one; the mean is 1
        weight = run.examples / (used > 0).sum() / used[group] / size[group, labels]
        params = dict(state.params)
        for name, key in zip(heads, jax.random.split(k3)):
            params[name] = new_head(key, params[name], deviation=0.01)
        metrics = {'emptied': emptied, 'largest': size.max() / run.examples}
        metrics['agreement'] = agreement(state.memory['groups'], group, k=groups)  # of two rounds
        state = state.replace(params=params)
        return state.remember(groups=group, labels=labels, weight=weight), metrics

    refresh = Refresh(rule, every(max(int(epochs * run.steps_per_epoch), 1)))
    readouts, rows = {'encode': encode, 'assign': assign}, ('groups', 'labels', 'weight')
    return Method(init, {'net': Turn(loss)}, None, refresh, readouts, by_rows=rows)
