"""Operators on light and color: of one image [H, W, C], C = 1 or 3, in [-1, 1]."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.augment.geometry import span, spread
from ssljax.augment.planes import planes, stack, where
from ssljax.names import Mistake

# linear sRGB -> XYZ, each row over its sum: white (D65) becomes (1, 1, 1), and grays a = b = 0
XYZ = np.array(
    [
        (0.4124564, 0.3575761, 0.1804375),
        (0.2126729, 0.7151522, 0.0721750),
        (0.0193339, 0.1191920, 0.9503041),
    ]
)
XYZ = XYZ / XYZ.sum(1, keepdims=True)
BEND = 6 / 29  # the cube root below which L* is linear


def luma(parts: list[jax.Array]) -> jax.Array:
    """Perceived brightness, ITU-R 601 (as PIL and torchvision); of one channel: this channel."""
    if len(parts) == 1:
        return parts[0]
    r, g, b = parts
    return 0.299 * r + 0.587 * g + 0.114 * b


def blend(parts: list[jax.Array], base: Any, factor: Any) -> jax.Array:
    """base + factor * (image - base), clipped to [-1, 1]."""
    return stack([jnp.clip(base + (p - base) * factor, -1, 1) for p in parts])


def brightness(x: jax.Array, factor: Any) -> jax.Array:
    """Multiplies light by a factor; black stays black."""
    return blend(planes(x), -1.0, factor)


def contrast(x: jax.Array, factor: Any) -> jax.Array:
    """Multiplies the distance from the image's mean luma by a factor."""
    parts = planes(x)
    return blend(parts, luma([p.mean() for p in parts]), factor)


def saturation(x: jax.Array, factor: Any) -> jax.Array:
    """Multiplies the distance from each pixel's own luma by a factor; gray stays gray."""
    parts = planes(x)
    return blend(parts, luma(parts), factor) if len(parts) == 3 else x


def hue(x: jax.Array, shift: Any) -> jax.Array:
    """Moves the hue by a fraction of the color circle, in HSV as PIL; gray stays as it is."""
    if x.shape[-1] == 1:
        return x
    r, g, b = planes(x)
    value = jnp.maximum(jnp.maximum(r, g), b)
    chroma = value - jnp.minimum(jnp.minimum(r, g), b)
    per = 1 / jnp.where(chroma > 0, chroma, 1)  # hue is the same for x = 2 u - 1 as for u
    # by order, not by value == r: a fused maximum may be rounded otherwise; in a tie both agree
    sixth = jnp.where(g >= b, 2 + (b - r) * per, 4 + (r - g) * per)
    sixth = jnp.where((r >= g) & (r >= b), (g - b) * per, sixth)
    sixth = sixth / 6 + shift
    sixth = 6 * (sixth - jnp.floor(sixth))  # 0..6 around the circle
    # without the barrier the compiler would compute these again for each channel
    value, chroma, sixth = jax.lax.optimization_barrier((value, chroma, sixth))
    r = jnp.clip(2 - jnp.abs(sixth - 3), 0, 1)  # how far each channel is below `value`, in chromas
    g = jnp.clip(jnp.abs(sixth - 2) - 1, 0, 1)
    b = jnp.clip(jnp.abs(sixth - 4) - 1, 0, 1)
    return stack([value - chroma * r, value - chroma * g, value - chroma * b])


def gray(x: jax.Array) -> jax.Array:
    """Removes color: each channel becomes the luma."""
    return stack([luma(planes(x))] * x.shape[-1])


def invert(x: jax.Array) -> jax.Array:
    """Exchanges light and dark: a light line on a dark ground becomes dark on light."""
    return -x


def solarize(x: jax.Array, threshold: Any = 0.0) -> jax.Array:
    """Inverts the values at or above the threshold (used by Grill et al. 2020)."""
    return stack([jnp.where(p >= threshold, -p, p) for p in planes(x)])


def scale(x: jax.Array, factor: Any, offset: Any = 0.0) -> jax.Array:
    """Multiplies contrast about the image's mean and adds an offset, without clipping."""
    mean = x.mean()
    return mean + (x - mean) * factor + offset


def normalize(x: jax.Array) -> jax.Array:
    """Mean 0, standard deviation 1 over the image; a flat image becomes zeros."""
    x = x - x[:1, :1, :1]  # exactly zero where flat: a mean alone may be off by rounding
    x = x - x.mean()
    return x / jnp.maximum(jnp.sqrt((x**2).mean()), 1 / 127.5)  # at least one gray level


