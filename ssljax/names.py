"""A name in a config is a function of ours: find it by listing, or say what is offered."""

import contextlib
import difflib
import functools
import importlib
import inspect
import pkgutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


class Mistake(Exception):
    """A user's mistake: one line that names what was found, what is offered and what to type."""

    code = 2  # of the process that it ends


@contextlib.contextmanager
def in_one_line(what: str, files: str | Path = Path(__file__).parent) -> Iterator[None]:
    """Makes a Mistake of what fails inside; the error itself is its cause.

    files: the file or the folder whose line is named as the place.
    """
    try:
        yield
    except Mistake:
        raise
    except Exception as error:
        ours = [f for f in traceback.extract_tb(error.__traceback__) if str(files) in f.filename]
        parts = Path(ours[-1].filename).parts[-3:] if ours else ()
        place = f' ({"/".join(parts)}:{ours[-1].lineno})' if ours else ''
        said = (str(error).strip() or 'no reason given').splitlines()[0][:300]
        raise Mistake(
            f'{what}: {type(error).__name__}: {said}{place}; SSLJAX_TRACEBACK=1 shows more'
        ) from error


def nearest(found: str, offered: Iterable[str]) -> str:
    """' (did you mean X?)' for the closest of the names on offer, or nothing if none is close."""
    close = difflib.get_close_matches(str(found), [str(name) for name in offered], n=1, cutoff=0.5)
    return f' (did you mean {close[0]}?)' if close else ''


def choose(found: str, offered: Iterable[str], what: str, where: str = '') -> str:
    """The name itself if it is on offer, else a Mistake that lists what is.

    where: the field of the config that has the name.
    """
    offered = sorted(offered)
    if found in offered:
        return found
    field = f'config.{where}: ' if where else ''
    raise Mistake(
        f'{field}unknown {what} {found!r}{nearest(found, offered)}; offered: {", ".join(offered)}'
    )


def modules(package: str) -> list[str]:
    """The names of a package's modules, without importing them."""
    found = pkgutil.iter_modules(importlib.import_module(package).__path__)
    return [m.name for m in found if not m.name.startswith('_')]


@functools.cache
def listed(package: str, gives: Any) -> Mapping[str, Callable]:
    """The public functions of a package's modules whose annotation says that they return `gives`.

    So a new function in a new file is offered as soon as it is written.
    """
    found = {}
    for module in (importlib.import_module(f'{package}.{name}') for name in modules(package)):
        for name, value in vars(module).items():
            function = value.func if isinstance(value, functools.partial) else value
            mine = inspect.isfunction(function) and function.__module__ == module.__name__
            if mine and inspect.get_annotations(function).get('return') is gives:
                found |= {} if name.startswith('_') else {name: value}
    return found


def options(function: Callable) -> dict[str, Any]:
    """The keyword-only options of a function with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }


class UnknownOption(Mistake):
    """The one message for an option that is not there."""

    def __init__(self, owner: str, option: str, known: Iterable[str]):
        self.option, self.close = option, nearest(option, known)
        offered = ', '.join(known) or 'none'
        super().__init__(f'{owner} has no option {option!r}{self.close}; its options: {offered}')


def around(size: int, unit: int) -> str:
    """The multiples of `unit` on both sides of a size, for messages."""
    below = size // unit * unit
    return f'{below} and {below + unit}' if below else f'{below + unit}'


def build(offered: Mapping[str, Callable], spec: Any, what: str, **given: Any) -> Any:
    """Calls the function that a spec, dict(name=..., **options), names.

    A spec that is an object already is returned as it is. `given` are options that the caller
    supplies where the function takes them (a dtype, say) and that the spec may overrule.
    """
    if not isinstance(spec, Mapping):
        return spec
    spec = dict(spec)
    if 'name' not in spec:
        raise Mistake(f'{what} {spec} has no name; offered: {", ".join(sorted(offered))}')
    name = choose(spec.pop('name'), offered, what)
    known = options(offered[name])
    for key in spec:
        if key not in known:
            raise UnknownOption(f'{what} {name!r}', key, known)
    return offered[name](**{k: v for k, v in given.items() if k in known} | spec)
