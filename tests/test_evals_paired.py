"""Images with texts, masks, transcripts, words, bounds: each beside a plain statement of it."""

import functools
import math

import numpy as np
import pytest
import toys
from scipy.stats import multivariate_normal

from ssljax import evals
from ssljax.data.source import Source, Split
from ssljax.evals.edits import edits
from ssljax.evals.segmentation import strongest
from ssljax.names import Mistake

RANDOM = np.random.default_rng(0)


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# ---- images and texts, both ways


def paired(texts=3, count=40, noise=0.8, dim=6):
    """Vectors as images; a text's token is its row of a table of noisy copies."""
    random = np.random.default_rng(1)
    x = random.normal(size=(count, dim)).astype('f')
    shape = (count, texts, 1) if texts > 1 else (count, 1)
    text = np.arange(count * texts).reshape(shape).astype(np.int32)
    table = (x.repeat(texts, 0) + noise * random.normal(size=(count * texts, dim))).astype('f')
    rows = {'x': x, 'text': text, 'label': np.arange(count, dtype=np.int32) % 4}
    made = toys.source(test=rows, train=rows)
    readouts = {
        'embed': lambda batch: batch['x'],
        'embed_text': lambda batch: table[batch['text'][:, 0]],
    }
    return toys.subject(made, **readouts)[0], x, table


@pytest.mark.parametrize('texts', [1, 3])
def test_cross_retrieval_by_loops(texts):
    who, x, table = paired(texts)
    found = toys.score('cross_retrieval', who, at=(1, 5))
    owner = np.arange(len(table)) // texts
    near = [sorted(range(len(table)), key=lambda j: -cosine(z, table[j])) for z in x]
    first = []
    for i, order in enumerate(near):
        owners = owner[order].tolist()
        before = owners[: owners.index(i)]  # others' texts alone: its own do not compete
        first.append(len(before))
    back = [
        sorted(range(len(x)), key=lambda i: -cosine(t, x[i])).index(owner[j])
        for j, t in enumerate(table)
    ]
    for k in (1, 5):
        assert found[f'text_recall_{k}'] == pytest.approx(100 * np.mean(np.array(first) < k))
        assert found[f'image_recall_{k}'] == pytest.approx(100 * np.mean(np.array(back) < k))
    assert found['text_rank'] == np.median(first) + 1
    assert found['image_rank'] == np.median(back) + 1
    assert 10 < found['text_recall_1'] < 100
    for k in (1, 5):  # the chance that k draws all miss, one after another
        missed = np.prod([1 - texts / (len(table) - i) for i in range(k)])
        assert found[f'text_chance_{k}'] == pytest.approx(100 * (1 - missed))
        assert found[f'image_chance_{k}'] == pytest.approx(100 * k / len(x))


def test_what_is_equal_for_all_finds_nothing():
    who, _, _ = paired()
    same = {name: lambda batch: np.ones((len(batch['text']), 4), 'f') for name in who.readouts}
    found = toys.score('cross_retrieval', who._replace(readouts=same))
    assert found['text_recall_10'] == found['image_recall_10'] == 0


def test_zero_shot_by_loops():
    who, x, _ = paired(noise=0.0)
    names, prompts = ('ant', 'bee', 'cat', 'dog'), ('a {}', 'two {}s', 'the {}')
    written = {
        p.format(n): 9.0**i * RANDOM.normal(size=6) for n in names for i, p in enumerate(prompts)
    }
    order = list(written)

    def tokens(texts):
        return {'text': np.array([[order.index(t)] for t in texts], np.int32)}

    table = np.array(list(written.values()))
    source = who.source._replace(tokens=tokens, class_names=names)
    readouts = who.readouts | {'embed_text': lambda batch: table[batch['text'][:, 0]]}
    who = who._replace(source=source, readouts=readouts)
    found = toys.score('zero_shot', who, prompts=prompts)
    right = top = 0
    alone = np.zeros((len(prompts), len(x)))
    for i, z in enumerate(x):
        for p, prompt in enumerate(prompts):
            near = [cosine(z, written[prompt.format(name)]) for name in names]
            alone[p, i] = np.argmax(near) == i % 4
        scores = []
        for name in names:
            each = [written[p.format(name)] for p in prompts]
            scores.append(cosine(z, sum(v / np.linalg.norm(v) for v in each)))
        right += int(np.argmax(scores)) == i % 4
        top += i % 4 in np.argsort(scores)[-5:]
    assert found['accuracy'] == pytest.approx(100 * right / len(x)) and 0 < right < len(x)
    assert found['accuracy_top5'] == pytest.approx(100 * top / len(x)) and found['chance'] == 25
    each = 100 * alone.mean(1)
    for p, accuracy in enumerate(each):
        assert found[f'single_{p + 1}'] == pytest.approx(accuracy)
    assert found['single_mean'] == pytest.approx(each.mean()) and found['spread'] > 0
    assert found['spread'] == pytest.approx(each.max() - each.min())
    for options, words in (
        (dict(prompts=('a cat',)), "['a cat']"),
        (dict(names=('one', 'two')), '2 names'),
    ):
        with pytest.raises(Mistake) as mistake:
            toys.score('zero_shot', who, **options)
        toys.one_line(mistake, words)
    with pytest.raises(Mistake) as mistake:
        toys.score('zero_shot', who._replace(source=source._replace(tokens=None)))
    toys.one_line(mistake, 'write texts as tokens')


