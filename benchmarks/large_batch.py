"""A large batch in the memory of a small one: python benchmarks/large_batch.py --out=FILE

The step of SimCLR (ResNet-18 with the CIFAR stem, SGD) at a small batch, at a large one in chunks
of the small size with the loss in strips, and, if --whole, of a batch at once. Memory is what the
compiled program takes for a time.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import peers  # noqa: E402
import step  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog='python benchmarks/large_batch.py', description=__doc__)
    parser.add_argument('--small', type=int, default=512)
    parser.add_argument('--large', type=int, default=32768)
    parser.add_argument('--block', type=int, default=1024)
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--steps', type=int, default=3, help='timed')
    parser.add_argument('--whole', type=int, default=0, help='one more batch, at once')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    import jax

    forms = {
        f'{known.small}': (known.small, None, None),
        f'{known.large} in chunks of {known.small}': (known.large, known.small, known.block),
    }
    if known.whole:
        forms[f'{known.whole} at once'] = (known.whole, None, None)
    rows = []
    for name, (batch, chunk, block) in forms.items():
        rows.append({'form': name, **measure(known, batch, chunk, block)})
        print(rows[-1], flush=True)
    found = {
        'device': jax.devices()[0].device_kind,
        'versions': peers.versions('jax', 'flax'),
        'encoder': 'resnet18',
        'dtype': known.dtype,
        'rows': rows,
    }
    if known.out:
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def measure(known: argparse.Namespace, batch: int, chunk: int | None, block: int | None) -> dict:
    import jax
    import numpy as np

    from ssljax import model

    changes = {'batch': batch, 'dtype': known.dtype, 'model.chunk': chunk, 'model.block': block}
    data = step.drawn({'x': lambda random, n: random.integers(0, 256, (n, 32, 32, 3), np.uint8)})
    typed = [(name, str(value)) for name, value in changes.items()]
    job = step.opened('configs/simclr.py:cifar10', typed, data)
    state, key, rows = job.fresh(), job.key(model.STEP), step.first(job)
    program = job.step().lower(state, rows, key, job.acting(0)).compile()
    seconds = []
    for i in range(known.steps + 1):  # the first warms up
        began = time.perf_counter()
        state, _ = program(state, rows, key)
        jax.block_until_ready(state)
        seconds += [time.perf_counter() - began] * (i > 0)
    return {
        'batch': batch,
        'chunk': chunk,
        'block': block,
        'temporaries_megabytes': program.memory_analysis().temp_size_in_bytes / 1e6,
        'examples_per_second': batch / median(seconds),
    }


if __name__ == '__main__':
    sys.exit(main())
