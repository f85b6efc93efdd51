"""Baselines of restoration: pages as they are, and made black and white by thresholds."""

import functools

import jax
import numpy as np

from ssljax.data.source import Source
from ssljax.evals import binarize
from ssljax.evals.baselines import Readouts
from ssljax.evals.measures import floats
from ssljax.evals.subject import pick


def unchanged(source: Source, key: jax.Array) -> Readouts:
    """The image as it is, in place of one of the other domain."""
    return {'translate': lambda batch: floats(batch['x'])} if paired_images(source) else {}


def otsu(source: Source, key: jax.Array) -> Readouts:
    """Ink is what is at or below one threshold for the image (Otsu 1979)."""

    def translate(batch):
        gray = grays(batch['x'])
        return black_and_white(gray <= binarize.otsu(gray), batch['x'])

    return {'translate': translate} if paired_images(source) else {}


def sauvola(source: Source, key: jax.Array) -> Readouts:
    """Ink is what is at or below a threshold by the pixels around (Sauvola & Pietikainen 2000).

    Window and k are the best of 16, by the F1 of ink in pairs of the validation split.
    """
    if not paired_images(source):
        return {}

    @functools.cache
    def best():
        part = source.splits.get('validation', source.splits['train'])
        rows = part.rows(pick(part.count, 200))
        gray, truth = grays(rows['x']), grays(rows['y'])
        truth = truth <= binarize.otsu(truth)

        def right(found):
            return binarize.f1(gray <= binarize.sauvola(gray, **found), truth).mean()

        tried = [dict(window=w, k=k) for w in (9, 15, 25, 41) for k in (0.05, 0.1, 0.2, 0.35)]
        return max(tried, key=right)

    def translate(batch):
        gray = grays(batch['x'])
        return black_and_white(gray <= binarize.sauvola(gray, **best()), batch['x'])

    return {'translate': translate}


def paired_images(source: Source) -> bool:
    """Whether its rows have images x and y of one form."""
    rows = source.splits['train'].rows(np.arange(1))
    x, y = np.asarray(rows['x']), np.asarray(rows.get('y'))
    return x.ndim == 4 and x.dtype == np.uint8 and (x.shape, x.dtype) == (y.shape, y.dtype)


def grays(x: np.ndarray) -> np.ndarray:
    """Images [B, H, W, C], bytes or in [-1, 1], as gray bytes [B, H, W]."""
    return np.clip(floats(x).mean(-1) * 127.5 + 128, 0, 255).astype(np.uint8)


def black_and_white(ink: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Where there is ink [B, H, W], as images in [-1, 1] with the channels of x."""
    return np.where(ink, -1, 1).astype(np.float32)[..., None].repeat(x.shape[-1], -1)
