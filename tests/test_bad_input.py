"""Values that mean nothing are refused where they are read; what cannot run, before it runs."""

import re

import fuzz
import jobs
import numpy as np
import pytest

import ssljax
from ssljax import cli, config, data, describe, evaluate, job, resolve, train, workdir
from ssljax.checkpoint import Checkpoints
from ssljax.names import Mistake, in_one_line

SMOKE = f'--config={jobs.ROOT}/configs/'


@pytest.mark.parametrize('method, option, text', fuzz.MEANINGLESS)
def test_a_value_that_means_nothing_is_refused_by_name(method, option, text):
    with pytest.raises(Mistake) as mistake:
        resolve.resolve(f'{jobs.ROOT}/configs/{method}.py:smoke', [(option, text)])
    line = str(mistake.value)
    own = line.replace(option, '')  # not because there is no such option
    assert option.rpartition('.')[0] in line and '\n' not in line, line
    if 'groups' not in option:
        assert 'has no option' not in own, line


@pytest.mark.parametrize(
    'option, text, value',
    [
        ('optim.net.b1', '0', 0.0),
        ('optim.net.clip', '0.5', 0.5),
        ('optim.net.clip', 'none', None),
        ('model.projector.dropout', '0.99', 0.99),
        ('model.projector.norm', 'none', None),
        ('model.projector.activation', 'none', 'none'),
        ('model.projector.kernel_init', '0.01', 0.01),
        ('model.projector.kernel_init', 'he', 'he'),
        ('model.encoder.dtype', 'bfloat16', 'bfloat16'),
        ('batch', '2', 2),
        ('seed', '4294967295', 2**32 - 1),
        ('evals.knn.bank', 'validation', 'validation'),
        ('evals.linear_probe.validation', 'none', 'none'),
    ],
)
def test_what_is_inside_of_a_range_is_taken(option, text, value):
    found = config.flat(resolve.resolve('simclr:smoke', [(option, text)]))[option]
    assert found == value and type(found) is type(value)


def test_a_number_may_be_one_of_a_choice_of_numbers():
    typed = [('data.name', 'folder'), ('data.channels', '1')]
    assert resolve.resolve('simclr:smoke', typed)['data']['channels'] == 1
    with pytest.raises(Mistake, match='channels=2 is unknown; offered: 0, 1, 3'):
        resolve.resolve('simclr:smoke', [*typed[:1], ('data.channels', '2')])


def test_describe_prints_what_a_value_may_be(capsys):
    assert (
        describe.main(['optim.sgd', 'nets.mlp', 'nets.translator', 'views.crop', 'evals.knn']) == 0
    )
    out = capsys.readouterr().out
    for line in (
        r'  momentum .* float from 0 below 1',
        r'  decayed .* str a regular expression',
        r'  dims .* tuple\[int from 1, ...\] of 1 or more',
        r'  norm .* batch | layer | instance | token | rms | none',
        r'  kernel .* int from 1 odd',
        r'  scale .* tuple\[float, float\] from 0.0001 to 1, in order',
        r'  queries .* train | validation | test other than train and validation and bank',
    ):
        assert re.search(f'^{line}', out, re.MULTILINE), line


def test_what_is_no_value_in_a_config_is_no_value():
    for text in ('...', 'b"x"', '{1, 2}', '3j'):
        with pytest.raises(Mistake, match='unknown view|names no view'):
            resolve.resolve('simclr:smoke', [('model.view', text)])
    for block in ('model', 'log', 'mesh', 'optim', 'evals'):
        with pytest.raises(Mistake, match=f'config.{block}=3 is no dict'):
            resolve.resolve('simclr:smoke', [(block, '3')])
    for graft, pattern in {
        '{"a": 3}': "has 'a': 3, which is not a word",
        '{1: "b"}': 'has 1',
    }.items():
        with pytest.raises(Mistake, match=f'config.graft=.* {pattern}'):
            resolve.resolve('simclr:smoke', [('graft', graft)])
    with pytest.raises(Mistake, match='config 3 is no dict'):
        resolve.resolve(3)
    with pytest.raises(Mistake, match="judge: unknown evaluator 'knm' .did you mean knn"):
        resolve.resolve('simclr:smoke', [('judge', 'knm.accuracy')])


