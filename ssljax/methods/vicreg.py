"""VICReg: two views are equal, each feature varies, and no two features vary together.

Bardes et al. 2021, arXiv:2105.04906.
"""

import jax

from ssljax import augment
from ssljax.collapse import participation, spread
from ssljax.kinds import NetSpec, NonNegative, ViewSpec
from ssljax.losses import redundancy
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets


def vicreg(
    run: Compares,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    # the expander; no term depends on a last bias
    projector: NetSpec = dict(name='mlp', dims=(8192, 8192, 8192), norm='batch', bias=False),
    view: ViewSpec = dict(name='simclr', size=224, blur=0.5, solarize=0.1),
    invariance: NonNegative = 25.0,  # lambda, of s
    variance: NonNegative = 25.0,  # mu, of v; 0: collapse
    covariance: NonNegative = 1.0,  # nu, of c; 0: features become copies of one another
) -> Method:
    nets = Nets(encoder=encoder, projector=projector, dtype=run.dtype)
    view = augment.make(view)

    def project(net, x):  # -> [B, D]
        return net.projector(net.encoder(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, project, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x1 = augment.views(view, k1, batch['x'], 1)
        x2 = augment.views(view, k2, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        z1, z2 = project(net, x1), project(net, x2)  # each view is a batch of its own

        def weighted(s, v, c):  # eq. 6
            return redundancy.vicreg(z1, z2, invariance=s, variance=v, covariance=c)

        value = weighted(invariance, variance, covariance)
        logs = {
            'invariance': weighted(1.0, 0.0, 0.0),  # eq. 5
            'variance': weighted(0.0, 1.0, 0.0),  # eq. 1, a mean over the views
            'covariance': weighted(0.0, 0.0, 1.0),  # eq. 4, a sum over the views
            'spread': spread(z1),
            'rank': participation(z1),
        }
        return value, state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
