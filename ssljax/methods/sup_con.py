"""SupCon: all views of all images of a class attract, those of other classes repel.

Khosla et al. 2020, arXiv:2004.11362. The classifier, their second stage, is the linear probe.
The paper's view for ImageNet is AutoAugment; this one is that of SimCLR, as in its code for CIFAR.
"""

import jax

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import contrastive
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def sup_con(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 128)),
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.2, 1.0)),
    views: Count = 2,  # of each image
    temperature: Positive = 0.1,
    block: Count | None = None,  # columns of the loss at a time, so that it never holds all pairs
) -> Method:
    if not run.classes:
        raise Mistake('sup_con needs labels, and this data has none; type another data.name')
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def represent(net, x):  # -> r, of length one
        h = net.encoder(x)
        return directions(h.reshape(len(h), -1))

    def project(net, x):
        return net.projector(represent(net, x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, project, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        z = project(net, augment.views(view, key, batch['x'], views))
        z = z.reshape(len(batch['x']), views, -1)  # [B, V, D]
        value = contrastive.sup_con(z, batch['label'], temperature=temperature, block=block)
        logs = {'rank': participation(z[:, 0])}
        return value.mean(), state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return represent(nets(state.params, state.memory['stats']), batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
