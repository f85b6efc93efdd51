"""Evaluators of features against scikit-learn and numpy statements of what they measure."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from toys import KEY, blobs, encode, labeled, one_line, score, source, subject

from ssljax import data, evals, sharding
from ssljax.evals import blocks, linear_head
from ssljax.evals.baselines import fitted_to
from ssljax.evals.knn import classify, whitened
from ssljax.evals.linear_head import fit, predict, problem
from ssljax.evals.measures import unit
from ssljax.evals.pictures import grid, neighbors
from ssljax.evals.subject import answers, pick
from ssljax.names import Mistake
from ssljax.sweep import Sweep

# ---- rows that are picked


@pytest.mark.parametrize('name', ['knn', 'linear_probe'])
def test_mistakes_about_labels_and_features(name):
    for rows, part in (
        (lambda x, y: dict(x=x), 'has none'),
        (lambda x, y: dict(x=x, label=y * 0 + 3), 'two classes'),
        (lambda x, y: dict(x=x, label=y - 1), '>= 0'),
        (lambda x, y: dict(x=x, label=y * 1.5), 'float64'),
        (
            lambda x, y: dict(x=np.where(np.arange(len(x))[:, None] == 7, np.nan, x), label=y),
            '1 of',
        ),
    ):
        toy = source(train=rows(*blobs(0, 400)), test=rows(*blobs(1, 100)))
        with pytest.raises(Mistake) as mistake:
            score(name, subject(toy, encode=encode)[0])
        one_line(mistake, name, part)
    with pytest.raises(Mistake) as mistake:
        score(name, subject(labeled(train=10, test=30), encode=encode)[0])
    one_line(mistake, 'needs 20', '10')
    with pytest.raises(Mistake) as mistake:
        score(name, subject(labeled(train=400), encode=encode)[0])
    one_line(mistake, "'test'", 'offered: train')


def test_rows_are_picked_alike_and_from_everywhere():
    few = pick(10_000, 500)
    np.testing.assert_array_equal(few, pick(10_000, 500))
    assert (np.diff(few) > 0).all() and few[0] < 500 and few[-1] > 9500
    np.testing.assert_array_equal(pick(7, None), np.arange(7))
    np.testing.assert_array_equal(pick(7, 9), np.arange(7))


def test_answers_do_not_depend_on_the_chunk():
    toy, seen = labeled().splits['train'], []

    def ask(batch, *, factor):
        seen.append(len(batch['x']))
        assert batch['index'].dtype == np.int32
        return batch['x'] * factor

    index = np.arange(3, 103)
    for chunk in (7, 1024):
        found, rows = answers(ask, toy, index, keep=('label', 'absent'), chunk=chunk, factor=2)
        np.testing.assert_array_equal(found, toy.rows(index)['x'] * 2)
        assert set(rows) == {'label'}
        np.testing.assert_array_equal(rows['label'], toy.rows(index)['label'])
    assert max(seen[:-1]) <= 7 and seen[-1] == 100


def test_every_chunk_draws_for_itself():
    """Over a split and over rows that are given; and the same again."""
    split = SimpleNamespace(count=20, rows=lambda index: {'x': np.zeros((len(index), 2), 'f')})
    sweep = Sweep(sharding.mesh(devices=jax.devices()[:1]), jax.random.key(0), split, chunk=8)

    def noise(key, state, batch):
        return jax.random.normal(key, (len(batch['x']),))

    whole, rows = sweep(noise, None), sweep.over(noise, None, split.rows(np.arange(20)))
    for drawn in (whole, rows):
        assert drawn.shape == (20,) and len(set(drawn.tolist())) == 20
    np.testing.assert_array_equal(whole, sweep(noise, None))


def test_a_readout_asked_again_with_another_value_answers_for_it():
    rows = {'x': np.ones((3, 1), 'f')}
    sweep = Sweep(sharding.mesh(devices=jax.devices()[:1]), jax.random.key(0))

    def times(key, state, batch, *, factor):
        return factor * batch['x'][:, 0]

    for factor in (2, 3, 2):
        assert (sweep.over(times, None, rows, factor=factor) == factor).all()


def test_a_sweep_tells_each_row_its_index():
    split = SimpleNamespace(count=20, rows=lambda index: {'x': np.zeros((len(index), 2), 'f')})
    sweep = Sweep(sharding.mesh(devices=jax.devices()[:1]), jax.random.key(0), split, chunk=8)
    np.testing.assert_array_equal(sweep(lambda key, state, batch: batch['index'], None), range(20))


def test_the_batch_of_a_sweep_is_its_first_rows_as_a_method_sees_them():
    x = np.arange(20, dtype=np.uint8)[:, None] * 10
    split = SimpleNamespace(count=20, rows=lambda index: {'x': x[index]})
    sweep = Sweep(sharding.mesh(devices=jax.devices()[:1]), jax.random.key(0), split, chunk=8)
    np.testing.assert_allclose(sweep.batch['x'], x[:8] / 127.5 - 1, atol=1e-6)
    assert sweep.batch['index'].tolist() == [*range(8)]


# ---- knn


@pytest.mark.parametrize(('k', 'temperature'), [(1, 0.07), (20, 0.07), (20, 1e-3), (50, 10.0)])
def test_knn_is_scikit_learns(k, temperature):
    (x, y), (q, truth) = blobs(0, 500), blobs(1, 333)
    theirs = KNeighborsClassifier(
        k, metric='cosine', weights=lambda d: np.exp((1 - d - 1) / temperature)
    ).fit(x.astype('d'), y)
    (found,), nearest = classify(x, y, q, [(k, temperature)])
    np.testing.assert_array_equal(nearest, theirs.kneighbors(q.astype('d'))[1])
    np.testing.assert_array_equal(found, theirs.predict(q.astype('d')))
    toy = source(train=dict(x=x, label=y), test=dict(x=q, label=truth))
    got = score('knn', subject(toy, encode=encode)[0], k=k, temperature=temperature)
    assert got['accuracy'] == pytest.approx(100 * theirs.score(q, truth))
    assert (got['bank'], got['queries']) == (500, 333)


def pca_whitened(x, q):
    """By principal axes, 0.02 of the mean variance added to each."""
    x, q = x.astype('d'), q.astype('d')
    values, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    scale = axes / np.sqrt(values + 0.02 * values.mean())
    return (x - x.mean(0)) @ scale, (q - x.mean(0)) @ scale


@pytest.mark.parametrize(('count', 'width'), [(500, 12), (100, 150)])
def test_knn_columns_are_those_of_each_k_and_of_whitened_features(count, width):
    # a few strong directions that say nothing, as raw features have
    random = np.random.default_rng(2)
    mix = random.normal(size=(12, width)) + 9 * random.normal(size=(12, 1)) * np.ones(width)
    (x, y), (q, truth) = blobs(0, count), blobs(1, 333)
    x, q = ((rows @ mix + 5).astype('f') for rows in (x, q))
    toy = source(train=dict(x=x, label=y), test=dict(x=q, label=truth))
    also = ((50, 0.1), (count, 2.0), (count + 1, 1.0))
    got = score('knn', subject(toy, encode=encode)[0], also=also)
    expected = {}
    for end, (a, b) in {'': (x.astype('d'), q), '_whitened': pca_whitened(x, q)}.items():
        for name, k, t in (('', 20, 0.07), ('_k50', 50, 0.1), (f'_k{count}', count, 2.0)):
            theirs = KNeighborsClassifier(k, metric='cosine', weights=lambda d, t=t: np.exp(-d / t))
            expected[f'accuracy{name}{end}'] = 100 * theirs.fit(a, y).score(b, truth)
    assert len(set(expected.values())) > 3
    accuracies = {name: value for name, value in got.items() if name.startswith('accuracy')}
    assert accuracies == pytest.approx(expected, abs=0.31)  # a row of 333, where two votes tie
    assert got['accuracy'] < got['accuracy_whitened'] - 2
    bare = score('knn', subject(toy, encode=encode)[0], also=(), whiten=False)
    assert [name for name in bare if name.startswith('accuracy')] == ['accuracy']
    with pytest.raises(Mistake, match='pairs'):
        score('knn', subject(toy, encode=encode)[0], also=(200, 0.1))


def test_whitened_features_are_white_on_the_bank():
    random = np.random.default_rng(0)
    x = (random.normal(size=(9000, 30)) * np.geomspace(1, 30, 30) + 40).astype('f')
    a, b = whitened(x, x[:50])
    np.testing.assert_allclose(a[:50], b, atol=1e-4)
    np.testing.assert_allclose(a.mean(0), 0, atol=1e-3)
    shrunk = np.linalg.eigvalsh(np.cov(a.T))
    values = np.linalg.eigvalsh(np.cov(x.T))
    np.testing.assert_allclose(np.sort(values / (values + 0.02 * values.mean())), shrunk, rtol=1e-3)
    turn, _ = np.linalg.qr(random.normal(size=(30, 30)))
    other, _ = whitened((x @ turn * 7 - 3).astype('f'), x[:5])
    products = (unit(rows)[:100] @ unit(rows)[:100].T for rows in (a, other))
    np.testing.assert_allclose(*products, atol=2e-3)  # no view of axes, scale or origin
    assert np.isfinite(whitened(np.full((40, 3), 7, 'f'), x[:2, :3])[1]).all()  # collapsed


def test_knn_does_not_depend_on_block_scale_or_order():
    (x, y), (q, _) = blobs(0, 300, noise=2), blobs(1, 101, noise=2)
    votes = [(15, 0.1), (40, 1.0)]
    found, nearest = classify(x, y, q, votes)
    for block in (1, 16, 101):
        again = classify(x, y, q, votes, block=block)
        np.testing.assert_array_equal(again[0], found)
        np.testing.assert_array_equal(again[1], nearest)
    sizes = np.random.default_rng(0).uniform(0.1, 50, (300, 1)).astype('f')
    np.testing.assert_array_equal(classify(x * sizes, y, q / 1000, votes)[0], found)
    order = np.random.default_rng(1).permutation(300)
    again = classify(x[order], y[order], q, votes)
    np.testing.assert_array_equal(again[0], found)
    np.testing.assert_array_equal(order[again[1]], nearest)


def test_knn_is_the_same_on_one_device_where_blocks_run_two_at_a_time(monkeypatch):
    (x, y), (q, _) = blobs(0, 300, noise=2), blobs(1, 101, noise=2)
    found, nearest = classify(x, y, q, [(15, 0.1)], block=16)
    monkeypatch.setattr(blocks, 'mesh', lambda: sharding.mesh(devices=jax.devices()[:1]))
    again = classify(x, y, q, [(15, 0.1)], block=4)
    np.testing.assert_array_equal(again[0], found)
    np.testing.assert_array_equal(again[1], nearest)


def test_knn_limits_of_temperature_and_ties():
    x = np.array([[1, 0], [1, 0.2], [1, 0.3], [0, 1]], 'f')
    y, q = np.array([2, 1, 1, 0], np.int32), np.array([[1, 0]], 'f')
    found, _ = classify(x, y, q, [(3, 1e-6), (3, 1e6)])
    assert found.tolist() == [[2], [1]]  # the nearest alone; one row, one vote
    assert classify(np.ones((4, 2), 'f'), y, q, [(1, 0.1)])[1] == [[0]]
    tie, _ = classify(x[[0, 0, 3, 3]], np.array([3, 1, 0, 0], np.int32), q, [(2, 0.1)])
    assert tie == [[1]]  # equal votes: the lower class


def test_knn_saves_its_neighbors():
    random = np.random.default_rng(0)
    x = random.integers(256, size=(60, 8, 8, 1), dtype=np.uint8)
    y = (np.arange(60) % 3).astype(np.int32)
    rows = dict(x=x, label=y)
    who, saved = subject(source(train=rows, test=rows), encode=lambda b: b['x'] / 255)
    score('knn', who)
    assert saved['neighbors'].size == (6 * 68, 8 * 68)  # 8 rows: the query, then 5
    pixels = np.asarray(saved['neighbors'])
    np.testing.assert_array_equal(pixels[2:66, 2:66], pixels[2:66, 70:134])  # itself is nearest
    assert pixels[0, 68, 1] > pixels[0, 68, 0]  # and of the same class: not red


# ---- linear probe


def test_probe_is_scikit_learns():
    (x, y), (q, truth) = blobs(0, 400, noise=2), blobs(1, 1000, noise=2)
    mean, scale = x.mean(0), x.std(0)
    x, q = (x - mean) / scale, (q - mean) / scale
    start, given = None, problem(x, y)
    for l2 in (1.0, 1e-2, 1e-4):
        theirs = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-6, max_iter=2000).fit(x, y)
        start = fit(given, l2, start, tolerance=1e-4)
        w, b = np.asarray(start['w']), np.asarray(start['b'])
        np.testing.assert_allclose(w, theirs.coef_.T, atol=5e-3)
        np.testing.assert_allclose(b - b.mean(), theirs.intercept_, atol=5e-3)
        rough = predict(fit(given, l2), q)  # as it is used
        assert abs(np.mean(rough == truth) - theirs.score(q, truth)) <= 0.002
    assert len(start['b']) == 5


@pytest.mark.parametrize('way', ['rows alone', 'variances alone'])
def test_probe_finds_the_same_minimum_by_other_ways(way, monkeypatch):
    """Without the columns, as on a GPU; and without a covariance, as of very many features."""
    x, y = blobs(0, 400, noise=2)
    x = (x - x.mean(0)) / x.std(0) @ np.random.default_rng(0).normal(size=(12, 12)).astype('f')
    expected = fit(problem(x, y), 1e-2, tolerance=1e-5)
    if way == 'variances alone':
        monkeypatch.setattr(linear_head, 'WIDEST', 11)
    given = problem(x, y)
    assert given.spread.shape == ((12, 12) if way == 'rows alone' else (12, 1))
    given = given._replace(columns=None) if way == 'rows alone' else given
    params = fit(given, 1e-2, tolerance=1e-5)
    for name in ('w', 'b'):
        np.testing.assert_allclose(params[name], expected[name], atol=1e-3)


def test_probe_limit_of_a_strong_penalty():
    x, y = blobs(0, 400)
    y = np.where(np.arange(400) < 100, y, 2).astype(np.int32)
    params = fit(problem(x, y), 1e6, tolerance=1e-6)
    np.testing.assert_allclose(params['w'], 0, atol=1e-5)
    shares = np.bincount(y) / 400
    np.testing.assert_allclose(jax.nn.softmax(params['b']), shares, atol=1e-4)


def test_probe_chooses_on_validation_and_scores_on_test():
    toy = labeled(noise=2.5)
    got = score('linear_probe', subject(toy, encode=encode)[0])
    parts = {n: s.rows(np.arange(s.count)) for n, s in toy.splits.items()}
    mean, scale = parts['train']['x'].mean(0), parts['train']['x'].std(0)
    x = {n: (rows['x'] - mean) / scale for n, rows in parts.items()}
    theirs = LogisticRegression(C=1 / (got['l2'] * 400), tol=1e-6, max_iter=2000)
    theirs.fit(x['train'], parts['train']['label'])
    for name, metric in (('validation', 'validation_accuracy'), ('test', 'accuracy')):
        percent = 100 * theirs.score(x[name], parts[name]['label'])
        assert got[metric] == pytest.approx(percent, abs=0.51)  # one row of 200
    best = max(
        LogisticRegression(C=1 / (l2 * 400), max_iter=2000)
        .fit(x['train'], parts['train']['label'])
        .score(x['validation'], parts['validation']['label'])
        for l2 in (1.0, 0.1, 0.01, 1e-3, 1e-4)
    )
    assert got['validation_accuracy'] >= 100 * best - 0.51
    # what the test rows are cannot change the choice; nor can the units of a feature
    parts['test']['label'] = parts['test']['label'][::-1]
    units = np.float32(np.geomspace(0.01, 100, 12))
    toy = source(**{n: rows | {'x': rows['x'] * units + 3} for n, rows in parts.items()})
    again = score('linear_probe', subject(toy, encode=encode)[0])
    assert again['l2'] == got['l2']
    assert again['validation_accuracy'] == pytest.approx(got['validation_accuracy'], abs=0.51)
    assert again['accuracy'] < 40 < got['accuracy']


def test_probe_without_validation_and_with_dead_features():
    toy = labeled(train=444, test=300)
    got = score('linear_probe', subject(toy, encode=lambda b: b['x'] * (np.arange(12) > 2))[0])
    assert got['train'] == 400 and got['accuracy'] > 50


# ---- baselines and pictures


def test_pixel_baselines():
    x = np.random.default_rng(0).integers(256, size=(20, 4, 4, 3), dtype=np.uint8)
    toy = source(train=dict(x=x), test=dict(x=x))
    known = evals.trivial('knn', toy, KEY)
    np.testing.assert_allclose(
        known['pixels']['encode'](dict(x=x)), x.reshape(20, 48) / 127.5 - 1, atol=1e-6
    )
    h = known['standardized']['encode'](dict(x=x))
    np.testing.assert_allclose(h.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(h.std(1), 1, atol=1e-6)
    dim = known['standardized']['encode'](dict(x=x // 2 + np.uint8(40)))  # contrast, brightness
    np.testing.assert_allclose(dim, h, atol=0.03)
    assert np.isfinite(known['standardized']['encode'](dict(x=x * 0))).all()


def test_baselines_are_fitted_to_some_rows_by_chunks():
    x = np.arange(2500, dtype=np.float32)[:, None]
    toy = source(train=dict(x=x))
    parts = [rows['x'] for rows in fitted_to(toy, chunk=700)]
    assert [len(part) for part in parts] == [700, 700, 700, 400]
    np.testing.assert_array_equal(np.concatenate(parts), x)
    few = np.concatenate([rows['x'] for rows in fitted_to(toy, 30, chunk=7)])
    np.testing.assert_array_equal(few, x[pick(2500, 30)])
    mean = evals.trivial('reconstruction', toy, KEY)['mean_image']['reconstruct'](dict(x=x[:2]))
    np.testing.assert_allclose(mean['reconstruction'], x.mean(), rtol=1e-6)


def test_error_rate_counts_and_the_majority_is_the_commonest():
    made = labeled()._replace(classes=5)
    truth = made.splits['test'].rows(np.arange(made.splits['test'].count))['label']
    right, _ = subject(made, classify=lambda rows: rows['label'])
    assert score('error_rate', right)['error'] == 0
    wrong, _ = subject(made, classify=lambda rows: rows['label'] + (rows['index'] % 4 == 0))
    share = 100 * np.mean(np.arange(len(truth)) % 4 == 0)
    np.testing.assert_allclose(score('error_rate', wrong)['error'], share)
    train = made.splits['train'].rows(np.arange(made.splits['train'].count))['label']
    common = evals.trivial('error_rate', made, KEY)['majority']['classify'](
        dict(x=np.zeros((3, 2)))
    )
    assert common.tolist() == [np.bincount(train).argmax()] * 3
    hidden = dict(name='few_labels', of='digits', per_class=3)  # most have no label, which is -1
    classify = evals.trivial('error_rate', data.make(hidden), KEY)['majority']['classify']
    assert classify(dict(x=np.zeros((1, 2)))).tolist() == [0]  # of equally many, the first
    soft, _ = subject(made, classify=lambda rows: np.zeros((len(rows['x']), 3)))
    with pytest.raises(Mistake) as mistake:
        score('error_rate', soft)
    one_line(mistake, 'error_rate', 'one class per row')


def test_grid_places_images():
    x = np.random.default_rng(0).integers(256, size=(5, 64, 64, 3), dtype=np.uint8)
    sheet = np.asarray(grid(x, 2))
    assert sheet.shape == (3 * 68, 2 * 68, 3)
    for i, image in enumerate(x):
        top, left = i // 2 * 68 + 2, i % 2 * 68 + 2
        np.testing.assert_array_equal(sheet[top : top + 64, left : left + 64], image)
    assert (sheet[2 * 68 :, 68:] == 255).all()
    np.testing.assert_array_equal(sheet, np.asarray(grid(x / 127.5 - 1, 2)))
    gray = np.asarray(grid(x[..., :1] * 0 + np.uint8(9)))
    assert (gray[2:66, 2:66] == 9).all()
    assert grid(x[:, :8, :8]).size == (5 * 68, 68)  # small images are enlarged
    assert (np.asarray(grid(np.full((1, 64, 64, 1), 9.0)))[5, 5] == 255).all()  # out of range


def test_neighbors_are_framed_by_their_labels():
    x = np.zeros((2, 64, 64, 1), np.uint8)
    right = np.array([[True, False], [False, False]])
    sheet = np.asarray(neighbors(x, np.stack([x, x], 1), right))
    assert sheet.shape == (2 * 68, 3 * 68, 3)
    frames = sheet[::68, ::68].astype(int)  # the corner of each frame
    assert (frames[:, 0] == 255).all()
    np.testing.assert_array_equal(frames[:, 1:, 0] > frames[:, 1:, 1], ~right)
    assert neighbors(np.zeros((2, 3)), np.zeros((2, 2, 3)), right) is None
