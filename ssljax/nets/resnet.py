"""Residual networks. He et al. 2016, arXiv:1512.03385; bottlenecks have the stride in 3x3."""

import functools
from typing import Any, Literal

import flax.linen as nn
import jax

from ssljax.kinds import Count, Dtype, Natural
from ssljax.names import choose
from ssljax.nets.layers import Conv, Dense, Norm, check, normalize


class ResNet(nn.Module):
    depths: tuple[int, ...]
    bottleneck: bool
    stem: str
    width: int
    norm: str | None
    zero_last: bool
    classes: int
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        x = self.places(x, train).mean((1, 2))
        return (
            Dense(self.classes, kernel_init='uniform', dtype=self.dtype)(x) if self.classes else x
        )

    @nn.compact
    def places(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Images [B, H, W, C] -> features of places [B, h, w, D]."""
        conv = functools.partial(
            Conv, bias=self.norm != 'batch', kernel_init='he_out', dtype=self.dtype
        )
        norm = functools.partial(normalize, kind=self.norm, train=train, dtype=self.dtype)
        # a block with a last gain of zero starts as the identity (Goyal et al. 2017, section 5.1)
        last = {'scale_init': nn.initializers.zeros} if self.zero_last and self.norm else {}

        def block(x, width, stride):
            if self.bottleneck:
                y = jax.nn.relu(norm(conv(width, 1)(x)))
                y = jax.nn.relu(norm(conv(width, 3, stride, 1)(y)))
                y = norm(conv(4 * width, 1)(y), **last)
            else:
                y = jax.nn.relu(norm(conv(width, 3, stride, 1)(x)))
                y = norm(conv(width, 3, 1, 1)(y), **last)
            if x.shape != y.shape:
                x = norm(conv(y.shape[-1], 1, stride, 0)(x))
            return jax.nn.relu(x + y)

        if self.stem == 'cifar':  # [B, H, W, C] -> [B, H, W, width]
            x = jax.nn.relu(norm(conv(self.width, 3, 1, 1)(x)))
        else:  # -> [B, H / 4, W / 4, width]
            x = jax.nn.relu(norm(conv(self.width, 7, 2, 3)(x)))
            x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        for i, depth in enumerate(self.depths):
            for j in range(depth):
                x = block(x, self.width << i, 2 if i and not j else 1)
        return x


def _resnet(depths, bottleneck, stem, width, norm, zero_last, classes, dtype):
    check(norm)
    choose(stem, ('cifar', 'imagenet'), 'stem')
    return ResNet(depths, bottleneck, stem, width, norm, zero_last, classes, dtype)


def resnet18(
    *,
    stem: Literal['imagenet', 'cifar'] = 'imagenet',
    width: Count = 64,
    norm: Norm = 'batch',
    zero_last: bool = True,
    classes: Natural = 0,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> features [B, 512], the mean over positions; or logits [B, classes].

    11,689,512 params with 1000 classes.

    stem: imagenet, 7x7 stride 2 and a max pool; cifar, 3x3 for 32x32 images (as in SimCLR, B.9).
    width: channels of the first stage; each later stage has twice those of the one before.
    norm: None, batch, layer, token or rms, as of `layers.normalize`.
    zero_last: whether the last norm of each block starts with a gain of zero.
    classes: of a last linear layer; 0: there is none.
    dtype: of the computation; None: that of inputs and params.
    """
    return _resnet((2, 2, 2, 2), False, stem, width, norm, zero_last, classes, dtype)


def resnet34(
    *,
    stem: Literal['imagenet', 'cifar'] = 'imagenet',
    width: Count = 64,
    norm: Norm = 'batch',
    zero_last: bool = True,
    classes: Natural = 0,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> features [B, 512]: 21,797,672 params with 1000 classes.

    stem, width, norm, zero_last, classes, dtype: as of `resnet18`.
    """
    return _resnet((3, 4, 6, 3), False, stem, width, norm, zero_last, classes, dtype)


def resnet50(
    *,
    stem: Literal['imagenet', 'cifar'] = 'imagenet',
    width: Count = 64,
    norm: Norm = 'batch',
    zero_last: bool = True,
    classes: Natural = 0,
    dtype: Dtype | None = None,
) -> nn.Module:
    """Images [B, H, W, C] -> features [B, 2048]: 25,557,032 params with 1000 classes.

    stem, width, norm, zero_last, classes, dtype: as of `resnet18`.
    """
    return _resnet((3, 4, 6, 3), True, stem, width, norm, zero_last, classes, dtype)
