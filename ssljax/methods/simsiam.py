"""SimSiam: from one view, a net predicts what it says of another, where no gradient flows.

Chen & He 2020, arXiv:2011.10566. In the authors' code the projector's last batch norm has no gain
and no bias; here it has both.
"""

import jax

from ssljax import augment
from ssljax.collapse import directions, participation, spread
from ssljax.kinds import NetSpec, ViewSpec
from ssljax.losses import distillation
from ssljax.method import Method, Run, Turn
from ssljax.nets import Nets


def simsiam(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 2048, 2048), norm='batch', last_norm=True),
    predictor: NetSpec | None = dict(name='mlp', dims=(512, 2048), norm='batch'),  # none: collapse
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.2, 1.0), blur=0.5),
    stop_gradient: bool = True,  # to the other view (eq. 3); false: collapse
) -> Method:
    twins = dict(encoder=encoder, projector=projector)
    if predictor:
        twins['predictor'] = predictor
    nets = Nets(**twins, dtype=run.dtype)
    view = augment.make(view)

    def project(net, x):  # f of the paper -> [B, D]
        return net.projector(net.encoder(x))

    def predict(net, z):  # h
        return net.predictor(z) if predictor else z

    def distance(p, z):  # eq. 1: -cos(p, z)
        if stop_gradient:
            return distillation.cosine_regression(p, z) / 2 - 1
        return -(directions(p) * directions(z)).sum(-1)

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, lambda net, x: predict(net, project(net, x)), x)
        return params, {'stats': stats}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x1 = augment.views(view, k1, batch['x'], 1)
        x2 = augment.views(view, k2, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        z1, z2 = project(net, x1), project(net, x2)  # each view is a batch of its own
        p1, p2 = predict(net, z1), predict(net, z2)
        value = distance(p1, z2) / 2 + distance(p2, z1) / 2
        logs = {'spread': spread(z1), 'rank': participation(z1)}  # both fall where all collapses
        return value.mean(), state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'net': Turn(loss)}, readouts={'encode': encode})
