"""BYOL, restated from Grill et al. 2020, arXiv:2006.07733, section 3.1.

The paper does not say which batch statistics the target network uses. Here they are those of its
own batch, as in the authors' code.
"""

from functools import partial

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

# no predictor; two equal specs, so that only other draws make the views differ; epochs of 4 steps
NONE = {
    'model__predictor': None, 'model__other_view__blur': 1.0, 'model__other_view__solarize': 0.0,
    'model__momentum': 0.6, 'steps': 6,
}  # fmt: skip


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def distance(q, z):
    """Equation 2: the mean over rows of |unit(q) - unit(z)|^2."""
    return ((unit(q) - unit(z)) ** 2).sum(1).mean()


def rank(z):
    """(sum e)^2 / sum e^2 of the eigenvalues e of the covariance of unit rows [B, D]."""
    e = np.linalg.eigvalsh(np.cov(np.asarray(unit(z)).T))
    return e.sum() ** 2 / np.square(e).sum()


@pytest.mark.parametrize('changes', [{}, NONE])
def test_the_loss(changes):
    seen = oracle.see('byol', **changes)
    specs = [seen.config['view'], seen.config['other_view']]
    assert [views.spec for views in seen.views] == specs
    for views in seen.views:  # t and t'
        np.testing.assert_array_equal(views.x, seen.batch['x'])
        assert views.out.shape == (16, 16, 16, 1)
    v, w = (views.out for views in seen.views)
    assert (np.abs(v - w).max((1, 2, 3)) > 0.1).all()
    predictor = ['predictor'] if seen.config['predictor'] else []
    nets, teacher = seen.nets('encoder', 'projector', *predictor), seen.state.memory['teacher']

    def loss(params):
        net = nets(params, seen.state.memory['stats'], train=True)
        target = nets(teacher, seen.state.memory['stats'], train=True)
        z = [net.projector(net.encoder(view)) for view in (v, w)]
        q = [net.predictor(row) for row in z] if predictor else z
        of_v, of_w = (target.projector(target.encoder(view)) for view in (v, w))
        value = distance(q[0], of_w) + distance(q[1], of_v)  # symmetric, below equation 2
        return value, (value, net.stats, z[0])

    gradient, (value, new, z) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.memory, {'stats': new, 'teacher': teacher})
    oracle.close(seen.gradient, gradient)
    spread = np.sqrt(z.shape[1]) * np.asarray(unit(z)).std(0).mean()
    oracle.close(seen.logs, {'rank': rank(z), 'spread': spread}, 1e-3)


@pytest.mark.parametrize('changes', [{}, NONE])
def test_the_target_follows(changes):
    """Equation 1; momentum 1 - (1 - base) (cos(pi k / K) + 1) / 2."""
    seen = oracle.see('byol', **changes)
    base, K = seen.config['momentum'], seen.job.config['steps']
    teacher = seen.memory['teacher']
    online, stats = seen.state.params, seen.memory['stats']
    for k in (0, 1, 3, 5)[: K - 2]:
        m = 1 - (1 - base) * (np.cos(np.pi * k / K) + 1) / 2
        state, logs = oracle.after(seen, step=np.int32(k))
        average = partial(jax.tree.map, lambda a, b, m=m: m * a + (1 - m) * b)
        follow = {name: average(old, online[name]) for name, old in teacher.items()}
        oracle.close(state.memory, {'stats': stats, 'teacher': follow})
        assert not jobs.differing(state.params, seen.state.params) and not logs


def test_at_the_start_the_target_is_the_online_network():
    seen = oracle.see('byol')
    state = seen.job.fresh()
    teacher = state.memory['teacher']
    assert set(teacher) == {'encoder', 'projector'}  # no predictor
    assert not jobs.differing(teacher, {name: state.params[name] for name in teacher})
    (turn,) = seen.job.method.turns.values()
    assert all(turn.when(k) for k in range(4)) and not turn.holds


def test_features_are_those_of_the_online_encoder():
    """Section 3.1: 'at the end of training, we only keep the encoder'."""
    seen = oracle.see('byol')
    nets, x, stats = seen.nets('encoder'), seen.batch['x'], seen.state.memory['stats']

    def answers(state):
        encode = seen.job.method.readouts['encode']
        return encode(jax.random.key(1), state, {'x': x}), nets(state.params, stats).encoder(x)

    oracle.close(*oracle.quick(answers, seen.state))
