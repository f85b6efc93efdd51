"""Augmentations at fixed amounts against PIL, scipy and the standard library."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageCms, ImageEnhance, ImageOps

from ssljax.augment import color, geometry, texture
from ssljax.names import Mistake

LEVEL = 2 / 255  # one gray level on the scale of [-1, 1]
KEY = jax.random.key(0)

# compiled whole: one after another the small steps compile slower
crop = jax.jit(geometry.crop, static_argnames='size')
warp, affine = jax.jit(geometry.warp), jax.jit(geometry.affine)
lab, rgb = jax.jit(color.lab), jax.jit(color.rgb)
blur = jax.jit(texture.blur, static_argnames='radius')
brightness, contrast = jax.jit(color.brightness), jax.jit(color.contrast)
saturation, hue, scale = jax.jit(color.saturation), jax.jit(color.hue), jax.jit(color.scale)
normalize, salt_pepper = jax.jit(color.normalize), jax.jit(texture.salt_pepper)


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


@pytest.mark.parametrize('degrees', [-100, 20, 45, 180])
def test_rotate_is_scipys(degrees):
    x = picture(3)
    want = scipy.ndimage.rotate(x.astype(float), degrees, reshape=False, order=1, mode='nearest')
    got = jax.jit(geometry.rotate)(x, np.deg2rad(degrees))
    np.testing.assert_allclose(got, want, atol=3e-5)  # float32 coordinates up to 31


@pytest.mark.parametrize('amount', [-0.6, 0.3])
def test_shear_is_pils(amount):
    x = picture(1, shape=(24, 31))
    data = (1, amount, -amount * 12, 0, 1, 0)  # from x + amount * (y - 12), at pixels' centers
    image = Image.fromarray(x[..., 0])
    want = image.transform((31, 24), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    i, j = np.mgrid[:24, :31]
    known = (0 <= j + amount * (i - 11.5)) & (j + amount * (i - 11.5) <= 30)  # PIL fills the rest
    got = jax.jit(geometry.shear)(x, amount)[..., 0]
    np.testing.assert_allclose(np.asarray(got)[known], np.asarray(want)[known], atol=1e-5)
    assert known.mean() > 0.7


def test_quarter_turns_are_exact():
    x, b = picture(3, shape=(24, 24)), bytes_of(3, shape=(24, 24))
    turn = jax.jit(geometry.quarter)
    for k, pils in enumerate([None, *(f'ROTATE_{d}' for d in (90, 180, 270))]):
        np.testing.assert_array_equal(turn(x, k), np.rot90(x, k))
        if pils:
            want = unpil(pil(b).transpose(Image.Transpose[pils])).astype('f')
            np.testing.assert_array_equal(turn(x, k), want)
    assert turn._cache_size() == 1
    four = jax.jit(jax.vmap(geometry.quarter, (None, 0)))(x, np.arange(4))
    np.testing.assert_array_equal(four, [np.rot90(x, k) for k in range(4)])
    with pytest.raises(Mistake, match='square image, found \\[24, 31, 3\\]'):
        geometry.quarter(picture(3), 1)


# color ----


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('factor', [0.0, 0.4, 1.0, 1.7])
def test_light_is_pils_enhancement(channels, factor):
    b = bytes_of(channels)
    x = (b / 127.5 - 1).astype(np.float32)
    for op, pils in [
        (brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (saturation, ImageEnhance.Color),
    ]:
        want = unpil(pils(pil(b)).enhance(factor))
        # PIL cuts to whole levels: its base (mean or luma), then the blend
        np.testing.assert_allclose(op(x, factor), want, atol=2.01 * LEVEL, err_msg=op.__name__)


@pytest.mark.parametrize('shift', [-0.5, -0.13, 0.0, 0.02, 0.31, 0.5])
def test_hue_is_colorsys(shift):
    x = np.concatenate([picture(3), np.repeat(picture(1), 3, -1)])  # colors and exact grays

    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*((pixel + 1) / 2))
        return colorsys.hsv_to_rgb((h + shift) % 1, s, v)

    want = np.apply_along_axis(turned, -1, x.astype(float)) * 2 - 1
    np.testing.assert_allclose(hue(x, shift), want, atol=1e-5)


def test_gray_invert_solarize_are_pils():
    b = bytes_of(3)
    x = (b / 127.5 - 1).astype(np.float32)
    want = np.repeat(np.asarray(pil(b).convert('L'))[..., None], 3, -1) / 127.5 - 1
    gray, inverted, solarized, drawn = jax.jit(
        lambda x: (
            color.gray(x),
            color.invert(x),
            color.solarize(x),
            color.random_solarize(KEY, x, chance=1.0, threshold=0.5),
        )
    )(x)
    np.testing.assert_allclose(gray, want, atol=1.01 * LEVEL)  # PIL rounds
    np.testing.assert_allclose(inverted, unpil(ImageOps.invert(pil(b))), atol=1e-6)
    np.testing.assert_allclose(solarized, unpil(ImageOps.solarize(pil(b), 128)), atol=1e-6)
    bright = unpil(ImageOps.solarize(pil(b), 192))  # 192 of 255 is 0.506 of [-1, 1]
    np.testing.assert_allclose(drawn, bright, atol=1e-6)


def test_color_of_one_channel_is_left_alone():
    x = picture(1)
    for y in (color.saturation(x, 0.3), color.hue(x, 0.3), color.gray(x)):
        np.testing.assert_array_equal(y, x)


def true_lab(x):
    """CIE 1976 L*a*b* in float64, from the primaries' chromaticities and the white of ASTM E308."""
    white, xy = np.array([0.95047, 1.0, 1.08883]), [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
    primaries = np.array([(x / y, 1, (1 - x - y) / y) for x, y in xy]).T
    to_xyz = primaries * np.linalg.solve(primaries, white)
    u = (np.asarray(x, float) + 1) / 2
    light = np.where(u <= 0.04045, u / 12.92, ((np.abs(u) + 0.055) / 1.055) ** 2.4)
    t = light @ to_xyz.T / white
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]),
                     200 * (f[..., 1] - f[..., 2])], -1)  # fmt: skip


