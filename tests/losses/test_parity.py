"""Equal to the implementations that others trust, by numbers that benchmarks/parity.py recorded."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / 'benchmarks'))

from parity import apart, ours
from parity_pairs import PAIRS

GOLDEN = dict(np.load(Path(__file__).parent / 'golden.npz'))


@pytest.mark.parametrize('pair', PAIRS, ids=lambda pair: pair.name)
def test_equals_its_peer_unless_the_paper_says_otherwise(pair):
    args = []
    while (argument := f'{pair.name}:{len(args)}') in GOLDEN:
        args.append(GOLDEN[argument])
    value, grad = ours(pair, args)
    equal = abs(value / GOLDEN[f'{pair.name}:value'] - 1) < 1e-5
    slope = GOLDEN.get(f'{pair.name}:gradient')  # some peers give none
    equal &= slope is None or apart(grad, slope) < 2e-5
    assert equal == pair.agrees, pair.note


def test_where_they_differ_a_note_says_who_is_right():
    assert all(pair.agrees or len(pair.note) > 30 for pair in PAIRS if pair.note != 'as optax')
    recorded = {name.rsplit(':', 1)[0] for name in GOLDEN}
    assert recorded == {pair.name for pair in PAIRS}
