"""Nets restated in NumPy from their params, and the choices that each offers."""

import functools
import itertools

import jax
import numpy as np
import pytest
from drawn import variables
from jax import lax

from ssljax import nets
from ssljax.nets.layers import activate
from ssljax.nets.transformer import Block

KEY = jax.random.key(0)
random = np.random.default_rng(0)
RELU = dict(relu=lambda x: np.maximum(x, 0), leaky_relu=lambda x: np.where(x > 0, x, 0.2 * x))


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


def made(x, **spec):
    """The answer of a net to (x, train=False, rngs=None), compiled whole, and its params."""
    module = nets.make(spec)
    drawn = variables(module, x, scale=0.5)
    apply = jax.jit(module.apply, static_argnames='train')
    return functools.partial(apply, drawn), drawn['params']


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-5 * np.abs(b).max())


def dense(params, x):
    return x @ params['kernel'] + params.get('bias', 0)


def conv(params, x, stride, padding='SAME'):
    pads = padding if isinstance(padding, str) else [(padding, padding)] * 2
    axes = ('NHWC', 'HWIO', 'NHWC')
    y = lax.conv_general_dilated(
        x, params['kernel'], (stride, stride), pads, dimension_numbers=axes
    )
    return np.asarray(y) + params.get('bias', 0)


def layer_norm(params, x, axes):
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    return y * params['scale'] + params['bias']


@pytest.mark.parametrize(
    'last_norm, last_activation', list(itertools.product([False, True], repeat=2))
)
def test_mlp(last_norm, last_activation):
    x = normal(5, 3, 4)
    options = dict(last_norm=last_norm, last_activation=last_activation, activation='leaky_relu')
    net, p = made(x, name='mlp', dims=(8, 6), norm='token', **options)
    h = RELU['leaky_relu'](layer_norm(p['LayerNorm_0'], dense(p['Dense_0'], x), -1))
    h = dense(p['Dense_1'], h)
    h = layer_norm(p['LayerNorm_1'], h, -1) if last_norm else h
    close(net(x), RELU['leaky_relu'](h) if last_activation else h)


def test_mlp_without_bias_and_with_dropout():
    x = normal(5, 3, 4)
    layers = made(x, name='mlp', dims=(8, 6), norm='batch')[1]
    assert 'bias' not in layers['Dense_0'] and 'bias' in layers['Dense_1']  # no norm follows it
    net, p = made(x, name='mlp', dims=(8, 6), bias=False, flatten=True, dropout=0.5)
    assert 'bias' not in p['Dense_0']
    h = RELU['relu'](dense(p['Dense_0'], x.reshape(5, 12)))
    close(net(x), dense(p['Dense_1'], h))
    two = [net(x, train=True, rngs={'dropout': key}) for key in jax.random.split(KEY)]
    assert np.abs(two[0] - two[1]).max() > 0.1


@pytest.mark.parametrize('standardize, pool', [(False, 'mean'), (True, 'flatten')])
def test_conv(standardize, pool):
    x = 2 + normal(3, 9, 9, 2) * np.float32([0.5, 1, 3])[:, None, None, None]
    options = dict(kernel=3, stride=2, norm='layer', standardize=standardize, pool=pool)
    net, p = made(x, name='conv', widths=(4, 5), **options)
    h, axes = x, (1, 2, 3)
    if standardize:  # each image for itself
        h = (x - x.mean(axes, keepdims=True)) / x.std(axes, keepdims=True)
    for i in range(2):
        h = RELU['relu'](layer_norm(p[f'LayerNorm_{i}'], conv(p[f'Conv_{i}'], h, 2), axes))
    close(net(x), h.mean((1, 2)) if pool == 'mean' else h.reshape(3, -1))


@pytest.mark.parametrize('bottleneck', [False, True])
def test_residual_blocks(bottleneck):
    """Stem, a block of the same shape or wider, and one of half the size; without norms."""
    x = normal(2, 8, 8, 3)
    net = nets.resnet.ResNet((1, 1), bottleneck, 'cifar', 4, None, False, 0, None)
    drawn = variables(net, x)
    weights = iter(sorted(drawn['params'].items(), key=lambda named: int(named[0].split('_')[1])))

    def block(x, stride):
        y = x
        steps = [(1, 0), (stride, 1), (1, 0)] if bottleneck else [(stride, 1), (1, 1)]
        for i, (by, padding) in enumerate(steps):
            y = conv(next(weights)[1], y, by, padding)
            y = y if i == len(steps) - 1 else RELU['relu'](y)
        beside = x if x.shape == y.shape else conv(next(weights)[1], x, stride, 0)
        return RELU['relu'](beside + y)

    h = RELU['relu'](conv(next(weights)[1], x, 1, 1))
    for stride in (1, 2):
        h = block(h, stride)
    close(jax.jit(net.apply)(drawn, x), h.mean((1, 2)))


