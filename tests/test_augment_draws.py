"""Random operators and views: keys, limits, chances, distributions, order, bad input."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from test_augment import KEY, bytes_of, exact, many, picture, show  # noqa: F401  exact: a fixture

from ssljax import augment
from ssljax.augment import color, geometry, image, texture
from ssljax.names import Mistake

# draws ----

RANDOM = {
    'crop': lambda key, x: geometry.random_crop(key, x, size=16),
    'flip': geometry.random_flip,
    'affine': lambda key, x: geometry.random_affine(
        key, x, zoom=0.3, aspect=0.3, shear=0.3, rotation=0.3, shift=3.0
    ),
    'jitter': color.random_jitter,
    'gray': color.random_gray,
    'blur': texture.random_blur,
    'noise': texture.random_noise,
    'quarter, solarize, salt_pepper': lambda key, x: texture.random_salt_pepper(
        key, color.random_solarize(key, geometry.random_quarter(key, x[:, :24]))
    ),
    'field': texture.random_field,
    'cutout': lambda key, x: texture.random_cutout(key, x, side=(3.0, 9.0)),
}
VIEWS = {
    'simclr': image.simclr(size=16, strength=1.0, blur=0.5, solarize=0.2),
    'crop': image.crop(size=(12, 20)),
    'ink': image.ink(),
}


IN_GRAY = ('jitter', 'gray', 'simclr', 'ink')  # to these, channels matter


@pytest.mark.parametrize(
    'name, channels', [*((n, 3) for n in (RANDOM | VIEWS)), *((n, 1) for n in IN_GRAY)]
)
def test_one_key_one_picture_and_vmap_is_the_loop(name, channels):
    op, x = (RANDOM | VIEWS)[name], picture(channels)
    keys = jax.random.split(KEY, 24)
    one = jax.jit(op)
    loop = np.stack([one(key, x) for key in keys])
    np.testing.assert_array_equal(one(keys[0], x), loop[0])
    # products of another shape round otherwise; solarize can turn a pixel on its threshold
    batched = many(op, 24, x)
    assert np.mean(np.abs(batched - loop) > 1e-4) < 1e-3
    assert np.isfinite(loop).all() and loop.dtype == np.float32
    if channels == 3 or name != 'gray':
        assert np.ptp(loop, axis=0).max() > 0.01  # keys matter
    if name not in ('noise', 'field', 'ink'):
        assert np.abs(loop).max() <= 1 + 1e-5


def test_nothing_asked_nothing_done():
    x = picture(3, shape=(32, 32))
    still = image.simclr(scale=(1, 1), flip=0, jitter=0, gray=0)
    np.testing.assert_allclose(show(still, x), x, atol=1e-6)
    weak = image.simclr(scale=(1, 1), flip=0, jitter=1, strength=0, gray=0, blur=1, sigma=(0, 0))
    np.testing.assert_allclose(show(weak, x), x, atol=1e-6)
    names = 'zoom aspect shift shear rotation contrast polarity brightness field noise cutout'
    bare = image.ink(blur=(0, 0), **dict.fromkeys(names.split(), 0))
    np.testing.assert_allclose(show(bare, x), (x - x.mean()) / x.std(), atol=1e-5)
    np.testing.assert_array_equal(image.identity()(KEY, x), x)
    nothing = partial(color.random_jitter, brightness=0, contrast=0, saturation=0, hue=0)
    np.testing.assert_allclose(show(nothing, x), x, atol=1e-6)


def test_chances_one_and_zero_are_certain():
    x = picture(3, shape=(16, 16))
    still = dict(size=16, scale=(1, 1), jitter=0, gray=0, flip=0)
    for kw, want in [
        (dict(flip=1.0), geometry.flip(x)),
        (dict(gray=1.0), color.gray(x)),
        (dict(solarize=1.0), color.solarize(x)),
        (dict(blur=1.0, sigma=(1.5, 1.5)), texture.blur(x, 1.5, radius=5)),
    ]:
        np.testing.assert_allclose(show(image.simclr(**{**still, **kw}), x), want, atol=1e-5)


@pytest.mark.parametrize('shape', [(32, 32, 3), (20, 50, 1)])
def test_boxes_fit_and_are_spread_as_promised(shape):
    H, W, _ = shape
    u = np.random.default_rng(0).random((20000, 4), dtype=np.float32)
    options = dict(shape=shape, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3))
    draw = jax.jit(jax.vmap(lambda u: jnp.stack(geometry.draw_box(u, **options))))
    top, left, height, width = np.asarray(draw(u), float).T
    for low, size, whole in ((top, height, H), (left, width, W)):
        assert low.min() >= 0 and (low + size).max() <= whole * (1 + 1e-6)
    area, aspect = height * width / (H * W), width / height
    assert scipy.stats.kstest(area, 'uniform', (0.08, 0.92)).pvalue > 1e-3
    small = area < 0.75 * min(H / W, W / H)  # there every aspect fits
    spread = scipy.stats.kstest(
        np.log(aspect[small]), 'uniform', (np.log(3 / 4), 2 * np.log(4 / 3))
    )
    assert spread.pvalue > 1e-3 and small.sum() > 1000
    if H == W:
        assert aspect.min() > 3 / 4 - 1e-5 and aspect.max() < 4 / 3 + 1e-5
    place = left[small] / (W - width[small])
    assert scipy.stats.kstest(place, 'uniform').pvalue > 1e-3


def test_jitter_and_affine_amounts_fill_their_bounds():
    u = np.random.default_rng(0).random((4000, 6), dtype=np.float32)
    bounds = dict(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    drawn = jax.jit(jax.vmap(lambda u: jnp.stack(color.draw_jitter(u, **bounds))))(u)
    for got, (low, high) in zip(
        drawn.T, [(0.6, 1.4), (0, 2.5), (0.8, 1.2), (-0.1, 0.1)], strict=True
    ):
        assert scipy.stats.kstest(np.asarray(got), 'uniform', (low, high - low)).pvalue > 1e-3
    bounds = dict(zoom=0.1, aspect=0.2, shear=0.3, rotation=0.4, shift=5.0)
    drawn = jax.jit(jax.vmap(lambda u: geometry.draw_affine(u, **bounds)))(u)
    for name, bound in bounds.items():
        for got in drawn[name] if name == 'shift' else [drawn[name]]:
            assert scipy.stats.kstest(np.asarray(got), 'uniform', (-bound, 2 * bound)).pvalue > 1e-3


def ramp(size):
    """A picture that says where each pixel comes from: down, across; the borders are -1 and 1."""
    i, j = np.mgrid[:size, :size]
    return (np.stack([i, j, 0 * i], -1) * 2 + 1).astype('f') / size - 1


def slopes(seen, size):
    """How many source pixels apart two neighbors in the middle are: d (down, across) / d (i, j)."""
    n = seen.shape[-3] // 2
    down, across = (seen[..., n, n, :2] - seen[..., n - a, n - b, :2] for a, b in ((1, 0), (0, 1)))
    return np.stack([down, across], -1) * size / 2  # [..., of down and across, along i and j]


def test_turns_and_shears_fill_their_bounds():
    def draws(key):
        yield geometry.random_rotation(key, ramp(16), angle=0.7)
        yield geometry.random_shear(key, ramp(16), amount=0.4)
        yield geometry.random_quarter(key, ramp(4))

    drawn = jax.jit(jax.vmap(lambda key: list(draws(key))))(jax.random.split(KEY, 2000))
    turned, sheared, quarters = map(np.asarray, drawn)
    turned, sheared = slopes(turned, 16), slopes(sheared, 16)
    angle = np.arctan2(turned[:, 0, 1], turned[:, 0, 0])
    assert scipy.stats.kstest(angle, 'uniform', (-0.7, 1.4)).pvalue > 1e-3
    np.testing.assert_allclose(sheared[:, 0], [[1, 0]] * 2000, atol=1e-4)
    assert scipy.stats.kstest(sheared[:, 1, 0], 'uniform', (-0.4, 0.8)).pvalue > 1e-3
    corners = np.sign(quarters[:, 0, 0, :2])  # which corner came up
    counts = np.unique(corners, axis=0, return_counts=True)[1]
    assert len(counts) == 4 and scipy.stats.chisquare(counts).pvalue > 1e-3


def test_solarize_and_salt_pepper_come_as_often_as_asked():
    x = np.full((16, 16, 3), 0.25, 'f')

    def draws(key):
        yield color.random_solarize(key, x, chance=0.3)
        yield texture.random_salt_pepper(key, x, amount=(0.2, 0.6))
        yield texture.random_salt_pepper(key, x, amount=(0.3, 0.3), whole=False)

    drawn = jax.jit(jax.vmap(lambda key: list(draws(key))))(jax.random.split(KEY, 1000))
    solarized, whole, apart = map(np.asarray, drawn)
    turned = (solarized == -0.25).all((1, 2, 3))
    assert ((solarized == x).all((1, 2, 3)) | turned).all()
    assert abs(turned.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 1000)
    lost = whole != x
    assert (lost == lost[..., :1]).all()  # all channels of a pixel
    share = lost.mean((1, 2, 3))
    error = np.sqrt(0.4**2 / 12 + 0.24 / 256)  # of the share drawn, and of the pixels
    assert abs(share.mean() - 0.4) < 4 * error / np.sqrt(1000)
    assert share.min() < 0.25 and share.max() > 0.55
    lost = apart != x
    assert abs(lost.mean() - 0.3) < 4 * np.sqrt(0.21 / lost.size)
    assert abs(np.corrcoef(lost[..., 0].ravel(), lost[..., 1].ravel())[0, 1]) < 0.02


def test_multi_crop_is_views_of_two_sizes():
    """Large crops of most of the image and small ones of parts of it (Caron et al. 2020)."""
    wide = augment.make(dict(name='crop', size=32, scale=(0.4, 1.0)))
    near = augment.make(dict(name='crop', size=14, scale=(0.05, 0.4)))

    def both(key, x):
        k1, k2 = jax.random.split(key)
        return augment.views(wide, k1, x, 2), augment.views(near, k2, x, 6)

    seen = jax.jit(both)(KEY, np.tile(ramp(64), (120, 1, 1, 1)))
    assert [s.shape for s in seen] == [(240, 32, 32, 3), (720, 14, 14, 3)]
    for crops, (low, high) in zip(map(np.asarray, seen), [(0.4, 1.0), (0.05, 0.4)], strict=True):
        apart = slopes(crops, 64)
        area = np.abs(apart[:, 0, 0] * apart[:, 1, 1]) * (crops.shape[-2] / 64) ** 2
        assert scipy.stats.kstest(area, 'uniform', (low, high - low)).pvalue > 1e-3
        assert crops[..., :2].min() < -0.95 and crops[..., :2].max() > 0.95  # up to the borders
        flips = (apart[:, 1, 1] < 0).mean()
        assert abs(flips - 0.5) < 4 * 0.5 / np.sqrt(len(area))


# what a view asks of its operators ----


@pytest.fixture
def asked(monkeypatch):
    """(view, n) -> {operator: [n, numbers that it was given]} in the order of the calls.

    Each operator writes these numbers into the picture and does nothing else, so that the view's
    own choice, whether it acts, stays in force: NaN where it does not.
    """

    def asked(view, n=2000):
        calls = {}

        def writer(name, x, *given, size=None, radius=None, **named):
            first = [jnp.ravel(a)[0] for a in jax.tree.leaves((given, named))] or [1.0]
            start = sum(calls.values())
            calls[name] = len(first)
            # a one beside each number tells whether it was kept, and its sign follows the picture's
            pairs = jnp.array([(number, 1.0) for number in first])
            return x.at[0, start : start + len(first), :2].set(pairs)

        operators = {
            geometry: ('crop', 'affine'),
            color: ('jitter', 'gray', 'solarize', 'scale', 'normalize'),
            texture: ('blur', 'field', 'noise', 'salt_pepper', 'cutout'),
        }
        for module, names in operators.items():
            for name in names:
                monkeypatch.setattr(module, name, partial(writer, name))
        number, kept = np.moveaxis(many(view, n, np.zeros((32, 32, 3), 'f'))[:, 0, :, :2], -1, 0)
        number = np.where(kept == 0, np.nan, number * kept)
        told = np.split(number, np.cumsum([*calls.values()]), 1)
        return dict(zip(calls, told)) | {'sign': kept[:, 0]}  # that of the first call

    return asked


def share(chance):
    """The law of a decision that is taken with this chance."""
    return lambda drawn: scipy.stats.binomtest(int(drawn.sum()), len(drawn), chance).pvalue


def within(low, high):
    return lambda drawn: scipy.stats.kstest(drawn, 'uniform', (low, high - low)).pvalue


def check(drawn, laws):
    """Each number has its law, and of no two of them does one tell about the other."""
    for name, law in laws.items():
        assert law(drawn[name][np.isfinite(drawn[name])]) > 1e-4, name
    rank = scipy.stats.rankdata
    ranks = {name: rank(values, nan_policy='omit') for name, values in drawn.items()}
    for a, b in itertools.combinations(drawn, 2):
        at = np.isfinite(drawn[a]) & np.isfinite(drawn[b])
        one, other = ranks[a][at], ranks[b][at]
        if np.ptp(one) and np.ptp(other):  # not an amount beside the decision that it is used
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(len(one)), (a, b)


def places(box):
    """Area and aspect of boxes in a picture of 32 x 32, and where each lies in what it leaves."""
    top, left, height, width = box.T
    left, width = np.where(width < 0, left + width, left), np.abs(width)
    shape = dict(area=height * width / 32**2, aspect=np.log(width / height))
    return shape | dict(down=top / (32 - height), across=left / (32 - width))


@pytest.mark.parametrize('strength', [0.4, 1.5])
def test_all_that_simclr_draws_is_apart_and_within_its_bounds(asked, strength):
    odds = dict(flip=0.3, jitter=0.7, gray=0.25, blur=0.6, solarize=0.15)
    view = image.simclr(
        scale=(0.2, 0.6), ratio=(0.7, 1.6), strength=strength, sigma=(0.5, 1.5), **odds
    )
    found = asked(view)
    assert list(found) == ['crop', 'jitter', 'gray', 'blur', 'solarize', 'sign']
    factors, sigma = found['jitter'].copy(), found['blur'][:, 0].copy()
    acts, blurred = (factors != [1, 1, 1, 0]).any(1), sigma > 0
    factors[~acts], sigma[~blurred] = np.nan, np.nan
    taken = dict(flip=found['crop'][:, 3] < 0, jitter=acts, blur=blurred)
    taken |= {name: np.isfinite(found[name][:, 0]) for name in ('gray', 'solarize')}
    light = ('brightness', 'contrast', 'saturation')
    drawn = places(found['crop']) | dict(zip((*light, 'hue'), factors.T)) | dict(sigma=sigma)
    laws = {name: share(chance) for name, chance in odds.items()}
    laws |= dict.fromkeys(light, within(max(0, 1 - 0.8 * strength), 1 + 0.8 * strength))
    laws |= dict(hue=within(-0.2 * strength, 0.2 * strength), sigma=within(0.5, 1.5))
    laws |= dict(area=within(0.2, 0.6), aspect=within(np.log(0.7), np.log(1.6)))
    laws |= dict.fromkeys(('down', 'across'), within(0, 1))
    check(drawn | {name: was.astype(float) for name, was in taken.items()}, laws)


def test_all_that_crop_draws_is_apart_and_within_its_bounds(asked):
    box = asked(image.crop(scale=(0.2, 0.6), ratio=(0.7, 1.6), flip=0.3))['crop']
    laws = dict(area=within(0.2, 0.6), aspect=within(np.log(0.7), np.log(1.6)), flip=share(0.3))
    laws |= dict.fromkeys(('down', 'across'), within(0, 1))
    check(places(box) | dict(flip=(box[:, 3] < 0).astype(float)), laws)


def test_all_that_ink_draws_is_apart_and_within_its_bounds(asked):
    bounds = dict(aspect=0.2, rotation=0.15, shear=0.3, zoom=0.25)
    amounts = dict(contrast=0.35, brightness=0.4, field=0.2, noise=0.12, side=(2.0, 6.0))
    found = asked(
        image.ink(**bounds, **amounts, shift=4.0, blur=(0.25, 1.0), polarity=0.3, cutout=0.6)
    )
    order = ['affine', 'blur', 'scale', 'field', 'noise', 'cutout', 'normalize', 'sign']
    assert list(found) == order
    top, left, side, width, value = found['cutout'].T
    np.testing.assert_array_equal(side, width)
    names = ('aspect', 'rotation', 'shear', 'down', 'across', 'zoom')
    drawn = dict(zip(names, found['affine'].T)) | dict(sigma=found['blur'][:, 0])
    drawn |= dict(contrast=np.log(found['scale'][:, 0]), brightness=found['scale'][:, 1])
    drawn |= dict(zip(('field', 'grid', 'noise', 'grain'), [*found['field'].T, *found['noise'].T]))
    drawn |= dict(top=(top + side / 2) / 32, left=(left + side / 2) / 32, side=side, value=value)
    drawn |= dict(polarity=1.0 * (found['sign'] < 0), cutout=1.0 * np.isfinite(side))
    laws = {name: within(-bound, bound) for name, bound in bounds.items()}
    laws |= dict.fromkeys(('down', 'across'), within(-4, 4))
    laws |= dict(sigma=within(0.25, 1), contrast=within(-0.35, 0.35), brightness=within(-0.4, 0.4))
    laws |= dict(field=within(0, 0.2), noise=within(0, 0.12), side=within(2, 6), top=within(0, 1))
    laws |= dict(left=within(0, 1), value=within(-1, 1), polarity=share(0.3), cutout=share(0.6))
    check(drawn, laws)


def test_all_that_a_random_operator_draws_is_apart(asked):
    """Its amount and the first number of its grain; of cutout the box and whether it is cut."""
    for name in ('noise', 'field', 'salt_pepper'):
        check(dict(enumerate(asked(getattr(texture, f'random_{name}'), 1000)[name].T)), {})
    cutout = partial(texture.random_cutout, side=(3.0, 9.0), chance=0.3)
    top, left, side, _, _ = asked(cutout)['cutout'].T
    drawn = dict(top=(top + side / 2) / 32, left=(left + side / 2) / 32, side=side)
    laws = dict(top=within(0, 1), left=within(0, 1), side=within(3, 9), acts=share(0.3))
    check(drawn | dict(acts=1.0 * np.isfinite(side)), laws)


def test_views_of_one_example_are_neighbors():
    x = jnp.stack([jnp.full((8, 8, 1), v) for v in (-0.5, 0.0, 0.5, 0.9)])
    y = jax.jit(lambda x: augment.views(image.crop(size=6), KEY, x, 3))(x)
    assert y.shape == (12, 6, 6, 1)
    np.testing.assert_allclose(y[:, 0, 0, 0], np.repeat([-0.5, 0.0, 0.5, 0.9], 3), atol=1e-6)
    x = jnp.tile(picture(3), (2, 1, 1, 1))
    y = np.asarray(jax.jit(lambda x: augment.views(image.crop(size=8), KEY, x, 2))(x))
    apart = np.abs(y[:, None] - y[None]).max((2, 3, 4))[~np.eye(4, dtype=bool)]
    assert apart.min() > 0.01  # four views, four draws


# names and bad input ----


def test_make_builds_by_name_and_passes_objects_through():
    x = picture(3)
    made = show(augment.make(dict(name='crop', size=8)), x)
    np.testing.assert_array_equal(made, show(image.crop(size=8), x))
    assert augment.make(VIEWS['ink']) is VIEWS['ink']
    for name in augment.offered():
        assert callable(augment.make(dict(name=name)))


@pytest.mark.parametrize(
    'spec, says',
    [
        (dict(name='simcrl'), 'did you mean simclr'),
        (dict(name='simclr', jiter=0.5), 'did you mean jitter'),
        (dict(name='simclr', flip=1.5), 'flip is 1.5'),
        (dict(name='simclr', scale=(1.0, 0.2)), 'scale is'),
        (dict(name='simclr', scale=0.2), 'scale=\\(low, high\\)'),
        (dict(name='simclr', ratio=(0, 1)), 'ratio is'),
        (dict(name='simclr', strength=-1), 'strength is -1'),
        (dict(name='ink', side=(3, 6, 9)), 'side is'),
        (dict(name='ink', polarity=-0.1), 'polarity is'),
    ],
)
def test_a_bad_spec_is_one_line(spec, says):
    with pytest.raises(Mistake, match=says) as found:
        augment.make(spec)
    assert '\n' not in str(found.value)


@pytest.mark.parametrize('x', [bytes_of(3), picture(3)[None], picture(3)[..., :2]])
def test_a_bad_image_is_one_line(x):
    for view in VIEWS.values():
        with pytest.raises(Mistake, match='one float image'):
            view(KEY, jnp.asarray(x))


def test_cutout_reaches_all_of_a_wide_and_of_a_high_image():
    for shape in ((8, 32), (32, 8)):
        x = np.zeros((*shape, 1), 'f')
        cut = partial(texture.random_cutout, side=(4.0, 4.0), value=1.0)
        touched = np.abs(many(cut, 400, x)).max((0, 3)) > 0
        assert touched.all(), shape
