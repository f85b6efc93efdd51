"""The command line of training and evaluation; it imports no jax, so --help is immediate."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ssljax.names import Mistake, nearest


def parser(prog: str, title: str, epilog: str = '') -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f'python -m {prog}',
        description=title,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def overrides(
    parser: argparse.ArgumentParser, rest: Sequence[str], prefix: str = '--config.'
) -> list[tuple[str, str]]:
    """[('a.b', 'value')] of '--config.a.b=value' and '--config.a.b value'."""
    found, rest = [], list(rest)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition('=')
        if not name.startswith(prefix):
            flags = [f for action in parser._actions for f in action.option_strings]
            raise Mistake(
                f'unknown argument {name}{nearest(name, [*flags, prefix + "KEY"])};'
                f' offered: {", ".join(flags)}, {prefix}KEY=VALUE'
            )
        if not equals:
            if not rest:
                raise Mistake(f'{name} needs a value: {name}=VALUE')
            value = rest.pop(0)
        found.append((name.removeprefix(prefix), value))
    return found


def guarded(main: Callable[[], int]) -> int:
    """Runs a program; a user's mistake is one line and exit code 2, a bug keeps its traceback."""
    try:
        return main()
    except Mistake as mistake:
        print(f'error: {mistake}', file=sys.stderr)
        return mistake.code


def writable(workdir: Path) -> Path:
    """The workdir, if it can be made; makes nothing."""
    parent = workdir.absolute()
    while not parent.exists() and not parent.is_symlink():
        parent = parent.parent
    if not parent.is_dir():
        raise Mistake(f'workdir {workdir} cannot be made: {parent} is not a directory')
    if not os.access(parent, os.W_OK | os.X_OK):
        raise Mistake(f'workdir {workdir} cannot be made: {parent} is not writable')
    return workdir


def span(seconds: float) -> str:
    """A time as people write it: 1:02:03."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f'{hours}:{minutes:02}:{seconds % 60:02}' if hours else f'{minutes}:{seconds % 60:02}'
