"""PyTorch's side of benchmarks/steps.py for convolutional nets: the same work at its best.

A row is a function of the number of steps, and gives forms: calls of so many steps. PyTorch keeps
images channels last, fuses its optimizer, and compiles the augmentation in every form.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import step
import torch
import torch_views
from torch import nn
from torch.nn import functional as F

Forms = dict[str, Callable[[], None]]
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'


def simclr_small(steps: int, *, batch: int = 128, dtype: str = 'float32') -> Forms:
    """configs/simclr.py:cifar10_small: strided convolutions 32 to 256, MLP 256-64, AdamW."""
    job = contrastive_job('cifar10_small', batch, dtype)

    def net():
        layers, last = [], 3
        for width in (32, 64, 128, 256):
            conv = nn.Conv2d(last, width, 3, 2, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            last = width
        return nn.Sequential(*layers, nn.Flatten(), *projector(1024, 256, 64))

    return contrastive(job, net, lambda net: adamw(net, 3e-3), steps, least=0.25, dtype=dtype)


def simclr_resnet18(steps: int, *, batch: int = 64, dtype: str = 'float32') -> Forms:
    """configs/simclr.py:cifar10: ResNet-18 with the CIFAR stem, MLP 512-128, SGD with momentum."""
    job = contrastive_job('cifar10', batch, dtype)

    def optimizer(net):
        return torch.optim.SGD(net.parameters(), 0.1, 0.9, weight_decay=5e-4, fused=True)

    return contrastive(job, resnet18, optimizer, steps, least=0.08, dtype=dtype)


def contrastive_job(variant: str, batch: int, dtype: str) -> Any:
    """Our SimCLR on random images."""
    changes = [('batch', str(batch)), ('dtype', dtype)]
    data = step.drawn({'x': pixels(32, 32, 3)})
    return step.opened(f'configs/simclr.py:{variant}', changes, data)


def pixels(*shape: int) -> Callable:
    return lambda random, count: random.integers(0, 256, (count, *shape), np.uint8)


def contrastive(
    job: Any, make: Callable, optimizer: Callable, steps: int, *, least: float, dtype: str
) -> Forms:
    """Two views of each image and NT-Xent. least: the least area of a crop."""
    images = torch.randint(0, 256, (job.run.batch, 3, 32, 32), dtype=torch.uint8, device=DEVICE)

    def views(x):  # of one image are neighbors
        return torch_views.views(x, 2, scale=(least, 1.0), color=True).flatten(0, 1)

    compiled_views = torch.compile(views, dynamic=False)

    cast = dict(device_type=DEVICE, dtype=torch.bfloat16, enabled=dtype == 'bfloat16')

    def form(compiled: bool):
        net = channels_last(make())
        same_size(job, net)

        def loss():
            x = (views if compiled else compiled_views)(images)
            x = x.contiguous(memory_format=torch.channels_last)
            with torch.autocast(**cast):
                z = net(x)
            z = F.normalize(z.float(), dim=1)
            logits = (z @ z.T / 0.2).fill_diagonal_(-math.inf)
            return F.cross_entropy(logits, target)

        target = torch.arange(2 * job.run.batch, device=DEVICE) ^ 1  # the neighbor
        return trained(
            torch.compile(loss, dynamic=False) if compiled else loss, optimizer(net), steps
        )

    return {
        'ours': step.repeated(job, steps),
        'torch eager': form(False),
        'torch compiled': form(True),
    }


def wgan_gp_digits(steps: int) -> Forms:
    """configs/wgan_gp.py: DCGAN at 8 pixels, a gradient penalty, a generator's turn in five."""
    return wgan_gp('', steps, size=8, width=64, latent=32)


def wgan_gp_32(steps: int) -> Forms:
    """configs/wgan_gp.py:mnist: the same at 32 pixels."""
    return wgan_gp('mnist', steps, size=32, width=32, latent=32)


