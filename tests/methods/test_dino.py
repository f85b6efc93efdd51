"""DINO, restated from Caron et al. 2021, arXiv:2104.14294, section 3."""

from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

from ssljax import augment, model
from ssljax.nets import Nets

# batch statistics in both nets, and no two keywords alike; a local view is drawn as a global one
# is, but for solarize, so that only other draws make them differ
OTHER = {
    'model__encoder': "{'name': 'conv', 'widths': (8, 16), 'pool': 'mean'}",
    'model__head__norm': 'batch', 'model__local_views': 3, 'model__local_view__size': 32,
    'model__local_view__scale': (0.4, 1.0), 'model__student_temperature': 0.2,
    'model__teacher_temperature': (0.04, 0.07), 'model__warmup': 0.75, 'model__frozen': 0.5,
    'model__momentum': 0.9, 'model__center_momentum': 0.7,
    'evals__attention': None,  # a convolutional net has none
}  # fmt: skip


def loss_of(center, step, *outputs):
    """Equation 3 as a mean of terms, as algorithm 1 has it, and the mean entropy of the teacher;
    outputs [16 n, K]: of teacher and student for n = 2 global views, of the student for 3 local."""
    teacher, student, local = (rows.reshape(16, -1, 32) for rows in outputs)
    tau = 0.04 + (0.07 - 0.04) * min(step / 3, 1)  # 'linear warm-up': 0.75 of an epoch of 4 steps
    p = jax.nn.softmax((teacher - center) / tau)  # equation 1
    q = jax.nn.softmax(jnp.concatenate([student, local], 1) / 0.2)
    pairs = [(i, j) for i in range(2) for j in range(5) if i != j]
    terms = [-(p[:, i] * jnp.log(q[:, j])).sum(-1).mean() for i, j in pairs]
    return sum(terms) / len(terms), -(p * jnp.log(jnp.maximum(p, 1e-30))).sum(-1).mean()


def test_the_loss():
    seen = oracle.see('dino', **OTHER)
    before, specs = seen.state.memory, [seen.config[f'{kind}_view'] for kind in ('global', 'local')]
    assert [views.spec for views in seen.views] == specs
    for views in seen.views:
        np.testing.assert_array_equal(views.x, seen.batch['x'])
    whole, local = (views.out for views in seen.views)  # [16 * 2, ...], [16 * 3, ...]
    views = np.concatenate([v.reshape(16, -1, 32 * 32) for v in (whole, local)], 1)  # [16, 5, D]
    assert (np.abs(views[:, :, None] - views[:, None]).max(-1) + np.eye(5) > 0.1).all()
    nets = seen.nets('encoder', 'head', last=dict(name='prototypes', count=32))

    def loss(params):
        student = nets(params, before['stats'], train=True)
        teacher = nets(**before['teacher'], train=True)
        passes = (teacher, whole), (student, whole), (student, local)  # a size is one batch
        outputs = [net.last(net.head(net.encoder(x))) for net, x in passes]
        value, entropy = loss_of(before['center'], 1, *outputs)
        center = 0.7 * before['center'] + 0.3 * outputs[0].mean(0)  # equation 4
        kept = before['teacher'] | {'stats': teacher.stats}
        memory = {'center': center, 'stats': student.stats, 'teacher': kept}
        return value, (value, memory, {'entropy': entropy})

    gradient, told = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close((seen.value, seen.memory, seen.logs), told)
    oracle.close(seen.gradient, gradient)


def test_without_small_crops_each_global_view_predicts_the_other():
    temperatures = {'student_temperature': 0.2, 'teacher_temperature': (0.05, 0.05)}
    asked = {f'model__{name}': value for name, value in temperatures.items()}
    seen = oracle.see('dino', model__local_views=0, **asked)
    nets = seen.nets('encoder', 'head', last=dict(name='prototypes', count=32))
    net, teacher = nets(seen.state.params), nets(**seen.state.memory['teacher'])
    s, t = (n.last(n.head(n.encoder(seen.views[0].out))).reshape(16, 2, 32) for n in (net, teacher))
    p, q = jax.nn.softmax((t - seen.state.memory['center']) / 0.05), jax.nn.softmax(s / 0.2)
    oracle.close(seen.value, -(p * jnp.log(q[:, ::-1])).sum(-1).mean())


def test_what_moves_with_the_step():
    """The temperature of the teacher, and 'freezing the last layer during the first epoch'."""
    seen = oracle.see('dino', **OTHER)
    (turn,), key = seen.job.method.turns.values(), seen.job.key(model.STEP)
    outputs = [call.out for call in seen.calls if call.net == 'last']
    drawn = {2: seen.views[0].out, 3: seen.views[1].out}

    def at(step):
        with mock.patch.object(augment, 'views', lambda view, key, x, n: drawn[n]):
            value, _, logs = turn.loss(key, seen.state.replace(step=step), seen.batch)
        return value, logs['entropy']

    expected = [loss_of(seen.state.memory['center'], k, *outputs) for k in range(5)]
    oracle.close(oracle.quick(jax.vmap(at), np.arange(5)), tuple(np.transpose(expected)))
    assert [bool(turn.holds['last'](k)) for k in range(4)] == [True, True, False, False]
    assert set(turn.holds) == {'last'} and all(turn.when(k) for k in range(4))


def test_the_teacher_follows():
    """Its weights, 'lambda following a cosine schedule from 0.996 to 1'; statistics are its own."""
    seen = oracle.see('dino', **OTHER)
    start = seen.job.fresh()  # the teacher is the student
    student = {'params': start.params, 'stats': start.memory['stats']}
    assert not jobs.differing(start.memory['teacher'], student)
    assert start.memory['center'].shape == (32,) and not start.memory['center'].any()
    old, new = seen.memory['teacher'], seen.state.params
    for k in range(4):
        m = 1 - (1 - 0.9) * (np.cos(np.pi * k / 4) + 1) / 2
        state, logs = oracle.after(seen, step=np.int32(k))
        follow = jax.tree.map(lambda a, b, m=m: m * a + (1 - m) * b, old['params'], new)
        oracle.close(state.memory, seen.memory | {'teacher': old | {'params': follow}})
        assert not jobs.differing(state.params, new) and not logs


@pytest.mark.parametrize('name, method', [('encode', '__call__'), ('attend', 'attention')])
def test_readouts_are_of_the_teacher(name, method):
    """Its features are better, section 5.1; figure 1 shows its attention, which a vit has."""
    job = jobs.job('dino') if name == 'attend' else oracle.see('dino', **OTHER).job
    nets, state = Nets(encoder=job.config['model']['encoder']), oracle.moved(job, 1)
    x = oracle.see('dino', **OTHER).batch['x']

    def answers(state):
        found = job.method.readouts[name](jax.random.key(1), state, {'x': x})
        return found, nets(**state.memory['teacher']).encoder(x, method=method)

    oracle.close(*oracle.quick(answers, state))
