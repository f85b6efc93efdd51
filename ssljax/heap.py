"""The memory of the process: on a CPU it is kept from step to step."""

import ctypes
import glob
import mmap
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
    libc = ctypes.CDLL(None)
    if not hasattr(libc, 'mallopt'):
        return False
    # one heap for all threads, since others cannot grow so far; no block of its own; never trimmed
    options = {ARENA_MAX: 1, MMAP_MAX: 0, TRIM_THRESHOLD: -1}
    kept = all([libc.mallopt(*option) for option in options.items()])
    # the heap grows to a quarter of the memory, of which nothing is taken yet, and large pages are
    # asked for in it; what the two calls answer is not needed: without them it is only slower
    size = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 4
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if start := libc.malloc(size):
        edge = -start % mmap.PAGESIZE
        libc.madvise(start + edge, size - mmap.PAGESIZE, mmap.MADV_HUGEPAGE)
        libc.free(start)
    return kept
