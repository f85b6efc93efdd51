"""The whole config of a run: names first, then defaults, then what was typed, each of its kind.

A field's kind is its annotation: in config.Settings, or in the function that a name stands for.
"""

import importlib
import inspect
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from ssljax import config, methods
from ssljax.kinds import Apart, Named, Rows, Table
from ssljax.names import Mistake, UnknownOption, around, choose
from ssljax.values import EMPTY, TOLD, checked, parsed, peeled, refuse

Tree = dict[str, Any]


def resolve(given: Any, typed: Sequence[tuple[str, str]] = ()) -> Tree:
    """'FILE[:variant]', or a config, under [('optim.net.learning_rate', '1e-3'), ...]."""
    given = config.read(given) if isinstance(given, str) else config.plain(given)
    if not isinstance(given, Mapping):
        raise Mistake(f'config {given!r} is no dict and no FILE[:VARIANT]')
    changes = nested(typed)
    try:
        return settings(given, changes)
    except UnknownOption as mistake:
        if mistake.close or not (elsewhere := placed(given, mistake.option)):
            raise
        raise Mistake(f'{mistake} (did you mean {elsewhere}?)') from None


def again(old: Mapping[str, Any], path: Any = 'this run') -> Tree:
    """A config that was resolved by this version or an earlier one, as this one resolves it.

    path: the file that it is from, for messages.
    """
    old = {k: v for k, v in config.plain(old).items() if k not in ('log', 'checkpoint', 'evals')}
    token = TOLD.set([])
    try:
        return resolve(old)
    except Mistake as mistake:
        raise Mistake(
            f'{path} was made by another version of ssljax: {mistake};'
            ' open it with that version, or train again with this one into another workdir'
        ) from None
    finally:
        for line in TOLD.get():
            print(f'WARNING: of this run, {line}; today it would be refused', file=sys.stderr)
        TOLD.reset(token)


def evaluators(given: Mapping[str, Any], typed: Sequence[tuple[str, str]] = ()) -> Tree:
    """Evaluators with their options written out."""
    return value(config.Evals, config.plain(given), nested(typed), 'evals')


def asked(readout: Callable, options: Mapping[str, Any], what: str, where: str = '') -> Tree:
    """The options of a readout, each of its kind.

    where: the field of the config that has them; in Python there is none.
    """
    try:
        found = keywords(readout, options, {}, where, f'readout {what!r}')
    except Mistake as mistake:
        if where:
            raise
        raise Mistake(str(mistake).removeprefix('config.')) from None
    return {name: found[name] for name in options}


def nested(pairs: Sequence[tuple[str, str]]) -> Tree:
    """{'a': {'b': {'': text}}} of [('a.b', text)]; the text of a block is beside its parts."""
    tree: Tree = {}
    for dotted, text in pairs:
        node = tree
        for part in dotted.split('.'):
            node = node.setdefault(part, {})
        node[''] = text
    return tree


def settings(given: Tree, typed: Tree) -> Tree:
    """All fields, and in `model` the keywords of the method."""
    name = typed.get('method', {}).get('', given.get('method', ''))
    method = methods.function(name)
    model, renamed = given.get('model', {}), name != given.get('method')
    if '' in typed.get('model', {}):
        model = parsed(Mapping, typed['model'][''], 'model')
    if not isinstance(model, Mapping):
        raise Mistake(f'config.model={model!r} is no dict; type --config.model.KEYWORD=VALUE')
    if renamed:
        model = {k: v for k, v in model.items() if k in fields(method)}
    given, rest = ({k: v for k, v in tree.items() if k != 'model'} for tree in (given, typed))
    shared = keywords(config.Settings, given, rest, '', 'the config', beside=('model',))
    words = keywords(method, model, parts(typed.get('model', {})), 'model', f'method {name!r}')
    if shared['batch'] % shared['accumulate']:
        batch, micro = shared['batch'], shared['accumulate']
        raise Mistake(
            f'batch {batch} does not split into accumulate={micro} parts;'
            f' nearest that do: {around(batch, micro)}'
        )
    if shared['judge']:
        offered = importlib.import_module('ssljax.evals').offered()
        name_of_judge, _, number = shared['judge'].partition('.')
        choose(name_of_judge, offered, 'evaluator', 'judge')
        choose(number, offered[name_of_judge].shown, f'number of {name_of_judge}', 'judge')
    several(method, shared['batch'], shared['accumulate'], f'method {name!r}')
    return {'method': name, 'model': words} | shared


