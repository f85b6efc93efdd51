"""Tables of sweeps.py and transfer.py, for tables.py: heads, rows, and a line below."""

import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import transfer  # noqa: E402

from ssljax.compare import ALPHA  # noqa: E402

Cell = Mapping[str, Any]
Table = tuple[list[str], list[list[str]], str]
SCORES = ('knn', 'linear')


def read(name: str) -> dict[str, Any]:
    return json.loads((ROOT / 'results' / f'{name}.json').read_text())


def cells(name: str) -> dict[str, Cell]:
    return {cell['cell']: cell for cell in read(name)['cells']}


def both(cell: Cell | None, of: str = '') -> str:
    """'k-NN / linear' in percent; '' where there is no such cell."""
    return ' / '.join(f'{cell[name + of]:.1f}' for name in SCORES) if cell else ''


def beside(found: Mapping[str, Cell]) -> str:
    return 'Beside: ' + ', '.join(f'{who} {both(found[who])}' for who in ('pixels', 'untrained'))


def below(name: str) -> str:
    """What is said under a table: who learned nothing, and what the cells cost."""
    found = read(name)
    seconds = sorted(cell['cpu_seconds'] for cell in found['cells'])
    middle = seconds[len(seconds) // 2]
    told = f'seed {found["seed"]}; {middle:.0f} CPU seconds a cell (median); {found["device_kind"]}'
    return f'{beside(cells(name))}; {told}.'


def aug_pairs(name: str = 'simclr-aug-pairs') -> Table:
    """A row and a column per augmentation; alone on the diagonal."""
    found = cells(name)
    single = [cell for cell in found if '+' not in cell and cell not in ('pixels', 'untrained')]

    def pair(a: str, b: str) -> Cell | None:
        return found.get(a if a == b else f'{a} + {b}', found.get(f'{b} + {a}'))

    rows = [[a, *(both(pair(a, b)) for b in single)] for a in single]
    return ['', *single], rows, below(name)


def head(name: str = 'simclr-head') -> Table:
    found = cells(name)
    rows = [[who, both(c), both(c, ', z')] for who, c in found.items() if who != 'pixels']
    return ['head', 'h, before it', 'z, after it'], rows, below(name)


def batch(name: str = 'simclr-batch', *, apart: str = ' at ', title: str = 'temperature ') -> Table:
    """A row per batch, a column per temperature, or what else a cell's name has beside the batch.

    apart: what is between the two in the name. title: of a column, before its value.
    """
    found = cells(name)
    places = [cell.split(apart) for cell in found if apart in cell]
    sizes, others = (list(dict.fromkeys(part)) for part in zip(*places))
    rows = [[n, *(both(found.get(f'{n}{apart}{other}')) for other in others)] for n in sizes]
    return ['batch', *(f'{title}{other}' for other in others)], rows, below(name)


def strength(name: str = 'simclr-strength') -> Table:
    found = cells(name)
    rows = []
    for who, cell in found.items():
        if who not in ('pixels', 'untrained'):
            low, high = cell['of']['model.view.scale']
            numbers = [f'{cell["nats"]:.2f}', f'{cell["found"]:.1f}']
            rows.append([who, f'{low:g} to {high:g}', *numbers, *both(cell).split(' / ')])
    heads = ['jitter', 'area of the crop', 'shared nats', 'found', 'k-NN', 'linear']
    return heads, rows, below(name)


def shortcut(name: str = 'simclr-shortcut') -> Table:
    """Percent of views that find the other of their image; a row per net, one for colors alone."""
    found = cells(name)
    views = [f'jitter {how}' for how in ('off', 'on')]
    some = found['untrained']
    rows = [['chance', *[f'{some["chance"]:.1f}'] * 2, '']]
    rows.append(['colors alone', *(f'{some[f"colors, {view}"]:.1f}' for view in views), ''])
    titles = {'untrained': 'untrained', 'off': 'trained, jitter off', 'on': 'trained, jitter on'}
    for who, title in titles.items():
        if not (cell := found.get(who)):
            continue
        rows.append([title, *(f'{cell[f"net, {view}"]:.1f}' for view in views), both(cell)])
    return ['who matches', *(f'{view}' for view in views), 'k-NN / linear of h'], rows, below(name)


def transferred(name: str = 'simclr-transfer') -> Table:
    """A row per system, a column per set. Bold: the best of its half of a column, and who is not
    told from it."""
    found = read(name)
    column: dict[tuple[str, str], dict[str, Cell]] = {}
    for cell in found['cells']:
        of = cell['of']
        column.setdefault((of['how'], of['target']), {})[of['system']] = cell
    targets = list(dict.fromkeys(target for _, target in column))
    rows = []
    for how in dict.fromkeys(how for how, _ in column):
        for who in transfer.SYSTEMS:
            told = [
                marked(column[how, target], who) for target in targets if (how, target) in column
            ]
            rows.append([f'{how}, {who}', *told])
    halves = dict.fromkeys(how for how, _ in column)
    sizes = ', '.join(
        f'{target} ' + ' / '.join(str(one['train']) for one in ways) + f' / {ways[0]["test"]}'
        for target in targets
        for ways in [[column[how, target]['SimCLR'] for how in halves if (how, target) in column]]
    )
    steps = ', '.join(f'{who} {one["steps"]} steps' for who, one in found['pretrained'].items())
    return (
        ['', *targets],
        rows,
        f'Rows to learn from, {" / ".join(halves)}, / of the test: {sizes}. {steps} of CIFAR-10.',
    )


def marked(systems: Mapping[str, Cell], who: str) -> str:
    """The accuracy, bold where the best one's lead over it is not told from chance."""
    best = max(systems.values(), key=lambda cell: cell['accuracy'])
    mark = '**' if told_apart(best, systems[who]) > ALPHA else ''
    return f'{mark}{systems[who]["accuracy"]:.1f}{mark}'


def told_apart(best: Cell, other: Cell) -> float:
    return transfer.swap_p(transfer.hits(best), transfer.hits(other))


TABLES = {
    'sweep_aug_pairs': aug_pairs,
    'sweep_head': head,
    'sweep_batch': batch,
    'sweep_decoupled': partial(batch, 'simclr-decoupled', apart=', ', title=''),
    'sweep_strength': strength,
    'sweep_shortcut': shortcut,
    'transfer': transferred,
}
