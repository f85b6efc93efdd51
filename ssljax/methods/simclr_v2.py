"""SimCLR v2: a pretrained net learns a few labels from inside its head, then teaches a student.

Chen et al. 2020, arXiv:2006.10029.

Three runs: SimCLR with a deep projector; one whose steps are all `taught`, on the rows with labels,
with 'params/encoder' and 'params/neck' grafted from the first run's encoder and projector (and
'memory/stats/...' likewise); one with taught=0 on all rows, the teacher's nets grafted from the
second. Without the first, a net from scratch is taught.
The paper's first run can also have MoCo's memory; ours has none. Its equation 3 adds up terms of
the rows with labels and of all rows; here both are means, so that alpha is not the same but at 1.
"""

import jax
import jax.numpy as jnp

from ssljax import augment
from ssljax.kinds import Natural, NetSpec, Positive, Share, ViewSpec
from ssljax.losses import distillation, semi
from ssljax.method import Method, Run, Turn, between
from ssljax.names import Mistake
from ssljax.nets import Nets

TEACHER, STUDENT = ('encoder', 'neck', 'head'), ('student', 'last')


def simclr_v2(
    run: Run,
    *,
    encoder: NetSpec = dict(name='resnet50'),
    neck: NetSpec = dict(  # the projector's first layer, which stays
        name='mlp', dims=(2048,), norm='batch', last_norm=True, last_activation=True
    ),
    student: NetSpec = dict(name='resnet50'),
    view: ViewSpec = dict(name='crop', size=224, scale=(0.08, 1.0)),
    taught: Natural = 0,  # first steps, in which the teacher learns the labels
    temperature: Positive = 0.1,  # tau; the paper has 1.0 where the student is the smaller net
    weight: Share = 1.0,  # alpha, of the teacher; the rest is that of the labels
) -> Method:
    if not run.classes:
        raise Mistake('simclr_v2 needs some labels, and this data has none; type few_labels')
    linear = dict(name='mlp', dims=(run.classes,), kernel_init=0.01)
    nets = Nets(
        encoder=encoder, neck=neck, head=linear, student=student, last=linear, dtype=run.dtype
    )
    view = augment.make(view)

    def teach(net, x):  # f_task of section 2 -> logits [B, classes]
        return net.head(net.neck(net.encoder(x)))

    def learn(net, x):
        return net.last(net.student(x))

    def init(key, batch):
        k1, k2 = jax.random.split(key)
        x = augment.views(view, k2, batch['x'], 1)
        params, stats, _ = nets.init(k1, lambda net, x: (teach(net, x), learn(net, x)), x)
        return params, {'stats': stats}

    def supervised(logits, label):  # the mean over rows with a label
        known = label >= 0
        value = jnp.where(known, semi.cross_entropy(logits, jnp.maximum(label, 0)), 0)
        return value.sum() / jnp.maximum(known.sum(), 1)

    def tune(key, state, batch):
        net = nets(state.params, state.memory['stats'], train=True)
        logits = teach(net, augment.views(view, key, batch['x'], 1))
        return supervised(logits, batch['label']), {'stats': net.stats}, {}

    def distill(key, state, batch):
        x = augment.views(view, key, batch['x'], 1)
        net = nets(state.params, state.memory['stats'], train=True)
        t, s = teach(nets(state.params, state.memory['stats']), x), learn(net, x)
        # eq. 2: its cross entropy is more by the entropy of the teacher, which has no gradient
        soft = distillation.knowledge_distillation(s, t, temperature=temperature)
        soft = soft.mean() / temperature**2
        value = (1 - weight) * supervised(s, batch['label']) + weight * soft  # eq. 3
        return value, {'stats': net.stats}, {'agreement': (s.argmax(1) == t.argmax(1)).mean()}

    # what the run is for: the student, or a teacher that is all that learns
    whole, first = (learn, 'student') if taught < run.steps else (teach, 'encoder')

    def encode(key, state, batch):
        return getattr(nets(state.params, state.memory['stats']), first)(batch['x'])

    def classify(key, state, batch):  # -> [B]
        return whole(nets(state.params, state.memory['stats']), batch['x']).argmax(1)

    turns = {
        'teacher': Turn(tune, moves=TEACHER, when=between(0, taught)),
        'student': Turn(distill, moves=STUDENT, when=between(taught, run.steps)),
    }
    parts = () if taught else ('params', 'memory/stats')  # of a teacher that does not learn here
    needs = tuple(f'{part}/{name}' for part in parts for name in TEACHER)
    readouts = {'encode': encode, 'classify': classify}
    return Method(init, turns, readouts=readouts, needs=needs)
