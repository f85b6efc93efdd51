"""Bad input is one line that says what to type, exit code 2, and nothing is written."""

import json
import re
import subprocess
import sys

import jobs
import pytest

from ssljax import cli, config, describe, evaluate, job, resolve, train
from ssljax.losses import adversarial, contrastive
from ssljax.names import Mistake

CONFIG = f'--config={jobs.ROOT}/configs/'

MISTAKES = {
    'unknown config file': (['simcrl.py'], 'no config file .*did you mean .*simclr.py'),
    'a file that is no config': (['bas.py'], r'offered: .*/classifier\.py,'),
    'unknown variant': (['simclr.py:smok'], "unknown variant 'smok'.*did you mean smoke.*cifar10"),
    'unknown key': (['simclr.py:smoke', 'stesp=3'], "'stesp'.*did you mean steps"),
    'unknown nested key': (
        ['simclr.py:smoke', 'optim.net.learning_rte=1'],
        'learning_rte.*(did you mean optim.net.learning_rate|learning_rate)',
    ),
    'key at the wrong level': (
        ['simclr.py:smoke', 'temperature=1'],
        'temperature.*did you mean .*temperature',
    ),
    'a float for an int': (['simclr.py:smoke', 'steps=1.5'], 'steps.*1.5.*integer'),
    'a word for a float': (
        ['simclr.py:smoke', 'model.temperature=hot'],
        'temperature.*hot.*number',
    ),
    'unknown method': (
        ['simclr.py:smoke', 'method=simcrl'],
        "method 'simcrl'.*did you mean simclr",
    ),
    'unknown keyword of a method': (
        ['simclr.py:smoke', 'model.temprature=1'],
        'mean .*temperature',
    ),
    'unknown net': (
        ['simclr.py:smoke', 'model.encoder.name=resnet19'],
        'config.model.encoder: unknown net .*did you mean resnet18',
    ),
    'unknown option of a net': (
        ['simclr.py:smoke', 'model.encoder.widhts=8'],
        'no option .widhts.*did you mean widths',
    ),
    'unknown view': (['simclr.py:smoke', 'model.view.name=simcrl'], 'did you mean simclr'),
    'unknown optimizer': (['simclr.py:smoke', 'optim.net.name=adamv'], 'did you mean adam'),
    'unknown data': (['simclr.py:smoke', 'data.name=glyps'], 'did you mean glyphs'),
    'unknown evaluator': (['simclr.py:smoke', 'evals={"kn": {}}'], "evaluator 'kn'.*knn"),
    'batch over accumulate': (['simclr.py:smoke', 'accumulate=3'], 'nearest that do: 15 and 18'),
    'batch over devices': (['simclr.py:smoke', 'batch=12'], 'nearest that are: 8 and 16'),
    'chunk over batch': (['simclr.py:smoke', 'model.chunk=5'], 'chunk=5 does not divide batch=16'),
    'unknown statistics': (['classifier.py:smoke', 'model.statistics=bach'], 'did you mean batch'),
    'a word for a block': (
        ['simclr.py:smoke', 'model.block=big'],
        r"block='big' is not an integer, is not none",
    ),
    'no block at all': (['simclr.py:smoke', 'model.block=0'], 'block=0 must be at least 1'),
    'optimizer of a turn that is not': (
        ['simclr.py:smoke', 'optim={"nett": {"name": "sgd", "learning_rate": 1.0}}'],
        "turn .*'nett'.*did you mean net",
    ),
    'no optimizer for a turn': (['simclr.py:smoke', 'optim={}'], "'net' has no optimizer"),
    'evaluator without its readout': (
        ['wgan_gp.py:smoke', 'evals={"knn": {}}'],
        'knn needs the readout encode.*sample',
    ),
    'data set that is absent': (
        ['simclr.py:smoke', 'data={"name": "tfds:no_such_set"}'],
        'no_such_set',
    ),
    'zero steps': (['simclr.py:smoke', 'steps=0'], 'steps=0 must be at least 1'),
    'batch over rows': (['simclr.py:smoke', 'batch=128'], 'batch 128 is more than the 64 training'),
    'no labels': (
        ['classifier.py:smoke', "data={'name': 'python_text'}"],
        'classifier needs labels',
    ),
    'zero batch': (['simclr.py:smoke', 'batch=0'], 'batch=0 must be at least 1'),
    'negative duration': (['simclr.py:smoke', 'optim.net.warmup=-1'], 'warmup=-1'),
    'negative checkpoint interval': (['simclr.py:smoke', 'checkpoint.every=-5'], 'every=-5'),
    'warm-up longer than the run': (['simclr.py:smoke', 'optim.net.warmup=99'], 'warmup=99'),
    'mesh that does not cover': (['simclr.py:smoke', 'mesh.data=3'], 'mesh data=3.*8 devices'),
    'graft that is not': (['simclr.py:smoke', 'graft={"params/encoder": "x"}'], 'graft'),
}


