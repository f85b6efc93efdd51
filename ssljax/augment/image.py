"""Composed views of images: factories that return view(key, x) for one x [H, W, C] in [-1, 1]."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.augment import color, geometry, texture
from ssljax.augment.geometry import Range, Size, span, spread
from ssljax.names import Mistake

View = Callable[[jax.Array, jax.Array], jax.Array]


def identity() -> View:
    """The image as it is."""
    return lambda key, x: x


def crop(
    *, size: Size = 32, scale: Range = (0.08, 1.0), ratio: Range = (3 / 4, 4 / 3), flip: float = 0.5
) -> View:
    """A random resized crop and a flip, nothing else (the view of He et al. 2022, for one)."""
    return simclr(size=size, scale=scale, ratio=ratio, flip=flip, jitter=0.0, gray=0.0)


def simclr(
    *,
    size: Size = 32,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
    flip: float = 0.5,
    jitter: float = 0.8,
    strength: float = 0.5,
    gray: float = 0.2,
    blur: float = 0.0,
    sigma: Range = (0.1, 2.0),
    solarize: float = 0.0,
) -> View:
    """Crop, flip, color distortion, blur (Chen et al. 2020, arXiv:2002.05709, appendix A).

    flip, jitter, gray, blur, solarize are chances. The defaults are the paper's for CIFAR: strength
    0.5, no blur; for ImageNet strength=1.0, blur=0.5. Solarize is BYOL's addition. The color
    distortion keeps one order: brightness, contrast, saturation, hue.
    """
    chances(flip=flip, jitter=jitter, gray=gray, blur=blur, solarize=solarize)
    ranges(1e-4, 1, scale=scale)
    ranges(1e-2, 1e2, ratio=ratio)
    ranges(0, 100, sigma=sigma)
    if not strength >= 0:
        raise Mistake(f'strength is {strength}; it must be at least 0, type strength=0.5')
    radius = math.ceil(3 * sigma[1])
    bounds = dict.fromkeys(('brightness', 'contrast', 'saturation'), 0.8 * strength)
    bounds['hue'] = 0.2 * strength

    def view(key: jax.Array, x: jax.Array) -> jax.Array:
        check(x)
        u = jax.random.uniform(key, (14,))  # all numbers at once: many split keys compile slowly
        box = geometry.draw_box(u[:4], shape=x.shape, scale=scale, ratio=ratio)
        x = geometry.crop(x, geometry.mirror(box, u[4] < flip), size=size)
        if jitter and strength:
            b, c, s, h = color.draw_jitter(u[5:9], **bounds)
            acts = u[9] < jitter
            b, c, s = (jnp.where(acts, factor, 1.0) for factor in (b, c, s))
            x = color.jitter(x, b, c, s, jnp.where(acts, h, 0.0))
        if gray:
            x = jnp.where(u[10] < gray, color.gray(x), x)
        if blur:
            x = texture.blur(x, jnp.where(u[11] < blur, span(u[12], *sigma), 0.0), radius=radius)
        if solarize:
            x = jnp.where(u[13] < solarize, color.solarize(x), x)
        return x

    return view


def ink(
    *,
    zoom: float = 0.25,
    aspect: float = 0.2,
    shift: float = 4.0,
    shear: float = 0.25,
    rotation: float = 0.15,
    blur: Range = (0.05, 1.0),
    contrast: float = 0.3,
    polarity: float = 0.5,
    brightness: float = 0.4,
    field: float = 0.2,
    grid: int = 4,
    noise: float = 0.12,
    cutout: float = 0.5,
    side: Range = (3.0, 6.0),
) -> View:
    """What a reader of writing ignores: place, scale, slant, focus, light, polarity, grain, gaps.

    zoom, aspect and contrast bound logarithms; shift, side and blur (a sigma) are in pixels;
    polarity and cutout are chances; brightness, field and noise are on the scale of [-1, 1].
    The result has mean 0 and deviation 1: light is a nuisance relative to noise and cutout only.
    """
    chances(polarity=polarity, cutout=cutout)
    ranges(0, 100, blur=blur)
    ranges(0, 1000, side=side)
    bounds = dict(zoom=zoom, aspect=aspect, shear=shear, rotation=rotation, shift=shift)
    radius = math.ceil(3 * blur[1])

    def view(key: jax.Array, x: jax.Array) -> jax.Array:
        check(x)
        key, other = jax.random.split(key)
        u = jax.random.uniform(key, (17,))
        grain = jax.random.normal(other, (grid * grid + (x.size if noise else 0),))
        x = geometry.affine(x, **geometry.draw_affine(u[:6], **bounds))
        if radius:
            x = texture.blur(x, span(u[6], *blur), radius=radius)
        sign = jnp.where(u[7] < polarity, -1.0, 1.0)
        x = color.scale(sign * x, jnp.exp(spread(u[8], contrast)), spread(u[9], brightness))
        if field:
            x = texture.field(x, field * u[10], grain[: grid * grid].reshape(grid, grid))
        if noise:
            x = texture.noise(x, noise * u[11], grain[grid * grid :].reshape(x.shape))
        if cutout:
            box = texture.draw_cutout(u[12:15], shape=x.shape, side=side)
            x = jnp.where(u[15] < cutout, texture.cutout(x, box, spread(u[16], 1.0)), x)
        return color.normalize(x)

    return view


def check(x: jax.Array) -> None:
    """Refuses what is not one float image."""
    if x.ndim != 3 or x.shape[-1] not in (1, 3) or not jnp.issubdtype(x.dtype, jnp.floating):
        raise Mistake(
            f'a view takes one float image [H, W, 1 or 3] in [-1, 1], found {x.dtype}'
            f'{list(x.shape)}; type x / 127.5 - 1 for bytes, and views(view, key, x, n) for a batch'
        )


def chances(**given: float) -> None:
    """Refuses what is not a probability."""
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise Mistake(f'{name} is {value}; a chance lies in 0..1, type {name}=0.5')


def ranges(least: float, most: float, **given: Range) -> None:
    """Refuses what is not a pair (low, high) in order within its limits."""
    for name, value in given.items():
        pair = tuple(value) if isinstance(value, list | tuple) else (value,)
        if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
            raise Mistake(
                f'{name} is {value}; it is a pair with {least:g} <= low <= high <= {most:g},'
                f' type {name}=(low, high)'
            )
