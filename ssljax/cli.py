"""The command line of training and evaluation; it imports no jax, so --help is immediate."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ssljax.names import Mistake, nearest


def parser(prog: str, title: str, epilog: str = '') -> argparse.ArgumentParser:
    """A parser of one command. prog: a module, or a file by its path from the root."""
    made = argparse.ArgumentParser(
        prog=f'python {prog}' if prog.endswith('.py') else f'python -m {prog}',
        description=title,
        epilog=epilog,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.error = mistaken  # one line, as of any other mistake
    return made


def mistaken(line: str) -> None:
    raise Mistake(f'{line}; --help says what there is')


def overrides(
    parser: argparse.ArgumentParser,
    rest: Sequence[str],
    prefix: str = '--config.',
    fields: Collection[str] = (),
) -> list[tuple[str, str]]:
    """[('a.b', 'value')] of '--config.a.b=value' and '--config.a.b value'.

    fields: names that stand behind the prefix, for whoever forgets it.
    """
    found, rest = [], list(rest)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition('=')
        if not name.startswith(prefix):
            flags = [f for action in parser._actions for f in action.option_strings]
            bare = name.lstrip('-')
            field = bare.partition('.')[0] in fields
            close = f' (did you mean {prefix}{bare}?)' if field else nearest(name, flags)
            raise Mistake(
                f'unknown argument {name}{close}; offered: {", ".join(flags)}, {prefix}KEY=VALUE'
            )
        if not equals:
            if not rest:
                raise Mistake(f'{name} needs a value: {name}=VALUE')
            value = rest.pop(0)
        found.append((name.removeprefix(prefix), value))
    return found


def guarded(main: Callable[[], int]) -> int:
    """Runs a program; a user's mistake is one line and exit code 2, a bug keeps its traceback.

    With SSLJAX_TRACEBACK=1 a mistake has one, too: of a net that does not fit its data, say.
    """
    try:
        return main()
    except Mistake as mistake:
        if os.environ.get('SSLJAX_TRACEBACK', '0') != '0':
            raise
        print(f'error: {mistake}', file=sys.stderr)
        return mistake.code


def place(path: str | Path) -> Path:
    """A path of this machine, ~ written out; that of a bucket is refused."""
    if bucket := re.match(r'([a-z][a-z0-9]+):/+', str(path)):
        raise Mistake(
            f'{path} is not on a file system of this machine; mount it, with gcsfuse say, and type'
            f' the directory where it is mounted in place of {bucket[0]}'
        )
    if '\0' in str(path):
        raise Mistake(f'{str(path)!r} is no path: it has a zero byte')
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise Mistake(f'{path}: there is no such home; type the whole path') from None


def writable(workdir: Path) -> Path:
    """The workdir, if it can be made; makes nothing."""
    parent = workdir.absolute()
    try:
        while not parent.exists() and not parent.is_symlink():
            parent = parent.parent
    except OSError as error:  # a name that is too long
        raise Mistake(f'workdir {str(workdir)[:100]!r} cannot be made: {error}') from None
    if not parent.is_dir():
        raise Mistake(f'workdir {workdir} cannot be made: {parent} is not a directory')
    if not os.access(parent, os.W_OK | os.X_OK):
        made = '' if parent == workdir.absolute() else f' cannot be made: {parent}'
        raise Mistake(f'workdir {workdir}{made} is not writable')
    return workdir


def span(seconds: float) -> str:
    """A time as people write it: 1:02:03."""
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f'{hours}:{minutes:02}:{seconds % 60:02}' if hours else f'{minutes}:{seconds % 60:02}'
