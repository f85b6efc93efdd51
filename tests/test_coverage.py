"""The table of what works: every row is there once, and points at what exists."""

import copy
import functools
import json
import re
from statistics import fmean

import pytest

from benchmarks import coverage

TABLE = coverage.read_table()
# rows of each family, in order: whoever adds or drops one says so here
SIZES = (35, 11, 24, 27, 19, 42, 47, 18, 32, 18)


def test_every_row_is_there_once():
    names = [name for _, name, _ in coverage.rows(TABLE)]
    assert tuple(map(len, TABLE.values())) == SIZES
    assert len(set(names)) == len(names) == 273


def test_the_table_has_no_mistake():
    assert coverage.mistakes(TABLE) == []


def test_pages_are_what_the_table_says():
    assert coverage.stale(TABLE) == [], 'type python benchmarks/coverage.py'


# what is done to a copy of the table -> what is said of it
FAULTS = {
    'a variant that is not there': (
        'simclr', dict(where=['configs/simclr.py:cifar01']), "^simclr: .*unknown variant 'cifar01'",
    ),
    'a config that is not there': (
        'simclr', dict(where='configs/simcrl.py'), '^simclr: .*no config file .*simcrl.py',
    ),
    'a module that is not there': (
        'training_binaries', dict(where='python -m ssljax.trian'), 'no such module',
    ),
    'a benchmark that is not there': (
        'mae_mask_ratio', dict(where='python benchmarks/mask.py'), 'no such file',
    ),
    'an evaluator that is not there': (
        'knn_eval', dict(where='python -m ssljax.evaluate --evals=knm'), 'no evaluator knm',
    ),
    'a command with a bad config': (
        'training_binaries',
        dict(where='python -m ssljax.train --config=configs/simclr.py:x --workdir=runs/x'),
        "unknown variant 'x'",
    ),
    'a file of tests that is not there': (
        'nt_xent', dict(where='tests/test_nt.py::test_by_hand'), 'no such file',
    ),
    'a test that is not there': (
        'nt_xent', dict(where='tests/losses/test_contrastive.py::test_by_foot'), 'no such test',
    ),
    'a function that is not there': (
        'nt_xent', dict(where='ssljax.losses.nt_xnet'), "cannot be imported: .*'nt_xnet'",
    ),
    'a file of results that is not there': (
        'gpt', dict(result='gpt-shakspere/density/perplexity'), 'no results/gpt-shakspere.json',
    ),
    'an evaluator that was not run': (
        'gpt', dict(result='gpt-shakespeare/knn/accuracy'), "has no 'knn'",
    ),
    'a number that is not there': (
        'gpt', dict(result='gpt-shakespeare/perplexity/nats'), "has no 'nats'",
    ),
    'an entry that is not there': (
        'mae_vs_scratch', dict(result='fine-tune/rows/mae/451/all/accuracy'), "has no '451'",
    ),
    'what is no number': ('mae_vs_scratch', dict(result='fine-tune/rows/mae/all'), "has no 'all'"),
    'a baseline that is not there': (
        'dino', dict(beside=dict(noise='protocol/rows/kmeans, accuracy/methods/noise')), "'noise'",
    ),
    'a result that nothing makes': (
        'gpt', dict(where='tests/test_nets.py::test_causal'), 'a result without the config',
    ),
    'a number beside that of the lectures, unexplained': (
        'simclr', dict(differs=''), 'say in differs',
    ),
    'a claim without a place': (
        'cove', dict(result='gpt-shakespeare/density/perplexity'), '^cove: result without where',
    ),
    'an unknown field': ('byol', dict(reslut='x'), 'unknown field reslut'),
    'an empty field': ('byol', dict(paper=''), 'paper is empty'),
    'a number that was typed': ('gpt', dict(result=1.454), 'result is empty or of the wrong kind'),
    'no words': ('byol', dict(what=''), 'what is missing'),
    'a method that is not there': (
        'wgan', dict(method='wgan_pg'), r'wgan_pg is not in ssljax/methods',
    ),
    'a method with two rows': ('dcgan', dict(method='gpt'), 'methods/gpt.py: 2 rows are its own'),
    'a method whose config trains another': (
        'gpt', dict(where='configs/mae.py'), 'methods/gpt.py: its row has no config that trains it',
    ),
}  # fmt: skip


