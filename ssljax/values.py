"""One value of a config: read from text, and checked against its kind (kinds.py)."""

import ast
import inspect
import json
import math
import re
import types
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ssljax import config
from ssljax.kinds import Interval, Least, Pattern, Range
from ssljax.names import Mistake, nearest

EMPTY = inspect.Parameter.empty
# What is outside of its range in the config of a run that is there: told, and kept as it was.
TOLD: ContextVar[list[str] | None] = ContextVar('TOLD', default=None)


def peeled(kind: Any) -> tuple[Any, Any]:
    """A kind without its note: Annotated[int, Range(1)] -> int, Range(1)."""
    if get_origin(kind) is Annotated:
        return get_args(kind)[0], get_args(kind)[1]
    return (Any if kind is EMPTY else kind), None


def parsed(kind: Any, text: str, where: str) -> Any:
    """What a text means for a field of this kind; whether it fits is not asked here."""
    kind, _ = peeled(kind)
    either = [peeled(one)[0] for one in alternatives(kind)]
    choices = [word for one in either if get_origin(one) is Literal for word in get_args(one)]
    if str in either or text in choices:
        none = text.lower() in ('none', 'null') and types.NoneType in either
        return None if none else text
    if text.lower() in ('none', 'null'):
        return None
    try:
        read = config.plain(ast.literal_eval(text))
        json.dumps(read)  # so that no set, bytes or ellipsis is a value
        return read
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {'true': True, 'false': False}.get(text.lower(), text)


def alternatives(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def checked(kind: Any, note: Any, given: Any, where: str) -> Any:
    """The value as its kind has it, or the Mistake that names the field."""
    told = TOLD.get()
    before = 0 if told is None else len(told)
    try:
        found = converted(kind, note, given)
    except ValueError as error:
        raise Mistake(f'config.{where}={given!r} {error}') from None
    if told:
        told[before:] = [f'config.{where}={given!r} {reason}' for reason in told[before:]]
    return found


def refuse(line: str, kind: type[Exception] = Mistake) -> None:
    """Raises; of a run that is there already, the line is told instead."""
    if TOLD.get() is None:
        raise kind(line)
    TOLD.get().append(line)


def converted(kind: Any, note: Any, given: Any) -> Any:
    """The value as its kind has it, within its range; ValueError says what does not fit."""
    if get_origin(kind) is Annotated:
        return converted(*peeled(kind), given)
    found = typed_as(kind, given)
    if isinstance(note, Range | Interval | Least) and not note.holds(found):
        refuse(note.demand(), ValueError)
    if isinstance(note, Pattern):
        try:
            re.compile(found)
        except re.error as error:
            raise ValueError(f'is no regular expression: {error}') from None
    return found


def typed_as(kind: Any, given: Any) -> Any:
    """The value as its type, which may be a union or have members."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        reasons = []
        for one in inside:
            try:
                return converted(*peeled(one), given)
            except ValueError as error:
                reasons.append(str(error))
        raise ValueError(', '.join(dict.fromkeys(reasons)))
    if origin is Literal:
        if not any(given == one and type(given) is type(one) for one in inside):
            offered = ', '.join(map(str, inside))
            raise ValueError(f'is unknown{nearest(given, inside)}; offered: {offered}')
        return given
    if kind is types.NoneType or kind is None:
        if given is not None:
            raise ValueError('is not none')
        return None
    if kind in (int, float):
        return number(kind, given)
    if kind in (bool, str) and not isinstance(given, kind):
        raise ValueError(f'is not {"true or false" if kind is bool else "a word"}')
    if origin is tuple or (inspect.isclass(origin) and issubclass(origin, Sequence)):
        return sequence(origin, inside, given)
    if kind is tuple and not isinstance(given, tuple):
        raise ValueError('is no tuple')
    if (origin or kind) in (Mapping, dict):
        return mapping(inside, given)
    return given


def mapping(inside: tuple, given: Any) -> Any:
    """A dict whose keys are words and whose values have their kind."""
    if not isinstance(given, Mapping):
        raise ValueError('is no dict')
    for key, one in given.items():
        try:
            typed_as(str, key)
            converted(*peeled(inside[1] if inside else Any), one)
        except ValueError as error:
            raise ValueError(f'has {key!r}: {one!r}, which {error}') from None
    return given


def number(kind: type, given: Any) -> Any:
    """An int or a float that is finite; 1e3 is an integer to its writer."""
    plain = isinstance(given, int | float) and not isinstance(given, bool)
    if not plain or (kind is int and given != given // 1):
        raise ValueError(f'is not {"an integer" if kind is int else "a number"}')
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError('is not finite')
    if kind is int and abs(given) > 2**53:
        raise ValueError('is too large')
    return kind(given)


def sequence(origin: Any, inside: tuple, given: Any) -> tuple:
    """A tuple whose members have their kinds; a lone member is a tuple of one."""
    members = tuple(given) if isinstance(given, list | tuple) else (given,)
    if origin is not tuple or inside[-1] is Ellipsis:
        inside = inside[:1] * len(members)
    if len(inside) != len(members):
        raise ValueError(f'has {len(members)} members, not {len(inside)}')
    out = []
    for kind, one in zip(inside, members):
        try:
            out.append(converted(*peeled(kind), one))
        except ValueError as error:
            raise ValueError(f'has {one!r}, which {error}') from None
    return tuple(out)
