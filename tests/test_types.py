"""What a type checker of a user's says: of the losses, and of a program that calls them."""

import os
import subprocess
import sys

import jobs
import pytest

PROGRAM = """
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses

z1, z2, mask = jnp.eye(4), np.eye(4, dtype=np.float32), jnp.ones(4, bool)


def total(w: jax.Array) -> jax.Array:
    value = losses.nt_xent(z1 @ w, z2, temperature=0.1, where=mask).mean()
    value += losses.info_nce(z1 @ w, z2, block=2, symmetric=True).mean()
    value += losses.barlow_twins(z1 @ w, z2)
    value += losses.vicreg(z1 @ w, z2, covariance=w.sum())
    value += losses.sup_con((z1 @ w)[:, None], np.arange(4) // 2).mean()
    value += losses.cross_entropy(z1 @ w, jnp.arange(4), smoothing=0.1).mean()
    value += losses.batch_hard_triplet(z1 @ w, np.arange(4) // 2, margin=None).mean()
    value += losses.mmd(z1 @ w, z2, kernel=losses.gaussian_kernel(1.0, 2.0))
    value += losses.gaussian_mixture(w[0], w, w, z2).mean()
    value += losses.nt_xent([[1.0, 0.0], [0.0, 1.0]], np.eye(2), where=[True, True]).mean()
    value += losses.cross_entropy([w[0], w[1]], [0, 1]).mean()
    value += losses.swav([[[1.0, 2.0], [2.0, 1.0]]] * 2, rounds=3).mean()
    value += losses.r1(lambda x: (x @ w).sum(-1), z2).mean()
    return value


slope: Callable[[jax.Array], jax.Array] = jax.grad(total)
center: jax.Array = losses.dino_center(jnp.zeros(2), jnp.ones((2, 2, 2)))
sigma, u = losses.spectral_norm(z1, jnp.ones(4))
print(slope(jnp.eye(4) + 0.1).sum(), center, float(sigma))
"""


def check(*options, cwd):
    command = [sys.executable, '-m', 'mypy', '--follow-imports=silent', '--cache-dir=cache']
    environment = {**os.environ, 'MYPYPATH': str(jobs.ROOT)}
    told = dict(cwd=cwd, env=environment, capture_output=True, text=True)
    return subprocess.run([*command, *options], **told).stdout


@pytest.mark.slow
def test_losses_and_a_program_of_a_user_are_well_typed(tmp_path):
    pytest.importorskip('mypy')
    exec(compile(PROGRAM, 'program.py', 'exec'), {})  # it also runs
    assert 'Success' in check('-p', 'ssljax.losses', cwd=tmp_path)
    (tmp_path / 'right.py').write_text(PROGRAM)
    (tmp_path / 'wrong.py').write_text(PROGRAM.replace('temperature=0.1', "temperature='cold'"))
    found = check('right.py', 'wrong.py', cwd=tmp_path)
    assert found.startswith('wrong.py:14: error') and 'Found 1 error in 1 file' in found, found
