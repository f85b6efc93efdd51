"""results.json: the numbers of a run with their protocol, intervals, gains and cost."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssljax import evals, log, written
from ssljax.data.source import Source
from ssljax.evals.evaluator import Evaluator, Scores, gain, interval, standard_error
from ssljax.sealed import FOLDER, MANIFEST, digest


def write(
    workdir: Path, step: int, results: Mapping[str, Any], source: Source, checkpoint: str = ''
) -> Path:
    """Writes the results, of these data, beside those of earlier evaluations.

    checkpoint: digest of its manifest, which has that of every file; by default, what is there now.
    """
    path, old = workdir / 'results.json', earlier(workdir)
    run, lines = written.record(workdir), written.metrics(workdir)
    sealed = checkpoint or digest(workdir / FOLDER / str(step) / MANIFEST)
    # of what was read, whatever run.json says
    data = dict(name=source.name, fingerprint=source.fingerprint, decoder=source.decoder)
    data['rows'] = {name: split.count for name, split in source.splits.items()}
    times = ('seconds', 'cpu_seconds')
    total = {name: sum(line.get(name, 0) for line in lines) for name in times}
    spent = {name: round(seconds / 60, 2) for name, seconds in total.items()}
    whole = {name: run['config'][name] for name in ('method', 'seed', 'steps', 'batch')}
    whole |= {
        'data': data,
        'checkpoint': step,
        'checkpoint_sha256': sealed,
        'examples_seen': step * run['config']['batch'],
        'training_cpu_seconds': round(total['cpu_seconds'], 1),
        'minutes': {'training': spent['seconds'], 'training_cpu': spent['cpu_seconds']},
        'device': f'{run.get("device_kind")}, {run.get("cores")} cores',
        'evals': {**old, **results},
    }
    for name in results:
        whole['evals'][name] |= {'data': data, 'checkpoint': step, 'checkpoint_sha256': sealed}
        whole['evals'][name] |= best(name, run['config'], lines)
    log.write_json(path, whole)
    return path


def earlier(workdir: Path) -> dict[str, Any]:
    """What earlier evaluations wrote, by evaluator."""
    path = workdir / 'results.json'
    return written.read(path, 'evals')['evals'] if path.exists() else {}


def entry(name: str, protocol: Mapping[str, Any], scores: Mapping[str, Scores]) -> dict[str, Any]:
    """What results.json says of one evaluator: all numbers of all subjects; of its first number,
    where it is a mean over rows, intervals of 95 percent and the trained model's gains, by rows."""
    evaluator = evals.offered()[name]
    first, numbers, gains = evaluator.first, {}, {}
    for who, one in scores.items():
        numbers[who] = dict(one.numbers)
        if first in one.rows:
            numbers[who]['standard_error'] = standard_error(one.rows[first], evaluator.neighbors)
            numbers[who]['interval_95'] = list(interval(one.rows[first], evaluator.neighbors))
    mine = scores['trained'].rows.get(first)
    for who, one in scores.items():
        theirs = one.rows.get(first)
        paired = mine is not None and theirs is not None and len(mine) == len(theirs)
        if paired and who != 'trained':
            less = evaluator.shown[first].less
            mean, error = gain(mine, theirs, evaluator.neighbors, less)
            gains[who] = {'mean': mean, 'standard_error': error}
    return {'protocol': dict(protocol), 'scores': numbers, 'number': first, 'gains': gains}


def keep_rows(workdir: Path, name: str, rows: Mapping[str, np.ndarray]) -> str:
    """The trained model's value at each row, for comparisons with other models: rows/NAME.npz.

    -> the digest of this file. A process may end before results.json is written, too: there the
    digest says which rows are those of its numbers.
    """
    (workdir / 'rows').mkdir(exist_ok=True)
    path = workdir / 'rows' / f'{name}.npz'
    np.savez(file := io.BytesIO(), **rows)
    log.write(path, file.getvalue())
    return digest(path)


def best(
    name: str, settings: Mapping[str, Any], lines: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """The evaluator's first number while training, where log.evaluate asked for it, with its
    protocol, and its best: chosen by what it says, so no number to compare by."""
    evaluator: Evaluator = evals.offered()[name]
    metric = evaluator.first
    curve = {line['step']: line[f'{name}/{metric}'] for line in lines if f'{name}/{metric}' in line}
    if not curve:
        return {}
    step = (min if evaluator.shown[metric].less else max)(curve, key=curve.get)
    protocols = settings.get('log', {}).get('curve') or settings.get('evals', {})
    top = {'step': step, metric: curve[step]}
    return {'best': top, 'curve': curve, 'curve_protocol': protocols.get(name)}
