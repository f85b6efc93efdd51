"""Contact sheets of operators and views: python -m ssljax.augment --sheet=all --out=sheet.png

all: every operator and view; operators: the ten of Chen et al. 2020, figure 4; masks; crops;
documents: what printers, scanners, cameras and copiers do, at several severities.
"""

import argparse
import json

import numpy as np

from ssljax.augment import sheets
from ssljax.cli import guarded
from ssljax.names import choose


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m ssljax.augment', description=__doc__)
    parser.add_argument('--sheet', default='all', help=f'one of {", ".join(sheets.SHEETS)}')
    parser.add_argument('--out', default='sheet.png', help='the picture to write')
    parser.add_argument('--data', help='a data set to take images from, or its spec as JSON')
    parser.add_argument('--index', default='0', help='which training images, such as 0,5,9')
    given = parser.parse_args()
    name = choose(given.sheet, sheets.SHEETS, 'sheet')
    if given.data:
        from ssljax import data  # the card needs no data

        spec = json.loads(given.data) if given.data.startswith('{') else dict(name=given.data)
        index = np.array([int(i) for i in given.index.split(',')])
        images = list(data.make(spec).splits['train'].rows(index)['x'])
    else:
        images = [sheets.card(), sheets.card().mean(-1, keepdims=True).astype(np.uint8)]
    sheets.make(name, images).save(given.out)
    print(f'wrote {given.out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(guarded(main))
