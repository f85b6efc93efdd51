"""Our real steps beside PyTorch's, in one process and in turns: python benchmarks/steps.py

Augmentation, losses and optimizer are in both. Ours is the step that the config trains, on random
rows; PyTorch's is the best of eager and compiled (channels last, fused optimizer).
"""

import argparse
import inspect
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import rounds  # noqa: E402
import rows  # noqa: E402

from ssljax import cli  # noqa: E402
from ssljax.names import Mistake, choose  # noqa: E402

ROWS = {  # name -> the file and the function that makes its forms, steps of a call of a form
    'simclr-resnet18': ('torch_steps.simclr_resnet18', 1),
    'simclr-small': ('torch_steps.simclr_small', 5),
    'wgan_gp-digits': ('torch_steps.wgan_gp_digits', 25),
    'wgan_gp-32': ('torch_steps.wgan_gp_32', 5),
    'ctc': ('torch_steps.ctc', 2),
    'mae': ('torch_tokens.mae', 10),
    'dino': ('torch_tokens.dino', 10),
    'gpt': ('torch_tokens.gpt', 2),
    'vae': ('torch_tokens.vae', 20),
    'realnvp': ('torch_tokens.realnvp', 4),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python benchmarks/steps.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', default=','.join(ROWS), help=f'rows, of {", ".join(ROWS)}')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--most', type=float, default=12, help='seconds of a form in a row')
    parser.add_argument('--batch', type=int, help='of rows that have a choice')
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), help='likewise')
    parser.add_argument('--out', type=Path, metavar='FILE', help='rows are merged into it')
    known = parser.parse_args()
    names = [choose(name, ROWS, 'row') for name in known.only.split(',')]
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise Mistake(
            'every row is beside torch, which is not installed: pip install torch'
        ) from None
    head = {**rounds.about('optax', 'torch'), 'gigaflop_per_second': rounds.peak()}
    for name in names:
        rows.keep(known.out, head, [measure(name, known)])
    return 0


def measure(name: str, known: argparse.Namespace) -> dict:
    """One row: milliseconds of one step by each form."""
    import importlib

    place, steps = ROWS[name]
    module, _, function = place.partition('.')
    make = getattr(importlib.import_module(module), function)
    options = {k: v for k in ('batch', 'dtype') if (v := getattr(known, k))}
    for option in options:
        if option not in inspect.signature(make).parameters:
            raise Mistake(f'the row {name} has no --{option}; leave it out, or type --only=...')
    seconds = rounds.timed(make(steps, **options), known.rounds, most=known.most)
    seconds = {form: [s / steps for s in calls] for form, calls in seconds.items()}
    row = {'work': name, **options, 'steps': steps, **rounds.compared(seconds)}
    low, high = row['ratio_range']
    print(f'{name:18}{row["ratio"]:.2f} [{low:.2f}-{high:.2f}] of {row["beside"]}', end='')
    shown = (f'{form} {ms[1]:.1f}' for form, ms in row['milliseconds'].items())
    print(f'; milliseconds of a step: {", ".join(shown)}', flush=True)
    return row


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
