"""The nets of `torch_tokens`, and Muon, in PyTorch; sizes are those of the configs."""

import torch
from torch import nn
from torch.nn import functional as F


def patchify(x, patch):
    """[B, C, H, W] -> [B, h w, patch * patch * C]."""
    B, C, H, W = x.shape
    x = x.view(B, C, H // patch, patch, W // patch, patch)
    return x.permute(0, 2, 4, 3, 5, 1).reshape(B, -1, patch * patch * C)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        qkv = self.qkv(self.before(x)).unflatten(2, (3, self.heads, -1))
        h = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(self.between(x))))


class MAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(48, 64), nn.LayerNorm(64)
        self.blocks = nn.Sequential(*[Block(64, 2) for _ in range(3)])
        self.narrow, self.mask = nn.Linear(64, 48), nn.Parameter(torch.zeros(48))
        self.paint = nn.Sequential(Block(48, 2), nn.LayerNorm(48), nn.Linear(48, 48))
        self.register_buffer('places', torch.randn(64, 64))  # fixed
        self.register_buffer('inner_places', torch.randn(64, 48))

    def forward(self, x):
        patches, (B, T, kept) = patchify(x, 4), (len(x), 64, 16)
        order = torch.rand(B, T).argsort(1)
        seen = order[:, :kept]
        inputs = patches.gather(1, seen[..., None].expand(-1, -1, 48))
        h = self.norm(self.blocks(self.embed(inputs) + self.places[seen]))
        full = self.mask.expand(B, T, -1)
        full = full.scatter(1, seen[..., None].expand(-1, -1, 48), self.narrow(h))
        prediction = self.paint(full + self.inner_places)
        hidden = torch.ones(B, T).scatter(1, seen, 0.0)
        mean, variance = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True, correction=0)
        error = (prediction - (patches - mean) / (variance + 1e-6).sqrt()).square().mean(-1)
        return (error * hidden).sum(1).div(T - kept).mean()


class DINO(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(192, 64), nn.LayerNorm(64)
        self.token, self.places = nn.Parameter(torch.randn(64)), nn.Parameter(torch.randn(17, 64))
        self.blocks = nn.Sequential(*[Block(64, 2) for _ in range(2)])
        gelu, dims = nn.GELU('tanh'), [(64, 192), (192, 192), (192, 48)]
        layers = [nn.Linear(*pair) for pair in dims]
        self.head = nn.Sequential(layers[0], gelu, layers[1], gelu, layers[2])
        self.last = nn.Parameter(torch.randn(512, 48))

    def forward(self, x):
        h, places, side = self.embed(patchify(x, 8)), self.places[1:], x.shape[-1] // 8
        if side != 4:
            places = places.view(1, 4, 4, 64).permute(0, 3, 1, 2)
            places = F.interpolate(places, (side, side), mode='bicubic').flatten(2)[0].T
        first = (self.token + self.places[0]).expand(len(x), 1, 64)
        h = self.norm(self.blocks(torch.cat([first, h + places], 1))[:, 0])
        return F.linear(F.normalize(self.head(h), dim=1), F.normalize(self.last, dim=1))


class CausalBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        square = [nn.Linear(width, width, bias=False) for _ in range(4)]
        self.query, self.key, self.value, self.out = square
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x, sin, cos):
        h = rms(x)
        q, k, v = (f(h).unflatten(2, (self.heads, -1)) for f in (self.query, self.key, self.value))
        q, k = (rotate(rms(a), sin, cos).transpose(1, 2) for a in (q, k))
        scale = 1.2 / q.shape[-1] ** 0.5
        h = F.scaled_dot_product_attention(q, k, v.transpose(1, 2), is_causal=True, scale=scale)
        x = x + self.out(h.transpose(1, 2).flatten(2))
        return x + self.down(F.relu(self.up(rms(x))).square())


def rms(x):
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def rotate(x, sin, cos):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class GPT(nn.Module):
    def __init__(self, vocab=65, width=128, depth=4, heads=4, context=128):
        super().__init__()
        self.embed, self.out = nn.Embedding(vocab, width), nn.Linear(width, vocab, bias=False)
        self.blocks = nn.ModuleList([CausalBlock(width, heads) for _ in range(depth)])
        half = width // heads // 2
        angles = torch.arange(context)[:, None, None] * 10000.0 ** (-torch.arange(half) / half)
        self.register_buffer('sin', angles.sin())  # [T, 1, e / 2]
        self.register_buffer('cos', angles.cos())

    def forward(self, tokens):
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.sin, self.cos)
        return self.out(rms(x))


