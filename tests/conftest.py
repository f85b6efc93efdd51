"""Eight simulated devices for every test; compiled programs are cached between runs."""

import os
import sys
from pathlib import Path

os.environ['XLA_FLAGS'] = (
    os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
sys.path.insert(0, str(Path(__file__).parents[1]))

from ssljax import assemble  # noqa: E402

assemble.cache()
