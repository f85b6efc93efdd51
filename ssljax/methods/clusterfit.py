"""ClusterFit: the features of a trained net are clustered once; a fresh net learns their names.

Yan et al. 2020, arXiv:1912.03330. The source comes from an earlier run, config.graft =
{'params/source/params': 'DIR:params/encoder', 'params/source/stats': 'DIR:memory/stats/encoder'};
without, it is a net that learned nothing.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.cluster import kmeans
from ssljax.collapse import directions
from ssljax.kinds import Count, NetSpec, ViewSpec
from ssljax.losses import cross_entropy
from ssljax.method import Method, Refresh, Run, Turn, always, between
from ssljax.nets import Nets


def clusterfit(
    run: Run,
    *,
    source: NetSpec = dict(name='resnet50'),
    encoder: NetSpec = dict(name='resnet50'),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    clusters: Count = 16000,
    rounds: Count = 100,  # of k-means
) -> Method:
    nets = Nets(encoder=encoder, head=dict(name='mlp', dims=(clusters,)), dtype=run.dtype)
    sources = Nets(source=source, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):
        return net.head(net.encoder(x))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        p, s, _ = sources.init(k3, lambda net, x: net.source(x), batch['x'])
        # its statistics are as fixed as its weights
        params['source'] = {'params': p['source'], 'stats': s.get('source', {})}
        labels = jnp.arange(run.examples) % clusters  # until the clustering, before step 0
        return params, {'stats': stats, 'labels': labels}

    def encode_source(key, state, batch):
        kept = {name: {'source': tree} for name, tree in state.params['source'].items()}
        return sources(**kept).source(batch['x'])

    def rule(key, state, sweep):
        features = directions(jnp.asarray(sweep(encode_source, state)))
        labels, _, emptied = kmeans(key, features, k=clusters, rounds=rounds)
        largest = jnp.zeros(clusters).at[labels].add(1).max() / run.examples
        return state.remember(labels=labels), {'emptied': emptied, 'largest': largest}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        logits = forward(net, augment.views(view, key, batch['x'], 1))
        labels = state.memory['labels'][batch['index']]
        value, accuracy = cross_entropy(logits, labels).mean(), (logits.argmax(1) == labels).mean()
        return value, state.memory | {'stats': net.stats}, {'accuracy': accuracy}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def assign(key, state, batch):
        return forward(nets(state.params, state.memory['stats']), batch['x']).argmax(1)

    turn = Turn(loss, holds={'source': always})
    readouts = {'encode': encode, 'encode_source': encode_source, 'assign': assign}
    refresh = Refresh(rule, between(0, 1))
    return Method(init, {'net': turn}, None, refresh, readouts, by_rows=('labels',))
