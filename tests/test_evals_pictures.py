"""Evaluators that look into a method: reconstruction, attention, clusters; by independent sums."""

import jax
import numpy as np
import pytest
import scipy.stats
from sklearn import metrics
from sklearn.cluster import KMeans
from toys import KEY, blobs, labeled, one_line, score, scores, source, subject

from ssljax import evals
from ssljax.evals import latents
from ssljax.evals.judge import Judge
from ssljax.evals.pictures import heated, strips
from ssljax.names import Mistake

# ---- reconstruction


def images(count=40, shape=(8, 12, 3), seed=0):
    return np.random.default_rng(seed).integers(256, size=(count, *shape), dtype=np.uint8)


def painter(weight, ratio=0.75, side=4):
    """Hides patches; paints a hidden pixel as `weight` * itself + the rest its patch's mean."""

    def reconstruct(batch, *, ratio=ratio):
        x = batch['x'] / 127.5 - 1
        b, h, w, c = x.shape
        down, across = h // side, w // side
        random = np.random.default_rng(batch['index'][0])
        mask = np.stack([random.permutation(down * across) < ratio * down * across for _ in x])
        patches = x.reshape(b, down, side, across, side, c)
        means = np.broadcast_to(patches.mean((2, 4), keepdims=True), patches.shape)
        hidden = mask.reshape(b, down, 1, across, 1, 1)
        found = {
            'masked': np.where(hidden, 0, patches),
            'means': np.where(hidden, means, patches),
            'reconstruction': np.where(hidden, weight * patches + (1 - weight) * means, patches),
        }
        return {name: values.reshape(x.shape) for name, values in found.items()} | {'mask': mask}

    return reconstruct


