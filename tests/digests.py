"""What a file says to the machine: comments, docstrings and annotations do not change it.

A proof of a method, and the row of a planted fault, hold until the program that they are about
changes. Of the losses, those count that a method calls, and what these call.
"""

import ast
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
LOSSES = 'ssljax.losses'


@functools.cache
def program(text: str) -> str:
    """A file in one spelling, without what only readers need."""
    return said(ast.parse(text))


def said(tree: ast.AST) -> str:
    """A part of a program in one spelling; the tree is changed."""
    for node in ast.walk(tree):
        if isinstance(node, WITH_DOCSTRING) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    return ast.unparse(Plain().visit(tree))


class Plain(ast.NodeTransformer):
    """`x: T = value` becomes `x = value`."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if node.value is None:  # a field without a default
            node.annotation = ast.Constant(None)
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def called(file: Path, losses: Path) -> Mapping[tuple[str, str], str]:
    """(module, name) -> program, of the losses in a file of methods and of what these call."""
    found: dict[tuple[str, str], str] = {}

    def add(module: str, name: str) -> None:
        path = losses / f'{module}.py'
        defined, imported = names(path, path.read_text()) if path.exists() else ({}, {})
        if name in imported:
            add(*imported[name])
        elif name in defined and (module, name) not in found:
            found[module, name] = said(ast.parse(ast.unparse(defined[name])))
            for node in ast.walk(ast.parse(found[module, name])):
                if isinstance(node, ast.Name):
                    add(module, node.id)

    tree = ast.parse(file.read_text())
    _, imported = names(file, file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in imported:
            add(*imported[node.id])  # a loss by its name
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = imported.get(node.value.id, ('', ''))
            if module == '__init__':  # a file of losses, then one of its functions
                add(name, node.attr)
    return found


@functools.cache
def names(path: Path, text: str) -> tuple[dict[str, ast.stmt], dict[str, tuple[str, str]]]:
    """What a file defines, and what it takes from the losses, as (module, name)."""
    defined, imported = {}, {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith(LOSSES):
            module = node.module[len(LOSSES) :].lstrip('.') or '__init__'
            imported |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
        for name in bound(node):
            defined[name] = node
    return defined, imported


def bound(node: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to something."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (t.id for t in targets if isinstance(t, ast.Name))