def test_no_texts_is_one_line():
    plain = toys.subject(toys.labeled(), embed=toys.encode, embed_text=toys.encode)[0]
    with pytest.raises(Mistake) as mistake:
        toys.score('cross_retrieval', plain)
    toys.one_line(mistake, 'images with texts', 'label, x')
    assert 'embed_text; this method offers: embed' in evals.explain('zero_shot', ['embed'])


# ---- transcripts


def levenshtein(a, b):
    @functools.cache
    def go(i, j):
        if not i or not j:
            return i + j
        return min(go(i - 1, j) + 1, go(i, j - 1) + 1, go(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return go(len(a), len(b))


def test_edits_by_recursion():
    random = np.random.default_rng(2)
    for _ in range(60):
        a, b = (''.join(random.choice(list('abc'), random.integers(0, 9))) for _ in range(2))
        assert edits(a, b) == levenshtein(a, b) == edits(b, a)
    assert edits('kitten', 'sitting') == 3 and edits('', 'abc') == 3 and edits('abc', 'abc') == 0


def lines_of(truth, read, vocab=' abcdefgh'):
    """A source of these truths, and a subject that reads these lines."""

    def ids(texts, pad):
        width = max(1, *map(len, texts))
        return np.array([[vocab.index(c) for c in t] + [pad] * (width - len(t)) for t in texts])

    rows = {
        'x': np.zeros((len(truth), 4), 'f'),
        'text': ids(truth, 0).astype(np.int32),
        'text_length': np.array([len(t) for t in truth], np.int32),
    }
    said = ids(read, -1)
    return toys.subject(
        toys.source(tuple(vocab), test=rows), transcribe=lambda batch: said[batch['index']]
    )


def test_transcription_by_hand():
    truth, read = ['abc de', 'fgh', 'a b c'], ['abd de', 'fgh a', 'a c']
    who, saved = lines_of(truth, read)
    found = toys.score('transcription', who)
    assert found['character_error'] == pytest.approx(100 * (1 + 2 + 2) / 14)
    assert found['word_error'] == pytest.approx(100 * (1 + 1 + 1) / 6)
    assert found['exact'] == 0
    assert saved['transcription'].startswith('abc de\nabd de\n')
    assert toys.score('transcription', lines_of(truth, truth)[0])['exact'] == 100
    nothing = toys.score('transcription', lines_of(truth, ['', '', ''])[0])
    assert nothing['character_error'] == nothing['word_error'] == 100
    with pytest.raises(Mistake) as mistake:
        toys.score(
            'transcription',
            who._replace(readouts={'transcribe': lambda batch: np.full((len(batch['x']), 2), 9)}),
        )
    toys.one_line(mistake, 'below 9', 'up to 9')
    with pytest.raises(Mistake) as mistake:
        toys.score('transcription', toys.subject(toys.labeled(), transcribe=toys.encode)[0])
    toys.one_line(mistake, 'texts and a vocabulary')


# ---- words

WORDS = ('king', 'queen', 'man', 'woman', 'boy', 'girl', 'walk', 'walked', 'talk', 'talked')


@pytest.fixture
def lexicon():
    table = np.random.default_rng(3).normal(size=(len(WORDS), 8)).astype('f')
    rows = {'x': np.zeros((1, 1), np.int32)}
    made = Source('words', {'train': Split(1, lambda i: rows)}, '', vocab=WORDS)
    return toys.subject(made, vectors=lambda batch: table[batch['x']])[0], table


def ranks(values):
    return [np.mean(np.flatnonzero(np.sort(values) == v)) for v in values]  # ties share a rank


def test_word_similarity_by_hand(lexicon, tmp_path):
    who, table = lexicon
    pairs = [(0, 1, 9.5), (2, 3, 8), (4, 5, 8), (0, 6, 1.25), (7, 8, 2), (1, 9, 0.5)]
    lines = [f'{WORDS[a]}\t{WORDS[b].upper()}\t{s}' for a, b, s in pairs] + ['king unicorn 3']
    path = tmp_path / 'pairs.txt'
    path.write_text('\n'.join(lines))
    found = toys.score('word_similarity', who, path=str(path))
    a = ranks([cosine(table[i], table[j]) for i, j, _ in pairs])
    b = ranks([s for *_, s in pairs])
    assert found['spearman'] == pytest.approx(100 * np.corrcoef(a, b)[0, 1])
    assert found['covered'] == pytest.approx(100 * 6 / 7) and found['pairs'] == 6
    with pytest.raises(Mistake) as mistake:
        toys.score('word_similarity', who, path=str(tmp_path / 'none'))
    toys.one_line(mistake, 'no file', '--evals.word_similarity.path=FILE')
    path.write_text('a b')
    with pytest.raises(Mistake) as mistake:
        toys.score('word_similarity', who, path=str(path))
    toys.one_line(mistake, 'word word score')
    path.write_text('a b 1\nking queen 2')
    with pytest.raises(Mistake) as mistake:
        toys.score('word_similarity', who, path=str(path))
    toys.one_line(mistake, '1 of 2 pairs', '10 words')


def test_analogies_by_loops_and_planted(lexicon, tmp_path):
    who, table = lexicon
    # a step so small that man himself is nearest to where it leads, and woman next
    table[1], table[3] = table[0] + 0.01 * table[4], table[2] + 0.1 * table[5]
    questions = [(0, 1, 2, 3), (2, 3, 4, 5), (6, 7, 8, 9), (8, 9, 6, 7)]
    text = ': family\nKing queen man woman\nman woman boy girl\nking queen man empress\n: gram7\n'
    path = tmp_path / 'questions.txt'
    path.write_text(text + 'walk walked talk talked\ntalk talked walk walked\n')
    found = toys.score('analogies', who, path=str(path))
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    right = []
    for a, b, c, d in questions:
        scores = {w: cosine(unit[b] - unit[a] + unit[c], unit[w]) for w in range(len(WORDS))}
        for w in (a, b, c):
            del scores[w]
        right.append(max(scores, key=scores.get) == d)
    assert found['accuracy'] == 100 * np.mean(right)
    assert found['accuracy_semantic'] == 100 * np.mean(right[:2])
    assert right[0]
    assert found['accuracy_syntactic'] == 100 * np.mean(right[2:])
    assert found['covered'] == 80 and found['questions'] == 4
    path.write_text('one two three')
    with pytest.raises(Mistake) as mistake:
        toys.score('analogies', who, path=str(path))
    toys.one_line(mistake, 'not four words')
    path.write_text('a b c d')
    with pytest.raises(Mistake) as mistake:
        toys.score('analogies', who, path=str(path))
    toys.one_line(mistake, 'none of 1 questions', '10 words')


# ---- masks


def test_the_strongest_places():
    maps = np.array([[0.5, 0.2], [0.2, 0.1]])
    assert strongest(maps, 0.5).tolist() == [[True, False], [False, False]]
    assert strongest(maps, 0.6).tolist() == [[True, True], [False, False]]
    assert strongest(maps, 1.0).all()
    assert strongest(7 * maps, 0.6).sum() == 2  # a map needs no sum of one


def masked(count=12, side=8, border=0):
    """Rectangles of two kinds of object on a ground, whose last row is of the kind `border`."""
    random, masks = np.random.default_rng(4), np.zeros((count, side, side, 1), np.uint8)
    for mask in masks[:-1]:  # the last has no object
        top, left = random.integers(0, side // 2, 2)
        mask[top : top + 4, left : left + 3] = random.integers(1, 3)
        mask[-1] = border
    rows = {'x': np.zeros((count, side, side, 3), np.uint8), 'seen': masks}
    return toys.source(test=rows, train=rows), masks[..., 0]


@pytest.mark.parametrize(
    'options', [{}, {'objects': (2,)}, {'ignore': (1,)}, {'ignore': (3,)}, {'mass': 0.9}]
)
def test_segmentation_by_loops(options):
    made, masks = masked(border=3)
    maps = np.random.default_rng(5).random((12, 3, 4, 4))
    who, _ = toys.subject(made, attend=lambda batch: maps[batch['index']])
    found = toys.score('segmentation', who, mask='seen', **options)
    objects, ignore = options.get('objects', (1, 2, 3)), options.get('ignore', ())
    shares = []
    for mask, heads in zip(masks, maps, strict=True):
        truth = {p for p in np.ndindex(8, 8) if mask[p] in objects and mask[p] not in ignore}
        if not truth:
            continue
        row = []
        for head in heads:
            places, total, kept = sorted(np.ndindex(4, 4), key=lambda p: -head[p]), 0.0, set()
            for p in places:
                if total >= options.get('mass', 0.6) * head.sum():
                    break
                total += head[p]
                kept.add(p)
            segment = {
                (r, c)
                for r, c in np.ndindex(8, 8)
                if (r // 2, c // 2) in kept and mask[r, c] not in ignore
            }
            row.append(len(segment & truth) / len(segment | truth))
        shares.append(row)
    shares = np.array(shares)
    assert found['jaccard'] == pytest.approx(100 * shares.mean(0).max())
    assert found['jaccard_best_head'] == pytest.approx(100 * shares.max(1).mean())
    assert found['rows'] == len(shares) and found['head'] == shares.mean(0).argmax()


def test_attention_on_the_object_is_a_hundred():
    made, masks = masked()
    who, _ = toys.subject(made, attend=lambda b: (masks[b['index']] > 0)[:, None].astype('f'))
    assert toys.score('segmentation', who, mask='seen', mass=1.0)['jaccard'] == 100
    middle = evals.trivial('segmentation', made, toys.KEY)['center']
    assert (
        0 < toys.score('segmentation', toys.subject(made, **middle)[0], mask='seen')['jaccard'] < 60
    )
    small = made._replace(
        splits={'test': Split(12, lambda i: {'x': np.zeros((len(i), 4, 4, 3)), 'seen': masks[i]})}
    )
    with pytest.raises(Mistake) as mistake:
        toys.score('segmentation', who._replace(source=small), mask='seen')
    toys.one_line(mistake, 'masks [8, 8]', 'images [4, 4]', 'data.size=0')
    for options, words in (({}, "entry 'mask'"), ({'mask': 'seen', 'objects': (9,)}, '[9]')):
        with pytest.raises(Mistake) as mistake:
            toys.score('segmentation', who, **options)
        toys.one_line(mistake, words)


# ---- bounds


def linear_gaussian(spread):
    """x = A z + noise, z ~ N(0, I): log w of samples from the posterior, `spread` times as wide."""
    random = np.random.default_rng(6)
    A, noise = random.normal(size=(3, 2)), 0.5
    x = (random.normal(size=(200, 2)) @ A.T + noise * random.normal(size=(200, 3))).astype('f')
    covariance = np.linalg.inv(np.eye(2) + A.T @ A / noise**2)
    truth = multivariate_normal(np.zeros(3), A @ A.T + noise**2 * np.eye(3)).logpdf(x)

    def log_weights(batch, *, samples):
        draws, found = np.random.default_rng(7), []
        for row in np.asarray(batch['x'], float):
            q = multivariate_normal(covariance @ A.T @ row / noise**2, spread * covariance)
            z = q.rvs(samples, random_state=draws).reshape(samples, 2)
            joint = multivariate_normal(np.zeros(2)).logpdf(z)
            joint += multivariate_normal(np.zeros(3), noise**2 * np.eye(3)).logpdf(row - z @ A.T)
            found.append(np.atleast_1d(joint - q.logpdf(z)))
        return np.array(found)

    who = toys.subject(toys.source(test={'x': x}, train={'x': x}), log_weights=log_weights)[0]
    return who, truth, log_weights({'x': x}, samples=16)


def test_with_the_true_posterior_each_bound_is_the_likelihood():
    who, truth, _ = linear_gaussian(1.0)
    found = toys.score('evidence', who, samples=4)
    assert found['elbo'] == pytest.approx(truth.mean(), abs=1e-6)
    assert found['importance_weighted'] == pytest.approx(truth.mean(), abs=1e-6)
    assert found['bits_per_dim'] == pytest.approx(-truth.mean() / 3 / math.log(2), abs=1e-6)
    assert found['effective'] == pytest.approx(4)


def test_more_samples_give_a_tighter_bound():
    who, truth, w = linear_gaussian(3.0)
    one, few, many = (toys.score('evidence', who, samples=n) for n in (1, 16, 400))
    by_hand = np.mean([math.log(np.mean(np.exp(row))) for row in w])
    assert few['importance_weighted'] == pytest.approx(by_hand)
    assert one['importance_weighted'] == pytest.approx(one['elbo'])
    assert few['elbo'] < few['importance_weighted'] < many['importance_weighted']
    assert many['importance_weighted'] == pytest.approx(truth.mean(), abs=0.02)
    assert 1 < few['effective'] < 16
    gaussian = evals.trivial('evidence', who.source, toys.KEY)['gaussian']
    exact = toys.score('evidence', toys.subject(who.source, **gaussian)[0], samples=2)
    assert exact['elbo'] == pytest.approx(exact['importance_weighted'])
    assert exact['elbo'] == pytest.approx(truth.mean(), abs=0.2)
    with pytest.raises(Mistake) as mistake:
        toys.score(
            'evidence', toys.subject(who.source, log_weights=lambda b, *, samples: b['x'])[0]
        )
    toys.one_line(mistake, '[B, 64]', '[200, 3]')
