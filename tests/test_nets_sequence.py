"""Nets over time, over a grid of patches, and what predicts along them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import variables

from ssljax.names import Mistake
from ssljax.nets import make

random = np.random.default_rng(0)


def applied(spec, *args):
    module = make(spec)
    drawn = variables(module, *args)
    return drawn, lambda *args: module.apply(drawn, *args)


@pytest.mark.parametrize('kernel, stride, T', [(10, 5, 42), (8, 4, 31), (3, 1, 9), (2, 4, 10)])
def test_a_layer_over_time_is_a_convolution(kernel, stride, T):
    spec = dict(name='time_delay', widths=(6,), kernels=(kernel,), strides=(stride,))
    x = random.normal(size=(2, T, 3)).astype('f')
    drawn, net = applied(spec | dict(activation='none'), x)
    dense = drawn['params']['Dense_0']
    w = dense['kernel'].reshape(kernel, 3, 6)
    there = jax.lax.conv_general_dilated(
        x, w, (stride,), 'SAME', dimension_numbers=('NWC', 'WIO', 'NWC')
    )
    np.testing.assert_allclose(net(x), there + dense['bias'], atol=1e-4)


def test_time_delay_pools_and_takes_waves():
    x = random.normal(size=(3, 160)).astype('f')
    spec = dict(name='time_delay', widths=(5, 4), kernels=(8, 4), strides=(4, 2))
    frames = applied(spec, x)[1](x)
    assert frames.shape == (3, 20, 4)
    for pool, wanted in (('mean', frames.mean(1)), ('flatten', frames.reshape(3, -1))):
        np.testing.assert_allclose(applied(spec | dict(pool=pool), x)[1](x), wanted, atol=1e-5)
    with pytest.raises(Mistake, match='1 kernels'):
        make(spec | dict(kernels=(8,)))
    assert make(dict(name='time_delay')).init_with_output(jax.random.key(0), x)[0].shape[1] == 1


def test_gru_by_hand():
    """Cho et al. 2014, equations 5 to 8, with the reset gate after the product."""
    x = random.normal(size=(2, 5, 3)).astype('f')
    drawn, net = applied(dict(name='gru', width=4), x)
    dense, w = drawn['params']['Dense_0'], drawn['params']['ahead']['kernel'][..., 0, 0]
    sigmoid, h, out = lambda a: 1 / (1 + np.exp(-a)), np.zeros((2, 4)), []
    for t in range(5):
        own = np.split(x[:, t] @ dense['kernel'] + dense['bias'], 3, 1)
        past = np.split(h @ w, 3, 1)
        z, r = sigmoid(own[0] + past[0]), sigmoid(own[1] + past[1])
        h = (1 - z) * h + z * np.tanh(own[2] + r * past[2])
        out.append(h)
    np.testing.assert_allclose(net(x), np.stack(out, 1), atol=1e-5)


def test_patches_lie_where_they_should_and_see_themselves_alone():
    x = random.normal(size=(2, 20, 28, 1)).astype('f')
    spec = dict(name='patch_grid', patch=8, apart=4, widths=(3, 4), width=5)
    _, net = applied(spec, x)
    z = net(x)
    assert z.shape == (2, 4, 6, 5)
    one = net(x[:, 4:12, 16:24])  # the patch of row 1, column 4, as an image of its own
    np.testing.assert_allclose(one[:, 0, 0], z[:, 1, 4], atol=1e-5)
    with pytest.raises(Mistake, match='8 pixels or more'):
        net(x[:, :7])


@pytest.mark.parametrize('spec, shape', [
    (dict(name='gru', width=6), (1, 7, 4)),
    (dict(name='row_context', width=6, depth=2), (1, 7, 5, 4)),
])  # fmt: skip
def test_a_context_knows_all_rows_up_to_its_own_and_none_after(spec, shape):
    z = random.normal(size=shape).astype('f')
    _, net = applied(spec, z)

    def reach(t):
        """Which rows of latents move the contexts of row t."""
        slope = jax.grad(lambda z: jnp.square(net(z)[:, t]).sum())(z)
        return np.abs(slope).sum(tuple(i for i in range(slope.ndim) if i != 1)) > 0

    assert not reach(3)[4:].any() and not reach(0)[1:].any()
    deep = 3 if spec['name'] == 'row_context' else 7  # its own, and one more for each block
    assert reach(6)[-deep:].all() and reach(6).sum() == deep


def test_a_forecast_is_a_matrix_for_each_step():
    c, z = (random.normal(size=s).astype('f') for s in ((2, 3, 4), (2, 3, 5)))
    drawn, net = applied(dict(name='forecast', steps=3), c, z)
    w = drawn['params']['kernel'].reshape(4, 3, 5)
    np.testing.assert_allclose(net(c, z), np.einsum('btc,ckd->btkd', c, w), atol=1e-5)


@pytest.mark.parametrize('dims', [(64, 64), (64, 256), (256, 64)])
def test_scores_of_a_fresh_forecast_are_as_narrow_at_any_width(dims):
    """z . W c has variance 1 where c and z have it in each dimension."""
    c, z = (random.normal(size=(1000, dim)).astype('f') for dim in dims)
    net = make(dict(name='forecast', steps=2))
    p = net.apply(net.init(jax.random.key(0), c, z), c, z)
    scores = np.einsum('nkd,nd->nk', p, z)
    assert 0.8 < scores.std() < 1.2
