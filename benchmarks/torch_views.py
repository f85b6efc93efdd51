"""Views of images in PyTorch, by the formulas of ssljax.augment and in their order: crop and mirror
by two matrix products, brightness, contrast, saturation, hue in HSV, gray, solarization.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F

Planes = Sequence[torch.Tensor]  # of a channel each: [..., H, W]


def views(
    x: torch.Tensor,
    n: int,
    *,
    scale: tuple[float, float],
    size: int = 32,
    color: bool = False,
    solarize: float = 0.0,
) -> torch.Tensor:
    """Bytes [B, 3, H, W] -> n views of each [B, n, 3, size, size] in [-1, 1]: crop, flip, color."""
    x, (B, _, H, W) = x / 127.5 - 1, x.shape
    u = torch.rand(14, B, n, device=x.device)
    area = scale[0] + (scale[1] - scale[0]) * u[0]
    least, most = torch.clamp(area * W / H, min=3 / 4), torch.clamp(W / (H * area), max=4 / 3)
    aspect = torch.exp(least.log() + (most / least).log() * u[1])
    height = (area * H * W / aspect).sqrt().clamp(max=H)
    width = (area * H * W * aspect).sqrt().clamp(max=W)
    top, left = u[2] * (H - height), u[3] * (W - width)
    flipped = u[4] < 0.5
    left, width = torch.where(flipped, left + width, left), torch.where(flipped, -width, width)
    rows = triangle(top, height, size, H)[:, :, None]  # [B, n, 1, size, H]
    cols = triangle(left, width, size, W)[:, :, None]
    y = rows @ x[:, None] @ cols.mT  # [B, n, 3, size, size]
    if not color:
        return y
    u = u[..., None, None]
    acts = u[9] < 0.8
    b, c, s = (torch.where(acts, 0.6 + 0.8 * u[i], 1.0) for i in (5, 6, 7))
    parts = blend(y.unbind(2), -1.0, b)
    parts = blend(parts, luma(parts).mean((-1, -2), keepdim=True), c)
    parts = hue(blend(parts, luma(parts), s), torch.where(acts, 0.2 * u[8] - 0.1, 0.0))
    gray, grays = luma(parts), u[10] < 0.2
    y = torch.stack([torch.where(grays, gray, p) for p in parts], 2)
    if solarize:
        y = torch.where((u[13] < solarize)[:, :, None] & (y >= 0), -y, y)
    return y


def triangle(start: torch.Tensor, extent: torch.Tensor, size: int, count: int) -> torch.Tensor:
    """Bilinear weights [..., size, count] that resample [start, start + extent), wider where the
    image shrinks."""
    scale = (extent / size)[..., None]
    center = start[..., None] + (torch.arange(size, device=start.device) + 0.5) * scale
    center = center.clamp(0.5, count - 0.5)[..., None]
    distance = (torch.arange(count, device=start.device) + 0.5 - center).abs()
    weight = F.relu(1 - distance / scale.abs().clamp(min=1)[..., None])
    return weight / weight.sum(-1, keepdim=True)


def luma(parts: Planes) -> torch.Tensor:
    r, g, b = parts
    return 0.299 * r + 0.587 * g + 0.114 * b


def blend(parts: Planes, base: torch.Tensor | float, factor: torch.Tensor) -> Planes:
    return [(base + (p - base) * factor).clamp(-1, 1) for p in parts]


def hue(parts: Planes, shift: torch.Tensor) -> Planes:
    r, g, b = parts
    value = torch.maximum(torch.maximum(r, g), b)
    chroma = value - torch.minimum(torch.minimum(r, g), b)
    per = 1 / torch.where(chroma > 0, chroma, 1.0)
    sixth = torch.where(g >= b, 2 + (b - r) * per, 4 + (r - g) * per)
    sixth = torch.where((r >= g) & (r >= b), (g - b) * per, sixth) / 6 + shift
    sixth = 6 * (sixth - sixth.floor())
    below = (2 - (sixth - 3).abs(), (sixth - 2).abs() - 1, (sixth - 4).abs() - 1)
    return [value - chroma * share.clamp(0, 1) for share in below]
