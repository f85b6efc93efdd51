"""The vision transformer and the masked autoencoder's decoder: patches, positions, what is seen."""

import jax
import numpy as np
import pytest
from drawn import variables

from ssljax.names import Mistake
from ssljax.nets import make
from ssljax.nets.vit import patchify, sincos, unpatchify

SMALL = dict(patch=4, width=16, depth=2, heads=2, size=16)
table_of = jax.jit(sincos, static_argnums=(0, 1, 2))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope='module')
def vit():
    """(module, its variables, images, its apply as one program for each method and shape)"""
    module = make(dict(name='vit', **SMALL))
    x = normal(3, 16, 16, 3)
    return module, variables(module, x), x, jax.jit(module.apply, static_argnames='method')


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
    table = np.asarray(table_of(3, 5, 16)).reshape(3, 5, 16)
    rates = 1 / 10000.0 ** (np.arange(4) / 4)
    for row, column in ((0, 0), (2, 1), (1, 4)):
        expected = [f(n * rates) for n in (column, row) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(table[row, column], np.concatenate(expected), atol=1e-6)


def test_fixed_positions_are_learned_ones_that_stay(vit):
    """All else is the same, so the tests below are of the vit with learned positions."""
    _, drawn, x, apply = vit
    fixed = make(dict(name='vit', positions='sincos', **SMALL))
    params = {name: leaf for name, leaf in drawn['params'].items() if name != 'place'}
    found = jax.jit(fixed.apply, static_argnames='method')({'params': params}, x, method='tokens')
    table = np.concatenate([np.zeros((1, 16)), table_of(4, 4, 16)])
    place = {'params': params | {'place': np.float32(table)}}
    np.testing.assert_allclose(found, apply(place, x, method='tokens'), atol=1e-5)
    shape = jax.eval_shape(fixed.apply, {'params': params}, normal(2, 8, 24, 3)).shape
    assert shape == (2, 16)


def test_two_blocks_in_numpy(vit):
    """Embedding, positions, pre-norm blocks and the final norm, written out in float64."""
    module, drawn, x, apply = vit
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), drawn['params'])

    def norm(x, name, eps):
        centered = x - x.mean(-1, keepdims=True)
        scaled = centered / np.sqrt(np.square(centered).mean(-1, keepdims=True) + eps)
        return scaled * name['scale'] + name['bias']

    def dense(x, name):
        return x @ name['kernel'] + name['bias']

    x64 = np.asarray(x, np.float64)[0].reshape(4, 4, 4, 4, 3).swapaxes(1, 2).reshape(16, 48)
    h = np.concatenate([p['class_token'][0], dense(x64, p['embed'])]) + p['place']
    for b in (p['blocks_0'], p['blocks_1']):
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
        h = h + dense(gelu, b['mlp_out'])
    h = norm(h, p['norm'], 1e-6)
    np.testing.assert_allclose(apply(drawn, x, method='tokens')[0], h, atol=1e-4)
    np.testing.assert_allclose(apply(drawn, x)[0], h[0], atol=1e-4)
    mean = jax.jit(module.clone(pool='mean').apply)(drawn, x)
    np.testing.assert_allclose(mean[0], h[1:].mean(0), atol=1e-4)
    found = apply(drawn, x, method='attention')  # of the last block
    np.testing.assert_allclose(found[0], np.stack(maps)[:, 0, 1:].reshape(2, 4, 4), atol=1e-5)


def test_kept_patches_are_all_that_is_seen(vit):
    """What the masked patches hold changes nothing, and no array of them goes through a block."""
    module, drawn, x, apply = vit
    kept = np.array([[3, 0, 9], [5, 6, 7], [15, 1, 2]])
    tokens = apply(drawn, x, kept, method='tokens')
    assert tokens.shape == (3, 4, 16)
    hidden = np.ones((3, 16), bool)
    hidden[np.arange(3)[:, None], kept] = False
    noise = patchify(normal(3, 16, 16, 3, seed=1), 4).reshape(3, 16, 48)
    other = np.where(hidden[..., None], noise, patchify(x, 4).reshape(3, 16, 48))
    other = unpatchify(other.reshape(3, 4, 4, 48), 4)
    assert np.abs(other - x).max() > 1
    np.testing.assert_allclose(apply(drawn, other, kept, method='tokens'), tokens, rtol=1e-5)
    text = str(jax.make_jaxpr(lambda: module.apply(drawn, x, kept, method='tokens'))())
    assert 'f32[12,16]' in text  # 3 x (1 + 3) tokens into a dense layer
    assert 'f32[51,16]' not in text  # 3 x (1 + 16)


def test_all_patches_kept_are_all_patches(vit):
    _, drawn, x, apply = vit
    order = np.random.default_rng(0).permutation(16)[None].repeat(3, 0)
    whole, kept = (np.asarray(apply(drawn, x, k, method='tokens')) for k in (None, order))
    np.testing.assert_allclose(kept[:, 0], whole[:, 0], atol=1e-5)
    np.testing.assert_allclose(kept[:, 1:], whole[:, 1:][:, order[0]], atol=1e-5)