def lab(x: jax.Array) -> jax.Array:
    """sRGB to CIE 1976 L*a*b* under D65, [H, W, 3]: L*/50 - 1, a*/110, b*/110, all in [-1, 1].

    In colorization the first channel, lightness, is the input and the other two are the target.
    """
    if x.shape[-1] != 3:
        raise Mistake(f'Lab is of three channels, found {list(x.shape)}; type x.repeat(3, -1)')
    u = [(p + 1) / 2 for p in planes(x)]
    # bases that are not used are kept away from 0, where the gradient of a power is infinite
    curve = [power((jnp.maximum(p, 0.04045) + 0.055) / 1.055, 2.4) for p in u]
    light = [jnp.where(p > 0.04045, c, p / 12.92) for p, c in zip(u, curve, strict=True)]
    # a barrier, as in `hue`: two of the three are used by two channels each
    fx, fy, fz = jax.lax.optimization_barrier([root(mix(row, light)) for row in XYZ.tolist()])
    return stack([2.32 * fy - 1.32, 500 / 110 * (fx - fy), 200 / 110 * (fy - fz)])


def rgb(x: jax.Array) -> jax.Array:
    """The inverse of `lab`; colors that no sRGB pixel has are clipped to [-1, 1]."""
    L, a, b = planes(x)
    fy = (L + 1.32) / 2.32
    xyz = [cube(f) for f in (fy + a * 110 / 500, fy, fy - b * 110 / 200)]
    light = [mix(row, xyz) for row in np.linalg.inv(XYZ).tolist()]
    curve = [1.055 * power(jnp.maximum(p, 0.0031308), 1 / 2.4) - 0.055 for p in light]
    u = [jnp.where(p > 0.0031308, c, 12.92 * p) for p, c in zip(light, curve, strict=True)]
    return stack([jnp.clip(2 * p - 1, -1, 1) for p in u])


def mix(row: list[float], parts: list[jax.Array]) -> jax.Array:
    """A weighted sum of planes; a matrix product would be rounded by an accelerator."""
    return row[0] * parts[0] + row[1] * parts[1] + row[2] * parts[2]


def power(x: jax.Array, exponent: float) -> jax.Array:
    """x ** exponent of positive numbers; on a CPU, ** and jnp.cbrt take 4 to 8 times as long."""
    return jnp.exp(exponent * jnp.log(x))


def root(t: jax.Array) -> jax.Array:
    """The cube root of L*, which is linear below BEND cubed."""
    line = t / (3 * BEND**2) + 4 / 29
    return jnp.where(t > BEND**3, power(jnp.maximum(t, BEND**3), 1 / 3), line)


def cube(f: jax.Array) -> jax.Array:
    """The inverse of `root`."""
    return jnp.where(f > BEND, f**3, 3 * BEND**2 * (f - 4 / 29))


def jitter(x: jax.Array, b: Any, c: Any, s: Any, h: Any) -> jax.Array:
    """Brightness, contrast, saturation, hue, in this order (torchvision draws an order)."""
    return hue(saturation(contrast(brightness(x, b), c), s), h)


def draw_jitter(
    u: jax.Array, *, brightness: float, contrast: float, saturation: float, hue: float
) -> tuple:
    """Amounts of `jitter` from four uniform numbers u.

    brightness: its factor is uniform within 1 +- this bound, and at least 0.
    contrast, saturation: likewise.
    hue: its shift is uniform within +- this bound.
    """
    low = [max(0.0, 1 - a) for a in (brightness, contrast, saturation)]
    high = [1 + a for a in (brightness, contrast, saturation)]
    return *(span(u[i], low[i], high[i]) for i in range(3)), spread(u[3], hue)


def random_jitter(
    key: jax.Array,
    x: jax.Array,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
    hue: float = 0.1,
) -> jax.Array:
    """Color jitter with uniform amounts.

    brightness, contrast, saturation: bounds of factors around 1.
    hue: the bound of the shift around 0, as a fraction of the color circle.
    """
    bounds = dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
    return jitter(x, *draw_jitter(jax.random.uniform(key, (4,)), **bounds))


def random_gray(key: jax.Array, x: jax.Array, *, chance: float = 0.2) -> jax.Array:
    """Removes color with the given chance."""
    return where(jax.random.uniform(key) < chance, gray(x), x)


def random_solarize(
    key: jax.Array, x: jax.Array, *, chance: float = 0.2, threshold: float = 0.0
) -> jax.Array:
    """Solarizes with the given chance."""
    return where(jax.random.uniform(key) < chance, solarize(x, threshold), x)