KNOWN = [  # red, green, blue, white, black: Lindbloom's calculator, sRGB and D65
    ((1, -1, -1), (53.2408, 80.0925, 67.2032)),
    ((-1, 1, -1), (87.7347, -86.1827, 83.1793)),
    ((-1, -1, 1), (32.2970, 79.1875, -107.8602)),
    ((1, 1, 1), (100, 0, 0)),
    ((-1, -1, -1), (0, 0, 0)),
]
SCALE, START = np.array([50, 110, 110]), np.array([50, 0, 0])


def cube_of_colors():
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, 18)] * 3), -1).reshape(72, 81, 3).astype('f')


def test_lab_is_the_cies():
    x = cube_of_colors()
    got = np.asarray(lab(x)) * SCALE + START
    np.testing.assert_allclose(got, true_lab(x), atol=1e-3)
    pixels, want = map(np.array, zip(*KNOWN, strict=True))
    np.testing.assert_allclose(true_lab(pixels), want, atol=1e-3)
    np.testing.assert_allclose(lab(pixels[None].astype('f'))[0] * SCALE + START, want, atol=2e-3)
    assert np.abs(lab(x)).max() < 1.0001
    with pytest.raises(Mistake, match='three channels'):
        color.lab(picture(1))


def test_lightness_of_grays_is_littlecms():
    gray = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, -1)
    srgb, cie = ImageCms.createProfile('sRGB'), ImageCms.createProfile('LAB')
    convert = ImageCms.buildTransform(srgb, cie, 'RGB', 'LAB')
    want = np.asarray(ImageCms.applyTransform(Image.fromarray(gray), convert))
    got = np.asarray(lab(gray / np.float32(127.5) - 1)) * SCALE + START
    # its white is D50's, so that only grays agree; they come in steps of 0.39
    np.testing.assert_allclose(got[..., 0], want[..., 0] / 2.55, atol=0.3)
    np.testing.assert_allclose(got[..., 1:], want[..., 1:].astype(np.int8), atol=1e-3)


