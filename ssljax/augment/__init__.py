"""Augmentations on the device, inside the compiled step: (key, x) -> x for one example.

A random operator draws its amounts and calls a plain operator, op(x, amount), which can be called
by itself too. A view that a config may name is a function in a file of this folder whose annotation
says that it returns a View.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from ssljax.augment import color, geometry, mask, patches, texture  # noqa: F401  plain operators
from ssljax.augment.image import View as View
from ssljax.names import build, listed


def offered() -> Mapping[str, Callable]:
    """The views that a config may name, found by listing."""
    return listed(__name__, View)


def make(spec: Mapping[str, Any] | Callable, **given: Any) -> Callable:
    """view(key, x) from dict(name=..., **options); a view function is returned as it is.

    given: options, such as size, for the views that have them; the spec overrides them.
    """
    return build(offered(), spec, 'view', **given)


def views(view: Callable, key: jax.Array, x: jax.Array, n: int) -> jax.Array:
    """n views of each example, [B, ...] -> [B * n, ...]; views of one example are neighbors."""
    keys = jax.random.split(key, (x.shape[0], n))
    views_of_one = jax.vmap(view, in_axes=(0, None))  # the n views of one example
    viewed = jax.vmap(views_of_one)(keys, x)  # [B, n, ...]
    return viewed.reshape(-1, *viewed.shape[2:])
