"""Points in the plane: the density that is said to be true is that of the rows."""

import numpy as np
import pytest
import scipy.stats

from ssljax import data
from ssljax.data.plane import EXACT, log_density


def points(shape, count, split='train'):
    made = data.make(dict(name='density', kind=shape))
    return made, made.splits[split].rows(np.arange(count))['x']


@pytest.mark.parametrize('shape', EXACT)
def test_the_true_density_sums_to_one_and_is_that_of_the_rows(shape):
    made, x = points(shape, 3000)
    step = 1 / 15
    side = np.arange(-4 + step / 2, 4, step)  # all that there is; edges of squares are between
    p = np.exp(made.log_density(np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)))
    p = p.reshape(120, 120) * step**2
    assert p.sum() == pytest.approx(1, abs=1e-6)
    found = np.histogram2d(x[:, 1], x[:, 0], 24, ((-4, 4),) * 2)[0]
    expected = 3000 * p.reshape(24, 5, 24, 5).sum((1, 3))
    often = expected > 5
    chi = ((found - expected)[often] ** 2 / expected[often]).sum()
    assert scipy.stats.chi2.sf(chi, often.sum()) > 1e-3
    # the mean of log p over rows is minus the entropy
    rows = -made.log_density(x)
    entropy = -(p * np.where(p > 0, np.log(np.maximum(p, 1e-300) / step**2), 0)).sum()
    assert np.isfinite(rows).all()
    assert abs(rows.mean() - entropy) < 4 * rows.std() / 3000**0.5 + 1e-4


def test_densities_in_closed_form():
    x = np.random.default_rng(0).normal(size=(7, 2)) * 2
    angle = np.pi / 4 * np.arange(8)
    parts = [
        scipy.stats.multivariate_normal(2 * np.array([np.cos(a), np.sin(a)]), 0.04).pdf(x)
        for a in angle
    ]
    np.testing.assert_allclose(log_density('gaussians', x), np.log(np.mean(parts, 0)), rtol=1e-9)
    # a circle in noise, by a sum around it
    around = 2 * np.pi * np.arange(4000) / 4000
    circles = [k * np.stack([np.cos(around), np.sin(around)], -1) for k in (1, 2, 3)]
    squares = [np.square(x[:, None] - circle).sum(-1) for circle in circles]
    p = np.mean([np.exp(-s / (2 * 0.08**2)).mean(1) for s in squares], 0) / (2 * np.pi * 0.08**2)
    near = p > 1e-30
    np.testing.assert_allclose(log_density('rings', x)[near], np.log(p[near]), rtol=1e-6)
    inside = [[-1.5, -1.5], [0.5, 0.5], [1.5, -0.5], [1, 1], [-2, 2]]
    np.testing.assert_allclose(log_density('checkerboard', np.array(inside)), -np.log(8))
    outside = np.array([[0.5, 1.5], [2.5, 0.5], [-0.5, 0.5]])
    assert (log_density('checkerboard', outside) == -np.inf).all()


def test_of_the_pinwheel_nothing_is_claimed():
    assert data.make(dict(name='density', kind='pinwheel')).log_density is None
