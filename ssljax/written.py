"""What a run wrote, read back: a file that is torn, or lacks a block, is one line of what to do."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssljax.names import Mistake

AGAIN = {
    'run.json': 'put a copy of it back, or train again into an empty workdir',
    'results.json': 'delete it, and type python -m ssljax.evaluate --workdir={folder}',
}


def read(path: Path, *blocks: str) -> dict[str, Any]:
    """The dict in a JSON file that has these blocks."""
    help = AGAIN[path.name].format(folder=path.parent)
    try:
        found = json.loads(path.read_text())
    except ValueError:  # also bytes that are no text
        raise Mistake(f'{path} is torn or damaged: it is no JSON; {help}') from None
    lacking = blocks if not isinstance(found, dict) else [b for b in blocks if b not in found]
    for block in lacking or ([] if isinstance(found, dict) else ['dict']):
        raise Mistake(f'{path} has no {block!r}; {help}')
    return found


def record(workdir: Path) -> dict[str, Any]:
    """What run.json says."""
    path = workdir / 'run.json'
    if not path.is_file():
        raise Mistake(f'{workdir} is not a workdir: it has no run.json')
    return read(path, 'config', 'data')


def lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The lines of metrics.jsonl that have an end, each with its row; of a torn one there is none.

    A last line without an end is still being written, or its writer was killed.
    """
    *whole, _ = path.read_text(errors='replace').split('\n') if path.exists() else ['']
    for line in whole:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        standing = isinstance(row, dict) and isinstance(row.get('step'), int)
        yield line, row if standing else None


def metrics(workdir: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, also while it is written; of lines that are torn this is told."""
    path = workdir / 'metrics.jsonl'
    rows = [row for _, row in lines(path)]
    if torn := [str(i) for i, row in enumerate(rows, 1) if row is None]:
        print(
            f'WARNING: {path}: line {", ".join(torn)} is torn, so minutes and curve are without it;'
            ' delete that line, or train on from the checkpoint before it',
            file=sys.stderr,
            flush=True,
        )
    return [row for row in rows if row is not None]
