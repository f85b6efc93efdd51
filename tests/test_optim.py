"""Schedules and optimizers against plain statements of their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax import optim
from ssljax.method import Method, Refresh, Turn, every
from ssljax.names import Mistake

PARAMS = {
    'encoder': {'kernel': jnp.array([[1.0, -2.0], [0.5, 3.0]]), 'bias': jnp.array([1.0, -1.0])},
    'head': {'kernel': jnp.array([[2.0], [1.0]])},
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.2, PARAMS)


def moved(spec, steps=1, horizon=100):
    optimizer, _ = optim.make({'shape': 'constant', **spec}, horizon)
    params, opt = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, opt = optimizer.update(GRADS, opt, params)
        params = optax.apply_updates(params, updates)
    return params


def check(params, expected, rtol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5), params, expected
    )


def test_warm_up_and_cosine():
    rate = optim.schedule(110, learning_rate=2.0, warmup=10, end=0.1)
    np.testing.assert_allclose([rate(i) for i in range(10)], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
    for i in (10, 35, 60, 110):
        cosine = 0.5 * (1 + np.cos(np.pi * (i - 10) / 100))
        np.testing.assert_allclose(rate(i), 2.0 * (0.9 * cosine + 0.1), rtol=1e-5)
    linear = optim.schedule(10, learning_rate=1.0, shape='linear')
    np.testing.assert_allclose([linear(0), linear(5), linear(10)], [1, 0.5, 0], atol=1e-6)


def test_sgd_decays_within_the_gradient_and_only_kernels():
    def step(p, g, v):
        v = 0.9 * v + g + (0.01 * p if p.ndim > 1 else 0)
        return p - 0.5 * v, v

    expected, v = PARAMS, jax.tree.map(jnp.zeros_like, PARAMS)
    for _ in range(3):
        both = jax.tree.map(step, expected, GRADS, v)
        pick = lambda i, both=both: jax.tree.map(  # noqa: E731
            lambda t: t[i], both, is_leaf=lambda t: isinstance(t, tuple)
        )
        expected, v = pick(0), pick(1)
    check(moved(dict(name='sgd', learning_rate=0.5, weight_decay=0.01), 3), expected)


def test_adamw_decays_beside_the_gradient():
    def step(p, g):  # the first step of Adam is the sign of the gradient
        return p - 0.5 * (g / (abs(g) + 1e-8) + (0.01 * p if p.ndim > 1 else 0))

    found = moved(dict(name='adamw', learning_rate=0.5, weight_decay=0.01))
    check(found, jax.tree.map(step, PARAMS, GRADS))


def test_lars_gives_each_kernel_its_own_rate():
    def step(p, g):
        if p.ndim == 1:
            return p - 0.5 * g
        g = g + 0.01 * p
        return p - 0.5 * 0.001 * jnp.linalg.norm(p) / jnp.linalg.norm(g) * g

    found = moved(dict(name='lars', learning_rate=0.5, weight_decay=0.01))
    check(found, jax.tree.map(step, PARAMS, GRADS))


def test_muon_moves_a_matrix_along_an_orthogonal_one():
    found = moved(dict(name='muon', learning_rate=0.1))
    singular = np.linalg.svd(np.asarray(PARAMS['encoder']['kernel'] - found['encoder']['kernel']))[
        1
    ]
    assert (singular > 0.05).all() and (singular < 0.13).all()  # 0.1, as well as five rounds get


def test_clipping_is_of_the_whole_turn():
    found = moved(dict(name='sgd', learning_rate=1.0, momentum=0.0, clip=0.01))
    step = optax.tree.norm(jax.tree.map(lambda a, b: a - b, PARAMS, found))
    np.testing.assert_allclose(step, 0.01, rtol=1e-4)


def test_groups_have_their_own_optimizer():
    head = dict(match='^head/', name='sgd', learning_rate=0.5, momentum=0.0)
    spec = dict(name='adamw', learning_rate=0.5, weight_decay=0.01)
    found, plain = moved({**spec, 'groups': dict(head=head)}), moved(spec)
    check(found['encoder'], plain['encoder'])
    check(found['head'], jax.tree.map(lambda p, g: p - 0.5 * g, PARAMS['head'], GRADS['head']))


def test_groups_follow_the_turns_schedule():
    spec = dict(name='sgd', learning_rate=1.0, momentum=0.0, warmup=10)
    group = dict(match='head', name='sgd', learning_rate=1.0, momentum=0.0)
    found = moved({**spec, 'groups': dict(head=group)})
    check(found, jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, GRADS))


@pytest.mark.parametrize(
    'spec, pattern',
    [
        (dict(name='adamm', learning_rate=1.0), 'adamm.*did you mean adam'),
        (dict(name='adam', learning_rate=1.0, weight_decay=1.0), "no option 'weight_decay'"),
        (dict(name='sgd'), 'needs a learning_rate'),
        (dict(learning_rate=1.0), 'has no name'),
        (dict(name='sgd', learning_rate=1.0, warmup=200), 'warmup=200'),
        (dict(name='sgd', learning_rate=1.0, shape='cosin'), 'did you mean cosine'),
        (dict(name='sgd', learning_rate=1.0, groups=dict(a=dict(name='sgd'))), 'match=REGEX'),
    ],
)
def test_mistakes(spec, pattern):
    with pytest.raises(Mistake, match=pattern):
        optim.make(spec, 100)


def test_a_turns_horizon_is_its_own_acting_steps():
    turns = {'critic': Turn(None), 'generator': Turn(None, when=every(5, 4))}
    spec = dict(name='sgd', learning_rate=1.0, shape='linear')
    method = Method(None, turns)
    _, rates = optim.make_all({'critic': spec, 'generator': spec}, method, 20)
    np.testing.assert_allclose(rates['critic'](10), 0.5)
    # it acts at 4, 9, 14, 19: four acting steps, of which two lie before step 14
    np.testing.assert_allclose(
        [rates['generator'](i) for i in (4, 9, 14, 19)], [1, 0.75, 0.5, 0.25]
    )


def test_a_restart_begins_the_schedule_again():
    refresh = Refresh(None, every(10), restarts=('net',))
    method = Method(None, {'net': Turn(None)}, refresh=refresh)
    _, rates = optim.make_all(
        {'net': dict(name='sgd', learning_rate=1.0, shape='linear')}, method, 30
    )
    for i in (0, 10, 20):
        np.testing.assert_allclose([rates['net'](i), rates['net'](i + 5)], [1, 0.5])
