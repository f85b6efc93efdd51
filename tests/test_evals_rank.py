"""How many directions features use: by an SVD in numpy, and in the limits."""

import jax
import numpy as np
import pytest
import scipy.stats
import toys

from ssljax import collapse, evals
from ssljax.evals.rank import singular_values


def by_svd(h):
    """The exponential of the entropy of the singular values' shares."""
    h = h.astype(np.float64)
    h = h / np.linalg.norm(h, axis=1, keepdims=True)
    s = np.linalg.svd(h - h.mean(0), compute_uv=False)
    return np.exp(scipy.stats.entropy(s / s.sum()))


def drawn(count, dim, steep=0.5):
    """Directions that are less and less strong."""
    return np.random.default_rng(0).normal(size=(count, dim)) * (1.0 + np.arange(dim)) ** -steep


@pytest.mark.parametrize('count, dim, steep', [(300, 20, 0.5), (40, 90, 0.5), (500, 64, 2.0)])
def test_effective_rank_is_that_of_an_svd(count, dim, steep):
    h = drawn(count, dim, steep).astype('f')
    expected = by_svd(h)
    assert float(collapse.effective_rank(h)) == pytest.approx(expected, rel=1e-4)
    who, _ = toys.subject(toys.source(test=dict(x=h)), encode=toys.encode)
    found = toys.score('rank', who)
    assert found['effective_rank'] == pytest.approx(expected, rel=1e-4)
    assert (found['dims'], found['rows'], found['alive']) == (dim, count, 1)
    for scaled in (7 * h, h * np.random.default_rng(1).uniform(0.1, 9, (count, 1)).astype('f')):
        assert float(collapse.effective_rank(scaled)) == pytest.approx(expected, rel=1e-4)


def test_singular_values_are_numpys():
    for shape in ((50, 12), (12, 50)):
        h = drawn(*shape)
        unit = h / np.linalg.norm(h, axis=1, keepdims=True)
        expected = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
        np.testing.assert_allclose(np.sort(singular_values(h))[::-1], expected, atol=1e-6)


def test_limits_of_rank_and_spread():
    random = np.random.default_rng(0)
    white = random.normal(size=(4000, 16))
    assert float(collapse.effective_rank(white)) == pytest.approx(16, rel=0.01)
    assert float(collapse.spread(white)) == pytest.approx(1, abs=0.02)
    line = white[:, :2] @ random.normal(
        size=(2, 16)
    )  # one direction beside the mean's, of unit rows
    assert float(collapse.effective_rank(line)) == pytest.approx(2, abs=0.02)
    one = np.ones((4000, 16)) * random.uniform(1, 2, (4000, 1))  # all point one way
    assert float(collapse.effective_rank(one)) == 0
    assert float(collapse.spread(one)) == pytest.approx(0, abs=1e-5)
    near = np.ones(16) + 1e-3 * white  # full rank, and yet collapsed: why there are two numbers
    assert float(collapse.effective_rank(near)) > 14 and float(collapse.spread(near)) < 0.01
    assert np.isfinite(collapse.effective_rank(np.zeros((5, 3))))


def test_a_method_may_ask_for_it_in_its_step():
    z = drawn(64, 10).astype('f')
    inside = jax.jit(lambda z: (collapse.effective_rank(z), collapse.spread(z)))(z)
    assert float(inside[0]) == pytest.approx(by_svd(z), rel=1e-4)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    assert float(inside[1]) == pytest.approx(10**0.5 * unit.std(0).mean(), rel=1e-5)


def test_dead_entries_and_pixels():
    h = drawn(200, 8)
    h[:, 5:] = 3.0
    toy = toys.source(train=dict(x=h), test=dict(x=h))
    found = toys.score('rank', toys.subject(toy, encode=toys.encode)[0])
    assert found['alive'] == 5 / 8
    pixels = evals.trivial('rank', toy, toys.KEY)
    assert set(pixels) == {'pixels'}
    assert toys.score('rank', toys.subject(toy, **pixels['pixels'])[0]) == found


def test_participation_is_that_of_the_covariance_and_below_the_effective_rank():
    random = np.random.default_rng(0)
    for count, dim in ((200, 12), (12, 200)):
        z = random.normal(size=(count, dim)) * np.exp(-np.arange(dim) / 4)
        rows = z / np.linalg.norm(z, axis=1, keepdims=True)
        values = np.linalg.eigvalsh(np.cov(rows.T))
        expected = values.sum() ** 2 / (values**2).sum()
        assert float(collapse.participation(z)) == pytest.approx(expected, rel=1e-4)
        assert expected < float(collapse.effective_rank(z))
    assert float(collapse.participation(np.ones((8, 3)))) == 0
