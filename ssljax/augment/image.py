"""Composed views of images: factories that return view(key, x) for one x [H, W, C] in [-1, 1]."""

import math
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp

from ssljax.augment import color, geometry, texture
from ssljax.augment.geometry import Range, Size, span, spread
from ssljax.augment.planes import where
from ssljax.kinds import Count, Interval, NonNegative, Share
from ssljax.names import Mistake

View = Callable[[jax.Array, jax.Array], jax.Array]
# kinds of options: pairs, from the least to the most of a draw
Scale = Annotated[Range, Interval(1e-4, 1)]
Ratio = Annotated[Range, Interval(1e-2, 1e2)]
Sigma = Annotated[Range, Interval(0, 100)]


def identity() -> View:
    """The image as it is."""
    return lambda key, x: x


def crop(
    *, size: Size = 32, scale: Scale = (0.08, 1.0), ratio: Ratio = (3 / 4, 4 / 3), flip: Share = 0.5
) -> View:
    """A random resized crop and a flip, nothing else (the view of He et al. 2022, for example).

    size: of the result, in pixels: a number or (height, width).
    scale: the range of the box's area, as a share of the image's.
    ratio: the range of the box's width over its height.
    flip: the chance of a mirror image.
    """
    return simclr(size=size, scale=scale, ratio=ratio, flip=flip, jitter=0.0, gray=0.0)


def simclr(
    *,
    size: Size = 32,
    scale: Scale = (0.08, 1.0),
    ratio: Ratio = (3 / 4, 4 / 3),
    flip: Share = 0.5,
    jitter: Share = 0.8,
    strength: NonNegative = 0.5,
    gray: Share = 0.2,
    blur: Share = 0.0,
    sigma: Sigma = (0.1, 2.0),
    solarize: Share = 0.0,
) -> View:
    """Crop, flip, color distortion, blur (Chen et al. 2020, arXiv:2002.05709, appendix A).

    The defaults are the paper's for CIFAR; for ImageNet it has strength=1.0, blur=0.5. Solarization
    comes from BYOL, whose bound for saturation is 0.2. The color distortion has one order:
    brightness, contrast, saturation, hue.

    size, scale, ratio, flip: as of `crop`.
    jitter: the chance of color jitter.
    strength: of color jitter; 1 means bounds of 0.8, and 0.2 for hue.
    gray: the chance that color is removed.
    blur: the chance of Gaussian blur.
    sigma: the range of its standard deviation, in pixels.
    solarize: the chance of solarization.
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
        u = jax.random.uniform(key, (14,))  # drawn at once: many split keys compile slowly
        box = geometry.draw_box(u[:4], shape=x.shape, scale=scale, ratio=ratio)
        x = geometry.crop(x, geometry.mirror(box, u[4] < flip), size=size)
        if jitter and strength:
            b, c, s, h = color.draw_jitter(u[5:9], **bounds)
            acts = u[9] < jitter
            b, c, s = (jnp.where(acts, factor, 1.0) for factor in (b, c, s))
            x = color.jitter(x, b, c, s, jnp.where(acts, h, 0.0))
        if gray:
            x = where(u[10] < gray, color.gray(x), x)
        if blur:
            x = texture.blur(x, jnp.where(u[11] < blur, span(u[12], *sigma), 0.0), radius=radius)
        if solarize:
            x = where(u[13] < solarize, color.solarize(x), x)
        return x

    return view


def ink(
    *,
    zoom: NonNegative = 0.25,
    aspect: NonNegative = 0.2,
    shift: NonNegative = 4.0,
    shear: NonNegative = 0.25,
    rotation: NonNegative = 0.15,
    blur: Sigma = (0.05, 1.0),
    contrast: NonNegative = 0.3,
    polarity: Share = 0.5,
    brightness: NonNegative = 0.4,
    field: NonNegative = 0.2,
    grid: Count = 4,
    noise: NonNegative = 0.12,
    cutout: Share = 0.5,
    side: Annotated[Range, Interval(0, 1000)] = (3.0, 6.0),
) -> View:
    """A view of written characters: all is changed that does not change which character it is.

    The result has mean 0 and deviation 1, so brightness and contrast change only how strong noise
    and cutout are.

    zoom, aspect, shear, rotation: bounds of an affine map, as of `geometry.affine`.
    shift: the bound of its shift, in pixels.
    blur: the range of the standard deviation of Gaussian blur, in pixels.
    contrast: the bound of the logarithm of its factor.
    polarity: the chance that light and dark are exchanged.
    brightness: the bound of an offset; pixels are in [-1, 1].
    field: the greatest amplitude of a smooth random field that is added.
    grid: how many random numbers the field has along each side.
    noise: the greatest standard deviation of Gaussian noise.
    cutout: the chance that a square is set to one value.
    side: the range of the square's side, in pixels.
    """
    chances(polarity=polarity, cutout=cutout)
    ranges(0, 100, blur=blur)
    ranges(0, 1000, side=side)
    bounds = dict(zoom=zoom, aspect=aspect, shear=shear, rotation=rotation, shift=shift)
    radius = math.ceil(3 * blur[1])

    def view(key: jax.Array, x: jax.Array) -> jax.Array:
        check(x)
        u_key, grain_key = jax.random.split(key)
        u = jax.random.uniform(u_key, (17,))
        grain = jax.random.normal(grain_key, (grid * grid + (x.size if noise else 0),))
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
    """Raises a Mistake if x is not one float image."""
    if x.ndim != 3 or x.shape[-1] not in (1, 3) or not jnp.issubdtype(x.dtype, jnp.floating):
        raise Mistake(
            f'a view takes one float image [H, W, 1 or 3] in [-1, 1], found {x.dtype}'
            f'{list(x.shape)}; type x / 127.5 - 1 for bytes, and views(view, key, x, n) for a batch'
        )


def chances(**given: float) -> None:
    """Raises a Mistake for a value that is not a probability."""
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise Mistake(f'{name} is {value}; a chance lies in 0..1, type {name}=0.5')


def ranges(least: float, most: float, **given: Range) -> None:
    """Raises a Mistake for a value that is not a pair least <= low <= high <= most."""
    for name, value in given.items():
        pair = tuple(value) if isinstance(value, list | tuple) else (value,)
        if len(pair) != 2 or not least <= pair[0] <= pair[1] <= most:
            raise Mistake(
                f'{name} is {value}; it is a pair with {least:g} <= low <= high <= {most:g},'
                f' type {name}=(low, high)'
            )
