"""Covariances of many wide rows, and what makes them white, at the cost of a Cholesky factor."""

import numpy as np
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

BLOCK = 4096  # rows at a time


def covariance(x: np.ndarray) -> np.ndarray:
    """The covariance of rows [N, D], float64 [D, D]."""
    mean, width = x.mean(0, dtype=np.float64).astype(np.float32), x.shape[1]
    total = np.zeros((width, width))
    for at in range(0, len(x), BLOCK):  # float32 is exact enough within a block, not over all
        part = x[at : at + BLOCK] - mean
        total += part.T @ part / len(x)
    return total


def roots(matrix: np.ndarray, *, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """U and its inverse, both float32, of a positive matrix U^T U: rows of this covariance times
    the inverse are white.

    exact: computed in float64; else in float32 where that is enough to find a root, in half of the
    time.
    """
    for kind in (np.float64,) if exact else (np.float32, np.float64):
        factor, invert = lapack.get_lapack_funcs(('potrf', 'trtri'), dtype=kind)
        with threadpool_limits(1):  # threads of BLAS that wait for one another are slow
            root, failed = factor(matrix.astype(kind), lower=0, clean=1)  # [D, D], upper
            if failed:
                continue
            inverse, _ = invert(root, lower=0)
        return np.ascontiguousarray(root, np.float32), np.ascontiguousarray(inverse, np.float32)
    raise np.linalg.LinAlgError(f'a matrix {list(matrix.shape)} is not positive')
