"""Numbers of trivial baselines: scored once, then kept in the user's cache, since no run changes
them and on many images they take longer than the models."""

import functools
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax import cache, evals, processes
from ssljax.data.source import Source, fingerprint
from ssljax.evals import Scores, Subject
from ssljax.log import write_json


def subjects(name: str, source: Source) -> list[Subject]:
    """Whoever learned nothing and is scored by the same evaluator."""
    key = jax.random.key(0)  # not the run's: their numbers are the same in every run
    return [
        Subject(who, source, asks, key) for who, asks in evals.trivial(name, source, key).items()
    ]


def remembered(name: str, one: Subject, options: Mapping[str, Any], pictures: Path) -> Scores:
    """An evaluator's scores of a baseline, and its pictures: from the cache if they are there.

    An entry is named by all that it depends on: data, evaluator, options, code and versions.
    """
    score, source = evals.offered()[name].run, one.source
    data = (source.name, source.fingerprint, source.decoder)
    entry = cache.home() / 'baselines' / fingerprint(data, name, one.name, options, code())
    try:
        entry.mkdir(parents=True, exist_ok=True)
    except OSError:  # nothing can be kept
        entry = None
    kept = entry is not None and (entry / 'scores.json').exists()
    # all processes score it, or none: its programs may run on the devices of all
    if not processes.of_first(kept):
        save = partial(keep_picture, entry or pictures, [], one.name)
        scores = score(one._replace(save=save), **options)
        if entry is None or not processes.first():
            return scores
        np.savez(entry / 'rows.npz', **scores.rows)
        write_json(entry / 'scores.json', scores.numbers)  # last: it says that the entry is whole
    elif not processes.first():
        return Scores({})  # process 0 writes the report
    for picture in entry.glob(f'{one.name}-*'):
        pictures.mkdir(exist_ok=True)
        shutil.copyfile(picture, pictures / picture.name)
    with np.load(entry / 'rows.npz') as rows:
        return Scores(json.loads((entry / 'scores.json').read_text()), dict(rows))


@functools.cache
def code() -> tuple[Any, ...]:
    """What evaluators compute with: sources of ours, versions of others, the kind of device."""
    here = Path(__file__).parent
    rooms = ('augment', 'evals', 'losses', 'nets')
    files = [file for room in rooms for file in here.glob(f'{room}/*.py')]
    files += [here / 'cluster.py', here / 'collapse.py', here / 'data' / 'source.py']
    versions = [importlib.metadata.version(n) for n in ('jax', 'numpy', 'scipy', 'scikit-learn')]
    return [file.read_bytes() for file in sorted(files)], versions, jax.default_backend()


def keep_picture(folder: Path, kept: list[Path], who: str, name: str, picture: Any) -> None:
    """Saves a picture, or a text, of one subject."""
    if not processes.first():
        return
    folder.mkdir(exist_ok=True)
    path = folder / (f'{who}-{name}' + ('.txt' if isinstance(picture, str) else '.png'))
    path.write_text(picture) if isinstance(picture, str) else picture.save(path)
    kept.append(path)
