"""Tier 2 of every method passed, with the files that are here."""

import json
import os

import jobs
import pytest
import tiers


def test_the_default_suite_proves_methods_that_exist():
    assert set(tiers.WIDEST) <= set(jobs.METHODS)


@pytest.mark.parametrize('method', jobs.METHODS)
def test_no_proof_is_stale(method):
    problem = tiers.problem(method)
    assert not problem, f'{method}: {problem}; type: python -m pytest --tier=2 --stale'
    proof = json.loads(tiers.PROOFS.read_text())[method]
    kinds = {name.split('::')[1].split('[')[0] for name in proof['passed']}
    needed = {'test_learns', 'test_every_keyword_of_a_method_makes_another_run'}
    assert len(kinds) >= 6 and needed <= kinds, f'not all of tier 2: {kinds}'
    oracle = f'tests/methods/test_{method}.py'
    assert any(name.startswith(oracle) for name in proof['passed']), f'without {oracle}'


WORKERS = pytest.mark.skipif('PYTEST_XDIST_WORKER' not in os.environ, reason='one process')


@WORKERS
@pytest.mark.parametrize('method', jobs.METHODS[:1])
def test_one_worker_has_all_of_a_method(method, request):
    """pytest-xdist groups by what it writes behind the name; where it cannot, it says nothing."""
    assert request.node.nodeid.endswith(f'@{method}')


@WORKERS
def test_one_worker_has_all_of_a_file(request):
    assert request.node.nodeid.endswith('@test_tiers')


FILES = {
    'ssljax/methods/toy.py': 'from ssljax.losses import family, third\n\nfamily.used(third)\n',
    'configs/toy.py': 'steps = 1\n',
    'tests/methods/test_toy.py': 'steps = 1\n',
    'ssljax/methods/other.py': 'steps = 1\n',
    'ssljax/losses/__init__.py': 'from ssljax.losses.more import third\n',
    'ssljax/losses/more.py': 'def third(x):\n    return x\n',
    'ssljax/losses/_rows.py': 'ONE = 1\nTWO = 2\n',
    'ssljax/losses/family.py': (
        'from ssljax.losses._rows import ONE, TWO\n\n\n'
        'def used(x):\n    return _helper(x)\n\n\ndef _helper(x):\n    return ONE\n\n\n'
        'def unused(x):\n    return TWO\n'
    ),
}


@pytest.mark.parametrize(
    'file, old, new, matters',
    [
        ('ssljax/methods/toy.py', '(third)', '(third, 2)', True),
        ('configs/toy.py', '1', '2', True),
        ('tests/methods/test_toy.py', '1', '2', True),
        ('ssljax/methods/other.py', '1', '2', False),
        ('ssljax/losses/family.py', '_helper(x)\n\n', '_helper(2 * x)\n\n', True),
        ('ssljax/losses/family.py', 'return ONE', 'return 3', True),
        ('ssljax/losses/family.py', 'return TWO', 'return 3', False),
        ('ssljax/losses/_rows.py', 'ONE = 1', 'ONE = 3', True),
        ('ssljax/losses/_rows.py', 'TWO = 2', 'TWO = 3', False),
        ('ssljax/losses/more.py', 'return x', 'return -x', True),
        ('ssljax/losses/family.py', 'def used(x):', 'def used(x: int) -> int:', False),
        ('ssljax/losses/family.py', 'def used(x):', 'def used(x: TWO):', False),
        ('configs/toy.py', 'steps = 1', 'steps: int = 1', False),
        ('ssljax/losses/more.py', 'return x', '"""The third."""\n    return x  # as it is', False),
    ],
)
def test_what_a_proof_depends_on(file, old, new, matters, tmp_path, monkeypatch):
    """A method, its config and oracle, the losses that it calls and what these call; what they say
    to the machine, not to a reader."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(tiers, 'ROOT', tmp_path)
    before, text = tiers.digest('toy'), FILES[file]
    assert text.count(old) == 1
    (tmp_path / file).write_text(text.replace(old, new))
    assert (tiers.digest('toy') != before) == matters
