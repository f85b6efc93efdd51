"""Operators on positions: crop, flip, quarter turns, affine maps of one image [H, W, C]."""

from typing import Any

import jax
import jax.numpy as jnp

from ssljax.augment.planes import products
from ssljax.kinds import Count
from ssljax.names import Mistake

Size = Count | tuple[Count, Count]
Range = tuple[float, float]


def span(u: Any, low: Any, high: Any) -> Any:
    """Maps a uniform number of [0, 1) to [low, high)."""
    return low + (high - low) * u


def spread(u: Any, amount: Any) -> Any:
    """Maps a uniform number of [0, 1) to [-amount, amount)."""
    return (2 * u - 1) * amount


def triangle(start: Any, extent: Any, *, size: int, count: int) -> jax.Array:
    """Bilinear weights [size, count] that resample [start, start + extent) of `count` pixels.

    Where the image shrinks the triangle is wider, as in PIL (and torchvision's antialias).
    A negative extent mirrors. Beyond the borders the edge pixel is repeated.
    """
    scale = extent / size
    center = jnp.clip(start + (jnp.arange(size) + 0.5) * scale, 0.5, count - 0.5)
    distance = jnp.abs(jnp.arange(count) + 0.5 - center[:, None])
    weight = jax.nn.relu(1 - distance / jnp.maximum(jnp.abs(scale), 1))
    return weight / weight.sum(1, keepdims=True)


def crop(x: jax.Array, box: Any, *, size: Size) -> jax.Array:
    """The box (top, left, height, width), in real pixels, resized: PIL's bilinear resize(box=).

    A negative height or width mirrors that axis; the box then starts at its far end.
    """
    h, w = (size, size) if isinstance(size, int) else size
    rows = triangle(box[0], box[2], size=h, count=x.shape[0])
    cols = triangle(box[1], box[3], size=w, count=x.shape[1])
    return products(rows, x, cols)  # a gather would be slower


def resize(x: jax.Array, *, size: Size) -> jax.Array:
    """The whole image at another size, bilinear with antialiasing."""
    return crop(x, (0, 0, x.shape[0], x.shape[1]), size=size)


def flip(x: jax.Array) -> jax.Array:
    """Exchanges left and right."""
    return x[:, ::-1]


def quarter(x: jax.Array, k: Any) -> jax.Array:
    """Turns a square image counterclockwise by k quarters, as numpy's rot90; k may be traced."""
    if x.shape[0] != x.shape[1]:
        raise Mistake(
            f'a quarter turn takes a square image, found {list(x.shape)}; type crop(size=N) first'
        )
    k = k % 4
    # transposed and mirrored where needed: cheaper than a choice among four turned images
    x = jnp.where(k % 2 == 1, x.swapaxes(0, 1), x)
    x = jnp.where((k == 1) | (k == 2), x[::-1], x)
    return jnp.where(k >= 2, x[:, ::-1], x)


def warp(x: jax.Array, matrix: Any, shift: Any) -> jax.Array:
    """Pixel p of the result is read, bilinearly, at center + matrix @ (p - center - shift).

    Positions are (row, column). Edge pixels are repeated.
    """
    H, W, C = x.shape
    cy, cx = (H - 1) / 2, (W - 1) / 2
    i, j = jnp.arange(H)[:, None] - cy - shift[0], jnp.arange(W) - cx - shift[1]
    y = jnp.clip(cy + matrix[0][0] * i + matrix[0][1] * j, 0, H - 1)  # [H, W]
    z = jnp.clip(cx + matrix[1][0] * i + matrix[1][1] * j, 0, W - 1)
    y0, z0 = jnp.floor(y), jnp.floor(z)
    fy, fz = (y - y0)[..., None], (z - z0)[..., None]
    y0, z0 = y0.astype(jnp.int32), z0.astype(jnp.int32)
    y1, z1 = jnp.minimum(y0 + 1, H - 1), jnp.minimum(z0 + 1, W - 1)
    pixels = jnp.asarray(x).reshape(H * W, C)
    a, b, c, d = (pixels[r * W + s] for r, s in ((y0, z0), (y0, z1), (y1, z0), (y1, z1)))
    return (1 - fy) * ((1 - fz) * a + fz * b) + fy * ((1 - fz) * c + fz * d)


