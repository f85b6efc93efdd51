"""Densities in the plane beside the true one, WebP as a likelihood, and the truth as a baseline."""

import io

import numpy as np
import pytest
import scipy.stats
from PIL import Image
from toys import KEY, one_line, score, scores, source, subject

from ssljax import data, evals
from ssljax.names import Mistake

NORMAL = scipy.stats.multivariate_normal([0.5, -1], [[1, 0.3], [0.3, 0.5]])
WIDER = scipy.stats.multivariate_normal([0.5, -1], [[2, 0], [0, 1]])


def toy(count=4000, true=True):
    x = {s: NORMAL.rvs(count, random_state=i).astype('f') for i, s in enumerate(('train', 'test'))}
    made = source(**{name: dict(x=rows) for name, rows in x.items()})
    return made._replace(log_density=NORMAL.logpdf if true else None)


def test_kl_is_that_of_two_normals():
    who, saved = subject(toy(), log_prob=lambda b: WIDER.logpdf(b['x']))
    got, rows = scores('density_map', who)
    a, b = NORMAL.cov, WIDER.cov
    kl = 0.5 * (np.trace(np.linalg.solve(b, a)) - 2 + np.log(np.linalg.det(b) / np.linalg.det(a)))
    assert got['kl'] == pytest.approx(kl, abs=5 * rows['kl'].std() / 4000**0.5)
    assert got['nats'] == pytest.approx(-WIDER.logpdf(who.source.splits['test'].rows(
        np.arange(4000))['x']).mean(), rel=1e-5)  # fmt: skip
    assert 0.9 < got['mass'] < 1 and set(saved) == {'density_map'}


def test_the_truth_is_no_nats_away_and_stands_beside():
    known = evals.trivial('density_map', toy(), KEY)
    assert set(known) == {'gaussian', 'truth'} == set(evals.trivial('density', toy(), KEY))
    got = score('density_map', subject(toy(), **known['truth'])[0])
    assert got['kl'] == 0 and got['mass'] == pytest.approx(1, abs=0.01)
    assert 0 < score('density_map', subject(toy(), **known['gaussian'])[0])['kl'] < 0.01
    unknown = toy(true=False)
    assert set(evals.trivial('density_map', unknown, KEY)) == {'gaussian'}
    got = score('density_map', subject(unknown, **known['truth'])[0], cells=0)
    assert set(got) == {'nats', 'rows', 'standard_error'} or set(got) == {'nats', 'rows'}


def test_the_picture_has_each_point_in_its_place():
    """Three points up right, one of them down left: the brightest squares of samples."""
    points = np.float32([[3, 3], [3, 3], [3, 3], [-3, -3]])
    made = source(train=dict(x=points), test=dict(x=points))
    near = lambda b: -np.square(b['x'] - 3).sum(1) * 4  # noqa: E731
    who, saved = subject(made, log_prob=near, sample=lambda b: b['x'])
    evals.offered()['density_map'].run(who, cells=16)
    picture = np.asarray(saved['density_map'], int)
    height = picture.shape[0] // 3
    right = picture[:, -picture.shape[0] // 3 :]
    for i in range(3):  # data, model, samples
        tile = right[i * height : (i + 1) * height].sum(-1)
        inner = tile[4:-4, 4:-4]
        row, column = np.unravel_index(inner.argmax(), inner.shape)
        assert row < height / 3 and column > height / 2, i
    tile = right[2 * height :].sum(-1)[4:-4, 4:-4]
    assert 0 < tile[height // 2 :, : height // 2].max() < tile.max()


def test_webp_is_a_code_length():
    random = np.random.default_rng(0)
    flat, noise = np.full((2, 16, 16, 1), 9), random.integers(256, size=(2, 16, 16, 3))
    for x, least, most in ((flat, 100, 1000), (noise, 8 * 16 * 16 * 3, 8 * 1000)):
        x = x.astype(np.uint8)
        made = source(train=dict(x=x), test=dict(x=x))
        bits = -evals.trivial('bound', made, KEY)['webp']['bound'](dict(x=x)) / np.log(2)
        np.testing.assert_allclose(bits / 8, np.round(bits / 8))  # whole bytes
        assert (least < bits).all() and (bits < most).all()
    # lossless: what was measured can be read again
    file = io.BytesIO()
    Image.fromarray(x[0]).save(file, 'WEBP', lossless=True, quality=100, method=6)
    assert 8 * file.tell() == pytest.approx(bits[0])
    np.testing.assert_array_equal(np.asarray(Image.open(file)), x[0])
    for rows in (np.zeros((3, 2), 'f'), np.zeros((3, 4, 4, 4, 1), np.uint8)):
        made = source(train=dict(x=rows), test=dict(x=rows))
        assert 'webp' not in evals.trivial('bound', made, KEY)


def test_density_map_needs_points():
    made = data.make(dict(name='digits'))
    with pytest.raises(Mistake) as mistake:
        score('density_map', subject(made, log_prob=lambda b: np.zeros(len(b['x'])))[0])
    one_line(mistake, 'points [2]', '[8, 8, 1]')
