"""Folders of checkpoints, no arrays in them: manifests, retention, the program that lists them."""

import errno
import fcntl
import json
import os
import re
import shutil

import pytest

from ssljax import checkpoint, cli, lock, sealed
from ssljax.checkpoint import Checkpoints
from ssljax.sealed import broken


def state_of(path):
    """All that is in a folder, with times: whoever writes or moves changes it."""
    found = [path, *sorted(path.rglob('*'))]
    return {str(p): (p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in found}


def lose(step):
    (step / 'state/a').unlink()


def made(root, *steps):
    """Small sealed folders, without arrays."""
    for step in steps:
        (root / str(step) / 'state').mkdir(parents=True)
        for name in ('metadata', 'state/a', 'state/b'):
            (root / str(step) / name).write_text(f'{name} of {step}')
        sealed.seal(root / str(step), step)
        assert not broken(root / str(step))
    return root


ENTRY = '{"bytes": 1, "sha256": "0"}'
NO_MANIFESTS = [
    '', '{}', '[]', 'null', '7', '"files"', '{"files": {}}', '{"step": 8}', '[' * 100_000,
    '{"step": 8, "files": {}}', '{"step": 8, "files": []}', '{"step": 8, "files": null}',
    '{"step": 8, "files": {"metadata": null, "state/a": null, "state/b": null}}',
    f'{{"step": 8, "files": {{"metadata": {ENTRY}, "state/a": {ENTRY}, "state/b": {ENTRY}}}}}',
    f'{{"metadata": {ENTRY}, "state/a": {ENTRY}, "state/b": 8}}',
]  # fmt: skip


@pytest.mark.parametrize('text', NO_MANIFESTS, ids=range(len(NO_MANIFESTS)))
def test_what_is_no_manifest_is_not_trusted(tmp_path, text):
    folder = made(tmp_path, 8) / '8'
    (folder / 'manifest.json').write_text(text)
    assert broken(folder)


@pytest.mark.parametrize(
    'change',
    [
        lambda found: found.update(step='8'),
        lambda found: found.update(more=1),
        lambda found: found.update(step=True),
        lambda found: found['files'].update({'../8/metadata': found['files']['metadata']}),
        lambda found: found['files'].pop('metadata'),
        lambda found: found['files']['metadata'].pop('bytes'),
        lambda found: found['files']['metadata'].update(sha256='0' * 64),
        lambda found: found['files']['metadata'].update(bytes='13'),
    ],
)
def test_a_manifest_has_its_fields_and_no_others(tmp_path, change):
    folder = made(tmp_path, 8) / '8'
    found = json.loads((folder / 'manifest.json').read_text())
    change(found)
    (folder / 'manifest.json').write_text(json.dumps(found))
    assert broken(folder)


def test_no_flipped_bit_of_a_manifest_passes(tmp_path):
    folder = made(tmp_path, 8) / '8'
    path = folder / 'manifest.json'
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            assert broken(folder), (place, bit)
    path.write_bytes(whole)
    assert not broken(folder)


def test_a_folder_that_goes_while_it_is_listed_is_said(tmp_path, monkeypatch):
    folder = made(tmp_path, 8) / '8'

    def files(_):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(sealed, 'files', files)
    assert 'cannot be listed' in broken(folder)


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    folder = made(tmp_path, 8) / '8'

    def digest(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(sealed, 'digest', digest)
    assert 'metadata cannot be read (Input/output error)' in broken(folder)


def test_a_deletion_that_is_killed_leaves_nothing_that_has_a_number(tmp_path, monkeypatch):
    root = made(tmp_path / 'checkpoints', 1, 2)
    monkeypatch.setattr(shutil, 'rmtree', lambda *_, **__: None)
    sealed.drop(root / '1')
    monkeypatch.undo()
    assert [p.name for p in sealed.numbered(root)] == ['2']
    sealed.sweep(root)
    assert [p.name for p in root.iterdir()] == ['2']


@pytest.mark.parametrize(
    'keep, every, stay', [(1, 0, [9]), (2, 0, [8, 9]), (2, 4, [4, 8, 9]), (20, 0, range(1, 10))]
)
def test_which_are_kept(keep, every, stay):
    gone = sealed.surplus([9, *range(1, 9)], keep, every)
    assert sorted({*range(1, 10)} - {*gone}) == list(stay)


def test_what_is_no_want_of_room():
    assert not sealed.full(OSError(errno.EIO, os.strerror(errno.EIO)))
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        inner = OSError(number, os.strerror(number))
        outer = RuntimeError('failed to write')
        outer.__cause__ = inner
        assert sealed.full(outer) == os.strerror(number)


def test_one_that_is_read_stays_and_goes_afterwards(tmp_path):
    root = made(tmp_path, 1)
    with (
        sealed.claimed(root / '1', fcntl.LOCK_SH),
        sealed.claimed(root / '1', fcntl.LOCK_SH) as too,
    ):
        assert too
        sealed.drop(root / '1')
        assert not broken(root / '1')
    sealed.drop(root / '1')
    assert not list(root.iterdir())


def test_one_that_has_lost_its_manifest_goes_too(tmp_path):
    root = made(tmp_path, 1)
    (root / '1/manifest.json').unlink()
    sealed.drop(root / '1')
    assert not list(root.iterdir())


def test_without_locks_it_goes(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    root = made(tmp_path, 1)
    monkeypatch.setattr(sealed.fcntl, 'flock', flock)
    with sealed.claimed(root / '1', fcntl.LOCK_SH):
        sealed.drop(root / '1')
    assert not list(root.iterdir())


def program(capsys, *argv):
    code = cli.guarded(lambda: checkpoint.main([str(word) for word in argv]))
    return code, capsys.readouterr()


def test_verify_and_list(tmp_path, capsys):
    root = made(tmp_path / 'checkpoints', 4, 8)
    code, told = program(capsys, 'verify', tmp_path)
    assert code == 0 and told.out.count('whole') == 2
    lose(root / '8')
    (root / '9.unsealed').mkdir()
    before = state_of(tmp_path)
    code, told = program(capsys, 'verify', tmp_path)
    eight, four, nine = told.out.splitlines()
    assert code == 1 and four.split() == ['4', '0.000', 'MB', 'whole']
    assert 'is missing' in eight and '9.unsealed: not finished' in nine
    assert program(capsys, 'list', tmp_path) == (0, told)
    assert state_of(tmp_path) == before


def test_prune_keeps_the_newest_whole_ones_and_what_is_damaged(tmp_path, capsys):
    root = made(tmp_path / 'checkpoints', 1, 2, 3, 4, 5)
    lose(root / '5')
    lose(root / '2')
    code, told = program(capsys, 'prune', tmp_path, '--keep=2')
    assert code == 0 and Checkpoints(tmp_path).steps() == [5, 4, 3, 2]
    words = [line.split()[1] for line in told.out.splitlines()]
    assert words == ['kept', 'kept', 'kept', 'kept', 'deleted']
    assert program(capsys, 'prune', tmp_path, '--keep=1')[0] == 0
    assert not broken(root / '4') and Checkpoints(tmp_path).steps() == [5, 4, 2]


@pytest.mark.parametrize(
    'argv, pattern',
    [
        ('verfy RUN', 'unknown action .verfy. .did you mean verify'),
        ('verify', 'WORKDIR is missing'),
        ('list NOWHERE', 'nothing was saved there'),
        ('list RUN --kep=1', 'unknown argument --kep=1'),
        ('prune RUN', '--keep=: type how many'),
        ('prune RUN --keep', '--keep=: type how many'),
        ('prune RUN --keep=0', '--keep=0: type how many'),
        ('prune RUN --keep=-1', '--keep=-1: type how many'),
        ('prune RUN --keep=x', '--keep=x: type how many'),
    ],
)
def test_mistakes_of_the_program(tmp_path, capsys, argv, pattern):
    root = made(tmp_path / 'checkpoints', 1)
    code, told = program(capsys, *argv.replace('RUN', str(tmp_path)).split())
    assert code == 2 and re.search(pattern, told.err) and told.err.count('\n') == 1
    assert not told.out and not broken(root / '1')


def test_prune_is_refused_while_a_run_writes(tmp_path, capsys):
    made(tmp_path / 'checkpoints', 1, 2)
    with lock.held(tmp_path):
        code, told = program(capsys, 'prune', tmp_path, '--keep=1')
    assert (
        code == 2 and f'pid {os.getpid()}' in told.err and Checkpoints(tmp_path).steps() == [2, 1]
    )
