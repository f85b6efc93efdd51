"""Eight simulated devices for every test; compiled programs are cached between runs."""

import ctypes
import gc
import os
import signal
import sys
import threading
from importlib.metadata import version
from pathlib import Path

# eight devices on two busy cores may wait long for one another: by default XLA aborts after 40 s
os.environ['XLA_FLAGS'] = ' '.join(
    (
        os.environ.get('XLA_FLAGS', ''),
        '--xla_force_host_platform_device_count=8',
        '--xla_cpu_collective_call_terminate_timeout_seconds=1200',
        '--xla_cpu_collective_timeout_seconds=1200',
        # most tests compile much and run little: with these two, and without optimizations (below),
        # losses compile in a fifth of the time and train steps in a seventh
        # no longer a flag of jaxlib 0.12, which ends the process at flags that it does not know
        '--xla_cpu_use_fusion_emitters=false' if version('jaxlib') < '0.12' else '',
        '--xla_cpu_parallel_codegen_split_count=1',
    )
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax  # noqa: E402
import pytest  # noqa: E402

from ssljax import cache  # noqa: E402

# what a shell starts in the background ignores Ctrl-C, and under nohup a hang-up; tests send both
for one, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    ignored = signal.getsignal(one) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(one, usual)
cache.programs()
gc.freeze()  # a tenth of the time: what is imported stays, and few of the many small objects of
gc.set_threshold(200_000, 20, 100)  # a trace are garbage
pytest_plugins = ['tiers']
ROOM = 2**30  # bytes that programs may take before they are dropped
held = 0  # bytes after they were dropped for the last time


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Programs of one method or file are of no use to the next; kept, they grow to 6 GB."""
    import tiers  # a plugin of pytest, which has not been loaded above

    global held
    if nextitem is None or tiers.group(item) == tiers.group(nextitem) or resident() < held + ROOM:
        return
    jax.clear_caches()
    gc.collect()
    getattr(ctypes.CDLL(None), 'malloc_trim', int)(0)  # gives back what is free inside the heap
    held = resident()


def resident() -> int:
    """Bytes of memory that this process has; 0 where the system does not say."""
    path = Path('/proc/self/statm')
    return int(path.read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') if path.exists() else 0


@pytest.fixture
def optimized():
    """For a test that runs hundreds of steps."""
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', True)
