"""Probes of frozen features, episodes, retrieval and distances, beside other implementations."""

import numpy as np
import pytest
import toys
from sklearn.metrics import adjusted_rand_score, average_precision_score
from sklearn.neural_network import MLPClassifier
from sklearn.svm import LinearSVC

from ssljax import evals
from ssljax.evals.distances import kernel, precision_recall
from ssljax.evals.evaluator import standard_error
from ssljax.evals.frozen import Frozen, search
from ssljax.evals.partitions import against, ari
from ssljax.names import Mistake


@pytest.fixture(scope='module')
def subject():
    return toys.subject(toys.labeled(noise=2.0), encode=toys.encode)[0]


def rows(subject, split):
    """Features and labels as any library takes them, standardized by the training rows."""
    train = subject.source.splits['train'].rows(np.arange(subject.source.splits['train'].count))
    part = subject.source.splits[split].rows(np.arange(subject.source.splits[split].count))
    mean, scale = train['x'].mean(0), train['x'].std(0)
    return (part['x'] - mean) / scale, part['label']


def test_linear_svm_is_scikits(subject):
    found = toys.score('linear_svm', subject, l2=(0.01,))
    x, y = rows(subject, 'train')
    machine = LinearSVC(C=1 / (2 * 0.01 * len(x)), intercept_scaling=100, tol=1e-6, max_iter=10**5)
    score = 100 * machine.fit(x, y).score(*rows(subject, 'test'))
    assert abs(found['accuracy'] - score) <= 0.5


@pytest.mark.filterwarnings('ignore:Stochastic Optimizer')
def test_mlp_probe_finds_what_no_line_does(subject):
    """Beside scikit-learn's, on classes that are signs of a product."""
    curved = {n: quadrants(i, c) for i, (n, c) in enumerate(dict(train=600, test=400).items())}
    curved = toys.subject(toys.source(**curved), encode=toys.encode)[0]
    found = toys.score('mlp_probe', curved, hidden=64, batch=32, learning_rate=4e-3)
    line = toys.score('linear_svm', curved)
    other = MLPClassifier((64,), max_iter=60, random_state=0, alpha=1e-3)
    score = 100 * other.fit(*rows(curved, 'train')).score(*rows(curved, 'test'))
    assert found['accuracy'] > score - 4 and found['accuracy'] > line['accuracy'] + 25


def test_few_shot_by_an_independent_statement(subject):
    options = dict(ways=3, shots=(4, 1), queries=5, episodes=200)
    found, episodes = toys.scores('few_shot', subject, **options)
    part = subject.source.splits['test'].rows(np.arange(subject.source.splits['test'].count))
    train = subject.source.splits['train'].rows(np.arange(subject.source.splits['train'].count))
    h, label = part['x'] - train['x'].mean(0), part['label']
    h /= np.linalg.norm(h, axis=1)[:, None]
    right, random = [], np.random.default_rng(5)  # other episodes: the same up to its error
    for _ in range(400):
        classes = random.permutation(label.max() + 1)[:3]
        learned, asked = {}, []
        for c in classes:
            mine = random.permutation(np.flatnonzero(label == c))[:9]
            learned[c] = h[mine[:4]].mean(0)
            asked += [(i, c) for i in mine[4:]]
        for i, c in asked:
            scores = {k: h[i] @ m / np.linalg.norm(m) for k, m in learned.items()}
            right.append(max(scores, key=scores.get) == c)
    error = standard_error(episodes['accuracy'])
    # both are means of episodes, ours of twice as many
    assert abs(found['accuracy'] - 100 * np.mean(right)) < 3.5 * error * (1 + 1 / 2) ** 0.5
    assert error < 1
    assert found['accuracy'] > found['accuracy_1_shot'] > 100 / 3 + 5


def test_few_shot_of_equal_features_is_chance(subject):
    blind = subject._replace(
        readouts={
            'encode': lambda batch: np.random.default_rng(0).normal(size=(len(batch['x']), 8))
        }
    )
    found = toys.score('few_shot', blind, ways=3, queries=5, episodes=300)
    assert abs(found['accuracy'] - 100 / 3) < 4


