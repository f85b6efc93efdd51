"""Train steps of transformers, a VAE and a flow beside PyTorch's, as forms for `rounds.timed`.

Each function below gives {'ours': ..., 'torch eager': ..., 'torch compiled': ...}: calls that do
`steps` train steps and return when all is done. Ours is the step that a config trains: views,
losses, teacher, optimizer. PyTorch does the same work at its best: attention by
scaled_dot_product_attention, fused or batched optimizers, and torch.compile around views, nets and
loss.
The nets have equally many params.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import step
import torch
import torch_nets
import torch_views
from torch import nn
from torch.nn import functional as F
from torch_steps import same_size, trained

Forms = dict[str, Callable[[], None]]


def mae(steps: int = 10) -> Forms:
    """configs/mae.py:cifar10_small: 64 images, a quarter of 64 patches seen."""
    rows = {'x': drawn(256, 32, 32, 3)}
    job = opened('mae.py:cifar10_small', rows)

    def make():
        net, x = torch_nets.MAE(), images(rows, 64)

        def loss():
            return net(torch_views.views(x, 1, scale=(0.4, 1.0))[:, 0])

        return net, loss, torch.optim.AdamW(net.parameters(), 1e-3, (0.9, 0.95), fused=True), {}

    return forms(job, make, steps)


def dino(steps: int = 10) -> Forms:
    """configs/dino.py:cifar10_small: 64 images, 2 crops of 32 pixels and 2 of 16."""
    rows = {'x': drawn(256, 32, 32, 3)}
    job = opened('dino.py:cifar10_small', rows)

    def make():
        student, x = torch_nets.DINO(), images(rows, 64)
        teacher = copy.deepcopy(student).requires_grad_(False)
        pairs, center = (list(student.parameters()), list(teacher.parameters())), torch.zeros(512)

        def loss():
            wide = torch_views.views(x, 2, scale=(0.4, 1.0), color=True, solarize=0.1)
            near = torch_views.views(x, 2, scale=(0.1, 0.4), color=True, size=16)
            with torch.no_grad():
                t = teacher(wide.flatten(0, 1)).unflatten(0, (-1, 2))
                p = ((t - center) / 0.04).softmax(-1)
                center.lerp_(t.mean((0, 1)), 0.1)
            s = [student(v.flatten(0, 1)).unflatten(0, (-1, 2)) for v in (wide, near)]
            terms = -torch.einsum('bgk,bvk->gv', p, (torch.cat(s, 1) / 0.1).log_softmax(-1))
            return (terms.sum() - terms.diagonal().sum()) / (6 * len(x))

        def after():
            with torch.no_grad():
                torch._foreach_lerp_(pairs[1], pairs[0], 0.02)

        optimizer = torch.optim.AdamW(student.parameters(), 1e-3, fused=True)
        return student, loss, optimizer, dict(clip=student.parameters(), norm=3.0, after=after)

    return forms(job, make, steps)


def gpt(steps: int = 4) -> Forms:
    """configs/gpt.py:shakespeare: 32 windows of 128 characters, 4 blocks of width 128, Muon."""
    rows = {'x': drawn(256, 129, high=65).astype(np.int32)}
    job = opened('gpt.py:shakespeare', rows, vocab=65)

    def make():
        net, tokens = torch_nets.GPT(), torch.from_numpy(rows['x'][:32]).long()

        def loss():
            logits = net(tokens[:, :-1])
            return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())

        ends = [net.embed.weight, net.out.weight]
        inner = [p for p in net.parameters() if all(p is not end for end in ends)]
        optimizer = torch_nets.Together(
            torch_nets.Muon(inner), torch.optim.AdamW(ends, 2e-3, (0.9, 0.95), fused=True)
        )
        return net, loss, optimizer, {}

    return forms(job, make, steps)


def vae(steps: int = 20) -> Forms:
    """configs/vae.py:mnist: 100 black and white images, layers of 500, 40 latents."""
    rows = {'x': 255 * drawn(256, 28, 28, 1, high=2)}
    job = opened('vae.py:mnist', rows)

    def make():
        def mlp(*dims):
            layers = [f for d in zip(dims, dims[1:]) for f in (nn.Linear(*d), nn.Tanh())]
            return nn.Sequential(*layers[:-1])

        net, x = nn.ModuleList([mlp(784, 500, 500, 80), mlp(40, 500, 500, 784)]), images(rows, 100)

        def loss():
            y = x.flatten(1).float() / 255
            mean, log_variance = net[0](2 * y - 1).chunk(2, 1)
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            error = F.binary_cross_entropy_with_logits(net[1](z), y, reduction='sum')
            kl = (log_variance.expm1() - log_variance + mean.square()).sum() / 2
            return (error + kl) / len(x)

        return net, loss, torch.optim.Adam(net.parameters(), 1e-3, fused=True), {}

    return forms(job, make, steps)


def realnvp(steps: int = 4) -> Forms:
    """configs/realnvp.py: 32 images of 16 x 16, two scales, ten couplings of residual nets."""
    rows = {'x': drawn(256, 16, 16, 1)}
    job = opened('realnvp.py', rows)

    def make():
        net, x = torch_nets.ImageFlow(1), images(rows, 32)

        def loss():
            y = (x + torch.rand(x.shape)) / 256
            p = 0.05 + 0.9 * y
            slope = (math.log(0.9) - p.log() - (-p).log1p()).flatten(1).sum(1)
            z, log_det = net(p.log() - (-p).log1p())
            log_p = -(z.square() + math.log(2 * math.pi)).sum(1) / 2
            return -(log_p + log_det + slope).mean() / 256

        optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=True)
        return net, loss, optimizer, dict(clip=net.parameters(), norm=1.0)

    return forms(job, make, steps)


def drawn(*shape: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(np.uint8)


def images(rows: Mapping[str, np.ndarray], count: int) -> Any:
    """The first rows as bytes [B, C, H, W]."""
    return torch.from_numpy(rows['x'][:count]).permute(0, 3, 1, 2).contiguous()


def opened(config: str, rows: Mapping[str, np.ndarray], vocab: int = 0) -> Any:
    """The job of a config, on these rows again and again."""
    draws = {
        name: lambda _, count, rows=rows: np.resize(rows, (count, *rows.shape[1:]))
        for name, rows in rows.items()
    }
    data = step.drawn(draws, vocab=[*map(chr, range(vocab))])
    return step.opened(f'configs/{config}', data=data)


def forms(job: Any, make: Callable[[], tuple], steps: int) -> Forms:
    """Ours, and both forms of PyTorch; make() -> net, loss, optimizer, options of `trained`."""
    found = {'ours': step.repeated(job, steps)}
    for name in ('torch eager', 'torch compiled'):
        net, loss, optimizer, options = make()
        same_size(job, net)
        loss = torch.compile(loss) if name == 'torch compiled' else loss
        found[name] = trained(loss, optimizer, steps, **options)
    return found
