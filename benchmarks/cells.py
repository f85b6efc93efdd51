"""Cells of a table, each a short run of a config; a cell that the file has is not run again."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from ssljax import cli  # noqa: E402
from ssljax.names import Mistake, choose  # noqa: E402

Changes = Mapping[str, Any]  # 'model.temperature' -> value


def fill(
    out: Path,
    cells: Mapping[str, Changes],
    measure: Callable[[str, Changes], Mapping[str, Any]],
    *,
    only: Sequence[str] = (),
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The file, with each of these cells in it; it is written after each.

    measure: the name of a cell and what it is -> its numbers.
    only: of the cells, to run some now and others later; none: all.
    about: what all cells share. A file that says something else is refused.
    """
    from ssljax.log import facts, write_json

    for name in only:
        choose(name, cells, 'cell')
    about, made = json.loads(json.dumps([about, cells]))  # as a file has them: lists for tuples
    found = json.loads(out.read_text()) if out.exists() else {**about, 'cells': []}
    there = {cell['cell']: cell for cell in found['cells']}
    apart = [name for name in about if found.get(name) != about[name]]
    apart += [name for name in there if there[name]['of'] != made.get(name)]
    if apart:
        raise Mistake(f'{out} was made in another way: {", ".join(apart)}; give another --out')
    cli.writable(out.parent).mkdir(parents=True, exist_ok=True)  # before a cell is measured
    for name, cell in cells.items():
        if name in there or (only and name not in only):
            continue
        began, cpu = time.perf_counter(), time.process_time()
        numbers = measure(name, cell)
        cost = {'seconds': time.perf_counter() - began, 'cpu_seconds': time.process_time() - cpu}
        there[name] = {'cell': name, 'of': cell, **numbers, **rounded(cost)}
        print({k: v for k, v in rounded(there[name]).items() if k != 'rows'}, flush=True)
        here = facts()
        found |= {k: here[k] for k in ('device_kind', 'cores', 'versions', 'python', 'revision')}
        found['cells'] = [there[name] for name in cells if name in there]  # in the table's order
        write_json(out, found)
    return found


def rounded(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 3) if isinstance(v, float) else v for k, v in numbers.items()}


def settings(config: str, *changes: Changes) -> dict[str, Any]:
    """The resolved config under these changes; later ones go over earlier ones."""
    from ssljax import resolve

    merged = {name: value for each in changes for name, value in each.items()}
    return resolve.resolve(config, [(name, str(value)) for name, value in merged.items()])


def trained(job: Any) -> Any:
    """The model after all steps of a job: the loop of training, without a workdir."""
    from ssljax import model, watch

    state, key, step = job.fresh(), job.key(model.STEP), job.step()
    with job.batches() as batches:
        for i, batch in batches:
            state, _ = step(state, batch, key, job.acting(i))
    watch.finite(state, job.run.steps)
    return job.model.at(state)


def projected(model: Any, specs: Mapping[str, Any]) -> Callable:
    """A readout z of a model whose nets are an encoder and a projector."""
    from ssljax.nets import Nets

    nets = Nets(encoder=specs['encoder'], projector=specs['projector'], dtype=model.run.dtype)

    def project(key: Any, state: Any, batch: Any) -> Any:
        net = nets(state.params, state.memory['stats'])
        return net.projector(net.encoder(batch['x']))

    return project