def test_few_shot_centers_by_rows_without_labels(subject):
    splits = subject.source.splits
    bare = subject.source._replace(splits=splits | {'train': unlabeled(splits['train'])})
    options = dict(ways=3, queries=5, episodes=50)
    without = toys.score('few_shot', subject._replace(source=bare), **options)
    assert without == toys.score('few_shot', subject, **options)


def test_retrieval_by_scikit_and_by_hand(subject):
    found, each = toys.scores('retrieval', subject, at=(1, 5))
    part = subject.source.splits['test'].rows(np.arange(subject.source.splits['test'].count))
    h, label = part['x'], part['label']
    h = h / np.linalg.norm(h, axis=1)[:, None]
    precision, hits = [], []
    for i in range(len(h)):
        others = np.arange(len(h)) != i
        score, right = (h @ h[i])[others], (label == label[i])[others]
        precision.append(average_precision_score(right, score))
        hits.append([right[np.argsort(-score)[:k]].any() for k in (1, 5)])
    assert found['mean_average_precision'] == pytest.approx(100 * np.mean(precision), abs=1e-3)
    np.testing.assert_allclose(each['mean_average_precision'], 100 * np.array(precision), atol=1e-2)
    np.testing.assert_array_equal(each['recall_5'], 100 * np.array(hits)[:, 1])
    assert found['recall_1'] == pytest.approx(100 * np.mean(hits, 0)[0])
    assert found['recall_5'] == pytest.approx(100 * np.mean(hits, 0)[1])


def test_ari_is_scikits():
    random = np.random.default_rng(0)
    for noise in (0.0, 0.3, 1.0):
        label = random.integers(4, size=200)
        found = np.where(random.random(200) < noise, random.integers(6, size=200), label)
        table = np.zeros((6, 4))
        np.add.at(table, (found, label), 1)
        assert ari(table) == pytest.approx(adjusted_rand_score(label, found))
    assert ari(np.diag([3.0, 5.0])) == 1


def test_kernel_distance_by_its_sums():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(7, 3)), random.normal(size=(5, 3)) + 1
    k = lambda x, y: (x @ y / 3 + 1) ** 3  # noqa: E731
    within = [
        sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j)
        / (len(z) * (len(z) - 1))
        for z in (a, b)
    ]
    between = np.mean([[k(x, y) for y in b] for x in a])
    assert kernel(a, b) == pytest.approx(1000 * (sum(within) - 2 * between))


