"""Benchmarks of speed: what got slower is told, tables say what the files say, and commands start
at once and without what their question does not need. No test asserts a time."""

import json
import subprocess
import sys

import jobs
import pytest

from benchmarks import check, rows, speed_tables

# they write pages or put losses under other names, and time nothing: what they do is an import
NO_TIMES = ('coverage.py', 'peer_tests.py', 'tables.py')


def row(work, ours=10.0, torch=None, **more):
    times = {'ours': [0.9 * ours, ours, 1.1 * ours]}
    if torch:
        times |= {'torch': [2 * torch] * 3, 'torch, compiled': [torch] * 3}
        more |= dict(ratio=ours / torch, ratio_range=[0.5, 1.5], beside='torch, compiled')
    return {'work': work, 'milliseconds': times, **more}


def folder(path, **files):
    path.mkdir(exist_ok=True)
    for name, content in files.items():
        (path / f'{name.replace("_", "-")}.json').write_text(json.dumps(content))
    return path


def file(*its_rows, peak=None, **head):
    measured = {} if peak is None else {'gigaflop_per_second': {'jax': peak, 'torch': 1.0}}
    return {'date': '2026-11-29', 'processor': 'a', **measured, **head, 'rows': [*its_rows]}


# ---- what got slower


def test_slower_by_more_than_a_fifth_is_told_and_the_code_is_1(tmp_path, capsys):
    old = folder(tmp_path / 'old', speed_steps=file(row('mae', 10, 10), row('gpt', 10, 10)))
    slow = folder(tmp_path / 'slow', speed_steps=file(row('mae', 11.9, 10), row('gpt', 12.1, 10)))
    assert check.main([f'--old={old}', f'--new={slow}']) == 1
    out = capsys.readouterr().out
    assert 'steps: mae: 1 -> 1.19 of the time of torch\n' in out
    assert 'steps: gpt: 1 -> 1.21 of the time of torch  SLOWER\n' in out
    assert '1 slower by more than 20%' in out
    assert check.main([f'--old={old}', f'--new={old}']) == 0


def test_a_slow_machine_is_no_slow_program(tmp_path):
    """Twice the milliseconds of both sides; or of a row of ours alone, and of the products."""
    old = folder(
        tmp_path / 'old', speed_steps=file(row('mae', 10, 9)), speed_start=file(row('a'), peak=100)
    )
    new = folder(
        tmp_path / 'new', speed_steps=file(row('mae', 20, 18)),
        speed_start=file(row('a', 20), peak=50),
    )  # fmt: skip
    assert check.main([f'--old={old}', f'--new={new}']) == 0
    folder(new, speed_start=file(row('a', 13), peak=100))
    assert check.main([f'--old={old}', f'--new={new}']) == 1
    assert check.main([f'--old={old}', f'--new={new}', '--only=steps']) == 0


@pytest.mark.parametrize(
    'now, told',
    [
        (file(row('mae', 99)), 'mae: not comparable (torch took no part this time)'),
        (file(row('gpt', 99)), 'mae: not measured again'),
        (file(row('mae', 9, 9), processor='b'), 'committed on a, now on b'),
    ],
)
def test_what_cannot_be_compared_is_said(now, told, tmp_path, capsys):
    old = folder(tmp_path / 'old', speed_steps=file(row('mae', 9, 9)))
    new = folder(tmp_path / 'new', speed_steps=now)
    assert check.main([f'--old={old}', f'--new={new}']) == 0
    assert told in capsys.readouterr().out


def test_without_new_results_the_commands_are_run(tmp_path, monkeypatch, capsys):
    old = folder(tmp_path / 'old', speed_steps=file(row('mae', 9, 9)), eval=file(row('knn', 9, 9)))
    ran = []

    def run(command, out):
        ran.append(command[0])
        if command[0] == 'eval.py':
            return False
        out.write_text(json.dumps(file(row('mae', 90, 9))))
        return True

    monkeypatch.setattr(check, 'run', run)
    assert check.main([f'--old={old}']) == 1
    assert ran == ['steps.py', 'eval.py']  # and no other: nothing of these is committed
    out = capsys.readouterr().out
    assert 'eval: the command failed' in out and 'mae: 1 -> 10' in out
    with pytest.raises(SystemExit):
        check.main([f'--old={old}', '--only=step'])


def test_new_results_are_kept_under_their_names_and_may_renew_the_committed(
    tmp_path, monkeypatch, capsys
):
    old = folder(tmp_path / 'old', speed_steps=file(row('mae', 9, 9), row('gpt', 9, 9)))

    def run(command, out):
        rows.keep(out, {'date': '2026-11-30'}, [row('mae', 12, 9)])
        return True

    monkeypatch.setattr(check, 'run', run)
    kept, told = tmp_path / 'new' / 'ones', []
    for options in (f'--out={kept}',), (f'--new={kept}',), (f'--out={old}',):
        assert check.main([f'--old={old}', *options]) == 1
        told.append(capsys.readouterr().out.splitlines()[-3:])
    assert told[0] == told[1] == told[2]
    assert 'steps: mae: 1 -> 1.33 of the time of torch  SLOWER' in told[0]
    assert 'steps: gpt: not measured again' in told[0]
    found = rows.read(old / 'speed-steps.json')['rows']
    assert [r['date'] for r in found if 'date' in r] == ['2026-11-30'] and len(found) == 2
    with pytest.raises(SystemExit):
        check.main([f'--old={old}', f'--new={old}', f'--out={old}'])


