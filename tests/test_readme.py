"""Every command of the README runs, and its tables say what results/ says."""

import re
import shlex
import sys

import jobs
import numpy as np
import pytest

from benchmarks import tables
from ssljax import cli, compare, describe, evaluate, train

TEXT = (jobs.ROOT / 'README.md').read_text()
BLOCKS = re.findall(r'^```(\w*)\n(.*?)^```', TEXT, flags=re.S | re.M)
COMMANDS = [
    part.strip()
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    for part in line.split('&&')
]


def test_the_two_commands_are_there():
    install = 'pip install -r requirements.txt'
    assert COMMANDS.count(install) == 2
    assert 'python -m pytest' in COMMANDS
    assert (jobs.ROOT / 'requirements.txt').exists()


def test_every_command_runs(tmp_path, monkeypatch, capsys):
    """In order, in a fresh folder; the quick start with its smoke variant in place of minutes, and
    the Python goes on with its run."""
    monkeypatch.chdir(jobs.ROOT)
    ran = 0
    for command in COMMANDS:
        command = command.replace('runs/', f'{tmp_path}/')
        if '--workdir' in command and ':smoke' not in command and '--config' in command:
            command = command.replace('simclr.py', 'simclr.py:smoke')
            command += ' --config.evals.linear_probe=none'  # half of the time
        words = shlex.split(command)
        if words[:2] != ['python', '-m'] or words[2] == 'pytest':
            continue
        modules = {'train': train, 'evaluate': evaluate, 'compare': compare, 'describe': describe}
        main = modules[words[2].removeprefix('ssljax.')].main
        if '--help' in words:
            with pytest.raises(SystemExit):
                main(words[3:])
        else:
            assert cli.guarded(lambda main=main, words=words: main(words[3:])) == 0, command
        ran += 1
    assert ran >= 6
    out = capsys.readouterr().out
    assert 'knn accuracy' in out and 'perplexity' in out
    # what the quick start promises: a table, pictures, a checkpoint and what to type next
    for word in (
        'pixels',
        'standardized',
        'untrained',
        'trained',
        'pictures',
        'checkpoint',
        'next',
    ):
        assert word in out, word
    for name in ('run.json', 'metrics.jsonl', 'results.json', 'checkpoints', 'pictures', 'events'):
        assert (tmp_path / 'simclr' / name).exists(), name
    random = np.random.default_rng(0)
    names = {
        'images': np.zeros((3, 32, 32, 1), np.uint8),
        'z1': random.normal(size=(4, 8)).astype(np.float32),
        'z2': random.normal(size=(4, 8)).astype(np.float32),
    }
    blocks = [block for language, block in BLOCKS if language == 'python']
    assert len(blocks) == 2
    for block in blocks:
        block = block.replace("'simclr:smoke'", "'simclr:smoke', evals__linear_probe=None")
        block = block.replace("'runs/small'", f"workdir='{tmp_path}/simclr'", 1)
        exec(block.replace("'runs/small'", repr(f'{tmp_path}/simclr')), names)
    assert names['h'].shape[0] == 3 and np.isfinite(names['value'])
    assert names['model'].step == 4


def test_tables_are_generated(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['tables.py', '--check'])
    assert tables.main() == 0, capsys.readouterr().out
