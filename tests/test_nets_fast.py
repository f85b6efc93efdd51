"""Attention and norms of tokens in the forms for a single CPU: values and gradients of the others.

The plain forms are stated here by jax.nn and flax, or by their formula.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.nets import attention, norms

random = np.random.default_rng(0)


def normal(*shape, dtype='float32'):
    return jnp.asarray(3 * random.normal(size=shape), dtype)


def close(found, expected, share=2e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
        np.testing.assert_allclose(a, b, rtol=0, atol=share * np.abs(b).max())


def with_gradient(f, *args):
    """The value of f, and the gradient of its sum with random weights."""
    weight = np.cos(np.arange(jax.eval_shape(f, *args).size))

    def value(*args):
        y = f(*args)
        return (y.astype(jnp.float32) * weight.reshape(y.shape)).sum(), y

    return jax.jit(jax.value_and_grad(value, tuple(range(len(args))), has_aux=True))(*args)


@pytest.mark.parametrize('dtype, share', [('float32', 2e-5), ('bfloat16', 3e-2)])
@pytest.mark.parametrize('lengths', [None, (10, 1, 7)])
@pytest.mark.parametrize('causal', [False, True])
def test_attention_is_that_of_jax(causal, lengths, dtype, share):
    q, k, v = (normal(3, 10, 2, 4, dtype=dtype) for _ in range(3))  # blocks of 3, 3, 3 and 1
    lengths = lengths and jnp.asarray(lengths)

    def ours(q, k, v):
        options = dict(scale=0.3, causal=causal, lengths=lengths)
        return attention.attention(q, k, v, native=False, **options)

    def jaxs(q, k, v):
        options = dict(scale=0.3, is_causal=causal, key_value_seq_lengths=lengths)
        return jax.nn.dot_product_attention(q, k, v, **options)

    close(with_gradient(ours, q, k, v), with_gradient(jaxs, q, k, v), share)


def test_attention_of_large_scores_is_finite():
    q = 100 * normal(1, 5, 1, 4)
    options = dict(scale=1.0, causal=True)
    found = with_gradient(lambda q: attention.attention(q, q, q, native=False, **options), q)
    assert all(np.isfinite(a).all() for a in jax.tree.leaves(found))


def test_attention_has_second_derivatives():
    q, k, v = (normal(2, 6, 1, 4) / 3 for _ in range(3))

    def slope(native):
        def value(q):
            return jnp.sin(
                attention.attention(q, k, v, scale=0.5, causal=True, native=native)
            ).sum()

        return with_gradient(jax.grad(value), q)

    close(slope(False), slope(True), 1e-4)


def test_which_attention_is_one_kernel_on_a_gpu(monkeypatch):
    q = jnp.zeros((1, 2, 1, 64), jnp.bfloat16)
    assert not attention.flash(q)  # on a CPU
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')

    class Device:
        compute_capability = '9.0'

    monkeypatch.setattr(jax, 'local_devices', lambda: [Device])
    assert attention.flash(q)
    for other in (q.astype(jnp.float32), q[..., :12], jnp.zeros((1, 2, 1, 256), jnp.bfloat16)):
        assert not attention.flash(other)
    Device.compute_capability = '7.5'
    assert not attention.flash(q)
    Device.compute_capability = 'gfx90a'  # of another maker
    assert not attention.flash(q)


@pytest.mark.parametrize('native', [False, True])
def test_layer_norm_is_that_of_flax(native):
    x, scale, bias = 5 + normal(3, 4, 6), normal(6), normal(6)
    x = x.at[0, 0].set(2.0)  # a row without variance
    module = nn.LayerNorm(epsilon=1e-3, use_fast_variance=False)

    def flax(x, scale, bias):
        return module.apply({'params': {'scale': scale, 'bias': bias}}, x)

    def ours(x, scale, bias):
        return norms.layer_norm(x, scale, bias, epsilon=1e-3, native=native)

    close(with_gradient(ours, x, scale, bias), with_gradient(flax, x, scale, bias))


@pytest.mark.parametrize('native', [False, True])
def test_rms(native):
    x = normal(3, 4, 6)

    def formula(x):
        return x / jnp.sqrt((x**2).sum(-1, keepdims=True) / 6 + 1e-6)

    def ours(x):
        return norms.rms(x, native=native)

    close(with_gradient(ours, x), with_gradient(formula, x))
    slopes = (jax.grad(lambda x, f=f: jnp.sin(f(x)).sum()) for f in (ours, formula))
    close(*(with_gradient(slope, x) for slope in slopes), 1e-4)


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_a_layer_norm_has_the_params_and_dtypes_of_flax(dtype):
    x = normal(3, 6, dtype='bfloat16')
    ours, flax = (f(epsilon=1e-5, dtype=dtype) for f in (norms.LayerNorm, nn.LayerNorm))
    params = flax.init(jax.random.key(0), x)
    close(ours.init(jax.random.key(0), x), params)
    close(ours.apply(params, x), flax.apply(params, x), 1e-2)