def test_a_failing_command_alone_is_code_1(tmp_path, monkeypatch):
    old = folder(tmp_path / 'old', eval=file(row('knn', 9, 9)))
    monkeypatch.setattr(check, 'run', lambda command, out: False)
    assert check.main([f'--old={old}']) == 1


# ---- files of results


def test_rows_are_merged_and_keep_their_places(tmp_path):
    path = tmp_path / 'a.json'
    rows.keep(path, {'date': '1'}, [row('a', 1), row('b', 1)])
    rows.keep(path, {'date': '2'}, [row('c', 2), row('a', 2)])
    found = json.loads(path.read_text())
    assert found['date'] == '2'
    assert [(r['work'], r['date']) for r in found['rows']] == [('a', '2'), ('b', '1'), ('c', '2')]
    assert [r['milliseconds']['ours'][1] for r in found['rows']] == [2, 1, 2]


def test_files_of_one_row_a_form_are_read_as_the_others(tmp_path):
    forms = [('dense', 0.2), ('torch', 0.5), ('lightly', 0.4), ('block 512', 0.1)]
    losses = [{'loss': 'nt_xent', 'n': 4, 'form': f, 'seconds': s} for f, s in forms]
    losses[0]['ratio_range'], losses[-1]['milliseconds'] = [0.2, 0.3], [90, 100, 110]
    losses.append({'loss': 'clip', 'n': 4, 'form': 'block 512', 'seconds': 0.3})
    probe = [{'task': 'linear_probe', 'form': f, 'seconds': s} for f, s in (('ours', 2), ('b', 1))]
    folder(tmp_path, losses={'losses': losses}, eval={'rows': probe})
    first, second = rows.read(tmp_path / 'losses.json')['rows']
    assert (first['work'], first['beside']) == ('nt_xent, N = 4', 'lightly')
    assert first['ratio'] == pytest.approx(0.25) and 'ratio' not in second
    assert first['milliseconds']['block 512'] == [90, 100, 110] and first['ratio_range'] == [
        0.2,
        0.3,
    ]
    assert first['milliseconds']['torch'] == [500, 500, 500]
    (one,) = rows.read(tmp_path / 'eval.json')['rows']
    assert one['work'] == 'linear probe' and one['milliseconds']['ours'] == [2000] * 3
    assert 'ratio' not in one  # scikit-learn is not PyTorch
    # a row that knows its noise keeps it
    for one in losses:
        one |= {'milliseconds': [1.0, 1e3 * one['seconds'], 900.0], 'ratio_range': [0.2, 0.3]}
    folder(tmp_path, losses={'losses': losses})
    first, second = rows.read(tmp_path / 'losses.json')['rows']
    assert first['milliseconds']['block 512'] == pytest.approx([1, 100, 900])
    assert first['ratio_range'] == [0.2, 0.3] and 'ratio_range' not in second
    rates = {'ours': 50.0, 'torch': 40.0}
    spans = {'ours': [40.0, 80.0], 'torch': [40.0, 40.0]}
    found = {'batch': 8, 'dtype': 'bfloat16', 'examples_per_second': rates, 'range': spans}
    folder(tmp_path, step_torch=found)
    (one,) = rows.read(tmp_path / 'step-torch.json')['rows']
    assert one['milliseconds']['ours'] == pytest.approx([100, 160, 200])
    assert one['ratio'] == pytest.approx(0.8)


# ---- tables


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith('| ')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_the_short_table(tmp_path, monkeypatch):
    views = row('two views, 32 px', 10, 8)
    views['milliseconds']['PIL, 1 core'] = [90, 95, 99]
    folder(
        tmp_path / 'results',
        speed_steps=file(row('gpt', 11, 10), row('mae', 11, 10), cores=2, versions={'jax': '1'}),
        speed_augment=file(views),
        speed_start=file(row('first step, cached', 3456), row('train --help', 1600), peak=150),
    )
    monkeypatch.setattr(speed_tables, 'ROOT', tmp_path)
    head, *lines = cells(speed_tables.summary())
    found = {line[0]: line[1:] for line in lines}
    assert head == ['work', 'ours / torch', 'range', 'target']
    assert len(lines) == len(speed_tables.TARGETS) + 2 == len(found)
    assert found['a step waits for data in memory, or of TFDS: the most'] == [
        'not yet measured',
        '',
        '≤ 2 %',
    ]
    assert found['GPT, 4 x 128'] == ['**1.10**', '0.50-1.50', '≤ 1.15']
    assert found['MAE, small'] == ['1.10', '0.50-1.50', '≤ 1.0']  # which is not reached
    assert found['the same beside PIL'] == ['**9.5 times as fast**', '', '≥ 8 times as fast']
    assert found['`train --help`'] == ['1.6 s', '1.44-1.76', '≤ 1 s']
    assert found['second start, to its first step'] == ['**3.5 s**', '3.11-3.80', '≤ 10 s']
    assert found['VAE'] == found['k-NN, bank of 50,000 x 512, k = 200'][:2] + ['≤ 0.9']
    assert found['VAE'][0] == 'not yet measured'
    below = (
        '2026-11-29; a, 2 cores; jax 1; jax 150 to 150 GFLOP/s in products; torch 1 to 1 GFLOP/s'
    )
    assert speed_tables.summary().splitlines()[-1] == f'{below} in products.'


