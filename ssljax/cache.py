"""The user's cache directory: compiled programs, scans of folders, numbers of baselines."""

import os
from pathlib import Path


def home() -> Path:
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'ssljax'


def programs() -> None:
    """Keeps what JAX compiles, for the next start."""
    import jax

    jax.config.update('jax_compilation_cache_dir', str(home() / 'xla'))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
    jax.config.update('jax_persistent_cache_min_entry_size_bytes', -1)
