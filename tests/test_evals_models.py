"""Evaluators of models of the data, by likelihood or samples, against numpy and scipy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from PIL import Image
from scipy.spatial.distance import mahalanobis
from sklearn.metrics import roc_auc_score
from toys import KEY, labeled, one_line, score, scores, source, subject

from ssljax import data, evals
from ssljax.evals.baselines import ORDER, gaussian, train_ids
from ssljax.evals.distances import energy_score, frechet
from ssljax.evals.evaluator import standard_error
from ssljax.evals.judge import JUDGES
from ssljax.evals.measures import entropy
from ssljax.evals.ngram import kneser_ney
from ssljax.evals.samples import opinion, variety
from ssljax.names import Mistake

# ---- density


def sentences(tmp_path, **options):
    words = np.random.default_rng(0).choice(['the', 'cat', 'sat', "didn't", 'on', 'mats'], 1500)
    file = tmp_path / 'words.txt'
    file.write_text(' '.join(words))
    return data.make(dict(name=f'text:{file}', **options)), file.read_text()


@pytest.mark.parametrize('options', [{}, dict(length=33, stride=32), dict(validation=301)])
def test_text_is_scored_once_and_exactly(tmp_path, options):
    toy, raw = sentences(tmp_path, **options)
    cut = int(len(raw) * 0.9)
    ids = np.array([toy.vocab.index(c) for c in raw])
    train = ids[: cut - options.get('validation', 0)]
    np.testing.assert_array_equal(train_ids(toy), train)
    uniform = np.log(len(toy.vocab))
    who, _ = subject(toy, token_log_prob=lambda b: np.full(b['x'][:, 1:].shape, -uniform))
    got, rows = scores('perplexity', who)
    assert got['characters'] == len(raw) - cut
    assert got['nats_per_character'] == pytest.approx(uniform)
    assert got['perplexity'] == pytest.approx(len(toy.vocab))
    assert rows['nats_per_character'].mean() == pytest.approx(uniform)

    known = evals.trivial('perplexity', toy, KEY)
    assert set(known) == {'unigram', 'kneser_ney'}
    counts = np.bincount(train, minlength=len(toy.vocab)) + 1
    before = options.get('length', 129) - options.get('stride', 64)
    expected = {
        'unigram': np.log(counts / counts.sum())[ids[cut:]],
        # the first window's own context goes before, and nothing is learned from it
        'kneser_ney': kneser_ney(train, ids[cut - before :], ORDER, len(toy.vocab))[before:],
    }
    for name, log_prob in expected.items():
        got = score('perplexity', subject(toy, **known[name])[0])
        assert got['nats_per_character'] == pytest.approx(-log_prob.mean(), rel=1e-6)
        assert got['bits_per_character'] == pytest.approx(-log_prob.mean() / np.log(2), rel=1e-6)


def test_characters_are_those_of_the_tokens():
    x = np.array([[0, 1, 2], [2, 2, 1]])
    mask = np.array([[0, 1, 1], [0, 0, 1]], 'f')
    toy = source(vocab=('a', 'bc', 'def'), test=dict(x=x, mask=mask))
    log_prob = np.array([[-1.0, -2.0], [np.nan, -4.0]])
    got, rows = scores('perplexity', subject(toy, token_log_prob=lambda b: log_prob)[0])
    assert got['characters'] == 2 + 3 + 2
    assert got['nats_per_character'] == pytest.approx(7 / 7)
    assert got['perplexity'] == pytest.approx(np.exp(7 / 3))
    np.testing.assert_allclose(rows['nats_per_character'], [3 * 2 / 7, 4 * 2 / 7])


def test_density_by_its_rows():
    nll = np.random.default_rng(0).gamma(3, size=5000)
    toy = source(test=dict(x=nll[:, None].repeat(2, 1).astype('f')))
    for name, ask in (('density', 'log_prob'), ('bound', 'bound')):
        got, rows = scores(name, subject(toy, **{ask: lambda b: -b['x'][:, 0]})[0])
        np.testing.assert_allclose(rows['nats'], nll, rtol=1e-6)
        assert got['nats'] == pytest.approx(nll.mean(), rel=1e-5)
        assert got['bits_per_dim'] == pytest.approx(nll.mean() / 2 / np.log(2), rel=1e-5)
        assert standard_error(rows['nats']) == pytest.approx(nll.std() / 5000**0.5, rel=1e-5)


def test_gaussian_baseline_is_scipys():
    random = np.random.default_rng(0)
    mix = random.normal(size=(2, 2))
    x, q = (random.normal(size=(n, 2)) @ mix + 3 for n in (500, 200))
    toy = source(train=dict(x=x), test=dict(x=q))
    expected = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T)).logpdf(q)
    np.testing.assert_allclose(gaussian(toy, KEY)['log_prob'](dict(x=q)), expected, atol=1e-3)
    for name in ('density', 'bound'):
        known = evals.trivial(name, toy, KEY)
        assert set(known) == {'gaussian'}
        got = score(name, subject(toy, **known['gaussian'])[0])
        assert got['nats'] == pytest.approx(-expected.mean(), rel=1e-3)


def gray(seed, count, shape=(4, 3, 1)):
    """Images whose pixels have levels of their own."""
    random = np.random.default_rng(seed)
    middle = np.random.default_rng(9).integers(40, 200, shape)
    return np.clip(middle + random.integers(-30, 30, (count, *shape)), 0, 255).astype(np.uint8)


def test_pixels_by_themselves_are_counted():
    """The mass of each row by loops, and no mass is lost or made."""
    x, q = gray(0, 50), gray(1, 20)
    toy = source(train=dict(x=x), test=dict(x=q))
    for name, ask in (('density', 'log_prob'), ('bound', 'bound'), ('evidence', 'log_weights')):
        known = evals.trivial(name, toy, KEY)
        assert set(known) - {'webp'} == {'per_pixel'} and ask in known['per_pixel']
    expected = []
    for row in q:
        mass = 1.0
        for place in np.ndindex(row.shape):
            same = sum(int(other[place] == row[place]) for other in x)
            mass *= (same + 1) / (50 + 256)
        expected.append(np.log(mass))
    got, rows = scores('density', subject(toy, **known['per_pixel'])[0])
    np.testing.assert_allclose(rows['nats'], -np.array(expected), rtol=1e-5)
    assert got['bits_per_dim'] == pytest.approx(-np.mean(expected) / 12 / np.log(2), rel=1e-5)
    every = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1, 1)
    one = source(train=dict(x=x[:, :1, :1]), test=dict(x=every))
    log_p = evals.trivial('density', one, KEY)['per_pixel']['log_prob'](dict(x=every))
    assert np.exp(log_p).sum() == pytest.approx(1)


def test_black_and_white_pixels_are_coins():
    x, q = (255 * (gray(seed, count) > 110).astype(np.uint8) for seed, count in ((0, 50), (1, 20)))
    toy = source(train=dict(x=x), test=dict(x=q))
    known = evals.trivial('density', toy, KEY)
    assert set(known) == {'bernoulli', 'per_pixel', 'webp'}
    p = ((x == 255).sum(0) + 1) / 52
    expected = scipy.stats.bernoulli(p).logpmf(q == 255).sum((1, 2, 3))
    got = score('density', subject(toy, **known['bernoulli'])[0])
    assert got['nats'] == pytest.approx(-expected.mean())
    exact = score('evidence', subject(toy, **evals.trivial('evidence', toy, KEY)['bernoulli'])[0])
    assert exact['elbo'] == pytest.approx(expected.mean())
    assert exact['importance_weighted'] == pytest.approx(expected.mean())
    both = [
        score('density', subject(toy, **known[name])[0])['nats']
        for name in ('bernoulli', 'per_pixel')
    ]
    assert both[0] < both[1]  # the coin knows that there are two levels
    text = source(vocab=('a',), train=dict(x=np.zeros((9, 4), int)))
    assert not evals.trivial('density', text, KEY)


def test_likelihood_mistakes(tmp_path):
    toy, _ = sentences(tmp_path)
    good = lambda b: np.zeros(b['x'][:, 1:].shape)  # noqa: E731
    for log_prob, split, part in (
        (good, 'train', 'no mask'),
        (good, 'tset', 'did you mean test'),
        (lambda b: np.zeros(b['x'].shape), 'test', '[B, T - 1]'),
        (lambda b: good(b) * np.nan, 'test', 'not a number'),
    ):
        with pytest.raises(Mistake) as mistake:
            score('perplexity', subject(toy, token_log_prob=log_prob)[0], split=split)
        one_line(mistake, part)
    x = np.zeros((3, 4), int)
    toy = source(vocab=('a',), test=dict(x=x, mask=np.ones((3, 4))))
    with pytest.raises(Mistake) as mistake:
        score('perplexity', subject(toy, token_log_prob=good)[0])
    one_line(mistake, '3 rows', 'first token')
    with pytest.raises(Mistake) as mistake:
        score('perplexity', subject(labeled(), token_log_prob=good)[0])
    one_line(mistake, 'perplexity needs texts', 'no vocabulary')
    for name, ask in (('density', 'log_prob'), ('bound', 'bound')):
        with pytest.raises(Mistake) as mistake:
            score(name, subject(labeled(), **{ask: lambda b: b['x']})[0])
        one_line(mistake, name, f'{ask} [B]', '[300, 12]')


# ---- samples


def test_frechet_is_the_formula():
    random = np.random.default_rng(0)
    a = random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + 1
    b = random.normal(size=(200, 6)) @ random.normal(size=(6, 6))
    A, B = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(A @ B).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A + B - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-8)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, a + 2) == pytest.approx(6 * 4)
    assert np.isfinite(frechet(a[:3], b[:3]))  # fewer rows than features


def judged(p):
    """All that class probabilities say."""
    return {name: rows.mean() for name, rows in opinion(p).items()} | variety(p)


def test_opinion_limits_and_inception_score():
    K = 7
    every, unsure = np.eye(K).repeat(4, 0), np.full((20, K), 1 / K)
    assert judged(every) == pytest.approx(
        dict(sharpness=0, variety=np.log(K), score=K, confident=1)
    )
    assert judged(unsure) == pytest.approx(
        dict(sharpness=np.log(K), variety=np.log(K), score=1, confident=0)
    )
    assert judged(np.eye(K)[[3] * 9])['score'] == pytest.approx(1)
    p = np.random.default_rng(0).dirichlet(np.ones(K) / 3, 100)
    kl = (p * np.log(p / p.mean(0))).sum(1).mean()
    assert judged(p)['score'] == pytest.approx(np.exp(kl))
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=1))


def test_energy_score_by_loops():
    random = np.random.default_rng(0)
    fake, real = random.normal(size=(7, 2, 2)), random.normal(size=(5, 2, 2))
    far = lambda a, b: np.sqrt(((a - b) ** 2).sum())  # noqa: E731
    own = [far(a, b) for i, a in enumerate(fake) for j, b in enumerate(fake) if i != j]
    expected = [np.mean(own) / 2 - np.mean([far(a, x) for a in fake]) for x in real]
    np.testing.assert_allclose(energy_score(fake, real), expected)
    np.testing.assert_allclose(energy_score(fake, real, block=3), expected)


@pytest.mark.parametrize('spread, shift', [(0.0, 0), (0.3, 0), (3.0, 0), (1.0, 2)])
def test_energy_score_is_proper(spread, shift):
    """The law of the data beats each other one, a collapsed one too, and by the rows."""
    random = np.random.default_rng(0)
    x, good = random.normal(size=(2, 1000, 2))
    toy = source(test=dict(x=np.repeat(x, 2, 0)))
    ask = lambda fake: lambda b: fake[: len(b['x'])]  # noqa: E731
    best, worse = (
        scores('samples', subject(toy, sample=ask(fake))[0]).rows['energy_score']
        for fake in (good, spread * random.normal(size=(1000, 2)) + shift)
    )
    gains = best - worse
    assert gains.mean() > 5 * gains.std() / 1000**0.5


def stripes(seed, count):
    """8x8 images of three classes: lit above, lit left, dark."""
    random = np.random.default_rng(seed)
    y = random.integers(3, size=count).astype(np.int32)
    x = random.integers(0, 60, (count, 8, 8, 1))
    x[y == 0, :4] += 150
    x[y == 1, :, :4] += 150
    return dict(x=x.astype(np.uint8), label=y)


def test_a_net_of_the_users_own(monkeypatch, tmp_path):
    """Its features are those of the distances; data without labels do."""
    code = 'import numpy as np\ndef look(x):\n    return x.reshape(len(x), -1)[:, :3] + 1\n'
    (tmp_path / 'mine.py').write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 4, 4, 1)).astype('f')
    toy = source(train=dict(x=x), test=dict(x=x))
    fake = random.normal(size=(20, 4, 4, 1)).astype('f')
    who, _ = subject(toy, sample=lambda b: fake[: len(b['x'])])
    got = score('samples', who, net='mine:look')
    h, h_real = (v.reshape(len(v), -1)[:, :3] for v in (fake, x[::2]))
    assert got['frechet'] == pytest.approx(frechet(h, h_real), rel=1e-3)
    assert set(got) == {'energy_score', 'frechet', 'kernel', 'precision', 'recall', 'samples'}
    with pytest.raises(Mistake) as mistake:
        score('samples', who, net='mine:see')
    one_line(mistake, "no function 'mine:see'", 'net=PACKAGE.MODULE:FUNCTION')


def test_samples_are_judged():
    toy = source(train=stripes(0, 400), test=stripes(1, 200))
    random, judged_as, saved = np.random.default_rng(0), {}, {}
    others = {
        'noise': lambda b: random.uniform(-1, 1, b['x'].shape),
        'one': lambda b: np.repeat(stripes(2, 1)['x'] / 127.5 - 1, len(b['x']), 0),
    }
    readouts = evals.trivial('samples', toy, KEY) | {k: {'sample': v} for k, v in others.items()}
    for name, readout in readouts.items():
        who, saved[name] = subject(toy, **readout)
        before = set(JUDGES)
        judged_as[name] = score('samples', who, judge_steps=40)
        assert judged_as[name]['judge_accuracy'] > 95
        assert judged_as[name]['samples'] == 100
        assert len(set(JUDGES) - before) == (name == 'real')  # one judge for all
    real, noise, one = judged_as['real'], judged_as['noise'], judged_as['one']
    assert real['score'] > 2.5 > noise['score'] and real['confident'] > 0.9
    assert one['variety'] < 0.5 < real['variety']
    assert real['frechet'] > 1e-3  # rows are never compared with themselves
    assert real['frechet'] < 0.2 * min(one['frechet'], noise['frechet'])
    assert real['energy_score'] > max(one['energy_score'], noise['energy_score'])
    assert isinstance(saved['one']['samples'], Image.Image)
    assert saved['one']['samples'].size == (8 * 68, 8 * 68)


def test_sample_mistakes_and_points():
    toy = source(train=stripes(0, 40), test=stripes(1, 40))
    for sample, part in (
        (lambda b: np.zeros((len(b['x']), 4, 4, 1)), '[4, 4, 1]'),
        (lambda b: np.full(b['x'].shape, np.nan), '20 of 20'),
    ):
        with pytest.raises(Mistake) as mistake:
            score('samples', subject(toy, sample=sample)[0])
        one_line(mistake, part)
    x = np.random.default_rng(0).normal(size=(400, 2))
    toy = source(train=dict(x=x), test=dict(x=x))
    got = score(
        'samples', subject(toy, sample=lambda b, shift: b['x'] + shift)[0], options={'shift': 5}
    )
    assert got['frechet'] == pytest.approx(50, rel=0.1)


def test_samples_of_text(tmp_path):
    toy, _ = sentences(tmp_path)
    who, saved = subject(toy, **evals.trivial('samples', toy, KEY)['real'])
    got = score('samples', who, count=10)
    assert got['known_words'] == 1 and got['samples'] == 10
    text = ' '.join(f'cat tac {word}' for word in ('mats', 'stam') * 20)[: 129 - 5] + ' mats'
    ids = np.array([toy.vocab.index(c) for c in text])
    got = score('samples', subject(toy, sample=lambda b: ids[None].repeat(len(b['x']), 0))[0])
    words = text.split()[1:-1]
    assert got['known_words'] == pytest.approx(
        np.mean([w in ('cat', 'mats') for w in words]), abs=0.04
    )
    assert got['distinct_words'] == len(set(words)) / got['words']
    assert saved['samples'].count('-' * 40) == 7 and len(saved['samples']) > 8 * 129
    got = score('samples', subject(toy, sample=lambda b: np.zeros((len(b['x']), 9), int))[0])
    assert got['words'] == 0 and got['known_words'] == 0


# ---- out of class


def test_out_of_class_is_the_area_under_the_curve():
    random = np.random.default_rng(0)
    x, y = (random.integers(low, low + 9, (n, 4)).astype('f') for low, n in ((0, 90), (3, 70)))
    toy, other = (source(test=dict(x=rows)) for rows in (x, y))
    ask = lambda b: b['x'].sum(1)  # noqa: E731 whole numbers: ties
    who, _ = subject(toy, free_energy=ask)
    got, rows = scores('out_of_class', who, other=other)
    energy = np.concatenate([x.sum(1), y.sum(1)])
    expected = roc_auc_score(np.arange(160) >= 90, energy)
    assert got['auc'] == pytest.approx(100 * expected) and 60 < got['auc'] < 95
    by_hand = [(y.sum(1) > e).mean() + (y.sum(1) == e).mean() / 2 for e in x.sum(1)]
    np.testing.assert_allclose(rows['auc'], 100 * np.array(by_hand))
    assert (got['energy'], got['energy_other']) == pytest.approx((x.sum(1).mean(), y.sum(1).mean()))
    same = score('out_of_class', who, other=toy)
    assert same['auc'] == pytest.approx(50)
    few = score('out_of_class', who, other=other, size=20)
    assert (few['rows'], few['others']) == (20, 20)


def test_out_of_class_mistakes_and_baselines():
    toy = labeled()
    with pytest.raises(Mistake) as mistake:
        score('out_of_class', subject(toy, free_energy=lambda b: b['x'][:, 0])[0])
    one_line(mistake, 'glyphs are uint8[8, 8, 1], those of toy float32[12]', 'other.name')
    with pytest.raises(Mistake) as mistake:
        score('out_of_class', subject(toy, free_energy=lambda b: b['x'])[0], other=toy)
    one_line(mistake, 'needs free_energy [B]', '[300, 12]')
    known = evals.trivial('out_of_class', toy, KEY)
    assert set(known) == {'gaussian', 'mahalanobis'}
    x, q = (toy.splits[n].rows(np.arange(toy.splits[n].count))['x'] for n in ('train', 'test'))
    covariance = np.cov(x.T)
    covariance += 0.01 * np.trace(covariance) / 12 * np.eye(12)
    expected = [mahalanobis(row, x.mean(0), np.linalg.inv(covariance)) ** 2 / 2 for row in q]
    np.testing.assert_allclose(known['mahalanobis']['free_energy'](dict(x=q)), expected, rtol=1e-4)


def test_a_held_out_row_is_what_it_is_whatever_samplers_are_asked():
    toy = labeled()
    x = toy.splits['test'].rows(np.arange(5))['x']
    np.testing.assert_array_equal(
        evals.trivial('samples', toy, KEY)['real']['sample'](dict(x=x), steps=3), x
    )
