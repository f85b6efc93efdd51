"""Images as planes: equal to the forms on stacked images, and stacked once in a composed view."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_augment import exact, picture  # noqa: F401  exact: a fixture

from ssljax.augment import image, planes


@pytest.mark.parametrize('channels', [1, 3])
def test_planes_are_the_channels_and_go_back(channels):
    x = picture(channels)
    parts = planes.planes(x)
    assert len(parts) == channels
    np.testing.assert_array_equal(parts[-1], x[:, :, channels - 1])
    np.testing.assert_array_equal(planes.stack(parts), x)


@pytest.mark.parametrize('channels', [1, 3])
def test_where_is_that_of_the_whole_image_in_value_and_gradient(channels):
    x, other = picture(channels), picture(channels, seed=1)
    gradient = jax.grad(lambda acts, a, b: (3 * planes.where(acts, a, b)).sum(), (1, 2))
    for acts in (True, False):
        np.testing.assert_array_equal(planes.where(acts, other, x), other if acts else x)
        slope = gradient(acts, other, x)
        np.testing.assert_array_equal(slope[0], np.full_like(x, 3 * acts))
        np.testing.assert_array_equal(slope[1], np.full_like(x, 3 * (not acts)))


@pytest.mark.parametrize('channels', [1, 3])
def test_products_are_those_of_each_channel_in_value_and_gradient(channels):
    x, rng = picture(channels), np.random.default_rng(0)  # [24, 31, C]
    rows, cols = rng.normal(size=(7, 24)).astype('f'), rng.normal(size=(9, 31)).astype('f')
    weight = rng.normal(size=(7, 9, channels)).astype('f')
    want = np.einsum('iy,jx,yxc->ijc', *(a.astype(float) for a in (rows, cols, x)))
    np.testing.assert_allclose(planes.products(rows, x, cols), want, atol=1e-4)
    slope = jax.grad(lambda x: (weight * planes.products(rows, x, cols)).sum())(x)
    want = np.einsum('iy,jx,ijc->yxc', *(a.astype(float) for a in (rows, cols, weight)))
    np.testing.assert_allclose(slope, want, atol=1e-4)


def test_a_composed_view_stacks_its_planes_once():
    view = image.simclr(size=8, blur=0.5, solarize=0.2)
    keys, x = jax.random.split(jax.random.key(0), 4), jnp.zeros((4, 10, 12, 3))
    program = jax.jit(jax.vmap(view)).lower(keys, x).compile().as_text()
    stacks = re.findall(r'= f32\[[\d,]*,3\]\S* concatenate\(', program)
    assert len(stacks) == 1
