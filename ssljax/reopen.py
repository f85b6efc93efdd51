"""Opens a model from its workdir: run.json and a checkpoint, without data, on any devices."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ssljax import cli, config, model, resolve, sharding
from ssljax.checkpoint import FOLDER, Checkpoints
from ssljax.method import Run
from ssljax.model import Model
from ssljax.names import Mistake
from ssljax.written import record


def load(workdir: str | Path) -> Model:
    """The newest whole checkpoint of a run, ready to be asked: load(dir).encode(images)."""
    workdir = cli.place(workdir)
    run = record(workdir)
    if 'facts' not in run:
        raise Mistake(
            f'{workdir} was made by an earlier version, whose run.json has no facts of the run;'
            ' the command that trained it, given again, adds them'
        )
    settings = resolve.again(run['config'], workdir / 'run.json')
    opened = model.build(settings, facts(run['facts'], workdir), sharding.mesh())
    store = Checkpoints(workdir)
    state = store.restore(model.shapes(opened), repair=False)
    if state is None:
        raise Mistake(f'no whole checkpoint in {store.folder}; train there first')
    same_config(settings, workdir, int(state.step))
    return opened.at(state, store.opened)


def same_config(settings: Mapping[str, Any], workdir: Path, step: int) -> None:
    """Refuses a checkpoint that was not written under the config of this run."""
    folder = workdir / FOLDER / str(step)
    try:
        sealed = json.loads((folder / 'config/metadata').read_text())  # its digest was checked
    except FileNotFoundError:  # the run that trains has deleted it meanwhile
        return
    if lines := config.differences(resolve.again(sealed, folder), settings):
        raise Mistake(
            f'{folder} was written under another config than that of {workdir / "run.json"}:'
            f' {"; ".join(lines)}; put the run.json or the checkpoints of this run back'
        )


def facts(found: Mapping[str, Any], workdir: Path) -> Run:
    """A Run from run.json."""
    needed = {name for name in Run._fields if name not in Run._field_defaults} | {'row', 'dtype'}
    odd = sorted((needed - found.keys()) | (found.keys() - set(Run._fields)))
    if odd:
        raise Mistake(
            f'{workdir / "run.json"} is of another version of ssljax: its facts and those of this'
            f' version differ by {", ".join(odd)}; open it with the version that made it'
        )
    row = {k: jax.ShapeDtypeStruct(shape, dtype) for k, (dtype, shape) in found['row'].items()}
    texts = {name: tuple(found.get(name, ())) for name in ('class_names', 'tokens', 'words')}
    return Run(**found | texts | {'row': row, 'dtype': jax.numpy.dtype(found['dtype'])})


def facts_as_json(run: Run) -> dict[str, Any]:
    """A Run as it stands in run.json."""
    row = {name: [str(one.dtype), list(one.shape)] for name, one in run.row.items()}
    return run._asdict() | {'row': row, 'dtype': str(run.dtype)}