@pytest.mark.parametrize('weight', [0.0, 0.5, 1.0, -0.5])
def test_a_masked_reconstruction_is_measured_where_it_is_hidden(weight):
    x = images()
    toy = source(train=dict(x=x), test=dict(x=x))
    who, saved = subject(toy, reconstruct=painter(weight))
    got, rows = scores('reconstruction', who, size=None, options={'ratio': 0.5})
    found = painter(weight)(dict(x=x, index=np.arange(40)), ratio=0.5)
    errors, means = [], []
    for i in range(40):  # patch by patch
        for j in np.flatnonzero(found['mask'][i]):
            cut = np.s_[i, j // 3 * 4 : j // 3 * 4 + 4, j % 3 * 4 : j % 3 * 4 + 4]
            true = x[cut] / 127.5 - 1
            errors.append(np.mean((found['reconstruction'][cut] - true) ** 2))
            means.append(true.var((0, 1)).mean())  # from the mean of each channel
    assert len(errors) == 40 * 3
    assert got['mse'] == pytest.approx(np.mean(errors), rel=1e-4, abs=1e-9)
    assert got['mse_of_means'] == pytest.approx(np.mean(means), rel=1e-4)
    assert got['removed'] == pytest.approx(1 - (1 - weight) ** 2, abs=1e-4)
    assert got['masked'] == pytest.approx(0.5)
    each, blank = (np.mean(np.reshape(v, (40, 3)), 1) for v in (errors, means))
    np.testing.assert_allclose(rows['mse'], each, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(rows['removed'], (blank - each) / blank.mean(), atol=1e-4)
    assert saved['reconstruction'].height == 4 * (5 * 8 + 4)  # four rows, enlarged five times


def test_a_plain_reconstruction_and_the_mean_image():
    x, held = images(300), images(50, seed=1)
    toy = source(train=dict(x=x), test=dict(x=held))
    who, saved = subject(toy, reconstruct=lambda b: dict(reconstruction=b['x'] / 127.5 - 1.0 + 0.1))
    got = score('reconstruction', who)
    assert got['mse'] == pytest.approx(0.01, rel=1e-4) and 'removed' not in got
    assert saved['reconstruction'].height == 2 * (5 * 8 + 4)
    known = evals.trivial('reconstruction', toy, KEY)
    got = score('reconstruction', subject(toy, **known['mean_image'])[0])
    expected = ((held / 127.5 - x.mean(0) / 127.5) ** 2).mean()
    assert got['mse'] == pytest.approx(expected, rel=1e-4)
    points = source(train=dict(x=np.ones((9, 2))), test=dict(x=np.zeros((9, 2))))
    who, saved = subject(points, **evals.trivial('reconstruction', points, KEY)['mean_image'])
    assert score('reconstruction', who)['mse'] == pytest.approx(1) and not saved


def test_a_mask_without_means_is_measured_where_it_is_hidden():
    toy = source(test=dict(x=images()))
    whole = painter(0.5)
    some = lambda b: {k: v for k, v in whole(b).items() if k in ('reconstruction', 'mask')}  # noqa: E731
    (got, rows), full = (
        scores('reconstruction', subject(toy, reconstruct=r)[0]) for r in (some, whole)
    )
    assert set(rows) == {'mse', 'masked'} and got['mse'] == full.numbers['mse']


def test_reconstruction_mistakes():
    toy = source(test=dict(x=images()))
    good = painter(0.5)
    for reconstruct, part in (
        (lambda b: b['x'], 'dict(reconstruction=...)'),
        (lambda b: dict(means=b['x']), 'dict(reconstruction=...)'),
        (lambda b: dict(reconstruction=b['x'][:, :4]), '[40, 4, 12, 3]'),
        (lambda b: dict(reconstruction=np.full(b['x'].shape, np.nan)), '40 of 40'),
        (lambda b: good(b) | {'mask': ~good(b)['mask']}, 'true where a patch was hidden'),
        (lambda b: good(b) | {'mask': good(b)['mask'][:, :5]}, '5 patches'),
    ):
        with pytest.raises(Mistake) as mistake:
            score('reconstruction', subject(toy, reconstruct=reconstruct)[0])
        one_line(mistake, 'reconstruction', part)


# ---- attention


def test_entropy_and_similarity_of_maps():
    maps = np.random.default_rng(0).dirichlet(np.ones(24), (30, 3)).reshape(30, 3, 4, 6) * 0.8
    maps[:, 2] = 0.5 / 24  # a uniform head
    toy = source(test=dict(x=images(30)))
    got = score('attention', subject(toy, attend=lambda b: maps[b['index']])[0])
    each = scipy.stats.entropy(maps.reshape(30, 3, 24), axis=2).mean(0) / np.log(24)
    assert got['entropy'] == pytest.approx(each.mean(), rel=1e-4)
    assert got['entropy_least'] == pytest.approx(each.min(), rel=1e-4)
    assert got['entropy_greatest'] == pytest.approx(1, rel=1e-4)
    cosines = [metrics.pairwise.cosine_similarity(m.reshape(3, 24)) for m in maps]
    expected = np.mean([(c.sum() - 3) / 6 for c in cosines])
    assert got['similarity'] == pytest.approx(expected, rel=1e-4)
    assert got['mass'] == pytest.approx((0.8 + 0.8 + 0.5) / 3, rel=1e-4)
    assert (got['heads'], got['rows']) == (3, 30)


def test_attention_limits_and_picture():
    one = np.eye(24).reshape(24, 4, 6)
    toy = source(test=dict(x=images(12)))

    def looked(attend):
        who, saved = subject(toy, attend=attend)
        return score('attention', who, images=5), saved

    apart, saved = looked(lambda b: np.stack([one[b['index']], one[b['index'] + 12]], 1))
    assert (apart['entropy'], apart['similarity']) == pytest.approx((0, 0), abs=1e-6)
    assert saved['attention'].height == 3 * (8 * 8 + 4)  # the image and two heads
    same, _ = looked(lambda b: np.stack([one[b['index']]] * 2, 1))
    assert same['similarity'] == pytest.approx(1)
    alone, _ = looked(lambda b: np.full((len(b['x']), 1, 4, 6), 1 / 24))
    assert alone['entropy'] == pytest.approx(1) and 'similarity' not in alone
    for attend, part in (
        (lambda b: one[b['index']], '[12, 4, 6]'),
        (lambda b: one[b['index']][:, None] - 0.1, 'below 0'),
    ):
        with pytest.raises(Mistake) as mistake:
            looked(attend)
        one_line(mistake, 'attention', part)


def test_heat_lies_where_the_map_is():
    x = np.full((2, 32, 32, 1), 128, np.uint8)
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 1] = maps[1, 3, 2] = 0.3  # scaled to its own greatest
    hot = heated(x, maps).astype(int).sum(-1)
    places = [divmod(int(h.argmax()), 32) for h in hot]
    assert [(i // 8, j // 8) for i, j in places] == [(0, 1), (3, 2)]
    assert hot.max() > 550 and (hot[0, 16:] < 260).all()
    assert (heated(x, maps * 0) < 90).all()  # a map of nothing


# ---- cluster


def test_cluster_scores_are_scikit_learns():
    random = np.random.default_rng(0)
    x, label = blobs(0, 500)
    found = np.where(random.random(500) < 0.6, (label * 3 + 1) % 5, random.integers(5, size=500))
    toy = source(test=dict(x=x, label=label))
    got, rows = scores('cluster', subject(toy, assign=lambda b: found[b['index']])[0])
    np.testing.assert_array_equal(rows['accuracy'], 100 * (found == (label * 3 + 1) % 5))
    assert got['nmi'] == pytest.approx(metrics.normalized_mutual_info_score(label, found))
    table = metrics.cluster.contingency_matrix(label, found)
    assert got['purity'] == pytest.approx(table.max(0).sum() / 500)
    # the clusters are classes renamed by c -> 3 c + 1 mod 5
    assert got['accuracy'] == pytest.approx(100 * np.mean(found == (label * 3 + 1) % 5))
    assert (got['used'], got['of']) == (5, 5)
    sizes = np.bincount(found)
    assert got['balance'] == pytest.approx(scipy.stats.entropy(sizes) / np.log(5))

    many = found * 40 + random.integers(7, size=500)  # of 200, 35 are used
    got = score('cluster', subject(toy, assign=lambda b: many[b['index']])[0], clusters=200)
    assert got['nmi'] == pytest.approx(metrics.normalized_mutual_info_score(label, many))
    assert (got['used'], got['of'], 'accuracy' in got) == (35, 200, False)
    assert got['purity'] == pytest.approx(
        sum(np.bincount(label[many == c]).max() for c in set(many.tolist())) / 500
    )
    sizes = np.bincount(many, minlength=200)
    assert got['balance'] == pytest.approx(scipy.stats.entropy(sizes) / np.log(200))


def test_cluster_limits():
    x, label = blobs(0, 60)
    toy = source(test=dict(x=x, label=label))

    def cluster(assign, **options):
        return score('cluster', subject(toy, assign=assign)[0], **options)

    assert cluster(lambda b: label[b['index']])['nmi'] == pytest.approx(1)
    one = cluster(lambda b: np.zeros(len(b['x']), int))
    assert (one['nmi'], one['balance'], one['used']) == pytest.approx((0, 0, 1))
    bare = source(test=dict(x=x))
    alone = score('cluster', subject(bare, assign=lambda b: b['index'] % 7)[0])
    assert set(alone) == {'used', 'of', 'balance', 'rows'} and alone['balance'] > 0.99
    for assign, options, part in (
        (lambda b: b['x'], {}, '[60, 12]'),
        (lambda b: label[b['index']] - 1, {}, '>= 0'),
        (lambda b: label[b['index']], dict(clusters=3), 'more than clusters=3'),
    ):
        with pytest.raises(Mistake) as mistake:
            cluster(assign, **options)
        one_line(mistake, 'cluster', part)


def test_baselines_of_clusters_get_as_many():
    toy = labeled(noise=0.5)
    known = evals.trivial('cluster', toy, KEY)
    numbers = {n: score('cluster', subject(toy, **r)[0], clusters=5) for n, r in known.items()}
    train, test = (toy.splits[n].rows(np.arange(toy.splits[n].count)) for n in ('train', 'test'))
    theirs = KMeans(5, n_init=5, random_state=1).fit(train['x']).predict(test['x'])
    expected = metrics.normalized_mutual_info_score(test['label'], theirs)
    assert numbers['kmeans']['nmi'] == pytest.approx(expected, abs=0.03)
    assert numbers['kmeans']['nmi'] > 0.8 > 0.1 > numbers['chance']['nmi'] > 0
    assert numbers['chance']['balance'] > 0.98
    more = score('cluster', subject(toy, **known['chance'])[0], clusters=60)
    assert more['of'] == 60 and more['nmi'] > 3 * numbers['chance']['nmi']  # by their number alone
    assert evals.offered()['cluster'].told(more) == {'clusters': 60}


def test_members_of_clusters_are_shown():
    x = images(200, (8, 8, 1))
    found = np.repeat(np.arange(20), 10)
    found[:9], label = 19, np.arange(200) // 100
    x[:, 0, 0, 0] = found  # so that a picture tells its cluster
    toy = source(test=dict(x=x, label=label))
    who, saved = subject(toy, assign=lambda b: found[b['index']])
    score('cluster', who)
    sheet = np.asarray(saved['clusters'])
    margin = sheet.shape[1] - 10 * 68
    assert sheet.shape[0] == 10 * 68
    tiles = sheet[4::68, margin + 4 :: 68, 0]
    assert (tiles == tiles[:, :1]).all()  # a row is of one cluster
    assert (tiles[0, 0], tiles[-1, 0]) == (19, 18)  # from the greatest to the last of ten
    assert len(set(tiles[:, 0])) == 10
    assert 0 not in tiles  # cluster 0 kept one member
    frames = sheet[::68, margin::68].astype(int)
    red = frames[..., 0] > frames[..., 1]
    assert 0 < red[0].sum() <= 5 and not red[1:].any()  # cluster 19 took nine of the other class


# ---- latents


def circle(batch):
    """Codes are angles: the way between two points is an arc."""
    z = batch['z'] if 'z' in batch else np.arctan2(batch['x'][:, 1], batch['x'][:, 0])[:, None]
    return np.concatenate([np.cos(z), np.sin(z)], 1)


def test_the_way_between_codes_is_measured():
    angle = np.random.default_rng(0).uniform(-2.5, 2.5, 40)
    points = np.stack([np.cos(angle), np.sin(angle)], 1).astype('f')
    toy = source(train=dict(x=points[20:]), test=dict(x=points))
    readouts = dict(encode=lambda b: np.arctan2(b['x'][:, 1:], b['x'][:, :1]), decode=circle)
    who, saved = subject(toy, **readouts)
    got, rows = scores('latents', who, size=20, steps=6)
    assert set(rows) == {'length', 'jump', 'distance'} and not saved and got['pairs'] == 20
    arc = np.abs(angle[:20] - angle[20:])
    np.testing.assert_allclose(rows['length'], 6 * np.sin(arc / 12) / np.sin(arc / 2), rtol=1e-3)
    np.testing.assert_allclose(rows['jump'], 1, rtol=1e-2)
    middle = (angle[:20] + angle[20:]) / 2
    middle = np.stack([np.cos(middle), np.sin(middle)], 1)
    apart = lambda x: np.linalg.norm(x[:, None] - points[20:], axis=2).min(1)  # noqa: E731
    np.testing.assert_allclose(rows['distance'], apart(middle) / apart(points).mean(), atol=1e-3)


def test_a_way_that_jumps():
    """One of four steps has all of the way, and the way back and forth is three times as long."""
    x = np.repeat([[0.0], [1.0]], 8, 0).astype('f')
    toy = source(train=dict(x=x), test=dict(x=x))
    leap = subject(toy, encode=lambda b: b['x'], decode=lambda b: (b['z'] > 0.6) * 1.0)[0]
    got = score('latents', leap, steps=4)
    assert (got['length'], got['jump'], got['distance']) == pytest.approx((1, 4, 0))
    back = {0: 0, 0.25: 1, 0.5: 0, 0.75: 1, 1: 1}
    fold = lambda b: np.array([[back[float(z)]] for z in b['z'][:, 0]], 'f')  # noqa: E731
    got = score('latents', subject(toy, encode=lambda b: b['x'], decode=fold)[0], steps=4)
    assert (got['length'], got['jump']) == pytest.approx((3, 4 / 3))


def test_a_middle_is_valid_where_it_is_named_as_an_end(monkeypatch):
    """Of a cross-fade: in pixels the way is straight, and its steps are even."""
    x = images(24, (8, 8, 1))
    i = np.arange(12)
    label = np.concatenate([i % 4, (i + (i % 2 == 0)) % 4])  # every other has ends of two classes
    toy = source(train=dict(x=x), test=dict(x=x, label=label))
    asked = {}

    def trained(source, steps):
        def look(middles):
            asked['middles'] = middles
            sure = np.linspace(0.85, 1, 12)[:, None]  # the first four are not above 0.9
            named = np.eye(4)[(i + (i % 3 == 0)) % 4]
            return sure * named + (1 - sure) * (1 - named) / 3, None

        return Judge(look)

    monkeypatch.setattr(latents, 'trained', trained)
    (who, readouts), = evals.trivial('latents', toy, KEY).items()  # fmt: skip
    one, saved = subject(toy, **readouts)
    got, rows = scores('latents', one, images=3, steps=4)
    assert who == 'crossfade' and (got['length'], got['jump']) == pytest.approx((1, 1))
    floats = x / np.float32(127.5) - 1
    np.testing.assert_allclose(asked['middles'], (floats[:12] + floats[12:]) / 2, atol=1e-6)
    expected = (i >= 4) & ((i % 3 > 0) | (i % 2 == 0))  # a third was called the next class
    np.testing.assert_array_equal(rows['valid'], 100 * expected)
    sheet = np.asarray(saved['interpolation'])
    assert sheet.shape[:2] == (3 * 68, 7 * 68)
    np.testing.assert_array_equal(sheet[2:66:8, 2:66:8], x[0].repeat(3, 2))
    np.testing.assert_array_equal(sheet[2:66:8, 2 + 5 * 68 : 66 + 5 * 68 : 8], x[12].repeat(3, 2))
    assert saved['traversal'].height == 10 * 68


def test_a_traversal_shows_the_coordinates_that_move_the_image():
    codes = np.random.default_rng(0).normal(size=(50, 3)).astype('f') * [1, 2, 1] + [0, 5, 0]
    weight = np.array([1.0, 0.1, 3.0])
    asked = []

    def decode(z):
        asked.append(z)
        return np.ones((1, 2, 2, 1)) * (z @ weight)[:, None, None, None]

    rows = latents.traversal(decode, codes, 4)
    assert list(rows) == ['z2', 'z0', 'z1']
    by_name = {int(np.ptp(z, 0).argmax()): z for z in asked}
    for j, z in by_name.items():
        spread = codes[:, j].mean() + np.array([-2, -1, 0, 1, 2]) * codes[:, j].std()
        np.testing.assert_allclose(z[:, j], spread, rtol=1e-4, atol=1e-4)
        others = np.delete(np.arange(3), j)
        np.testing.assert_array_equal(z[:, others], codes[:1, others].repeat(5, 0))
    assert rows['z2'].shape == (5, 2, 2, 1)


def test_latents_mistakes():
    x = images(8, (8, 8, 1))
    toy = source(train=dict(x=x), test=dict(x=x))
    for decode, part in (
        (lambda b: b['z'], '[4, 64]'),
        (lambda b: b['z'].reshape(-1, 8, 8, 1) * np.nan, '4 of 4 rows'),
    ):
        who, _ = subject(toy, encode=lambda b: b['x'].reshape(-1, 64) / 255, decode=decode)
        with pytest.raises(Mistake) as mistake:
            score('latents', who)
        one_line(mistake, 'latents', part)


# ---- pictures


def test_strips_name_their_rows():
    x = images(3, (64, 64, 3))
    whole = np.asarray(strips({'a': x, 'long name': x[::-1]}))
    sheet = whole[:, -3 * 68 :]
    np.testing.assert_array_equal(sheet[2:66, 2:66], x[0])
    np.testing.assert_array_equal(sheet[70:134, 2:66], x[2])
    margin = whole[:, : -3 * 68]
    assert margin.min() < 100 and (margin[68:] < 128).sum() > (margin[:68] < 128).sum() > 0


@pytest.mark.parametrize('name', ['reconstruction', 'attention', 'cluster'])
def test_keys_of_jax_arrays_and_empty_pictures(name):
    """Readouts may answer with device arrays; no picture where none is asked for."""
    toy = source(train=dict(x=images()), test=dict(x=images(), label=np.arange(40) % 2))
    readouts = dict(
        reconstruct=lambda b: dict(reconstruction=jax.numpy.asarray(b['x'] / 127.5 - 1)),
        attend=lambda b: jax.numpy.ones((len(b['x']), 2, 3, 3)) / 9,
        assign=lambda b: jax.numpy.asarray(b['index'] % 3),
    )
    who, saved = subject(toy, **readouts)
    options = dict(picture=False) if name == 'cluster' else dict(images=0)
    assert score(name, who, **options) and not saved