def test_kernel_distance_is_zero_on_average_where_both_are_alike():
    random = np.random.default_rng(0)
    found = [kernel(*random.normal(size=(2, 40, 5))) for _ in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5


def shares(fake, real):
    return {name: among.mean() for name, among in precision_recall(fake, real).items()}


def test_precision_and_recall_of_what_is_known():
    random = np.random.default_rng(0)
    real = random.normal(size=(400, 2))
    same = shares(random.normal(size=(400, 2)), real)
    assert same['precision'] > 0.9 and same['recall'] > 0.9
    one_mode = shares(0.05 * random.normal(size=(400, 2)), real)
    assert one_mode['precision'] > 0.9 and one_mode['recall'] < 0.1
    off = shares(random.normal(size=(400, 2)) + 50, real)
    assert off['precision'] == 0 == off['recall']
    # one row, by hand: real at 0, 1, 2, 3, 10 reach 3, 2, 2, 3, 9 to their third nearest
    line = np.array([[0.0], [1], [2], [3], [10]])
    fake = np.array([[18.5], [19.5], [5.5], [4.0]])
    np.testing.assert_array_equal(precision_recall(fake, line)['precision'], [1, 0, 1, 1])


@pytest.mark.parametrize('top', range(11))
def test_the_search_ends_where_both_sides_are_worse(top):
    """On a curve with one summit it finds it, and tries no more than it must."""
    right = 100 - np.abs(np.arange(11) - top)  # of a hundred validation rows
    strengths, tried = 10.0 ** -np.arange(11), []

    def fit(strength, start):
        tried.append(round(-np.log10(strength)))
        return tried[-1]

    def predict(i, x):
        return (np.arange(len(x)) < right[i]).astype(int)

    rows = Frozen(*[np.zeros((100, 1)), np.ones(100, int)] * 3, None, None, None)
    found = search(rows, strengths[::-1], fit, predict).numbers
    assert found['l2'] == strengths[top]
    assert found['accuracy'] == found['validation_accuracy'] == right[top]
    assert len(tried) == len(set(tried)) and tried[0] == 3
    assert {i for i in range(top - 2, top + 3) if 0 <= i < 11} <= set(tried)
    assert len(tried) <= abs(top - 3) + 5


def test_a_solution_is_where_the_next_begins():
    starts = {}
    rows = Frozen(*[np.zeros((9, 1)), np.zeros(9, int)] * 3, None, None, None)

    def fit(strength, start):
        starts[strength] = start
        return strength

    search(rows, (1.0, 0.1, 0.01, 1e-3), fit, lambda params, x: np.zeros(len(x), int))
    assert starts == {0.1: None, 1.0: 0.1, 0.01: 0.1}  # all alike: the strongest is best
    starts.clear()
    search(rows, (1.0, 0.1), fit, lambda params, x: np.zeros(len(x), int), warm=False)
    assert starts == {1.0: None, 0.1: None}


def test_clusters_are_named_one_to_one():
    """Both would be class 0; the best naming gives it to the second."""
    cluster = np.repeat([0, 0, 1], [5, 4, 4])
    label = np.repeat([0, 1, 0], [5, 4, 4])
    scores = against(cluster, label, 2)
    np.testing.assert_array_equal(scores.rows['accuracy'], 100 * np.repeat([0, 1, 1], [5, 4, 4]))
    np.testing.assert_array_equal(scores.rows['purity'], np.repeat([1, 0, 1], [5, 4, 4]))


OF_FEATURES = [
    name
    for name, one in evals.offered().items()
    # these read no labels
    if one.needs == ('encode',) and name not in ('rank', 'filters', 'verification')
]


def square(part):
    """Rows of twelve numbers as images of 2 x 2."""
    rows = part.rows
    return part._replace(rows=lambda i: {**rows(i), 'x': rows(i)['x'].reshape(-1, 2, 2, 3)})


@pytest.fixture(scope='module')
def images(subject):
    """Who has features, images, and a model that nobody will come to."""
    splits = {name: square(part) for name, part in subject.source.splits.items()}
    made = subject.source._replace(splits=splits)
    who, _ = toys.subject(made, encode=lambda batch: batch['x'].reshape(len(batch['x']), -1))
    return who._replace(model=object())


@pytest.mark.parametrize('name', OF_FEATURES)
def test_labels_absent_one_class_or_few_rows_are_one_line(name, images):
    source = images.source
    few = [lambda i: {k: v[:1] for k, v in source.splits['train'].rows(i[:1]).items()}]
    few = {split: part._replace(count=1, rows=few[0]) for split, part in source.splits.items()}
    for splits, words in (
        ({k: unlabeled(part) for k, part in source.splits.items()}, 'needs labels'),
        ({k: one_class(part) for k, part in source.splits.items()}, 'needs (two|5) classes'),
        (few, 'needs .*(1|0)'),
    ):
        with pytest.raises(Mistake, match=f'^{name} {words}') as mistake:
            toys.score(name, images._replace(source=source._replace(splits=splits)))
        toys.one_line(mistake, name)


def test_too_few_rows_are_one_line(subject):
    with pytest.raises(Mistake, match='few_shot needs 5 classes of 20 rows'):
        toys.score('few_shot', subject, size=20)
    with pytest.raises(Mistake, match='mlp_probe needs 20 training rows; train gives 5'):
        toys.score('mlp_probe', subject, train_size=5)


def quadrants(seed, count):
    x = np.random.default_rng(seed).normal(size=(count, 6)).astype('f')
    return dict(x=x, label=(x[:, 0] * x[:, 1] > 0).astype(np.int32))


def unlabeled(part):
    rows = part.rows
    return part._replace(rows=lambda i: {k: v for k, v in rows(i).items() if k != 'label'})


def one_class(part):
    rows = part.rows
    return part._replace(rows=lambda i: {**rows(i), 'label': 0 * rows(i)['label']})
