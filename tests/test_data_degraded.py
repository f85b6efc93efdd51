"""Degraded copies: each part of the channel alone against its formula, and the whole as a pair."""

import numpy as np
from scipy import ndimage

from ssljax import data
from ssljax.data import combine, source
from ssljax.data.source import Source, Split

GLYPHS = dict(name='glyphs', train=600, validation=60, test=60, classes='ABCDE')


def whole(made, split='train'):
    return made.splits[split].rows(np.arange(made.splits[split].count))


def test_a_degraded_row_is_a_function_of_its_place():
    plain = data.make(GLYPHS)
    made = data.make(dict(name='degraded', of=GLYPHS))
    for split in made.splits:
        rows, truth = whole(made, split), whole(plain, split)
        np.testing.assert_array_equal(rows['y'], truth['x'])
        np.testing.assert_array_equal(rows['label'], truth['label'])
        assert rows['x'].dtype == np.uint8 and (rows['x'] != rows['y']).any((1, 2, 3)).all()
        index = np.array([11, 3, 11])
        for name, values in made.splits[split].rows(index).items():
            np.testing.assert_array_equal(values, rows[name][index], err_msg=name)
    one = whole(made)['x'][:60].astype(int) - whole(plain)['x'][:60]
    two = whole(made, 'test')['x'].astype(int) - whole(plain, 'test')['x']
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.1  # noise of its own
    other = whole(data.make(dict(name='degraded', of=GLYPHS, seed=1)))
    assert (other['x'] != whole(made)['x']).any((1, 2, 3)).all()
    nothing = whole(data.make(dict(name='degraded', of=GLYPHS, noise=0, blur=0, contrast=0)))
    np.testing.assert_array_equal(nothing['x'], nothing['y'])


def gray(count=400, side=24):
    """Smooth images in the middle of the range, so that nothing is clipped."""
    rng = np.random.default_rng(0)
    images = ndimage.gaussian_filter(rng.normal(size=(count, side, side)), (0, 2, 2))
    x = (128 + 200 * images).clip(70, 186).astype(np.uint8)[..., None]
    return Source('gray', {'train': Split(count, lambda i: {'x': x[i]})}, '')


def test_noise_has_its_strength_and_is_drawn_for_each_row():
    made = data.make(dict(name='degraded', of=gray(), noise=0.1, blur=0, contrast=0))
    rows = whole(made)
    noise = (rows['x'].astype(float) - rows['y']).reshape(400, -1) / 255
    std = noise.std(1)
    assert std.max() < 0.11 and abs(std.mean() - 0.05) < 4 * 0.1 / 4800**0.5  # uniform in [0, 0.1]
    assert np.abs(noise.mean(1) / np.maximum(std, 0.01)).max() < 5 / 24
    scaled = noise[std > 0.05] / std[std > 0.05, None]
    assert abs((scaled**4).mean() - 3) < 0.1


def test_contrast_shrinks_about_the_mean():
    made = data.make(dict(name='degraded', of=gray(), noise=0, blur=0, contrast=0.5))
    rows = {name: values.reshape(400, -1).astype(float) for name, values in whole(made).items()}
    middle = rows['y'].mean(1, keepdims=True)
    x, y = rows['x'] - middle, rows['y'] - middle
    kept = (x * y).sum(1) / (y * y).sum(1)
    assert 0.49 < kept.min() < 0.52 and 0.98 < kept.max() < 1.01
    assert abs(kept.mean() - 0.75) < 4 * 0.5 / 4800**0.5
    assert np.abs(x - kept[:, None] * y).max() < 1.0  # but for rounding


def test_blur_is_a_gaussian_of_a_drawn_width():
    made = data.make(dict(name='degraded', of=gray(40, 48), noise=0, blur=2.0, contrast=0))
    rows = whole(made)
    sigmas = np.linspace(0.01, 2, 200)
    inside = (slice(10, -10), slice(10, -10))
    found = []
    for x, y in zip(rows['x'][..., 0], rows['y'][..., 0], strict=True):
        tries = [ndimage.gaussian_filter(y.astype(float), s, truncate=6)[inside] for s in sigmas]
        errors = [np.abs(t - x[inside]).max() for t in tries]
        assert min(errors) < 1.0
        found.append(sigmas[int(np.argmin(errors))])
    assert max(found) > 1.5 and np.mean(np.array(found) < 1) > 0.25


def test_all_frames_of_a_clip_go_through_one_channel():
    of = dict(name='shapes_video', train=4, frames=3, size=16, color=True, validation=0, test=0)
    made = data.make(dict(name='degraded', of=of, noise=0, blur=1.5, contrast=0.5))
    rows = whole(made)
    assert rows['x'].shape == rows['y'].shape == (4, 3, 16, 16, 3)
    strengths = source.uniform(source.draws(0, combine.CHANNEL, np.arange(4), 3)) * [0.5, 1.5, 0]
    for x, y, (lost, sigma, _) in zip(rows['x'], rows['y'] / 255, strengths, strict=True):
        y = y.mean() * lost + y * (1 - lost)
        expected = ndimage.gaussian_filter(y, (0, sigma, sigma, 0), truncate=8)
        assert np.abs(x / 255 - expected)[:, 6:-6, 6:-6].max() < 0.02
