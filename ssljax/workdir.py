"""Whose a workdir is: its run.json names the config, the data and the machine of the run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax import config, log
from ssljax.names import Mistake


def same_run(settings: Mapping[str, Any], workdir: Path) -> None:
    """Refuses a workdir that belongs to another config."""
    path = workdir / 'run.json'
    if not path.exists():
        if workdir.is_dir() and any(p.name != 'run.part' for p in workdir.iterdir()):
            raise Mistake(f'workdir {workdir} holds files but no run.json; give an empty one')
        return
    old = json.loads(path.read_text())['config']
    if found := config.differences(old, settings):
        hint = ''
        if any(line.startswith('steps:') for line in found):
            hint = ' (schedules were built for the old number of steps, so it cannot grow)'
        raise Mistake(
            f'workdir {workdir} belongs to another config: {"; ".join(found)}{hint};'
            ' give another --workdir, or the config that it was made with'
        )


def same_data(job: Any, workdir: Path) -> None:
    """Refuses to go on with other data, or with data that another decoder makes."""
    path, source = workdir / 'run.json', data(job)
    old = json.loads(path.read_text())['data'] if path.exists() else source
    for name in old:
        if old[name] != source[name]:
            raise Mistake(
                f'{workdir} was trained on data whose {name} is {old[name]!r}, and it is'
                f' {source[name]!r} now; give another --workdir, or the data of then'
            )


def data(job: Any) -> dict[str, str]:
    source = job.source
    return dict(name=source.name, fingerprint=source.fingerprint, decoder=source.decoder)


def claim(job: Any, workdir: Path, changes: Sequence[tuple[str, str]]) -> bool:
    """Makes the workdir and its run.json; False if the run has them already."""
    path = workdir / 'run.json'
    if path.exists():
        return False
    workdir.mkdir(parents=True, exist_ok=True)
    run = {'config': config.as_json(job.config), 'overrides': dict(changes), 'data': data(job)}
    log.write_json(path, run | log.facts())
    return True
