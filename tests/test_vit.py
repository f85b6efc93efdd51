"""The vision transformer and the masked autoencoder's decoder: patches, positions, what is seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.names import Mistake
from ssljax.nets import make
from ssljax.nets.vit import patchify, sincos, unpatchify

KEY = jax.random.key(0)
SMALL = dict(patch=4, width=16, depth=2, heads=2, size=16)


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def shaken(module, *args, **kw):
    """Variables with noise on all of them, so that no gain is one and no bias zero."""
    variables = jax.jit(lambda: module.init(KEY, *args, **kw))()
    keys = iter(jax.random.split(KEY, 99))
    return jax.tree.map(lambda a: a + 0.2 * jax.random.normal(next(keys), a.shape), variables)


@pytest.fixture(scope='module', params=['learned', 'sincos'])
def vit(request):
    module = make(dict(name='vit', positions=request.param, **SMALL))
    x = normal(3, 16, 16, 3)
    return module, shaken(module, x), x


def test_patches_are_cut_in_reading_order():
    x = normal(2, 8, 12, 3)
    found = patchify(x, 4)
    assert found.shape == (2, 2, 3, 48)
    np.testing.assert_array_equal(found[1, 1, 2], x[1, 4:8, 8:12].ravel())
    np.testing.assert_array_equal(unpatchify(found, 4), x)
    with pytest.raises(Mistake, match='8x12 images do not split into patches of 5'):
        patchify(x, 5)


def test_fixed_positions():
    """Half tells the column, half the row: sines, then cosines, of geometric wavelengths."""
    table = np.asarray(sincos(3, 5, 16)).reshape(3, 5, 16)
    rates = 1 / 10000.0 ** (np.arange(4) / 4)
    for row, column in ((0, 0), (2, 1), (1, 4)):
        expected = [f(n * rates) for n in (column, row) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(table[row, column], np.concatenate(expected), atol=1e-6)


def test_one_block_in_numpy():
    """Embedding, positions, one pre-norm block and the final norm, written out in float64."""
    module = make(dict(name='vit', **{**SMALL, 'depth': 1}))
    x = normal(1, 16, 16, 3)
    variables = shaken(module, x)
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), variables['params'])

    def norm(x, name, eps):
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + eps)
        return scaled * name['scale'] + name['bias']

    def dense(x, name):
        return x @ name['kernel'] + name['bias']

    b = p['blocks_0']
    x64 = np.asarray(x, np.float64)[0].reshape(4, 4, 4, 4, 3).swapaxes(1, 2).reshape(16, 48)
    h = np.concatenate([p['class_token'][0], dense(x64, p['embed'])]) + p['place']
    n = norm(h, b['attend_norm'], 1e-5)
    q, k, v = (dense(n, b[name]) for name in ('query', 'key', 'value'))
    out, maps = [], []
    for e in (slice(0, 8), slice(8, 16)):
        weight = np.exp(q[:, e] @ k[:, e].T / np.sqrt(8))
        maps.append(weight / weight.sum(-1, keepdims=True))
        out.append(maps[-1] @ v[:, e])
    h = h + dense(np.concatenate(out, -1), b['attend_out'])
    u = dense(norm(h, b['mlp_norm'], 1e-5), b['mlp_in'])
    gelu = 0.5 * u * (1 + np.tanh(np.sqrt(2 / np.pi) * (u + 0.044715 * u**3)))
    h = norm(h + dense(gelu, b['mlp_out']), p['norm'], 1e-6)
    np.testing.assert_allclose(module.apply(variables, x, method='tokens')[0], h, atol=1e-4)
    np.testing.assert_allclose(module.apply(variables, x)[0], h[0], atol=1e-4)
    found = module.apply(variables, x, method='attention')
    np.testing.assert_allclose(found[0], np.stack(maps)[:, 0, 1:].reshape(2, 4, 4), atol=1e-5)


def test_pools(vit):
    module, variables, x = vit
    tokens = module.apply(variables, x, method='tokens')
    assert tokens.shape == (3, 17, 16)
    np.testing.assert_allclose(module.apply(variables, x), tokens[:, 0], rtol=1e-6)
    mean = module.clone(pool='mean').apply(variables, x)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(1), rtol=1e-5, atol=1e-6)


def test_kept_patches_are_all_that_is_seen(vit):
    """What the masked patches hold changes nothing, and no array of them goes through a block."""
    module, variables, x = vit
    kept = jnp.asarray([[3, 0, 9], [5, 6, 7], [15, 1, 2]])
    tokens = module.apply(variables, x, kept, method='tokens')
    assert tokens.shape == (3, 4, 16)
    hidden = jnp.ones((3, 16), bool).at[jnp.arange(3)[:, None], kept].set(False)
    noise = patchify(normal(3, 16, 16, 3, seed=1), 4).reshape(3, 16, 48)
    other = jnp.where(hidden[..., None], noise, patchify(x, 4).reshape(3, 16, 48))
    other = unpatchify(other.reshape(3, 4, 4, 48), 4)
    assert np.abs(other - x).max() > 1
    np.testing.assert_allclose(
        module.apply(variables, other, kept, method='tokens'), tokens, rtol=1e-5
    )
    text = str(jax.make_jaxpr(lambda: module.apply(variables, x, kept, method='tokens'))())
    assert 'f32[12,16]' in text  # 3 x (1 + 3) tokens into a dense layer
    assert 'f32[51,16]' not in text  # 3 x (1 + 16)


def test_all_patches_kept_are_all_patches(vit):
    module, variables, x = vit
    order = jnp.asarray(np.random.default_rng(0).permutation(16))[None].repeat(3, 0)
    whole, kept = (module.apply(variables, x, k, method='tokens') for k in (None, order))
    np.testing.assert_allclose(kept[:, 0], whole[:, 0], atol=1e-5)
    np.testing.assert_allclose(kept[:, 1:], whole[:, 1:][:, order[0]], atol=1e-5)


def test_the_place_of_a_patch_matters(vit):
    module, variables, x = vit
    moved = jnp.roll(x, 4, 1)
    assert np.abs(module.apply(variables, moved) - module.apply(variables, x)).max() > 1e-3


def test_other_sizes(vit):
    """Learned positions are resized to the input."""
    module, variables, _ = vit
    assert module.apply(variables, normal(2, 8, 24, 3)).shape == (2, 16)
    if module.positions == 'sincos':
        return
    # a table that is linear in row and column stays linear inside
    ramp = jnp.arange(4.0)[:, None] + 10 * jnp.arange(4.0)
    place = jnp.concatenate([jnp.zeros(1), ramp.ravel()])[:, None].repeat(16, 1)
    bound = module.bind({'params': {**variables['params'], 'place': place}})
    found = np.asarray(bound.where(8, 8))[1:, 0].reshape(8, 8)
    middle = (np.arange(8) + 0.5) / 2 - 0.5
    expected = middle[:, None] + 10 * middle
    np.testing.assert_allclose(found[3:5, 3:5], expected[3:5, 3:5], atol=0.02)
    assert not bound.where(8, 8)[0].any()  # the class token's is not resized


def test_attention_without_a_class_token_is_a_mistake():
    module = make(dict(name='vit', class_token=False, pool='mean', **SMALL))
    x = normal(1, 16, 16, 3)
    with pytest.raises(Mistake, match='type class_token=True'):
        module.apply(module.init(KEY, x), x, method='attention')


@pytest.mark.parametrize('class_token', [True, False])
def test_the_decoder_puts_tokens_in_their_places(class_token):
    spec = dict(name='vit_decoder', patch=4, width=16, depth=0, heads=2, class_token=class_token)
    module = make(spec)
    kept = jnp.asarray([[3, 0, 9], [5, 6, 7]])
    tokens = normal(2, class_token + 3, 8)
    variables = shaken(module, tokens, kept, (4, 4))
    out = module.apply(variables, tokens, kept, (4, 4))
    assert out.shape == (2, 16, 48)
    # with no block, a token reaches its own place alone
    other = module.apply(variables, tokens.at[0, class_token + 1].add(1.0), kept, (4, 4))
    changed = np.abs(np.asarray(other - out)).max(-1) > 1e-6
    assert changed[0, 0] and changed.sum() == 1


def test_every_masked_place_depends_on_every_kept_token():
    spec = dict(name='vit_decoder', patch=4, width=16, depth=1, heads=2, class_token=False)
    module, kept = make(spec), jnp.asarray([[3, 0, 9]])
    tokens = normal(1, 3, 8)
    variables = shaken(module, tokens, kept, (4, 4))
    jacobian = jax.jacobian(lambda t: module.apply(variables, t, kept, (4, 4))[0].sum(-1))(tokens)
    assert (np.abs(jacobian).max((1, 3)) > 1e-7).all()  # [16 places, 3 tokens]
