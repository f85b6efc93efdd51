"""Which tests run: by default tier 1 of all methods, and tier 2 of those that differ most.

    python -m pytest                          tier 1, tier 2 of WIDEST but learning, all other tests
    python -m pytest --tier=2 [--shard=1/4]   tier 2 of all methods: results/proofs.json
    python -m pytest --tier=2 --stale         what has no proof as it is now

A tier 2 test is marked `slow` and has a method as its parameter, or it is of the oracle of a method
(tests/methods/). Whether a method learns is judged by chance and takes longest, so that is never
asked by default (marked `learning`). What passed is written down with a digest of what it depends
on, and a default test (test_tiers.py) demands that no proof is stale. So the default suite grows by
tier 1 alone when a method comes: seconds. An oracle also runs where its file, or a word, is asked
for.
"""

import collections
import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import digests
import pytest

ROOT = Path(__file__).parents[1]
PROOFS = ROOT / 'results/proofs.json'
METHODS = {path.stem for path in (ROOT / 'ssljax/methods').glob('[a-z]*.py')}
# refresh, teacher, tokens, masks, pairs, turns
WIDEST = ('deepcluster', 'dino', 'gpt', 'mae', 'simclr', 'wgan_gp')


def digest(method: str) -> str:
    """Of the method's program, its config, its oracle and the losses that it calls."""
    file = ROOT / f'ssljax/methods/{method}.py'
    files = [file, ROOT / f'configs/{method}.py', ROOT / f'tests/methods/test_{method}.py']
    parts = [digests.program(path.read_text()) for path in files if path.exists()]
    parts += [text for _, text in sorted(digests.called(file, ROOT / 'ssljax/losses').items())]
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:16]


def problem(method: str) -> str:
    """Why the proof of a method does not hold, or ''."""
    proof = json.loads(PROOFS.read_text()).get(method, {}) if PROOFS.exists() else {}
    if not proof:
        return 'it was never proven'
    if proof['digest'] != digest(method):
        return 'it has changed since it was proven'
    return ', '.join(proof['failed'])


def passed(method: str) -> list[str]:
    """The tests that a method has passed as it is."""
    return [] if problem(method) else json.loads(PROOFS.read_text())[method]['passed']


def pytest_addoption(parser):
    parser.addoption('--tier', choices=('2',), help='tier 2 of all methods, and no other test')
    parser.addoption('--stale', action='store_true', help='of methods whose proof is out of date')
    parser.addoption('--shard', default='1/1', metavar='I/N', help='of the methods of --tier=2')


def about(item) -> str:
    """The method, or the case of a loss, that a test is about, or ''."""
    values = getattr(getattr(item, 'callspec', None), 'params', {})
    if is_oracle(item):
        return item.path.stem.removeprefix('test_')
    if values.get('method') in METHODS:  # a test may call something else a method
        return values['method']
    return getattr(values.get('case'), 'name', '')


def is_oracle(item) -> bool:
    return item.path.parent.name == 'methods'


def group(item) -> str:
    """What one worker has all of, and so its job and its programs: a method, or a file."""
    return about(item) or item.path.stem


def method_of(item) -> str:
    """The method that a tier 2 test is about, or ''."""
    return about(item) if is_oracle(item) or item.get_closest_marker('slow') else ''


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config, items):
    names = collections.defaultdict(list)  # of the tests of each method, before -k
    for item in items:
        names[method_of(item)].append(item.nodeid)
    methods = sorted(names.keys() - {''})
    proven: set[str] = set()
    asked = WIDEST
    if config.getoption('tier'):
        shard, shards = map(int, config.getoption('shard').split('/'))
        if config.getoption('stale'):
            proven = {test for method in methods for test in passed(method)}
            methods = [method for method in methods if not proven.issuperset(names[method])]
        asked = methods[shard - 1 :: shards]
    everything = config.args_source != pytest.Config.ArgsSource.ARGS and not config.option.keyword
    kept = []
    for item in items:
        method = method_of(item)
        name = about(item)
        item.add_marker(pytest.mark.xdist_group(group(item)))
        item.user_properties.append(('method', method))
        item.user_properties.append(('about', '' if method else name))
        item.user_properties.append(('tests', names[method] if method else []))
        if config.getoption('tier'):
            wanted = method in asked and item.nodeid not in proven
        elif is_oracle(item):
            wanted = method in asked or not everything
        else:
            wanted = method in ('', *asked) and not item.get_closest_marker('learning')
        if wanted:
            kept.append(item)
    # tests of one method follow one another, also in one process; what starts processes takes long:
    # at the end, one worker would wait for another
    kept.sort(
        key=lambda item: (bool(about(item)) or not item.get_closest_marker('slow'), about(item))
    )
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


class Record:
    """What passed, by method. A proof is of all its tests: those that ran, and what it had passed
    before as it is."""

    def __init__(self):
        self.tests: dict[str, dict[str, bool]] = {}
        self.whole: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report):
        found = dict(report.user_properties)
        if method := found.get('method'):
            self.whole[method] = found['tests']
            tests = self.tests.setdefault(method, {})
            name = report.nodeid.partition('@')[0]  # xdist writes the group behind it
            tests[name] = tests.get(name, True) and report.passed
            self.seconds[method] = self.seconds.get(method, 0) + report.duration

    def pytest_sessionfinish(self, session):
        named = session.config.args_source == pytest.Config.ArgsSource.ARGS  # some files alone
        if hasattr(session.config, 'workerinput') or named:
            return
        proofs = json.loads(PROOFS.read_text()) if PROOFS.exists() else {}
        for method, tests in self.tests.items():
            before = dict.fromkeys(passed(method), True)
            tests = {name: (before | tests).get(name) for name in self.whole[method]}
            if None in tests.values():
                continue
            spent = proofs[method]['seconds'] if before else 0
            proofs[method] = {
                'digest': digest(method),
                'passed': sorted(name for name, good in tests.items() if good),
                'failed': sorted(name for name, good in tests.items() if not good),
                'seconds': round(spent + self.seconds[method], 1),
                'python': platform.python_version(),
                'versions': {name: version(name) for name in ('jax', 'jaxlib', 'flax', 'optax')},
            }
        PROOFS.write_text(json.dumps(dict(sorted(proofs.items())), indent=1) + '\n')


class Seconds:
    """What tier 1 of each method takes: the slowest ten are told."""

    def __init__(self):
        self.spent: dict[str, float] = {}

    def pytest_runtest_logreport(self, report):
        name = dict(report.user_properties).get('about')
        if name:
            self.spent[name] = self.spent.get(name, 0) + report.duration

    def pytest_terminal_summary(self, terminalreporter):
        spent = {name: seconds for name, seconds in self.spent.items() if name in METHODS}
        slowest = sorted(spent, key=spent.get, reverse=True)[:10]
        if slowest:
            each = ', '.join(f'{name} {spent[name]:.1f} s' for name in slowest)
            terminalreporter.write_line(f'tier 1, the slowest methods: {each}')


def pytest_configure(config):
    if not hasattr(config, 'workerinput'):
        config.pluginmanager.register(Seconds())
    if config.getoption('tier'):
        config.pluginmanager.register(Record())
