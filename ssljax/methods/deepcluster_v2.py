"""DeepCluster-v2: unit centers of the last epoch's projections are the classifier of the next.

Caron et al. 2020, arXiv:2006.09882, section 4.1 and appendix. At the start the bank has the
projections of whole images, by statistics that are still those of the start; the authors' code goes
through an epoch of views, by those of each batch. The projector's batch norm takes global and local
views apart, where theirs takes them together.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.cluster import agreement, spherical_kmeans
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, Natural, NetSpec, Positive, ViewSpec
from ssljax.losses import clustering
from ssljax.method import Method, Refresh, Run, Turn, every
from ssljax.names import Mistake
from ssljax.nets import Nets


def deepcluster_v2(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 128), norm='batch'),
    global_view: ViewSpec = dict(
        name='simclr', size=224, scale=(0.14, 1.0), strength=1.0, blur=0.5
    ),
    local_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.14), strength=1.0, blur=0.5),
    local_views: Natural = 6,
    clusters: Count = 3000,
    heads: Count = 3,  # clusterings of the same rows, from starts of their own
    rounds: Count = 10,  # of k-means
    temperature: Positive = 0.1,
) -> Method:
    if clusters > run.examples:
        raise Mistake(
            f'model.clusters={clusters} are more than the {run.examples} rows; type'
            f' --config.model.clusters={run.examples} or less'
        )
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    global_view, local_view = augment.make(global_view), augment.make(local_view)

    def project(net, x):  # -> z [B * views, D]
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(global_view, k2, batch['x'], 1)
        params, stats, z = nets.init(k1, project, x)
        D = z.shape[-1]
        centers = directions(jax.random.normal(k3, (heads * clusters, D)))
        memory = {
            'stats': stats,
            'bank': jnp.zeros((run.examples, 2, D)),  # unit z of the two global views
            'labels': jnp.zeros((run.examples, heads), jnp.int32),
            'centers': centers.reshape(heads, clusters, D),
        }
        return params, memory  # all but stats is made anew before step 0

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        B, m, index = len(batch['x']), state.memory, batch['index']
        net = nets(state.params, m['stats'], train=True)
        z = project(net, augment.views(global_view, k1, batch['x'], 2)).reshape(B, 2, -1)
        new = [m['bank'][:, v].at[index].set(directions(z[:, v])) for v in (0, 1)]
        if local_views:
            near = project(net, augment.views(local_view, k2, batch['x'], local_views))
            z = jnp.concatenate([z, near.reshape(B, local_views, -1)], 1)
        labels = m['labels'][index]  # [B, heads]
        value = sum(
            clustering.deepcluster_v2(z, labels[:, h], m['centers'][h], temperature=temperature)
            for h in range(heads)
        )
        logs = {'rank': participation(z[:, 0])}
        return (value / heads).mean(), m | {'stats': net.stats, 'bank': jnp.stack(new, 1)}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def whole(key, state, batch):  # unit z of images without a view
        return directions(project(nets(state.params, state.memory['stats']), batch['x']))

    def assign(key, state, batch):
        return (whole(key, state, batch) @ state.memory['centers'][0].T).argmax(1)

    def rule(key, state, sweep):
        """Clusters the bank: head h has the projections of global view h % 2."""
        bank, old = state.memory['bank'], state.memory['labels']
        empty = state.step == 0
        if isinstance(empty, jax.core.Tracer) or empty:  # a step that is traced may be any
            bank = jnp.where(empty, jnp.asarray(sweep(whole, state))[:, None], bank)
        found = [
            spherical_kmeans(k, bank[:, h % 2], k=clusters, rounds=rounds)
            for h, k in enumerate(jax.random.split(key, heads))
        ]
        labels, centers = (jnp.stack(parts, axis) for parts, axis in zip(zip(*found), (1, 0)))
        used = jnp.zeros(clusters).at[labels[:, 0]].set(1).sum()  # of the first clustering
        metrics = {'used': used, 'agreement': agreement(old[:, 0], labels[:, 0], k=clusters)}
        return state.remember(bank=bank, labels=labels, centers=centers), metrics

    refresh = Refresh(rule, every(run.steps_per_epoch))
    readouts = {'encode': encode, 'assign': assign}
    rows = ('bank',)  # labels are read from everywhere
    return Method(init, {'net': Turn(loss)}, None, refresh, readouts, by_rows=rows)
