"""Eight simulated devices for every test; compiled programs are cached between runs."""

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
    )
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
sys.path.insert(0, str(Path(__file__).parents[1]))

from ssljax import cache  # noqa: E402

cache.programs()
