"""iBOT: DINO, and masked patches of a view predict what the teacher sees in these patches.

Zhou et al. 2021, arXiv:2111.07832; there ratios are any from 0.1 to 0.5, `last` waits an epoch, and
the two global views differ. DINOv2, Oquab et al. 2023, arXiv:2304.07193: shared=False, koleo=0.1,
centering='sinkhorn'. DINOv3, Simeoni et al. 2025, arXiv:2508.10104, adds gram=2.0; there it begins
after a million steps, stops after three copies of the teacher, and that sees larger views.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from ssljax import augment
from ssljax.augment import mask
from ssljax.kinds import Count, Natural, NetSpec, NonNegative, Positive, Rates, Share, ViewSpec
from ssljax.losses import distillation, latents, redundancy
from ssljax.memory import ema
from ssljax.method import Compares, Method, Turn
from ssljax.nets import Nets


def ibot(
    run: Compares,
    *,
    patch: Count = 16,
    encoder: NetSpec = dict(name='vit_small'),
    head: NetSpec = dict(name='mlp', dims=(2048, 2048, 256), activation='gelu'),
    prototypes: Count = 8192,
    shared: bool = True,  # whether class token and patches have one head
    global_view: ViewSpec = dict(name='simclr', size=224, scale=(0.25, 1), blur=0.5, solarize=0.1),
    local_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.25), blur=0.5),
    local_views: Natural = 10,
    masked: Positive = 0.5,  # of the global views
    ratios: Rates = (0.1, 0.2, 0.3, 0.4, 0.5),  # of a masked view's patches
    student_temperature: Positive = 0.1,
    teacher_temperature: tuple[Positive, Positive] = (0.04, 0.07),
    warmup: NonNegative = 30,  # epochs from the first teacher temperature to the second
    momentum: Share = 0.996,  # of the teacher; rises to 1
    centering: Literal['moving', 'sinkhorn'] = 'moving',
    center_momentum: Share = 0.9,
    weights: tuple[NonNegative, NonNegative] = (1.0, 1.0),  # of the class token, of the patches
    koleo: NonNegative = 0.0,  # weight of the spread of class tokens
    gram: NonNegative = 0.0,  # weight of the similarities of patches, which stay as they were
    gram_every: Count = 10_000,  # steps between copies of the teacher for that; no loss before one
) -> Method:
    heads = dict(head=head, last=dict(name='prototypes', count=prototypes))
    heads |= {} if shared else {f'patch_{name}': spec for name, spec in heads.items()}
    nets = Nets(encoder=encoder, **heads, patch=patch, dtype=run.dtype)
    global_view, local_view = augment.make(global_view), augment.make(local_view)
    (cool, warm), rise = teacher_temperature, int(warmup * run.steps_per_epoch)
    apart = optax.cosine_decay_schedule(1 - momentum, run.steps)  # 1 - momentum, falls to 0

    def hide(key, x):  # -> which patches are masked [B, T]
        grid = x.shape[1] // patch, x.shape[2] // patch
        return mask.some_blocks(key, len(x), grid, share=masked, ratios=ratios).reshape(len(x), -1)

    def forward(net, x, hidden=None):  # -> tokens [B, 1 + T, D], logits [B, K] and [B, T, K]
        h = net.encoder(x, None, hidden, method='tokens')
        head, last = (net.head, net.last) if shared else (net.patch_head, net.patch_last)
        return h, net.last(net.head(h[:, 0])), last(head(h[:, 1:]))

    def taught(part):  # the teacher sees every patch
        return part | {'encoder': {k: v for k, v in part['encoder'].items() if k != 'mask_token'}}

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(global_view, k1, batch['x'], 1)
        params, _, _ = nets.init(k2, forward, x, hide(k3, x))  # no net has batch statistics
        memory = {'teacher': taught(params)}
        if centering == 'moving':
            memory['center'] = {kind: jnp.zeros(prototypes) for kind in ('class', 'patch')}
        return params, memory | ({'earlier': taught(params)['encoder']} if gram else {})

    def loss(key, state, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        B, m = len(batch['x']), state.memory
        wide = augment.views(global_view, k1, batch['x'], 2)
        net, teacher = nets(state.params, train=True), nets(m['teacher'], train=True)
        hidden = hide(k3, wide)
        h, s, s_patch = forward(net, wide, hidden)
        _, t, t_patch = forward(teacher, wide)
        s, t = (logits.reshape(B, 2, -1) for logits in (s, t))
        if local_views:
            near = augment.views(local_view, k2, batch['x'], local_views)
            s = jnp.concatenate([s, forward(net, near)[1].reshape(B, -1, prototypes)], 1)
        tau = distillation.dino_temperature(state.step, first=cool, last=warm, rise=rise)
        if centering == 'moving':
            center, move = m['center'], partial(distillation.dino_center, momentum=center_momentum)
            m = m | {'center': jax.tree.map(move, center, {'class': t, 'patch': t_patch})}
        else:
            level = partial(distillation.sinkhorn_center, temperature=tau)
            center = {'class': level(t), 'patch': level(t_patch, where=hidden)}
        sharp = dict(student_temperature=student_temperature, teacher_temperature=tau)
        of_class = distillation.dino(s, t, center=center['class'], **sharp).mean()
        of_patch = latents.ibot(s_patch, t_patch, hidden, center=center['patch'], **sharp).mean()
        value = weights[0] * of_class + weights[1] * of_patch
        logs = {'class': of_class, 'patch': of_patch}
        if koleo:  # of each view by itself
            logs['koleo'] = sum(redundancy.koleo(h[v::2, 0]).mean() for v in (0, 1))
            value += koleo * logs['koleo']
        if gram:
            earlier = nets({'encoder': m['earlier']}).encoder(wide, method='tokens')
            logs['gram'] = latents.gram_anchoring(h[:, 1:], earlier[:, 1:]).mean()
            value += gram * (state.step >= gram_every) * logs['gram']
        return value, m, logs

    def after(key, state, batch):
        teacher = ema(state.memory['teacher'], taught(state.params), 1 - apart(state.step))
        if gram:
            keep = jnp.where((state.step + 1) % gram_every == 0, 0, 1)
            state = state.remember(earlier=ema(state.memory['earlier'], teacher['encoder'], keep))
        return state.remember(teacher=teacher), {}

    def encode(key, state, batch):
        return nets(state.memory['teacher']).encoder(batch['x'])

    return Method(init, {'student': Turn(loss)}, after, readouts={'encode': encode})
