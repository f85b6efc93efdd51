"""Whose a workdir is: its run.json names the config, the data and the machine of the run."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax import config, job, lock, log, processes, resolve, sealed, written
from ssljax.checkpoint import Checkpoints
from ssljax.names import Mistake
from ssljax.reopen import facts_as_json
from ssljax.written import record


def same_run(settings: Mapping[str, Any], workdir: Path) -> None:
    """Refuses a workdir that belongs to another config."""
    path = workdir / 'run.json'
    if not path.exists():
        if any(not ours(p) for p in (workdir.iterdir() if workdir.is_dir() else ())):
            raise Mistake(f'workdir {workdir} holds files but no run.json; give an empty one')
        return
    old = resolve.again(written.read(path, 'config')['config'], path)
    if lines := config.differences(old, settings):
        hint = ''
        if any(line.startswith('steps:') for line in lines):
            hint = ' (schedules were built for the old number of steps, so it cannot grow)'
        raise Mistake(
            f'workdir {workdir} belongs to another config: {"; ".join(lines)}{hint};'
            ' give another --workdir, or the config that it was made with'
        )


def ours(path: Path) -> bool:
    """Whether a run that was killed at its very start has left it."""
    return path.name == lock.LOCK or path.suffix == log.PART


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """The workdir is this run's and nobody else's, until it ends. Of many processes the first has
    the lock; all learn whether it was given."""
    with contextlib.ExitStack() as stack:
        refused = ''
        if processes.first():
            try:
                made(workdir)
                stack.enter_context(lock.held(workdir))
            except Mistake as mistake:
                refused = str(mistake)
        if processes.of_first(int(bool(refused))):
            raise Mistake(refused or lock.refused(workdir))
        yield


def made(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if sealed.full(error):
            raise
        raise Mistake(f'workdir {workdir} cannot be made: {error.strerror}') from None


@contextlib.contextmanager
def room(workdir: Path, told: Callable[[], str]) -> Iterator[None]:
    """A disk that is full is one line, wherever it was noticed: told() says what there is now, and
    what the same command will do."""
    try:
        yield
    except Exception as error:
        if not (why := sealed.full(error)):
            raise
        raise sealed.Full(f'{workdir}: {why.lower()}; {told()}') from None


def room_to_train(workdir: Path, checkpoints: Checkpoints) -> contextlib.AbstractContextManager:
    def told() -> str:
        saved = [f'step {step} is saved' for step in checkpoints.steps()]
        newest = saved[0] if saved else 'no step is saved yet'
        return f'{newest}; make room, and the same command goes on from there'

    return room(workdir, told)


def room_to_evaluate(workdir: Path) -> contextlib.AbstractContextManager:
    told = 'results.json is as it was; make room, and type the same command again'
    return room(workdir, lambda: told)


def same_data(source: Any, workdir: Path, but: Sequence[str] = ()) -> None:
    """Refuses to go on with other data, or with data that another decoder makes.

    but: what may be another now.
    """
    now = data(source)
    old = record(workdir)['data'] if (workdir / 'run.json').exists() else now
    for name in old:
        if name not in but and old[name] != now.get(name):
            raise Mistake(
                f'{workdir} was trained on data whose {name} is {old[name]!r}, and it is'
                f' {now.get(name)!r} now; give another --workdir, or the data of then'
            )


def data(source: Any) -> dict[str, str]:
    return dict(name=source.name, fingerprint=source.fingerprint, decoder=source.decoder)


def claim(one: Any, workdir: Path, typed: Sequence[tuple[str, str]]) -> None:
    """Makes the workdir and its run.json; one of an earlier version gets the facts of the run."""
    path, facts = workdir / 'run.json', facts_as_json(one.run)
    if path.exists():
        run = record(workdir)
        if 'facts' not in run:
            settings = config.as_json(one.config)
            log.write_json(path, {**run, 'config': settings, 'facts': facts})
        return
    workdir.mkdir(parents=True, exist_ok=True)
    run = {'config': config.as_json(one.config), 'overrides': dict(typed), 'facts': facts}
    log.write_json(path, run | {'data': data(one.source)} | log.facts())


def job_of(workdir: Path) -> job.Job:
    """The job of a run that is there, with its data, on the devices of this machine.

    The decoder may be another one: results.json says which it was.
    """
    settings = resolve.again(record(workdir)['config'], workdir / 'run.json')
    one = job.make({**settings, 'evals': {}, 'mesh': config.MeshAxes()._asdict()})
    same_data(one.source, workdir, but=('decoder',))
    return one
