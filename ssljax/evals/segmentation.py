"""Whether attention lies on objects: its strongest places against masks that nobody learned from.

Caron et al. 2021, arXiv:2104.14294 (figure 4): the places that hold 60 percent of a head's
attention are its segment; Jaccard is |both| / |either|.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import center
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, Share, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    mask: str = 'mask',
    objects: Sequence[Natural] = (),
    ignore: Sequence[Natural] = (),
    mass: Share = 0.6,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Mean Jaccard in percent of segments from attention [B, heads, h, w] and masks.

    jaccard: of the one head that is best over all rows; jaccard_best_head: of the best for each
    row, which flatters. Rows without an object are not asked.

    split, size: so many rows of this split; none: all.
    mask: the entry of the batch, integers [B, H, W] or [B, H, W, 1].
    objects: the numbers that count as object; none: all above zero. ignore: those of pixels that
    are left out.
    mass: of a head's attention, what its segment holds.
    options: of the readout attend.
    """
    ask = partial(readout(subject, 'attend', 'segmentation'), **options)
    part = part_of(subject.source, split)
    if mask not in (rows := part.rows(np.arange(1))) or rows[mask].ndim not in (3, 4):
        raise Mistake(
            f'segmentation needs masks [H, W] in the entry {mask!r} of a batch; the split {split}'
            f" of {subject.source.name} has {', '.join(sorted(rows))}: set mask to the entry's name"
        )
    (height, width), side = rows['x'].shape[1:3], rows[mask].shape[1:3]
    if side != (height, width):
        raise Mistake(
            f'segmentation: masks {list(side)} do not lie on images [{height}, {width}]: train on'
            ' images as they are stored, as by data.size=0'
        )
    measure = partial(overlaps, ask, mask, tuple(objects), tuple(ignore), mass)
    jaccard, _ = answers(measure, part, pick(part.count, size))
    jaccard = 100 * jaccard[~np.isnan(jaccard).any(1)]  # [N, heads]
    if not len(jaccard):
        raise Mistake(
            f'segmentation finds no object {list(objects) or "above 0"} in the masks of the split'
            f' {split} of {subject.source.name}: set objects to numbers that occur'
        )
    head = int(jaccard.mean(0).argmax())
    return averaged(
        {'jaccard': jaccard[:, head], 'jaccard_best_head': jaccard.max(1)},
        head=head,
        rows=len(jaccard),
    )


def overlaps(
    ask: Callable,
    mask: str,
    objects: tuple[int, ...],
    ignore: tuple[int, ...],
    mass: float,
    batch: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Jaccard of each row and head [B, heads]; not a number where a row has no object."""
    truth = np.asarray(batch[mask])
    truth = truth.reshape(truth.shape[:3])
    seen = ~np.isin(truth, ignore)
    truth = (np.isin(truth, objects) if objects else truth > 0) & seen
    segment = enlarged(strongest(np.asarray(ask(batch)), mass), truth.shape[1:]) & seen[:, None]
    truth = truth[:, None]
    both, either = ((segment & truth).sum((2, 3)), (segment | truth).sum((2, 3)))
    return np.where(truth.any((2, 3)), both / np.maximum(either, 1), np.nan)


def strongest(maps: np.ndarray, mass: float) -> np.ndarray:
    """The fewest places that hold at least this share of a map [..., h, w]."""
    flat = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    order = np.argsort(-flat, axis=-1, kind='stable')
    share = np.take_along_axis(flat, order, -1)
    before = share.cumsum(-1) - share  # what the stronger ones hold
    kept = before < mass * share.sum(-1, keepdims=True)
    chosen = np.zeros(flat.shape, bool)
    np.put_along_axis(chosen, order, kept, -1)
    return chosen.reshape(maps.shape)


def enlarged(maps: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Maps [..., h, w] at the size H x W, each pixel from the place it lies in."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(shape, maps.shape[-2:], strict=True))
    return maps[..., rows[:, None], columns]


evaluator = Evaluator(
    run=score,
    needs=('attend',),
    baselines=(center,),
    shown={
        'jaccard': Shown('segmentation, Jaccard'),
        'jaccard_best_head': Shown('segmentation, Jaccard of the best head'),
    },
    asks=passed_on('attend'),
)
