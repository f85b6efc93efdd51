"""What SimCLR depends on, one question at a time:
python benchmarks/sweeps.py --sweep=aug_pairs --out=results/simclr-aug-pairs.json

aug_pairs: which augmentations, alone and in pairs. head: none, a linear one, one with a hidden
layer; probed before and after it. batch: sizes and temperatures at equal epochs. decoupled: the
positive in the denominator or not, at sizes of the batch. strength: of views, from none to more
than a net can match. shortcut: how often the other view of an image is found by colors alone.

Every cell trains configs/simclr.py:cifar10_small, narrower and for half a minute, on CIFAR-10, and
is scored on all test rows; pixels and the untrained net stand beside. Cells that the file has are
not run again.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import cells  # noqa: E402

from ssljax import cache, cli  # noqa: E402

CONFIG = 'configs/simclr.py:cifar10_small'
BASE = {
    'steps': 600,
    'batch': 64,
    'model.encoder.widths': (16, 32, 64, 128),
    'optim.net.warmup': 60,
}
KNN = dict(k=20, temperature=0.07, bank_size=10_000, also=(), whiten=False, picture=False)
LINEAR = dict(train_size=10_000)
EPOCHS_OF = 600 * 64  # examples that every cell of `batch` and `decoupled` sees
IMAGES, BATCHES = 256, 8  # whose two views are matched, and how often
PLAIN = {'jitter': 0.0, 'gray': 0.0}
BINS = 8  # of a color histogram, along each of red, green, blue


class Sweep(NamedTuple):
    cells: Mapping[str, cells.Changes]  # name -> changes over BASE
    asks: tuple[str, ...]  # names of MEASURES


# ---- what is swept


def pairs() -> dict[str, cells.Changes]:
    """Each augmentation alone, and each two of them; what is not named is off."""
    off = {'scale': (1.0, 1.0), 'ratio': (1.0, 1.0), 'flip': 0.0, 'jitter': 0.0, 'gray': 0.0}
    each = {
        'crop': {'scale': (0.25, 1.0), 'ratio': (3 / 4, 4 / 3)},
        'jitter': {'jitter': 0.8},
        'gray': {'gray': 0.5},
        'blur': {'blur': 0.5},
    }
    names = list(each)
    return {
        a if a == b else f'{a} + {b}': viewed({**off, **each[a], **each[b]})
        for i, a in enumerate(names)
        for b in names[i:]
    }


def viewed(options: Mapping[str, Any]) -> dict[str, Any]:
    return {f'model.view.{name}': value for name, value in options.items()}


def heads() -> dict[str, cells.Changes]:
    return {
        'none': {'model.projector': None},
        'linear head': {'model.projector.dims': (64,)},
        'hidden layer': {'model.projector.dims': (256, 64)},
    }


def batches() -> dict[str, cells.Changes]:
    return {
        f'{batch} at {temperature:g}': {**of_batch(batch), 'model.temperature': temperature}
        for batch in (32, 64, 128, 256)
        for temperature in (0.1, 0.5)
    }


def decoupled() -> dict[str, cells.Changes]:
    """With the positive in the denominator and without it: Yeh et al. 2021, arXiv:2110.06848."""
    return {
        f'{batch}, {loss}': {**of_batch(batch), 'model.decoupled': loss == 'DCL'}
        for batch in (8, 16, 32, 256)
        for loss in ('NT-Xent', 'DCL')
    }


def of_batch(batch: int) -> dict[str, Any]:
    """Equal epochs; the rate goes with the root of the batch, as the noise of its gradient does."""
    return {
        'batch': batch,
        'steps': EPOCHS_OF // batch,
        'optim.net.learning_rate': round(3e-3 * (batch / 128) ** 0.5, 6),
        'optim.net.warmup': EPOCHS_OF // batch // 10,
    }


def strengths() -> dict[str, cells.Changes]:
    """From views that share all to views that share nothing: smaller boxes and more jitter."""
    steps = {0: 1.0, 0.25: 0.6, 0.5: 0.35, 1: 0.2, 1.5: 0.1, 2: 0.05, 3: 0.02}
    return {
        f'{strength:g}': viewed(
            {'strength': strength, 'scale': (area, min(1.0, 2 * area)), 'gray': 0.0}
        )
        for strength, area in steps.items()
    }


def shortcuts() -> dict[str, cells.Changes]:
    return {'off': viewed(PLAIN), 'on': {}}


SWEEPS = {
    'aug_pairs': Sweep(pairs(), ('h',)),
    'head': Sweep(heads(), ('h', 'z')),
    'batch': Sweep(batches(), ('h',)),
    'decoupled': Sweep(decoupled(), ('h',)),
    'strength': Sweep(strengths(), ('h', 'shared')),
    'shortcut': Sweep(shortcuts(), ('h', 'found')),
}


# ---- how it is measured


class Net(NamedTuple):
    """The net of a cell: its subjects have the features h and z."""

    settings: Mapping[str, Any]
    h: Any
    z: Any


ASKED = {'knn': ('knn', KNN), 'linear': ('linear_probe', LINEAR)}  # title -> evaluator, options


def probes(subject: Any, of: str = '') -> dict[str, float]:
    """k-NN and linear accuracy in percent."""
    from ssljax import evals

    scores = {k: evals.offered()[name].run(subject, **asked) for k, (name, asked) in ASKED.items()}
    return {title + of: one.numbers['accuracy'] for title, one in scores.items()}


def pixels() -> dict[str, float]:
    """The same of pixels, which all sweeps share."""
    from ssljax import trivial

    out = {}
    for title, (name, asked) in ASKED.items():
        (one,) = (who for who in trivial.subjects(name, source()) if who.name == 'pixels')
        scores = trivial.remembered(name, one, asked, Path('pictures'))  # no picture is asked for
        out[title] = scores.numbers['accuracy']
    return out


def shared(net: Net) -> dict[str, float]:
    """Nats that two views share, at least: log(2N - 1) minus the loss of test rows."""
    view = net.settings['model']['view']
    return matched(view, net.h.source, net.z, net.settings['model']['temperature'])


def found(net: Net) -> dict[str, float]:
    """How often a view finds the other by colors and by the net, of views of both kinds."""
    given, out = net.settings['model']['view'], {'chance': 100 / (2 * IMAGES - 1)}
    for jitter, options in {'off': PLAIN, 'on': {}}.items():
        view = {**given, 'jitter': 0.8, 'gray': 0.2, **options}
        for who, one in {'colors': colors(net.h.source), 'net': net.z}.items():
            out[f'{who}, jitter {jitter}'] = matched(view, net.h.source, one)['found']
    return out


def matched(
    view: Mapping[str, Any], source: Any, subject: Any, temperature: float = 0.2
) -> dict[str, float]:
    """Percent of views whose nearest of all others in a batch is the other view of their image,
    and the nats that this says of the two."""
    import jax
    import numpy as np

    from ssljax import augment
    from ssljax.losses import nt_xent
    from ssljax.step import floats

    draw, test = jax.jit(partial(augment.views, augment.make(view), n=2)), source.splits['test']
    rights, losses = [], []
    for i in range(BATCHES):
        rows = floats(test.rows(np.arange(i * IMAGES, (i + 1) * IMAGES)))
        views = draw(jax.random.key(i), rows['x'])  # [2B, ...], neighbors are one
        h = np.asarray(subject.readouts['encode']({'x': np.asarray(views)}))
        rights.append(partners(h))
        losses.append(nt_xent(h[::2], h[1::2], temperature=temperature))
    nats = np.log(2 * IMAGES - 1) - np.mean(losses)
    return {'found': 100 * float(np.mean(rights)), 'nats': float(nats)}


def partners(h: Any) -> Any:
    """Whether the nearest by cosine of each view [2B, D] is its neighbor: bool [2B]."""
    import numpy as np

    from ssljax.evals.measures import unit

    similar = unit(h) @ unit(h).T
    np.fill_diagonal(similar, -np.inf)
    return similar.argmax(1) == np.arange(len(h)) ^ 1


def colors(source: Any) -> Any:
    """A subject whose features are the roots of color histograms, BINS^3 of them: their cosine is
    the Bhattacharyya coefficient."""
    from ssljax import evals

    return evals.Subject('colors', source, {'encode': lambda rows: histograms(rows['x'])}, None)


def histograms(x: Any) -> Any:
    """Roots of the shares of colors in images [B, H, W, 3] in [-1, 1]: [B, BINS^3]."""
    import numpy as np

    level = np.clip(np.floor((np.asarray(x) + 1) / 2 * BINS), 0, BINS - 1).astype(int)
    color = level @ [BINS * BINS, BINS, 1]  # [B, H, W]
    return (
        np.stack([np.bincount(one.ravel(), minlength=BINS**3) / one.size for one in color]) ** 0.5
    )


MEASURES: Mapping[str, Callable[[Net], dict[str, float]]] = {
    'h': lambda net: probes(net.h),
    'z': lambda net: probes(net.z, ', z'),
    'shared': shared,
    'found': found,
}


# ---- a cell


@functools.cache
def source() -> Any:
    from ssljax import data

    return data.make(cells.settings(CONFIG, BASE)['data'])


def measure(sweep: Sweep, seed: int, name: str, changes: cells.Changes) -> dict[str, float]:
    """The numbers of a cell; of pixels and the untrained net, too."""
    if name == 'pixels':
        return pixels()
    net = made(seed, changes, train=name != 'untrained')
    return {k: v for ask in sweep.asks for k, v in MEASURES[ask](net).items()}


def made(seed: int, changes: cells.Changes, *, train: bool) -> Net:
    from ssljax import evaluate
    from ssljax.job import make

    typed = {k: v for k, v in changes.items() if v is not None}
    settings = cells.settings(CONFIG, BASE, typed, {'seed': seed})
    settings |= {'data': source(), 'evals': {}}
    if len(typed) < len(changes):  # the one change that no config can say
        settings['model'] = {**settings['model'], 'projector': nothing()}
    job = make(settings)
    model = cells.trained(job) if train else job.untrained()
    h = evaluate.subject(model, source(), 'trained')
    ask = partial(model.over, cells.projected(model, settings['model']), model.state)
    return Net(settings, h, h._replace(readouts={'encode': ask}, kept={}))


def nothing() -> Any:
    """A projector that gives what it is given."""
    import flax.linen as nn

    class Nothing(nn.Module):
        def __call__(self, x: Any) -> Any:
            return x

    return Nothing()


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/sweeps.py', __doc__)
    parser.add_argument('--sweep', required=True, choices=SWEEPS)
    parser.add_argument('--only', default='', metavar='CELL,CELL', help='cells to run now')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--list', action='store_true', help='prints the cells, runs nothing')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args(argv)
    sweep = SWEEPS[known.sweep]
    table = {'pixels': {}, 'untrained': {}, **sweep.cells}
    if known.list or not known.out:
        print('\n'.join(f'{name:16}{changes}' for name, changes in table.items()))
        return 0
    cache.programs()
    about = {
        'command': f'python benchmarks/sweeps.py --sweep={known.sweep}',
        'config': CONFIG,
        'base': BASE,
        'seed': known.seed,
        'protocol': {title: asked for title, (_, asked) in ASKED.items()},
    }
    only = list(filter(None, known.only.split(',')))
    run = partial(measure, sweep, known.seed)
    cells.fill(known.out, table, run, only=only, about=about)
    return 0


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
