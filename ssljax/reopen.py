"""Opens a model from its workdir: run.json and a checkpoint, without data, on any devices."""

import json
from pathlib import Path
from typing import Any

import jax

from ssljax import cli, config, model, sharding
from ssljax.checkpoint import Checkpoints
from ssljax.method import Run
from ssljax.model import Model
from ssljax.names import Mistake


def load(workdir: str | Path) -> Model:
    """The newest whole checkpoint of a run, ready to be asked: load(dir).encode(images)."""
    workdir = cli.place(workdir)
    run = record(workdir)
    if 'facts' not in run:
        raise Mistake(
            f'{workdir} was made by an earlier version, whose run.json has no facts of the run;'
            ' the command that trained it, given again, adds them'
        )
    opened = model.build(config.plain(run['config']), facts(run['facts']), sharding.mesh())
    store = Checkpoints(workdir)
    state = store.restore(model.shapes(opened), repair=False)
    if state is None:
        raise Mistake(f'no whole checkpoint in {store.folder}; train there first')
    return opened.at(state)


def record(workdir: Path) -> dict[str, Any]:
    """What run.json says."""
    path = workdir / 'run.json'
    if not path.is_file():
        raise Mistake(f'{workdir} is not a workdir: it has no run.json')
    return json.loads(path.read_text())


def facts(found: dict[str, Any]) -> Run:
    """A Run from run.json."""
    row = {k: jax.ShapeDtypeStruct(shape, dtype) for k, (dtype, shape) in found['row'].items()}
    texts = {name: tuple(found.get(name, ())) for name in ('class_names', 'tokens', 'words')}
    return Run(**found | texts | {'row': row, 'dtype': jax.numpy.dtype(found['dtype'])})


def facts_as_json(run: Run) -> dict[str, Any]:
    """A Run as it stands in run.json."""
    row = {name: [str(one.dtype), list(one.shape)] for name, one in run.row.items()}
    return run._asdict() | {'row': row, 'dtype': str(run.dtype)}
