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
        if workdir.is_dir() and any(workdir.iterdir()):
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


def claim(job: Any, workdir: Path, changes: Sequence[tuple[str, str]]) -> bool:
    """Makes the workdir and its run.json, or checks the data of an old one; True if it is new."""
    path = workdir / 'run.json'
    source = {'name': job.source.name, 'fingerprint': job.source.fingerprint}
    source['decoder'] = job.source.decoder
    if path.exists():
        old = json.loads(path.read_text())['data']
        for name in old:
            if old[name] != source[name]:
                raise Mistake(
                    f'{workdir} was trained on data whose {name} is {old[name]!r}, and it is'
                    f' {source[name]!r} now; give another --workdir, or the data of then'
                )
        return False
    workdir.mkdir(parents=True, exist_ok=True)
    overridden = dict(changes)
    log.write_json(
        path,
        {'config': config.as_json(job.config), 'overrides': overridden, 'data': source}
        | log.facts(),
    )
    return True
