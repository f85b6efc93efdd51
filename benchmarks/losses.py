"""Time and memory of losses over all pairs, dense and in strips, by the number of pairs N:
python benchmarks/losses.py --out=results/losses.json [--plot=docs/losses.svg]

Value and gradient of random rows of 128 numbers. All forms of one loss at one N take turns in one
process, so that a ratio holds whatever else the machine does. Memory is what a fresh process of one
form holds more at its most than before its first call; on an accelerator, the program's
temporaries. Dense forms stop at --dense rows. PyTorch and lightly take part where they are
installed; lightly's loss is that of its own file. Losses and sizes may be measured one after
another into the same file. --only=nt_xent --sizes=4096 takes a minute.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import peers  # noqa: E402
import rounds  # noqa: E402
from step import extra  # noqa: E402

from ssljax import cli  # noqa: E402

DIM, TEMPERATURE = 128, 0.1
PEERS = {'optax': 1024, 'torch': 2**30, 'lightly': 2**30}  # optax holds (2N)^2 x 128 numbers
LOSSES = ('nt_xent', 'info_nce', 'clip', 'siglip', 'sup_con')


def main() -> int:
    parser = cli.parser('benchmarks/losses.py', __doc__)
    parser.add_argument('--sizes', default='1024,2048,4096,8192', metavar='N,N')
    parser.add_argument('--only', default=','.join(LOSSES), metavar='NAME,NAME', help='losses')
    parser.add_argument('--block', default='256', metavar='T,T', help='columns at a time')
    parser.add_argument('--dense', type=int, default=16384, help='largest N of dense forms')
    parser.add_argument('--rounds', type=int, default=3, help='fewer where a round takes long')
    parser.add_argument('--out', type=Path, metavar='FILE')
    parser.add_argument('--plot', type=Path, metavar='FILE')
    parser.add_argument('--memory', help='one form, LOSS:FORM:N; prints its memory alone')
    known = parser.parse_args()
    if known.memory:
        loss, form, n = known.memory.split(':')
        prepared(loss, form, 64)()  # thread pools and libraries
        print(extra(prepared(loss, form, int(n)))[0])
        return 0
    head = rounds.about(*PEERS) | {'dim': DIM, 'gigaflop_per_second': rounds.peak()}
    if not peers.versions('torch'):
        print('PyTorch is not installed: it takes no part')
    found: dict[str, Any] = {}
    for loss in known.only.split(','):
        for n in map(int, known.sizes.split(',')):
            forms = forms_of(loss, n, known.dense, known.block.split(','))
            mine = measure(loss, n, forms, known.rounds)
            for row in mine:
                print(' '.join(map(told, row.values())), flush=True)
            found = merged(known.out, head, mine)
    if known.plot:
        plot(found, known.plot)
    return 0


def told(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def merged(out: Path | None, head: dict, mine: list[dict]) -> dict:
    """The file with these rows in it; what was measured before and not again stays."""
    new = {(row['loss'], row['n']) for row in mine}
    old = json.loads(out.read_text())['losses'] if out and out.exists() else []
    rows = [row for row in old if (row['loss'], row['n']) not in new]
    rows += [{**row, 'date': head['date']} for row in mine]
    rows.sort(key=lambda row: (LOSSES.index(row['loss']), row['n']))
    found = {**head, 'losses': rows}
    if out:
        out.write_text(json.dumps(found, indent=1) + '\n')
    return found


def forms_of(loss: str, n: int, dense: int, blocks: list[str]) -> list[str]:
    forms = [f'block {t}' for t in blocks]
    if n > dense:
        return forms
    others = [name for name in peers.versions(*PEERS) if n <= PEERS[name] and loss == 'nt_xent']
    return ['dense', *others, *forms]


def measure(loss: str, n: int, forms: list[str], turns: int) -> list[dict]:
    import jax

    calls = {form: prepared(loss, form, n) for form in forms}
    seconds = rounds.timed(calls, turns)
    block = next(form for form in forms if form.startswith('block'))
    compared = rounds.compared(seconds, ours=block, theirs=('torch', 'lightly'))
    dense = median(seconds.get('dense', [float('nan')]))
    rows = []
    for form, call in calls.items():
        if jax.default_backend() == 'cpu':
            command = [sys.executable, __file__, f'--memory={loss}:{form}:{n}']
            memory = float(subprocess.run(command, stdout=-1, text=True, check=True).stdout)
        else:
            memory = call.memory()
        rows.append(
            {
                'loss': loss,
                'n': n,
                'form': form,
                'seconds': median(seconds[form]),
                'milliseconds': compared['milliseconds'][form],
                'ratio_range': compared.get('ratio_range'),  # of the first block, to torch
                'ratio': median(seconds[form]) / dense if 'dense' in forms else None,
                'megabytes': memory,
                'temporaries': getattr(call, 'temporaries', None),  # XLA's count
                'rounds': len(seconds[form]),
            }
        )
    return rows


def prepared(loss: str, form: str, n: int) -> Callable[[], None]:
    """Value and gradient as a call that returns when all is done."""
    import numpy as np

    z = np.random.default_rng(0).normal(size=(2, n, DIM)).astype(np.float32)
    return (in_torch if form in ('torch', 'lightly') else in_jax)(loss, form, z)


def in_jax(loss: str, form: str, z) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp
    import optax

    from ssljax import losses

    n = z.shape[1]

    def value(z1, z2):
        if form == 'optax':
            rows, labels = jnp.concatenate([z1, z2]), jnp.tile(jnp.arange(n), 2)
            return optax.losses.ntxent(rows, labels, temperature=TEMPERATURE)
        block = int(form.split()[1]) if form.startswith('block') else None
        if loss == 'sup_con':
            return losses.sup_con(jnp.stack([z1, z2], 1), jnp.arange(n) % 100, block=block).mean()
        options = dict(temperature=TEMPERATURE) if loss in ('nt_xent', 'info_nce') else {}
        return getattr(losses, loss)(z1, z2, block=block, **options).mean()

    z1, z2 = jax.device_put(list(z))
    program = jax.jit(jax.value_and_grad(value, (0, 1))).lower(z1, z2).compile()
    analysis = program.memory_analysis()

    def call():
        jax.block_until_ready(program(z1, z2))

    call.temporaries = analysis.temp_size_in_bytes / 1e6 if analysis else float('nan')
    call.memory = lambda: call.temporaries
    return call


def in_torch(loss: str, form: str, z) -> Callable[[], None]:
    import torch
    from torch.nn import functional as F

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    z = torch.tensor(z, device=device, requires_grad=True)
    n = z.shape[1]
    target = torch.arange(2 * n, device=device).roll(n)
    theirs = None
    if form == 'lightly':
        theirs = peers.lightly('ntx_ent_loss').NTXentLoss(temperature=TEMPERATURE)

    def value():
        if theirs is not None:
            return theirs(z[0], z[1])
        rows = F.normalize(z.reshape(2 * n, -1), dim=1)
        logits = rows @ rows.T / TEMPERATURE
        return F.cross_entropy(logits.fill_diagonal_(float('-inf')), target)

    def call():
        torch.autograd.grad(value(), z)
        if device == 'cuda':
            torch.cuda.synchronize()

    def memory():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6

    call.memory = memory
    return call


def plot(found: dict, path: Path) -> None:
    """Time and memory of the first loss, by N."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    plt.rcParams['svg.hashsalt'] = 'ssljax'  # the same numbers, the same file
    loss = found['losses'][0]['loss']
    rows = [row for row in found['losses'] if row['loss'] == loss]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout='constrained')
    for form in dict.fromkeys(row['form'] for row in rows):
        mine = [row for row in rows if row['form'] == form]
        for ax, unit in zip(axes, ('seconds', 'megabytes')):
            ax.loglog([r['n'] for r in mine], [r[unit] for r in mine], 'o-', label=form)
    for ax, unit in zip(axes, ('seconds', 'megabytes')):
        ax.set(xlabel='pairs N', ylabel=unit, title=f'{loss}, value and gradient')
        ax.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(path, metadata={'Date': None})


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
