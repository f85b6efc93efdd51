"""Evaluators of models of the data, by likelihood or samples, against numpy and scipy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from PIL import Image
from toys import KEY, labeled, one_line, source, subject

from ssljax import data, evals
from ssljax.evals.baselines import ORDER, gaussian, train_ids
from ssljax.evals.ngram import kneser_ney
from ssljax.evals.samples import JUDGES, entropy, frechet, opinion
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
    who, _ = subject(toy, log_prob=lambda b: np.full(b['x'][:, 1:].shape, -uniform))
    got = evals.density(who)
    assert got['characters'] == len(raw) - cut
    assert got['nats_per_character'] == pytest.approx(uniform)
    assert got['perplexity'] == pytest.approx(len(toy.vocab))
    assert got['standard_error'] == pytest.approx(0, abs=1e-9)

    known = evals.trivial('density', toy, KEY)
    assert set(known) == {'unigram', 'kneser_ney'}
    counts = np.bincount(train, minlength=len(toy.vocab)) + 1
    before = options.get('length', 129) - options.get('stride', 64)
    expected = {
        'unigram': np.log(counts / counts.sum())[ids[cut:]],
        # the first window's own context goes before, and nothing is learned from it
        'kneser_ney': kneser_ney(train, ids[cut - before :], ORDER, len(toy.vocab))[before:],
    }
    for name, log_prob in expected.items():
        got = evals.density(subject(toy, **known[name])[0])
        assert got['nats_per_character'] == pytest.approx(-log_prob.mean(), rel=1e-6)
        assert got['bits_per_character'] == pytest.approx(-log_prob.mean() / np.log(2), rel=1e-6)


def test_characters_are_those_of_the_tokens():
    x = np.array([[0, 1, 2], [2, 2, 1]])
    mask = np.array([[0, 1, 1], [0, 0, 1]], 'f')
    toy = source(vocab=('a', 'bc', 'def'), test=dict(x=x, mask=mask))
    who, _ = subject(
        toy, log_prob=lambda b: np.array([[-1.0, -2.0], [np.nan, -4.0]])[: len(b['x'])]
    )
    got = evals.density(who)
    assert got['characters'] == 2 + 3 + 2
    assert got['nats_per_character'] == pytest.approx(7 / 7)
    assert got['perplexity'] == pytest.approx(np.exp(7 / 3))


def test_standard_error_is_that_of_the_mean():
    nll = np.random.default_rng(0).gamma(3, size=5000)
    toy = source(test=dict(x=nll[:, None].repeat(2, 1).astype('f')))
    got = evals.density(subject(toy, log_prob=lambda b: -b['x'][:, 0])[0])
    assert got['nats'] == pytest.approx(nll.mean(), rel=1e-5)
    assert got['bits_per_dim'] == pytest.approx(nll.mean() / 2 / np.log(2), rel=1e-5)
    assert got['standard_error'] == pytest.approx(nll.std() / 5000**0.5, rel=0.2)
    like = np.repeat(nll[:50], 100)  # alike within a block: fifty numbers, not five thousand
    toy = source(test=dict(x=like[:, None].astype('f')))
    got = evals.density(subject(toy, log_prob=lambda b: -b['x'][:, 0])[0])
    assert got['standard_error'] > 0.7 * nll[:50].std() / 50**0.5


def test_gaussian_baseline_is_scipys():
    random = np.random.default_rng(0)
    mix = random.normal(size=(2, 2))
    x, q = (random.normal(size=(n, 2)) @ mix + 3 for n in (500, 200))
    toy = source(train=dict(x=x), test=dict(x=q))
    expected = scipy.stats.multivariate_normal(x.mean(0), np.cov(x.T)).logpdf(q)
    np.testing.assert_allclose(gaussian(toy, KEY)['log_prob'](dict(x=q)), expected, atol=1e-3)
    got = evals.density(subject(toy, **gaussian(toy, KEY))[0])
    assert got['nats'] == pytest.approx(-expected.mean(), rel=1e-3)


def test_density_mistakes(tmp_path):
    toy, _ = sentences(tmp_path)
    good = lambda b: np.zeros(b['x'][:, 1:].shape)  # noqa: E731
    for log_prob, split, part in (
        (good, 'train', 'no mask'),
        (good, 'tset', 'did you mean test'),
        (lambda b: np.zeros(b['x'].shape), 'test', '[B, T - 1]'),
        (lambda b: good(b) * np.nan, 'test', 'not a number'),
    ):
        with pytest.raises(Mistake) as mistake:
            evals.density(subject(toy, log_prob=log_prob)[0], split=split)
        one_line(mistake, part)
    x = np.zeros((3, 4), int)
    toy = source(vocab=('a',), test=dict(x=x, mask=np.ones((3, 4))))
    with pytest.raises(Mistake) as mistake:
        evals.density(subject(toy, log_prob=good)[0])
    one_line(mistake, '3 rows', 'first token')
    with pytest.raises(Mistake) as mistake:
        evals.density(subject(labeled(), log_prob=lambda b: b['x'])[0])
    one_line(mistake, '[B]', '[300, 12]')


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


def test_opinion_limits_and_inception_score():
    K = 7
    every, unsure = np.eye(K).repeat(4, 0), np.full((20, K), 1 / K)
    assert opinion(every) == pytest.approx(
        dict(sharpness=0, variety=np.log(K), score=K, confident=1)
    )
    assert opinion(unsure) == pytest.approx(
        dict(sharpness=np.log(K), variety=np.log(K), score=1, confident=0)
    )
    assert opinion(np.eye(K)[[3] * 9])['score'] == pytest.approx(1)
    p = np.random.default_rng(0).dirichlet(np.ones(K) / 3, 100)
    kl = (p * np.log(p / p.mean(0))).sum(1).mean()
    assert opinion(p)['score'] == pytest.approx(np.exp(kl))
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=1))


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
    got = evals.samples(who, net='mine:look')
    h, h_real = (v.reshape(len(v), -1)[:, :3] for v in (fake, x[::2]))
    assert got['frechet'] == pytest.approx(frechet(h, h_real), rel=1e-3)
    assert set(got) == {'frechet', 'kernel', 'precision', 'recall', 'samples'}
    with pytest.raises(Mistake) as mistake:
        evals.samples(who, net='mine:see')
    one_line(mistake, "no function 'mine:see'", 'net=PACKAGE.MODULE:FUNCTION')


def test_samples_are_judged():
    toy = source(train=stripes(0, 400), test=stripes(1, 200))
    random, scores, saved = np.random.default_rng(0), {}, {}
    others = {
        'noise': lambda b: random.uniform(-1, 1, b['x'].shape),
        'one': lambda b: np.repeat(stripes(2, 1)['x'] / 127.5 - 1, len(b['x']), 0),
    }
    readouts = evals.trivial('samples', toy, KEY) | {k: {'sample': v} for k, v in others.items()}
    for name, readout in readouts.items():
        who, saved[name] = subject(toy, **readout)
        before = set(JUDGES)
        scores[name] = evals.samples(who, judge_steps=40)
        assert scores[name]['judge_accuracy'] > 95
        assert scores[name]['samples'] == 100
        assert len(set(JUDGES) - before) == (name == 'real')  # one judge for all
    real, noise, one = scores['real'], scores['noise'], scores['one']
    assert real['score'] > 2.5 > noise['score'] and real['confident'] > 0.9
    assert one['variety'] < 0.5 < real['variety']
    assert real['frechet'] > 1e-3  # rows are never compared with themselves
    assert real['frechet'] < 0.2 * min(one['frechet'], noise['frechet'])
    assert isinstance(saved['one']['samples'], Image.Image)
    assert saved['one']['samples'].size == (8 * 68, 8 * 68)


def test_sample_mistakes_and_points():
    toy = source(train=stripes(0, 40), test=stripes(1, 40))
    for sample, part in (
        (lambda b: np.zeros((len(b['x']), 4, 4, 1)), '[4, 4, 1]'),
        (lambda b: np.full(b['x'].shape, np.nan), '20 of 20'),
    ):
        with pytest.raises(Mistake) as mistake:
            evals.samples(subject(toy, sample=sample)[0])
        one_line(mistake, part)
    x = np.random.default_rng(0).normal(size=(400, 2))
    toy = source(train=dict(x=x), test=dict(x=x))
    got = evals.samples(
        subject(toy, sample=lambda b, shift: b['x'] + shift)[0], options={'shift': 5}
    )
    assert got['frechet'] == pytest.approx(50, rel=0.1)


def test_samples_of_text(tmp_path):
    toy, _ = sentences(tmp_path)
    who, saved = subject(toy, **evals.trivial('samples', toy, KEY)['real'])
    got = evals.samples(who, count=10)
    assert got['known_words'] == 1 and got['samples'] == 10
    text = ' '.join(f'cat tac {word}' for word in ('mats', 'stam') * 20)[: 129 - 5] + ' mats'
    ids = np.array([toy.vocab.index(c) for c in text])
    got = evals.samples(subject(toy, sample=lambda b: ids[None].repeat(len(b['x']), 0))[0])
    words = text.split()[1:-1]
    assert got['known_words'] == pytest.approx(
        np.mean([w in ('cat', 'mats') for w in words]), abs=0.04
    )
    assert got['distinct_words'] == len(set(words)) / got['words']
    assert saved['samples'].count('-' * 40) == 7 and len(saved['samples']) > 8 * 129
    got = evals.samples(subject(toy, sample=lambda b: np.zeros((len(b['x']), 9), int))[0])
    assert got['words'] == 0 and got['known_words'] == 0
