"""Images of every format and mode, upright, on a canvas."""

import threading

import numpy as np
import pytest
from directories import RNG, SMOOTH, directory, make, put, rows  # noqa: F401
from PIL import Image

from ssljax.data import pixels


def one(root, **options):
    """The pixels of the only image (it is there twice, as one is too few to train on)."""
    x = rows(make(root, **options))['x']
    assert len(x) == 2 and np.array_equal(x[0], x[1])
    return x[0]


def twice(root, name, image, **options):
    for copy in ('a', 'b'):
        put(root, copy + name, image, **options)


@pytest.mark.parametrize(
    'name, options, tolerance',
    [
        ('.png', {}, 0),
        ('.bmp', {}, 0),
        ('.ppm', {}, 0),
        ('.tif', {}, 0),
        ('.TIFF', dict(format='tiff', compression='tiff_lzw'), 0),
        ('.webp', dict(lossless=True), 0),
        ('.webp', dict(quality=95), 16),
        ('.jpg', dict(quality=98, subsampling=0), 6),
        ('.JPEG', dict(quality=98, subsampling=0, progressive=True), 6),
        ('.jpg', dict(format='png'), 0),  # misnamed, but an image
    ],
)
def test_formats(root, name, options, tolerance):
    twice(root, name, SMOOTH, **options)
    x = one(root)
    assert x.shape == (16, 24, 3) and x.dtype == np.uint8
    assert np.abs(x.astype(int) - SMOOTH).max() <= tolerance