# What is known only when a model is made, without a step -----------------------------------------


CANNOT = {
    'a group without params': (
        ['gpt', 'optim.decoder.groups', '{"a": {"name": "sgd", "learning_rate": 1, "match": "z"}}'],
        "group 'a' .*no params.*match='z'",
    ),
    'nothing to decay': (['gpt', 'optim.decoder.decayed', 'nowhere'], "decayed='nowhere'.*no path"),
    'a readout at temperature 0': (
        ['gpt', 'evals.samples.options', '{"temperature": 0}'],
        r'config.evals.samples.options.temperature=0 must be above 0',
    ),
    'an option that no readout has': (
        ['gpt', 'evals.samples.options', '{"temprature": 1}'],
        "readout 'sample' .*no option 'temprature' .did you mean temperature",
    ),
    'of the curve, too': (
        ['gpt', 'log.curve', '{"samples": {"options": {"prompt": 0}}}'],
        'config.log.curve.samples.options.prompt=0 must be at least 1',
    ),
    'a layer that is not': (
        ['rbm', 'evals.knn.layer', 'rbn'],
        'layer=rbn|unknown layer|needs the readout',
    ),
    'a net of another kind': (
        ['simclr', 'model.encoder', '{"name": "lstm"}'],
        r'a state cannot be made.*: \w+: .*SSLJAX_TRACEBACK=1',
    ),
    'nothing is hidden': (['mae', 'model.ratio', '0.001'], 'ratio=0.001 hides 0 of'),
    'a width that becomes zero': (['mae', 'model.encoder.expand', '1e-9'], 'a layer has 0 outputs'),
    'a graft from nowhere': (
        ['rbm', 'graft', '{"params/rbm": "~/nowhere:params/rbm"}'],
        "graft into 'params/rbm': no whole checkpoint in .*; train there first; .* first lines",
    ),
    'a bucket to graft from': (
        ['rbm', 'graft', '{"params/rbm": "gs://bucket/run:params/rbm"}'],
        'gs://bucket/run is not on a file system of this machine',
    ),
}


@pytest.mark.parametrize('name', CANNOT)
def test_what_cannot_run_is_one_line_of_a_dry_run(name, capsys, tmp_path):
    (method, option, text), pattern = CANNOT[name]
    line = [f'{SMOKE}{method}.py:smoke', f'--config.{option}={text}', f'--workdir={tmp_path}/run']
    code = cli.guarded(lambda: train.main([*line, '--dry_run']))
    err = capsys.readouterr().err
    assert code == 2 and re.search(pattern, err) and len(err.splitlines()) == 1, err
    assert not (tmp_path / 'run').exists()


def test_a_line_has_its_cause_and_its_place_and_a_traceback_if_asked(monkeypatch, capsys):
    def wrong():
        with in_one_line('it fails', __file__):
            raise ValueError('first\nsecond')

    assert cli.guarded(wrong) == 2
    place = r'\(.*tests/test_bad_input.py:\d+\); SSLJAX_TRACEBACK=1 shows more'
    assert re.fullmatch(f'error: it fails: ValueError: first {place}\n', capsys.readouterr().err)
    monkeypatch.setenv('SSLJAX_TRACEBACK', '1')
    with pytest.raises(Mistake) as mistake:
        cli.guarded(wrong)
    assert isinstance(mistake.value.__cause__, ValueError)


# Files and places --------------------------------------------------------------------------------


