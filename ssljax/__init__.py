"""ssljax: learning without labels, in JAX. `import ssljax` loads nothing heavy."""

from typing import Any

__version__ = '0.1.0'
__all__ = ['fit', 'load']


def __getattr__(name: str) -> Any:
    if name == 'load':
        from ssljax.reopen import load

        return load
    if name == 'fit':
        from ssljax.train import fit

        return fit
    raise AttributeError(f'module ssljax has no attribute {name!r}')
