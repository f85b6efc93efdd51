"""NNCLR: an image's view attracts the nearest neighbor of its other view, an older row of a queue.

Dwibedi et al. 2021, arXiv:2104.14548.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import banks
from ssljax.memory import ring
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def nnclr(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 2048, 256), norm='batch', last_norm=True),
    predictor: NetSpec = dict(name='mlp', dims=(4096, 256), norm='batch'),
    view: ViewSpec = dict(name='simclr', size=224, blur=0.5, strength=1.0),
    queue: Count = 98304,  # older projections, the support set
    temperature: Positive = 0.1,
) -> Method:
    if queue < run.batch:
        raise Mistake(
            f'model.queue={queue} cannot hold the {run.batch} rows of a step; type a number from'
            f' {run.batch}'
        )
    nets = Nets(encoder=encoder, projector=projector, predictor=predictor, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> z, p [B, D]
        z = net.projector(net.encoder(x))
        return z, net.predictor(z)

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, (z, _) = nets.init(k2, forward, x)
        memory = {'stats': stats, 'queue': directions(jax.random.normal(k3, (queue, z.shape[-1])))}
        memory['owners'] = jnp.full(queue, -1)  # whose each row is: an index of the data; -1: drawn
        memory['writes'] = jnp.int32(0)  # to the queue: of each micro-batch of a step
        return params, memory

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        m, index = state.memory, batch['index']
        net = nets(state.params, m['stats'], train=True)
        z1, p1 = forward(net, augment.views(view, k1, batch['x'], 1))
        z2, p2 = forward(net, augment.views(view, k2, batch['x'], 1))
        value = banks.nnclr(z1, p2, m['queue'], temperature=temperature)
        value += banks.nnclr(z2, p1, m['queue'], temperature=temperature)
        owners = m['owners'][banks.nearest_row(z1, m['queue'])]
        own = (owners == index).mean()  # is the neighbor the image itself?
        memory = {
            'stats': net.stats,
            # the loss has used the old one; rows of one of the two views are enough, section 3.2
            'queue': ring(m['queue'], directions(z1), m['writes']),
            'owners': ring(m['owners'], index, m['writes']),
            'writes': m['writes'] + 1,
        }
        return value.mean() / 2, memory, {'own': own, 'rank': participation(z1)}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def neighbor(key, state, batch):  # -> [B], the index of the nearest image of the queue, or -1
        m = state.memory
        z, _ = forward(nets(state.params, m['stats']), batch['x'])
        return m['owners'][banks.nearest_row(z, m['queue'])]

    readouts = {'encode': encode, 'neighbor': neighbor}
    return Method(init, {'net': Turn(loss)}, readouts=readouts)
