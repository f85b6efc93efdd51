"""ssljax: learning without labels, in JAX. `import ssljax` loads nothing heavy."""

from typing import Any

__version__ = '0.1.0'
__all__ = ['load']


def __getattr__(name: str) -> Any:
    if name == 'load':
        from ssljax.evaluate import load

        return load
    raise AttributeError(f'module ssljax has no attribute {name!r}')