CONFIGS = {
    'it raises': ('raise KeyError("width")', r"KeyError: 'width' .*own.py:1\)"),
    'it raises later': ('def get_config(v):\n    return 1 / 0', 'ZeroDivisionError.*own.py:2'),
    'it is no Python': ('def get_config(v', 'SyntaxError'),
    'it imports what is not': ('import nowhere', "No module named 'nowhere'"),
    'it has no function': ('x = 3', 'no function get_config'),
    'its function takes nothing': ('def get_config():\n    return {}', 'TypeError'),
    'it returns nothing': ('def get_config(v):\n    pass', 'returns NoneType, not the fields'),
    'it returns a list': ('def get_config(v):\n    return [1]', 'returns tuple, not the fields'),
    'it names no method': ('def get_config(v):\n    return {}', 'unknown method'),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_config_file_that_is_wrong(name, tmp_path, monkeypatch):
    text, pattern = CONFIGS[name]
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/own.py').write_text(text)
    monkeypatch.chdir(tmp_path)  # also as one of the files that --help lists
    config.listing()
    with pytest.raises(Mistake, match=pattern):
        resolve.resolve('configs/own.py')


def test_a_config_that_is_no_file_of_ours(tmp_path, monkeypatch):
    (tmp_path / 'notes.txt').write_text('def get_config(v): return {}')
    for name, pattern in {
        '.': r'\. is a directory; no config file',
        str(tmp_path): 'is a directory; no config file; offered|is a directory',
        str(tmp_path / 'notes.txt'): 'does not end in .py',
        '~nobody-here/a.py': 'no such home',
        'gs://bucket/a.py': 'gs.* no|not on a file system',
        '': 'no config file|directory',
    }.items():
        with pytest.raises(Mistake, match=pattern):
            config.read(name)
    monkeypatch.setenv('HOME', str(tmp_path))
    (tmp_path / 'own.py').write_text('def get_config(v): return {"method": v}')
    assert config.read('~/own.py:rbm') == {'method': 'rbm'}


def test_home_and_buckets_in_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert cli.place('~/run') == tmp_path / 'run'
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/thesis.tex').write_text('')
    line = f'{SMOKE}gpt.py:smoke'
    assert cli.guarded(lambda: train.main([line, '--workdir=~/run'])) == 2
    assert f'workdir {tmp_path}/run holds files' in capsys.readouterr().err
    for where in ('gs://bucket/run', 's3://bucket/run', 'gs:/bucket/run'):
        for main, more in ((train.main, [line]), (evaluate.main, [])):
            assert cli.guarded(lambda: main([*more, f'--workdir={where}'])) == 2  # noqa: B023
            err = capsys.readouterr().err
            assert 'mount it' in err and len(err.splitlines()) == 1
        with pytest.raises(Mistake, match='mount it'):
            ssljax.load(where)
        with pytest.raises(Mistake, match='mount it'):
            ssljax.fit('gpt:smoke', where)
    for where, pattern in (('a' * 5000, 'cannot be made'), ('a\0b', 'zero byte')):
        with pytest.raises(Mistake, match=pattern):
            cli.writable(cli.place(where))


def test_a_command_line_that_is_wrong_is_one_line_too(capsys):
    for line in (
        [],
        ['--config'],
        [f'{SMOKE}gpt.py', '--dry_run=3'],
        [f'{SMOKE}gpt.py', '--config.'],
    ):
        assert cli.guarded(lambda: train.main(line)) == 2  # noqa: B023
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_damaged_data_is_one_line(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', x=np.arange(4000, dtype=np.uint8).reshape(40, 10, 10))
    whole = (tmp_path / 'a.npz').read_bytes()
    for count in (0, 10, 100, len(whole) // 2, len(whole) - 30):
        (tmp_path / 'b.npz').write_bytes(whole[:count])
        with pytest.raises(Mistake, match='b.npz cannot be read'):
            data.make(dict(name='arrays', path=str(tmp_path / 'b.npz')))
    for at in (60, len(whole) // 2):
        (tmp_path / 'b.npz').write_bytes(whole[:at] + b'\xff\0\xff' + whole[at + 3 :])
        with pytest.raises(Mistake, match='b.npz cannot be read'):
            data.make(dict(name='arrays', path=str(tmp_path / 'b.npz')))
    (tmp_path / 'broken/1.0.0').mkdir(parents=True)
    for text in ('', '{', '[]', '{"type": 3}'):
        (tmp_path / 'broken/1.0.0/features.json').write_text(text)
        with pytest.raises(Mistake, match="data 'tfds' cannot be read|tfds: "):
            data.make(dict(name='tfds', path='broken', dir=str(tmp_path)))
    (tmp_path / 'a.txt.gz').write_bytes(b'no gzip')
    with pytest.raises(Mistake, match="data 'text' cannot be read: BadGzipFile"):
        data.make(dict(name='text', path=str(tmp_path / 'a.txt.gz')))


def test_rows_that_no_readout_takes_are_one_line():
    model = jobs.job('simclr').model  # without a state: nothing is computed
    bytes_ = np.zeros((2, 32, 32, 1), np.uint8)
    for x, pattern in (
        (None, 'x is NoneType, and no array'),
        (True, 'x is bool, and no array'),
        (0, '0 rows are none'),
        (-3, '-3 rows are none'),
        ([[1], [1, 2]], 'rows of different shapes'),
        ('image.png', 'x is str'),
        (bytes_[:, :16], r'rows of shape \[16, 32, 1\]; this run was trained on \[32, 32, 1\]'),
        (bytes_[0], 'rows of shape'),
        (bytes_[:0], 'no rows'),
        (bytes_ + 300.0, 'from 300 to 300; this run was trained on uint8'),
        (bytes_ + np.nan, 'trained on uint8'),
        (bytes_ + 0.5, r'may be \[0, 1\] or \[-1, 1\]'),
        (bytes_.astype(object), 'x is object'),
        ({'x': bytes_, 'label': np.zeros(3)}, 'different numbers of rows.*x.: 2, .label.: 3'),
    ):
        with pytest.raises(Mistake, match=pattern):
            model.encode(x)
    with pytest.raises(Mistake, match="readout 'encode' has no option 'size'"):
        model.encode(bytes_, size=3)
    model = jobs.job('gpt').model
    with pytest.raises(Mistake, match='^temperature=0 must be above 0'):
        model.sample(3, temperature=0)


# Runs that are there -----------------------------------------------------------------------------


def test_a_run_with_a_value_that_is_refused_today_opens_with_a_warning(tmp_path, capsys):
    old = config.as_json(jobs.settings('rbm'))
    old['optim']['rbm'] |= {'clip': -1.0}
    old['model']['momentum'] = 1.5
    found = resolve.again(old)
    assert found['model']['momentum'] == 1.5 and found['optim']['rbm']['clip'] == -1.0
    err = capsys.readouterr().err
    assert re.search('WARNING: .*config.model.momentum=1.5 must be', err)
    assert len(err.splitlines()) == 2
    with pytest.raises(Mistake, match='clip=-1.0 must be'):  # and only then
        resolve.resolve(old)
    one = job.make({**config.plain(old), 'evals': {}})
    workdir.claim(one, tmp_path / 'run', ())
    store = Checkpoints(tmp_path / 'run')
    store.save(one.fresh(), one.config)
    store.close()
    assert ssljax.load(tmp_path / 'run').step == 0
    assert workdir.job_of(tmp_path / 'run').config['model']['momentum'] == 1.5


def test_too_few_rows_of_an_old_run_are_told(capsys):
    old = config.as_json(jobs.settings('simclr')) | {'batch': 1}
    assert resolve.again(old)['batch'] == 1
    assert 'config.batch=1 is too little' in capsys.readouterr().err


# Lines at random ---------------------------------------------------------------------------------


def test_lines_at_random_are_refused_in_one_line_or_run():
    """A few of tests/fuzz.py, which draws as many as one likes; results/fuzz.json has 500."""
    found = [
        (*fuzz.outcome(line, training=False), line)
        for line in fuzz.lines(7, 25, ('rbm', 'vae', 'classifier'))
    ]
    assert not [one for one in found if one[0] not in ('refused', 'accepted')]
    assert {'refused', 'accepted'} == {what for what, *_ in found}