def test_rgb_is_the_way_back():
    x = cube_of_colors()
    np.testing.assert_allclose(rgb(lab(x)), x, atol=5e-5)
    odd = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 3), -1).reshape(27, 27, 3).astype('f')
    back = np.asarray(rgb(odd))  # most of these no pixel has
    assert back.min() == -1 and back.max() == 1
    inside = np.abs(back).max(-1) < 0.999
    np.testing.assert_allclose(lab(back)[inside], odd[inside], atol=1e-4)
    ends = jnp.array([[[-1, -1, -1], [1, 1, 1.0]]])  # where roots and powers would have none
    slope = jax.jit(jax.grad(lambda x: color.lab(x).sum()))(ends)
    assert np.isfinite(slope).all()


def test_jitter_is_its_four_steps_in_order():
    x = picture(3)
    bright = brightness(x, 1.5)  # clips, so that another order gives another picture
    y = hue(saturation(contrast(bright, 1.6), 0.5), 0.1)
    np.testing.assert_allclose(jax.jit(color.jitter)(x, 1.5, 1.6, 0.5, 0.1), y, atol=1e-5)
    other = np.asarray(brightness(contrast(x, 1.6), 1.5))
    assert np.abs(contrast(bright, 1.6) - other).max() > 0.03


def test_normalize_and_scale():
    x = picture(3)
    y = np.asarray(normalize(3 * x + 1))
    assert abs(y.mean()) < 1e-5 and abs(y.std() - 1) < 1e-5
    np.testing.assert_allclose(y, (x - x.mean()) / x.std(), atol=1e-5)
    np.testing.assert_array_equal(normalize(np.full((24, 31, 3), 0.3, 'f')), 0)
    assert (
        np.abs(normalize(0.3 + np.float32(1e-4) * x)).max() < 0.1
    )  # under one level: as good as flat
    want = x.mean() + 1.4 * (x - x.mean()) + 0.2
    np.testing.assert_allclose(scale(x, 1.4, 0.2), want, atol=1e-5)


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


@pytest.mark.parametrize('channels', [1, 3])
def test_edges_are_scipys_of_the_gray_image(channels):
    x = picture(channels)
    gray = x.astype(float) @ ([0.299, 0.587, 0.114] if channels == 3 else [1.0])
    want = np.stack([scipy.ndimage.sobel(gray, axis, mode='nearest') for axis in (0, 1)], -1) / 8
    got = np.asarray(jax.jit(texture.edges)(x))
    assert got.shape == (24, 31, 2) and np.abs(got).max() <= 1
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_salt_pepper_takes_the_share_asked_for():
    rng = np.random.default_rng(3)
    x, grain = picture(3, shape=(100, 100)), rng.random((100, 100, 3), dtype=np.float32)
    got = np.asarray(salt_pepper(x, 0.3, grain))
    black, white = (got == -1) & (x != -1), (got == 1) & (x != 1)
    for share in (black.mean(), white.mean()):  # a fair coin
        assert abs(share - 0.15) < 4 * np.sqrt(0.15 * 0.85 / got.size)
    np.testing.assert_array_equal(got[~black & ~white], x[~black & ~white])
    np.testing.assert_array_equal(salt_pepper(x, 0.0, grain), x)
    assert (np.abs(salt_pepper(x, 1.0, grain)) == 1).all()
    whole = np.asarray(salt_pepper(x, 0.3, grain[..., :1]))
    hit = (whole != x).any(-1)
    assert (np.abs(whole[hit]) == 1).all() and (np.ptp(whole[hit], -1) == 0).all()


def test_cutout_takes_the_pixels_whose_center_is_inside():
    x = picture(3)
    want = x.copy()
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if 2.6 <= i + 0.5 < 6.1 and -1.0 <= j + 0.5 < 4.5:
                want[i, j] = 0.25
    assert (want != x).any(-1).sum() == 3 * 4
    box = (2.6, -1.0, 3.5, 5.5)
    np.testing.assert_array_equal(jax.jit(texture.cutout)(x, box, 0.25), want)


def test_field_is_a_stretched_grid_and_noise_adds():
    x, grid = picture(3), np.random.default_rng(1).normal(size=(4, 4)).astype('f')
    want = np.asarray(Image.fromarray(grid).resize((31, 24), Image.Resampling.BILINEAR))[..., None]
    np.testing.assert_allclose(jax.jit(texture.field)(x, 0.3, grid), x + 0.3 * want, atol=1e-5)
    grain = np.ones_like(x)
    np.testing.assert_allclose(texture.noise(x, 0.3, grain), x + 0.3, atol=1e-6)