def affine(
    x: jax.Array,
    *,
    zoom: Any = 0.0,
    aspect: Any = 0.0,
    shear: Any = 0.0,
    rotation: Any = 0.0,
    shift: Any = (0.0, 0.0),
) -> jax.Array:
    """Scales, then shears, then rotates about the center, then shifts; edge pixels are repeated.

    zoom: the logarithm of the scale.
    aspect: the logarithm of the change of width over height.
    shear: pixels to the right for each row above the center.
    rotation: the angle in radians, counterclockwise as seen.
    shift: (down, right) in pixels.
    """
    per_width, per_height = jnp.exp(-zoom - aspect / 2), jnp.exp(-zoom + aspect / 2)
    cos, sin = jnp.cos(rotation), jnp.sin(rotation)
    # the inverse map, on (row, column): unrotate, unshear, unscale
    matrix = (
        (per_height * cos, per_height * sin),
        (per_width * (shear * cos - sin), per_width * (cos + shear * sin)),
    )
    return warp(x, matrix, shift)


def rotate(x: jax.Array, angle: Any) -> jax.Array:
    """Turns about the center by an angle in radians, counterclockwise as seen."""
    return affine(x, rotation=angle)


def shear(x: jax.Array, amount: Any) -> jax.Array:
    """Moves each row to the right by `amount` pixels for each row that it is above the center."""
    return affine(x, shear=amount)


def draw_box(u: jax.Array, *, shape: tuple, scale: Range, ratio: Range) -> tuple:
    """A box inside the image from four uniform numbers: area, log aspect, top, left.

    The aspect (width over height) is log-uniform over the part of `ratio` for which a box of this
    area fits into the image, so no draw is rejected. (torchvision draws area and aspect
    independently and rejects: the same below area 3/4; above, it has fewer of the largest boxes.)
    """
    H, W = shape[:2]
    area = span(u[0], *scale)
    low, high = (jnp.clip(r, area * W / H, W / (H * area)) for r in ratio)
    aspect = jnp.exp(span(u[1], jnp.log(low), jnp.log(high)))
    height = jnp.minimum(jnp.sqrt(area * H * W / aspect), H)
    width = jnp.minimum(jnp.sqrt(area * H * W * aspect), W)
    return u[2] * (H - height), u[3] * (W - width), height, width


def mirror(box: tuple, flipped: Any) -> tuple:
    """The same box, mirrored where `flipped`: a `crop` that also flips costs no more."""
    top, left, height, width = box
    return top, jnp.where(flipped, left + width, left), height, jnp.where(flipped, -width, width)


def random_crop(
    key: jax.Array,
    x: jax.Array,
    *,
    size: Size,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
) -> jax.Array:
    """A random resized crop (Szegedy et al. 2015, arXiv:1409.4842)."""
    box = draw_box(jax.random.uniform(key, (4,)), shape=x.shape, scale=scale, ratio=ratio)
    return crop(x, box, size=size)


def random_flip(key: jax.Array, x: jax.Array, *, chance: float = 0.5) -> jax.Array:
    """Exchanges left and right with the given chance."""
    return jnp.where(jax.random.uniform(key) < chance, flip(x), x)


def random_quarter(key: jax.Array, x: jax.Array) -> jax.Array:
    """Turns a square image by 0, 90, 180 or 270 degrees, each with the same chance."""
    return quarter(x, jax.random.randint(key, (), 0, 4))


def random_rotation(key: jax.Array, x: jax.Array, *, angle: float = 0.5) -> jax.Array:
    """Turns by a uniform angle within +- `angle`, in radians."""
    return rotate(x, spread(jax.random.uniform(key), angle))


def random_shear(key: jax.Array, x: jax.Array, *, amount: float = 0.3) -> jax.Array:
    """Shears by a uniform amount within +- `amount`."""
    return shear(x, spread(jax.random.uniform(key), amount))


def draw_affine(
    u: jax.Array, *, zoom: float, aspect: float, shear: float, rotation: float, shift: float
) -> dict[str, Any]:
    """Amounts of `affine` from six uniform numbers u.

    zoom, aspect, shear, rotation, shift: bounds; each amount is uniform within +- its bound.
    """
    return dict(
        zoom=spread(u[0], zoom),
        aspect=spread(u[1], aspect),
        shear=spread(u[2], shear),
        rotation=spread(u[3], rotation),
        shift=(spread(u[4], shift), spread(u[5], shift)),
    )


def random_affine(
    key: jax.Array,
    x: jax.Array,
    *,
    zoom: float = 0.0,
    aspect: float = 0.0,
    shear: float = 0.0,
    rotation: float = 0.0,
    shift: float = 0.0,
) -> jax.Array:
    """An affine map with uniform amounts.

    zoom, aspect, shear, rotation, shift: bounds of the amounts of `affine`, around 0.
    """
    bounds = dict(zoom=zoom, aspect=aspect, shear=shear, rotation=rotation, shift=shift)
    return affine(x, **draw_affine(jax.random.uniform(key, (6,)), **bounds))
