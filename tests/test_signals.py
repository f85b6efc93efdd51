"""Signals end a training with exit code 75 and nothing lost, from the first import to the end."""

import json
import os
import signal
import subprocess
import sys
import time

import jobs
import pytest

from ssljax import signals, train, watch
from ssljax.checkpoint import Checkpoints

ALL = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1]
each = pytest.mark.parametrize('number', ALL, ids=lambda one: one.name)


def child(*argv, **how):
    """A process of this project; its first line is awaited by whoever reads it."""
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return subprocess.Popen([sys.executable, *argv], cwd=jobs.ROOT, **streams, **how)


def ended(process, code, seconds=60):
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, f'{process.returncode}\n{out}\n{err}'
    return out, err


@each
def test_a_signal_during_the_imports(tmp_path, number):
    """JAX is one of ours here, that takes its time."""
    (tmp_path / 'jax.py').write_text('import time; print("importing", flush=True); time.sleep(60)')
    environment = {**os.environ, 'PYTHONPATH': f'{tmp_path}:{jobs.ROOT}'}
    flags = ['--config=configs/gpt.py:smoke', f'--workdir={tmp_path}/run']
    process = child('-m', 'ssljax.train', *flags, env=environment)
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(number)
    _, err = ended(process, 75)
    assert err.strip() == f'stopped by {number.name}: the same command goes on'
    assert not (tmp_path / 'run').exists()


GUARDED = """
import signal, sys, time
from ssljax import signals
signals.guard()
{code}
print('here', flush=True)
time.sleep(60)
"""


@each
def test_what_was_ignored_stays_ignored(number):
    """nohup, and whatever a shell starts in the background."""
    code = 'signals.say("at work"); signals.release(signals.hold(), obeyed=True)'
    before = lambda: signal.signal(number, signal.SIG_IGN)  # noqa: E731
    process = child('-c', GUARDED.format(code=code), preexec_fn=before)
    process.stdout.readline()
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.send_signal(next(one for one in ALL if one is not number))
    ended(process, 75)


def test_when_all_is_done_a_signal_changes_nothing():
    process = child('-c', GUARDED.format(code='signals.deaf()').replace('sleep(60)', 'sleep(0.3)'))
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ended(process, 0)


def test_a_signal_that_comes_too_late_for_the_loop_ends_the_process_after_it():
    """Nobody has obeyed it: the end of the block does."""
    code = 'old = signals.hold(); signal.raise_signal(10); signals.release(old, obeyed=False)'
    out, err = ended(child('-c', GUARDED.format(code=code)), 75)
    assert 'stopped by SIGUSR1' in err and 'here' not in out


@pytest.fixture
def kept():
    """The handlers of the test's own process, as they were."""
    old = {one: signal.getsignal(one) for one in ALL}
    yield old
    assert {one: signal.getsignal(one) for one in ALL} == old


def test_signals_are_noted_in_the_loop_and_a_second_one_does_nothing_more(kept, capfd):
    with watch.Preemption() as preempted:
        assert not preempted.agreed(1, last=9)
        for number in (*ALL, *ALL):
            signal.raise_signal(number)
        assert preempted.agreed(2, last=9)
    err = capfd.readouterr().err
    assert err.count('the run stops after this step and saves') == 1
    assert err.count('the run is saving') == 7


def test_an_error_in_the_loop_is_the_error_whatever_the_signal(kept):
    with pytest.raises(watch.Diverged), watch.Preemption():
        signal.raise_signal(signal.SIGTERM)
        raise watch.Diverged


def test_one_that_nobody_obeyed_comes_again(kept):
    with pytest.raises(KeyboardInterrupt), watch.Preemption():  # noqa: SIM117
        signal.raise_signal(signal.SIGINT)


def test_signals_of_another_block_are_forgotten(kept):
    with watch.Preemption() as preempted:
        signal.raise_signal(signal.SIGTERM)
        preempted.agreed(1, last=9)
    with watch.Preemption() as preempted:
        assert not preempted.agreed(1, last=9)


def test_many_processes_agree_at_tens_and_at_the_last_step(monkeypatch, kept):
    asked = []
    monkeypatch.setattr(watch.processes, 'several', lambda: True)
    monkeypatch.setattr(watch.processes, 'any_of', lambda flag: asked.append(step) or flag)
    with watch.Preemption() as preempted:
        signal.raise_signal(signal.SIGTERM)
        for step in range(1, 10):
            assert not preempted.agreed(step, last=23)
        for step in (10, 20, 23):
            assert preempted.agreed(step, last=23)
    assert asked == [10, 20, 23]


def test_the_service_of_jax_that_swallows_sigterm_is_off(monkeypatch):
    told = []
    monkeypatch.setattr(watch.processes, 'meet', lambda: None)
    monkeypatch.setattr(watch.processes.jax.distributed, 'initialize', lambda *a: told.append(a))
    for name, value in zip(watch.processes.VARIABLES, ('here:1', '2', '0')):
        monkeypatch.setenv(name, value)
    was = watch.processes.jax.config.jax_enable_preemption_service
    try:
        watch.processes.start()
        assert told == [('here:1', 2, 0)]
        assert not watch.processes.jax.config.jax_enable_preemption_service
    finally:
        watch.processes.jax.config.update('jax_enable_preemption_service', was)


@pytest.mark.slow
def test_a_signal_during_the_report(tmp_path, capsys):
    """The last save is there, and the same command finishes the report."""
    flags = [f'--config={jobs.ROOT}/configs/gpt.py:smoke', f'--workdir={tmp_path}']
    flags += ['--config.log.every=1', "--config.evals={'perplexity': {}}"]
    one = {**os.environ, 'XLA_FLAGS': os.environ['XLA_FLAGS'].replace('count=8', 'count=1')}
    process = child('-m', 'ssljax.train', *flags, env=one)
    for line in process.stdout:
        if line.startswith('step 4/4'):
            break
    while process.stdout.read(1) != 'e':  # evaluating, but the line has no end yet
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    ended(process, 75)
    assert Checkpoints(tmp_path).steps() == [4] and not (tmp_path / 'results.json').exists()
    assert train.main(flags) == 0
    assert 'going on from step 4 of 4' in capsys.readouterr().out
    assert json.loads((tmp_path / 'results.json').read_text())['evals']['perplexity']


def test_the_handler_writes_though_print_is_interrupted(capfd):
    signals.say('a line')
    assert capfd.readouterr().err == '\na line\n'