def wgan_gp(variant: str, steps: int, *, size: int, width: int, latent: int) -> Forms:
    data = step.drawn({'x': pixels(size, size, 1)})
    job = step.opened(f'configs/wgan_gp.py{variant and ":"}{variant}', data=data)
    B, doublings = job.run.batch, int(math.log2(size // 4))
    images = torch.randint(0, 256, (B, 1, size, size), dtype=torch.uint8, device=DEVICE)

    def generator_net():
        last = width << (doublings - 1)
        layers = [nn.Linear(latent, 16 * last, bias=False), nn.Unflatten(1, (last, 4, 4))]
        for i in range(doublings):
            out = 1 if i == doublings - 1 else last // 2
            conv = nn.ConvTranspose2d(last, out, 4, 2, 1, bias=False)
            layers += [nn.BatchNorm2d(last), nn.ReLU(inplace=True), conv]
            last = out
        return channels_last(nn.Sequential(*layers, nn.Tanh()))

    def critic_net():
        layers, last = [], 1
        for i in range(doublings):
            layers += [nn.Conv2d(last, width << i, 4, 2, 1), nn.LeakyReLU(0.2)]
            last = width << i
        return channels_last(nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * last, 1)))

    def form(compiled: bool):
        generator, critic = generator_net(), critic_net()
        # the generator of ours has no bias before a norm, and none after it
        same_size(job, generator, critic)

        def noise():
            return torch.randn(B, latent, device=DEVICE)

        def critic_loss():
            with torch.no_grad():
                fake = generator(noise())
            real = images / 127.5 - 1
            value = critic(torch.cat([real, fake]))  # at once: a critic sees each row alone
            e = torch.rand(B, 1, 1, 1, device=DEVICE)
            between = e * real + (1 - e) * fake
            if compiled:  # torch.compile traces this one through a second derivative
                slope = torch.func.grad(lambda x: critic(x).sum())(between)
            else:
                between.requires_grad_()
                slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
            norm = (slope.square().sum((1, 2, 3)) + 1e-12).sqrt()
            return value[B:].mean() - value[:B].mean() + 10 * (norm - 1).square().mean()

        def generator_loss():
            return -critic(generator(noise())).mean()

        losses = (critic_loss, generator_loss)
        if compiled:
            losses = [torch.compile(loss, dynamic=False) for loss in losses]
        options = dict(lr=5e-4, betas=(0.0, 0.9), fused=True)
        optimizers = [torch.optim.Adam(n.parameters(), **options) for n in (critic, generator)]

        def turn(player: int):
            net = (critic, generator)[player]
            (critic, generator)[1 - player].requires_grad_(False)
            net.requires_grad_(True)
            optimizers[player].zero_grad(set_to_none=True)
            value = losses[player]()
            value.backward()
            optimizers[player].step()
            return value

        def run():
            for i in range(steps):
                value = turn(0)
                if i % 5 == 4:
                    turn(1)
            value.item()

        return run

    return {
        'ours': step.repeated(job, steps),
        'torch eager': form(False),
        'torch compiled': form(True),
    }


