"""The step of SimCLR beside PyTorch's, in one process and in turns:
python benchmarks/torch_simclr.py [--batch=512] [--dtype=bfloat16] --out=results/step-torch.json

ResNet-18 with the CIFAR stem, projector 512-128 with batch norm, NT-Xent, SGD with momentum, two
views of 32 x 32 images, as configs/simclr.py:cifar10. Ours is the step that trains, augmentation
included; PyTorch (channels last, fused optimizer, torch.compile if --compile) gets views that are
made already, so that the ratio is to its advantage.
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
    parser = argparse.ArgumentParser(prog='benchmarks/torch_simclr.py', description=__doc__)
    parser.add_argument('--batch', type=int, default=512)
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16'))
    parser.add_argument('--rounds', type=int, default=8)
    parser.add_argument('--steps', type=int, default=10, help='of a round')
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    forms = {
        'ours': ours(known.batch, known.dtype),
        'ours, views made already': ours(known.batch, known.dtype, view=dict(name='identity')),
        'torch': in_torch(known.batch, known.dtype, False),
    }
    if known.compile:
        forms['torch, compiled'] = in_torch(known.batch, known.dtype, True)
    seconds: dict[str, list] = {name: [] for name in forms}
    for run in forms.values():
        run(3)
    for _ in range(known.rounds):
        for name, run in forms.items():
            began = time.perf_counter()
            run(known.steps)
            seconds[name].append((time.perf_counter() - began) / known.steps)
    import jax

    best = min(median(s) for name, s in seconds.items() if name.startswith('torch'))
    found = {
        'device': jax.devices()[0].device_kind,
        'versions': peers.versions('jax', 'flax', 'torch'),
        'batch': known.batch,
        'dtype': known.dtype,
        'examples_per_second': {name: known.batch / median(s) for name, s in seconds.items()},
        'range': {n: [known.batch / max(s), known.batch / min(s)] for n, s in seconds.items()},
        'ratio_to_best_torch': {name: median(s) / best for name, s in seconds.items()},
    }
    print(json.dumps(found, indent=1))
    if known.out:
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return 0


def compiled_step(batch: int, dtype: str, **keywords):
    """The step of SimCLR compiled, with a state, a batch and a key to give it."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax

    from ssljax.method import Run, State
    from ssljax.methods.simclr import simclr
    from ssljax.step import make_step

    run = Run(
        steps=1000, steps_per_epoch=100, examples=50000, batch=batch, classes=10, vocab=0,
        dtype=jnp.dtype(dtype),
    )  # fmt: skip
    options = dict(
        encoder=dict(name='resnet18', stem='cifar'),
        projector=dict(name='mlp', dims=(512, 128), norm='batch'),
        view=dict(name='simclr', size=32),
        temperature=0.2,
    )
    method, optimizer = simclr(run, **{**options, **keywords}), optax.sgd(0.1, 0.9)
    x = np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3)).astype(np.uint8)
    batch, key = {'x': jax.device_put(x)}, jax.random.key(0)

    @jax.jit
    def fresh(key):
        params, memory = method.init(key, {'x': batch['x'][:8] / 127.5 - 1})
        opt = {'net': optimizer.init(params)}
        return State(step=jnp.zeros((), jnp.int32), params=params, memory=memory, opt=opt)

    state = fresh(key)
    step = make_step(method, {'net': optimizer})
    return step.lower(state, batch, key, ('net',)).compile(), state, batch, key


def ours(batch: int, dtype: str, **keywords):
    """run(steps) on one batch."""
    import jax

    step, state, rows, key = compiled_step(batch, dtype, **keywords)

    def steps(count):
        nonlocal state
        for _ in range(count):
            state, _ = step(state, rows, key)
        jax.block_until_ready(state)

    return steps


def in_torch(batch: int, dtype: str, compiled: bool):
    import torch
    from torch import nn
    from torch.nn import functional as F

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision('high')  # TF32, as JAX's default on this card

    def conv(i, o, k, s):
        return nn.Conv2d(i, o, k, s, k // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, i, o, s):
            super().__init__()
            self.a, self.b = conv(i, o, 3, s), conv(o, o, 3, 1)
            self.na, self.nb = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
            short = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))
            self.short = short if s > 1 or i != o else nn.Identity()

        def forward(self, x):
            y = self.nb(self.b(F.relu(self.na(self.a(x)))))
            return F.relu(y + self.short(x))

    widths, blocks, last = (64, 128, 256, 512), [], 64
    for k, width in enumerate(widths):
        for j in range(2):
            blocks.append(Block(last, width, 2 if k and not j else 1))
            last = width
    net = nn.Sequential(
        conv(3, 64, 3, 1), nn.BatchNorm2d(64), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(512, 512, bias=False), nn.BatchNorm1d(512), nn.ReLU(),
        nn.Linear(512, 128, bias=False),
    ).to(device, memory_format=torch.channels_last)  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), 0.1, 0.9, fused=device == 'cuda')
    views = torch.rand(2 * batch, 3, 32, 32, device=device) * 2 - 1
    views = views.contiguous(memory_format=torch.channels_last)
    target = torch.arange(2 * batch, device=device).roll(batch)
    cast = dict(device_type=device, dtype=torch.bfloat16, enabled=dtype == 'bfloat16')

    def loss():
        with torch.autocast(**cast):
            z = net(views)
        z = F.normalize(z.float(), dim=1)
        logits = (z @ z.T / 0.2).fill_diagonal_(float('-inf'))
        return F.cross_entropy(logits, target)

    value = torch.compile(loss) if compiled else loss

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            value().backward()
            optimizer.step()
        if device == 'cuda':
            torch.cuda.synchronize()

    return steps


if __name__ == '__main__':
    sys.exit(main())
