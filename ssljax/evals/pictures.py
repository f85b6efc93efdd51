"""Pictures of what was evaluated, as PIL images."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def bytes_of(x: np.ndarray) -> np.ndarray:
    """Images in [-1, 1], or uint8 already, as uint8 [..., H, W, 3]."""
    x = np.asarray(x)
    if x.dtype != np.uint8:
        x = np.clip(np.nan_to_num(x.astype(np.float32)) * 127.5 + 127.5, 0, 255)
        x = np.round(x).astype(np.uint8)
    return x[..., :3] if x.shape[-1] >= 3 else np.repeat(x[..., :1], 3, -1)


def grid(
    x: np.ndarray, columns: int = 8, *, frame: np.ndarray | None = None, gap: int = 2
) -> Image.Image:
    """A contact sheet of images [N, H, W, C]; `frame` [N, 3] colors the gap around each."""
    x = bytes_of(x)
    zoom = max(1, 64 // max(x.shape[1:3]))  # small images are enlarged, pixel by pixel
    x = x.repeat(zoom, 1).repeat(zoom, 2)
    count, height, width, _ = x.shape
    rows, columns = math.ceil(count / columns), min(columns, count)
    height, width = height + 2 * gap, width + 2 * gap
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for i in range(count):
        top, left = i // columns * height, i % columns * width
        tile = sheet[top : top + height, left : left + width]
        tile[:] = 255 if frame is None else frame[i]
        tile[gap:-gap, gap:-gap] = x[i]
    return Image.fromarray(sheet)


def neighbors(queries: np.ndarray, nearest: np.ndarray, right: np.ndarray) -> Image.Image | None:
    """Queries [N, H, W, C], each before its neighbors [N, k, H, W, C]; red: another label.

    None for what is no image.
    """
    if queries.ndim != 4:
        return None
    white, green, red = (255, 255, 255), (60, 170, 60), (220, 30, 30)
    frame = np.where(right[..., None], green, red)  # [N, k, 3]
    frame = np.concatenate([np.broadcast_to(white, (len(queries), 1, 3)), frame], 1)
    x = np.concatenate([bytes_of(queries)[:, None], bytes_of(nearest)], 1)  # [N, 1 + k, H, W, 3]
    return grid(x.reshape(-1, *x.shape[2:]), x.shape[1], frame=frame.reshape(-1, 3))


def strips(rows: Mapping[str, np.ndarray], *, frame: np.ndarray | None = None) -> Image.Image:
    """Rows of equally many images [N, H, W, C], each with its name at the left."""
    x = [bytes_of(images) for images in rows.values()]
    sheet = grid(np.concatenate(x), len(x[0]), frame=frame)
    font = ImageFont.load_default(14)
    margin = 12 + max(round(font.getlength(name)) for name in rows)
    whole = Image.new('RGB', (margin + sheet.width, sheet.height), 'white')
    whole.paste(sheet, (margin, 0))
    draw, tall = ImageDraw.Draw(whole), sheet.height / len(rows)
    for i, name in enumerate(rows):
        draw.text((margin - 6, (i + 0.5) * tall), name, 'black', font, anchor='rm')
    return whole


def lettering(size: int) -> ImageFont.FreeTypeFont:
    """A font that has most alphabets."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f'{get_data_path()}/fonts/ttf/DejaVuSans.ttf', size)


def column(images: Sequence[Image.Image], gap: int = 4) -> Image.Image:
    """Images below one another, on white."""
    whole = Image.new(
        'RGB', (max(i.width for i in images), sum(i.height + gap for i in images)), 'white'
    )
    top = 0
    for image in images:
        whole.paste(image, (0, top))
        top += image.height + gap
    return whole


def heated(x: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Maps [N, h, w] as heat over images [N, H, W, C] in gray: uint8 [N, H, W, 3].

    Each map is scaled to its own greatest value.
    """
    size = x.shape[2], x.shape[1]
    maps = np.asarray(maps, np.float32)
    maps = maps / np.maximum(maps.max((1, 2), keepdims=True), 1e-12)
    smooth = [np.asarray(Image.fromarray(m).resize(size, Image.Resampling.BICUBIC)) for m in maps]
    v = np.clip(np.stack(smooth), 0, 1)[..., None]
    gray = bytes_of(x).astype(np.float32).mean(-1, keepdims=True) / 255
    heat = np.clip(3 * v - np.arange(3), 0, 1)  # black, red, yellow, white
    return np.round(255 * ((1 - v) * 0.6 * gray + v * (0.3 * gray + 0.7 * heat))).astype(np.uint8)
