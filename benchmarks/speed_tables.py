"""The tables of speed of README and docs/speed.md, for tables.py: what results/ says, and "not yet
measured" where it says nothing.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(Path(__file__).parent)]

import rows  # noqa: E402

UNKNOWN = 'not yet measured'
HELD = ('arrays', 'tfds')  # the works whose steps should never wait
NEED, WAIT = 'times_what_the_step_consumes', 'waiting_for_data'  # of rows of speed-input


class Target(NamedTuple):
    """A row of README's table."""

    title: str
    file: str  # of results/
    work: str  # its row there
    aim: str
    most: float  # the ratio of times, or where nobody else took part the seconds
    beside: str = ''  # the form that the ratio is to, where it is not the best of torch


TARGETS = (
    Target('SimCLR, ResNet-18, 64 x 2 views', 'speed-steps', 'simclr-resnet18', '≤ 1.2', 1.2),
    Target('SimCLR, four convolutions, 128 x 2 views', 'speed-steps', 'simclr-small', '≤ 1.2', 1.2),
    Target('MAE, small', 'speed-steps', 'mae', '≤ 1.0', 1.0),
    Target('DINO, small, 2 + 2 crops', 'speed-steps', 'dino', '≤ 1.0', 1.0),
    Target('GPT, 4 x 128', 'speed-steps', 'gpt', '≤ 1.15', 1.15),
    Target('WGAN-GP, digits', 'speed-steps', 'wgan_gp-digits', '≤ 0.4', 0.4),
    Target('WGAN-GP, 32 px', 'speed-steps', 'wgan_gp-32', '≤ 1.2', 1.2),
    Target('VAE', 'speed-steps', 'vae', '≤ 0.9', 0.9),
    Target('RealNVP', 'speed-steps', 'realnvp', '≤ 1.0', 1.0),
    Target('LSTM and CTC', 'speed-steps', 'ctc', '≤ 1.5', 1.5),
    Target('two views, 128 images of 32 px', 'speed-augment', 'two views, 32 px', '≤ 1.2', 1.2),
    Target(
        'the same beside PIL',
        'speed-augment',
        'two views, 32 px',
        '≥ 8 times as fast',
        1 / 8,
        'PIL, 1 core',
    ),
    Target('NT-Xent in blocks, N = 4096', 'losses', 'nt_xent, N = 4096', '≤ 0.4', 0.4),
    Target('k-NN, bank of 50,000 x 512, k = 200', 'eval', 'knn', '≤ 1.0', 1.0),
    Target('`train --help`', 'speed-start', 'train --help', '≤ 1 s', 1.0),
    Target('second start, to its first step', 'speed-start', 'first step, cached', '≤ 10 s', 10.0),
)
CPU = ('speed-steps', 'speed-augment', 'speed-input', 'losses', 'eval', 'speed-start')
GPU = '-h100'  # the end of the names of results of a GPU


def loaded(name: str) -> dict[str, Any] | None:
    """A file of results in the one form; None: it is not there."""
    path = ROOT / 'results' / f'{name}.json'
    return rows.read(path) if path.exists() else None


def summary() -> str:
    """README's table: the works that have a target."""
    lines, files = [], {}
    for target in TARGETS:
        found = files.setdefault(target.file, loaded(target.file))
        row = next((r for r in (found or {}).get('rows', ()) if r['work'] == target.work), None)
        lines.append([target.title, *against(row, target), target.aim])
    lines += feeding(files.setdefault('speed-input', loaded('speed-input')))
    below = together([found for found in files.values() if found])
    return grid(['work', 'ours / torch', 'range', 'target'], lines, below)


def against(row: Mapping[str, Any] | None, target: Target) -> list[str]:
    """The number of a row, bold where it reaches its target, and its range."""
    if row is None:
        return [UNKNOWN, '']
    times = row['milliseconds']
    low, middle, high = times[rows.ours(row)]
    if target.beside in times:
        value = middle / times[target.beside][1]
        told, spread = f'{1 / value:.1f} times as fast', ''
    elif target.aim.endswith(' s'):
        value = middle / 1e3
        told, spread = f'{value:.2g} s', bounds([low / 1e3, high / 1e3])
    elif 'ratio' in row:
        value, told, spread = row['ratio'], f'{row["ratio"]:.2f}', bounds(row.get('ratio_range'))
    else:
        return ['torch took no part', '']
    return [f'**{told}**' if value <= target.most else told, spread]


