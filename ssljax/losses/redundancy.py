"""Losses without negatives: statistics of a batch keep features or rows from becoming equal.

`where`, bool [B]: a row that is off, whatever is in it, has no part in a statistic. `axis_name`:
the mapped axis, or axes, whose shards make up the batch.

>>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # white
>>> print(f'{barlow_twins(z, z):.4f}')
0.0000
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.linalg import solve_triangular

from ssljax.losses._rows import (
    Axis,
    everywhere,
    itself,
    least,
    like,
    mean,
    on,
    precise,
    products,
    size,
    unit,
)
from ssljax.losses._shapes import ArrayLike, arrays


def barlow_twins(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    weight: ArrayLike = 5e-3,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """Barlow Twins, one value for a batch: two views' features correlate as the identity does.

    Zbontar et al. 2021, arXiv:2103.03230, eqs. 1 and 2: with C[d, e] the correlation over the
    batch of feature d of one view and e of the other,
        l = sum_d (1 - C[d, d])^2 + weight * sum_{d != e} C[d, e]^2.
    z1, z2 [B, D], B at least 2 -> []. A variance of 1e-5 is added, as their batch norm does. The
    weight, the paper's lambda, is its best (section 3).

    >>> z = jnp.array([[1.0, 1.0], [-1.0, -1.0]])  # a feature, and a copy of it
    >>> print(f'{barlow_twins(z, z):.4f}')
    0.0100
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    z1, z2 = (_centered(z, axis_name, where) for z in (z1, z2))
    z1, z2 = (z * lax.rsqrt(mean(jnp.square(z), axis_name, where) + 1e-5) for z in (z1, z2))
    C = _moments(z1, z2, axis_name, where)
    diagonal = jnp.diagonal(C)
    others = jnp.square(C).sum() - jnp.square(diagonal).sum()
    return jnp.square(1 - diagonal).sum() + like(weight, C) * others


