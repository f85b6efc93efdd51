"""Densities of points in the plane, in closed form: those of `density` but the pinwheel.

What a model says of p(x) can be held against them.
"""

import numpy as np
from scipy.special import i0e, logsumexp


def log_density(kind: str, x: np.ndarray) -> np.ndarray:
    """The true log p(x) in nats of points [N, 2]: float64 [N], -inf where there are none."""
    parts = np.array_split(np.asarray(x, np.float64), max(1, -(-len(x) // 1000)))
    return np.concatenate([EXACT[kind](part) for part in parts])


def gaussians(x: np.ndarray) -> np.ndarray:
    """Eight normals of deviation 0.2 on a circle of radius 2."""
    angle = np.pi / 4 * np.arange(8)
    centers = 2 * np.stack([np.cos(angle), np.sin(angle)], -1)
    return blurred(x, centers, np.full(8, 1 / 8), 0.2)


def rings(x: np.ndarray) -> np.ndarray:
    """Circles of radius 1, 2 and 3 in noise of deviation 0.08: each is a Rice distribution."""
    r, k, v = np.linalg.norm(x, axis=-1, keepdims=True), np.arange(1, 4), 0.08**2
    log_p = -np.square(r - k) / (2 * v) + np.log(i0e(r * k / v)) - np.log(2 * np.pi * v)
    return logsumexp(log_p, -1) - np.log(3)


def moons(x: np.ndarray) -> np.ndarray:
    """Two half circles of radius 1.5 in noise of deviation 0.1."""
    angle, weight = nodes(np.pi)
    arc = 1.5 * np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], -1)
    return both(x, arc, weight / np.pi, 0.1)


def spirals(x: np.ndarray) -> np.ndarray:
    """Two spirals of one turn and a half in noise of deviation 0.08."""
    angle, weight = nodes(3 * np.pi)
    arm = angle[:, None] / np.pi * np.stack([np.cos(angle), np.sin(angle)], -1)
    # the angle is 3 pi sqrt(u) of a uniform u: its density is 2 angle / (3 pi)^2
    return both(x, arm, weight * 2 * angle / (3 * np.pi) ** 2, 0.08)


def checkerboard(x: np.ndarray) -> np.ndarray:
    """Eight of the sixteen unit squares of [-2, 2)^2, evenly."""
    # the sign of sin(pi x) is the parity of the column; at an edge, a point is inside
    inside = (np.abs(x) <= 2).all(-1) & (np.sin(np.pi * x).prod(-1) >= -1e-5)
    return np.where(inside, -np.log(8), -np.inf)


EXACT = {f.__name__: f for f in (gaussians, rings, moons, spirals, checkerboard)}


def nodes(end: float) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, end]: many to a deviation of the noise."""
    node, weight = np.polynomial.legendre.leggauss(400)
    return end * (node + 1) / 2, end * weight / 2


def both(x: np.ndarray, curve: np.ndarray, weight: np.ndarray, deviation: float) -> np.ndarray:
    """A curve and its mirror image through the origin, each with half of the mass, in noise."""
    curve, weight = np.concatenate([curve, -curve]), np.concatenate([weight, weight]) / 2
    return blurred(x, curve, weight, deviation)


def blurred(x: np.ndarray, centers: np.ndarray, weight: np.ndarray, deviation: float) -> np.ndarray:
    """The log density of normals around centers [K, 2] with weights [K]."""
    squares = np.square(x[:, None] - centers).sum(-1) / (2 * deviation**2)  # [N, K]
    return logsumexp(-squares, -1, b=weight) - np.log(2 * np.pi * deviation**2)
