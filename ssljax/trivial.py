"""Numbers of trivial baselines and of untrained models: scored once, then kept in the user's cache,
since no training changes them and on many images they take longer than the trained model."""

import contextlib
import functools
import importlib.metadata
import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax import cache, evals, processes
from ssljax.config import FREE
from ssljax.data.source import Source, fingerprint
from ssljax.evals import Scores, Subject
from ssljax.log import write

DIGEST = 32  # characters of a fingerprint


def subjects(name: str, source: Source) -> list[Subject]:
    """Whoever learned nothing and is scored by the same evaluator."""
    key = jax.random.key(0)  # not the run's: their numbers are the same in every run
    return [
        Subject(who, source, asks, key) for who, asks in evals.trivial(name, source, key).items()
    ]


def remembered(
    name: str,
    one: Subject,
    options: Mapping[str, Any],
    pictures: Path,
    *,
    of: Any = None,
    make: Callable[[], Subject] | None = None,
) -> Scores:
    """An evaluator's scores of who learned nothing, and its pictures: from the cache if they are
    there.

    An entry is named by all that it depends on: data, evaluator, options, code and versions. A
    cache that cannot be written, or is damaged, is done without.

    of: what else the scores depend on. make: -> the subject, where `one` has but name and data.
    """
    source = one.source
    data = (source.name, source.fingerprint, source.decoder)
    counts = [(split, rows.count) for split, rows in source.splits.items()]
    mark = fingerprint(data, counts, name, one.name, options, code(), of)
    entry = cache.home() / 'baselines' / f'{mark}.scores'
    found = None
    if processes.first() and not any(map(another_run, options.values())):
        found = read(entry)
    # all processes score it, or none: its programs may run on the devices of all
    if processes.of_first(found is not None):
        scores, seen = found or (Scores({}), {})  # process 0 writes the report
        for picture, content in seen.items():
            pictures.mkdir(exist_ok=True)
            write(pictures / picture, content)
        return scores
    saved: list[Path] = []
    save = partial(keep_picture, pictures, saved, one.name)
    one = make() if make else one
    scores = evals.offered()[name].run(one._replace(save=save), **options)
    if processes.first():
        with contextlib.suppress(OSError):
            keep(entry, scores, saved)
    return scores


def another_run(option: Any) -> bool:
    """Whether an option names a workdir, whose model may become another one."""
    return isinstance(option, str) and (Path(option) / 'run.json').exists()


def keep(entry: Path, scores: Scores, pictures: Sequence[Path]) -> None:
    """In one file, which begins with a digest of the rest."""
    parts = {f'rows/{name}': rows for name, rows in scores.rows.items()}
    parts |= {f'pictures/{p.name}': np.frombuffer(p.read_bytes(), np.uint8) for p in pictures}
    parts['numbers'] = np.frombuffer(json.dumps(scores.numbers).encode(), np.uint8)
    np.savez(file := io.BytesIO(), **parts)
    entry.parent.mkdir(parents=True, exist_ok=True)
    write(entry, fingerprint(file.getvalue()).encode() + file.getvalue())


def read(entry: Path) -> tuple[Scores, dict[str, bytes]] | None:
    """What `keep` kept, the pictures by name; None where there is nothing, or nothing whole."""
    try:
        whole = entry.read_bytes()
    except OSError:
        return None
    if whole[:DIGEST] != fingerprint(whole[DIGEST:]).encode():
        return None
    with np.load(io.BytesIO(whole[DIGEST:])) as file:
        parts = dict(file)
    numbers = json.loads(parts.pop('numbers').tobytes())
    rooms: dict[str, dict[str, np.ndarray]] = {'rows': {}, 'pictures': {}}
    for path, content in parts.items():
        room, _, name = path.partition('/')
        rooms[room][name] = content
    seen = {name: content.tobytes() for name, content in rooms['pictures'].items()}
    return Scores(numbers, rooms['rows']), seen


def begun(job: Any) -> Any:
    """What the numbers of the job's untrained model depend on beside data, evaluator and options:
    its config, and all our code. None: also on other runs, which may change."""
    if job.grafts or job.method.needs:
        return None
    mine = {k: v for k, v in sorted(job.config.items()) if k not in (*FREE, 'optim', 'graft')}
    return repr(mine), jax.device_count(), whole_code()


@functools.cache
def whole_code() -> str:
    here = Path(__file__).parent
    return fingerprint(*(file.read_bytes() for file in sorted(here.rglob('*.py'))))


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
