"""Every public function with four options or more names each of them in its docstring."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / 'ssljax'
LEAST = 4  # options from which on a docstring has to name them


def documented():
    """Public functions outside methods/, whose keywords are those of a paper: id -> node."""
    functions = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        if path.parent.name == 'methods':
            continue
        for node in ast.parse(path.read_text()).body:
            public = isinstance(node, ast.FunctionDef) and not node.name.startswith('_')
            if public and len(node.args.kwonlyargs) >= LEAST:
                functions[f'{path.relative_to(PACKAGE)}:{node.name}'] = node
    return functions


FUNCTIONS = documented()


@pytest.mark.parametrize('name', FUNCTIONS)
def test_a_docstring_names_every_option(name):
    function = FUNCTIONS[name]
    text = ast.get_docstring(function) or ''
    options = [argument.arg for argument in function.args.kwonlyargs]
    absent = [option for option in options if not re.search(rf'\b{option}\b', text)]
    assert not absent, f'{name} says nothing of {", ".join(absent)}'


def test_functions_of_all_packages_are_found():
    folders = {name.partition('/')[0] for name in FUNCTIONS}
    assert {'augment', 'data', 'evals', 'losses', 'nets', 'optim.py:lars'} <= folders
