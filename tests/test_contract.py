"""The contract, by listing the modules: names, sizes, signatures, words."""

import ast
import inspect
import re

import dead
import jax
import jobs
import pytest

import ssljax.augment
import ssljax.losses
from ssljax import methods
from ssljax.names import Mistake

PACKAGE = jobs.ROOT / 'ssljax'
FILES = sorted(PACKAGE.rglob('*.py'))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

CONTRACT = {'init': ['key', 'batch'], 'after': ['key', 'state', 'batch']}
RULED_OUT = re.compile(r'\b(rngs?|iterations?|target_params|momentum_encoder|centre|colour)\b')
SIZES = {'step.py': 80, 'train.py': 220}


def functions(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]


@pytest.mark.parametrize('method', jobs.METHODS)
def test_functions_have_the_contracts_parameters(method):
    one = jobs.smoke(method)
    functions = {'init': one.method.init, 'after': one.method.after, **one.method.readouts}
    functions |= {f'loss of {name}': turn.loss for name, turn in one.method.turns.items()}
    for name, function in functions.items():
        if function is None:
            continue
        signature = inspect.signature(function).parameters.values()
        plain = [p.name for p in signature if p.kind is not p.KEYWORD_ONLY]
        assert plain == CONTRACT.get(name, ['key', 'state', 'batch']), name
        if name in ('init', 'after') or name.startswith('loss'):
            assert len(plain) == len(signature), f'{name} has no options'


@pytest.mark.parametrize('method', jobs.METHODS)
def test_memory_is_usable_at_step_0(method):
    memory = jobs.smoke(method).fresh().memory
    assert not [name for name in memory if RULED_OUT.search(name)]
    for leaf in jax.tree.leaves(memory):
        assert jax.numpy.isfinite(leaf).all()


@pytest.mark.parametrize('method', jobs.METHODS)
def test_a_methods_file(method):
    """One public function of the file's name, run first, keywords after; a reference; 120 lines."""
    path = PACKAGE / 'methods' / f'{method}.py'
    tree, text = TREES[path], path.read_text()
    public = [n.name for n in tree.body if isinstance(n, ast.FunctionDef) and n.name[0] != '_']
    assert public == [method]
    arguments = next(n for n in tree.body if getattr(n, 'name', '') == method).args
    assert [a.arg for a in arguments.args] == ['run'] and arguments.kwonlyargs
    assert re.search(r'\b(19|20)\d\d\b', ast.get_docstring(tree)), 'a reference with its year'
    assert len(text.splitlines()) <= 120


@pytest.mark.parametrize('name, lines', SIZES.items())
def test_the_core_keeps_its_size(name, lines):
    assert len((PACKAGE / name).read_text().splitlines()) <= lines


def test_nothing_outside_knows_a_method():
    for path, tree in TREES.items():
        if path.parent.name == 'methods':
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom | ast.Import):
                names = [alias.name for alias in node.names]
                module = getattr(node, 'module', '') or ''
                assert not module.startswith('ssljax.methods'), path
                assert not any(name.startswith('ssljax.methods.') for name in names), path
            if isinstance(node, ast.Compare):
                words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                named = set(words) & set(jobs.METHODS)
                assert 'method' not in ast.unparse(node) or not named, ast.unparse(node)


@pytest.mark.parametrize('method', jobs.METHODS)
def test_labels_are_read_only_where_they_are_the_task(method):
    """On the way to a loss, a new memory entry, what `after` makes, or a readout.

    A method that learns from labels of people refuses data that have none.
    """
    one = jobs.smoke(method)
    if 'label' not in one.run.row:
        pytest.skip('no labels in its data')
    programs = [dead.of_step(method, acting) for acting in jobs.acting_sets(one)]
    programs += [dead.of_readout(method, name) for name in one.method.readouts]
    reads = any('batch/label' in program.used() for program in programs)
    try:
        methods.function(method)(one.run._replace(classes=0), **one.config['model'])
    except Mistake as mistake:
        assert reads and 'label' in str(mistake)
    else:
        assert not reads


def test_methods_open_no_file_and_name_no_device():
    for path, tree in TREES.items():
        if path.parent.name == 'methods':
            names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            assert not names & {'open', 'devices', 'axis_name', 'pmap', 'Path'}, path


def test_key_comes_first_and_options_are_keyword_only():
    for package in ('augment', 'losses', 'memory.py', 'methods'):
        for path, tree in TREES.items():
            if package in (path.name, path.parent.name):
                for function in functions(tree):
                    names = [a.arg for a in function.args.args]
                    if 'key' in names and 'self' not in names:
                        before = names[: names.index('key')]
                        assert before in ([], ['view'], ['net']), f'{path.name}: {function.name}'


def test_losses_are_named_once_and_all_are_offered():
    offered = ssljax.losses.__all__
    assert len(set(offered)) == len(offered)
    for name in offered:
        parameters = inspect.signature(getattr(ssljax.losses, name)).parameters.values()
        for p in parameters:
            if p.default is not inspect.Parameter.empty:
                assert p.kind is p.KEYWORD_ONLY, f'{name}: {p.name}'
        assert getattr(ssljax.losses, name).__doc__
    public = {
        f.name
        for path, tree in TREES.items()
        if path.parent.name == 'losses' and not path.stem.startswith('_')
        for f in tree.body
        if isinstance(f, ast.FunctionDef) and not f.name.startswith('_')
    }
    assert public == set(offered)


def test_words_that_are_ruled_out_are_not_used():
    for path, tree in TREES.items():
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {a.arg for f in functions(tree) for a in f.args.args + f.args.kwonlyargs}
        found = {name for name in names if RULED_OUT.search(name)} - {'rngs'}  # linen's own word
        assert not found, f'{path.relative_to(PACKAGE)}: {found}'


def test_no_drawers():
    for path in FILES:
        assert path.stem not in ('utils', 'util', 'helpers', 'misc', 'common')
        assert len(path.read_text().splitlines()) <= 400, path


def test_every_planted_fault_has_its_place():
    import faults

    for one in faults.FAULTS:
        text = (jobs.ROOT / one['file']).read_text()
        found = text.count(one['old'])
        assert found == 1, f'{one["told"]}: found {found} times; bring tests/faults.toml up to date'
        ast.parse(text.replace(one['old'], one['new']))
        assert faults.runs(one['file'])
    told = [one['told'] for one in faults.FAULTS]
    assert len(set(told)) == len(told)
