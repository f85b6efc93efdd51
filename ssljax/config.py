"""Reads a config and its overrides, checks keys, types and values, and says what is offered."""

import ast
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.names import Mistake, nearest

# May differ between a run and its resumption; any other difference is another run.
FREE = ('log', 'evals', 'checkpoint', 'mesh')


def listing(folder: Path = Path('configs')) -> str:
    """One line a config file: its variants and its title, read without importing anything."""
    lines = []
    for path, tree in files(folder):
        title = (ast.get_docstring(tree) or '').split('\n')[0]
        lines.append(f'  {path}{variants(tree)}\n      {title}')
    return '\n'.join(lines) or f'  (none in {folder})'


def files(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The config files of a folder, parsed; others that they share are none."""
    for path in sorted(folder.glob('*.py')):
        tree = ast.parse(path.read_text())
        if any(isinstance(n, ast.FunctionDef) and n.name == 'get_config' for n in tree.body):
            yield path, tree


def variants(tree: ast.Module) -> str:
    """':smoke|cifar10' from the keys of the file's VARIANTS."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'VARIANTS':
            return '[:' + '|'.join(ast.literal_eval(key) for key in node.value.keys) + ']'
    return ''


def read(argument: str) -> dict[str, Any]:
    """get_config(variant) of 'FILE[:variant]', as plain dicts."""
    name, _, variant = argument.partition(':')
    path = Path(name)
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else Path('configs')
        offered = [str(path) for path, _ in files(folder)]
        raise Mistake(
            f'no config file {name}{nearest(name, offered)};'
            f' offered: {", ".join(offered) or "none"}'
        )
    spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    home = str(path.resolve().parent.parent)  # so that `from configs import base` is found
    sys.path.insert(0, home)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(home)
    if not hasattr(module, 'get_config'):
        raise Mistake(f'{path} has no function get_config(variant)')
    return plain(module.get_config(variant))


def plain(value: Any) -> Any:
    """Dicts and tuples only: the form in which a config reaches the program."""
    if hasattr(value, 'to_dict'):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return tuple(plain(v) for v in value) if isinstance(value, list | tuple) else value


def flat(config: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """{'a.b': leaf}; an empty dict is a leaf."""
    leaves = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping) and value
        leaves |= flat(value, f'{prefix}{key}.') if nested else {f'{prefix}{key}': value}
    return leaves


def nodes(config: Mapping[str, Any], prefix: str = '') -> list[str]:
    """Every dotted name that can be set: leaves and whole blocks."""
    names = []
    for key, value in config.items():
        names.append(f'{prefix}{key}')
        if isinstance(value, Mapping):
            names += nodes(value, f'{prefix}{key}.')
    return names


def override(config: dict[str, Any], dotted: str, text: str, extra: Sequence[str] = ()) -> None:
    """Sets one field from the command line; `extra`: names that are known though not yet set."""
    *parents, last = dotted.split('.')
    block: Any = config
    for key in parents:
        block = block.get(key) if isinstance(block, Mapping) else None
    # a spec, dict(name=...), takes any option: whoever builds it knows which there are
    spec = isinstance(block, Mapping) and 'name' in block
    if not isinstance(block, dict) or (last not in block and not spec and dotted not in extra):
        offered = [*nodes(config), *extra]
        close = nearest(dotted, offered)
        if not close:  # the last part alone may be the one that is misspelt, or misplaced
            tails = {name.rsplit('.', 1)[-1]: name for name in offered}
            close = nearest(last, tails)
            for tail, name in tails.items():
                close = close.replace(f'mean {tail}?', f'mean {name}?')
        siblings = ', '.join(block) if isinstance(block, Mapping) else ', '.join(config)
        raise Mistake(f'unknown config key {dotted!r}{close}; beside it there are: {siblings}')
    block[last] = parse(dotted, text, block.get(last))


def parse(dotted: str, text: str, old: Any) -> Any:
    """The value that `text` means where `old` stood."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = {'true': True, 'false': False, 'none': None}.get(text.lower(), text)
    wrong = Mistake(
        f'config.{dotted}={text!r} is not {article(old)};'
        f' it is {old!r} now, give another of its kind'
    )
    if old is None or value is None:
        return plain(value)
    if isinstance(old, bool):
        if isinstance(value, bool):
            return value
        raise wrong
    if isinstance(old, str):
        return text
    if isinstance(old, int):
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise wrong
        return int(value)  # 1e3 is an integer to its writer
    if isinstance(old, float):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise wrong
        return float(value)
    if isinstance(old, tuple):
        value = value if isinstance(value, list | tuple) else (value,)
    elif not isinstance(value, type(old)):
        raise wrong
    return plain(value)


def article(old: Any) -> str:
    names = {bool: 'true or false', int: 'an integer', float: 'a number', dict: 'a dict'}
    return names.get(type(old), type(old).__name__)


def merge(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` laid over `config`; a spec of another name replaces the whole spec."""
    merged = dict(config)
    for key, new in changes.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(new, Mapping)
        same = nested and new.get('name', old.get('name')) == old.get('name')
        merged[key] = merge(old, new) if same else new
    return merged


def check(config: Mapping[str, Any]) -> None:
    """Values that can never be right, whatever the method."""
    positive = ('steps', 'batch', 'accumulate', 'log.every', 'checkpoint.keep')
    natural = ('seed', 'checkpoint.every', 'log.evaluate')
    for dotted, value in flat(config).items():
        if dotted in positive and value < 1:
            raise Mistake(f'config.{dotted}={value} must be at least 1')
        duration = dotted in natural or dotted.rsplit('.', 1)[-1] in ('warmup', 'epochs')
        if duration and isinstance(value, int | float) and value < 0:
            raise Mistake(f'config.{dotted}={value} is a negative duration; 0 turns it off')
    if config['batch'] % config['accumulate']:
        raise Mistake(
            f'batch {config["batch"]} does not split into accumulate={config["accumulate"]} parts;'
            f' nearest that do: {around(config["batch"], config["accumulate"])}'
        )


def divides(batch: int, accumulate: int, cuts: int) -> None:
    """Each micro-batch is cut evenly over the devices."""
    parts = accumulate * cuts
    if batch % parts:
        what = f'{cuts} devices' + (f' times accumulate={accumulate}' if accumulate > 1 else '')
        raise Mistake(
            f'batch {batch} is not divisible by {what}; nearest that are: {around(batch, parts)}'
        )


def around(found: int, unit: int) -> str:
    below = found // unit * unit
    return f'{below} and {below + unit}' if below else f'{below + unit}'


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """'batch: 128 -> 256' for each field, outside FREE, in which two configs differ."""
    olds, news = flat(as_json(old)), flat(as_json(new))
    names = [n for n in sorted(olds.keys() | news.keys()) if n.split('.')[0] not in FREE]
    shown = lambda values, n: repr(values[n]) if n in values else 'absent'  # noqa: E731
    return [
        f'{n}: {shown(olds, n)} -> {shown(news, n)}'
        for n in names
        if shown(olds, n) != shown(news, n)
    ]


def as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config))