def test_prototypes_are_cosines():
    x = normal(5, 3)
    net, p = made(x, name='prototypes', count=4)
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in p['kernel'].T] for a in x]
    close(net(x), np.asarray(expected))


def test_dcgan():
    x = normal(2, 8, 8, 1)
    critic, p = made(x, name='dcgan_critic', width=4)
    h = RELU['leaky_relu'](conv(p['Conv_0'], x, 2))
    close(critic(x), dense(p['Dense_0'], h.reshape(2, -1))[:, 0])
    z = 100 * normal(8, 3)  # many, since most pixels are rounded to 1
    images = np.asarray(made(z, name='dcgan_generator', size=8, width=4)[0](z))
    assert np.abs(images).max() == 1 and len(np.unique(images)) > 20  # tanh of large numbers


@pytest.mark.parametrize(
    'name, formula',
    [
        ('relu', RELU['relu']),
        ('leaky_relu', RELU['leaky_relu']),  # the slope of Radford et al. 2016
        ('relu2', lambda x: RELU['relu'](x) ** 2),
        ('tanh', np.tanh),
        ('gelu', lambda x: 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))),
    ],
)
def test_activations(name, formula):
    x = np.linspace(-3, 3, 13, dtype=np.float32)
    np.testing.assert_allclose(jax.jit(activate, static_argnums=1)(x, name), formula(x), atol=1e-3)


def test_dropout_of_a_transformer():
    """Of the embedding, and of what each block adds, after attention and after the mlp."""
    spec = dict(name='transformer', vocab=5, width=64, heads=2, context=6, dropout=0.5)
    empty, tokens, keys = (
        nets.make(spec | dict(depth=0)),
        np.zeros((1, 6), int),
        jax.random.split(KEY),
    )
    drawn = variables(empty, tokens)
    apply = jax.jit(empty.apply, static_argnames=('train', 'method'))
    one, other = (
        apply(drawn, tokens, train=True, method='features', rngs={'dropout': key}) for key in keys
    )
    assert (np.abs(one - other) > 1e-6).mean() > 0.4
    assert np.ptp(apply(drawn, tokens), axis=1).max() < 1e-6  # without training, tokens are alike
    x = normal(1, 6, 64)
    block = Block(
        2, 4, 'token', 'given', 'gelu', True, False, 1.0, 'lecun', 'lecun', True, 0.5, None
    )
    drawn, apply = variables(block, x, False), jax.jit(block.apply, static_argnums=2)
    drawn['params']['mlp_out']['kernel'] *= 0
    drawn['params']['mlp_out']['bias'] *= 0
    added = np.asarray(apply(drawn, x, True, rngs={'dropout': KEY})) - x  # by attention
    assert 0.4 < (added == 0).mean() < 0.6
    assert (apply(drawn, x, False) != x).all()
    drawn['params']['mlp_out']['bias'] += 1000.0
    both = np.asarray(apply(drawn, x, True, rngs={'dropout': KEY})) - x
    assert 0.4 < (np.abs(both) > 500).mean() < 0.6  # by the mlp
    np.testing.assert_allclose(both.max(), 2000, rtol=0.1)  # what is kept is doubled


def test_the_decoder_knows_where_a_patch_is():
    """Two masked places have the same token and see the same others."""
    spec = dict(name='vit_decoder', patch=4, width=16, depth=0, heads=2, class_token=False)
    module, tokens, kept = nets.make(spec), normal(1, 1, 8), np.array([[5]])
    drawn = variables(module, tokens, kept, (4, 4))
    out = jax.jit(lambda tokens: module.apply(drawn, tokens, kept, (4, 4)))(tokens)[0]
    masked = np.delete(np.asarray(out), 5, 0)
    apart = np.abs(masked[:, None] - masked[None]).max(-1) + np.eye(15)
    assert apart.min() > 1e-3