@functools.cache
def told():
    """What is said of each fault; of copies of the table, each with many faults in other rows."""
    copies, found = [], {}
    for fault, (name, changes, _) in FAULTS.items():
        touched = {name, changes.get('method', name)}
        rows, faults = next((c for c in copies if not c[0] & touched), (set(), []))
        if not rows:
            copies.append((rows, faults))
        rows |= touched
        faults.append(fault)
    for _, faults in copies:
        table = copy.deepcopy(TABLE)
        for fault in faults:
            name, changes, _ = FAULTS[fault]
            (row,) = [row for _, found, row in coverage.rows(table) if found == name]
            row.update(changes)
        found |= dict.fromkeys(faults, coverage.mistakes(table))
    return found


@pytest.mark.parametrize('fault', FAULTS)
def test_a_mistake_in_the_table_is_one_line(fault):
    name, _, said = FAULTS[fault]
    found = [line for line in told()[fault] if line.startswith((f'{name}: ', 'methods/'))]
    assert [line for line in found if re.search(said, line)], found
    assert not any('\n' in line for line in found)


def test_two_rows_of_one_name_are_a_mistake(tmp_path, monkeypatch, capsys):
    table = copy.deepcopy(TABLE)
    table['Text']['simclr'] = dict(what='again')
    assert any('two rows of this name' in line for line in coverage.mistakes(table))
    twice = tmp_path / 'coverage.toml'  # in one family the file itself cannot be read
    twice.write_text("[Text]\ngpt = { what = 'a' }\ngpt = { what = 'b' }\n")
    monkeypatch.setattr(coverage, 'read_table', lambda: coverage.tomllib.loads(twice.read_text()))
    assert coverage.main(['--check']) == 1
    assert re.search(
        r'docs/coverage.toml: Cannot overwrite a value \(at line 3', capsys.readouterr().out
    )


def test_a_method_without_a_paper_is_a_mistake(tmp_path, monkeypatch):
    for path in coverage.METHODS.glob('*.py'):
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / 'gpt.py').write_text('"""GPT: each token from those before it."""\n')
    monkeypatch.setattr(coverage, 'METHODS', tmp_path)
    said = 'methods/gpt.py: its first lines have no title or no paper'
    assert said in coverage.mistakes(TABLE)


def test_a_stale_page_is_named_and_a_check_writes_nothing(tmp_path, monkeypatch, capsys):
    (tmp_path / 'docs').mkdir()
    monkeypatch.setattr(coverage, 'ROOT', tmp_path)
    monkeypatch.setattr(coverage, 'pages', lambda table: {'docs/a.md': 'A\n', 'docs/b.md': 'B\n'})
    monkeypatch.setattr(coverage, 'mistakes', lambda table: [])
    (tmp_path / 'docs/a.md').write_text('A\n')
    assert coverage.main(['--check']) == 1
    told = capsys.readouterr().out
    assert 'docs/b.md' in told and 'docs/a.md' not in told
    assert not (tmp_path / 'docs/b.md').exists()
    assert coverage.main([]) == 0 and coverage.main(['--check']) == 0
    assert (tmp_path / 'docs/b.md').read_text() == 'B\n'


def test_status_follows_from_what_is_there():
    assert coverage.status(dict(what='a')) == 'not yet'
    assert coverage.status(dict(where='x', missing='y')) == 'in part'
    assert coverage.status(dict(where='x')) == 'works'


def read(name):
    return json.loads((coverage.ROOT / 'results' / f'{name}.json').read_text())


def cells(page, name):
    """The cells of a row of a page."""
    (line,) = [line for line in page.splitlines() if re.match(rf'\| \[?`{name}`', line)]
    return [cell.strip() for cell in line.split('|')[1:-1]]


