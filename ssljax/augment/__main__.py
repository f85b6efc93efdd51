"""A contact sheet of every operator and view: python -m ssljax.augment --out=sheet.png"""

import argparse
import json
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from ssljax import augment
from ssljax.augment import color, geometry, texture
from ssljax.cli import guarded

# operator, its amounts along the row: fixed, so that two sheets can be compared
PLAIN: dict[str, tuple[Callable, tuple]] = {
    'crop (box /32)': (
        lambda x, b: geometry.crop(x, [v * len(x) / 32 for v in b], size=x.shape[:2]),
        ((0, 0, 32, 32), (0, 0, 16, 16), (16, 16, 16, 16), (0, 0, 16, 32), (8, 24, 16, -16)),
    ),
    'flip': (lambda x, _: geometry.flip(x), (None,)),
    'zoom (log)': (lambda x, a: geometry.affine(x, zoom=a), (-0.7, -0.25, 0.0, 0.25, 0.7)),
    'aspect (log)': (lambda x, a: geometry.affine(x, aspect=a), (-0.7, -0.2, 0.0, 0.2, 0.7)),
    'shear': (lambda x, a: geometry.affine(x, shear=a), (-0.5, -0.25, 0.0, 0.25, 0.5)),
    'rotation (rad)': (lambda x, a: geometry.affine(x, rotation=a), (-1.57, -0.4, 0.0, 0.4, 1.57)),
    'shift (down, right)': (
        lambda x, a: geometry.affine(x, shift=a),
        ((-4.0, 0.0), (4.0, 0.0), (0.0, 4.0), (0.0, -4.0), (6.5, 6.5)),
    ),
    'brightness': (color.brightness, (0.0, 0.5, 1.0, 1.5, 2.0)),
    'contrast': (color.contrast, (0.0, 0.5, 1.0, 1.5, 2.0)),
    'saturation': (color.saturation, (0.0, 0.5, 1.0, 1.5, 2.0)),
    'hue (of a circle)': (color.hue, (-0.33, -0.1, 0.0, 0.1, 0.33, 0.5)),
    'gray': (lambda x, _: color.gray(x), (None,)),
    'invert': (lambda x, _: color.invert(x), (None,)),
    'solarize': (color.solarize, (-0.5, 0.0, 0.5)),
    'normalize (/2)': (lambda x, _: color.normalize(x) / 2, (None,)),
    'blur (sigma)': (
        lambda x, a: texture.blur(x, a, radius=12),
        (0.0, 0.5, 1.0, 2.0, 4.0),
    ),
    'sobel': (lambda x, _: texture.sobel(x), (None,)),
    'noise (sd)': (
        lambda x, a: texture.noise(x, a, jax.random.normal(jax.random.key(1), x.shape)),
        (0.0, 0.06, 0.12, 0.25, 0.5),
    ),
    'field': (
        lambda x, a: texture.field(x, a, jax.random.normal(jax.random.key(2), (4, 4))),
        (0.0, 0.1, 0.2, 0.4, 0.8),
    ),
    'cutout (box /32)': (
        lambda x, b: texture.cutout(x, [v * len(x) / 32 for v in b]),
        ((4, 4, 6, 6), (20, 8, 3, 12), (-3, 26, 10, 10)),
    ),
}


def card(size: int = 64) -> np.ndarray:
    """A test card [H, W, 3] that no flip, turn or permutation of channels leaves as it is."""
    image = Image.new('RGB', (size, size))
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    image.paste(
        Image.fromarray(np.stack(np.broadcast_arrays(ramp, ramp[:, None], np.uint8(128)), -1))
    )
    draw, s = ImageDraw.Draw(image), size / 64
    draw.rectangle((4 * s, 4 * s, 20 * s, 12 * s), fill='red')
    draw.ellipse((40 * s, 6 * s, 58 * s, 24 * s), fill='yellow', outline='black')
    draw.polygon([(6 * s, 58 * s), (22 * s, 58 * s), (6 * s, 42 * s)], fill='white')
    draw.text((28 * s, 22 * s), 'F', fill='black', font_size=34 * s)
    return np.asarray(image)


def rows(x: jax.Array, views: dict[str, Callable], n: int = 8):
    """Label, captions and pictures of each row: the plain operators, then the composed views."""
    for name, (op, amounts) in PLAIN.items():
        shown, op = ['' if a is None else str(a) for a in amounts], jax.jit(op)
        yield name, ['as it is', *shown], [x, *(op(x, a) for a in amounts)]
    for name, view in views.items():
        drawn = jax.jit(augment.views, static_argnums=(0, 3))(view, jax.random.key(0), x[None], n)
        drawn = drawn / 2 if name.startswith('ink') else drawn  # deviation 1: shown at half
        yield name, ['as it is', *map(str, range(n))], [x, *drawn]


def sheet(images: list[np.ndarray], *, tile: int = 96) -> Image.Image:
    """One block of rows for each uint8 image [H, W, C]."""
    every = []
    for image in images:
        x = jnp.asarray(image, jnp.float32) / 127.5 - 1
        size = x.shape[:2]
        views = {
            'crop': augment.crop(size=size),
            'simclr': augment.simclr(size=size),
            'simclr s=1 blur': augment.simclr(size=size, strength=1.0, blur=0.5),
            'simclr solarize': augment.simclr(size=size, strength=0.5, blur=0.1, solarize=0.5),
            'ink (/2)': augment.ink(),
        }
        every += rows(x, views)
    left, line = 130, tile + 16
    width = left + (tile + 4) * max(len(pictures) for _, _, pictures in every)
    page = Image.new('RGB', (width, line * len(every)), 'white')
    draw = ImageDraw.Draw(page)
    for i, (name, captions, pictures) in enumerate(every):
        draw.text((4, i * line + tile / 2), name, fill='black')
        for j, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
            b = np.clip((np.asarray(picture) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
            b = np.repeat(b, 3, -1) if b.shape[-1] == 1 else b
            at = (left + j * (tile + 4), i * line)
            page.paste(Image.fromarray(b).resize((tile, tile), Image.Resampling.NEAREST), at)
            draw.text((at[0] + 2, at[1] + tile), caption, fill='black')
    return page


def main() -> int:
    parser = argparse.ArgumentParser(prog='python -m ssljax.augment', description=__doc__)
    parser.add_argument('--out', default='sheet.png', help='the picture to write')
    parser.add_argument('--data', help='a data set to take images from, or its spec as JSON')
    parser.add_argument('--index', default='0', help='which training images, such as 0,5,9')
    given = parser.parse_args()
    if given.data:
        from ssljax import data  # the card needs no data

        spec = json.loads(given.data) if given.data.startswith('{') else dict(name=given.data)
        index = np.array([int(i) for i in given.index.split(',')])
        images = list(data.make(spec).splits['train'].rows(index)['x'])
    else:
        images = [card(), card().mean(-1, keepdims=True).astype(np.uint8)]
    sheet(images).save(given.out)
    print(f'wrote {given.out}')
    return 0


if __name__ == '__main__':
    raise SystemExit(guarded(main))