def attempt(capsys, main, *argv):
    code = cli.guarded(lambda: main(list(argv)))
    return code, capsys.readouterr().err


def test_a_field_without_its_prefix_is_pointed_to(capsys):
    for typed, meant in (('batch=3', 'batch'), ('model.temperature=1', 'model.temperature')):
        code, err = attempt(capsys, train.main, f'{CONFIG}simclr.py:smoke', f'--{typed}')
        assert code == 2 and f'(did you mean --config.{meant}?)' in err
    _, err = attempt(capsys, train.main, f'{CONFIG}simclr.py:smoke', '--workdr=x')
    assert '(did you mean --workdir?)' in err


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, capsys, tmp_path):
    (file, *changes), pattern = MISTAKES[name]
    flags = [f'--config.{change}' for change in changes]
    workdir = tmp_path / 'run'
    code, err = attempt(capsys, train.main, CONFIG + file, f'--workdir={workdir}', *flags)
    lines = err.strip().splitlines()
    assert code == 2, err
    assert len(lines) == 1 and lines[0].startswith('error: '), err
    assert re.search(pattern, lines[0]), lines[0]
    if name != 'graft that is not':
        assert not workdir.exists()


def test_workdir_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / 'file').write_text('')
    code, err = attempt(
        capsys, train.main, CONFIG + 'gpt.py:smoke', f'--workdir={tmp_path}/file/run'
    )
    assert code == 2 and 'cannot be made' in err


def test_a_missing_workdir_and_an_unknown_flag(capsys):
    assert attempt(capsys, train.main, CONFIG + 'gpt.py:smoke')[0] == 2
    code, err = attempt(capsys, train.main, CONFIG + 'gpt.py:smoke', '--workdri=x')
    assert code == 2 and '--workdir' in err


def test_workdir_of_another_config(capsys, tmp_path):
    found = jobs.settings('gpt')
    (tmp_path / 'run.json').write_text(json.dumps({'config': config.as_json(found), 'data': {}}))
    arguments = (CONFIG + 'gpt.py:smoke', f'--workdir={tmp_path}')
    code, err = attempt(capsys, train.main, *arguments, '--config.batch=16', '--config.seed=1')
    assert code == 2 and 'batch: 8 -> 16' in err and 'seed: 0 -> 1' in err
    code, err = attempt(capsys, train.main, *arguments, '--config.steps=8')
    assert code == 2 and 'steps: 4 -> 8' in err and 'schedule' in err


def test_what_may_change_between_runs():
    old = jobs.settings('gpt')
    changes = {'log.every': 1, 'checkpoint.every': 2, 'mesh.fsdp': 2, 'evals': {}}
    assert config.differences(old, jobs.settings('gpt', **changes)) == []
    assert config.differences(old, jobs.settings('gpt', accumulate=2)) == ['accumulate: 1 -> 2']


def test_a_foreign_folder_is_not_a_workdir(capsys, tmp_path):
    (tmp_path / 'thesis.tex').write_text('')
    code, err = attempt(capsys, train.main, CONFIG + 'gpt.py:smoke', f'--workdir={tmp_path}')
    assert code == 2 and 'run.json' in err
    code, err = attempt(capsys, evaluate.main, f'--workdir={tmp_path}')
    assert code == 2 and 'not a workdir' in err


def test_numbers_as_they_are_written():
    found = jobs.settings('simclr', steps='1e3', model__temperature='1', **{'log.every': '5'})
    assert found['steps'] == 1000 and isinstance(found['steps'], int)
    assert found['model']['temperature'] == 1.0
    assert jobs.settings('simclr', **{'log.tensorboard': 'false'})['log']['tensorboard'] is False
    with pytest.raises(Mistake):
        jobs.settings('simclr', **{'log.tensorboard': '3'})
    wide = jobs.settings('simclr', **{'model.encoder.widths': '(4, 8)'})
    assert wide['model']['encoder']['widths'] == (4, 8)


def test_a_changed_name_drops_the_options_that_the_new_one_lacks():
    found = jobs.settings('simclr', **{'optim.net.name': 'sgd', 'model.encoder.name': 'resnet18'})
    assert found['optim']['net']['momentum'] == 0.9 and 'b1' not in found['optim']['net']
    assert found['optim']['net']['learning_rate'] == 4e-3
    assert found['model']['encoder'] == {'name': 'resnet18'}


def test_help_imports_no_jax_and_lists_the_configs():
    code = (
        'import sys; from ssljax import train\n'
        "try: train.main(['--help'])\n"
        "except SystemExit: print('jax' in sys.modules, 'numpy' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=jobs.ROOT
    )
    assert out.stdout.strip().endswith('False False'), out.stdout + out.stderr
    for path in (jobs.ROOT / 'configs').glob('*.py'):
        assert (f'configs/{path.name}' in out.stdout) == (path.stem != 'base')
    assert '[:learn|smoke|' in out.stdout
    assert out.stdout.startswith('usage: python -m ssljax.train ')


