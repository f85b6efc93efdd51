"""One process writes in a workdir; the second is told who it is."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jobs
import pytest

from ssljax import cli, lock, train, workdir
from ssljax import job as jobs_of
from ssljax.config import as_json
from ssljax.log import write_json
from ssljax.names import Mistake

HOLDER = """
import sys, time
from pathlib import Path
from ssljax import lock
with lock.held(Path(sys.argv[1])):
    print('held', flush=True)
    time.sleep(60)
"""


def refused(folder):
    with pytest.raises(Mistake) as mistake, lock.held(folder):
        raise AssertionError('two may write')
    assert '\n' not in str(mistake.value)
    return str(mistake.value)


def test_the_second_is_told_who_the_first_is_and_since_when(tmp_path):
    with lock.held(tmp_path):
        told = refused(tmp_path)
    assert f'pid {os.getpid()} on {socket.gethostname()} since 20' in told
    with lock.held(tmp_path):
        pass
    assert (tmp_path / 'lock').read_text() == ''


def test_an_error_ends_it(tmp_path):
    with pytest.raises(ZeroDivisionError), lock.held(tmp_path):
        raise ZeroDivisionError
    with lock.held(tmp_path):
        pass


def test_it_dies_with_its_process(tmp_path):
    streams = dict(stdout=subprocess.PIPE, text=True, cwd=jobs.ROOT)
    with subprocess.Popen([sys.executable, '-c', HOLDER, tmp_path], **streams) as holder:
        assert holder.stdout.readline() == 'held\n'
        assert f'pid {holder.pid} ' in refused(tmp_path)
        holder.send_signal(signal.SIGKILL)
    with lock.held(tmp_path):
        assert f'pid {os.getpid()} ' in refused(tmp_path)


def test_no_child_keeps_it(tmp_path):
    with lock.held(tmp_path):
        child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    with lock.held(tmp_path):
        child.communicate(b'\n')


def test_a_workdir_that_may_not_be_written_in(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError

    monkeypatch.setattr(lock.os, 'open', denied)
    with pytest.raises(Mistake, match='not writable'), lock.held(tmp_path):
        pass


def test_a_workdir_that_cannot_be_made(tmp_path, monkeypatch):
    def absent(*_, **options):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(Path, 'mkdir', absent)
    with pytest.raises(Mistake, match='cannot be made: No such file'), workdir.alone(tmp_path):
        pass


def test_a_disk_that_is_still_full_is_a_line(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = jobs.settings('gpt', evals={})
    write_json(tmp_path / 'run.json', {'config': as_json(found), 'data': {}})
    monkeypatch.setattr(lock.os, 'pwrite', full)
    code, err = started(tmp_path, capsys)
    assert code == 1 and 'no space left on device; no step is saved yet' in err


@pytest.mark.parametrize('number', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, 'flock', flock)
    with lock.held(tmp_path):
        assert 'WARNING: no locks on the file system' in capsys.readouterr().err
        assert (tmp_path / 'lock').read_text() == ''  # nobody holds it


def test_an_error_of_the_disk_is_no_want_of_locks(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(lock.fcntl, 'flock', flock)
    with pytest.raises(OSError, match='Input/output'), lock.held(tmp_path):
        pass


def test_one_that_has_not_yet_written_its_name_is_refused_all_the_same(tmp_path):
    with (tmp_path / 'lock').open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert 'belongs to a process that has just started' in refused(tmp_path)


def test_of_many_processes_the_first_has_it_and_all_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir.processes, 'first', lambda: False)
    with workdir.alone(tmp_path / 'run'):
        assert not (tmp_path / 'run').exists()
    with lock.held(tmp_path):
        monkeypatch.setattr(workdir.processes, 'of_first', lambda number: 1)
        with pytest.raises(Mistake, match=f'pid {os.getpid()} on'), workdir.alone(tmp_path):
            raise AssertionError('two may write')


FLAGS = [f'--config={jobs.ROOT}/configs/gpt.py:smoke', '--config.evals={}']


def started(folder, capsys):
    code = cli.guarded(lambda: train.main([*FLAGS, f'--workdir={folder}']))
    return code, capsys.readouterr().err


def test_a_second_run_is_refused_before_it_takes_memory(tmp_path, monkeypatch, capsys):
    found = jobs.settings('gpt', evals={})
    write_json(tmp_path / 'run.json', {'config': as_json(found), 'data': {}})
    monkeypatch.setattr(jobs_of, 'make', lambda *_: pytest.fail('it was built'))
    with lock.held(tmp_path):
        code, err = started(tmp_path, capsys)
    assert code == 2 and re.search(rf'belongs to pid {os.getpid()} .* since', err)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['lock', 'run.json']


def test_two_that_start_together_in_a_new_workdir(tmp_path, monkeypatch, capsys):
    """Both find it empty; the one that comes second has another config."""

    def checked(job):
        other = jobs.settings('gpt', evals={}, seed=7)
        write_json(tmp_path / 'run.json', {'config': as_json(other), 'data': {}})

    monkeypatch.setattr(jobs_of, 'make', lambda *_: None)
    monkeypatch.setattr(jobs_of, 'checked', checked)
    code, err = started(tmp_path, capsys)
    assert code == 2 and 'another config: seed' in err
    assert not (tmp_path / 'checkpoints').exists()


def test_a_workdir_with_a_lock_alone_is_new(tmp_path):
    """Of a run that was killed before its run.json."""
    (tmp_path / 'lock').write_text('pid 1 on nowhere since then\n')
    (tmp_path / 'run.0123abcd.part').write_text('{"con')
    workdir.same_run({}, tmp_path)
    (tmp_path / 'thesis.tex').write_text('')
    with pytest.raises(Mistake, match='holds files but no run.json'):
        workdir.same_run({}, tmp_path)
