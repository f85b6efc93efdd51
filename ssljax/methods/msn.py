"""MSN: views without some of their patches find the prototypes of the whole view.

Assran et al. 2022, arXiv:2204.07141.

Patches that are masked are left out, so they cost nothing. The targets of a batch also use all
prototypes equally, as in the authors' runs; rounds=0 is the paper's equation alone. Each image
hides patches of its own, and the momentum is 1 at the last step: the authors' code draws one set of
patches for a batch, and its schedules are 1.25 times as long as the run.
"""

import jax
import jax.numpy as jnp
import optax

from ssljax import augment
from ssljax.augment import mask
from ssljax.kinds import Count, Natural, NetSpec, NonNegative, Part, Positive, Share, ViewSpec
from ssljax.losses import distillation
from ssljax.memory import ema
from ssljax.method import Compares, Method, Turn
from ssljax.names import Mistake
from ssljax.nets import Nets


def msn(
    run: Compares,
    *,
    patch: Count = 16,
    encoder: NetSpec = dict(name='vit_small'),
    projector: NetSpec = dict(name='mlp', dims=(2048, 2048, 256), norm='batch', activation='gelu'),
    prototypes: Count = 1024,
    view: ViewSpec = dict(name='simclr', size=224, scale=(0.3, 1.0), blur=0.5),
    focal_view: ViewSpec = dict(name='simclr', size=96, scale=(0.05, 0.3), blur=0.5),
    masked_views: Count = 1,  # anchors of the whole size, masked at random
    focal_views: Natural = 10,  # anchors that are a small block: all around it is masked
    ratio: Part = 0.15,  # of the patches of a masked view
    temperature: Positive = 0.1,
    target_temperature: Positive = 0.025,
    rounds: Natural = 3,  # of Sinkhorn, on the targets; 0: none
    weight: NonNegative = 1.0,  # lambda, of the entropy of the mean prediction
    momentum: Share = 0.996,  # of the teacher; rises to 1 along a line
) -> Method:
    last = dict(name='prototypes', count=prototypes)
    nets = Nets(encoder=encoder, projector=projector, last=last, patch=patch, dtype=run.dtype)
    view, focal_view = augment.make(view), augment.make(focal_view)
    apart = optax.linear_schedule(1 - momentum, 0, run.steps)  # 1 - momentum, falls to 0

    def hide(key, x):
        """The patches kept [B, K] of images [B, H, W, C]."""
        T = (x.shape[1] // patch) * (x.shape[2] // patch)
        hidden = mask.count(T, ratio=ratio)
        if not 0 < hidden < T:
            raise Mistake(f'msn: ratio={ratio} hides {hidden} of {T} patches; type some, not all')

        def kept(key):
            return mask.split(mask.random(key, T, ratio=ratio), hidden)[0]

        return jax.vmap(kept)(jax.random.split(key, len(x)))

    def project(net, *seen):  # an image, and which patches -> z [B, D]
        return net.projector(net.encoder(*seen))

    def forward(net, *seen):  # -> cosines with the prototypes [B, K]
        return net.last(project(net, *seen))

    def taught(params):
        """Those of the nets that the teacher has, too; the prototypes are of both."""
        return {name: part for name, part in params.items() if name != 'last'}

    def init(key, batch):
        k1, k2, k3 = jax.random.split(key, 3)
        x = augment.views(view, k1, batch['x'], 1)
        params, stats, _ = nets.init(k2, forward, x, hide(k3, x))
        teacher = {'params': taught(params), 'stats': stats}
        return params, {'stats': stats, 'teacher': teacher}

    def loss(key, state, batch):
        k1, k2, k3, k4 = jax.random.split(key, 4)
        B, x, m = len(batch['x']), batch['x'], state.memory
        net = nets(state.params, m['stats'], train=True)
        teacher = nets(**m['teacher'], train=True)
        target = augment.views(view, k1, x, 1)
        wide = augment.views(view, k2, x, masked_views)
        seen = [(wide, hide(k3, wide))]
        if focal_views:
            seen.append((augment.views(focal_view, k4, x, focal_views),))
        # cosines with the prototypes: anchors [B, views, K], targets [B, K]
        anchors = [forward(net, *one).reshape(B, -1, prototypes) for one in seen]
        anchors, targets = jnp.concatenate(anchors, 1), net.last(project(teacher, target))
        if rounds:
            sharp = target_temperature * jax.nn.log_softmax(targets / target_temperature)
            targets -= distillation.sinkhorn_center(
                sharp, temperature=target_temperature, rounds=rounds
            )
        value = distillation.msn(
            anchors, targets, temperature=temperature, target_temperature=target_temperature,
            weight=weight,
        )  # fmt: skip
        p = jax.nn.softmax(anchors / temperature).mean((0, 1))
        used = jnp.exp(-(p * jnp.log(p + 1e-9)).sum())  # prototypes: 1 is collapse
        memory = {'stats': net.stats, 'teacher': m['teacher'] | {'stats': teacher.stats}}
        return value.mean(), memory, {'used': used}

    def after(key, state, batch):
        teacher = state.memory['teacher']
        params = ema(teacher['params'], taught(state.params), 1 - apart(state.step))
        return state.remember(teacher=teacher | {'params': params}), {}

    def encode(key, state, batch):
        return nets(**state.memory['teacher']).encoder(batch['x'])

    def assign(key, state, batch):  # the prototype of the teacher's projection [B]
        z = project(nets(**state.memory['teacher']), batch['x'])
        return nets(state.params).last(z).argmax(1)

    readouts = {'encode': encode, 'assign': assign}
    return Method(init, {'net': Turn(loss)}, after, readouts=readouts)