def several(method: Callable, batch: int, micro: int, what: str) -> None:
    """Refuses too few rows in a micro-batch for a method that compares them with each other."""
    run = next(iter(inspect.signature(method).parameters.values()))
    least = peeled(run.annotation)[1]
    if isinstance(least, Rows) and batch // micro < least.count:
        micros = f' in accumulate={micro} parts' if micro > 1 else ''
        refuse(
            f'config.batch={batch}{micros} is too little: {what} compares rows with each other;'
            f' type --config.batch={least.count * micro} or more'
        )


def fields(owner: Callable) -> dict[str, inspect.Parameter]:
    """The options of a function: those that are keyword-only; of a NamedTuple, all."""
    found = inspect.signature(owner).parameters
    whole = inspect.isclass(owner)
    return {n: p for n, p in found.items() if whole or p.kind is p.KEYWORD_ONLY}


def keywords(
    owner: Callable,
    given: Mapping[str, Any],
    typed: Tree,
    where: str,
    what: str,
    *,
    filled: bool = True,
    beside: Sequence[str] = (),
) -> Tree:
    """The options of `owner`: what was typed, over what is given, over its defaults.

    filled: defaults are written out. beside: names to be offered that are resolved elsewhere.
    """
    known, out = fields(owner), {}
    for key in (*given, *typed):
        if key not in known:
            raise UnknownOption(f'{what}{where and f" (config.{where})"}', key, (*known, *beside))
    for name, field in known.items():
        if field.default is EMPTY and name not in given and name not in typed:
            raise Mistake(f'{what} needs {name}; type --config.{dotted(where, name)}=VALUE')
        if not (filled or name in given or name in typed):
            continue
        start = None if field.default is EMPTY else config.plain(field.default)
        if name in given:
            both = isinstance(start, Mapping) and isinstance(given[name], Mapping)
            start = config.merge({'': start}, {'': given[name]})[''] if both else given[name]
        out[name] = value(field.annotation, start, typed.get(name, {}), dotted(where, name))
    apart(known, out, where)
    return out


def apart(known: Mapping[str, inspect.Parameter], values: Tree, where: str) -> None:
    """Refuses equal values of options that have to differ, as of a bank and its queries."""
    for name, field in known.items():
        note = peeled(field.annotation)[1]
        for other in note.others if isinstance(note, Apart) and name in values else ():
            if values[name] == values.get(other):
                refuse(
                    f'config.{dotted(where, name)}={values[name]!r} is also that of {other}: rows'
                    f' would be found, or learned, and then asked for; type another {name}'
                )


def value(kind: Any, given: Any, typed: Tree, where: str) -> Any:
    """One field: what was typed over what is given, checked and converted to its kind."""
    kind, note = peeled(kind)
    optional = types.NoneType in get_args(kind)
    if '' in typed:
        given, typed = parsed(kind, typed[''], where), parts(typed)
    if get_origin(kind) in (Union, types.UnionType) and (given is not None or typed):
        specs = [peeled(one) for one in get_args(kind)]  # a spec, or none
        kind, note = next((one for one in specs if isinstance(one[1], Named)), (kind, note))
    block = inspect.isclass(kind) and hasattr(kind, '_fields')
    if isinstance(note, Named):
        given = {'name': given} if isinstance(given, str) else given  # a name alone is a spec
        if typed or given is None or isinstance(given, Mapping | bool | int | float | tuple):
            return spec(note, given, typed, where, optional)  # all else is a net itself, a source
    if isinstance(note, Table):
        return table(note, given, typed, where)
    if block:
        if not isinstance(given, Mapping):
            raise Mistake(f'config.{where}={given!r} is no dict; type --config.{where}.FIELD=VALUE')
        return keywords(kind, given, typed, where, 'the block')
    if typed and not isinstance(given, Mapping):
        raise UnknownOption(f'config.{where}', next(iter(typed)), ())
    if typed:  # a free dict: graft, options of a readout, groups
        names = dict.fromkeys((*given, *typed))
        inner = get_args(kind)[1] if get_args(kind) else Any
        return {n: value(inner, given.get(n), typed.get(n, {}), dotted(where, n)) for n in names}
    return checked(kind, note, given, where)


