"""Runs beside one another: what may be compared, what is told apart, and what is written."""

import csv
import itertools
import json
import re
from statistics import fmean

import numpy as np
import pytest
from scipy.stats import permutation_test

from ssljax import cli, compare, results
from ssljax.names import Mistake


def workdir(
    folder, name, accuracy, *, seed=0, temperature=0.1, k=20, fingerprint='f1', digest='', **more
):
    """What a run leaves behind, as far as comparing reads it."""
    path = folder / name
    path.mkdir()
    config = {'method': 'simclr', 'seed': seed, 'model': {'temperature': temperature}}
    config |= {'data': {'name': 'glyphs', 'dir': name}, 'log': {'every': seed}}
    data = {'name': 'glyphs', 'fingerprint': fingerprint, 'decoder': ''}
    scores = {
        'pixels': {'accuracy': 40.0},
        'untrained': {'accuracy': 30.0 + seed},
        'trained': {'accuracy': accuracy},
    }
    evals = {'knn': {'protocol': {'k': k, 'picture': bool(seed)}, 'scores': scores}}
    if more:
        scores = {who: dict(more) for who in ('untrained', 'trained')}
        evals['error_rate'] = {'protocol': {}, 'scores': scores}
    (path / 'run.json').write_text(json.dumps({'config': config, 'data': data}))
    results = {'evals': evals, 'checkpoint': 4, 'checkpoint_sha256': digest or name}
    (path / 'results.json').write_text(json.dumps(results))
    return path


@pytest.fixture
def runs(tmp_path):
    """Three methods of four seeds: the first two are alike, the third is worse."""
    numbers = {'a': (80, 82, 81, 83), 'b': (82, 80, 83, 80.5), 'c': (70, 71, 72, 70.5)}
    return [
        workdir(tmp_path, f'{name}-{seed}', value, seed=seed, temperature=t)
        for t, (name, values) in enumerate(numbers.items())
        for seed, value in enumerate(values)
    ]


def bold(found, column):
    return [row.name for row in compare.bold(found, column)]


def test_rows_of_one_name_are_two(tmp_path):
    """Workdirs in two folders may be called alike."""
    runs = []
    for folder, value in (('one', 90), ('two', 50)):
        (tmp_path / folder).mkdir()
        runs += [
            workdir(tmp_path / folder, f'r-{s}', value + s, seed=s, temperature=value)
            for s in range(4)
        ]
    found = compare.table(runs)
    assert [row.name for row in found.rows] == ['r', 'r']
    assert compare.bold(found, 'knn accuracy') == found.rows[:1]


def test_seeds_are_one_row_and_who_is_not_told_from_the_best_is_bold(runs):
    found = compare.table(runs)
    assert [(row.name, row.seeds) for row in found.rows] == [('a', 4), ('b', 4), ('c', 4)]
    assert list(found.columns) == ['knn accuracy'] and found.trivial == {
        'pixels': {'knn accuracy': 40}
    }
    assert list(found.rows[0].untrained['knn accuracy'].values()) == [30, 31, 32, 33]
    assert bold(found, 'knn accuracy') == ['a', 'b']
    page = compare.markdown(found)
    assert '| a | 4 | **81.50 ± 1.291** |' in page and '| c | 4 | 70.88 ± 0.854 |' in page
    assert '| pixels |  | 40.00 |' in page and '| a, untrained | 4 | 31.50 ± 1.291 |' in page


def test_of_errors_less_is_better(tmp_path):
    runs = [
        workdir(tmp_path, f'{n}{s}', 50, seed=s, temperature=t, error=e + 0.1 * s)
        for t, (n, e) in enumerate((('x', 3.0), ('y', 9.0)))
        for s in range(4)
    ]
    assert bold(compare.table(runs), 'error rate error') == ['x']


def test_the_permutation_test_is_scipys():
    random = np.random.default_rng(0)
    for shift in (0.0, 0.8, 3.0):
        a, b = random.normal(size=5) + shift, random.normal(size=4)
        other = permutation_test(
            (a, b), lambda x, y: np.mean(x) - np.mean(y), alternative='greater', n_resamples=np.inf
        )
        assert compare.permutation_p(a, b) == pytest.approx(other.pvalue)


