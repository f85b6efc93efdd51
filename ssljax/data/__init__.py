"""Sources of data: a name in a config is a function here, and a path may follow a colon."""

import sys
from collections.abc import Mapping
from typing import Any

from ssljax import names
from ssljax.data.arrays import arrays
from ssljax.data.embedded import density, digits, patches
from ssljax.data.folder import folder
from ssljax.data.glyphs import glyphs
from ssljax.data.source import Source
from ssljax.data.text import python_text, shakespeare, text
from ssljax.data.tfds import tfds

__all__ = [
    'arrays',
    'density',
    'digits',
    'folder',
    'glyphs',
    'patches',
    'python_text',
    'shakespeare',
    'text',
    'tfds',
]


def make(spec: Mapping[str, Any] | Source) -> Source:
    """dict(name='tfds:cifar10', **options) -> Source; what follows the colon is the option path."""
    module = sys.modules[__name__]
    if not isinstance(spec, Mapping) or 'name' not in spec:
        return names.build(module, spec, 'data')
    name, colon, path = str(spec['name']).partition(':')
    spec = {**spec, 'name': names.choose(name, __all__, 'data')}
    if colon:
        if 'path' not in names.options(getattr(module, name)):
            raise names.Mistake(f'data {name!r} takes nothing after a colon; type name={name}')
        spec['path'] = path
    return names.build(module, spec, 'data')
