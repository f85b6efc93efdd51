"""A batch through a net in chunks: the gradient of the whole, the activations of a part."""

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


def start(nets, rows=4):
    x = jax.random.normal(jax.random.key(1), (rows, 16, 16, 1))
    params, stats, _ = nets.init(jax.random.key(0), forward, x)
    return params, stats, x


def objective(nets, stats, rows):
    """NT-Xent of the even and the odd rows, in chunks of `rows` examples."""

    def value(params, x):
        def embed(key, stats, x):
            net = nets(params, stats, train=True)
            z = forward(net, x.reshape(-1, 16, 16, 1))
            return net.stats, z.reshape(-1, 2, z.shape[-1])

        pairs = x.reshape(-1, 2, 16, 16, 1)
        new, z = in_chunks(embed, jax.random.key(2), stats, pairs, rows=rows)
        return nt_xent(z[:, 0], z[:, 1], block=16).mean(), (new, z)

    return jax.jit(jax.value_and_grad(value, has_aux=True))


@pytest.mark.parametrize('rows', [1, 4, 16])
def test_the_gradient_is_that_of_the_whole_batch(rows):
    params, stats, x = start(NETS, 32)
    (value, (_, z)), grads = objective(NETS, stats, rows)(params, x)
    (plain, (_, other)), expected = objective(NETS, stats, None)(params, x)
    np.testing.assert_allclose(z, other, rtol=1e-4, atol=1e-5)  # rows come back in their order
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    for grad, true in zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(grad, true, atol=1e-5 * np.abs(true).max())


def test_activations_are_of_one_chunk():
    params, stats, x = start(NETS, 1024)

    def memory(rows):
        program = objective(NETS, stats, rows).lower(params, x).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert memory(16) < memory(None) / 5


def test_batch_norm_sees_chunks_and_its_statistics_pass_on():
    nets = Nets(encoder=dict(name='mlp', dims=(8,), norm='batch', last_norm=True))
    x = jax.random.normal(jax.random.key(1), (12, 5)) + 3
    params, stats, _ = nets.init(jax.random.key(0), lambda net, x: net.encoder(x), x)

    def embed(key, stats, x):
        net = nets(params, stats, train=True)
        z = net.encoder(x)
        return net.stats, z

    new, z = in_chunks(embed, jax.random.key(0), stats, x, rows=4)
    by_hand, parts = stats, []
    for i in range(3):
        by_hand, part = embed(None, by_hand, x[i::3])
        parts.append(part)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), new, by_hand)
    np.testing.assert_allclose(z, jnp.stack(parts, 1).reshape(12, -1), rtol=1e-5, atol=1e-5)


def test_every_chunk_has_its_own_key():
    def draw(key, stats, x):
        return stats, x + jax.random.uniform(key, x.shape)

    _, z = in_chunks(draw, jax.random.key(0), {}, jnp.zeros((12, 3)), rows=4)
    assert len(np.unique(z)) == z.size


def test_rows_that_do_not_divide_are_refused():
    with pytest.raises(Mistake, match='chunks of 5 rows do not divide a batch of 12'):
        in_chunks(lambda key, stats, x: (stats, x), None, {}, jnp.zeros((12, 3)), rows=5)