def test_p_by_hand_and_by_listing():
    assert compare.permutation_p([3, 4, 5], [0, 1, 2]) == 1 / 20  # the one partition of 20
    assert compare.permutation_p([1, 1], [1, 1]) == 1
    better, worse = [1.0, 4.0, 2.0], [3.0, 0.5]
    gaps = []
    for part in itertools.permutations([*better, *worse]):
        gaps.append(fmean(part[:3]) - fmean(part[3:]))
    expected = np.mean(np.array(gaps) >= fmean(better) - fmean(worse) - 1e-12)
    assert compare.permutation_p(better, worse) == pytest.approx(expected)
    many = [list(np.random.default_rng(i).normal(size=20)) for i in range(2)]
    assert 0 < compare.permutation_p(*many) < 1  # drawn, not listed


def test_another_protocol_or_other_data_is_a_column_of_its_own(tmp_path, runs):
    runs += [
        workdir(tmp_path, 'd', 99, temperature=7, k=5),
        workdir(tmp_path, 'e', 99, temperature=8, fingerprint='f2'),
    ]
    found = compare.table(runs)
    assert list(found.columns) == ['knn accuracy', 'knn accuracy (b)', 'knn accuracy (c)']
    assert bold(found, 'knn accuracy') == ['a', 'b']
    (note,) = found.notes
    assert re.search(r'\(a\) glyphs f1, k=20; \(b\) glyphs f1, k=5; \(c\) glyphs f2, k=20', note)


def rewritten(path, change):
    results = json.loads((path / 'results.json').read_text())
    change(results)
    (path / 'results.json').write_text(json.dumps(results))


READ = {'name': 'glyphs', 'fingerprint': 'f2', 'decoder': ''}


@pytest.mark.parametrize(
    'change, pattern',
    [
        (lambda r: r['evals']['knn']['protocol'].update(k=5), 'glyphs f1, k=20, .*glyphs f1, k=5,'),
        (lambda r: r['evals']['knn'].update(data=READ), 'glyphs f1, k=20, .*glyphs f2, k=20,'),
        (
            lambda r: r['evals']['knn'].update(
                data=READ | {'fingerprint': 'f1', 'decoder': 'other'}
            ),
            'f1, k=20, .*f1 by other, k=20,',
        ),
        (lambda r: r['evals']['knn'].update(checkpoint=2), 'step 4 / .*step 2'),
    ],
)
def test_seeds_that_were_not_scored_alike_are_not_pooled(tmp_path, runs, change, pattern, capsys):
    rewritten(runs[2], change)
    assert cli.guarded(lambda: compare.main(list(map(str, runs)))) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(rf'a-0 and \S*a-2 are seeds of one config.*knn.*{pattern}.*type', line), line


def test_a_copy_of_a_run_counts_once(tmp_path, runs):
    """The same seed and checkpoint, or the same seed and numbers; another seed is no copy."""
    alone = compare.table(runs)
    runs += [
        workdir(tmp_path, 'copy', 80, temperature=0, digest='a-0'),
        workdir(tmp_path, 'rerun', 82, temperature=0, seed=1),
        workdir(tmp_path, 'also', 80, temperature=0, digest='copy'),
    ]
    found = compare.table(runs)
    assert [(row.name, row.seeds) for row in found.rows] == [('a', 4), ('b', 4), ('c', 4)]
    assert compare.lines(found, '') == compare.lines(alone, '')
    told = [re.search(r'(\w+) is a copy of \S*(a-\d)', note).groups() for note in found.notes]
    assert told == [('copy', 'a-0'), ('rerun', 'a-1'), ('also', 'a-0')]
    other = workdir(tmp_path, 'other', 80.5, temperature=0)  # one seed with two results
    twin = workdir(tmp_path, 'twin', 80, temperature=0, seed=7)  # two seeds with one result
    assert compare.table([*runs[:4], other, twin]).rows[0].seeds == 6
    rewritten(runs[3], lambda results: results.update(evals={}))
    assert compare.table(runs[:4]).notes == ['knn of a: of 3 of its seeds']


def test_one_seed_each_is_told_and_nothing_is_bold(tmp_path):
    runs = [workdir(tmp_path, n, v, temperature=v) for n, v in (('x', 50), ('y', 60))]
    found = compare.table(runs)
    assert not bold(found, 'knn accuracy') and 'one seed each' in found.notes[0]


