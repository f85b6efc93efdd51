"""Barlow Twins: the correlation of two views becomes the identity: equal, and nothing twice.

Zbontar et al. 2021, arXiv:2103.03230.
"""

import jax

from ssljax import augment
from ssljax.collapse import participation
from ssljax.kinds import NetSpec, NonNegative, ViewSpec
from ssljax.losses import redundancy
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets


def barlow_twins(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    # C does not depend on a last bias
    projector: NetSpec = dict(name='mlp', dims=(8192, 8192, 8192), norm='batch', bias=False),
    view: ViewSpec = dict(name='simclr', size=224, blur=1.0),
    other_view: ViewSpec = dict(name='simclr', size=224, blur=0.1, solarize=0.2),
    trade_off: NonNegative = 5e-3,  # lambda, of the second term
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view, other_view = augment.make(view), augment.make(other_view)

    def project(net, x):  # -> [B, D]
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, project, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x1 = augment.views(view, k1, batch['x'], 1)
        x2 = augment.views(other_view, k2, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        z1, z2 = project(net, x1), project(net, x2)  # each view is a batch of its own
        value = redundancy.barlow_twins(z1, z2, weight=trade_off)  # eq. 1
        # the two terms: sum_d (1 - C_dd)^2, and sum_{d != e} C_de^2; XLA makes C once
        invariance = redundancy.barlow_twins(z1, z2, weight=0.0)
        reduction = redundancy.barlow_twins(z1, z2, weight=1.0) - invariance
        logs = {'on_diagonal': invariance, 'off_diagonal': reduction, 'rank': participation(z1)}
        return value, state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
