"""SimCLR: two views of an image attract, all other views in the global batch repel.

Chen et al. 2020, arXiv:2002.05709.
"""

from typing import Any

import jax

from ssljax import augment
from ssljax.losses import contrastive
from ssljax.method import Method, Run, Turn
from ssljax.nets import Nets


def simclr(
    run: Run,
    *,
    encoder: Any = dict(name='resnet50'),
    projector: Any = dict(name='mlp', dims=(2048, 128)),
    view: Any = dict(name='simclr', size=224),
    temperature: float = 0.1,
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):
        h = net.encoder(x)
        return h, net.projector(h)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        _, z = forward(net, augment.views(view, key, batch['x'], 2))  # [2B, D], neighbors are one
        z = z.reshape(-1, 2, z.shape[-1])
        value = contrastive.nt_xent(z[:, 0], z[:, 1], temperature=temperature).mean()
        return value, state.memory | {'stats': net.stats}, {'z_std': z.std(0).mean()}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
