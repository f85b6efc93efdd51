"""Eight simulated devices for every test; compiled programs are cached between runs."""

import gc
import os
import sys
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
        '--xla_cpu_use_fusion_emitters=false',
        '--xla_cpu_parallel_codegen_split_count=1',
    )
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax  # noqa: E402
import pytest  # noqa: E402

from ssljax import cache  # noqa: E402

cache.programs()
gc.freeze()  # a tenth of the time: what is imported stays, and few of the many small objects of
gc.set_threshold(200_000, 20, 100)  # a trace are garbage
pytest_plugins = ['tiers']


@pytest.fixture
def optimized():
    """For a test that runs hundreds of steps."""
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', True)
