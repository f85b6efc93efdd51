"""What a config may name, and the options of it: python -m ssljax.describe nets, or nets.conv."""

import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_origin

from ssljax import cli, methods
from ssljax.kinds import Apart, Elsewhere, Interval, Least, Named, Pattern, Range
from ssljax.names import choose
from ssljax.resolve import fields, peeled

GROUPS = ('methods', 'nets', 'views', 'data', 'optim', 'evals', 'losses')


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.describe', __doc__, 'groups: ' + ', '.join(GROUPS))
    parser.add_argument('names', nargs='*', metavar='GROUP[.NAME]')
    print('\n\n'.join(map(told, parser.parse_args(argv).names)) or parser.format_help().strip())
    return 0


def told(dotted: str) -> str:
    """A group: its names, a line each. A name: its docstring, then its options with defaults."""
    group, _, name = dotted.partition('.')
    found = functions(choose(group, GROUPS, 'group'))
    if not name:
        return '\n'.join(f'{n:24}  {text(f).splitlines()[0]}' for n, f in found.items())
    function, rows = found[choose(name, found, f'name in {group}')], []
    source = inspect.getsource(getattr(function, 'func', function))  # with comments on options
    for option, field in fields(function).items():
        default = '' if field.default is field.empty else f'= {field.default!r}'
        comment = re.search(rf'^ +{option}:.*  (# .*)$', source, re.MULTILINE)
        rows.append((option, default, kind(field.annotation), comment[1] if comment else ''))
    widths = [max(map(len, column)) for column in zip(*rows)]
    table = ['  ' + '  '.join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return '\n'.join([dotted, text(function), '', 'options:' if rows else 'no options', *table])


def functions(group: str) -> dict[str, Callable]:
    """The functions of a group by name."""
    package = importlib.import_module(f'ssljax.{"augment" if group == "views" else group}')
    if group == 'losses':
        return {name: getattr(package, name) for name in package.__all__}
    if group == 'methods':
        return {name: methods.function(name) for name in methods.offered()}
    return {name: getattr(f, 'run', f) for name, f in sorted(package.offered().items())}


def text(function: Callable) -> str:
    """What a function says of itself; of a method and an evaluator, what its file says first."""
    plain = getattr(function, 'func', function)  # vit_tiny is vit with some options
    file, own = (inspect.getdoc(of) or '' for of in (sys.modules[plain.__module__], plain))
    group = plain.__module__.split('.')[1]
    return {'methods': file, 'evals': f'{file}\n\n{own}'}.get(group, own)


def kind(annotation: Any) -> str:
    """An annotation in words: Annotated[float, Range(0, 1)] is 'float from 0 to 1'."""
    base, note = peeled(annotation)
    if isinstance(base, list):  # the arguments of a function
        return f'[{", ".join(map(kind, base))}]'
    inside, origin = get_args(base), get_origin(base)
    if any(
        getattr(one, '__name__', '').endswith('.Array') for one in inside
    ):  # or what becomes one
        return 'array | none' if types.NoneType in inside else 'array'
    parts = [kind(one) for one in inside]
    if isinstance(note, Named):
        return f'{note.what} spec'
    if isinstance(note, Range | Interval | Least | Pattern | Apart | Elsewhere):
        return f'{kind(base)} {note}'
    if parts and not isinstance(origin, type | None) or origin is types.UnionType:
        return ' | '.join(parts)
    if parts:
        return f'{origin.__name__}[{", ".join(parts)}]'
    return {types.NoneType: 'none', ...: '...'}.get(base) or getattr(base, '__name__', str(base))


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