def ctc(steps: int) -> Forms:
    """configs/ctc.py: three convolutions, an LSTM in both directions, CTC, AdamW."""
    from ssljax.data.lines import ALPHABET

    V, B, W, L = len(ALPHABET), 32, 256, 40
    row = {
        'x': pixels(32, W, 1),
        'length': lambda random, n: random.integers(W // 2, W + 1, n, np.int32),
        'text': lambda random, n: random.integers(0, V, (n, L), np.int32),
        'text_length': lambda random, n: random.integers(10, 30, n, np.int32),
    }
    job = step.opened('configs/ctc.py', data=step.drawn(row, vocab=ALPHABET))
    rows = {k: torch.as_tensor(v).to(DEVICE) for k, v in job.train.rows(np.arange(B)).items()}
    images, text, text_length = rows['x'].permute(0, 3, 1, 2), rows['text'], rows['text_length']
    frames = (rows['length'] + 3) // 4

    def form(compiled: bool):
        net = Reader(V).to(DEVICE, memory_format=torch.channels_last)
        same_size(job, net, more=2 * 4 * 128)  # of two biases at each gate, one is not ours
        if compiled:  # its recurrence stays a call of PyTorch's own
            net.before, net.after = (
                torch.compile(f, dynamic=False) for f in (net.before, net.after)
            )

        def loss():
            logits = net(images, rows['length'], frames)
            log_p = logits.log_softmax(-1).transpose(0, 1)
            options = dict(blank=V, reduction='none', zero_infinity=True)
            return F.ctc_loss(log_p, text, frames, text_length, **options).mean()

        return trained(loss, adamw(net, 3e-3), steps)

    return {
        'ours': step.repeated(job, steps),
        'torch eager': form(False),
        'torch compiled': form(True),
    }


class Reader(nn.Module):
    """The net `line_lstm` and its head: images [B, 1, H, W] -> logits [B, W / 4, V + 1]."""

    def __init__(self, vocab: int):
        super().__init__()
        widths, strides = (1, 16, 32, 64), (2, 2, 1)
        pairs = zip(widths, widths[1:], strides)
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, s, 1) for i, o, s in pairs)
        self.dense, self.norm = nn.Linear(8 * 64, 128, bias=False), nn.LayerNorm(128)
        self.ahead, self.back = (nn.LSTM(128, 128, batch_first=True) for _ in range(2))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(256, vocab + 1)

    def forward(self, x, length, frames):
        h = self.before(x, length)
        place = torch.arange(h.shape[1], device=h.device)
        index = ((frames[:, None] - 1 - place) % h.shape[1])[..., None]  # the way back
        turned = h.gather(1, index.expand_as(h).long())
        ahead, back = self.ahead(h)[0], self.back(turned)[0]
        return self.after(ahead, back.gather(1, index.expand_as(back).long()), frames)

    def before(self, x, length):
        W = x.shape[3]

        def cut(x):
            count = (length * x.shape[3] + W - 1) // W
            inside = torch.arange(x.shape[3], device=x.device) < count[:, None]
            return x * inside[:, None, None]

        pixels = (length * x.shape[2])[:, None, None, None]
        x = cut(x / 127.5 - 1)
        x = cut(x - x.sum((1, 2, 3), keepdim=True) / pixels)
        x = x / (x.square().sum((1, 2, 3), keepdim=True) / pixels).sqrt().clamp(min=1e-3)
        for conv in self.convs:
            x = cut(F.relu(conv(x)))
        return self.drop(F.relu(self.norm(self.dense(x.permute(0, 3, 2, 1).flatten(2)))))

    def after(self, ahead, back, frames):
        both = self.drop(torch.cat([ahead, back], -1))
        inside = torch.arange(both.shape[1], device=both.device) < frames[:, None]
        return self.head(both * inside[..., None])


def adamw(net: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Matrices are decayed, gains and biases not."""
    decayed, rest = ([p for p in net.parameters() if (p.ndim > 1) == m] for m in (True, False))
    groups = [dict(params=decayed, weight_decay=1e-4), dict(params=rest, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=rate, fused=True)


def trained(
    loss: Callable,
    optimizer: Any,
    steps: int,
    *,
    clip: Iterable[nn.Parameter] = (),
    norm: float = math.inf,
    after: Callable[[], None] = lambda: None,
) -> Callable[[], None]:
    """A call of so many steps: gradient, update, after. clip: what has a gradient of most norm."""
    clip = list(clip)

    def run():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            value = loss()
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(clip, norm)
            optimizer.step()
            after()
        value.item()

    return run


def channels_last(net: nn.Module) -> nn.Module:
    return net.to(DEVICE, memory_format=torch.channels_last)


def same_size(job: Any, *nets: nn.Module, more: int = 0) -> None:
    """Refuses a net that is not ours. more: parameters that PyTorch's layers have beyond ours."""
    theirs = sum(p.numel() for net in nets for p in net.parameters())
    assert theirs == step.size(job) + more, (theirs, step.size(job))


def projector(last: int, hidden: int, out: int) -> list[nn.Module]:
    first = nn.Linear(last, hidden, bias=False)
    return [
        first,
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out),
    ]


def resnet18() -> nn.Module:
    def conv(i, o, k, s):
        return nn.Conv2d(i, o, k, s, k // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, i, o, s):
            super().__init__()
            self.a, self.b = conv(i, o, 3, s), conv(o, o, 3, 1)
            self.na, self.nb = nn.BatchNorm2d(o), nn.BatchNorm2d(o)
            short = nn.Sequential(conv(i, o, 1, s), nn.BatchNorm2d(o))
            self.short = short if s > 1 or i != o else nn.Identity()

        def forward(self, x):
            y = self.nb(self.b(F.relu(self.na(self.a(x)), inplace=True)))
            return F.relu(y + self.short(x), inplace=True)

    blocks, last = [], 64
    for k, width in enumerate((64, 128, 256, 512)):
        for j in range(2):
            blocks.append(Block(last, width, 2 if k and not j else 1))
            last = width
    stem = [conv(3, 64, 3, 1), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*stem, *blocks, *pool, *projector(512, 512, 128))
