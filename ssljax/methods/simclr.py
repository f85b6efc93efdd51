"""SimCLR: two views of an image attract, all other views in the global batch repel.

Chen et al. 2020, arXiv:2002.05709. The default view has the strength that the paper takes for
CIFAR-10; for ImageNet it has strength=1.0 and blur=0.5.
"""

import jax

from ssljax import augment
from ssljax.collapse import participation
from ssljax.kinds import Count, NetSpec, Positive, ViewSpec
from ssljax.losses import contrastive
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets, in_chunks


def simclr(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 128)),
    view: ViewSpec = dict(name='simclr', size=224),
    temperature: Positive = 0.1,
    decoupled: bool = False,  # no positive in the denominator: Yeh et al. 2021, arXiv:2110.06848
    block: Count | None = None,  # columns of the loss at a time, so that it never holds all pairs
    chunk: Count | None = None,  # images through the nets at a time, with the gradient of all
) -> Method:
    if chunk and run.batch % chunk:
        raise Mistake(f'model.chunk={chunk} does not divide batch={run.batch}; type a divisor')
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)
    contrast = contrastive.decoupled if decoupled else contrastive.nt_xent

    def forward(net, x):
        h = net.encoder(x)
        return h, net.projector(h)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        def embed(key, stats, x):  # -> [B, 2, D]
            net = nets(state.params, stats, train=True)
            _, z = forward(net, augment.views(view, key, x, 2))  # [2B, D], neighbors are one
            return net.stats, z.reshape(-1, 2, z.shape[-1])

        stats, z = in_chunks(embed, key, state.memory['stats'], batch['x'], rows=chunk)
        value = contrast(z[:, 0], z[:, 1], temperature=temperature, block=block).mean()
        logs = {'z_std': z.std(0).mean(), 'rank': participation(z[:, 0])}
        return value, state.memory | {'stats': stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