def test_it_prints_and_writes(tmp_path, runs, capsys):
    flags = [*map(str, runs), f'--out={tmp_path / "out"}']
    assert cli.guarded(lambda: compare.main(flags)) == 0
    told = capsys.readouterr().out
    assert re.search(r'^a +4 +81.50 ± 1.291', told, flags=re.M) and '**' not in told
    assert (tmp_path / 'out/compare.md').read_text() == compare.markdown(compare.table(runs))
    with (tmp_path / 'out/compare.csv').open() as file:
        rows = list(csv.DictReader(file))
    mine = [float(r['value']) for r in rows if r['run'] == 'a' and r['who'] == 'trained']
    assert mine == [80, 82, 81, 83] and len(rows) == 1 + 12 + 12
    assert {r['workdir'] for r in rows if r['run'] == 'a'} == {str(run) for run in runs[:4]}


@pytest.mark.parametrize(
    'spoil, flags, pattern',
    [
        (lambda run: (run / 'results.json').unlink(), [], 'was not evaluated.*ssljax.evaluate'),
        (lambda run: (run / 'run.json').unlink(), [], 'is not a workdir: it has no run.json'),
        (lambda run: (run / 'run.json').write_text('{"con'), [], 'run.json is torn.*put a copy'),
        (
            lambda run: (run / 'results.json').write_text('{}'),
            [],
            "no 'evals'; delete it, and type",
        ),
        (
            lambda run: (run / 'results.json').write_text('[]'),
            [],
            "no 'evals'; delete it, and type",
        ),
        (lambda run: None, ['--evals=kn'], "unknown evaluator.*'kn' .did you mean knn"),
        (lambda run: None, ['--eval=knn'], 'unrecognized|unknown'),
    ],
)
def test_mistakes_are_one_line(runs, spoil, flags, pattern, capsys):
    spoil(runs[0])
    try:
        code = cli.guarded(lambda: compare.main([*map(str, runs), *flags]))
    except SystemExit as end:  # argparse
        code = end.code
    told = capsys.readouterr().err.strip().splitlines()
    assert code == 2 and re.search(pattern, told[-1]), told


def test_labels_of_rows(tmp_path):
    runs = [{'path': tmp_path / name, 'config': {'method': 'm'}} for name in ('7', '8')]
    assert compare.label(runs) == 'm'
    with pytest.raises(Mistake):
        compare.read(tmp_path)


def test_models_of_one_seed_are_compared_row_by_row(tmp_path):
    """On the rows that both were scored on: the mean gain and 1.96 standard errors."""
    random = np.random.default_rng(0)
    right = {name: 100.0 * (random.random(500) < p) for name, p in (('a', 0.8), ('b', 0.7))}
    runs = []
    for t, (name, rows) in enumerate(right.items()):
        runs.append(workdir(tmp_path, name, rows.mean(), temperature=t))
        (runs[-1] / 'rows').mkdir()
        np.savez(runs[-1] / 'rows' / 'knn.npz', accuracy=rows)
    gains = right['a'] - right['b']
    reach = 1.96 * gains.std() / 500**0.5
    (note,) = [n for n in compare.table(runs).notes if 'row by row' in n]
    found = re.search(r'knn accuracy, row by row: a better than b by ([\d.]+) ± ([\d.]+)', note)
    np.testing.assert_allclose([float(v) for v in found.groups()], [gains.mean(), reach], rtol=0.01)
    other = workdir(tmp_path, 'c', 50.0, temperature=2)  # without rows: left out
    assert len([n for n in compare.table([*runs, other]).notes if 'row by row' in n]) == 1


@pytest.mark.parametrize('kept, notes', [(True, 1), (False, 0)])
def test_rows_of_another_evaluation_are_left_out(kept, notes, tmp_path):
    """An evaluation may end between its rows and its numbers: results.json names its own rows."""
    runs = []
    for t, accuracy in enumerate((80.0, 60.0)):
        runs.append(workdir(tmp_path, str(t), accuracy, temperature=t))
        rows = np.repeat([0.0, 100.0], [100 - int(accuracy), int(accuracy)])
        sha256 = results.keep_rows(runs[-1], 'knn', {'accuracy': rows})
        path = runs[-1] / 'results.json'
        found = json.loads(path.read_text())
        found['evals']['knn']['rows_sha256'] = sha256
        path.write_text(json.dumps(found))
    if not kept:
        results.keep_rows(runs[0], 'knn', {'accuracy': rows})
    assert len([n for n in compare.table(runs).notes if 'row by row' in n]) == notes
