"""What printers, scanners, cameras and copiers do to a page: of one image [H, W, C] in [-1, 1].

Paper is light, ink is dark. With an amount of 0 an operator changes nothing. The random ones have
a `severity` from 0 to 1, to which every amount is in proportion. Baird 1992 (in Structured
Document Image Analysis) models the defects; Kanungo et al. 1993 (ICDAR) those of edges.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from ssljax.augment import geometry, texture
from ssljax.augment.geometry import span, spread
from ssljax.augment.image import View, check
from ssljax.kinds import Share
from ssljax.names import Mistake, choose

Direction = tuple[Any, Any]  # (down, right), of any length but zero


# printing ----


def ink_gain(x: jax.Array, amount: Any) -> jax.Array:
    """Ink spreads by a pixel where amount is 1, shrinks by one where it is -1; between, in part.

    The darkest, or lightest, of the 3 x 3 pixels around each, mixed with the pixel itself.
    """
    p = jnp.pad(x, ((1, 1), (1, 1), (0, 0)), 'edge')
    H, W, _ = x.shape
    around = jnp.stack([p[i : i + H, j : j + W] for i in range(3) for j in range(3)])
    other = jnp.where(amount > 0, around.min(0), around.max(0))
    return x + jnp.abs(amount) * (other - x)


def fade(x: jax.Array, amount: Any, grain: jax.Array) -> jax.Array:
    """Ink is missing in spots, so that strokes break: in a share `amount` of the page.

    There, what is darker than the page's median, which is paper, becomes as light as that. `grain`
    [h, w] is uniform in [0, 1) and coarser than x; a spot is about a cell of it.
    """
    grain = geometry.resize(grain[..., None], size=x.shape[:2])
    # resized, values gather at the middle: ranks are a share again
    rank = jnp.argsort(jnp.argsort(grain.ravel())).reshape(grain.shape) / grain.size
    return jnp.where(rank < amount, jnp.maximum(x, jnp.median(x, (0, 1))), x)


def edge_noise(
    x: jax.Array, amount: Any, grain: jax.Array, *, decay: float = 1.0, reach: int = 3
) -> jax.Array:
    """Ink and paper trade places near edges: x -> -x with chance amount * exp(-decay (d^2 - 1)).

    d is the distance in pixels to the nearest of the other kind; beyond `reach` nothing changes.
    `grain` [H, W, 1] is uniform in [0, 1). The kind of a pixel is that of its mean: above 0 paper.
    """
    ink = x.mean(-1) < 0
    far = jnp.where(ink, squared_distance(~ink, reach), squared_distance(ink, reach))
    chance = jnp.where(far <= reach**2, amount * jnp.exp(-decay * (far - 1.0)), 0)
    return jnp.where(grain < chance[..., None], -x, x)


def squared_distance(there: jax.Array, reach: int) -> jax.Array:
    """From each pixel [H, W] to the nearest true one; exact up to reach^2, beyond it just more."""
    far = 2 * (reach + 1) ** 2
    distance = jnp.where(there, 0, far)
    for axis in (0, 1):  # of squares, the nearest is found along one axis, then along the other
        n = distance.shape[axis]
        p = jnp.pad(distance, [(reach * (a == axis),) * 2 for a in (0, 1)], constant_values=far)
        moved = [
            jax.lax.slice_in_dim(p, reach + k, reach + k + n, axis=axis) + k**2
            for k in range(-reach, reach + 1)
        ]
        distance = jnp.stack(moved).min(0)
    return distance


# scanning ----


def threshold(x: jax.Array, amount: Any, level: Any = 0.0) -> jax.Array:
    """Toward black and white: where amount is 1, all that is above the level is white."""
    return x + amount * (jnp.where(x > level, 1, -1) - x)


# photographing ----


def along(shape: tuple, direction: Direction) -> jax.Array:
    """How far each pixel [H, W, 1] lies in a direction: -1 and 1 at the outermost corners."""
    i, j = (jnp.linspace(-1, 1, side) if side > 1 else jnp.zeros(1) for side in shape[:2])
    down, right = direction
    there = down * i[:, None] + right * j
    return (there / (jnp.abs(down) + jnp.abs(right)))[..., None]


def lit(x: jax.Array, light: jax.Array) -> jax.Array:
    """The page under a light: black stays black."""
    return x * light + (light - 1)


def uneven_light(x: jax.Array, amount: Any, direction: Direction) -> jax.Array:
    """Light falls evenly from all of it to 1 - amount of it, in a direction."""
    return lit(x, 1 - amount * (along(x.shape, direction) + 1) / 2)


def shadow(
    x: jax.Array, amount: Any, direction: Direction, place: Any = 0.0, *, soft: float = 0.08
) -> jax.Array:
    """A share `amount` of the light is gone beyond a line across a direction.

    place: of the line, from -1 to 1. soft: how wide the edge is, on that scale.
    """
    return lit(x, 1 - amount * jax.nn.sigmoid((along(x.shape, direction) - place) / soft))


def bend(x: jax.Array, amount: Any, phase: Any = 0.0, *, waves: float = 1.0) -> jax.Array:
    """Paper that does not lie flat: each column is moved down by amount * sin, in pixels.

    Its argument is the phase at the left and grows by 2 pi waves to the right.
    """
    H, W, _ = x.shape
    moved = amount * jnp.sin(phase + 2 * jnp.pi * waves * jnp.arange(W) / W)
    row = jnp.clip(jnp.arange(H)[:, None] - moved, 0, H - 1)  # where it is read
    upper = jnp.floor(row).astype(jnp.int32)
    lower = jnp.minimum(upper + 1, H - 1)
    part = (row - upper)[..., None]
    a, b = (jnp.take_along_axis(x, r[..., None], 0) for r in (upper, lower))
    return a + part * (b - a)


# photocopying ----


def steepen(x: jax.Array, amount: Any) -> jax.Array:
    """Contrast around mid gray, 1 + amount times as much, up to black and white."""
    return jnp.clip((1 + amount) * x, -1, 1)


def streaks(x: jax.Array, amount: Any, grain: jax.Array, *, share: float = 0.05) -> jax.Array:
    """A share of the columns loses `amount` of its light; `grain` [W] in [0, 1) says which."""
    return lit(x, 1 - amount * (grain < share)[:, None])


# random ones ----


def random_print(key: jax.Array, x: jax.Array, *, severity: Any = 0.5) -> jax.Array:
    """Ink that spreads or shrinks, faded spots, ragged edges."""
    k1, k2, k3 = jax.random.split(key, 3)
    u = jax.random.uniform(k1, (3,))
    x = ink_gain(x, severity * spread(u[0], 0.8))
    spots = jax.random.uniform(k2, (max(x.shape[0] // 3, 1), max(x.shape[1] // 3, 1)))
    x = fade(x, severity * span(u[1], 0.1, 0.3), spots)
    grain = jax.random.uniform(k3, (*x.shape[:2], 1))
    return edge_noise(x, severity * span(u[2], 0.2, 0.5), grain)


def random_scan(key: jax.Array, x: jax.Array, *, severity: Any = 0.5) -> jax.Array:
    """Skew, blur, noise, too few levels."""
    k1, k2 = jax.random.split(key)
    u = jax.random.uniform(k1, (5,))
    x = geometry.rotate(x, severity * spread(u[0], 0.03))
    x = texture.blur(x, severity * span(u[1], 0.5, 1.6), radius=5)
    x = texture.noise(x, severity * span(u[2], 0.2, 0.6), jax.random.normal(k2, x.shape))
    return jnp.clip(threshold(x, severity * u[3], spread(u[4], 0.3)), -1, 1)


def random_photograph(key: jax.Array, x: jax.Array, *, severity: Any = 0.5) -> jax.Array:
    """Paper that bends, defocus, uneven light, a shadow, noise."""
    k1, k2, k3 = jax.random.split(key, 3)
    u, toward = jax.random.uniform(k1, (6,)), jax.random.normal(k2, (2, 2))
    x = bend(x, severity * span(u[0], 0.5, 2.0), 2 * jnp.pi * u[1])
    x = texture.blur(x, severity * span(u[2], 0.4, 1.2), radius=4)
    x = uneven_light(x, severity * span(u[3], 0.3, 0.8), toward[0])
    x = shadow(x, severity * span(u[4], 0.2, 0.7), toward[1], spread(u[5], 0.6))
    # the sensor has noise of its own, which does not go down with the light
    return jnp.clip(texture.noise(x, 0.1 * severity, jax.random.normal(k3, x.shape)), -1, 1)


def random_photocopy(key: jax.Array, x: jax.Array, *, severity: Any = 0.5) -> jax.Array:
    """Blur and too much contrast, ragged edges, dust, streaks."""
    k1, k2, k3, k4 = jax.random.split(key, 4)
    u = jax.random.uniform(k1, (5,))
    x = texture.blur(x, severity * span(u[0], 0.4, 1.0), radius=3)
    x = steepen(x, severity * span(u[1], 1.0, 4.0))
    x = edge_noise(x, severity * span(u[2], 0.1, 0.4), jax.random.uniform(k2, (*x.shape[:2], 1)))
    dust = jax.random.uniform(k3, (*x.shape[:2], 1))
    x = texture.salt_pepper(x, severity * span(u[3], 0.02, 0.15), dust)
    return streaks(x, severity * span(u[4], 0.3, 0.9), jax.random.uniform(k4, x.shape[1:2]))


KINDS = {
    'print': random_print,
    'scan': random_scan,
    'photograph': random_photograph,
    'photocopy': random_photocopy,
}
Kind = Literal[tuple(KINDS)]


def document(*, kinds: tuple[Kind, ...] = ('print', 'scan'), severity: Share = 0.5) -> View:
    """A page as it comes out of these machines, one after another.

    kinds: of print, scan, photograph and photocopy, in their order.
    severity: 0 changes nothing; every defect is in proportion to it.
    """
    for kind in kinds:
        choose(kind, KINDS, 'kind of document')
    if not 0 <= severity <= 1:
        raise Mistake(f'document: severity={severity}; type a number from 0 to 1')

    def view(key: jax.Array, x: jax.Array) -> jax.Array:
        check(x)
        for k, kind in zip(jax.random.split(key, max(len(kinds), 1)), kinds):
            x = KINDS[kind](k, x, severity=severity)
        return x

    return view
