"""Augmentations on the device, inside the compiled step: (key, x) -> x for one example.

A random operator draws its amounts and calls a plain one, op(x, amount), which anyone may call.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax

from ssljax.augment import color, geometry, mask, patches, texture  # noqa: F401  plain operators
from ssljax.augment.image import crop, identity, ink, simclr
from ssljax.names import build

__all__ = ['crop', 'identity', 'ink', 'simclr']  # what a config may name


def make(spec: Mapping[str, Any] | Callable, **given: Any) -> Callable:
    """view(key, x) from dict(name=..., **options); a view that is made already passes through.

    `given` (size) are for the views that take them; the spec may overrule.
    """
    return build(sys.modules[__name__], spec, 'view', **given)


def views(view: Callable, key: jax.Array, x: jax.Array, n: int) -> jax.Array:
    """n views of each example, [B, ...] -> [B * n, ...]; views of one example are neighbors."""
    keys = jax.random.split(key, (x.shape[0], n))
    several = jax.vmap(view, in_axes=(0, None))  # the n views of one example
    seen = jax.vmap(several)(keys, x)  # [B, n, ...]
    return seen.reshape(-1, *seen.shape[2:])
