"""Files of results, results/speed-*.json: rows of one form, written row by row and read again.

A row: what it times (`work`), `milliseconds` {form: [least, median, greatest]}, and where another
library took part `ratio`, of medians, and `ratio_range`. It imports no jax.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]

OURS = ('ours', 'block')  # the form of ours that is compared begins with the first that is there
TORCH = ('torch', 'lightly')  # forms of PyTorch begin with these


def keep(path: Path | None, head: Mapping[str, Any], rows: Iterable[Row]) -> None:
    """Writes rows under their head; rows of other works that the file has already stay."""
    if path is None:
        return
    new = {row['work']: {**row, 'date': head['date']} for row in rows}
    old = json.loads(path.read_text())['rows'] if path.exists() else []
    kept = {row['work']: row for row in old} | new  # a row that was there keeps its place
    path.write_text(json.dumps({**head, 'rows': list(kept.values())}, indent=1) + '\n')


def read(path: Path) -> dict[str, Any]:
    """A file of results with its rows in the one form, also those of an earlier one."""
    found = json.loads(path.read_text())
    if 'examples_per_second' in found:
        found['rows'] = [of_rates(found)]
    if 'losses' in found:
        found['rows'] = grouped(found['losses'], lambda r: f'{r["loss"]}, N = {r["n"]}')
    elif path.stem.startswith('eval'):
        found['rows'] = grouped(found['rows'], lambda r: r['task'].replace('_', ' '))
    return found


def of_rates(found: Mapping[str, Any]) -> Row:
    """The row of a file with the examples per second of each form, of torch_simclr.py."""
    rates, batch = found['examples_per_second'], found['batch']
    times = {
        form: [1e3 * batch / r for r in (found['range'][form][1], rate, found['range'][form][0])]
        for form, rate in rates.items()
    }
    return compared(f'SimCLR ResNet-18, batch {batch}, {found["dtype"]}', times)


def grouped(rows: Iterable[Row], work) -> list[Row]:
    """Rows of one form each, as rows of one work each."""
    works: dict[str, list[Row]] = {}
    for row in rows:
        if 'form' not in row:
            return list(rows)  # they have the one form
        works.setdefault(work(row), []).append(row)
    joined = []
    for name, mine in works.items():
        times = {row['form']: row.get('milliseconds', [1e3 * row['seconds']] * 3) for row in mine}
        one, span = compared(name, times), mine[0].get('ratio_range')
        joined.append({**one, 'ratio_range': span} if span and 'ratio' in one else one)
    return joined


def compared(work: str, milliseconds: Mapping[str, list[float]]) -> Row:
    """A row with its ratio: ours over the best of PyTorch."""
    row: Row = {'work': work, 'milliseconds': dict(milliseconds)}
    theirs = [form for form in milliseconds if form.startswith(TORCH)]
    if (mine := ours(row)) and theirs:
        row['beside'] = min(theirs, key=lambda form: milliseconds[form][1])
        row['ratio'] = milliseconds[mine][1] / milliseconds[row['beside']][1]
    return row


def ours(row: Row) -> str | None:
    """The form of ours that is compared."""
    forms = list(row['milliseconds'])
    found = [form for start in OURS for form in forms if form.startswith(start)]
    return (found or forms or [None])[0]


def peak(found: Mapping[str, Any], row: Row) -> float | None:
    """GFLOP/s of a product of matrices, measured beside the row, or beside its whole file."""
    measured = row.get('gigaflop_per_second', found.get('gigaflop_per_second'))
    return measured['jax'] if measured else None
