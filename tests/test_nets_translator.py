"""CycleGAN's nets: their published sizes, what a patch sees, norms by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import variables

from ssljax.names import Mistake
from ssljax.nets import make
from ssljax.nets.layers import normalize

KEY = jax.random.key(0)


def shapes(spec, *shape):
    module = make(spec)
    params = jax.eval_shape(module.init, KEY, jnp.zeros(shape))['params']
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_sizes_are_the_papers():
    """By its table of layers, without biases before norms; gains and biases of instance norms."""
    width, deep = 64, 256
    wide = 49 * 3 * width + 9 * width * 128 + 9 * 128 * deep  # c7s1-64, d128, d256
    blocks = 9 * 2 * 9 * deep**2  # R256, nine times
    up = 16 * deep * 128 + 16 * 128 * width + 49 * width * 3 + 3  # u128, u64 of 4x4, c7s1-3
    gains = 2 * (64 + 128 + 256 + 18 * 256 + 128 + 64)
    assert shapes(dict(name='translator'), 1, 64, 64, 3) == wide + blocks + up + gains
    critic = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 1  # C64 to C512, values
    critic += 2 * (128 + 256 + 512)
    assert shapes(dict(name='patch_critic'), 1, 70, 70, 3) == critic


@pytest.mark.parametrize('depth, seen', [(0, 7), (1, 16), (2, 34), (3, 70)])
def test_a_verdict_sees_its_patch_and_nothing_else(depth, seen):
    net = make(dict(name='patch_critic', width=2, depth=depth, norm=None, kernel_init=0.3))
    x = np.random.default_rng(0).normal(size=(1, 160, 160, 1)).astype('f')
    params = variables(net, x)
    middle = 80 // 2**depth
    slope = jax.jit(jax.grad(lambda x: net.apply(params, x)[0, middle, middle]))(x)[0, ..., 0]
    for axis in (0, 1):
        touched = np.flatnonzero(np.abs(slope).max(axis))
        assert len(touched) <= seen and touched[-1] - touched[0] + 1 == seen


@pytest.mark.parametrize('halvings', [0, 1, 2])
def test_a_translator_takes_any_size_and_stays_within_its_range(halvings):
    net = make(dict(name='translator', width=3, blocks=1, halvings=halvings, channels=2))
    x = np.random.default_rng(0).uniform(-1, 1, (2, 9, 14, 1)).astype('f')
    params, apply = variables(net, x, scale=0.05), jax.jit(net.apply)
    for part in (x, x[:, :8, :12]):
        y = apply(params, part)
        assert y.shape == (*part.shape[:3], 2) and np.abs(y).max() < 1


def test_with_a_skip_a_net_that_says_nothing_changes_nothing():
    options = dict(name='translator', width=2, blocks=1, halvings=1, channels=1)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 1)).astype('f')
    for skip in (False, True):
        net = make(dict(options, skip=skip, kernel_init='zeros'))
        y, _ = jax.jit(net.init_with_output)(KEY, x)
        np.testing.assert_allclose(y, np.tanh(x) if skip else 0 * x, atol=1e-6)


def test_an_instance_norm_is_of_each_image_and_channel():
    import flax.linen as nn

    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return normalize(x, 'instance', train=True, dtype=None)

    x = np.random.default_rng(0).normal(2, 3, (3, 5, 4, 6)).astype(np.float32)
    y, params = jax.jit(Norm().init_with_output)(KEY, x)
    mean, deviation = x.mean((1, 2), keepdims=True), np.sqrt(x.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, (x - mean) / deviation, atol=1e-5)
    assert {leaf.shape for leaf in jax.tree.leaves(params)} == {(6,)}
    with pytest.raises(Mistake, match='offered: None, batch, instance'):
        make(dict(name='patch_critic', norm='group'))
