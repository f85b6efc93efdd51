"""Augmentations at fixed amounts against PIL, scipy and the standard library."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageEnhance, ImageOps

from ssljax.augment import color, geometry, texture

LEVEL = 2 / 255  # one gray level on the scale of [-1, 1]
KEY = jax.random.key(0)

# compiled whole: one after another the small steps compile slower
crop = jax.jit(geometry.crop, static_argnames='size')
warp, affine = jax.jit(geometry.warp), jax.jit(geometry.affine)
blur = jax.jit(texture.blur, static_argnames='radius')


def show(view, x):
    return np.asarray(jax.jit(view)(KEY, x))


def many(view, n, x):
    return np.asarray(jax.jit(jax.vmap(view, (0, None)))(jax.random.split(KEY, n), x))


@pytest.fixture(autouse=True, scope='module')
def exact():
    with jax.default_matmul_precision('highest'):  # GPUs and TPUs round products otherwise
        yield


def bytes_of(channels, shape=(24, 31), seed=0):
    """A smooth but uneven picture with a hard edge, as bytes."""
    rng = np.random.default_rng(seed)
    x = scipy.ndimage.gaussian_filter(rng.normal(size=(*shape, channels)), (2, 2, 0))
    x = (x - x.min()) / (x.max() - x.min()) * 255
    x[3:9, 4:20] = rng.integers(0, 256, channels)
    return x.astype(np.uint8)


def picture(channels, **kw):
    return (bytes_of(channels, **kw) / 127.5 - 1).astype(np.float32)


def pil(b):
    return Image.fromarray(b[..., 0] if b.shape[-1] == 1 else b)


def unpil(image):
    b = np.asarray(image)
    return (b[..., None] if b.ndim == 2 else b) / 127.5 - 1


# geometry ----


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize(
    'box, size',
    [
        ((2.3, 5.9, 17.2, 11.4), 32),  # enlarges
        ((0.0, 0.0, 24.0, 31.0), (7, 9)),  # shrinks: the filter must widen
        ((1.7, 0.4, 21.9, 8.0), (10, 16)),  # one of each
        ((4.0, 9.0, 12.0, 12.0), 12),  # an exact cut
    ],
)
def test_crop_is_pils_bilinear_resize(channels, box, size):
    x = picture(channels)
    h, w = (size, size) if isinstance(size, int) else size
    top, left, height, width = box
    cut = (left, top, left + width, top + height)
    want = [
        np.asarray(Image.fromarray(x[..., c]).resize((w, h), Image.Resampling.BILINEAR, box=cut))
        for c in range(channels)
    ]
    np.testing.assert_allclose(
        crop(x, box, size=size), np.stack(want, -1), atol=1e-5
    )  # floats on both sides: nothing but rounding


def test_crop_of_the_whole_is_the_image_and_a_negative_width_mirrors():
    x = picture(3)
    np.testing.assert_allclose(crop(x, (0.0, 0.0, 24.0, 31.0), size=(24, 31)), x, atol=1e-6)
    box = (2.0, 3.0, 15.0, 20.0)
    plain, mirrored = (crop(x, geometry.mirror(box, f), size=16) for f in (False, True))
    np.testing.assert_allclose(mirrored, geometry.flip(plain), atol=1e-5)
    np.testing.assert_array_equal(
        geometry.flip(x), unpil(ImageOps.mirror(pil(bytes_of(3)))).astype('f')
    )


@pytest.mark.parametrize('channels', [1, 3])
def test_warp_is_scipys_affine_transform(channels):
    x, matrix, shift = picture(channels), np.array([[0.9, 0.3], [-0.4, 1.2]]), np.array([2.4, -3.1])
    center = (np.array(x.shape[:2]) - 1) / 2
    want = [
        scipy.ndimage.affine_transform(
            x[..., c].astype(float),
            matrix,
            center - matrix @ (center + shift),
            order=1,
            mode='nearest',
        )
        for c in range(channels)
    ]
    got = warp(x, matrix.astype('f'), shift.astype('f'))
    np.testing.assert_allclose(got, np.stack(want, -1), atol=2e-5)  # float32 coordinates up to 31


def dot(y, x, size=33):
    """A blurred point at an offset (down, right) from the center."""
    i, j = np.mgrid[:size, :size] - (size - 1) / 2
    return np.exp(-((i - y) ** 2 + (j - x) ** 2) / 4).astype(np.float32)[..., None]


def found(x):
    """The center of mass as an offset from the center of the image."""
    return np.array(scipy.ndimage.center_of_mass(np.asarray(x)[..., 0])) - (x.shape[0] - 1) / 2


@pytest.mark.parametrize(
    'amounts, start, end',
    [
        (dict(zoom=np.log(1.5)), (4, 6), (6, 9)),
        (dict(aspect=np.log(1.44)), (6, 6), (5, 7.2)),
        (dict(rotation=np.pi / 2), (0, 6), (-6, 0)),  # counterclockwise: from the right to the top
        (dict(shear=0.5), (-6, 0), (-6, 3)),
        (dict(shift=(2.0, -3.0)), (1, 1), (3, -2)),
        (dict(shear=0.5, rotation=np.pi / 2, shift=(1.0, 0.0)), (-6, 0), (-2, -6)),
    ],
)
def test_affine_moves_a_point_where_its_words_say(amounts, start, end):
    np.testing.assert_allclose(found(affine(dot(*start), **amounts)), end, atol=0.05)


def test_affine_rotates_as_pil_does():
    x = picture(1, shape=(25, 25))
    want = np.asarray(Image.fromarray(x[..., 0]).rotate(20, Image.Resampling.BILINEAR))
    got = affine(x, rotation=np.deg2rad(20))[..., 0]
    np.testing.assert_allclose(got[6:-6, 6:-6], want[6:-6, 6:-6], atol=1e-3)  # PIL fills corners


# color ----


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('factor', [0.0, 0.4, 1.0, 1.7])
def test_light_is_pils_enhancement(channels, factor):
    b = bytes_of(channels)
    x = (b / 127.5 - 1).astype(np.float32)
    for op, pils in [
        (color.brightness, ImageEnhance.Brightness),
        (color.contrast, ImageEnhance.Contrast),
        (color.saturation, ImageEnhance.Color),
    ]:
        want = unpil(pils(pil(b)).enhance(factor))
        # PIL cuts to whole levels: its base (mean or luma), then the blend
        np.testing.assert_allclose(
            jax.jit(op)(x, factor), want, atol=2.01 * LEVEL, err_msg=op.__name__
        )


@pytest.mark.parametrize('shift', [-0.5, -0.13, 0.0, 0.02, 0.31, 0.5])
def test_hue_is_colorsys(shift):
    x = np.concatenate([picture(3), np.repeat(picture(1), 3, -1)])  # colors and exact grays

    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*((pixel + 1) / 2))
        return colorsys.hsv_to_rgb((h + shift) % 1, s, v)

    want = np.apply_along_axis(turned, -1, x.astype(float)) * 2 - 1
    np.testing.assert_allclose(jax.jit(color.hue)(x, shift), want, atol=1e-5)


def test_gray_invert_solarize_are_pils():
    b = bytes_of(3)
    x = (b / 127.5 - 1).astype(np.float32)
    want = np.repeat(np.asarray(pil(b).convert('L'))[..., None], 3, -1) / 127.5 - 1
    np.testing.assert_allclose(color.gray(x), want, atol=1.01 * LEVEL)  # PIL rounds
    np.testing.assert_allclose(color.invert(x), unpil(ImageOps.invert(pil(b))), atol=1e-6)
    np.testing.assert_allclose(color.solarize(x), unpil(ImageOps.solarize(pil(b), 128)), atol=1e-6)


def test_color_of_one_channel_is_left_alone():
    x = picture(1)
    for y in (color.saturation(x, 0.3), color.hue(x, 0.3), color.gray(x)):
        np.testing.assert_array_equal(y, x)


def test_jitter_is_its_four_steps_in_order():
    x = picture(3)
    y = color.brightness(x, 1.5)  # clips, so that another order gives another picture
    y = color.hue(color.saturation(color.contrast(y, 1.6), 0.5), 0.1)
    np.testing.assert_allclose(color.jitter(x, 1.5, 1.6, 0.5, 0.1), y, atol=1e-6)
    other = color.brightness(color.contrast(x, 1.6), 1.5)
    assert np.abs(color.contrast(color.brightness(x, 1.5), 1.6) - other).max() > 0.03


def test_normalize_and_scale():
    x = picture(3)
    y = np.asarray(color.normalize(3 * x + 1))
    assert abs(y.mean()) < 1e-5 and abs(y.std() - 1) < 1e-5
    np.testing.assert_allclose(y, (x - x.mean()) / x.std(), atol=1e-5)
    np.testing.assert_array_equal(color.normalize(jnp.full((8, 8, 1), 0.3)), 0)
    assert np.abs(color.normalize(0.3 + 1e-4 * x)).max() < 0.1  # under one level: as good as flat
    want = x.mean() + 1.4 * (x - x.mean()) + 0.2
    np.testing.assert_allclose(color.scale(x, 1.4, 0.2), want, atol=1e-5)


# texture ----


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('sigma', [0.0, 0.3, 1.0, 2.0])
def test_blur_is_scipys(channels, sigma):
    x = picture(channels)
    want = scipy.ndimage.gaussian_filter(
        x.astype(float), (sigma, sigma, 0), mode='mirror', radius=6
    )
    np.testing.assert_allclose(blur(x, sigma, radius=6), want, atol=1e-5)


def test_blur_wider_than_the_image_still_mirrors():
    x = picture(1, shape=(5, 4))
    want = scipy.ndimage.gaussian_filter(x.astype(float), (3, 3, 0), mode='mirror', radius=9)
    np.testing.assert_allclose(blur(x, 3.0, radius=9), want, atol=1e-5)


def test_sobel_is_scipys():
    x = picture(3)
    planes = [x[..., c].astype(float) for c in range(3)]
    grads = [[scipy.ndimage.sobel(p, axis=axis, mode='nearest') for axis in (0, 1)] for p in planes]
    want = np.stack([np.hypot(*g) for g in grads], -1) / np.sqrt(32) - 1
    got = np.asarray(jax.jit(texture.sobel)(x))
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert got.max() <= 1


def test_cutout_takes_the_pixels_whose_center_is_inside():
    x = picture(3)
    want = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if 2.6 <= i + 0.5 < 6.1 and -1.0 <= j + 0.5 < 4.5:
                want[i, j] = 0.25
    assert (want != x).any(-1).sum() == 3 * 4
    np.testing.assert_array_equal(texture.cutout(x, (2.6, -1.0, 3.5, 5.5), 0.25), want)


def test_field_is_a_stretched_grid_and_noise_adds():
    x, grid = picture(3), np.random.default_rng(1).normal(size=(4, 4)).astype('f')
    want = np.asarray(Image.fromarray(grid).resize((31, 24), Image.Resampling.BILINEAR))[..., None]
    np.testing.assert_allclose(texture.field(x, 0.3, grid), x + 0.3 * want, atol=1e-5)
    grain = np.ones_like(x)
    np.testing.assert_allclose(texture.noise(x, 0.3, grain), x + 0.3, atol=1e-6)
