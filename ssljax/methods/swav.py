"""SwAV: each view predicts to which prototypes another view of the image is assigned.

Caron et al. 2020, arXiv:2006.09882. The queue is that of section 3.1, for small batches; with
batches of 4096 the paper has none: queue=0. The authors' code takes all views of a batch together
in the projector's batch norm, where here global and local views are normalized apart; it starts to
fill the queue when here it is first used; and it rescales the prototypes before each step, where
here a unit copy of them is used. A ViT whose queue began in the second epoch collapsed, as
docs/table.md shows; the authors' begins after 15 epochs.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, Natural, NetSpec, NonNegative, Positive, ViewSpec
from ssljax.losses import distillation
from ssljax.memory import ring
from ssljax.method import Compares, Method, Turn, between
from ssljax.names import Mistake
from ssljax.nets import Nets


def swav(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 128), norm='batch'),
    prototypes: Count = 3000,
    global_view: ViewSpec = dict(
        name='simclr', size=224, scale=(0.14, 1.0), strength=1.0, blur=0.5
    ),
    local_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.14), strength=1.0, blur=0.5),
    local_views: Natural = 6,
    temperature: Positive = 0.1,
    epsilon: Positive = 0.05,  # how soft the assignments are
    rounds: Count = 3,  # of Sinkhorn and Knopp
    queue: Natural = 3840,  # older rows that are assigned beside the batch
    queue_starts: NonNegative = 15,  # epochs without them
    frozen: NonNegative = 1,  # epochs in which the prototypes are held
) -> Method:
    if 0 < queue < run.batch:
        raise Mistake(
            f'model.queue={queue} cannot hold a batch of {run.batch}; type a number from'
            f' {run.batch}, or 0 for no queue'
        )
    last = dict(name='prototypes', count=prototypes)  # cosines with unit vectors: z.c
    nets = Nets(encoder=encoder, projector=projector, last=last, dtype=run.dtype)
    global_view, local_view = augment.make(global_view), augment.make(local_view)
    starts = int(queue_starts * run.steps_per_epoch)

    def both(net, x):  # -> z [B * views, D], scores z.c [B * views, prototypes]
        z = net.projector(net.encoder(x))
        return z, net.last(z)

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(global_view, k1, batch['x'], 1)
        params, stats, z = nets.init(k2, lambda net, x: both(net, x)[0], x)
        memory = {'stats': stats}
        if queue:
            rows = directions(jax.random.normal(k3, (2 * queue, z.shape[-1])))
            memory['queue'] = rows.reshape(queue, 2, -1)  # z of the two global views
            memory['writes'] = jnp.int32(0)  # to the queue: of each micro-batch of a step
        return params, memory

    def assign(scores, where):
        """Codes q [B, K] of scores[:, 0], eqs. 3 to 5: each prototype gets an equal share of those
        rows of scores [B, N, K] that count."""
        level = distillation.sinkhorn_center(
            scores, temperature=epsilon, rounds=rounds, where=where
        )
        return jax.lax.stop_gradient(jax.nn.softmax((scores[:, 0] - level) / epsilon))

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        B, m = len(batch['x']), state.memory
        net = nets(state.params, m['stats'], train=True)
        z, s = both(net, augment.views(global_view, k1, batch['x'], 2))
        s = s.reshape(B, 2, -1)
        rows, counts = s[:, None], jnp.ones((B, 1), bool)
        if queue:
            # so many older rows go with each of the batch that no row changes its device; were they
            # put behind the batch, each device would have to gather the scores of the whole queue
            beside = -(-queue // B)
            spare = beside * B - queue
            older = net.last(jnp.pad(m['queue'], ((0, spare), (0, 0), (0, 0))))  # prototypes of now
            rows = jnp.concatenate([rows, older.reshape(B, beside, 2, -1)], 1)
            used = (jnp.arange(queue) // B < m['writes']) & (state.step >= starts)  # not unwritten
            counts = jnp.concatenate([counts, jnp.pad(used, (0, spare)).reshape(B, beside)], 1)
            new = directions(z).reshape(B, 2, -1)
            # view by view, so that what is sent between devices is a vector of each row
            kept = [ring(m['queue'][:, v], new[:, v], m['writes']) for v in (0, 1)]
            m = m | {'queue': jnp.stack(kept, 1), 'writes': m['writes'] + 1}
        q = [assign(rows[:, :, v], counts) for v in (0, 1)]
        if local_views:
            _, near = both(net, augment.views(local_view, k2, batch['x'], local_views))
            s = jnp.concatenate([s, near.reshape(B, local_views, -1)], 1)
        log_p = jax.nn.log_softmax(s / temperature)  # eq. 2, [B, 2 + local views, K]
        # eq. 1: every view predicts the codes of the two global views, but not of itself
        pairs = [(g, v) for g in (0, 1) for v in range(s.shape[1]) if v != g]
        value = -sum((q[g] * log_p[:, v]).sum(-1) for g, v in pairs) / len(pairs)
        named = jnp.zeros(prototypes).at[q[0].argmax(1)].set(1).sum()  # prototypes, by a batch
        logs = {'used': named, 'rank': participation(z)}
        return value.mean(), m | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def nearest(key, state, batch):
        net = nets(state.params, state.memory['stats'])
        return both(net, batch['x'])[1].argmax(1)

    held = between(0, int(frozen * run.steps_per_epoch))
    readouts = {'encode': encode, 'assign': nearest}
    return Method(init, {'net': Turn(loss, holds={'last': held})}, readouts=readouts)
