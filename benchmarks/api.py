"""The page docs/api-losses.md, from docstrings; benchmarks/tables.py calls it."""

import ast
from pathlib import Path

FOLDER = Path(__file__).parents[1] / 'ssljax' / 'losses'


def losses() -> str:
    """Of every function: how it is called, its first line, its paper, equation and shapes."""
    parts = []
    for path in sorted(FOLDER.glob('[a-z]*.py')):
        tree = ast.parse(path.read_text())
        first = (ast.get_docstring(tree) or '').split('\n\n')[0].replace('\n', ' ')
        parts.append(f'## {path.stem}\n\n{first}')
        parts += [
            section(node)
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith('_')
        ]
    return '\n\n'.join(parts)


def section(function: ast.FunctionDef) -> str:
    title, *paragraphs = (ast.get_docstring(function) or '').split('\n\n')
    first = title.replace('\n', ' ')
    told = '\n\n'.join(paragraphs[:1])
    return f'### {function.name}\n\n`{call(function)}`\n\n{first}\n\n```text\n{told}\n```'


def call(function: ast.FunctionDef) -> str:
    """nt_xent(z1, z2, *, temperature=0.5, ...): without types."""
    options = [
        name.arg + (f'={ast.unparse(default)}' if default else '')
        for name, default in zip(function.args.kwonlyargs, function.args.kw_defaults)
    ]
    names = [one.arg for one in function.args.args] + (['*', *options] if options else [])
    return f'{function.name}({", ".join(names)})'
