"""Pixels from files: decoded by Pillow, brought to a canvas, in threads or through tf.data."""

import contextlib
import functools
import importlib.util
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, get_args

import numpy as np

from ssljax.data.source import Rows
from ssljax.names import Mistake, choose

Loader = Literal['auto', 'tf', 'numpy']
THREADS = 16  # that read: they mostly wait for the disk
LARGE = threading.Lock()  # huge images are decoded one at a time, so that memory stays bounded
HUGE = 2**25  # pixels
STRETCH = 16  # how many canvases long an image may be once it is scaled


@functools.cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS)


def each(one: Callable[[Any], Any], items: Sequence[Any], threads: int = 0) -> list:
    """[one(item) for item in items], in threads; 0: one for each core, as suits decoding.

    A thread takes a run of neighbors. A task for each item would cost more than a small image does,
    and more threads than cores would wait for Python's lock.
    """
    threads = min(threads or os.cpu_count() or 1, len(items))
    if threads < 2:
        return list(map(one, items))
    ends = [len(items) * i // threads for i in range(threads + 1)]
    runs = [items[start:end] for start, end in itertools.pairwise(ends)]
    return [done for run in pool().map(lambda run: list(map(one, run)), runs) for done in run]


def pillow() -> str:
    """The decoder's name, to be recorded with what it decoded."""
    import PIL

    return f'pillow {PIL.__version__}'


# From a file to an array --------------------------------------------------------------------------


@functools.cache
def formats() -> tuple[str, ...]:
    """The raster formats that are read, as this Pillow was built; no EPS, PDF or video."""
    from PIL import Image

    Image.init()  # here, once: not in several threads
    known = ('AVIF', 'BMP', 'DIB', 'GIF', 'JPEG', 'JPEG2000', 'PNG', 'PPM', 'TIFF', 'WEBP')
    return tuple(name for name in known if name in Image.OPEN)


def opened(raw: bytes) -> Any:
    """An encoded image as a PIL image whose pixels are not decoded yet."""
    from PIL import Image

    return Image.open(io.BytesIO(raw), formats=formats())


def load(image: Any, reach: int = 0) -> Any:
    """Decodes the first frame, upright. A JPEG may get smaller, with sides of `reach` or more.

    Raises whatever Pillow raises; a file that is cut short raises too.
    """
    from PIL import ImageOps

    if reach:
        image.draft(None, (reach, reach))  # photographs are decoded several times faster
    with LARGE if image.width * image.height > HUGE else contextlib.nullcontext():
        image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever malformed EXIF makes of it; the pixels are fine
        return image


def is_gray(image: Any) -> bool:
    """Whether an image is stored without color."""
    if image.mode in ('P', 'PA'):
        colors = np.array(image.getpalette('RGB')).reshape(-1, 3)
        return bool((colors == colors[:, :1]).all())
    return image.mode in ('1', 'L', 'LA', 'F') or image.mode.startswith('I')


def pixels(image: Any, channels: int, bits: int = 16) -> np.ndarray:
    """A PIL image of any mode as uint8 [H, W, 1 or 3]; what is transparent becomes white."""
    from PIL import Image

    if image.mode == 'F' or image.mode.startswith('I'):
        image = Image.fromarray(to_bytes(np.asarray(image), bits))
    if image.has_transparency_data:
        image = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image)
    values = np.asarray(image.convert('L' if channels == 1 else 'RGB'))
    return values.reshape(*values.shape[:2], channels)


def to_bytes(values: np.ndarray, bits: int = 16) -> np.ndarray:
    """Gray of `bits` bits -> uint8: its largest value becomes 255, rounded to nearest."""
    if values.dtype.kind == 'f':
        raise ValueError('its pixels are floating point; save it with 8 or 16 bits')
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= 2**16:
        raise ValueError(f'its pixels go from {low} to {high}; save it with 8 or 16 bits')
    peak = 2**bits - 1
    values = np.minimum(values, peak).astype(np.uint32)
    return ((values * 255 + peak // 2) // peak).astype(np.uint8)


def canvas(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Scales an image to cover the canvas [H, W] and crops at the center; equal sizes pass."""
    height, width, channels = shape
    if image.shape[:2] != (height, width):
        from PIL import Image

        # a line of one pixel by thousands would be scaled to gigabytes, to be cropped to nothing
        image = middle(image, 0, STRETCH * height * image.shape[1] // width)
        image = middle(image, 1, STRETCH * width * image.shape[0] // height)
        scale = max(height / image.shape[0], width / image.shape[1])
        tall = max(height, round(image.shape[0] * scale))
        wide = max(width, round(image.shape[1] * scale))
        scaled = Image.fromarray(image[..., 0] if channels == 1 else image)
        scaled = np.asarray(scaled.resize((wide, tall), Image.Resampling.BICUBIC))
        top, left = (tall - height) // 2, (wide - width) // 2
        image = scaled[top : top + height, left : left + width]
    return image.reshape(shape)


def middle(image: np.ndarray, axis: int, most: int) -> np.ndarray:
    """At most `most` of the rows or columns of an image, those in its middle."""
    most, count = max(most, 1), image.shape[axis]
    start = (count - most) // 2
    return image if count <= most else image.take(range(start, start + most), axis)


# The two routes -----------------------------------------------------------------------------------


def route(loader: str) -> str:
    """'tf' or 'numpy', whichever 'auto' means here; TensorFlow is not imported."""
    there = importlib.util.find_spec('tensorflow') is not None
    if choose(loader, get_args(Loader), 'loader') == 'auto':
        return 'tf' if there else 'numpy'
    if loader == 'tf' and not there:
        raise Mistake('loader=tf, but TensorFlow is not installed; type loader=numpy')
    return loader


@functools.cache
def tensorflow() -> Any:
    """TensorFlow, imported at its first use and kept off the accelerators."""
    # it only reads and decodes here; else it greets with lines about kernels that nobody calls
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # where the user's own program has started it
        tf.config.set_visible_devices([], 'GPU')  # they are JAX's
    return tf


def stream(
    indices: Iterator[np.ndarray], read: Callable, kind: str, one: Callable
) -> Iterator[Rows]:
    """Rows in the order of `indices` through tf.data: decoded in parallel and read ahead.

    read: indices [B] -> B elements of the type `kind`; one: an element -> a row, in TensorFlow.
    """
    tf = tensorflow()
    first = next(indices, None)
    if first is None:
        return
    mistakes: list[Mistake] = []  # TensorFlow would make a traceback of one

    def batches() -> Iterator[Any]:
        try:
            yield from map(read, itertools.chain([first], indices))
        except Mistake as mistake:
            mistakes.append(mistake)

    data = tf.data.Dataset.from_generator(
        batches,
        output_signature=tf.TensorSpec([len(first)], kind),
    )
    data = data.prefetch(2).unbatch()
    data = data.map(one, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    yield from data.batch(len(first)).prefetch(2).as_numpy_iterator()
    for mistake in mistakes:
        raise mistake
