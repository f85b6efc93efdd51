"""MAE, restated from He et al. 2021, arXiv:2111.06377, section 3."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

# with a class token the encoder answers one token more
OTHER = {
    'model__normalize': False, 'model__ratio': 0.5, 'model__encoder__class_token': True,
    'model__decoder__class_token': True,
}  # fmt: skip


def patches(x, size=8):
    """Squares of the image, row by row: [B, H, W, C] -> [B, T, size * size * C]."""
    B, H, W, C = x.shape
    x = np.reshape(x, (B, H // size, size, W // size, size, C)).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(B, -1, size * size * C)


def scale(target, normalize):
    """Mean and deviation of the pixels of each patch, 'reconstruction target'; or 0 and 1."""
    if not normalize:
        return 0.0, 1.0
    # 1e-6: in the authors' code, for patches of one color
    return target.mean(-1, keepdims=True), np.sqrt(target.var(-1, keepdims=True) + 1e-6)


def hidden_mse(predicted, target, kept, normalize):
    """The mean squared error of the pixels of the hidden patches alone."""
    hidden = np.ones(target.shape[:2], bool)
    np.put_along_axis(hidden, np.asarray(kept), False, 1)
    mean, deviation = scale(target, normalize)
    return jnp.mean(((predicted - (target - mean) / deviation) ** 2)[hidden])


def see(changes):
    """The loss, and the indices [B, K] of the patches that were kept; what was called with what."""
    seen = oracle.see('mae', **changes)
    (views,), (encoded, decoded) = seen.views, seen.calls
    assert views.spec == seen.config['view']
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    assert encoded[:3] == ('encoder', 'tokens', True)
    assert decoded[:3] == ('decoder', '__call__', True)
    np.testing.assert_array_equal(encoded.args[0], views.out)
    np.testing.assert_array_equal(decoded.args[0], encoded.out)
    np.testing.assert_array_equal(decoded.args[1], encoded.args[1])
    assert tuple(decoded.args[2]) == (4, 4) and not seen.memory and not seen.logs
    return seen, views.out, encoded.args[1]


def test_the_loss():
    seen, x, kept = see({})
    nets = seen.nets('encoder', 'decoder', patch=8)

    def loss(params):
        net = nets(params, train=True)
        predicted = net.decoder(net.encoder(x, kept, method='tokens'), kept, (4, 4))
        return hidden_mse(predicted, patches(x), kept, True)

    value, gradient = oracle.quick(jax.value_and_grad(loss), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)


@pytest.mark.parametrize('changes, count', [({}, 4), (OTHER, 8)])
def test_an_exact_share_is_kept_drawn_for_each_image(changes, count):
    seen, x, kept = see(changes)
    assert kept.shape == (len(x), count) and all(len(set(row)) == count for row in kept)
    assert len(set(map(tuple, np.sort(kept)))) > len(x) / 2
    expected = hidden_mse(seen.calls[1].out, patches(x), kept, seen.config['normalize'])
    oracle.close(seen.value, expected)


@pytest.mark.parametrize('changes, ratio', [({}, 0.25), (OTHER, None)])
def test_readouts(changes, ratio):
    """Features of the whole image; a picture whose hidden patches are as predicted."""
    seen = oracle.see('mae', **changes)
    nets, x = seen.nets('encoder', 'decoder', patch=8), seen.batch['x'][:, :16]  # a grid 2 x 4
    options = {'ratio': ratio} if ratio else {}
    encode, reconstruct = (seen.job.method.readouts[name] for name in ('encode', 'reconstruct'))

    def answers(state):
        key, net = jax.random.key(1), nets(state.params)
        pictures = reconstruct(key, state, {'x': x}, **options)
        kept = jnp.argsort(pictures['mask'], axis=1)[:, : 8 - round(8 * (ratio or 0.5))]
        predicted = net.decoder(net.encoder(x, kept, method='tokens'), kept, (2, 4))
        return encode(key, state, {'x': x}), net.encoder(x), pictures, predicted

    features, expected, pictures, predicted = oracle.quick(answers, seen.state)
    oracle.close(features, expected)
    mask, target = pictures['mask'], patches(x)
    assert (mask.sum(1) == round(8 * (ratio or 0.5))).all() and len(np.unique(mask, axis=0)) > 8
    mean, deviation = scale(target, seen.config['normalize'])
    painted = np.where(mask[..., None], predicted * deviation + mean, target)
    oracle.close(patches(pictures['reconstruction']), painted)
    flat = np.where(mask[..., None], target.mean(-1, keepdims=True), target)
    oracle.close(patches(pictures['means']), flat)
    assert (patches(pictures['masked'])[mask] == 0).all()  # gray
    np.testing.assert_array_equal(patches(pictures['masked'])[~mask], target[~mask])