def test_numbers_are_those_of_results():
    """Read here by hand: an evaluator's, and one of a file of another form."""
    page = coverage.coverage(TABLE)
    scores = read('simclr-cifar10_small')['evals']['knn']['scores']
    mean = {who: fmean(scores[who]['accuracy']['values']) for who in scores}
    row = cells(page, 'simclr')
    assert f'**{mean["trained"]:.1f} ± ' in row[4] and '(3 seeds, ' in row[4]
    assert f'pixels {mean["pixels"]:.1f}, ' in row[5]
    assert f', untrained {mean["untrained"]:.1f} ± ' in row[5]
    assert '69.1 / 60.7' in row[6] and 'ImageNet' in row[7]
    tuned = [
        r['accuracy']
        for r in read('fine-tune')['rows']
        if (r['method'], r['labels'], r['switch']) == ('mae', 450, 'all')
    ]
    row = cells(page, 'mae_vs_scratch')
    assert f'**{fmean(tuned):.1f} ± ' in row[4] and f'({len(tuned)} seeds)' in row[4]
    assert row[7].startswith('missing: ')


def test_paths_into_results(monkeypatch):
    found = {
        'rows': [
            {'who': 'a', 'n': 1, 'score': 2.0, 'in': {'b': {'values': [1, 3], 'mean': 2}}},
            {'who': 'a', 'n': 2, 'score': 4.0, 'in': {}},
            {'who': 'c', 'n': 2, 'score': 8.0, 'in': {}},
        ]
    }
    monkeypatch.setattr(coverage, 'result', lambda name: found)
    assert coverage.values('x/rows/a/score') == [2.0, 4.0]
    assert coverage.values('x/rows/a/2/score') == [4.0]
    assert coverage.values('x/rows/a/1/in/b') == [1, 3]
    for path in ('x', 'x/rows', 'x/rows/z/score', 'x/rows/a/1/in', 'x/rows/a/who'):
        with pytest.raises((KeyError, TypeError)):
            coverage.values(path)


@pytest.mark.parametrize(
    'values, short',
    [
        ([59.04, 59.5, 58.6], '59.0 ± 0.5'),
        ([1.4541], '1.45'),
        ([0.19, 0.194, 0.186], '0.190 ± 0.004'),
        ([0.9999999], '1.00'),
        ([-1.12649], '-1.13'),
        ([448000.0], '448000'),
        ([0.0, 0.0], '0'),
    ],
)
def test_three_digits(values, short):
    assert coverage.spread(values) == short


def test_pages_have_every_row_and_every_method():
    page, methods = coverage.coverage(TABLE), coverage.methods_page(TABLE)
    for _, name, row in coverage.rows(TABLE):
        found = cells(page, name)
        assert len(found) == 8 and found[2] in coverage.STATUS
        assert bool(found[3]) == (found[2] != 'not yet')
        assert (found[7].find('missing: ') >= 0) == (found[2] == 'in part')
        assert row['what'] in found[1]
    for name in coverage.methods():
        found = cells(methods, name)
        assert re.search(r'\d{4}', found[2]) and found[3].startswith('`configs/') and found[4], name
    for method, (title, paper) in {
        'gpt': ('GPT: each token is predicted from those before it', 'Radford et al. 2018, 2019'),
        'mae': ('MAE: most patches are hidden', 'He et al. 2021, arXiv:2111.06377'),
    }.items():
        found = coverage.headline(method)
        assert found[0].startswith(title) and found[1] == paper


def test_readme_has_a_row_per_family():
    lines = coverage.families().splitlines()[2:]
    assert [line.split('|')[1].strip() for line in lines] == list(TABLE)
    for line in lines:
        *_, works, part, whole = (cell.strip() for cell in line.split('|')[1:-1])
        assert int(works) + int(part) <= int(whole)
    text = '\n'.join(lines)
    assert all(f'`{name}`' in text for name in coverage.methods())
