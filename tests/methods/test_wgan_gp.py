"""WGAN-GP, restated from Gulrajani et al. 2017, arXiv:1704.00028: equation 3 and algorithm 1."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import oracle

SHARES = (np.arange(16, dtype=np.float32) / 16 + 1 / 32).reshape(16, 1, 1, 1)  # one per image
CODES = np.random.default_rng(1).normal(size=(16, 8)).astype(np.float32)
LINEAR = "{'name': 'mlp', 'dims': (1,), 'flatten': True}"


def shares(key, shape=(), dtype=None, minval=0.0, maxval=1.0):
    """In place of jax.random.uniform: the critic is asked between images inside a gradient, where
    the harness records nothing."""
    assert (minval, maxval) == (0, 1) and np.prod(shape) == 16
    return jnp.asarray(SHARES).reshape(shape)


def codes(key, shape=(), dtype=None):
    """In place of jax.random.normal."""
    assert shape == CODES.shape
    return jnp.asarray(CODES)


@functools.cache
def see(**changes):
    with mock.patch.object(jax.random, 'uniform', shares):
        return oracle.see.__wrapped__('wgan_gp', 'critic', **changes)


def test_the_critics_loss():
    """Lines 4 to 8 of algorithm 1."""
    seen = see(model__penalty=3)
    real, (z, *_), fake = seen.batch['x'], seen.calls[0].args, seen.calls[0].out
    nets, stats = seen.nets('generator', 'critic'), seen.state.memory['stats']
    shares = SHARES
    between = shares * real + (1 - shares) * fake

    def loss(params):
        critic = nets(params, stats, train=True).critic
        slopes = jax.grad(lambda x: critic(x).sum())(between)  # [B, H, W, C]
        penalty = ((jnp.sqrt((slopes**2).sum((1, 2, 3))) - 1) ** 2).mean()  # section 4
        distance = critic(real).mean() - critic(fake).mean()
        images = nets(params, stats, train=True).generator(z)
        return -distance + 3 * penalty, (distance, penalty, images)

    gradient, (distance, penalty, images) = oracle.quick(
        jax.grad(loss, has_aux=True), seen.state.params
    )
    oracle.close(fake, images)
    oracle.close(seen.value, -distance + 3 * penalty)
    oracle.close(seen.logs, {'distance': distance, 'penalty': penalty})
    oracle.close(seen.gradient, {'critic': gradient['critic']})
    oracle.close(seen.memory, seen.state.memory)  # statistics are written in the other turn


def test_the_generators_loss():
    """Lines 11 and 12 of algorithm 1."""
    seen = oracle.see('wgan_gp', 'generator')
    (z, *_), nets = seen.calls[0].args, seen.nets('generator', 'critic')

    def loss(params):
        net = nets(params, seen.state.memory['stats'], train=True)
        value = -net.critic(net.generator(z)).mean()
        return value, (value, net.stats)

    gradient, (value, stats) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, {'generator': gradient['generator']})
    oracle.close(seen.memory, {'stats': stats})


def test_codes_are_standard_normal():
    for turn in ('critic', 'generator'):
        ((z,), *_) = (c.args for c in oracle.see('wgan_gp', turn).calls if c.net == 'generator')
        assert z.shape == (16, 8)
        assert abs(z.mean()) < 0.2 and abs(z.std() - 1) < 0.15 and np.abs(z).max() > 2


def test_the_generator_moves_after_so_many_moves_of_the_critic():
    turns = see(model__penalty=3).job.method.turns
    assert [bool(turns['critic'].when(i)) for i in range(6)] == [True] * 6
    assert [bool(turns['generator'].when(i)) for i in range(6)] == 3 * [False, True]  # critics=2
    assert not any(turn.holds for turn in turns.values())


def test_the_penalty_of_a_linear_critic():
    """D(x) = w x has the slope |w| everywhere. The penalty is two-sided (section 4): zero at 1."""

    def half(state):
        kernel = state.params['critic']['Dense_0']['kernel']
        dense = {'kernel': kernel / (2 * jnp.linalg.norm(kernel)), 'bias': jnp.zeros(1)}
        return state.replace(params=state.params | {'critic': {'Dense_0': dense}})

    seen = see(model__critic=LINEAR, state=half)
    w = seen.state.params['critic']['Dense_0']['kernel'][:, 0]
    assert seen.config['penalty'] == 10
    real, fake = np.reshape(seen.batch['x'], (16, -1)), seen.calls[0].out.reshape(16, -1)
    np.testing.assert_allclose(seen.logs['penalty'], 0.25, rtol=1e-5)
    np.testing.assert_allclose(seen.logs['distance'], ((real - fake) @ w).mean(), atol=1e-5)
    np.testing.assert_allclose(seen.value, 2.5 - seen.logs['distance'], rtol=1e-5)


def test_a_sample_is_an_image_of_a_standard_normal_code():
    seen = oracle.see('wgan_gp', 'generator')
    net = seen.nets('generator')(seen.state.params, seen.state.memory['stats'], train=False)
    with mock.patch.object(jax.random, 'normal', codes):
        sample = oracle.quick(
            seen.job.method.readouts['sample'], jax.random.key(1), seen.state, seen.batch
        )
    oracle.close(sample, oracle.quick(net.generator, CODES))
