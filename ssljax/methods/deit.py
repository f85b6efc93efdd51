"""DeiT: a vit learns labels by its class token, and by a second token what another net decides.

Touvron et al. 2020, arXiv:2012.12877. The teacher is a run of `classifier` with the encoder that
`teacher` names: config.graft={'memory/teacher/params': 'WORKDIR:params', 'memory/teacher/stats':
'WORKDIR:memory/stats'}; without batch norm it has no statistics.

token=False teaches the class token twice (the paper's 'usual' distillation). The paper also smooths
labels, mixes, erases, repeats and strongly augments images, drops paths, and its teacher is a
RegNetY-16GF.
"""

import jax

from ssljax import augment
from ssljax.kinds import NetSpec, Positive, Share, ViewSpec
from ssljax.losses import distillation
from ssljax.method import Method, Run, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def deit(
    run: Run,
    *,
    encoder: NetSpec = dict(name='vit_base', patch=16),
    teacher: NetSpec = dict(name='resnet50'),  # its encoder; it is never trained here
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    token: bool = True,  # whether a second token, with a head of its own, follows the teacher
    hard: bool = True,  # its most likely class, at weight a half; False: softened probabilities
    temperature: Positive = 3.0,  # that soften them, if not hard
    weight: Share = 0.1,  # of the teacher, if not hard
) -> Method:
    if not run.classes:
        raise Mistake('deit needs labels, and this data has none; type another data.name')
    head = dict(name='mlp', dims=(run.classes,), kernel_init=0.01)
    heads = dict(head=head, second_head=head) if token else dict(head=head)
    nets = Nets(encoder=encoder, **heads, dtype=run.dtype)
    teaching = Nets(encoder=teacher, head=head, dtype=run.dtype)
    view = augment.make(view)

    def forward(net, x):  # -> logits of both tokens, twice [B, classes]
        if token:
            h = net.encoder(x, method='pair')
            return net.head(h[:, 0]), net.second_head(h[:, 1])
        logits = net.head(net.encoder(x))
        return logits, logits

    def teach(net, x):  # -> logits [B, classes]
        return net.head(net.encoder(x))

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, forward, x)
        old, old_stats, _ = teaching.init(k3, teach, x)  # a graft is put in its place
        return params, {'stats': stats, 'teacher': {'params': old, 'stats': old_stats}}

    def loss(key, state, batch):
        x, y = augment.views(view, key, batch['x'], 1), batch['label']
        net = nets(state.params, state.memory['stats'], train=True)
        student, distilled = forward(net, x)
        told = teach(teaching(**state.memory['teacher']), x)  # by its stored statistics
        if hard:
            value = distillation.deit_hard(student, distilled, told, y)
        else:
            value = distillation.deit_soft(
                student, distilled, told, y, temperature=temperature, weight=weight
            )
        right = {'accuracy': student, 'teacher_accuracy': told}
        logs = {name: (logits.argmax(1) == y).mean() for name, logits in right.items()}
        logs['agreement'] = (distilled.argmax(1) == told.argmax(1)).mean()
        return value.mean(), state.memory | {'stats': net.stats}, logs

    def encode(key, state, batch):  # the class token
        net = nets(state.params, state.memory['stats'])
        return net.encoder(batch['x'], method='pair')[:, 0] if token else net.encoder(batch['x'])

    def classify(key, state, batch):  # section 4: by both heads, their classes are averaged [B]
        both = forward(nets(state.params, state.memory['stats']), batch['x'])
        return sum(jax.nn.softmax(logits) for logits in both).argmax(1)

    needs = ('memory/teacher/params', 'memory/teacher/stats')
    readouts = {'encode': encode, 'classify': classify}
    return Method(init, {'net': Turn(loss)}, readouts=readouts, needs=needs)
