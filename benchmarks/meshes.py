"""Losses of a set, the batch cut over eight devices in five ways:
python benchmarks/meshes.py --out=results/meshes.json

The largest difference from the plain call, over the largest number: of value and of gradient. The
cases, ways and devices (simulated) are those of tests/losses/test_proofs.py.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests'), str(ROOT / 'tests' / 'losses')]

import numpy as np  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog='python benchmarks/meshes.py', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args()
    import conftest  # noqa: F401, I001  eight devices, before jax is imported
    import jax
    import test_proofs as proofs

    rows = []
    for case in proofs.SETS:
        args = proofs.real(proofs.drawn(case, 16))
        plain = jax.jit(proofs.objective(case, proofs.bound(case)))(*args)
        row = {'loss': case.name, 'gradient': bool(case.moves)}
        for way, cut in proofs.WAYS.items():
            value, grads = cut(case, args, plain[0].ndim == 0)
            row[way] = {
                'value': apart(value, plain[0]),
                'gradient': max(map(apart, grads, plain[1]), default=None),
            }
        rows.append(row)
        print(row, flush=True)
    found = {'jax': jax.__version__, 'devices': 8, 'losses': rows}
    known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def apart(a, b) -> float:
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(b).max())


if __name__ == '__main__':
    sys.exit(main())