def test_the_program_of_checkpoints_imports_no_jax(tmp_path):
    (tmp_path / 'checkpoints').mkdir()
    code = (
        'import sys; from ssljax import checkpoint\n'
        f'checkpoint.main(["verify", {str(tmp_path)!r}])\n'
        f'checkpoint.main(["prune", {str(tmp_path)!r}, "--keep=1"])\n'
        "try: checkpoint.main(['--help'])\n"
        "except SystemExit: print(sorted({'jax', 'numpy', 'orbax'} & {*sys.modules}))"
    )
    out = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=jobs.ROOT
    )
    assert out.stdout.strip().endswith('[]'), out.stdout + out.stderr
    assert 'verify|list|prune WORKDIR [--keep=N]' in out.stdout


def test_dry_run_says_what_would_be_and_writes_nothing(capsys, tmp_path):
    flags = [CONFIG + 'wgan_gp.py:smoke', f'--workdir={tmp_path}/run', '--dry_run']
    assert train.main(flags) == 0
    out = capsys.readouterr().out
    for word in (
        '"penalty": 10.0',
        'generator',
        'critic',
        'bytes',
        'rows',
        'acts 3 times',
        'samples',
    ):
        assert word in out, word
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('flags', [['--dry_run'], []])
def test_a_wrong_loss_fails_before_the_first_step_also_of_a_turn_that_acts_later(
    flags, monkeypatch, tmp_path
):
    def wrong(f_fake):
        raise ValueError('a wrong loss')

    monkeypatch.setattr(adversarial, 'wasserstein_generator', wrong)
    flags = [CONFIG + 'wgan_gp.py:smoke', f'--workdir={tmp_path}/run', *flags]
    assert not jobs.job('wgan_gp').acting(0).count('generator')
    with pytest.raises(Mistake, match='the step of critic and generator .*a wrong loss') as told:
        train.main(flags)
    assert isinstance(told.value.__cause__, ValueError)  # whose traceback says where
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('devices', [1, 8])
def test_what_was_traced_at_the_start_is_not_traced_by_the_first_step(devices, monkeypatch):
    calls, loss = [], contrastive.nt_xent

    def counted(*args, **options):
        calls.append(args)
        return loss(*args, **options)

    monkeypatch.setattr(contrastive, 'nt_xent', counted)
    small = {'model.encoder.widths': '(4,)', 'model.view.name': 'identity'}
    one = job.checked(jobs.job('simclr', devices=devices, **small))
    assert len(calls) == 1
    jobs.run(one, 2)
    assert len(calls) == 1


@pytest.mark.parametrize('group', describe.GROUPS)
def test_describe_names_every_option_with_its_default(group, capsys):
    functions = describe.functions(group)
    assert describe.main([group]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(functions)
    for name, function in functions.items():
        assert describe.main([f'{group}.{name}']) == 0
        out = capsys.readouterr().out
        assert out.startswith(f'{group}.{name}\n') and len(out.splitlines()[1]) > 10
        for option, field in resolve.fields(function).items():
            default = '' if field.default is field.empty else f'= {field.default!r}'
            assert re.search(rf'^  {option} +{re.escape(default)}  ', out, re.M), (name, option)


def test_describe_says_kinds_and_comments(capsys):
    assert describe.main(['methods.dino', 'nets.vit_tiny', 'evals.knn']) == 0
    out = capsys.readouterr().out
    for line in (
        "  encoder +.*'vit_small'.*  net spec",
        r'  teacher_temperature +.*  tuple\[float above 0, float above 0\]',
        '  momentum +.*  float from 0 to 1 +# of the teacher; rises to 1',
        '  width +.*= 192 ',  # as the partial has it
        'width: of the tokens.',
        '  bank_size +.*int from 1 | none',
    ):
        assert re.search(f'^{line}', out, re.MULTILINE), line


@pytest.mark.parametrize(
    'name, pattern',
    [
        ('net', 'unknown group .net. .did you mean nets'),
        ('nets.cnov', 'unknown name in nets .cnov. .did you mean conv'),
    ],
)
def test_describe_offers_what_there_is(name, pattern, capsys):
    code, err = attempt(capsys, describe.main, name)
    assert code == 2 and re.search(pattern, err), err


def test_describe_needs_no_tensorflow():
    code = (
        'import sys; from ssljax import describe\n'
        'describe.main([*describe.GROUPS, "data.tfds"])\n'
        "print('tensorflow' in sys.modules, 'sklearn' in sys.modules)"
    )
    command = [sys.executable, '-c', code]
    out = subprocess.run(command, capture_output=True, text=True, cwd=jobs.ROOT)
    assert out.stdout.endswith('False False\n'), out.stdout[-99:] + out.stderr
