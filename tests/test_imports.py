"""What importing costs, and which way imports point."""

import ast
import subprocess
import sys

import jobs
import pytest

PACKAGE = jobs.ROOT / 'ssljax'


def loaded(code):
    """Top-level packages loaded by a fresh interpreter that runs `code`."""
    code += "\nimport sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    out = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=jobs.ROOT
    )
    assert out.returncode == 0, out.stderr
    return set(out.stdout.split())


HEAVY = {
    'tensorflow', 'tensorflow_datasets', 'flax', 'optax', 'orbax', 'ml_collections', 'chex',
    'sklearn', 'matplotlib', 'PIL', 'torch',
}  # fmt: skip
EVERY_LOSS = """
import sys
sys.path.insert(0, 'tests/losses')
import cases, cases_modeling, jax, jax.numpy as jnp, numpy as np
from ssljax import losses

def number(x):
    return jnp.asarray(x, jnp.float32 if np.asarray(x).dtype.kind == 'f' else None)

run = set()
for case in cases.CASES:
    args = map(number, case.draw(np.random.default_rng(0), 6))
    jax.eval_shape(lambda *args: case.loss(*args, **case.options), *args)
    run.add(case.name.split()[0])
key, x, critic = jax.random.key(0), jnp.ones((2, 3)), lambda x: x.sum(1)
losses.gradient_penalty(key, critic, x, 0 * x), losses.r1(critic, x)
losses.gumbel_softmax(key, x, hard=True), losses.dequantize(key, x), losses.bits_per_dim(x[0], 3)
losses.dino_center(x[0], x[:, None]), losses.dino_temperature(3, rise=10)
run |= {'gradient_penalty', 'r1', 'gumbel_softmax', 'dequantize', 'bits_per_dim'}
losses.sinkhorn_center(x, temperature=1.0), losses.assignment(x), losses.nearest_row(x, x)
run |= {'dino_center', 'dino_temperature', 'sinkhorn_center', 'assignment', 'nearest_row'}
run |= cases_modeling.apart()
assert run == set(losses.__all__), set(losses.__all__) - run
"""


def test_every_loss_runs_with_jax_alone():
    found = loaded(EVERY_LOSS)
    assert not found & HEAVY
    assert 'jax' in found


def test_the_package_itself_is_light():
    assert not loaded('import ssljax, ssljax.config') & {'jax', 'numpy', 'ml_collections'}


def test_tensorflow_is_loaded_only_by_its_own_route():
    code = 'from ssljax import job, resolve\njob.make(resolve.resolve("configs/gpt.py:smoke"))'
    assert 'tensorflow' not in loaded(code)


# who may be imported by whom: a package's own level and all below
LEVELS = (
    ('names', 'kinds', 'cache', 'method', 'readouts', 'processes', 'collapse', 'program'),
    ('signals', 'lock', 'sealed', 'written'),
    ('form', 'config', 'values', 'cli'),
    ('losses', 'sharding', 'memory', 'cluster', 'chains', 'search'),
    ('nets', 'augment', 'data', 'depth', 'optim', 'log'),
    ('methods', 'step', 'checkpoint', 'evals'),
    ('sweep', 'resolve', 'watch'),
    ('model',),
    ('reopen', 'job', 'trivial', 'results', 'console'),
    ('workdir', 'dry_run', 'describe'),
    ('plan',),
    ('evaluate', 'compare'),
    ('train',),
)
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}


def rooms(path):
    """The rooms of ours that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == 'ssljax':
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or '').startswith('ssljax.'):
            yield node.module.split('.')[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split('.')[1] for a in node.names if a.name.startswith('ssljax.'))


FILES = [p for p in sorted(PACKAGE.rglob('*.py')) if p != PACKAGE / '__init__.py']


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    mine = path.relative_to(PACKAGE).parts[0].removesuffix('.py')
    assert mine in LEVEL, f'{path.name} has no level: add it to LEVELS'
    for other in rooms(path):
        if other in LEVEL and other != mine:
            assert LEVEL[other] <= LEVEL[mine], f'{mine} may not import {other}'
            assert mine != 'losses', 'losses import nothing of ours'
