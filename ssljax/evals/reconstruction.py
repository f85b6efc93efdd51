"""Images made again from their patches that were kept, or from their code.

He et al. 2022, arXiv:2111.06377 (section 3: the error is that of masked pixels).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import mean_image
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.measures import floats
from ssljax.evals.pictures import strips
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = 2000,
    images: Natural = 16,
    options: Mapping[str, Any] = {},
) -> Scores:
    """Mean squared error of pixels in [-1, 1], and a picture.

    reconstruct gives arrays by name: `reconstruction` [B, ...], whose error is that of all pixels.
    With `mask` [B, patches], true where a patch was hidden, the error is that of hidden pixels.
    With `means`, where each hidden patch is its true mean, `removed` is the share of their error
    that `reconstruction` removes: a method that is told these means has that to beat; below 0 it
    does harm. Patches are hidden evenly, so the error of the mean image over all pixels is that
    over hidden ones.

    split, size: so many rows of this split; none: all.
    images: in the picture; 0: no picture.
    options: of the readout reconstruct.
    """
    part = part_of(subject.source, split)
    index = pick(part.count, size)
    ask = partial(readout(subject, 'reconstruct', 'reconstruction'), **options)
    names: list[str] = []
    measured, _ = answers(partial(errors, ask, subject.name, names), part, index)
    rows = dict(zip(names, measured.T.astype(np.float64)))  # by name [N]
    if 'mse_of_means' in rows:
        of_means = rows['mse_of_means']
        rows['removed'] = (of_means - rows['mse']) / max(of_means.mean(), 1e-12)
    if images:
        chosen = np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)
        picture(subject, ask, part, index[chosen])
    return averaged(rows, rows=len(measured))


def errors(
    ask: Callable, who: str, names: list[str], batch: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Of each row [B, n]: the mean squared error; of a masked one also the share that was hidden,
    and the error of means. What the columns are called goes to `names`."""
    x, answer = floats(batch['x']), ask(batch)
    if not isinstance(answer, Mapping) or 'reconstruction' not in answer:
        given = sorted(answer) if isinstance(answer, Mapping) else f'an array {list(answer.shape)}'
        raise Mistake(
            f'reconstruction needs arrays by name, as dict(reconstruction=...); {who} gave {given}'
        )
    made = np.asarray(answer['reconstruction'], np.float32)
    if made.shape != x.shape:
        raise Mistake(
            f'reconstruction needs images of the shape of the data {list(x.shape)};'
            f' {who} gave {list(made.shape)}'
        )
    if bad := int((~np.isfinite(made.reshape(len(made), -1))).any(1).sum()):
        raise Mistake(
            f'reconstruction: {bad} of {len(made)} images of {who} are not finite; the training'
            ' diverged: lower the learning rate'
        )
    if 'mask' not in answer:
        names[:] = ['mse']
        return np.square(made - x).reshape(len(x), -1).mean(1, keepdims=True)
    hidden = hidden_pixels(answer['mask'], x.shape, who)
    if np.abs(np.where(hidden, 0, made - x)).max() > 0.02:
        raise Mistake(
            f'reconstruction: {who} changes patches that were kept; `mask` must be true where a'
            ' patch was hidden, and kept patches must stay as they are'
        )
    count = np.maximum(hidden.sum((1, 2, 3)) * x.shape[3], 1)

    def where_hidden(image):
        return np.where(hidden, np.square(image - x), 0).sum((1, 2, 3)) / count

    columns = {'mse': where_hidden(made), 'masked': hidden.mean((1, 2, 3))}
    if 'means' in answer:
        columns['mse_of_means'] = where_hidden(np.asarray(answer['means'], np.float32))
    names[:] = columns
    return np.stack(list(columns.values()), 1)


def hidden_pixels(mask: np.ndarray, shape: tuple[int, ...], who: str) -> np.ndarray:
    """A mask of square patches [B, patches], rows first, as one of pixels [B, H, W, 1]."""
    mask, (_, height, width, _) = np.asarray(mask, bool), shape
    side = round((height * width / mask.shape[1]) ** 0.5)
    down, across = height // side, width // side
    if (down * side, across * side, down * across) != (height, width, mask.shape[1]):
        raise Mistake(
            f'reconstruction: {mask.shape[1]} patches of {who} are no grid of squares over images'
            f' of {height} x {width}'
        )
    mask = mask.reshape(-1, down, across, 1)
    return mask.repeat(side, 1).repeat(side, 2)


def picture(subject: Subject, ask: Callable, part: Any, index: np.ndarray) -> None:
    """What the readout gives that are pictures, above the originals."""
    rows = part.rows(index) | {'index': index.astype(np.int32)}
    original = floats(rows['x'])
    if original.ndim != 4:
        return
    answer = ask(rows)
    names = {'masked': 'masked', 'means': 'patch means', 'reconstruction': 'reconstruction'}
    shown = {title: np.asarray(answer[name]) for name, title in names.items() if name in answer}
    subject.save('reconstruction', strips({**shown, 'original': original}))


evaluator = Evaluator(
    run=score,
    needs=('reconstruct',),
    baselines=(mean_image,),
    shown={
        'mse': Shown('reconstruction, mean squared error', less=True, decimals=4),
        'removed': Shown('reconstruction, share removed', decimals=3, trivial=0.0),  # the means
    },
    asks=passed_on('reconstruct'),
)
