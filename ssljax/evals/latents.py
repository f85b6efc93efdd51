"""Straight lines between codes: what is decoded on the way from one held-out row to another.

Where codes are smooth, the way is short, its steps are even, and its middle looks like data.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ssljax.data.source import Source, Split
from ssljax.evals.baselines import crossfade, fitted_to
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged
from ssljax.evals.judge import trained
from ssljax.evals.measures import flat, floats, percent
from ssljax.evals.pictures import grid, strips
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake

SHOWN, TRIED = 10, 64  # coordinates in the picture, and those that it is chosen from


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count = 500,
    steps: Count = 10,
    judge_steps: Count = 600,
    images: Natural = 10,
) -> Scores:
    """Interpolates in codes between pairs of held-out rows, and saves two pictures.

    length: of the decoded way, over the straight distance of its own ends: 1 is a straight line.
    jump: its longest step over its mean step; 1: equal steps in codes are equal steps in pixels.
    distance: of the middle from the nearest training row, over that of held-out rows on average.
    valid: where images have labels, how many percent of the middles a small classifier names, with
    more than 0.9, as the class of one of the two ends. A cross-fade of pixels is the baseline.

    split, size: so many pairs of this split.
    steps: of a way.
    judge_steps: in which the classifier learns.
    images: ways in the picture `interpolation`; 0: no picture. In `traversal` one code has one
    coordinate moved by two deviations of codes to either side: those that move the image most.
    """
    source, part = subject.source, part_of(subject.source, split)
    index = pick(part.count, 2 * size)
    size = len(index) // 2
    if not size:
        raise Mistake(f'latents needs 2 rows; the split {split} of {source.name} has {len(index)}')
    index = index[: 2 * size].reshape(2, size)  # far apart: stored sets are often sorted by class
    (x, z), (y, w) = (coded(subject, part, i) for i in index)
    decode = decoder(subject, part, index[0])
    way = [decode(z + t * (w - z)) for t in np.linspace(0, 1, steps + 1, dtype=np.float32)]
    middle = decode((z + w) / 2)
    moves = np.stack([apart(b, a) for a, b in zip(way, way[1:])])  # [steps, N]
    total = np.maximum(moves.sum(0), 1e-12)
    near, usual = nearest(source, middle), nearest(source, np.concatenate([x, y]))
    rows = {
        'length': total / np.maximum(apart(way[-1], way[0]), 1e-12),
        'jump': moves.max(0) * steps / total,
        'distance': near / max(usual.mean(), 1e-12),
    }
    if x.ndim == 4:
        labels = [part.rows(i).get('label') for i in index]
        if labels[0] is not None:
            p, _ = trained(source, judge_steps).look(middle)
            ends = (p.argmax(1) == labels[0]) | (p.argmax(1) == labels[1])
            rows['valid'] = percent(ends & (p.max(1) > 0.9))
        if images:
            shown = np.stack([x, *way, y], 1)[:images]  # [images, 1 + steps + 2, H, W, C]
            subject.save('interpolation', grid(shown.reshape(-1, *x.shape[1:]), steps + 3))
            subject.save('traversal', strips(traversal(decode, z, steps)))
    return averaged(rows, pairs=size)


def coded(subject: Subject, part: Split, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows [N, ...] in [-1, 1] and their codes."""
    z, kept = answers(readout(subject, 'encode', 'latents'), part, index, keep=('x',))
    return floats(kept['x']), np.asarray(z, np.float32)


def decoder(subject: Subject, part: Split, index: np.ndarray) -> Callable:
    """codes [N, ...] -> what the readout `decode` makes of them [N, ...]."""
    ask = readout(subject, 'decode', 'latents')
    rows = part.rows(index) | {'index': index.astype(np.int32)}
    shape = rows['x'].shape[1:]

    def decode(z):
        made = np.asarray(ask({**{k: v[: len(z)] for k, v in rows.items()}, 'z': z}), np.float32)
        if made.shape != (len(z), *shape):
            raise Mistake(
                f'latents needs decode to answer {[len(z), *shape]}; {subject.name} gave'
                f' {list(made.shape)}'
            )
        if bad := int((~np.isfinite(made.reshape(len(made), -1))).any(1).sum()):
            raise Mistake(
                f'latents: {bad} of {len(made)} rows that {subject.name} decodes are not finite;'
                ' the training diverged: lower the learning rate'
            )
        return made

    return decode


def apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """|x_i - y_i|, [N]."""
    return np.linalg.norm((x - y).reshape(len(x), -1).astype(np.float64), axis=1)


def nearest(source: Source, x: np.ndarray) -> np.ndarray:
    """The distance of each row [N, ...] from the nearest training row, [N]."""
    x, least = x.reshape(len(x), -1).astype(np.float64), np.inf
    for rows in fitted_to(source):
        y = flat(rows['x']).astype(np.float64)
        squares = np.square(x).sum(1)[:, None] - 2 * x @ y.T + np.square(y).sum(1)
        least = np.minimum(least, squares.min(1))
    return np.sqrt(np.maximum(least, 0))


def traversal(decode: Callable, z: np.ndarray, steps: int) -> Mapping[str, np.ndarray]:
    """Images [steps + 1, H, W, C] for each coordinate that moves the image most, by its name."""
    codes = z.reshape(len(z), -1)
    mean, deviation = codes.mean(0), codes.std(0)
    steps = min(steps, len(z) - 1)  # decode takes as many codes as there are pairs
    made = {}
    for j in np.argsort(-deviation, kind='stable')[:TRIED]:
        moved = codes[:1].repeat(steps + 1, 0)
        moved[:, j] = mean[j] + np.linspace(-2, 2, steps + 1) * deviation[j]
        made[f'z{j}'] = decode(moved.reshape(-1, *z.shape[1:]))
    effect = {name: apart(x[-1:], x[:1])[0] for name, x in made.items()}
    return {name: made[name] for name in sorted(made, key=effect.get, reverse=True)[:SHOWN]}


evaluator = Evaluator(
    run=score,
    needs=('encode', 'decode'),
    baselines=(crossfade,),
    shown={
        'valid': Shown('middle of two, named as one of them'),
        'distance': Shown('middle of two, distance from data', less=True, decimals=3),
        'length': Shown('way between two, length', less=True, decimals=3),
        'jump': Shown('way between two, longest step', less=True, decimals=2),
    },
    lacking={'valid': 'valid: the data are no images with labels'},
)
