"""The memory of the process: on a CPU it is kept from step to step."""

import ctypes
import glob
import os
import sys

TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8  # parameters of glibc's mallopt
ACCELERATORS = ('/dev/nvidia[0-9]*', '/dev/accel*', '/dev/kfd', '/dev/vfio/[0-9]*')


def keep() -> bool:
    """Lets the C library keep what a step frees, for the next step; says whether it does.

    XLA asks for the temporaries of each step on a CPU as one block of memory. As glibc is set by
    default, such a block is new each time, and the system clears it page by page at its first use:
    a tenth of a step or more. To be called before jax starts its threads: what they have seen of
    the settings stays. Nothing is changed beside an accelerator, without glibc, or where a variable
    MALLOC_... or GLIBC_TUNABLES says what the user wants.
    """
    said = any(name.startswith('MALLOC_') or name == 'GLIBC_TUNABLES' for name in os.environ)
    if sys.platform != 'linux' or said or any(map(glob.glob, ACCELERATORS)):
        return False
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    # one heap for all threads, since others cannot grow so far; no block of its own; never trimmed
    options = {ARENA_MAX: 1, MMAP_MAX: 0, TRIM_THRESHOLD: -1}
    return mallopt is not None and all([mallopt(*option) for option in options.items()])
