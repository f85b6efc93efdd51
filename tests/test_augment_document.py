"""Defects of documents at fixed amounts against scipy, PIL and formulas; then the random ones."""

import jax
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image
from test_augment import KEY, exact, picture, show  # noqa: F401  exact: a fixture

from ssljax import augment
from ssljax.augment import document
from ssljax.names import Mistake


def page(shape=(24, 40), seed=0):
    """Dark bars and a dot on light, uneven paper."""
    random = np.random.default_rng(seed)
    x = 0.8 + 0.05 * random.normal(size=(*shape, 1))
    x[4:20, 5:8] = x[10:13, 12:30] = x[6, 35] = -0.7
    return np.clip(x, -1, 1).astype(np.float32)


def uniform(*shape, seed=1):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


fade = jax.jit(document.fade)
uneven_light = jax.jit(document.uneven_light)
threshold = jax.jit(document.threshold)

STILL = {  # each with an amount of 0
    'ink_gain': lambda x: document.ink_gain(x, 0.0),
    'fade': lambda x: document.fade(x, 0.0, uniform(8, 13)),
    'edge_noise': lambda x: document.edge_noise(x, 0.0, uniform(24, 40, 1)),
    'threshold': lambda x: document.threshold(x, 0.0, 0.1),
    'uneven_light': lambda x: document.uneven_light(x, 0.0, (0.3, -1.0)),
    'shadow': lambda x: document.shadow(x, 0.0, (0.3, -1.0), 0.2),
    'bend': lambda x: document.bend(x, 0.0, 1.0),
    'steepen': lambda x: document.steepen(x, 0.0),
    'streaks': lambda x: document.streaks(x, 0.0, uniform(40)),
}


@pytest.mark.parametrize('name', STILL)
def test_an_amount_of_zero_changes_nothing(name):
    x = page()
    np.testing.assert_allclose(jax.jit(STILL[name])(x), x, atol=2e-7)


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('amount', [-1.0, -0.4, 0.3, 1.0])
def test_ink_gain_is_scipys_gray_morphology(channels, amount):
    x = picture(channels)
    near = scipy.ndimage.grey_erosion if amount > 0 else scipy.ndimage.grey_dilation
    want = np.stack([near(x[..., c], (3, 3), mode='nearest') for c in range(channels)], -1)
    want = (1 - abs(amount)) * x + abs(amount) * want
    np.testing.assert_allclose(jax.jit(document.ink_gain)(x, amount), want, atol=1e-6)
    if amount > 0:
        assert (want <= x + 1e-6).all()  # more ink, nowhere less


@pytest.mark.parametrize('reach', [1, 3, 5])
def test_distances_are_scipys(reach):
    there = np.random.default_rng(0).random((20, 30)) < 0.03
    want = scipy.ndimage.distance_transform_edt(~there) ** 2
    got = np.asarray(jax.jit(document.squared_distance, static_argnums=1)(there, reach))
    near = want <= reach**2
    np.testing.assert_array_equal(got[near], np.round(want[near]).astype(int))
    assert (got[~near] > reach**2).all() and (~near).any()


def test_edge_noise_is_as_likely_as_its_formula():
    """Kanungo's chance by distance, counted over many draws; whoever trades places is negated."""
    x = page()
    drawn = jax.vmap(lambda g: document.edge_noise(x, 0.6, g, decay=0.5))
    out = np.asarray(jax.jit(drawn)(uniform(4000, 24, 40, 1)))
    np.testing.assert_array_equal(np.abs(out), np.broadcast_to(np.abs(x), out.shape))
    share = (out != x).mean(0)[..., 0]
    ink = x[..., 0] < 0
    edt = scipy.ndimage.distance_transform_edt
    far = np.where(ink, edt(ink), edt(~ink)) ** 2
    want = np.where(far <= 9, 0.6 * np.exp(-0.5 * (far - 1)), 0)
    assert np.abs(share - want).max() < 5 * np.sqrt(0.25 / 4000)
    assert want.max() == 0.6 and (want == 0).any()


def test_fade_takes_ink_from_so_much_of_the_page():
    x, grain = page(), uniform(8, 13)
    before = np.zeros_like(x, bool)
    for amount in (0.1, 0.3, 0.8, 1.0):
        out = np.asarray(fade(x, amount, grain))
        gone = out != x
        assert (gone | ~before).all()  # spots grow
        before = gone
        np.testing.assert_allclose(out[gone], np.median(x), atol=1e-6)
        assert (out >= x).all()
    assert (out >= np.median(x) - 1e-6).all()  # 1: no ink is left
    flat = -np.ones((24, 40, 1), np.float32)
    flat[:13] = 1  # the median is paper
    share = (np.asarray(fade(flat, 0.3, grain))[13:] == 1).mean()
    assert 0.15 < share < 0.45


