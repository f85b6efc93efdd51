"""Losses beside implementations that others trust, on the same inputs:
python benchmarks/parity.py --out=results/parity.json --golden=tests/losses/golden.npz

Value, and gradient by the first argument. Needs PyTorch, lightly, pytorch-metric-learning and
diffusers beside optax, scikit-learn and scipy; those that are missing keep the rows that the files
have. The golden file holds inputs and the peers' numbers, so that the tests need none of them.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import peers  # noqa: E402

if TYPE_CHECKING:  # jax is imported when something is compared, so --help is immediate
    from counterparts import Pair


def ours(pair: 'Pair', args: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient."""
    import jax
    import jax.numpy as jnp

    value, grad = jax.jit(jax.value_and_grad(pair.ours))(*map(jnp.asarray, args))
    return np.asarray(value), np.asarray(grad)


def theirs(pair: 'Pair', args: tuple) -> tuple[np.ndarray, np.ndarray | None]:
    if pair.package == 'optax':
        import jax
        import jax.numpy as jnp

        value, grad = jax.value_and_grad(pair.theirs)(*map(jnp.asarray, args))
        return np.asarray(value), np.asarray(grad)
    if pair.package in ('scikit-learn', 'scipy'):
        return np.asarray(pair.theirs(*args)), None
    import torch

    tensors = [torch.from_numpy(np.asarray(a)) for a in args]
    value = pair.theirs(tensors[0].requires_grad_(), *tensors[1:])
    value.backward()
    return value.detach().numpy(), tensors[0].grad.numpy()


def main() -> int:
    parser = argparse.ArgumentParser(prog='python benchmarks/parity.py', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--golden', type=Path, required=True, metavar='FILE')
    known = parser.parse_args()
    import jax
    from parity_pairs import PAIRS

    old = json.loads(known.out.read_text())['pairs'] if known.out.exists() else []
    old = {f'{row["loss"]} / {row["package"]} {row["what"]}': row for row in old}
    golden = dict(np.load(known.golden)) if known.golden.exists() else {}
    rows = []
    for i, pair in enumerate(PAIRS):
        version = peers.versions(pair.package).get(pair.package)
        if version is None:
            rows += [old[pair.name]] if pair.name in old else []
            continue
        args = pair.draw(np.random.default_rng(i))
        (value, grad), (other, slope) = ours(pair, args), theirs(pair, args)
        row = {
            'loss': pair.loss,
            'package': pair.package,
            'version': version,
            'what': pair.what,
            'ours': float(value),
            'theirs': float(other),
            'value': float(abs(value - other) / abs(other)),
            'gradient': None if slope is None else float(apart(grad, slope)),
            'agrees': pair.agrees,
            'note': pair.note,
        }
        rows.append(row)
        print(f'{pair.name:60} {row["value"]:.1e} {row["gradient"] or 0:.1e}', flush=True)
        golden |= {f'{pair.name}:{k}': a for k, a in enumerate(args)}
        golden[f'{pair.name}:value'] = other
        if slope is not None:
            golden[f'{pair.name}:gradient'] = slope
    found = {'jax': jax.__version__, 'pairs': rows}
    known.out.write_text(json.dumps(found, indent=1) + '\n')
    np.savez_compressed(known.golden, **golden)
    return 0


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()


if __name__ == '__main__':
    sys.exit(main())
