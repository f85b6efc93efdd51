"""k-means features, restated from Coates, Ng & Lee 2011 (AISTATS), sections 3 and 4, and for layers
Coates & Ng 2011 (NeurIPS 24), section 3."""

import functools
from unittest import mock

import jax
import jobs
import numpy as np
import oracle
import pytest

from ssljax import cluster, model

PLAIN = {'model__views': 1}


@functools.cache
def job(**changes):
    return jobs.job('kmeans_features', **changes)


def images(one):
    """Of training, in [-1, 1], float64."""
    return one.train.rows(np.arange(64))['x'].astype(np.float64) / 127.5 - 1


def windows(x, size):
    """All patches of [N, H, W, C]: [N, h, w, size * size * C], their entries row by row."""
    view = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    return view.transpose(0, 1, 2, 4, 5, 3).reshape(*view.shape[:3], -1)


def level(patches, contrast=7.0):
    """AISTATS, section 3.1.1: less its mean, over its deviation, 10 added to the variance of 8-bit
    pixels; here 7."""
    p = 127.5 * patches
    return (p - p.mean(-1, keepdims=True)) / np.sqrt(p.var(-1, keepdims=True) + contrast)


def mirrored(patches, size):
    """A patch and its mirror image: [2, ..., D]."""
    p = patches.reshape(*patches.shape[:-1], size, size, -1)
    return np.stack([patches, p[..., ::-1, :].reshape(patches.shape)])


def triangle(layer, patches, views):
    """Equation 2: max(0, mu(z) - z_k), z_k the distance to center k, of the nearest view."""
    white = (patches - layer['mean']) @ np.float64(layer['whiten'])
    seen = mirrored(white, int(round((white.shape[-1] / views[1]) ** 0.5))) if views[0] else [white]
    z = np.min([np.linalg.norm(w[..., None, :] - layer['centers'], axis=-1) for w in seen], 0)
    return np.maximum(z.mean(-1, keepdims=True) - z, 0)


def quadrants(f):
    """Section 3.2.2: sums over four quadrants; the line in the middle is of the first half."""
    h, w = ((n + 1) // 2 for n in f.shape[1:3])
    parts = f[:, :h, :w], f[:, :h, w:], f[:, h:, :w], f[:, h:, w:]
    return np.concatenate([part.sum((1, 2)) for part in parts], -1)


def pooled(f, side):
    h, w = (n // side for n in f.shape[1:3])
    cells = f[:, : h * side, : w * side].reshape(len(f), h, side, w, side, -1)
    return cells.mean((2, 4))


def layers(state, x, views):
    """Maps of both layers: [N, 29, 29, 12] and [N, 6, 6, 8]."""
    at = lambda name, g: {k: v[g] for k, v in state.params[name].items()}  # noqa: E731
    first = triangle(at('layer_0', 0), level(windows(x, 4)), (views, 1))
    cells = pooled(first, 4)
    fields = np.asarray(state.memory['fields']['layer_1'])
    second = [
        triangle(at('layer_1', g), windows(cells[..., inputs], 2), (views, 4))
        for g, inputs in enumerate(fields)
    ]
    return first, np.concatenate(second, -1)


@pytest.mark.parametrize('changes', [{}, PLAIN])
def test_features(changes):
    """Of all layers, side by side; a second layer has groups of features of the first."""
    one = job(**changes)
    state = jax.device_get(oracle.moved(one, 1))
    fields = np.random.default_rng(3).permutation(12)[:8].reshape(2, 4).astype(np.int32)
    state = state.remember(fields={'layer_1': fields})
    x = images(one)[:6]
    encode = one.method.readouts['encode']
    found = oracle.quick(lambda s, x: encode(jax.random.key(0), s, {'x': x}), state, np.float32(x))
    maps = layers(state, x, views=not changes)
    assert [f.shape[1:] for f in maps] == [(29, 29, 12), (6, 6, 8)]
    oracle.close(found, np.concatenate([quadrants(f) for f in maps], 1), 1e-3)
    assert all((f == 0).mean() > 0.2 for f in maps)  # 'roughly half of the features are zero'


@functools.cache
def learned():
    """State after the refresh before step 0, and what clusters were asked and answered, by name;
    what is asked for several groups at once comes in any order."""
    one, asked = job(), {'kmeans': [], 'zca': [], 'alike': []}

    def noted(name):
        def call(*args, **options):
            out = getattr(cluster, name)(*args, **options)
            given = args[-1]  # without the key
            note = lambda x, out: asked[name].append((x, options, out))  # noqa: E731
            jax.debug.callback(note, given, out)
            return out

        return mock.patch(f'ssljax.methods.kmeans_features.{name}', call)

    with noted('kmeans'), noted('zca'), noted('alike'):
        state, _ = one.method.refresh.rule(
            jax.random.key(1), one.placed(one.fresh()), one.sweep(purpose=model.REFRESH)
        )
        state = jax.device_get(state)
        jax.effects_barrier()
    return state, jax.tree.map(np.asarray, asked)


def whitened(x):
    """AISTATS, section 3.1.2: V (D + epsilon)^(-1/2) V', epsilon 0.2 of the mean variance."""
    variance, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    return axes @ np.diag((variance + 0.2 * variance.mean()) ** -0.5) @ axes.T


def test_the_first_layer_is_learned_of_patches_of_every_image():
    state, asked = learned()
    (x, _, (mean, whiten)), *_ = sorted(asked['zca'], key=lambda call: -call[0].shape[0])
    layer, every = state.params['layer_0'], level(windows(images(job()), 4)).reshape(64, -1, 16)
    pairs = x.reshape(64, 5, 2, 16)  # 5 of each image, and their mirror images
    np.testing.assert_allclose(np.moveaxis(mirrored(pairs[:, :, 0], 4), 0, 2), pairs, atol=1e-4)
    apart = np.abs(pairs[:, :, None, 0] - every[:, None]).max(-1)  # [64, 5, places]
    assert apart.min(-1).max() < 1e-3
    assert len(np.unique(apart.argmin(-1))) > 100  # from all over the image
    oracle.close(whiten, whitened(np.float64(x)), 1e-3)
    oracle.close((layer['mean'][0], layer['whiten'][0]), (mean, whiten))
    (x2, options, (_, centers, _)) = next(c for c in asked['kmeans'] if c[1]['k'] == 12)
    assert options == dict(k=12, rounds=3)
    oracle.close(x2.reshape(-1, 16), (x - mean) @ whiten, 1e-3)
    oracle.close(layer['centers'][0], centers)


def test_a_next_layer_sees_groups_of_the_most_similar_features():
    """NeurIPS, section 3.1: a feature, and those whose squares rise and fall with its own."""
    state, asked = learned()
    ((z, options, similar),) = asked['alike']
    assert z.shape[1] == 12 and similar.shape == (12, 12)
    fields = state.memory['fields']['layer_1']
    for inputs in fields:
        best = [set(np.argsort(-row, kind='stable')[:4]) for row in similar]
        assert set(inputs.tolist()) in best
    layer = state.params['layer_1']
    found = [call for call in asked['kmeans'] if call[1]['k'] == 4]
    assert len(found) == 2 and all(call[1]['rounds'] == 3 for call in found)
    for g in range(2):  # each group has centers of its own
        gaps = [np.abs(call[2][1] - layer['centers'][g]).max() for call in found]
        assert min(gaps) < 1e-5 < max(gaps)


def test_nothing_else_is_learned():
    """Once, before step 0, and a step changes nothing."""
    one = job()
    assert not one.method.turns and one.method.after is None
    assert [bool(one.method.refresh.when(k)) for k in range(3)] == [True, False, False]
