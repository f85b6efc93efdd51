"""How far samples lie from the data: of two sets of vectors, and of each row from a set."""

import numpy as np


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of features [N, D], [M, D]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    A, B = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    values, vectors = np.linalg.eigh(A)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    # (A B)^(1/2) has the trace of (A^(1/2) B A^(1/2))^(1/2), whose argument is symmetric
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ B @ root), 0, None)).sum()
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * cross
    return float(max(distance, 0))


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """The kernel distance of features [N, D], [M, D], times 1000: zero on average where both are of
    one distribution.

    Binkowski et al. 2018, arXiv:1801.01401, eq. 4: the unbiased MMD^2 of (x.y / D + 1)^3.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def within(x):
        k = (x @ x.T / x.shape[1] + 1) ** 3
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    between = ((a @ b.T / a.shape[1] + 1) ** 3).mean()
    return float(1000 * (within(a) + within(b) - 2 * between))


def precision_recall(fake: np.ndarray, real: np.ndarray, *, k: int = 3) -> dict[str, np.ndarray]:
    """Of each sample whether it lies among the data, and of each row of data whether it lies among
    the samples; the shares are the numbers.

    Kynkaanniemi et al. 2019, arXiv:1904.06991, eqs. 1 and 2: among are those within the distance
    of some row to its k-th nearest other. Nothing where there are too few rows.
    """
    if min(len(fake), len(real)) <= k:
        return {}

    def among(x, rows):
        reach = np.sort(apart(rows, rows), 1)[:, k]  # its nearest is itself
        return (apart(x, rows) <= reach).any(1)

    return {'precision': among(fake, real), 'recall': among(real, fake)}


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_k|, [N, M]."""
    from scipy.spatial.distance import cdist

    return cdist(np.asarray(a, np.float64), np.asarray(b, np.float64))


def energy_score(fake: np.ndarray, real: np.ndarray, *, block: int = 1000) -> np.ndarray:
    """(Minus) the energy score of each row of data [N, D] under the samples [M, D]: more is better.

    Gneiting & Raftery 2007, doi:10.1198/016214506000001437, section 4.3, strictly proper:
        1/2 E |s - s'| - E |s - x|, s and s' two samples.
    A sampler that collapsed pays for the spread that it lacks.
    """
    fake, real = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (fake, real))
    squares, count = np.square(fake).sum(1), len(fake)

    def from_samples(x):  # sum of |s - x| over the samples, for each row
        sums = []
        for part in (x[i : i + block] for i in range(0, len(x), block)):
            far = np.square(part).sum(1)[:, None] + squares - 2 * part @ fake.T
            sums.append(np.sqrt(np.maximum(far, 0)).sum(1))
        return np.concatenate(sums)

    between = from_samples(fake).sum() / (count * (count - 1))
    return between / 2 - from_samples(real) / count
