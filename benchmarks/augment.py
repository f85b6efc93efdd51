"""How fast are the augmentations, beside PyTorch and PIL:
python benchmarks/augment.py [--only=WORDS] --out=results/speed-augment.json

Two views of each image of a batch: ours as a train step has them, from uint8; PyTorch with the same
maths in its layouts, eager and compiled; PIL with its own enhancers, by one process and by two.
Then each operator of ssljax/augment alone. Images are of 32 x 32 pixels, or as a row says.
"""

import functools
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import rounds  # noqa: E402
import rows  # noqa: E402
from rounds import compared, timed  # noqa: E402

from ssljax import cli  # noqa: E402

# batch, and options of the view; the other ones are the defaults of SimCLR for CIFAR
VIEWS = {
    'two views, 32 px': (128, dict(size=32)),
    'two views, 224 px, blur': (16, dict(size=224, strength=1.0, blur=0.5)),
}
DEFAULTS = dict(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=0.5, jitter=0.8, strength=0.5)
DEFAULTS |= dict(gray=0.2, blur=0.0, sigma=(0.1, 2.0))
BATCH, SIDE = 128, 32  # of operators


def main() -> int:
    parser = cli.parser('benchmarks/augment.py', __doc__)
    parser.add_argument('--only', default='', metavar='WORDS', help='rows whose name has these')
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--most', type=float, default=10.0, help='seconds of a form')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    if not there('torch'):
        print('PyTorch is not installed: its forms are left out', flush=True)
    work = {name: functools.partial(two_views, *given) for name, given in VIEWS.items()}
    work |= {f'operator {name}': functools.partial(alone, name) for name in operators()}
    for name, forms in work.items():
        if known.only in name:
            images, calls, close = forms()
            seconds = timed(calls, known.rounds, most=known.most)
            close()
            found = dict(work=name, images=images, **compared(seconds))
            found['images_per_second'] = {n: images / median(s) for n, s in seconds.items()}
            if pil := [n for n in seconds if n.startswith('PIL')]:
                ours = median(seconds['ours'])
                found['times_as_fast_as'] = {n: median(seconds[n]) / ours for n in pil}
            rates = [f'{n} {v:,.0f}/s' for n, v in found['images_per_second'].items()]
            ratio = [f'ratio {found["ratio"]:.2f}'] if 'ratio' in found else []
            print(f'{name}:', ', '.join(rates + ratio), flush=True)
            # now: a run that is stopped goes on with --only
            rows.keep(known.out, rounds.about('pillow', 'torch'), [found])
    return 0


