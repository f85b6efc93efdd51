"""A classifier that is told the labels: the bar for features learned without, or their fine-tuning.

Szegedy et al. 2015, arXiv:1512.00567 (section 7: smoothed labels).
config.graft={'params/encoder': 'WORKDIR:params/encoder'} starts at another run's encoder, and with
'memory/stats/encoder' likewise at its statistics.
"""

from typing import Literal

import jax

from ssljax import augment
from ssljax.kinds import Decay, Natural, NetSpec, ViewSpec
from ssljax.losses import semi
from ssljax.method import Method, Run, Turn, between
from ssljax.names import Mistake
from ssljax.nets import Nets


def classifier(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    smoothing: Decay = 0.1,  # of the labels
    frozen: Natural = 0,  # first steps in which the encoder is held and the head alone learns
    statistics: Literal['batch', 'stored'] = 'batch',  # stored: those of the grafted encoder
) -> Method:
    if not run.classes:
        raise Mistake('classifier needs labels, and this data has none; type another data.name')
    head = dict(name='mlp', dims=(run.classes,), kernel_init=0.01)
    nets = Nets(encoder=encoder, head=head, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> logits [B, classes]
        return net.head(net.encoder(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        params, stats, _ = nets.init(k1, forward, augment.views(view, k2, batch['x'], 1))
        return params, {'stats': stats}

    def loss(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=statistics == 'batch')
        logits = forward(net, augment.views(view, key, batch['x'], 1))
        value = semi.cross_entropy(logits, batch['label'], smoothing=smoothing)
        accuracy = (logits.argmax(1) == batch['label']).mean()
        return value.mean(), {'stats': net.stats}, {'accuracy': accuracy}

    def encode(key, state, batch):
        return nets(state.params, state.memory['stats']).encoder(batch['x'])

    def attend(key, state, batch):  # [B, heads, h, w]
        net = nets(state.params, state.memory['stats'])
        return net.encoder(batch['x'], method='attention')

    def classify(key, state, batch):  # -> [B]
        return forward(nets(state.params, state.memory['stats']), batch['x']).argmax(1)

    turn = Turn(loss, holds={'encoder': between(0, frozen)} if frozen else {})
    readouts = {'encode': encode, 'classify': classify}
    if hasattr(nets.modules['encoder'], 'attention'):  # a convolutional net has none
        readouts['attend'] = attend
    return Method(init, {'net': turn}, readouts=readouts)
