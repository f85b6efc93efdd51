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


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks/large_batch.py', description=__doc__)
    parser.add_argument('--small', type=int, default=512)
    parser.add_argument('--large', type=int, default=32768)
    parser.add_argument('--block', type=int, default=1024)
    parser.add_argument('--encoder', default='resnet18')
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--steps', type=int, default=3, help='timed; 0: compile alone')
    parser.add_argument('--whole', type=int, default=0, help='batch of one more row, at once')
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
        'encoder': known.encoder,
        'dtype': known.dtype,
        'rows': rows,
    }
    if known.out:
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def measure(known: argparse.Namespace, batch: int, chunk: int | None, block: int | None) -> dict:
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from ssljax.method import Run, State
    from ssljax.methods.simclr import simclr
    from ssljax.step import make_step

    run = Run(
        steps=1000, steps_per_epoch=100, examples=50000, batch=batch, classes=10, vocab=0,
        dtype=jnp.dtype(known.dtype),
    )  # fmt: skip
    encoder = dict(name=known.encoder, stem='cifar') if 'resnet' in known.encoder else None
    method = simclr(
        run,
        encoder=encoder or dict(name=known.encoder),
        projector=dict(name='mlp', dims=(512, 128), norm='batch'),
        view=dict(name='simclr', size=32),
        chunk=chunk,
        block=block,
    )
    optimizer = optax.sgd(0.1, 0.9)
    x = np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3)).astype(np.uint8)
    x, key = jax.device_put(x), jax.random.key(0)

    @jax.jit
    def fresh(key):
        params, memory = method.init(key, {'x': x[:8] / 127.5 - 1})
        opt = {'net': optimizer.init(params)}
        return State(step=jnp.zeros((), jnp.int32), params=params, memory=memory, opt=opt)

    state = fresh(key)
    step = make_step(method, {'net': optimizer})
    program = step.lower(state, {'x': x}, key, ('net',)).compile()
    seconds = []
    for i in range(known.steps + 1 if known.steps else 0):
        began = time.perf_counter()
        state, metrics = program(state, {'x': x}, key)
        jax.block_until_ready(state)
        seconds += [time.perf_counter() - began] * (i > 0)
    row = {'batch': batch, 'chunk': chunk, 'block': block}
    row['temporaries_megabytes'] = program.memory_analysis().temp_size_in_bytes / 1e6
    if seconds:
        row['examples_per_second'] = batch / median(seconds)
    return row


if __name__ == '__main__':
    sys.exit(main())
