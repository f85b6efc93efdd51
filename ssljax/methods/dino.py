"""DINO: a student's crops predict a teacher's centered, sharpened view of the whole image.

Caron et al. 2021, arXiv:2104.14294. Both global views are drawn alike; the authors blur one always
and the other with a chance of 0.1, and solarize only the other. Their runs of a ViT-S also let the
last layer's gain learn, and drop paths with a chance of 0.1.
"""

import jax
import jax.numpy as jnp
import optax

from ssljax import augment
from ssljax.kinds import Count, Natural, NetSpec, NonNegative, Positive, Share, ViewSpec
from ssljax.losses import distillation
from ssljax.memory import ema
from ssljax.method import Method, Run, Turn, between
from ssljax.nets import Nets


def dino(
    run: Run,
    *,
    encoder: NetSpec = dict(name='vit_small', patch=16),
    head: NetSpec = dict(name='mlp', dims=(2048, 2048, 256), activation='gelu'),
    prototypes: Count = 65536,
    global_view: ViewSpec = dict(name='simclr', size=224, scale=(0.4, 1.0), blur=0.5, solarize=0.1),
    local_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.4), blur=0.5),
    local_views: Natural = 8,
    student_temperature: Positive = 0.1,
    teacher_temperature: tuple[Positive, Positive] = (0.04, 0.07),
    warmup: NonNegative = 30,  # epochs from the first teacher temperature to the second
    frozen: NonNegative = 1,  # epochs in which the last layer is held
    momentum: Share = 0.996,  # of the teacher; rises to 1
    center_momentum: Share = 0.9,
) -> Method:
    last = dict(name='prototypes', count=prototypes)
    nets = Nets(encoder=encoder, head=head, last=last, dtype=run.dtype)
    global_view, local_view = augment.make(global_view), augment.make(local_view)
    rise = int(warmup * run.steps_per_epoch)
    cool, warm = teacher_temperature
    apart = optax.cosine_decay_schedule(1 - momentum, run.steps)  # 1 - momentum, falls to 0

    def forward(net, x):  # -> logits [B * views, prototypes]
        return net.last(net.head(net.encoder(x)))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(global_view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, forward, x)
        teacher = {'params': params, 'stats': stats}
        return params, {'stats': stats, 'teacher': teacher, 'center': jnp.zeros(prototypes)}

    def loss(key, state, batch):
        k1, k2 = jax.random.split(key)
        B, m = len(batch['x']), state.memory
        wide = augment.views(global_view, k1, batch['x'], 2)
        near = augment.views(local_view, k2, batch['x'], local_views)
        net = nets(state.params, m['stats'], train=True)
        teacher = nets(**m['teacher'], train=True)
        t = forward(teacher, wide).reshape(B, 2, -1)
        crops = (wide, near) if local_views else (wide,)  # no net runs on no rows
        s = jnp.concatenate([forward(net, x).reshape(B, -1, prototypes) for x in crops], 1)
        tau = distillation.dino_temperature(state.step, first=cool, last=warm, rise=rise)
        value = distillation.dino(
            s, t, center=m['center'],
            student_temperature=student_temperature, teacher_temperature=tau,
        )  # fmt: skip
        p = jax.nn.softmax((t - m['center']) / tau)
        entropy = -(p * jnp.log(p + 1e-9)).sum(-1).mean()  # of the targets: 0 or log K is collapse
        memory = m | {
            'stats': net.stats,
            'teacher': m['teacher'] | {'stats': teacher.stats},
            'center': distillation.dino_center(m['center'], t, momentum=center_momentum),
        }
        return value.mean(), memory, {'entropy': entropy}

    def after(key, state, batch):
        teacher = state.memory['teacher']
        params = ema(teacher['params'], state.params, 1 - apart(state.step))
        return state.remember(teacher=teacher | {'params': params}), {}

    def encode(key, state, batch):
        return nets(**state.memory['teacher']).encoder(batch['x'])

    def attend(key, state, batch):  # [B, heads, h, w]
        return nets(**state.memory['teacher']).encoder(batch['x'], method='attention')

    held = between(0, int(frozen * run.steps_per_epoch))
    turn = Turn(loss, holds={'last': held})
    readouts = {'encode': encode}
    if hasattr(nets.modules['encoder'], 'attention'):  # a convolutional net has none
        readouts['attend'] = attend
    return Method(init, {'student': turn}, after, readouts=readouts)
