"""Sources of data: a name in a config is a function of a file in here that returns a Source.

A path may follow the name after a colon: name=folder:DIR.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssljax import names
from ssljax.data.batches import batch_rows
from ssljax.data.source import Source


def offered() -> Mapping[str, Callable]:
    """The sources that a config may name, found by listing."""
    return names.listed(__name__, Source)


def make(spec: Mapping[str, Any] | str | Source) -> Source:
    """dict(name='tfds:cifar10', **options) -> Source; what follows the colon is the option path.

    A name alone stands for its defaults; a Source is returned as it is.
    """
    if isinstance(spec, Source):
        return spec
    spec = dict(name=spec) if isinstance(spec, str) else spec
    if not isinstance(spec, Mapping):
        raise names.Mistake(f'data {spec!r} is no source; type dict(name=...)')
    if 'name' in spec:
        name, colon, path = str(spec['name']).partition(':')
        known = names.options(offered()[names.choose(name, offered(), 'data')])
        spec = {**spec, 'name': name}
        if colon and 'path' not in known:
            raise names.Mistake(f'data {name!r} takes nothing after a colon; type name={name}')
        if colon:
            spec['path'] = path
        for option, default in known.items():
            if default is inspect.Parameter.empty and option not in spec:
                raise names.Mistake(
                    f'data {name!r} needs {option}; type {option}=dict(name=...), or'
                    f' --config.data.{option}.name=glyphs'
                )
    with names.in_one_line(f'data {spec.get("name")!r} cannot be read'):
        return names.build(offered(), spec, 'data')


def shapes(source: Source) -> dict[str, Any]:
    """A jax.ShapeDtypeStruct for each entry of one training row: {'x': uint8 [32, 32, 1], ...}.

    `index` is among them, and `index_y` where there are two domains.
    """
    import jax  # here: reading data needs no jax

    rows = batch_rows(source.splits['train'], seed=0, k=0, batch=1)
    rows = {name: np.asarray(values) for name, values in rows.items()}
    return {name: jax.ShapeDtypeStruct(v.shape[1:], v.dtype) for name, v in rows.items()}
