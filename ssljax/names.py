"""A name in a config is a module's function: find it, check its options, or say what is offered."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class Mistake(Exception):
    """A user's mistake: one line that names what was found, what is offered and what to type."""


def nearest(found: str, offered: Iterable[str]) -> str:
    """' (did you mean X?)' for the closest of the names on offer, or nothing if none is close."""
    close = difflib.get_close_matches(str(found), [str(name) for name in offered], n=1, cutoff=0.5)
    return f' (did you mean {close[0]}?)' if close else ''


def choose(found: str, offered: Iterable[str], what: str) -> str:
    """The name itself if it is on offer, else a Mistake that lists what is."""
    offered = sorted(offered)
    if found in offered:
        return found
    raise Mistake(
        f'unknown {what} {found!r}{nearest(found, offered)}; offered: {", ".join(offered)}'
    )


def options(function: Callable) -> dict[str, Any]:
    """The keyword-only options of a function with their defaults (a linen module's: its fields)."""
    skip = ('parent', 'name')  # linen's own fields
    return {
        name: parameter.default
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in skip and parameter.kind in (parameter.KEYWORD_ONLY,)
    }


def build(module: Any, spec: Mapping[str, Any] | Any, what: str, **given: Any) -> Any:
    """Calls the function of `module` that a spec, dict(name=..., **options), names.

    A spec that is an object already is returned as it is. `given` are options that the caller
    supplies where the function takes them (a dtype, say) and that the spec may overrule.
    """
    if not isinstance(spec, Mapping):
        return spec
    spec = dict(spec)
    if 'name' not in spec:
        raise Mistake(f'{what} {spec} has no name; offered: {", ".join(sorted(module.__all__))}')
    name = choose(spec.pop('name'), module.__all__, what)
    function = getattr(module, name)
    known = options(function)
    for key in spec:
        if key not in known:
            raise Mistake(
                f'{what} {name!r} has no option {key!r}{nearest(key, known)};'
                f' its options: {", ".join(known)}'
            )
    return function(**{k: v for k, v in given.items() if k in known} | spec)
