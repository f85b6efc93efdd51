"""Images made again from their patches that were kept, or from their code.

He et al. 2022, arXiv:2111.06377 (section 3: the error is that of masked pixels).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import floats, mean_image
from ssljax.evals.pictures import strips
from ssljax.evals.subject import Subject, answers, pick, readout, split
from ssljax.names import Mistake

NEEDS = ('reconstruct',)
BASELINES = (mean_image,)
SHOWN = ('mse', 'removed')  # what a table shows, where it is there
LESS = ('mse',)  # of these less is better


def reconstruction(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = 2000,
    images: int = 16,
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Mean squared error of pixels in [-1, 1], and a picture.

    reconstruct gives images [B, ...]: the error is that of all pixels. Or a dict with `mask`
    [B, patches], true where a patch was hidden: the error is that of hidden pixels, and `removed`
    is the share of the error of `means`, each hidden patch's true mean, that `reconstruction`
    removes. A method that is told these means has that to beat; below 0 it does harm. Patches are
    hidden evenly, so the error of the mean image over all pixels is its error over hidden ones.
    """
    return score(subject, split, size, images, options)


def score(subject, name, size, images, options):
    part = split(subject.source, name)
    index = pick(part.count, size)
    ask = partial(readout(subject, 'reconstruct', 'reconstruction'), **options)
    found, _ = answers(partial(errors, ask, subject.name), part, index)
    mean = found.mean(0, dtype=np.float64)
    scores = {
        'mse': float(mean[0]),
        'standard_error': float(found[:, 0].std() / len(found) ** 0.5),
        'rows': len(found),
    }
    if found.shape[1] > 1:
        scores |= {
            'mse_of_means': float(mean[1]),
            'removed': float(1 - mean[0] / max(mean[1], 1e-12)),
            'masked': float(mean[2]),
        }
    if images:
        chosen = np.linspace(0, len(index) - 1, min(images, len(index))).astype(int)
        picture(subject, ask, part, index[chosen])
    return scores


def errors(ask: Callable, who: str, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Of each row: the mean squared error; of a masked one also that of means, and its share."""
    x, found = floats(batch['x']), ask(batch)
    masked = isinstance(found, Mapping)
    made = np.asarray(found['reconstruction'] if masked else found, np.float32)
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
    error = np.square(made - x)
    if not masked:
        return error.reshape(len(x), -1).mean(1, keepdims=True)
    hidden = hidden_pixels(found['mask'], x.shape, who)
    if np.abs(np.where(hidden, 0, made - x)).max() > 0.02:
        raise Mistake(
            f'reconstruction: {who} changes patches that were kept; `mask` must be true where a'
            ' patch was hidden, and kept patches must stay as they are'
        )
    of_means = np.square(np.asarray(found['means'], np.float32) - x)
    count = np.maximum(hidden.sum((1, 2, 3)) * x.shape[3], 1)
    sums = [np.where(hidden, e, 0).sum((1, 2, 3)) / count for e in (error, of_means)]
    return np.stack([*sums, hidden.mean((1, 2, 3))], 1)


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
    rows = part.rows(index) | {'index': index.astype(np.int32)}
    original, found = floats(rows['x']), ask(rows)
    if original.ndim != 4:
        return
    if isinstance(found, Mapping):
        shown = {
            'masked': found['masked'],
            'patch means': found['means'],
            'reconstruction': found['reconstruction'],
            'original': original,
        }
    else:
        shown = {'original': original, 'reconstruction': found}
    subject.save('reconstruction', strips(shown))