def test_threshold_is_pils_point():
    x = picture(1)
    level = 2 * 100 / 255 - 1
    image = Image.fromarray(np.round((x[..., 0] + 1) * 127.5).astype(np.uint8))
    want = np.asarray(image.point(lambda v: 255 if v > 100 else 0), np.float32)[..., None]
    want = want / 127.5 - 1
    np.testing.assert_array_equal(threshold(x, 1.0, level + 1e-4), want)
    np.testing.assert_allclose(threshold(x, 0.25, level + 1e-4), 0.75 * x + 0.25 * want, atol=1e-6)


def test_light_falls_in_a_direction():
    """Of white paper the light itself is seen: 1 at one corner, 1 - amount at the other."""
    white, black = np.ones((24, 40, 1), np.float32), -np.ones((24, 40, 1), np.float32)
    for direction, full, dark in [
        ((1.0, 0.0), (0, 17), (23, 5)),
        ((0.0, -2.0), (11, 39), (4, 0)),
        ((1.0, 3.0), (0, 0), (23, 39)),
    ]:
        light = (np.asarray(uneven_light(white, 0.7, direction))[..., 0] + 1) / 2
        np.testing.assert_allclose((light[full], light[dark]), (1, 0.3), atol=1e-6)
        slope = np.gradient(light)
        for axis in (0, 1):  # even: a plane
            np.testing.assert_allclose(slope[axis], slope[axis].mean(), atol=1e-5)
        np.testing.assert_array_equal(uneven_light(black, 0.7, direction), black)


def test_a_shadow_has_an_edge():
    white = np.ones((20, 81, 1), np.float32)
    shade = jax.jit(lambda x: document.shadow(x, 0.6, (0.0, 1.0), 0.5, soft=0.02))
    light = (np.asarray(shade(white))[0, :, 0] + 1) / 2
    place = np.linspace(-1, 1, 81)
    np.testing.assert_allclose(light[place < 0.3], 1, atol=1e-4)
    np.testing.assert_allclose(light[place > 0.7], 0.4, atol=1e-4)
    np.testing.assert_allclose(light[place == 0.5], 0.7, atol=1e-5)  # half of it at the line


def test_bend_is_scipys_map_coordinates():
    x, amount, phase = picture(3), 2.3, 0.7
    i, j = np.mgrid[:24, :31].astype(float)
    row = i - amount * np.sin(phase + 2 * np.pi * 1.5 * j / 31)
    want = [
        scipy.ndimage.map_coordinates(x[..., c], (row, j), order=1, mode='nearest')
        for c in range(3)
    ]
    got = jax.jit(lambda x: document.bend(x, amount, phase, waves=1.5))(x)
    np.testing.assert_allclose(got, np.stack(want, -1), atol=2e-5)


def test_steepen_and_streaks():
    x = picture(1)
    np.testing.assert_allclose(
        jax.jit(document.steepen)(x, 1.5), np.clip(2.5 * x, -1, 1), atol=1e-6
    )
    grain = uniform(31)
    out = np.asarray(jax.jit(lambda x: document.streaks(x, 0.4, grain, share=0.3))(x))
    dark = grain < 0.3
    np.testing.assert_array_equal(out[:, ~dark], x[:, ~dark])
    np.testing.assert_allclose(out[:, dark], (x[:, dark] + 1) * 0.6 - 1, atol=1e-6)
    assert 0 < dark.mean() < 1


# random ones ----


@pytest.mark.parametrize('kind', document.KINDS)
def test_a_machine_is_seeded_and_in_proportion_to_its_severity(kind):
    x, machine = page(), document.KINDS[kind]
    at = jax.jit(lambda key, s: machine(key, x, severity=s))
    np.testing.assert_allclose(at(KEY, 0.0), x, atol=1e-5)
    keys = jax.random.split(KEY, 12)
    np.testing.assert_array_equal(at(keys[0], 0.7), at(keys[0], 0.7))
    errors = [np.mean([np.square(at(k, s) - x).mean() for k in keys]) for s in (0.2, 0.5, 1.0)]
    assert errors[0] > 0 and errors[0] < errors[1] < errors[2]
    drawn = np.stack([at(k, 1.0) for k in keys])
    assert np.isfinite(drawn).all() and np.abs(drawn).max() <= 1 + 1e-5
    assert np.ptp(drawn, axis=0).max() > 0.1  # keys matter


def test_the_view_is_the_machines_one_after_another():
    x = page()
    view = augment.make(dict(name='document', kinds=('print', 'photograph'), severity=0.4))

    def both(key, x):
        k1, k2 = jax.random.split(key)
        x = document.random_print(k1, x, severity=0.4)
        return document.random_photograph(k2, x, severity=0.4)

    np.testing.assert_allclose(show(view, x), show(both, x), atol=1e-5)
    assert document.document(kinds=())(KEY, x) is x
    color = augment.make(dict(name='document', kinds=tuple(document.KINDS)))
    assert jax.eval_shape(color, KEY, picture(3)).shape == (24, 31, 3)
    for options, says in [
        (dict(kinds=('fax',)), "unknown kind of document 'fax'"),
        (dict(severity=1.5), 'from 0 to 1'),
    ]:
        with pytest.raises(Mistake, match=says) as found:
            document.document(**options)
        assert '\n' not in str(found.value)
