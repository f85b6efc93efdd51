"""Evaluators on small cases whose answer is known exactly."""

import numpy as np
import pytest
import toys
from sklearn.metrics import normalized_mutual_info_score

from ssljax.evals import kmeans
from ssljax.evals.evaluator import interval, standard_error
from ssljax.evals.frozen import frozen
from ssljax.evals.partitions import against


def test_rows_that_are_alike_in_eights_count_as_one():
    rows = np.random.default_rng(0).normal(size=64 * 8)
    alike = np.repeat(rows[::8], 8)
    assert standard_error(alike, True) == pytest.approx(np.std(rows[::8], ddof=1) / 8)
    assert standard_error(alike) == pytest.approx(np.std(rows[::8]) / 64 * 8**0.5)
    low, high = interval(alike, True)
    assert (high - low) / 2 == pytest.approx(1.96 * np.std(rows[::8], ddof=1) / 8)


def test_few_shot_does_not_see_where_all_features_lie():
    options = dict(ways=3, queries=5, episodes=50)
    plain, _ = toys.subject(toys.labeled(), encode=toys.encode)
    moved, _ = toys.subject(toys.labeled(), encode=lambda batch: batch['x'] + 3.0)
    each, other = (toys.scores('few_shot', who, **options).rows for who in (plain, moved))
    assert (each['accuracy'] == other['accuracy']).mean() > 0.95  # of episodes


def test_a_probe_scales_by_its_training_rows():
    who, _ = toys.subject(toys.labeled(), encode=toys.encode)
    rows = frozen(who, 'a probe', ('train', 'validation', 'test'), (None, None, None))
    x = who.source.splits['train'].rows(np.arange(400))['x']
    np.testing.assert_allclose(rows.x, (x - x.mean(0)) / x.std(0), atol=1e-4)
    test = who.source.splits['test'].rows(np.arange(300))['x']
    np.testing.assert_allclose(rows.x_test, (test - x.mean(0)) / x.std(0), atol=1e-4)


def test_a_probe_without_validation_rows_holds_every_tenth_out():
    who, _ = toys.subject(toys.labeled(train=400, test=300), encode=toys.encode)
    rows = frozen(who, 'a probe', ('train', 'none', 'test'), (None, None, None))
    held = np.arange(400) % 10 == 9
    np.testing.assert_array_equal(rows.index, np.flatnonzero(~held))
    label = who.source.splits['train'].rows(np.arange(400))['label']
    np.testing.assert_array_equal(rows.y, label[~held])
    np.testing.assert_array_equal(rows.y_val, label[held])


def test_the_tightest_of_several_clusterings_counts(monkeypatch):
    who, _ = toys.subject(toys.labeled(), encode=toys.encode)
    label = who.source.splits['test'].rows(np.arange(300))['label']

    def grouped(x, start, count, rounds):
        return abs(start - 2) + 1.0, label if start == 2 else np.arange(len(x)) % count

    monkeypatch.setattr(kmeans, 'grouped', grouped)
    assert toys.score('kmeans', who, starts=5)['nmi'] == pytest.approx(1)


def test_nmi_is_scikit_learns():
    random = np.random.default_rng(0)
    cluster, label = random.integers(4, size=200), random.integers(3, size=200)
    label = np.where(random.random(200) < 0.5, cluster % 3, label)
    found = against(cluster, label, 4, 3).numbers
    assert found['nmi'] == pytest.approx(normalized_mutual_info_score(label, cluster))
    assert against(label, label, 3, 3).numbers['nmi'] == pytest.approx(1)


def test_perplexity_is_of_the_tokens_that_the_mask_scores():
    """The mask is of tokens, the log probabilities of those after the first."""
    x = np.zeros((2, 4), np.int32)
    mask = np.array([[0, 1, 0, 0], [0, 0, 1, 1]], np.float32)
    source = toys.source(vocab=('a', 'b'), test=dict(x=x, mask=mask))
    log_prob = -np.array([[1.0, 2, 4], [8, 16, 32]])  # of tokens 1, 2, 3
    who, _ = toys.subject(source, token_log_prob=lambda batch: log_prob)
    found = toys.score('perplexity', who)
    assert found['characters'] == 3
    assert found['nats_per_character'] == pytest.approx((1 + 16 + 32) / 3)
