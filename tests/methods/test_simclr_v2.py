"""SimCLR v2, restated from Chen et al. 2020, arXiv:2006.10029: fine-tuning from a layer of the
head (section 2, f_task) and equations 2 and 3. The value of equation 2 lacks the teacher's entropy,
which has no gradient."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

ALONE = {'model__weight': 1.0, 'model__temperature': 0.5}
CHANGES = [{}, ALONE, {'model__weight': 0.25, 'model__temperature': 1.0}]


def linear(params, h):
    return h @ params['Dense_0']['kernel'] + params['Dense_0']['bias']


def log_p(logits, tau=1.0):
    return logits / tau - jax.scipy.special.logsumexp(logits / tau, axis=1, keepdims=True)


def of_labels(logits, label):
    """The mean over rows with a label of -log P(y)."""
    known = np.flatnonzero(np.asarray(label) >= 0)
    return -log_p(logits)[known, np.asarray(label)[known]].mean()


def see(turn, step, **changes):
    seen = oracle.see('simclr_v2', turn, step=step, **changes)
    (views,), label = seen.views, np.asarray(seen.batch['label'])
    assert views.spec == seen.config['view'] and (views.x == seen.batch['x']).all()
    assert (label >= 0).any() and (label < 0).any()
    return seen, views.out, label


def test_the_teacher_learns_the_labels_from_inside_the_head():
    seen, x, label = see('teacher', 1)
    nets, stats = seen.nets('encoder', 'neck'), seen.state.memory['stats']

    def loss(params):
        net = nets(params, stats, train=True)
        value = of_labels(linear(params['head'], net.neck(net.encoder(x))), label)
        return value, (value, net.stats)

    params = {name: seen.state.params[name] for name in ('encoder', 'neck', 'head')}
    gradient, (value, new) = oracle.quick(jax.grad(loss, has_aux=True), params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)  # and of no other net
    oracle.close(seen.memory, {'stats': {**stats, **new}})
    assert not seen.logs


@pytest.mark.parametrize('changes', CHANGES)
def test_the_student_follows_a_teacher_that_stands_still(changes):
    """Equations 2 and 3; the teacher is asked with its stored statistics, about the same view."""
    seen, x, label = see('student', 3, **changes)
    tau, alpha = seen.config['temperature'], seen.config['weight']
    state, stats = seen.state, seen.state.memory['stats']
    net = seen.nets('encoder', 'neck')(state.params, stats)
    t = oracle.quick(lambda: linear(state.params['head'], net.neck(net.encoder(x))))
    p = np.exp(log_p(t, tau))
    entropy = -(p * np.log(p)).sum(1).mean()

    def loss(params):
        net = seen.nets('student')(params, stats, train=True)
        s = linear(params['last'], net.student(x))
        followed = -(p * log_p(s, tau)).sum(1).mean()
        value = (1 - alpha) * of_labels(s, label) + alpha * (followed - entropy)
        return value, (value, net.stats, s)

    params = {name: state.params[name] for name in ('student', 'last')}
    gradient, (value, new, s) = oracle.quick(jax.grad(loss, has_aux=True), params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {'stats': {**stats, **new}})
    oracle.close(seen.logs, {'agreement': (s.argmax(1) == t.argmax(1)).mean()})
    # the slope of a logit: of the labels where there is one, and of the teacher over tau
    rows = label >= 0
    slope = alpha / tau * (np.exp(log_p(s, tau)) - p).mean(0)
    right = np.eye(s.shape[1])[label[rows]]
    slope += (1 - alpha) * (np.exp(log_p(s))[rows] - right).mean(0)
    oracle.close(seen.gradient['last']['Dense_0']['bias'], slope)


def test_first_one_learns_and_then_the_other():
    """Section 2: the student begins when the teacher has ended, and moves nothing of it."""
    method = see('teacher', 1)[0].job.method
    acting = [[name for name, turn in method.turns.items() if turn.when(i)] for i in range(4)]
    assert acting == [['teacher'], ['teacher'], ['student'], ['student']]
    moves = [set(turn.moves) for turn in method.turns.values()]
    assert moves == [{'encoder', 'neck', 'head'}, {'student', 'last'}]


def test_a_teacher_that_does_not_learn_here_is_given():
    seen, _, _ = see('student', 3, model__taught=0)
    state, given = seen.state, seen.job.method.needs
    held = jobs.leaves({'params': state.params, 'memory': state.memory})
    its = {path for path in held for name in ('encoder', 'neck', 'head') if f'/{name}/' in path}
    assert {path for path in held if path.startswith(tuple(f'{p}/' for p in given))} == its
    assert any(path.startswith('memory/stats/neck/') for path in its)
    assert see('teacher', 1)[0].job.method.needs == ()


def test_what_is_asked_afterwards_is_the_student():
    seen, _, _ = see('student', 3)
    asked = seen.job.method.readouts

    def answers(state):
        net = seen.nets('student')(state.params, state.memory['stats'])
        h = net.student(seen.batch['x'])
        found = [
            asked[name](jax.random.key(1), state, seen.batch) for name in ('encode', 'classify')
        ]
        return found, h, linear(state.params['last'], h).argmax(1)

    (features, classes), h, expected = oracle.quick(answers, seen.state)
    oracle.close(features, h)
    np.testing.assert_array_equal(classes, expected)


def test_a_run_that_is_all_taught_is_its_teacher():
    seen = oracle.see('simclr_v2', 'teacher', model__taught=4, optim__student__warmup=0)
    asked = seen.job.method.readouts

    def answers(state):
        net = seen.nets('encoder', 'neck')(state.params, state.memory['stats'])
        h = net.encoder(seen.batch['x'])
        found = [
            asked[name](jax.random.key(1), state, seen.batch) for name in ('encode', 'classify')
        ]
        return found, h, linear(state.params['head'], net.neck(h)).argmax(1)

    (features, classes), h, expected = oracle.quick(answers, seen.state)
    oracle.close(features, h)
    np.testing.assert_array_equal(classes, expected)
    assert jnp.isfinite(features).all()
