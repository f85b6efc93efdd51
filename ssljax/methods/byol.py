"""BYOL: from one view, an online net predicts what its slow average says of another view.

Grill et al. 2020, arXiv:2006.07733.
"""

import jax
import optax

from ssljax import augment
from ssljax.collapse import participation, spread
from ssljax.kinds import NetSpec, Share, ViewSpec
from ssljax.losses import distillation
from ssljax.memory import ema
from ssljax.method import Method, Run, Turn
from ssljax.nets import Nets


def byol(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(4096, 256), norm='batch'),
    predictor: NetSpec | None = dict(name='mlp', dims=(4096, 256), norm='batch'),  # none: collapse
    view: ViewSpec = dict(name='simclr', size=224, blur=1.0),
    other_view: ViewSpec = dict(name='simclr', size=224, blur=0.1, solarize=0.2),
    momentum: Share = 0.996,  # of the teacher; rises to 1
) -> Method:
    online = dict(encoder=encoder, projector=projector)
    if predictor:
        online['predictor'] = predictor
    nets = Nets(**online, dtype=run.dtype)
    view, other_view = augment.make(view), augment.make(other_view)
    apart = optax.cosine_decay_schedule(1 - momentum, run.steps)  # 1 - momentum, falls to 0

    def project(net, x):  # -> [B, D]
        return net.projector(net.encoder(x))

    def predict(net, z):
        return net.predictor(z) if predictor else z

    def taught(params):
        """Those of the nets that the teacher has, too."""
        return {name: part for name, part in params.items() if name != 'predictor'}

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, lambda net, x: predict(net, project(net, x)), x)
        return params, {'stats': stats, 'teacher': taught(params)}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x1 = augment.views(view, k1, batch['x'], 1)
        x2 = augment.views(other_view, k2, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        # it normalizes by its own batch, too: it is never used otherwise, and keeps no statistics
        teacher = nets(state.memory['teacher'], state.memory['stats'], train=True)
        z1, z2 = project(net, x1), project(net, x2)
        value = distillation.cosine_regression(predict(net, z1), project(teacher, x2))
        value += distillation.cosine_regression(predict(net, z2), project(teacher, x1))
        logs = {'spread': spread(z1), 'rank': participation(z1)}  # both fall where all collapses
        return value.mean(), state.memory | {'stats': net.stats}, logs

    def after(key, state, batch):
        teacher = ema(state.memory['teacher'], taught(state.params), 1 - apart(state.step))
        return state.remember(teacher=teacher), {}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'online': Turn(loss)}, after, readouts={'encode': encode})
