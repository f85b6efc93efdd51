"""Blocks that are computed again in the backward pass: the same numbers, less memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import nets

TOKENS = jnp.arange(2 * 12).reshape(2, 12) % 7
PATCHES = jax.random.normal(jax.random.key(1), (2, 3, 16))
IMAGES = jax.random.normal(jax.random.key(2), (2, 8, 8, 1))
SMALL = dict(width=8, depth=1, heads=2)
CASES = {
    'transformer': (dict(vocab=7, dropout=0.1), (TOKENS, True)),
    'text_transformer': (dict(vocab=7, dropout=0.1), (TOKENS, jnp.array([12, 5]), True)),
    'vit': (dict(patch=4, size=8, dropout=0.1), (IMAGES, None, True)),
    'vit_decoder': (dict(patch=4, channels=1), (PATCHES, jnp.array([[0, 3], [2, 1]]), (2, 2))),
}


def loss(net, args):
    """Of params, with dropout where there is some."""
    static = {i: a for i, a in enumerate(args) if not isinstance(a, jax.Array)}
    arrays = [a for a in args if isinstance(a, jax.Array)]

    def value(params, *arrays):
        left = iter(arrays)
        given = [static[i] if i in static else next(left) for i in range(len(args))]
        out = net.apply(params, *given, rngs={'dropout': jax.random.key(3)})
        return jnp.square(out).sum()

    return value, arrays


@pytest.mark.parametrize('name', CASES)
def test_remat_changes_no_value(name):
    options, args = CASES[name]
    found = []
    for remat in (False, True):
        net = nets.make(dict(name=name, remat=remat, **SMALL, **options))
        value, arrays = loss(net, args)
        keys = {'params': jax.random.key(0), 'dropout': jax.random.key(4)}
        shapes = jax.eval_shape(lambda net=net, keys=keys: net.init(keys, *args))
        # not at its start, where layers are zero
        params = jax.tree.map(
            lambda p: np.cos(np.arange(p.size, dtype='f4')).reshape(p.shape), shapes
        )
        found.append(jax.jit(jax.value_and_grad(value))(params, *arrays))
        again = str(jax.make_jaxpr(jax.grad(value))(params, *arrays)).count('remat2[')
        assert (again > 0) == remat, f'{again} blocks are computed again'
    plain, spared = found
    assert jax.tree.structure(plain) == jax.tree.structure(spared)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max()),
        plain,
        spared,
    )


def test_the_attention_of_a_vit_with_remat():
    options = dict(name='vit', **SMALL, patch=4, size=8)
    plain, spared = (nets.make(dict(remat=remat, **options)) for remat in (False, True))

    def maps():
        params = plain.init(jax.random.key(0), IMAGES)
        return [net.apply(params, IMAGES, method='attention') for net in (plain, spared)]

    np.testing.assert_array_equal(*jax.jit(maps)())


def test_remat_takes_less_memory():
    """By what XLA says of the compiled gradient; one net for all, which make blocks at one place.
    For a CPU, other than for a GPU or TPU, XLA removes what keeps the second computation of a block
    behind the first; so here it may not."""
    taken = {}
    for remat in (False, True):
        options = dict(width=32, depth=8, heads=2, patch=2, size=16, remat=remat)
        net = nets.make(dict(name='vit', **options))
        x = jax.ShapeDtypeStruct((8, 16, 16, 1), 'f4')
        params = jax.eval_shape(net.init, jax.random.key(0), x)
        value = jax.grad(lambda params, x, net=net: jnp.square(net.apply(params, x)).sum())
        apart = {'xla_disable_hlo_passes': 'cse_barrier_expander'}
        compiled = jax.jit(value).lower(params, x).compile(compiler_options=apart)
        taken[remat] = compiled.memory_analysis().temp_size_in_bytes
    assert taken[True] < taken[False] / 3, taken