def test_all_rows(tmp_path, monkeypatch):
    folder(tmp_path / 'results', speed_steps=file(row('mae', 10, 8), row('alone', 5.0)))
    monkeypatch.setattr(speed_tables, 'ROOT', tmp_path)
    table = speed_tables.all_rows(['speed-steps', 'speed-input'])
    _, mae, alone = cells(table)
    assert mae[2:] == ['1.25 (ours / torch, compiled)', '0.50-1.50'] and alone[2:] == ['', '']
    assert mae[1].split('; ') == ['ours 10 (9 to 11)', 'torch 16', 'torch, compiled 8']
    assert '`results/speed-input.json`: not yet measured' in table
    assert speed_tables.gpu() == '`results/speed-steps-h100.json`: not yet measured'
    folder(tmp_path / 'results', simclr_h100={'evals': {}})  # times nothing
    folder(tmp_path / 'results', speed_scale_h100=file(row('batch 16', 2)))
    assert 'batch 16' in speed_tables.gpu()


def test_routes_of_data_beside_their_steps(tmp_path, monkeypatch):
    def fed(work, times, waits):
        more = {speed_tables.NEED: times, speed_tables.WAIT: waits}
        return row(work, config='configs/a.py', **more)

    # the step of a folder may wait, since its rows are decoded on the same cores
    rows = fed('folder', 1.9, 0.3), fed('arrays', 5, 0.02), fed('tfds cifar10', 5, 0.001), row('c')
    folder(tmp_path / 'results', speed_input=file(*rows))
    monkeypatch.setattr(speed_tables, 'ROOT', tmp_path)
    least, most = cells(speed_tables.summary())[-2:]
    assert least[1:] == ['1.9 times (folder)', '', '≥ 2 times']
    assert most[1:] == ['**2.0%** (arrays)', '', '≤ 2 %']
    told = speed_tables.all_rows(['speed-input'])
    assert 'ours 10 (9 to 11); 1.9 times what `configs/a.py` takes, which waits 30.0% |' in told


# ---- commands

HELP = """
import contextlib, importlib.machinery, io, runpy, sys
BLOCKED = {
    'jax', 'jaxlib', 'flax', 'optax', 'orbax', 'torch', 'tensorflow', 'tensorflow_datasets',
    'ml_collections', 'sklearn', 'matplotlib',
}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in BLOCKED:
            raise ModuleNotFoundError(f'{name} is imported', name=name)
sys.meta_path.insert(0, Blocked())
for path in sys.argv[1:]:
    sys.argv, out = [path, '--help'], io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            runpy.run_path(path, run_name='__main__')
    except SystemExit as end:
        assert not end.code, path
    except ModuleNotFoundError as error:
        raise SystemExit(f'{path} --help: {error}')
    name = '/'.join(path.split('/')[-2:])
    assert out.getvalue().startswith(f'usage: python {name} '), (path, out.getvalue()[:80])
"""


def commands():
    files = sorted((jobs.ROOT / 'benchmarks').glob('*.py'))
    return [path for path in files if "__name__ == '__main__'" in path.read_text()]


def test_help_of_every_command_imports_nothing_heavy():
    paths = [str(path) for path in commands() if path.name not in NO_TIMES]
    out = subprocess.run(
        [sys.executable, '-c', HELP, *paths], capture_output=True, text=True, cwd=jobs.ROOT
    )
    assert out.returncode == 0, out.stderr[-500:]


def test_the_page_lists_every_command_and_the_result_of_each_that_is_checked():
    text = (jobs.ROOT / 'docs/speed.md').read_text()
    assert not [path.name for path in commands() if f'benchmarks/{path.name}' not in text]
    for name, (script, *_) in check.COMMANDS.items():
        assert f'`python benchmarks/{script}`' in text and f'`results/{name}.json`' in text


LIGHT = """
import sys
for name in ('tensorflow', 'tensorflow_datasets', 'ml_collections'):
    sys.modules[name] = None  # as if it were not installed
sys.path[:0] = ['benchmarks']
import scale
for axis, value in (('batch', 16), ('depth', 1)):
    (job,) = scale.made(axis, [value]).values()
    assert value in (job.run.batch, job.config['model'].get('decoder', {}).get('depth'))
"""


@pytest.mark.slow
def test_steps_are_built_where_tensorflow_and_ml_collections_are_not_installed():
    out = subprocess.run(
        [sys.executable, '-c', LIGHT], capture_output=True, text=True, cwd=jobs.ROOT
    )
    assert out.returncode == 0, out.stderr[-800:]