class Muon:
    """Orthogonal updates of matrices, all of one shape together."""

    def __init__(self, matrices, rate=0.02, decay=0.1, beta=0.95):
        self.params, self.rate, self.decay, self.beta = list(matrices), rate, decay, beta
        self.momenta = [torch.zeros_like(p) for p in self.params]
        self.shapes = {}
        for i, p in enumerate(self.params):
            self.shapes.setdefault(tuple(p.shape), []).append(i)

    def zero_grad(self, set_to_none=True):
        for p in self.params:
            p.grad = None

    @torch.no_grad()
    def step(self):
        grads = [p.grad for p in self.params]
        torch._foreach_lerp_(self.momenta, grads, 1 - self.beta)
        ahead = torch._foreach_lerp(self.momenta, grads, 1 - self.beta)
        torch._foreach_mul_(self.params, 1 - self.rate * self.decay)
        for (rows, columns), members in self.shapes.items():
            x = orthogonal(torch.stack([ahead[i] for i in members]))
            by = -self.rate * max(1, rows / columns) ** 0.5
            torch._foreach_add_([self.params[i] for i in members], list(x), alpha=by)


def orthogonal(x):
    """Five Newton-Schulz steps of matrices [N, rows, columns]."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-8)
    for _ in range(5):
        a = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(a, a, a, beta=-4.775, alpha=2.0315), x, beta=3.4445)
    return x.mT if tall else x


class Together:
    """Optimizers of the parts of a net."""

    def __init__(self, *parts):
        self.parts = parts

    def zero_grad(self, set_to_none=True):
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self):
        for part in self.parts:
            part.step()


class Coupling(nn.Module):
    """An actnorm, then pixels under the mask move the others by a residual net."""

    def __init__(self, channels, width, stays):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.stem, self.inner = conv(channels, width, 3), conv(width, width, 3)
        self.narrow, self.last = conv(width, width, 1), conv(width, 2 * channels, 3)
        self.bound = nn.Parameter(torch.ones(channels, 1, 1))
        self.register_buffer('stays', stays)

    def forward(self, x, log_det):
        x = (x + self.shift) * self.log_scale.exp()
        h = self.stem(self.stays * x)
        h = h + self.narrow(F.relu(self.inner(F.relu(h))))
        s, t = self.last(F.relu(h)).chunk(2, 1)
        s = (1 - self.stays) * self.bound * s.tanh()
        places = x.shape[2] * x.shape[3]
        log_det = log_det + places * self.log_scale.sum() + s.flatten(1).sum(1)
        return x * s.exp() + (1 - self.stays) * t, log_det


def conv(inputs, outputs, kernel):
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    return layer.to(memory_format=torch.channels_last)


class ImageFlow(nn.Module):
    """Of 16 x 16 images: 3 checkerboards, 3 of channels, half is done, 4 checkerboards."""

    def __init__(self, channels):
        super().__init__()
        C = channels

        def board(side, i):
            return ((torch.arange(side)[:, None] + torch.arange(side)) % 2 == i % 2).float()[None]

        halves = [(torch.arange(4 * C) < 2 * C).float()[:, None, None]]
        halves.append(1 - halves[0])
        self.fine = nn.ModuleList([Coupling(C, 16, board(16, i)) for i in range(3)])
        self.deep = nn.ModuleList([Coupling(4 * C, 32, halves[i % 2]) for i in range(3)])
        self.coarse = nn.ModuleList([Coupling(2 * C, 32, board(8, i)) for i in range(4)])

    def forward(self, x):
        log_det = torch.zeros(len(x))
        for layer in self.fine:
            x, log_det = layer(x, log_det)
        x = F.pixel_unshuffle(x, 2)
        for layer in self.deep:
            x, log_det = layer(x, log_det)
        x, done = x.chunk(2, 1)
        for layer in self.coarse:
            x, log_det = layer(x, log_det)
        return torch.cat([x.flatten(1), done.flatten(1)], 1), log_det