def there(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def pictures(batch: int, size: int) -> np.ndarray:
    """Squares with a grain, uint8 [B, H, W, 3]; what the pixels are changes no time."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 226, (batch, size // 4, size // 4, 3)).repeat(4, 1).repeat(4, 2)
    return (coarse + rng.integers(-30, 30, coarse.shape)).astype(np.uint8)


Forms = tuple[int, dict[str, Callable[[], Any]], Callable[[], None]]


def two_views(batch: int, given: dict) -> Forms:
    """How many views a call makes, the calls, and what ends their processes."""
    options, x = DEFAULTS | given, pictures(batch, given['size'])
    forms, pools = {'ours': ours(x, options)}, []
    if there('torch'):
        for layout in ('NCHW', 'NHWC'):
            forms[f'torch, {layout}'] = in_torch(x, options, layout, False)
            forms[f'torch, {layout}, compiled'] = in_torch(x, options, layout, True)
    for processes in (1, 2):
        call, close = in_pil(x, options, processes)
        forms[f'PIL, {processes} core{"s" * (processes > 1)}'] = call
        pools.append(close)
    return 2 * batch, forms, lambda: [close() for close in pools]


# Ours ---------------------------------------------------------------------------------------------


def ours(x: np.ndarray, options: dict) -> Callable[[], Any]:
    import jax

    from ssljax import augment
    from ssljax.step import floats

    view = augment.make(dict(name='simclr', **options))

    @jax.jit
    def views(key, x):
        return augment.views(view, key, floats({'x': x})['x'], 2)

    x, key = jax.device_put(x), jax.random.key(0)
    return lambda: jax.block_until_ready(views(key, x))


def alone(name: str) -> Forms:
    """One operator on a batch, from floats to floats."""
    import jax

    op, x = operators()[name], pictures(BATCH, SIDE)
    keys, x = jax.random.split(jax.random.key(0), BATCH), jax.device_put(x / np.float32(127.5) - 1)
    call = jax.jit(jax.vmap(op))
    return BATCH, {'ours': lambda: jax.block_until_ready(call(keys, x))}, lambda: None


@functools.cache
def operators() -> dict[str, Callable]:
    """(key, x) -> its result for each operator; a plain one gets an amount that is drawn."""
    import jax

    from ssljax.augment import color, document, geometry, image, mask, patches, texture

    u = jax.random.uniform
    plain: dict[str, Callable] = {
        'brightness': lambda k, x: color.brightness(x, u(k)),
        'contrast': lambda k, x: color.contrast(x, u(k)),
        'saturation': lambda k, x: color.saturation(x, u(k)),
        'hue': lambda k, x: color.hue(x, u(k)),
        'gray': lambda k, x: color.gray(x),
        'invert': lambda k, x: color.invert(x),
        'scale': lambda k, x: color.scale(x, u(k)),
        'normalize': lambda k, x: color.normalize(x),
        'lab': lambda k, x: color.lab(x),
        'rgb': lambda k, x: color.rgb(x),
        'sobel': lambda k, x: texture.sobel(x),
        'edges': lambda k, x: texture.edges(x),
        'grid': lambda k, x: patches.random_grid(k, x, 3, size=8, jitter=2),
        'permute': lambda k, x: patches.permute(
            patches.grid(x, 4, size=8), np.eye(16, dtype=int), jax.random.randint(k, (), 0, 16)
        ),
        'ink_gain': lambda k, x: document.ink_gain(x, u(k)),
        'fade': lambda k, x: document.fade(x, 0.2, u(k, (10, 10))),
        'edge_noise': lambda k, x: document.edge_noise(x, 0.3, u(k, (*x.shape[:2], 1))),
        'threshold': lambda k, x: document.threshold(x, u(k)),
        'uneven_light': lambda k, x: document.uneven_light(x, u(k), (0.5, 0.5)),
        'shadow': lambda k, x: document.shadow(x, u(k), (0.5, 0.5)),
        'bend': lambda k, x: document.bend(x, 2 * u(k)),
        'steepen': lambda k, x: document.steepen(x, u(k)),
        'streaks': lambda k, x: document.streaks(x, 0.5, u(k, x.shape[1:2])),
        'mask.random': lambda k, x: mask.random(k, (14, 14), ratio=0.75),
        'mask.block': lambda k, x: mask.block(k, (14, 14), ratio=0.4),
        'mask.tube': lambda k, x: mask.tube(k, (8, 14, 14), ratio=0.9),
    }
    random = {
        'random_crop': functools.partial(geometry.random_crop, size=SIDE),
        'random_flip': geometry.random_flip,
        'random_quarter': geometry.random_quarter,
        'random_rotation': geometry.random_rotation,
        'random_shear': geometry.random_shear,
        'random_affine': functools.partial(
            geometry.random_affine, zoom=0.2, aspect=0.2, shear=0.2, rotation=0.2, shift=3.0
        ),
        'random_jitter': color.random_jitter,
        'random_gray': color.random_gray,
        'random_solarize': color.random_solarize,
        'random_blur': texture.random_blur,
        'random_noise': texture.random_noise,
        'random_salt_pepper': texture.random_salt_pepper,
        'random_field': texture.random_field,
        'random_cutout': functools.partial(texture.random_cutout, side=(4.0, 12.0)),
        **{f'random_{name}': op for name, op in document.KINDS.items()},
    }
    views = {
        'view crop': image.crop(size=SIDE),
        'view simclr': image.simclr(size=SIDE),
        'view simclr, blur, solarize': image.simclr(size=SIDE, blur=0.5, solarize=0.2),
        'view ink': image.ink(),
        'view ink, gray': lambda k, x: image.ink()(k, x[..., :1]),
        'view document': document.document(),
    }
    return plain | random | views


# PyTorch ------------------------------------------------------------------------------------------


def in_torch(x: np.ndarray, options: dict, layout: str, compiled: bool) -> Callable[[], Any]:
    """The same maths on planes: x [B, H, 3, W], so that a crop is two products."""
    import torch
    from torch_views import blend, hue, luma, triangle

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    size, (B, H, W, C) = options['size'], x.shape
    x = torch.from_numpy(x).to(device).permute(0, 1, 3, 2).contiguous()  # [B, H, C, W]
    N, s = 2 * B, 0.8 * options['strength']

    def span(u, low, high):
        return low + (high - low) * u

    def crop(u, x):
        area = span(u[0], *options['scale'])
        low, high = (torch.clamp(torch.full_like(area, r), area * W / H, W / (H * area))
                     for r in options['ratio'])  # fmt: skip
        aspect = torch.exp(span(u[1], low.log(), high.log()))
        height = (area * H * W / aspect).sqrt().clamp(max=H)
        width = (area * H * W * aspect).sqrt().clamp(max=W)
        top, left, flip = u[2] * (H - height), u[3] * (W - width), u[4] < options['flip']
        left, width = torch.where(flip, left + width, left), torch.where(flip, -width, width)
        rows = triangle(top, height, size, H).reshape(B, 2 * size, H)
        y = torch.bmm(rows, x.reshape(B, H, C * W)).reshape(N, size * C, W)
        y = torch.bmm(y, triangle(left, width, size, W).transpose(1, 2))
        return list(y.reshape(N, size, C, size).unbind(2))

    def blurred(parts, sigma):
        radius = int(np.ceil(3 * options['sigma'][1]))
        d = torch.arange(-radius, radius + 1, device=device)
        taps = torch.exp(-0.5 * (d / sigma.clamp(min=1e-3)[:, None]) ** 2)
        taps = (taps / taps.sum(1, keepdim=True)).repeat_interleave(C, 0)[:, None]
        y = torch.stack(parts, 1).reshape(1, N * C, size, size)
        y = torch.nn.functional.pad(y, (radius,) * 4, 'reflect')
        y = torch.nn.functional.conv2d(y, taps[:, :, :, None], groups=N * C)
        y = torch.nn.functional.conv2d(y, taps[:, :, None, :], groups=N * C)
        return list(y.reshape(N, C, size, size).unbind(1))

    def views(x):
        u = torch.rand(14, N, device=device)
        parts = crop(u, x / 127.5 - 1)
        acts = u[9] < options['jitter']
        b, c, t = (torch.where(acts, span(u[k], 1 - s, 1 + s), 1.0) for k in (5, 6, 7))
        b, c, t, shift = (
            amount[:, None, None]
            for amount in (b, c, t, torch.where(acts, (2 * u[8] - 1) * s / 4, 0.0))
        )
        parts = blend(parts, -1.0, b)
        parts = blend(parts, luma(parts).mean((1, 2), keepdim=True), c)
        parts = hue(blend(parts, luma(parts), t), shift)
        gray, light = (u[10] < options['gray'])[:, None, None], luma(parts)
        parts = [torch.where(gray, light, p) for p in parts]
        if options['blur']:
            sigma = torch.where(u[11] < options['blur'], span(u[12], *options['sigma']), 0.0)
            parts = blurred(parts, sigma)
        return torch.stack(parts, 1 if layout == 'NCHW' else 3)

    call = torch.compile(views) if compiled else views

    def run():
        with torch.inference_mode():
            y = call(x)
        if device == 'cuda':
            torch.cuda.synchronize()
        return y

    return run


# PIL ----------------------------------------------------------------------------------------------

HELD: dict[str, Any] = {}  # by a process that draws views: images and options


def in_pil(x: np.ndarray, options: dict, processes: int) -> tuple[Callable, Callable[[], None]]:
    """A call that makes views in so many processes, as uint8 [N, H, W, 3], and what ends them."""
    parts = np.array_split(np.arange(2 * len(x)), processes)
    if processes == 1:
        hold(x, options)
        return lambda: some_views(parts[0]), lambda: None
    # not forked: the threads of other libraries would be cut off in the middle of their work
    pool = multiprocessing.get_context('spawn').Pool(processes, hold, (x, options))

    def close():
        pool.terminate()
        pool.join()

    return lambda: np.concatenate(pool.map(some_views, parts, chunksize=1)), close


def hold(x: np.ndarray, options: dict) -> None:
    from PIL import Image

    HELD.update(images=[Image.fromarray(one) for one in x], options=options)
    HELD.update(rng=np.random.default_rng())


def some_views(numbers: np.ndarray) -> np.ndarray:
    images = HELD['images']
    return np.stack([one_view(images[n // 2], HELD['rng'], HELD['options']) for n in numbers])


def one_view(image: Any, rng: np.random.Generator, options: dict) -> np.ndarray:
    from PIL import Image, ImageEnhance, ImageFilter

    (width, height), size = image.size, options['size']
    while True:  # as torchvision: what does not fit is drawn again
        area = rng.uniform(*options['scale']) * width * height
        aspect = np.exp(rng.uniform(*np.log(options['ratio'])))
        w, h = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if w <= width and h <= height:
            break
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    box = (left, top, left + w, top + h)
    image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    if rng.random() < options['flip']:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < options['jitter']:
        s = 0.8 * options['strength']
        for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            image = kind(image).enhance(rng.uniform(1 - s, 1 + s))
        bound = 0.2 * options['strength']
        h, s, v = image.convert('HSV').split()
        turn = np.uint8(round(255 * rng.uniform(-bound, bound)) % 256)
        image = Image.merge('HSV', (Image.fromarray(np.asarray(h) + turn), s, v)).convert('RGB')
    if rng.random() < options['gray']:
        image = image.convert('L').convert('RGB')
    if rng.random() < options['blur']:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(*options['sigma'])))
    return np.asarray(image)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
