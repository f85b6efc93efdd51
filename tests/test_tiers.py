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
    assert len(kinds) >= 5 and 'test_learns' in kinds, f'not all of tier 2: {kinds}'


@pytest.mark.parametrize('method', jobs.METHODS[:1])
def test_one_worker_has_all_of_a_method(method, request):
    """pytest-xdist groups by what it writes behind the name; where it cannot, it says nothing."""
    if 'PYTEST_XDIST_WORKER' not in os.environ:
        pytest.skip('one process')
    assert request.node.nodeid.endswith(f'@{method}')


def test_what_a_proof_depends_on(tmp_path, monkeypatch):
    """A method file, a config, a loss, an oracle; not those of another method."""
    names = ['ssljax/methods/toy.py', 'configs/toy.py', 'tests/methods/test_toy.py']
    names += ['ssljax/losses/used.py', 'ssljax/losses/unused.py', 'ssljax/methods/other.py']
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text('from ssljax.losses import used\n')
    monkeypatch.setattr(tiers, 'ROOT', tmp_path)
    before = tiers.digest('toy')
    for name in names:
        (tmp_path / name).write_text('from ssljax.losses import used\n# another line\n')
        after, changes = tiers.digest('toy'), 'unused' not in name and 'other' not in name
        assert (after != before) == changes, name
        before = after
