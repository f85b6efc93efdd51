"""One file per method; file = function = config.method."""

import importlib
from collections.abc import Callable

from ssljax.names import choose, modules


def offered() -> list[str]:
    """The names of all methods, found by listing."""
    return modules(__name__)


def function(name: str) -> Callable:
    """The method called `name`."""
    module = importlib.import_module(f'{__name__}.{choose(name, offered(), "method")}')
    return getattr(module, name)
