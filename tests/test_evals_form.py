"""The form of an evaluator, the errors of its numbers, and its options."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import toys

from ssljax import evals, names, readouts, resolve
from ssljax.evals import Shown
from ssljax.evals.evaluator import gain, interval, standard_error
from ssljax.names import Mistake

OFFERED = evals.offered()
HERE = Path(evals.__file__).parent


def options_of(name):
    """Options with their defaults."""
    return names.options(OFFERED[name].run)


# ---- one form


@pytest.mark.parametrize('name', OFFERED)
def test_an_evaluator_has_the_form(name):
    one = OFFERED[name]
    first, *rest = inspect.signature(one.run).parameters.values()
    assert first.name == 'subject'
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in rest)
    assert all(p.annotation is not p.empty for p in rest)
    assert inspect.signature(one.run).return_annotation is evals.Scores
    assert one.needs and set(one.needs) <= set(readouts.READOUTS)
    for baseline in one.baselines:
        assert list(inspect.signature(baseline).parameters) == ['source', 'key']
    assert one.first in one.shown
    for shown in one.shown.values():
        assert isinstance(shown, Shown) and shown.title.format(**options_of(name))
    assert evals.explain(name, [*one.needs, 'other']) == ''
    if len(rest) >= 4:
        told = inspect.getdoc(one.run)
        assert not [p.name for p in rest if p.name not in told], 'options that nobody explains'


def test_a_split_that_is_not_there_is_said():
    images = toys.source(train=dict(x=np.zeros((3, 2))), validation=dict(x=np.zeros((2, 2))))
    options = options_of('knn')
    assert options['bank'] == 'train' and options['queries'] == 'test'
    said = evals.obstacle('knn', options, ['encode'], images)
    assert 'has train, validation; type --evals.knn.queries=SPLIT, in train --config.ev' in said
    assert not evals.obstacle('knn', options | dict(queries='validation'), ['encode'], images)
    assert 'needs the readout encode' in evals.obstacle('knn', options, [], images)
    # a probe does without rows for validation, and another source has splits of its own
    whole = toys.source(train=dict(x=np.zeros((3, 2))), test=dict(x=np.zeros((2, 2))))
    assert not evals.obstacle('linear_probe', options_of('linear_probe'), ['encode'], whole)
    options = options_of('out_of_class') | dict(split='validation')
    assert not evals.obstacle('out_of_class', options, ['free_energy'], images)


def test_evaluators_are_found_by_listing(tmp_path, monkeypatch):
    assert list(OFFERED) == sorted(OFFERED)
    assert 'evaluator' not in OFFERED and 'subject' not in OFFERED
    (tmp_path / 'mine.py').write_text(
        'from ssljax.evals.evaluator import Evaluator, Scores\n'
        'evaluator = Evaluator(run=lambda subject: Scores({}), needs=("encode",))\n'
    )
    monkeypatch.setattr(evals, '__path__', [*evals.__path__, str(tmp_path)])
    evals.offered.cache_clear()
    try:
        assert set(evals.offered()) == {*OFFERED, 'mine'}
        assert 'needs the readout encode' in evals.explain('mine', ())
    finally:
        evals.offered.cache_clear()


def test_no_evaluator_imports_another():
    for path in HERE.glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('ssljax.evals.'):
                assert node.module.rpartition('.')[2] not in OFFERED, path.name


def test_explain_says_what_there_is():
    assert evals.explain('knn', ('sample',)) == (
        'knn needs the readout encode; this method offers: sample'
    )
    with pytest.raises(Mistake, match='did you mean knn'):
        evals.explain('knnn', ())


@pytest.mark.parametrize('name', OFFERED)
def test_a_missing_readout_is_a_mistake(name):
    who, _ = toys.subject(toys.labeled(), other=toys.encode)
    with pytest.raises(Mistake) as mistake:
        toys.score(name, who)
    toys.one_line(mistake, name, 'offers: other')


# ---- errors and gains


def test_of_percentages_the_error_is_binomial():
    rows = 100.0 * (np.random.default_rng(0).random(400) < 0.3)
    p = rows.mean() / 100
    assert standard_error(rows) == pytest.approx(100 * (p * (1 - p) / 400) ** 0.5, rel=1e-12)
    low, high = interval(rows)
    assert low + high == pytest.approx(2 * rows.mean())
    assert high - low == pytest.approx(2 * 1.96 * standard_error(rows))


def test_rows_beside_each_other_that_are_alike():
    own = np.random.default_rng(0).gamma(3, size=50)
    rows = np.repeat(own, 100)  # fifty numbers, not five thousand
    assert standard_error(rows, neighbors=True) > 0.7 * own.std() / 50**0.5
    assert standard_error(rows) < 0.2 * own.std() / 50**0.5
    # by hand: the deviations of the sums of 64 blocks
    blocks = np.array_split(rows, 64)
    off = np.array([block.sum() - len(block) * rows.mean() for block in blocks])
    assert standard_error(rows, neighbors=True) == pytest.approx(
        (np.sum(off**2) * 64 / 63) ** 0.5 / 5000
    )
    apart = np.random.default_rng(1).normal(size=6400)
    assert standard_error(apart, True) == pytest.approx(standard_error(apart), rel=0.3)


def test_an_error_that_nobody_knows_is_infinite():
    assert standard_error(np.array([1.0])) == np.inf
    assert standard_error(np.array([1.0]), neighbors=True) == np.inf
    assert standard_error(np.array([1.0, np.inf, 2.0])) == np.inf


def test_a_gain_is_for_the_better():
    random = np.random.default_rng(0)
    other = random.normal(size=1000)
    rows = other + 0.1 + 0.01 * random.normal(size=1000)  # far more alike than either is even
    mean, error = gain(rows, other)
    assert mean == pytest.approx((rows - other).mean())
    assert error == pytest.approx((rows - other).std() / 1000**0.5) and error < 0.001
    assert gain(rows, other, less=True) == pytest.approx((-mean, error))
    _, apart = gain(np.repeat(rows, 9), np.repeat(other, 9), neighbors=True)
    assert apart > 0.7 * error
    with pytest.raises(ValueError, match='not the same rows'):
        gain(rows[:-1], other)


# ---- options


@pytest.mark.parametrize('name', OFFERED)
def test_defaults_are_of_their_kinds(name):
    assert resolve.evaluators({name: {}}).keys() == {name}
    written = resolve.evaluators({name: {}})[name]
    for option, default in options_of(name).items():
        if option in ('view', 'other'):  # specs, with their own defaults written out
            assert written[option]['name'] == default['name']
        else:
            assert written[option] == default, option


@pytest.mark.parametrize(
    'option, value',
    [
        ('knn.k', '0'), ('knn.bank_size', '0'), ('knn.temperature', '0'), ('knn.also', '((0, 1),)'),
        ('linear_probe.l2', '(1.0, 0.0)'), ('linear_probe.steps', '2.5'),
        ('fine_tune.statistics', 'new'), ('segmentation.mass', '1.5'), ('evidence.samples', 'many'),
        ('sgd_probe.momentum', '-0.1'), ('cluster.clusters', '-1'), ('rank.size', '0'),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_refused(option, value):
    with pytest.raises(Mistake) as mistake:
        resolve.evaluators({}, [(option, value)])
    toys.one_line(mistake, option)


def test_text_is_read_by_kind():
    typed = [('knn.bank_size', 'none'), ('knn.k', '5'), ('retrieval.at', '3'), ('rank.layer', 'b')]
    found = resolve.evaluators({}, typed)
    assert found['knn']['bank_size'] is None and found['knn']['k'] == 5
    assert found['retrieval']['at'] == (3,) and found['rank']['layer'] == 'b'
