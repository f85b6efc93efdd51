"""A batch through a net in chunks: the gradient of the whole, the activations of a part."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import nt_xent
from ssljax.names import Mistake
from ssljax.nets import Nets, in_chunks

NETS = Nets(
    encoder=dict(name='conv', widths=(8, 16), norm='layer'),
    projector=dict(name='mlp', dims=(32, 16)),
)


def forward(net, x):
    return net.projector(net.encoder(x))


@functools.cache
def start():
    x = np.random.default_rng(0).normal(size=(32, 16, 16, 1)).astype('f')
    params, stats, _ = jax.jit(lambda key: NETS.init(key, forward, x))(jax.random.key(0))
    return params, stats, x


def objective(rows):
    """NT-Xent of the even and the odd rows, in chunks of `rows` examples."""

    def value(params, stats, x):
        def embed(key, stats, x):
            net = NETS(params, stats, train=True)
            z = forward(net, x.reshape(-1, 16, 16, 1))
            return net.stats, z.reshape(-1, 2, z.shape[-1])

        pairs = x.reshape(-1, 2, 16, 16, 1)
        new, z = in_chunks(embed, jax.random.key(2), stats, pairs, rows=rows)
        return nt_xent(z[:, 0], z[:, 1], block=16).mean(), (new, z)

    return jax.jit(jax.value_and_grad(value, has_aux=True))


@functools.cache
def whole():
    return objective(None)(*start())


@pytest.mark.parametrize('rows', [1, 4])
def test_the_gradient_is_that_of_the_whole_batch(rows):
    (value, (_, z)), grads = objective(rows)(*start())
    (plain, (_, other)), expected = whole()
    np.testing.assert_allclose(z, other, rtol=1e-4, atol=1e-5)  # rows come back in their order
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    for grad, true in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(grad, true, atol=1e-5 * np.abs(true).max())


def test_activations_are_of_one_chunk():
    params, stats, _ = start()
    many = jax.ShapeDtypeStruct((1024, 16, 16, 1), np.float32)

    def memory(rows):
        program = objective(rows).lower(params, stats, many).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert memory(16) < memory(None) / 5


def test_batch_norm_sees_chunks_and_its_statistics_pass_on():
    nets = Nets(encoder=dict(name='mlp', dims=(8,), norm='batch', last_norm=True))
    x = np.random.default_rng(0).normal(3, 1, (12, 5)).astype('f')
    begin = jax.jit(lambda key: nets.init(key, lambda net, x: net.encoder(x), x))
    params, stats, _ = begin(jax.random.key(0))

    @jax.jit
    def embed(key, stats, x):
        net = nets(params, stats, train=True)
        z = net.encoder(x)
        return net.stats, z

    new, z = jax.jit(lambda stats, x: in_chunks(embed, jax.random.key(0), stats, x, rows=4))(
        stats, x
    )
    by_hand, parts = stats, []
    for i in range(3):
        by_hand, part = embed(None, by_hand, x[i::3])
        parts.append(part)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, by_hand)
    np.testing.assert_allclose(z, np.stack(parts, 1).reshape(12, -1), rtol=1e-5, atol=1e-5)


def test_every_chunk_has_its_own_key():
    def draw(key, stats, x):
        return stats, x + jax.random.uniform(key, x.shape)

    apart = jax.jit(lambda key: in_chunks(draw, key, {}, jnp.zeros((12, 3)), rows=4)[1])
    z = apart(jax.random.key(0))
    assert len(np.unique(z)) == z.size


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(Mistake, match='chunks of 5 rows do not divide a batch of 12'):
        in_chunks(lambda key, stats, x: (stats, x), None, {}, jnp.zeros((12, 3)), rows=5)
