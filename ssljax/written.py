"""What a run wrote, read back: a file that is torn, or lacks a block, is one line of what to do."""

import json
import sys
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


def metrics(workdir: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl; one that is torn is left out, and this is told."""
    path, lines = workdir / 'metrics.jsonl', []
    for i, line in enumerate(path.read_bytes().splitlines() if path.exists() else (), 1):
        try:
            lines.append({**json.loads(line)})
        except (ValueError, TypeError):
            print(
                f'WARNING: {path}: line {i} is torn, so minutes and curve are without it; delete'
                ' that line, or train on from the checkpoint before it',
                file=sys.stderr,
                flush=True,
            )
    return lines
