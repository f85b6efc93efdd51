"""What a run would be, for --dry_run: config, parameters, bytes, data, evaluations."""

import json
from typing import Any

import jax
import numpy as np

from ssljax import config, evals
from ssljax.job import Job


def described(job: Job) -> str:
    settings = job.config
    blocks = [
        'config\n' + json.dumps(config.as_json(settings), indent=2),
        'parameters\n' + table(parameters(job)),
        'state\n' + table(state(job)),
        'data\n' + table(data(job)),
        'turns\n' + table(turns(job)),
        'evaluations\n' + table(evaluations(job)),
    ]
    return '\n\n'.join(blocks)


def table(rows: list[tuple[Any, ...]]) -> str:
    """Columns of even width; numbers to the right."""
    cells = [[f'{c:,}' if isinstance(c, int) else str(c) for c in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [[isinstance(c, int) for c in row] for row in rows]
    lines = []
    for texts, kinds in zip(cells, right, strict=True):
        aligned = zip(texts, widths, kinds, strict=True)
        lines.append('  '.join(t.rjust(w) if r else t.ljust(w) for t, w, r in aligned).rstrip())
    return '\n'.join('  ' + line for line in lines)


def size(tree: Any) -> int:
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(tree))


def volume(tree: Any) -> int:
    """Bytes; typed keys, which have no plain size, are left out."""
    leaves = [
        x for x in jax.tree.leaves(tree) if not jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    ]
    return sum(int(np.prod(x.shape)) * x.dtype.itemsize for x in leaves)


def parameters(job: Job) -> list[tuple[Any, ...]]:
    rows = [(name, size(tree)) for name, tree in job.shapes.params.items()]
    return [*rows, ('all', sum(count for _, count in rows))]


def state(job: Job) -> list[tuple[Any, ...]]:
    shapes = job.shapes
    rows = [('params', volume(shapes.params))]
    rows += [(f'memory/{name}', volume(tree)) for name, tree in shapes.memory.items()]
    rows += [(f'opt/{name}', volume(tree)) for name, tree in shapes.opt.items()]
    return [(n, b, 'bytes') for n, b in [*rows, ('all', volume(shapes))]]


def data(job: Job) -> list[tuple[Any, ...]]:
    rows = [('source', job.source.name, job.source.fingerprint)]
    for name, split in job.source.splits.items():
        one = split.rows(np.arange(1))
        what = ', '.join(f'{k} {v.dtype}{list(v.shape[1:])}' for k, v in one.items())
        rows.append((name, f'{split.count:,} rows', what))
    batch = job.run.batch
    epochs = job.run.steps * batch / job.train.count
    return [*rows, ('run', f'{job.run.steps:,} steps of {batch:,}', f'{epochs:.1f} epochs')]


def turns(job: Job) -> list[tuple[Any, ...]]:
    steps, rows = job.run.steps, []
    for name, turn in job.method.turns.items():
        acts = sum(bool(turn.when(i)) for i in range(steps))
        moves = ', '.join(turn.moves or job.shapes.params)
        rows.append((name, job.config['optim'][name]['name'], f'acts {acts:,} times', moves))
    return rows


def evaluations(job: Job) -> list[tuple[Any, ...]]:
    every, chosen = job.config['log']['evaluate'], job.config['evals']
    curve = (job.config['log']['curve'] or chosen) if every else {}
    rows = []
    for name in dict.fromkeys((*chosen, *curve)):
        when = ['at the end'] * (name in chosen) + [f'every {every:,} steps'] * (name in curve)
        options = chosen.get(name) or curve.get(name, {})
        reason = evals.obstacle(name, options, job.method.readouts, job.source)
        rows.append((name, reason or ' and '.join(when)))
    return rows or [('none', '')]