def test_features_of_kept_patches_are_those_of_their_tokens(vit):
    module, drawn, x, apply = vit
    kept = np.array([[3, 0, 9], [5, 6, 7], [15, 1, 2]])
    tokens = np.asarray(apply(drawn, x, kept, method='tokens'))
    np.testing.assert_allclose(apply(drawn, x, kept), tokens[:, 0], atol=1e-6)
    mean = jax.jit(module.clone(pool='mean').apply)(drawn, x, kept)
    np.testing.assert_allclose(mean, tokens[:, 1:].mean(1), atol=1e-6)


def test_a_learned_token_stands_for_a_masked_patch():
    module, x = make(dict(name='vit', **SMALL)), normal(2, 16, 16, 3)
    masked = np.random.default_rng(1).permutation(32).reshape(2, 16) < 12
    drawn = variables(module, x, None, masked, method='tokens')
    plain = variables(module, x)['params']
    assert set(drawn['params']) == {*plain, 'mask_token'}  # only where it is asked for
    params = drawn['params']
    prepared = jax.jit(lambda x, m: module.bind(drawn).prepare(x, None, m))
    found, whole = (np.asarray(prepared(x, m))[:, 1:] for m in (masked, np.zeros_like(masked)))
    expected = params['mask_token']['value'][0] + params['place'][1:]
    np.testing.assert_allclose(found, np.where(masked[..., None], expected, whole), atol=1e-6)
    no_mask = prepared(x, None)
    np.testing.assert_allclose(whole, np.asarray(no_mask)[:, 1:], atol=1e-6)


def test_a_second_token_is_a_class_token_without_a_position():
    """With the values of the class token and its position, both answer the same."""
    module, x = make(dict(name='vit', **SMALL)), normal(2, 16, 16, 3)
    drawn = variables(module, x, method='pair')
    ask = jax.jit(lambda params: module.apply({'params': params}, x, method='pair'))
    params, found = drawn['params'], np.asarray(ask(drawn['params']))
    assert found.shape == (2, 2, 16) and np.abs(found[:, 0] - found[:, 1]).max() > 1e-2
    same = params['class_token'] + params['place'][0]
    found = ask({**params, 'second_token': {'value': same}})
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-5)
    module = make(dict(name='vit', class_token=False, pool='mean', **SMALL))
    with pytest.raises(Mistake, match='has no pair; type class_token=True'):
        variables(module, x, method='pair')


def test_the_place_of_a_patch_matters(vit):
    _, drawn, x, apply = vit
    assert np.abs(apply(drawn, np.roll(x, 4, 1)) - apply(drawn, x)).max() > 1e-3


def test_other_sizes(vit):
    """Learned positions are resized to the input."""
    module, drawn, _, _ = vit
    assert jax.eval_shape(module.apply, drawn, normal(2, 8, 24, 3)).shape == (2, 16)
    # a table that is linear in row and column stays linear inside
    ramp = np.arange(4.0)[:, None] + 10 * np.arange(4.0)
    place = np.concatenate([np.zeros(1), ramp.ravel()])[:, None].repeat(16, 1)
    params = {**drawn['params'], 'place': np.float32(place)}
    found = np.asarray(jax.jit(lambda p: module.bind({'params': p}).where(8, 8))(params))
    assert not found[0].any()  # the class token's is not resized
    found = found[1:, 0].reshape(8, 8)
    middle = (np.arange(8) + 0.5) / 2 - 0.5
    expected = middle[:, None] + 10 * middle
    np.testing.assert_allclose(found[3:5, 3:5], expected[3:5, 3:5], atol=0.02)


def test_attention_without_a_class_token_is_a_mistake():
    module = make(dict(name='vit', class_token=False, pool='mean', **SMALL))
    with pytest.raises(Mistake, match='type class_token=True'):
        variables(module, normal(1, 16, 16, 3), method='attention')


def decoder(tokens, kept, **options):
    """(tokens) -> pixels of a small decoder, of a grid of 4 x 4."""
    module = make(dict(name='vit_decoder', patch=4, width=16, heads=2, **options))
    drawn = variables(module, tokens, kept, (4, 4))
    return jax.jit(lambda tokens: module.apply(drawn, tokens, kept, (4, 4)))


@pytest.mark.parametrize('class_token', [True, False])
def test_the_decoder_puts_tokens_in_their_places(class_token):
    tokens, kept = normal(2, class_token + 3, 8), np.array([[3, 0, 9], [5, 6, 7]])
    ask = decoder(tokens, kept, depth=0, class_token=class_token)
    out = np.asarray(ask(tokens))  # waits: the array is changed below, where jax may still read it
    assert out.shape == (2, 16, 48)
    # with no block, a token reaches its own place alone
    tokens[0, class_token + 1] += 1.0
    changed = np.abs(np.asarray(ask(tokens) - out)).max(-1) > 1e-6
    assert changed[0, 0] and changed.sum() == 1


def test_every_masked_place_depends_on_every_kept_token():
    tokens, kept = normal(1, 3, 8).repeat(4, 0), np.array([[3, 0, 9]]).repeat(4, 0)
    tokens[np.arange(1, 4), np.arange(3)] += normal(8, seed=1)  # another one in each row but one
    out = np.asarray(decoder(tokens, kept, depth=1, class_token=False)(tokens))
    assert (np.abs(out[1:] - out[0]).max(-1) > 1e-4).all()  # [3 tokens, 16 places]
