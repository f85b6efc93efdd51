"""What large runs need on TPUs that are not here, and whether every method compiles for one:
python benchmarks/plans.py --out=results/plans.json

It needs the compiler for TPUs (pip install 'jax[tpu]') and no TPU. A row is a process; one that the
file has is not made again.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from ssljax import cli, config, plan  # noqa: E402
from ssljax.names import Mistake, choose  # noqa: E402

VIEW = dict(name='crop', size=224, scale=(0.9, 1.0), ratio=(1.0, 1.0), flip=0.0)
NO_EVALS = dict(evals={}, checkpoint={}, log={})
# name -> settings; images are 256 x 256 where none is said. remat: nets that compute again in the
# backward pass, which is tried on the fewest chips
BIG: dict[str, dict[str, Any]] = {
    'mae ViT-B/16': dict(given='mae:imagenet', remat=('encoder', 'decoder')),
    'dino ViT-S/16, 2 + 8 crops': dict(given='dino:imagenet'),
    'simclr ResNet-50': dict(
        given=dict(
            method='simclr', steps=31_000, batch=4096, dtype='bfloat16', data=dict(name='glyphs'),
            model=dict(encoder=dict(name='resnet50'), view=dict(name='simclr', size=224)),
            optim=dict(net=dict(name='lars', learning_rate=4.8, weight_decay=1e-6)), **NO_EVALS,
        ),
    ),
    'clip ViT-B/32': dict(
        text=77, vocab=49_408,
        given=dict(
            method='clip', steps=390_000, batch=32_768, dtype='bfloat16',
            data=dict(name='scenes'), model=dict(view=VIEW),
            optim=dict(net=dict(name='adamw', learning_rate=5e-4, weight_decay=0.2)), **NO_EVALS,
        ),
    ),
    'gpt 12 x 768, 1024 tokens': dict(
        tokens=1025, vocab=50_257, remat=('decoder',),
        given=dict(
            method='gpt', steps=600_000, batch=512, dtype='bfloat16',
            data=dict(name='python_text'),
            model=dict(
                decoder=dict(name='transformer', width=768, depth=12, heads=12, context=1024)
            ),
            optim=dict(decoder=dict(name='adamw', learning_rate=6e-4, weight_decay=0.1)),
            **NO_EVALS,
        ),
    ),
}  # fmt: skip
FEW = 8
TOPOLOGIES = {FEW: 'v5e:2x4', 64: 'v5e:8x8', 256: 'v5e:16x16'}
PLACEMENTS = {'data': [], 'fsdp': [('mesh.data', '1'), ('mesh.fsdp', '-1')]}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python benchmarks/plans.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', default='methods,big', help='methods, big, or words of rows')
    parser.add_argument('--limit', type=int, default=600, help='seconds of a row')
    parser.add_argument('--out', type=Path, metavar='FILE')
    parser.add_argument('--row', help=argparse.SUPPRESS)
    known = parser.parse_args()
    if known.row:
        print('\n' + json.dumps(made(known.row)))
        return 0
    rows = listed()
    asked = [name for name in rows if any(word in name for word in known.only.split(','))]
    if not asked:
        raise Mistake(f'no row has {known.only} in its name; there are: {"; ".join(rows)}')
    done = json.loads(known.out.read_text()) if known.out and known.out.exists() else {'rows': {}}
    for name in asked:
        if name in done['rows']:
            continue
        command = [sys.executable, __file__, f'--row={name}']
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=known.limit)
            lines = ran.stdout.strip().splitlines()
            told = ran.stderr.strip().splitlines() or ['no word']
            row = json.loads(lines[-1]) if ran.returncode == 0 else {'failed': told[-1]}
        except subprocess.TimeoutExpired:
            row = {'failed': f'not compiled in {known.limit} seconds'}
        print(f'{name}: {said(row)}', flush=True)
        done = {**about(), 'rows': done['rows'] | {name: row}}
        if known.out:
            known.out.write_text(json.dumps(done, indent=1) + '\n')
    return 0


def listed() -> list[str]:
    methods = [f'methods/{path.stem}' for path, _ in config.files(config.folder())]
    big = [
        f'big/{name}/{chips}/{place}'
        for name in BIG
        for chips in TOPOLOGIES
        for place in placements(name, chips)
    ]
    return methods + big


def placements(name: str, chips: int) -> list[str]:
    again = ['data, remat'] if chips == FEW and 'remat' in BIG[name] else []
    return [*PLACEMENTS, *again]


def said(row: dict) -> str:
    if 'failed' in row:
        return row['failed']
    least = max(row['floors'], key=row['floors'].get)
    return (
        f'{row["peak"] / 1e6:,.0f} MB of a device, {1e3 * row["floors"][least]:.2f} ms by {least}'
    )


def about() -> dict:
    import importlib.metadata
    import time

    versions = {name: importlib.metadata.version(name) for name in ('jax', 'libtpu')}
    return {'date': time.strftime('%Y-%m-%d'), **versions}


# ---- the tables of docs/plans.md


def found() -> dict:
    path = ROOT / 'results' / 'plans.json'
    return json.loads(path.read_text()) if path.exists() else {'rows': {}}


def large() -> tuple[list[str], list[list[str]]]:
    """Of each large run on each number of chips, by each placement."""
    head = ['run', 'chips', 'cut by', 'MB of a chip', 'operations', 'memory', 'links', 'sent most']
    lines, rows = [], found()['rows']
    for name in listed():
        if not name.startswith('big/') or name not in rows:
            continue
        title, chips, place = name.removeprefix('big/').rsplit('/', 2)
        row = rows[name]
        if 'failed' in row:
            lines.append([title, chips, place, short(row['failed']), '', '', '', ''])
            continue
        times = {k: f'{1e3 * seconds:,.1f}' for k, seconds in row['floors'].items()}
        narrow = max(row['floors'], key=row['floors'].get)
        times[narrow] = f'**{times[narrow]}**'
        fits = row['peak'] <= plan.CHIPS[row['chip']].memory
        room = f'{row["peak"] / 1e6:,.0f}' + ('' if fits else ', does not fit')
        kinds = {kind: volume for kind, (_, volume) in row['exchanges'].items()}
        most = max(kinds, key=kinds.get, default='')
        sent = f'{most}, {kinds[most] / 1e6:,.0f} MB' if most else 'nothing'
        lines.append([title, chips, place, room, *times.values(), sent])
    return head, lines or [['not yet compiled', *[''] * (len(head) - 1)]]


def short(failure: str) -> str:
    """'does not fit: 26.32 GiB of 15.75', or what else went wrong."""
    sizes = re.search(r'does not fit: .*\(([\d.]+)G\) exceeds .*\(([\d.]+)G\)', failure)
    if sizes:
        return 'does not fit: {} GiB of {}'.format(*sizes.groups())
    return failure.removeprefix('error: ').partition('; type')[0]


def compiled() -> tuple[list[str], list[list[str]]]:
    """Which methods compile for a TPU, and why others do not."""
    rows = {k: v for k, v in found()['rows'].items() if k.startswith('methods/')}
    failed = {k.removeprefix('methods/'): v['failed'] for k, v in rows.items() if 'failed' in v}
    if not rows:
        return ['what', 'how'], [['all methods', 'not yet compiled']]
    lines = [[f'{len(rows) - len(failed)} of {len(rows)} methods', 'compile']]
    return ['what', 'how'], lines + [[name, why] for name, why in failed.items()]


def made(row: str) -> dict:
    """The plan of a row; of turns that act at different steps, the one with most operations."""
    kind, name, *rest = row.split('/') if row.startswith('methods') else row.rsplit('/', 2)
    if kind == 'methods':
        plans = plan.plan(f'{name}:smoke', [], 'v5e:2x4')
    else:
        big = BIG[choose(kind.removeprefix('big/'), BIG, 'row')]
        place, _, remat = rest[0].partition(', ')
        again = [(f'model.{net}.remat', 'True') for net in big['remat']] if remat else []
        typed = [*PLACEMENTS[place], *again]
        plans = plan.plan(big['given'], typed, TOPOLOGIES[int(name)], source(big))
    return dict(plan.as_json(max(plans, key=lambda one: one.operations)))


def source(big: dict) -> Any:
    """Rows of the shape that the settings ask for."""
    import numpy as np

    from ssljax.data.source import Source, Split

    vocab = tuple(map(str, range(big.get('vocab', 0))))

    def rows(index):
        B = len(index)
        if 'tokens' in big:
            return {'x': np.zeros((B, big['tokens']), np.int32)}
        found = {'x': np.zeros((B, 256, 256, 3), np.uint8)}
        if 'text' in big:
            text = np.zeros((B, big['text']), np.int32)
            return found | {'text': text, 'text_length': np.ones(B, np.int32)}
        return found | {'label': np.zeros(B, np.int32)}

    split = Split(1_281_167, rows)
    classes = 0 if 'tokens' in big or 'text' in big else 1000
    return Source('drawn', {'train': split, 'test': split}, 'drawn', classes=classes, vocab=vocab)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
