"""Contact sheets: every operator at fixed amounts, so that two sheets can be compared."""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from ssljax import augment
from ssljax.augment import color, document, geometry, mask, patches, texture
from ssljax.augment.image import crop, ink, simclr

Row = tuple[str, list, list]  # name, captions, pictures [H, W, C]
KEY = jax.random.key(0)
GRID = (14, 14)  # of masks: that of a ViT/16 at 224 pixels
ORDER = (8, 3, 5, 7, 2, 1, 4, 0, 6)  # of patches


def defects(x: jax.Array, i: int, n: int = 5) -> Iterator[Row]:
    """What each machine does to a page, at n severities, with the same draws in a row."""
    for name, machine in document.KINDS.items():
        degrees, op = np.linspace(0, 1, n), jax.jit(lambda x, s, op=machine: op(KEY, x, severity=s))
        yield name, [f'{s:.2f}' for s in degrees], [op(x, s) for s in degrees]


def square(x: jax.Array) -> jax.Array:
    return x if x.shape[0] == x.shape[1] else geometry.resize(x, size=min(x.shape[:2]))


def colored(x: jax.Array) -> jax.Array:
    return x.repeat(3, -1) if x.shape[-1] == 1 else x


# operator, its amounts along the row
PLAIN: dict[str, tuple[Callable, tuple]] = {
    'crop (box /32)': (
        lambda x, b: geometry.crop(x, [v * len(x) / 32 for v in b], size=x.shape[:2]),
        ((0, 0, 32, 32), (0, 0, 16, 16), (16, 16, 16, 16), (0, 0, 16, 32), (8, 24, 16, -16)),
    ),
    'flip': (lambda x, _: geometry.flip(x), (None,)),
    'quarter': (lambda x, k: geometry.quarter(square(x), k), (0, 1, 2, 3)),
    'zoom (log)': (lambda x, a: geometry.affine(x, zoom=a), (-0.7, -0.25, 0.0, 0.25, 0.7)),
    'aspect (log)': (lambda x, a: geometry.affine(x, aspect=a), (-0.7, -0.2, 0.0, 0.2, 0.7)),
    'shear': (geometry.shear, (-0.5, -0.25, 0.0, 0.25, 0.5)),
    'rotate (rad)': (geometry.rotate, (-1.57, -0.4, 0.0, 0.4, 1.57)),
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
    'salt_pepper': (
        lambda x, a: texture.salt_pepper(x, a, jax.random.uniform(KEY, (*x.shape[:2], 1))),
        (0.0, 0.05, 0.1, 0.3, 0.6),
    ),
    'salt_pepper, apart': (
        lambda x, a: texture.salt_pepper(x, a, jax.random.uniform(KEY, x.shape)),
        (0.0, 0.05, 0.1, 0.3, 0.6),
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


def gradients(x: jax.Array) -> list[jax.Array]:
    return [*jnp.split(texture.edges(x), 2, -1)]


def lightness(x: jax.Array) -> list[jax.Array]:
    """The channels of Lab one by one, then images from some of them and from all."""
    x = color.lab(colored(x))
    L, a, b = jnp.split(x, 3, -1)
    mixed = [jnp.concatenate(p, -1) for p in ((L, 0 * a, 0 * b), (0 * L + 0.4, a, b), (L, a, b))]
    return [L, a, b, *map(color.rgb, mixed)]


def cut(x: jax.Array) -> list[jax.Array]:
    """Patches of several grids, and permuted patches, each with lines between the patches."""
    cell = min(x.shape[:2]) // 3
    small = cell * 3 // 4
    spare = (cell - small) // 2
    drawn = [
        patches.grid(x, 3, size=cell),
        patches.grid(x, 3, size=cell, gap=0),
        patches.grid(x, 3, size=small, gap=0),
        patches.grid(x, 3, size=small),
        patches.random_grid(KEY, x, 3, size=small, jitter=spare),
    ]
    drawn.append(patches.permute(drawn[3], np.array([range(9), ORDER]), 1))
    return [patches.assemble(p, gap=2 if i else 0, fill=0.73) for i, p in enumerate(drawn)]


# operator with several pictures, and their captions
SEVERAL: dict[str, tuple[Callable, tuple]] = {
    'edges': (gradients, ('down', 'across')),
    'lab, rgb': (lightness, ('L', 'a', 'b', 'L alone', 'ab at L* 70', 'rgb(lab)')),
    'patches': (
        cut,
        ('assembled', 'gap 0', 'smaller, gap 0', 'in their cells', 'jitter', 'permuted'),
    ),
}


def hide(x: jax.Array, hidden: jax.Array) -> jax.Array:
    """The image with the masked cells of a grid in a color that is rare in pictures."""
    x = geometry.resize(colored(x), size=tuple(8 * n for n in hidden.shape))
    return jnp.where(hidden.repeat(8, 0).repeat(8, 1)[..., None], jnp.array([1.0, 0.2, -1.0]), x)


# functions that draw a mask: key -> [H, W]
MASKS: dict[str, Callable] = {
    'random 75%': lambda key: mask.random(key, GRID, ratio=0.75),
    'random 40%': lambda key: mask.random(key, GRID, ratio=0.4),
    'block 40%': lambda key: mask.block(key, GRID, ratio=0.4),
    'block 40%, least 4': lambda key: mask.block(key, GRID, ratio=0.4, least=4),
    'block 75%': lambda key: mask.block(key, GRID, ratio=0.75),
    'block 15%, least 29': lambda key: mask.block(key, GRID, ratio=0.15, least=29),
}


def masks(x: jax.Array, i: int, n: int = 7) -> Iterator[Row]:
    """Several draws of each mask, and one tube over a moving picture."""
    keys = jax.random.split(jax.random.fold_in(KEY, i), n)
    whole = jnp.zeros(GRID, bool)
    for name, draw in MASKS.items():
        drawn = jax.vmap(draw)(keys)
        yield name, ['as it is', *range(n)], [hide(x, m) for m in (whole, *drawn)]
    moved = [geometry.affine(x, shift=(0.0, len(x) / 16 * t)) for t in range(n)]
    drawn = mask.tube(keys[0], (n, *GRID), ratio=0.75)
    frames = [hide(x, m) for x, m in zip(moved, drawn, strict=True)]
    yield 'tube 75%', ['as it is', *(f'frame {t}' for t in range(n))], [hide(x, whole), *frames]


def crops(x: jax.Array, i: int, n: int = 6) -> Iterator[Row]:
    """Multi-crop (Caron et al. 2020): two views of most of the image, and n small ones of parts."""
    size = min(x.shape[:2])
    for name, view in (('crop', crop), ('simclr', simclr)):
        whole, part = view(size=size, scale=(0.4, 1)), view(size=size * 3 // 7, scale=(0.05, 0.4))
        k1, k2 = jax.random.split(jax.random.fold_in(KEY, i))
        pictures = [*augment.views(whole, k1, x[None], 2), *augment.views(part, k2, x[None], n)]
        captions = ['as it is', 'global', 'global', *['local'] * n]
        yield name, captions, [x, *pictures]


def operators(x: jax.Array, i: int) -> Iterator[Row]:
    """The ten pictures of Chen et al. 2020, figure 4."""
    H, W = x.shape[:2]
    k = 1 + i % 3
    box = (0.15 * H, 0.25 * W, 0.6 * H, 0.6 * W)
    shown = {
        'original': x,
        'crop and resize': geometry.crop(x, box, size=(H, W)),
        'crop, resize (and flip)': geometry.crop(x, geometry.mirror(box, True), size=(H, W)),
        'color distort. (drop)': color.gray(x),
        'color distort. (jitter)': color.jitter(x, 0.9, 1.2, 1.3, 0.15),
        f'rotate {90 * k} degrees': geometry.quarter(square(x), k),
        'cutout': texture.cutout(x, (0.4 * H, 0.35 * W, 0.35 * H, 0.35 * W)),
        'Gaussian noise': texture.noise(x, 0.2, jax.random.normal(KEY, x.shape)),
        'Gaussian blur': texture.blur(x, H / 40, radius=H // 12),
        'Sobel filtering (x 2)': 2 * texture.sobel(x) + 1,  # black stays black
    }
    captions, pictures = list(shown), list(shown.values())
    yield from (('', captions[j : j + 5], pictures[j : j + 5]) for j in (0, 5))


def every(x: jax.Array, i: int, n: int = 8) -> Iterator[Row]:
    """The plain operators, then masks, then the composed views."""
    for name, (op, amounts) in PLAIN.items():
        captions, op = ['' if a is None else str(a) for a in amounts], jax.jit(op)
        yield name, ['as it is', *captions], [x, *(op(x, a) for a in amounts)]
    for name, (op, captions) in SEVERAL.items():
        yield name, ['as it is', *captions], [x, *jax.jit(op)(x)]
    yield from masks(x, i)
    size = x.shape[:2]
    views = {
        'crop': crop(size=size),
        'simclr': simclr(size=size),
        'simclr s=1 blur': simclr(size=size, strength=1.0, blur=0.5),
        'simclr solarize': simclr(size=size, strength=0.5, blur=0.1, solarize=0.5),
        'ink (/2)': ink(),
    }
    for name, view in views.items():
        drawn = jax.jit(augment.views, static_argnums=(0, 3))(view, KEY, x[None], n)
        drawn = drawn / 2 if name.startswith('ink') else drawn  # deviation 1: shown at half
        yield name, ['as it is', *range(n)], [x, *drawn]


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


def page(rows: list[Row], *, tile: int) -> Image.Image:
    """Rows of pictures with captions, each row enlarged by a whole number to at least `tile`."""
    left = 130 if any(name for name, _, _ in rows) else 0
    across, down, placed = 0, 0, []
    for name, captions, pictures in rows:
        times, x, tall = -(-tile // max(pictures[0].shape[:2])), left, 0
        placed.append(((4, down + tile // 2), name, None))
        for caption, picture in zip(captions, pictures, strict=True):
            b = np.clip((np.asarray(picture) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
            b = np.repeat(b, 3, -1) if b.shape[-1] == 1 else b
            b = b.repeat(times, 0).repeat(times, 1)  # whole pixels, without smoothing
            placed.append(((x, down), str(caption), Image.fromarray(b)))
            x, tall = x + max(b.shape[1], 48) + 4, max(tall, b.shape[0])
        across, down = max(across, x), down + tall + 16
    sheet = Image.new('RGB', (across, down), 'gainsboro')  # not white, as pictures may be
    draw = ImageDraw.Draw(sheet)
    for (x, y), text, picture in placed:
        if picture:
            sheet.paste(picture, (x, y))
        draw.text((x + 2, y + picture.height) if picture else (x, y), text, fill='black')
    return sheet


# name of a sheet: rows(x, i) of the i-th image, the size of a picture
SHEETS: dict[str, tuple[Callable, int]] = {
    'all': (every, 96),
    'operators': (operators, 144),
    'masks': (masks, 112),
    'crops': (crops, 128),
    'documents': (defects, 128),
}


def make(name: str, images: list[np.ndarray]) -> Image.Image:
    """The sheet of that name, a block of rows for each uint8 image [H, W, C]."""
    rows, tile = SHEETS[name]
    floats = [jnp.asarray(image, jnp.float32) / 127.5 - 1 for image in images]
    return page([row for i, x in enumerate(floats) for row in rows(x, i)], tile=tile)
