"""What is computed of host arrays: lengths, entropies, and the value of a number at each row."""

import numpy as np


def floats(x: np.ndarray) -> np.ndarray:
    """The host's uint8 as the device's float32 in [-1, 1]; floats as they are."""
    x = np.asarray(x)
    return x / np.float32(127.5) - 1 if x.dtype == np.uint8 else x.astype(np.float32)


def flat(x: np.ndarray) -> np.ndarray:
    """Rows as vectors [N, D] of floats."""
    return floats(x).reshape(len(x), -1)


def unit(h: np.ndarray) -> np.ndarray:
    """Vectors of length one along the last axis; zero stays zero."""
    return h / np.maximum(np.linalg.norm(h, axis=-1, keepdims=True), 1e-12)


def entropy(p: np.ndarray) -> np.ndarray:
    """H of probabilities along the last axis, in nats."""
    p = p.astype(np.float64)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(-1)


def percent(true: np.ndarray) -> np.ndarray:
    """100 where it is true, else 0: its mean is the percentage."""
    return 100.0 * np.asarray(true, bool)


def ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Rows [N] whose mean is sum(total) / sum(count)."""
    return np.asarray(total, np.float64) * len(total) / np.sum(count)
