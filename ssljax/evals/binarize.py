"""Thresholds that tell ink from paper: of uint8 images [..., H, W], ink is what is at or below."""

import numpy as np

LEVELS = 256


def otsu(x: np.ndarray) -> np.ndarray:
    """One threshold for each image [B, H, W] -> [B, 1, 1]: the one that parts its pixels best.

    Otsu 1979 (IEEE SMC 9), eq. 18: with w the share of pixels at or below t and m their mean, it
    has the greatest variance between the two classes, w (1 - w) (m_above - m)^2. The least of them
    if several do; 0 for an image of one level.
    """
    x = np.asarray(x)
    levels = np.arange(LEVELS)
    counts = np.stack([np.bincount(image.ravel(), minlength=LEVELS) for image in x])  # [B, 256]
    below, weighed = counts.cumsum(1), (counts * levels).cumsum(1)
    size, total = below[:, -1:], weighed[:, -1:]
    above = size - below
    # whole numbers up to the division, so that equal variances are equal
    apart = (total * below - weighed * size).astype(np.float64)
    variance = np.where((below > 0) & (above > 0), apart**2 / np.maximum(below * above, 1), 0)
    return variance.argmax(1)[:, None, None]


def sauvola(
    x: np.ndarray, *, window: int = 25, k: float = 0.2, deviation: float = 128.0
) -> np.ndarray:
    """A threshold for each pixel of images [B, H, W] -> [B, H, W], float64.

    Sauvola & Pietikainen 2000 (Pattern Recognition 33), eq. 5: with m and s the mean and standard
    deviation of the window around it,  m (1 + k (s / deviation - 1)).

    window: its side in pixels, odd; at the border, what of it lies in the image.
    k: how far the threshold goes down where nothing differs.
    deviation: the greatest there may be, half of the range.
    """
    x = np.asarray(x, np.float64)
    count = boxes(np.ones_like(x), window)
    mean = boxes(x, window) / count
    variance = np.maximum(boxes(x**2, window) / count - mean**2, 0)
    return mean * (1 + k * (np.sqrt(variance) / deviation - 1))


def boxes(x: np.ndarray, window: int) -> np.ndarray:
    """Sums over the window around each pixel, of what lies in the image."""
    for axis in (-2, -1):
        side = x.shape[axis]
        sums = np.insert(x.cumsum(axis), 0, 0, axis)
        place = np.arange(side)
        first, end = np.maximum(place - window // 2, 0), np.minimum(place + window // 2 + 1, side)
        x = sums.take(end, axis) - sums.take(first, axis)
    return x


def f1(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of masks [B, H, W]: the harmonic mean of precision and recall [B]; 1 where both are empty."""
    right, total = (found & truth).sum((1, 2)), found.sum((1, 2)) + truth.sum((1, 2))
    return np.where(total > 0, 2 * right / np.maximum(total, 1), 1.0)