def spec(named: Named, given: Any, typed: Tree, where: str, optional: bool = False) -> Tree:
    """dict(name=..., **options); where another name is typed, options it does not have go.

    optional: whether none may be given in its place, for messages.
    """
    found = '' if given is None or isinstance(given, Mapping) else f'={given!r}'
    given = dict(given) if isinstance(given, Mapping) else {}
    offered = getattr(importlib.import_module(f'ssljax.{named.package}'), named.offered)()
    old = str(given.pop('name', ''))
    name = typed.get('name', {}).get('', old)
    if not name:
        none = f', or --config.{where}=none for no {named.what}' if optional else ''
        raise Mistake(
            f'config.{where}{found} names no {named.what}; type --config.{where}.name=NAME{none},'
            f' offered: {", ".join(sorted(offered))}'
        )
    base = choose(name.partition(':')[0], offered, named.what, where)
    before = old.partition(':')[0]
    if base != before:
        given = {k: v for k, v in given.items() if k in fields(offered[base])}
        kept = ', '.join(f'{k}={v!r}' for k, v in given.items() if k not in typed)
        if before and kept:
            told = f'config.{where} keeps {kept} of {before}'
            print(f'{told}; --config.{where}={name} has its own', file=sys.stderr)
    typed = {k: v for k, v in typed.items() if k != 'name'}
    what = f'{named.what} {base!r}'
    words = keywords(offered[base], given, typed, where, what, filled=named.filled)
    return {'name': name, **words}


def table(note: Table, given: Any, typed: Tree, where: str) -> Tree:
    """A dict from names to the options of each; an evaluator that is None is left out."""
    package = importlib.import_module(f'ssljax.{note.package}')
    if not isinstance(given, Mapping):
        raise Mistake(
            f'config.{where}={given!r} is no dict; type --config.{where}.NAME.OPTION=VALUE'
        )
    for name in typed:
        if name not in given and not note.grows:
            choose(name, given, f'{note.what} of config.{where}')
    out = {}
    for name in dict.fromkeys((*given, *typed)):
        mine, said = given.get(name, {}), typed.get(name, {})
        if note.of is None:
            owner = package.offered()[choose(name, package.offered(), note.what, where)].run
            if '' in said:
                mine, said = parsed(Mapping, said[''], dotted(where, name)), parts(said)
            if mine is None and not said:
                continue  # left out, as one of a variant's base
            if not isinstance(mine, Mapping | None):
                raise Mistake(
                    f'config.{dotted(where, name)}={mine!r} is no dict; type the options of'
                    f' {note.what} {name!r} as dict(...), or none to leave it out'
                )
            mine, what = mine or {}, f'{note.what} {name!r}'
            out[name] = keywords(owner, mine, said, dotted(where, name), what)
        else:
            out[name] = value(Annotated[Any, note.of], mine, said, dotted(where, name))
    return out


# Messages -----------------------------------------------------------------------------------------


def parts(typed: Tree) -> Tree:
    return {k: v for k, v in typed.items() if k}


def dotted(where: str, name: str) -> str:
    return f'{where}.{name}' if where else name


def placed(given: Tree, option: str) -> str:
    """Where in a config an option of this name is: model.temperature for temperature; or ''."""
    try:
        names = config.flat(settings(given, {}))
    except Mistake:
        return ''
    return next((name for name in names if name.rpartition('.')[2] == option), '')
