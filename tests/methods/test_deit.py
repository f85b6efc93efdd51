"""DeiT, restated from Touvron et al. 2020, arXiv:2012.12877, section 4: equations 2 and 3."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest
from jax.nn import log_softmax, softmax

HARD = {'model__hard': True}
SOFT = {'model__temperature': 3.0, 'model__weight': 0.7}
ONE = {'model__token': False}


def dense(params, h):
    (layer,) = params.values()
    return h @ layer['kernel'] + layer['bias']


def logits(seen, params, x):
    """Of the class token, and of the second token by a head of its own."""
    net = seen.nets('encoder')(params, train=True)
    if not seen.config['token']:
        return (dense(params['head'], net.encoder(x)),) * 2
    h = net.encoder(x, method='pair')
    return dense(params['head'], h[:, 0]), dense(params['second_head'], h[:, 1])


def taught(seen, x):
    """Logits of the teacher, which is done with learning: its statistics are those it came with."""
    teacher = seen.state.memory['teacher']
    nets = seen.nets('encoder', 'teacher')
    net = nets({'teacher': teacher['params']['encoder']}, {'teacher': teacher['stats']['encoder']})
    return dense(teacher['params']['head'], oracle.quick(net.teacher, x))


@pytest.mark.parametrize('changes', [{}, SOFT, HARD, ONE, HARD | ONE])
def test_the_loss(changes):
    seen = oracle.see('deit', **changes)
    c, y, (views,) = seen.config, np.asarray(seen.batch['label']), seen.views
    assert views.spec == c['view'] and views.out.shape == seen.batch['x'].shape
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    t, tau, weight, rows = taught(seen, views.out), c['temperature'], c['weight'], np.arange(16)
    assert len(set(t.argmax(1).tolist())) > 1

    def loss(params):
        s, d = logits(seen, params, views.out)
        named = -log_softmax(s)[rows, y]
        if c['hard']:  # equation 3
            value = named / 2 - log_softmax(d)[rows, t.argmax(1)] / 2
        else:  # equation 2
            log_p, log_q = log_softmax(t / tau), log_softmax(d / tau)
            of_teacher = (jnp.exp(log_p) * (log_p - log_q)).sum(1)  # KL
            value = (1 - weight) * named + weight * tau**2 * of_teacher
        return value.mean(), (s, d)

    (value, (s, d)), gradient = oracle.quick(
        jax.value_and_grad(loss, has_aux=True), seen.state.params
    )
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    assert not jobs.differing(seen.memory, seen.state.memory)
    right = {
        'accuracy': s.argmax(1) == y,
        'teacher_accuracy': t.argmax(1) == y,
        'agreement': d.argmax(1) == t.argmax(1),
    }
    oracle.close(seen.logs, {name: rows.mean() for name, rows in right.items()})


def test_a_decision_has_no_temperature_and_no_weight():
    """Section 4: 'this choice is parameter-free'."""
    plain, other = oracle.see('deit', **HARD), oracle.see('deit', **HARD, **SOFT)
    oracle.close(plain.value, other.value)

    def surer(state):
        teacher = state.memory['teacher']
        head = jax.tree.map(lambda leaf: 3 * leaf, teacher['params']['head'])
        params = teacher['params'] | {'head': head}
        return state.remember(teacher=teacher | {'params': params})

    oracle.close(plain.value, oracle.see('deit', state=surer, **HARD).value)
    soft = [float(oracle.see('deit', state=state).value) for state in (None, surer)]
    assert abs(soft[0] - soft[1]) > 1e-2


def test_the_teacher_is_given():
    seen = oracle.see('deit')
    needed = seen.job.method.needs
    leaves = [f'memory/{path}' for path in jobs.leaves(seen.state.memory)]
    assert leaves and all(path.startswith(tuple(needed)) for path in leaves)


@pytest.mark.parametrize('changes', [{}, ONE])
def test_readouts(changes):
    """Section 4: at test time, the softmax of the two classifiers is added."""
    seen = oracle.see('deit', **changes)
    x, ask = seen.batch['x'], seen.job.method.readouts

    def answers(state):
        found = {name: ask[name](jax.random.key(1), state, {'x': x}) for name in ask}
        method = 'pair' if seen.config['token'] else '__call__'
        h = seen.nets('encoder')(state.params).encoder(x, method=method)
        s, d = logits(seen, state.params, x)
        expected = {'classify': (softmax(s) + softmax(d)).argmax(1)}
        return found, expected | {'encode': h[:, 0] if seen.config['token'] else h}

    found, expected = oracle.quick(answers, seen.state)
    oracle.close(found, expected)