def feeding(found: Mapping[str, Any] | None) -> list[list[str]]:
    """Whether every route of data feeds the step of its config: the one that does so least."""
    fed = [row for row in (found or {}).get('rows', ()) if NEED in row]
    cells = [UNKNOWN, UNKNOWN]
    if fed:
        slow = min(fed, key=lambda r: r[NEED])
        wait = max(
            (r for r in fed if r['work'].startswith(HELD)), key=lambda r: r[WAIT], default=slow
        )
        told = (
            (f'{slow[NEED]:.1f} times', slow[NEED] >= 2),
            (f'{wait[WAIT]:.1%}', wait[WAIT] <= 0.02),
        )
        cells = [f'**{text}**' if reached else text for text, reached in told]
        cells = [f'{cell} ({row["work"]})' for cell, row in zip(cells, (slow, wait))]
    return [
        ['routes of data, over what the step takes: the least', cells[0], '', '≥ 2 times'],
        ['a step waits for data in memory, or of TFDS: the most', cells[1], '', '≤ 2 %'],
    ]


def bounds(span: Sequence[float] | None) -> str:
    """The least and the greatest of the rounds."""
    return '-'.join(f'{value:.2f}' for value in span) if span else ''


def all_rows(names: Sequence[str]) -> str:
    """Every row of some files of results, each with the machine below it."""
    parts = []
    for name in names:
        found = loaded(name)
        if found is None:
            parts.append(f'`results/{name}.json`: {UNKNOWN}')
            continue
        lines = [
            [
                row['work'],
                '; '.join(f'{form} {span(ms)}' for form, ms in row['milliseconds'].items())
                + fed(row),
                f'{row["ratio"]:.2f} ({rows.ours(row)} / {row["beside"]})'
                if 'ratio' in row
                else '',
                bounds(row.get('ratio_range')),
            ]
            for row in found['rows']
        ]
        head = ['work', 'milliseconds: median (least to greatest)', 'ours / torch', 'range']
        parts.append(grid(head, lines, f'`results/{name}.json`: {machine(found)}'))
    return '\n\n'.join(parts)


def fed(row: Mapping[str, Any]) -> str:
    """Of a route of data: what the step of its config takes of it."""
    if NEED not in row:
        return ''
    return f'; {row[NEED]:.1f} times what `{row["config"]}` takes, which waits {row[WAIT]:.1%}'


def span(milliseconds: Sequence[float]) -> str:
    low, middle, high = milliseconds
    return f'{middle:.4g}' + (f' ({low:.4g} to {high:.4g})' if low < high else '')


def gpu() -> str:
    """Rows of a GPU, of all the files that there are or should be."""
    names = {path.stem for path in (ROOT / 'results').glob(f'*{GPU}.json')}
    mine = {name for name in names if name.startswith(('speed-', 'step-torch', 'losses'))}
    return all_rows(sorted(mine | {f'speed-steps{GPU}'}))


def machine(found: Mapping[str, Any]) -> str:
    """Day, device, versions and matrix peak of a file, where it tells them."""
    device = found.get('processor') or found.get('device', '')
    parts = [found.get('date', ''), device, f'{found["cores"]} cores' if 'cores' in found else '']
    parts.append(', '.join(f'{k} {v}' for k, v in found.get('versions', {}).items()))
    if peak := found.get('gigaflop_per_second'):
        parts.append(
            ', '.join(f'{who} {v:.0f} GFLOP/s' for who, v in peak.items()) + ' in products'
        )
    return ', '.join(part for part in parts if part) + '.'


def together(files: Sequence[Mapping[str, Any]]) -> str:
    """Days, devices, versions and matrix peaks of several files, each told once."""

    def told(*values: Any) -> str:
        return ', '.join(dict.fromkeys(str(value) for value in values if value))

    devices = [found.get('processor') for found in files if found.get('processor')]
    devices = devices or [found.get('device') for found in files]
    versions = [
        f'{name} {found["versions"][name]}'
        for name in ('jax', 'torch')
        for found in files
        if name in found.get('versions', {})
    ]
    peaks = [found['gigaflop_per_second'] for found in files if 'gigaflop_per_second' in found]
    by = {who: [peak[who] for peak in peaks if who in peak] for who in ('jax', 'torch')}
    parts = [
        told(*sorted(found.get('date', '') for found in files)),
        told(*devices, *(f'{found["cores"]} cores' for found in files if 'cores' in found)),
        told(*versions),
        *(f'{who} {min(v):.0f} to {max(v):.0f} GFLOP/s in products' for who, v in by.items() if v),
    ]
    return '; '.join(part for part in parts if part) + '.' if files else ''


def grid(head: Sequence[str], lines: Iterable[Sequence[str]], below: str = '') -> str:
    """A table in Markdown, and a line below it."""
    body = [f'| {" | ".join(head)} |', '|' + '---|' * len(head)]
    body += [f'| {" | ".join(line)} |' for line in lines]
    return '\n'.join([*body, *(['', below] if below else [])])
