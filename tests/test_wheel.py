"""An installed wheel trains without a checkout."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version

import jobs
import pytest


@pytest.mark.slow
def test_an_installed_wheel_trains_without_a_checkout(tmp_path):
    pip = [sys.executable, '-m', 'pip', '--quiet', '--disable-pip-version-check']
    source = tmp_path / 'source'  # a build leaves folders behind
    tracked = ['pyproject.toml', 'README.md', 'LICENSE', 'ssljax', 'configs']
    source.mkdir()
    for name in tracked:
        os.symlink(jobs.ROOT / name, source / name)
    made = [*pip, 'wheel', str(source), '--no-deps', '--no-build-isolation', '-w', str(tmp_path)]
    subprocess.run(made, check=True, capture_output=True)
    (wheel,) = tmp_path.glob('*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = [p.relative_to(jobs.ROOT) for p in (jobs.ROOT / 'ssljax').rglob('*.py')]
    assert not {str(path) for path in ours} - names, 'a folder is not in pyproject.toml: packages'
    assert {f'ssljax/configs/{method}.py' for method in jobs.METHODS} <= names
    assert 'ssljax/py.typed' in names, 'a type checker would not read the annotations'
    site, empty = tmp_path / 'site', tmp_path / 'empty'
    empty.mkdir()
    install = [*pip, 'install', str(wheel), '--no-deps', '--target', str(site)]
    subprocess.run(install, check=True, capture_output=True)
    train = ['train', '--config=simclr:smoke', '--workdir=run']
    code = f"""
import runpy, sys, ssljax
sys.argv = {train}
try:
    runpy.run_module('ssljax.train', run_name='__main__')  # as python -m
except SystemExit as end:
    assert not end.code, end.code
print(ssljax.fit('gpt:smoke', 'fitted', evals={{}}).step, ssljax.__file__)
"""
    # one device, and what makes programs compile quickly: as in conftest.py
    quick = '--xla_cpu_parallel_codegen_split_count=1'
    if version('jaxlib') < '0.12':
        quick += ' --xla_cpu_use_fusion_emitters=false'
    environment = {**os.environ, 'PYTHONPATH': str(site), 'XLA_FLAGS': quick}
    command = [sys.executable, '-c', code]
    out = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert 'knn accuracy' in out.stdout and (empty / 'run' / 'results.json').exists()
    step, path = out.stdout.splitlines()[-1].split()
    assert step == '4' and path.startswith(str(site))
