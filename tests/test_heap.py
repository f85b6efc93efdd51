"""The memory of a step is kept for the next one: counted in pages that the system had to clear."""

import os
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
from ssljax import heap
kept = sys.argv[1] == 'keep' and heap.keep()
import jax, jax.numpy as jnp
x = jnp.ones((2048, 4096))
f = jax.jit(lambda x: jnp.sort(jnp.sin(x), 0).sum() + jnp.sort(jnp.cos(x), 1).sum())
pages = []
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    f(x).block_until_ready()
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(int(kept), min(pages))
"""


def steps(how, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(('MALLOC_', 'GLIBC_', 'XLA_'))}
    command = [sys.executable, '-c', STEPS, how]
    environment = clean | {'JAX_PLATFORMS': 'cpu'} | environment
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return map(int, out.stdout.split())


@pytest.mark.skipif(sys.platform != 'linux', reason='of glibc')
def test_a_step_asks_the_system_for_its_memory_once():
    kept, pages = steps('keep')
    if not kept:
        pytest.skip('another C library, or an accelerator')
    _, plain = steps('plain')
    if plain < 8000:
        pytest.skip('pages are larger than 4 KB here, or another library keeps them')
    assert pages < 100


def test_what_the_user_says_stays():
    kept, _ = steps('keep', MALLOC_ARENA_MAX='2')
    assert not kept
