"""Other libraries' losses, for comparison."""

import importlib
import sys
import types
from importlib import metadata
from pathlib import Path

HOLLOW = (
    '',
    '.loss',
    '.models',
    '.models.modules',
    '.models.utils',
    '.utils',
    '.utils.benchmarking',
)


def lightly(name: str, room: str = 'loss') -> types.ModuleType:
    """A module of a room of lightly, without what its packages import, torchvision and more."""
    root = Path(metadata.distribution('lightly').locate_file('lightly'))
    for part in HOLLOW:
        package = types.ModuleType(f'lightly{part}')
        package.__path__ = [str(root.joinpath(*part.split('.')[1:]))]
        sys.modules.setdefault(package.__name__, package)
    return importlib.import_module(f'lightly.{room}.{name}')


def versions(*names: str) -> dict[str, str]:
    """Those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return found