def modes():
    """mode -> (image, suffix, the pixels that are expected, their channels)."""
    gray, alpha = SMOOTH[..., 0], np.linspace(0, 255, 24).astype(np.uint8)[None].repeat(16, 0)
    white = 255 - (255 - SMOOTH.astype(float)) * alpha[..., None] / 255
    colors = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 255]], np.uint8)
    which = (np.arange(16 * 24).reshape(16, 24) // 3 % 3).astype(np.uint8)
    palette = Image.new('P', (24, 16))
    palette.putdata(which.ravel().tolist())
    palette.putpalette(colors.ravel().tolist())
    hole = palette.copy()
    hole.info['transparency'] = 1
    behind = np.where((which == 1)[..., None], 255, colors[which])
    levels = palette.copy()
    levels.putpalette([9, 9, 9, 90, 90, 90, 200, 200, 200])
    inks = Image.fromarray(
        np.stack([255 - SMOOTH[..., i] for i in range(3)] + [0 * gray], -1), 'CMYK'
    )
    deep = RNG.integers(0, 2**16, (16, 24)).astype(np.uint16)
    deep[0, :3] = 0, 32768, 65535
    masked = np.dstack([gray, alpha])
    on_white = 255 - (255 - gray.astype(float)) * alpha / 255
    return {
        'L': (Image.fromarray(gray), 'png', gray, 1),
        '1': (Image.fromarray(gray > 128), 'png', (gray > 128) * 255, 1),
        'LA': (Image.fromarray(masked, 'LA'), 'png', on_white, 1),
        'RGBA': (Image.fromarray(np.dstack([SMOOTH, alpha])), 'png', white, 3),
        'RGBA webp': (Image.fromarray(np.dstack([SMOOTH, 0 * gray])), 'webp', 0 * SMOOTH + 255, 3),
        'P': (palette, 'png', colors[which], 3),
        'P gif': (palette, 'gif', colors[which], 3),
        'P with a transparent color': (hole, 'png', behind, 3),
        'P of grays': (levels, 'png', np.array([9, 90, 200])[which], 1),
        'CMYK': (inks, 'tif', SMOOTH, 3),
        'I;16 png': (Image.fromarray(deep), 'png', np.rint(deep / 257), 1),
        'I;16 tif': (Image.fromarray(deep), 'tif', np.rint(deep / 257), 1),
        'I;16B tif': (Image.fromarray(deep.astype('>u2')), 'tif', np.rint(deep / 257), 1),
        'I pgm': (Image.fromarray(deep), 'pgm', np.rint(deep / 257), 1),
    }


@pytest.mark.parametrize('mode', modes())
def test_modes(root, mode):
    image, suffix, expected, channels = modes()[mode]
    twice(root, f'.{suffix}', image, **(dict(lossless=True, exact=True) if 'webp' in mode else {}))
    x = one(root)
    assert x.shape == (16, 24, channels)
    expected = np.asarray(expected).reshape(16, 24, channels)
    assert np.abs(x - expected.astype(float)).max() <= 1
    colored = one(root, channels=3)
    np.testing.assert_array_equal(colored, x.repeat(3 // channels, -1))
    assert one(root, channels=1).shape == (16, 24, 1)


def test_gray_and_color_together_are_color(root):
    put(root, 'a.png', SMOOTH[..., 0])
    put(root, 'b.png', SMOOTH)
    x = rows(make(root))['x']
    np.testing.assert_array_equal(x[0], SMOOTH[..., :1].repeat(3, -1))
    np.testing.assert_array_equal(x[1], SMOOTH)


def test_12_bits_stay_dark_and_it_is_said(root, capsys):
    deep = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 10
    twice(root, '.png', deep)
    np.testing.assert_array_equal(one(root)[..., 0], np.rint(deep / 257))
    assert '--config.data.bits=12' in capsys.readouterr().err
    np.testing.assert_array_equal(one(root, bits=12)[..., 0], np.rint(deep * (255 / 4095)))
    assert 'bits=' not in capsys.readouterr().err


@pytest.mark.parametrize('frames', ['gif', 'webp', 'tif', 'png'])
def test_the_first_frame_counts(root, frames):
    later = [Image.fromarray(255 - SMOOTH)]
    still = Image.fromarray(SMOOTH // 64 * 64)
    options = dict(lossless=True) if frames == 'webp' else {}
    twice(root, f'.{frames}', still, save_all=True, append_images=later, **options)
    assert Image.open(root / f'a.{frames}').n_frames == 2
    assert np.abs(one(root).astype(int) - np.asarray(still)).max() <= (8 if frames == 'gif' else 0)


@pytest.mark.parametrize('suffix', ['png', 'tif', 'webp', 'jpg'])
@pytest.mark.parametrize('orientation', [3, 5, 6, 8])
def test_images_are_turned_upright(root, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {
        3: SMOOTH[::-1, ::-1],
        5: SMOOTH.swapaxes(0, 1),
        6: np.rot90(SMOOTH),
        8: np.rot90(SMOOTH, 3),
    }
    options = dict(lossless=True) if suffix == 'webp' else {}
    options = dict(quality=98, subsampling=0) if suffix == 'jpg' else options
    twice(root, f'.{suffix}', np.ascontiguousarray(stored[orientation]), exif=exif, **options)
    assert np.abs(one(root).astype(int) - SMOOTH).max() <= 6


def test_the_canvas_is_covered_and_cropped_at_the_center(root):
    wide = Image.fromarray(SMOOTH).resize((96, 32), 2)
    twice(root, '.png', wide)
    expected = np.asarray(wide.resize((48, 16), Image.Resampling.BICUBIC))[:, 16:32]
    np.testing.assert_array_equal(one(root, size=16), expected)


def test_a_line_of_pixels_is_not_scaled_to_gigabytes(root, monkeypatch):
    put(root, 'a.png', np.full((1, 30000, 3), 77, np.uint8))
    put(root, 'b.png', np.full((30000, 1, 3), 77, np.uint8))
    resize, sizes = Image.Image.resize, []
    monkeypatch.setattr(
        Image.Image, 'resize', lambda x, to, *a: sizes.append(to) or resize(x, to, *a)
    )
    assert (one(root, size=16) == 77).all()
    assert len(sizes) >= 2 and max(map(max, sizes)) <= 16 * 16


def test_a_photograph_is_decoded_small_and_looks_the_same(root):
    photo = Image.fromarray(SMOOTH).resize((1200, 800), 2)
    twice(root, '.jpg', photo, quality=95)
    expected = np.asarray(photo.resize((24, 16), Image.Resampling.BICUBIC))
    assert np.abs(one(root).astype(int) - expected).max() <= 4
    assert pixels.load(pixels.opened((root / 'a.jpg').read_bytes()), 48).size == (150, 100)


@pytest.mark.parametrize('count', [0, 1, 2, 5, 17, 40])
@pytest.mark.parametrize('threads', [0, 1, 3, 16])
def test_each_is_a_map_by_runs_of_neighbors(count, threads):
    items = np.arange(count) * 7
    seen = []

    def one(item):
        seen.append((threading.get_ident(), item))
        return item + 1

    assert pixels.each(one, items, threads) == [i + 1 for i in items]
    assert sorted(item for _, item in seen) == items.tolist()  # each once
    if threads:
        assert len({who for who, _ in seen}) <= threads


def test_each_raises_what_one_raises_and_overlaps():
    def one(item):
        if item == 5:
            raise KeyError('five')
        return item

    with pytest.raises(KeyError, match='five'):
        pixels.each(one, range(9), 3)
    together = threading.Barrier(3)  # passed only if three threads are in it at once
    assert pixels.each(lambda i: together.wait(60) * 0 + i, range(3), 3) == [0, 1, 2]