def vicreg(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    invariance: ArrayLike = 25.0,
    variance: ArrayLike = 25.0,
    covariance: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """VICReg, one value for a batch: views are equal, features spread and are not correlated.

    Bardes et al. 2021, arXiv:2105.04906, eqs. 1 to 6: with S the covariance over the batch
    (divided by B - 1) of one view's features,
        s = mean (z1 - z2)^2,  v = mean_d max(0, 1 - sqrt(S[d, d] + 1e-4)),
        c = 1/D sum_{d != e} S[d, e]^2;
        l = invariance * s + variance * (v1 + v2) / 2 + covariance * (c1 + c2).
    z1, z2 [B, D], B at least 2 -> []. This is the authors' code, to which their weights belong: s
    is a mean over features too and v a mean over views, where the paper's text has sums.

    invariance, variance, covariance: weights of s, v and c; the paper's (section 4.2).
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> print(vicreg(z, z + 1))  # 25, the square distance
    25.0
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    z1, z2 = on(where, precise(z1)), on(where, precise(z2))
    s = mean(jnp.square(z1 - z2).mean(-1), axis_name, where)
    N, D = size(z1, axis_name, where), z1.shape[-1]

    def v_and_c(z):
        z = _centered(z, axis_name, where)
        S = _moments(z, z, axis_name, where) * (N / jnp.maximum(N - 1, 1))
        diagonal = jnp.diagonal(S)
        v = jnp.maximum(1 - jnp.sqrt(diagonal + 1e-4), 0).mean()
        return v, (jnp.square(S).sum() - jnp.square(diagonal).sum()) / D

    (v1, c1), (v2, c2) = v_and_c(z1), v_and_c(z2)
    a, b, c = (like(weight, s) for weight in (invariance, variance, covariance))
    return a * s + b * (v1 + v2) / 2 + c * (c1 + c2)


def vicregl(
    z1: ArrayLike,
    z2: ArrayLike,
    places1: ArrayLike,
    places2: ArrayLike,
    *,
    matches: int = 20,
    invariance: ArrayLike = 25.0,
    variance: ArrayLike = 25.0,
    covariance: ArrayLike = 1.0,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """VICRegL, its local part: patches, matched by place and by feature: one value for a batch.

    Bardes et al. 2022, arXiv:2210.01571, eqs. 1 to 3: each patch of one view is paired with the
    patch of the other view that is nearest in the original image (L_s), and with the one whose
    feature is nearest (L_d). Of an image's pairs, the `matches` nearest ones are kept, in order of
    their distance. With l_m the terms of `vicreg` over the batch of all m-th pairs,
        l = L_s + L_d,  each the mean of l_m over m and over the two directions of the search.
    z1 [B, P, D], z2 [B, Q, D], places1 [B, P, 2], places2 [B, Q, 2] -> []. The paper's loss is
    a * vicreg(global features) + (1 - a) * vicregl, a = 0.75. No gradient flows to the places.

    matches: pairs of each image, search and direction; in the paper 20, and 4 from a small view.
    invariance, variance, covariance: weights of s, v and c of `vicreg`; c is here a mean over the
    two views, as in the authors' code, where `vicreg` has a sum.
    where: bool [B], images that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.zeros((2, 1, 3))  # collapsed: 25 (1 - sqrt(1e-4)) for each of the two searches
    >>> print(f'{vicregl(z, z, z, z, matches=1):.2f}')
    49.50
    """
    z1, z2, places1, places2, where = arrays(
        'B P D', 'B Q D', 'B P S', 'B Q S', 'B', at_least=dict(B=least(2, axis_name)),
        z1=z1, z2=z2, places1=places1, places2=places2, where=where,
    )  # fmt: skip
    if not 0 < matches <= min(z1.shape[1], z2.shape[1]):
        raise ValueError(
            f'vicregl: matches={matches}; it must be from 1 to {min(z1.shape[1], z2.shape[1])}, '
            'the patches of a view'
        )
    z1, z2, places1, places2 = (on(where, x) for x in (z1, z2, places1, places2))
    if axis_name is None:  # an Explicit mesh cannot place the search
        z1, z2, places1, places2 = (everywhere(x, None) for x in (z1, z2, places1, places2))
    covariance = precise(jnp.asarray(covariance)) / 2
    weights: dict[str, Any] = dict(invariance=invariance, variance=variance, covariance=covariance)

    def criterion(a, b):  # [B, matches, D], the m-th pairs of the batch are a set
        options = dict(weights, where=where, axis_name=axis_name)
        each = jax.vmap(lambda a, b: vicreg(a, b, **options), 1)
        return each(a, b).mean()

    terms = []
    for at1, at2 in ((places1, places2), (z1, z2)):
        for a, b, at_a, at_b in ((z1, z2, at1, at2), (z2, z1, at2, at1)):
            terms.append(criterion(*_matched(a, b, at_a, at_b, matches)) / 2)
    return jnp.stack(terms).sum()


def koleo(z: ArrayLike, *, where: ArrayLike | None = None, axis_name: Axis = None) -> jax.Array:
    """KoLeo: pushes each example away from its nearest one, so that all spread over the sphere.

    Sablayrolles et al. 2018, arXiv:1806.03198, eq. 4, as in Oquab et al. 2023, arXiv:2304.07193:
    with unit rows,
        l(i) = -log min_{k != i} |z_i - z_k|.
    z [B, D], B at least 2 -> [B].

    >>> print(f'{koleo([[1.0, 0.0], [0.0, 1.0]])[0]:.4f}')  # -log sqrt 2
    -0.3466
    """
    z, where = arrays('B D', 'B', z=z, where=where, at_least=dict(B=least(2, axis_name)))
    z = unit(on(where, z))
    all_z = everywhere(z, axis_name)
    out = itself(len(z), axis_name)
    if where is not None:
        out |= ~everywhere(where.astype(bool), axis_name)
    nearest = jnp.where(out, -2, lax.stop_gradient(products(z, all_z))).argmax(-1)
    if axis_name is None:
        nearest = everywhere(nearest, None)
    square = jnp.square(z - all_z[nearest]).sum(-1)
    return on(where, -jnp.log(square + 1e-16) / 2)  # finite for rows that are equal


def whiten(
    z: ArrayLike,
    *,
    shrinkage: ArrayLike = 1e-4,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """Features of mean zero whose covariance over the batch is the identity.

    Ermolov et al. 2020, arXiv:2007.06346, eqs. 5 and 6: with m the mean, S the covariance (divided
    by B - 1) and L L^T = (1 - shrinkage) S + shrinkage I its Cholesky factors,  L^-1 (z_i - m).
    z [B, D] -> [B, D]. The authors' shrinkage is 0, which needs more rows than features.

    >>> print(whiten(jnp.array([[3.0], [5.0]]), shrinkage=0.0).round(4)[:, 0])  # -+ sqrt(1/2)
    [-0.7071  0.7071]
    """
    z, where = arrays('B D', 'B', z=z, where=where, at_least=dict(B=least(2, axis_name)))
    z = _centered(z, axis_name, where)
    N = size(z, axis_name, where)
    S = _moments(z, z, axis_name, where) * (N / jnp.maximum(N - 1, 1))
    eye, shrinkage = jnp.eye(len(S), dtype=S.dtype), like(shrinkage, S)
    L = jnp.linalg.cholesky((1 - shrinkage) * S + shrinkage * eye)
    return products(z, solve_triangular(L, eye, lower=True))


def w_mse(
    z1: ArrayLike,
    z2: ArrayLike,
    *,
    shrinkage: ArrayLike = 1e-4,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """W-MSE: views are equal after their batch is whitened, so that features cannot collapse.

    Ermolov et al. 2020, arXiv:2007.06346, eq. 4: with the views whitened each by itself,
        l(i) = |w1_i / |w1_i| - w2_i / |w2_i||^2.
    z1, z2 [B, D] -> [B]. The paper whitens random parts of a batch of two or more rows for each
    feature: shuffle and cut the batch, and average over the parts.

    shrinkage: of `whiten`.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> z = jnp.array([[1.0], [5.0]])
    >>> print(w_mse(z, 9 - z).round(4))
    [4. 4.]
    """
    z1, z2, where = arrays(
        'B D', 'B D', 'B', z1=z1, z2=z2, where=where, at_least=dict(B=least(2, axis_name))
    )
    options: dict[str, Any] = dict(shrinkage=shrinkage, where=where, axis_name=axis_name)
    w1, w2 = (unit(whiten(z, **options)) for z in (z1, z2))
    return on(where, 2 - 2 * (w1 * w2).sum(-1))


def total_coding_rate(
    z: ArrayLike,
    *,
    distortion: ArrayLike = 0.5**0.5,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """The nats per row that code a batch up to an error, its spread: one value for a batch.

    Ma et al. 2007 (TPAMI 29:9); Yu et al. 2020, arXiv:2006.08558, section 2: with unit rows,
        R = 1/2 log det(I + D / (N distortion^2) sum_i z_i z_i^T).
    z [B, D] -> []. To be maximized: a loss has it with a minus, as EMP-SSL (Tong et al. 2023,
    arXiv:2304.03977) beside the distance of views.

    distortion: the error; its square is 0.5 in the paper, 0.2 in EMP-SSL.

    >>> print(f'{total_coding_rate(jnp.eye(2)):.4f}')  # log 3
    1.0986
    """
    z, where = arrays('B D', 'B', z=z, where=where)
    z = unit(on(where, z))
    S = _moments(z, z, axis_name, where)
    return _log_det(S * z.shape[-1] / jnp.square(like(distortion, S))) / 2


def mcr2(
    z: ArrayLike,
    membership: ArrayLike,
    *,
    distortion: ArrayLike = 0.5**0.5,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """MCR^2: all rows spread widely, those of one group narrowly: one value for a batch.

    Yu et al. 2020, arXiv:2006.08558, section 2: with unit rows, P_ij the share of row i in group
    j, n_j = sum_i P_ij and R the total coding rate,
        l = sum_j n_j / (2 N) log det(I + D / (n_j distortion^2) sum_i P_ij z_i z_i^T) - R.
    z [B, D], membership [B, K], each row with the sum one, as one-hot labels -> []. The default is
    the paper's.

    >>> print(f'{mcr2(jnp.eye(2), jnp.eye(2)):.4f}')  # log(5) / 2 - log 3
    -0.2939
    """
    z, membership, where = arrays('B D', 'B K', 'B', z=z, membership=membership, where=where)
    z, membership = unit(on(where, z)), on(where, precise(membership))
    share = mean(membership, axis_name, where)  # n_j / N
    K, D = membership.shape[1], z.shape[1]
    weighted = (membership[:, :, None] * z[:, None]).reshape(len(z), K * D)
    S = _moments(weighted, z, axis_name, where).reshape(K, D, D)
    S = S / jnp.maximum(share, 1e-12)[:, None, None]
    groups = (share * _log_det(S * D / jnp.square(like(distortion, S)))).sum() / 2
    options: dict[str, Any] = dict(distortion=distortion, where=where, axis_name=axis_name)
    return groups - total_coding_rate(z, **options)


def sigreg(
    z: ArrayLike,
    directions: ArrayLike,
    *,
    points: int = 9,
    bound: ArrayLike = 5.0,
    where: ArrayLike | None = None,
    axis_name: Axis = None,
) -> jax.Array:
    """SIGReg: along random directions rows are normal, by a test: one value for a batch.

    Balestriero & LeCun 2025 (LeJEPA), arXiv:2511.08544, section 4: with a of length one and
    f(t) = exp(-t^2 / 2), the characteristic function of a normal variable and the weight,
        l = mean over a of  N int |1/N sum_i exp(i t a.z_i) - f(t)|^2 f(t) dt,
    from -bound to bound by the rule of trapezoids.
    z [B, D], directions [M, D] -> []. Directions are drawn anew in each step, the same on all
    devices, 256 in algorithm 1 and 1024 in the authors' code: `jax.random.normal(key, (256, D))`.

    directions: of any length but 0; no gradient flows to them.
    points: from t = 0 to bound; the paper's 17 from -5 to 5 are these 9 and their mirror images.
    bound: where the integral ends.
    where: bool [B], rows that count; None: all.
    axis_name: the mapped axis, or axes, whose shards make up the batch.

    >>> print(f'{sigreg(jnp.zeros((4, 2)), jnp.eye(2)):.4f}')  # collapsed
    1.6357
    """
    z, directions, where = arrays('B D', 'M D', 'B', z=z, directions=directions, where=where)
    z = on(where, precise(z))
    bound = like(bound, z)
    t = bound * jnp.linspace(0, 1, points, dtype=z.dtype)
    f = jnp.exp(-jnp.square(t) / 2)
    a = lax.stop_gradient(unit(everywhere(directions, None)))
    angles = products(z, a)[..., None] * t  # [B, M, points]
    cosine, sine = (mean(wave(angles), axis_name, where) for wave in (jnp.cos, jnp.sin))
    error = (jnp.square(cosine - f) + jnp.square(sine)) * f
    step = bound / (points - 1)
    inner = error.sum(-1) - (error[:, 0] + error[:, -1]) / 2
    return (2 * step * inner).mean() * size(z, axis_name, where)


def _matched(a, b, at_a, at_b, matches):
    """The rows of a that lie nearest to a row of b, and these rows of b: [B, matches, D] twice."""
    at_a, at_b = (lax.stop_gradient(precise(at)) for at in (at_a, at_b))
    squares = jnp.square(at_a).sum(-1)[:, :, None] + jnp.square(at_b).sum(-1)[:, None]
    distance = squares - 2 * jnp.einsum('bps,bqs->bpq', at_a, at_b, precision='highest')
    _, chosen = lax.top_k(-distance.min(-1), matches)
    partner = jnp.take_along_axis(distance.argmin(-1), chosen, 1)
    return tuple(
        jnp.take_along_axis(z, index[..., None], 1) for z, index in ((a, chosen), (b, partner))
    )


def _log_det(S: jax.Array) -> jax.Array:
    """log det(I + S) of symmetric S without a negative eigenvalue: [..., D, D] -> [...]."""
    L = jnp.linalg.cholesky(S + jnp.eye(S.shape[-1], dtype=S.dtype))
    return 2 * jnp.log(jnp.diagonal(L, axis1=-2, axis2=-1)).sum(-1)


def _centered(z: jax.Array, axis_name: Axis, where: jax.Array | None) -> jax.Array:
    z = on(where, precise(z))
    return on(where, z - mean(z, axis_name, where))


def _moments(a: jax.Array, b: jax.Array, axis_name: Axis, where: jax.Array | None) -> jax.Array:
    """The mean over the batch of a[d] b[e]: [D, D]; rows that are off are zero."""
    sums = products(a.T, b.T)
    sums = sums if axis_name is None else lax.psum(sums, axis_name)
    return sums / size(a, axis_name, where)
