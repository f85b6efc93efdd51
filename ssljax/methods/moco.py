"""MoCo: a query finds its key among older keys in a queue; a slow average of the net makes keys.

He et al. 2019, arXiv:1911.05722. The defaults are those of v2, Chen et al. 2020, arXiv:2003.04297.

v1: projector=dict(name='mlp', dims=(128,)), temperature=0.07 and a view with jitter=1.0, blur=0.0.
The authors' v1 removes color before it jitters, and its hue moves by up to 0.4, here 0.1.
v3, Chen, Xie & He 2021, arXiv:2104.02057: queue=0, symmetric=True, momentum=0.99, temperature=1.0
(0.2 for a vit), projector=dict(name='mlp', dims=(4096, 256), norm='batch', last_norm=True), of
three layers for a vit, and the same as predictor. The authors' v3 lets momentum rise from 0.99 to 1
by a cosine, its last batch norms have no gain and no bias, and its two views differ as BYOL's do;
here the momentum is constant, these norms have gain and bias, and both views are drawn alike.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.collapse import directions, participation
from ssljax.kinds import Natural, NetSpec, Positive, Share, ViewSpec
from ssljax.losses import contrastive
from ssljax.memory import ema, ring
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def moco(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 128)),
    predictor: NetSpec | None = None,  # of queries alone
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.2, 1.0), blur=0.5),
    queue: Natural = 65536,  # older keys, the negatives; 0: those of the batch are the negatives
    symmetric: bool = False,  # whether each view is a query and a key, and the two losses are added
    temperature: Positive = 0.2,
    momentum: Share = 0.999,  # of the teacher
) -> Method:
    new = run.batch * (2 if symmetric else 1)
    if 0 < queue < new:
        raise Mistake(
            f'model.queue={queue} cannot hold the {new} keys of a step; type a number from {new},'
            ' or 0 for no queue'
        )
    if not queue and run.batch < 2:
        raise Mistake('moco without a queue compares the rows of a batch; type --config.batch=2')
    asking = dict(encoder=encoder, projector=projector)
    if predictor:
        asking['predictor'] = predictor
    nets = Nets(**asking, dtype=run.dtype)
    view = augment.make(view)

    def project(net, x):  # -> [B, D]
        return net.projector(net.encoder(x))

    def predict(net, z):
        return net.predictor(z) if predictor else z

    def taught(params):
        """Those of the nets that the teacher has, too."""
        return {name: part for name, part in params.items() if name != 'predictor'}

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, q = nets.init(k2, lambda net, x: predict(net, project(net, x)), x)
        memory = {'stats': stats, 'teacher': taught(params)}
        if queue:
            memory['queue'] = directions(jax.random.normal(k3, (queue, q.shape[-1])))
            memory['writes'] = jnp.int32(0)  # to the queue: of each micro-batch of a step
        return params, memory

    def contrast(q, k, memory):  # -> [B]; nothing that makes k is in params, so it has no gradient
        if queue:
            return contrastive.moco(q, k, memory['queue'], temperature=temperature)
        return 2 * temperature * contrastive.info_nce(q, k, temperature=temperature)

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        x1 = augment.views(view, k1, batch['x'], 1)
        x2 = augment.views(view, k2, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        # it normalizes by its own batch; that is of all devices, so there is nothing to shuffle
        teacher = nets(state.memory['teacher'], state.memory['stats'], train=True)
        pairs = [(x1, x2), (x2, x1)] if symmetric else [(x1, x2)]
        z = [project(net, x) for x, _ in pairs]
        q = [predict(net, rows) for rows in z]
        k = [project(teacher, x) for _, x in pairs]
        value = sum(contrast(*pair, state.memory) for pair in zip(q, k))
        memory = state.memory | {'stats': net.stats}
        if queue:  # the loss has used the old one
            keys, writes = directions(jnp.concatenate(k)), memory['writes']
            memory |= {'queue': ring(memory['queue'], keys, writes), 'writes': writes + 1}
        return value.mean(), memory, {'rank': participation(z[0])}

    def after(key, state, batch):
        teacher = ema(state.memory['teacher'], taught(state.params), momentum)
        return state.remember(teacher=teacher), {}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    return Method(init, {'query': Turn(loss)}, after, readouts={'encode': encode})
