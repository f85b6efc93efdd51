"""What a config is: its fields, where config files are, how two configs differ. It loads no jax."""

import ast
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from ssljax import cli
from ssljax.kinds import Count, DataSpec, Dtype, Named, Natural, Range, Table
from ssljax.names import Mistake, choose, in_one_line, nearest

# May differ between a run and its resumption; any other difference is another run.
FREE = ('log', 'evals', 'checkpoint', 'mesh', 'judge')

Axis = Annotated[int, Range(-1)]
Evals = Annotated[Mapping, Table('evals', 'evaluator', grows=True)]


class Log(NamedTuple):
    every: Count = 50  # steps from line to line
    evaluate: Natural = 0  # steps from point to point of a curve by evaluators; 0: no curve
    curve: Evals = {}  # evaluators of the curve; empty: those of evals
    tensorboard: bool = True


class Checkpoint(NamedTuple):
    every: Natural = 0  # steps; 0: at the end only
    keep: Count = 2  # the newest so many
    keep_every: Natural = 0  # and those of every so many steps; 0: none


class MeshAxes(NamedTuple):
    data: Axis = -1  # devices; one axis may be -1 and takes what the others leave
    fsdp: Axis = 1
    tensor: Axis = 1
    big: Count = 2**16  # elements from which a leaf is cut over fsdp


class Settings(NamedTuple):
    """The fields of every config, with their defaults."""

    method: str
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    steps: Annotated[int, Range(1, 10**8)] = 1000  # schedules are laid out step by step
    batch: Count = 128  # over all devices
    accumulate: Count = 1  # micro-batches of one step
    dtype: Dtype = 'float32'  # of the activations
    data: DataSpec = {}  # dict(name=..., **options of the source)
    optim: Annotated[Mapping, Table('optim', 'turn', of=Named('optim', 'optimizer', True))] = {}
    evals: Evals = {}  # evaluator -> its options; run at the end
    judge: str = ''  # 'knn.accuracy': the number by which a run is said to have learned
    graft: Mapping[str, str] = {}  # path in the state -> 'WORKDIR:path in its state'
    log: Log = {}
    checkpoint: Checkpoint = {}
    mesh: MeshAxes = {}


def config(variants: Mapping[str, Any], variant: str, **fields: Any) -> Any:
    """A ConfigDict of a config file's fields, and the departures of its `variant` over them."""
    if variant:
        fields = merge(fields, variants[choose(variant, variants, 'variant')])
    try:
        from ml_collections import ConfigDict
    except ModuleNotFoundError:  # `read` makes plain dicts of it anyway
        return plain(fields)
    return ConfigDict(plain(fields), convert_dict=True)


def folder() -> Path:
    """Where the package's own config files are: beside it, or in an installed package inside."""
    here = Path(__file__).parent
    return here / 'configs' if (here / 'configs').is_dir() else here.parent / 'configs'


def listing(folder: Path | None = None) -> str:
    """One line a config file: its variants and its title, read without importing anything."""
    lines = []
    for path, tree in files(folder or home()):
        title = (ast.get_docstring(tree) or '').split('\n')[0]
        lines.append(f'  {path}{variants(tree)}\n      {title}')
    return '\n'.join(lines) or f'  (none in {folder})'


def home() -> Path:
    """The config files on offer: ./configs where there are some, else the package's own."""
    return Path('configs') if any(Path('configs').glob('*.py')) else folder()


def files(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The config files of a folder, parsed."""
    for path in sorted(folder.glob('*.py')):
        try:
            tree = ast.parse(path.read_text())
        except (OSError, SyntaxError, ValueError):  # said of the one that is asked for
            continue
        if any(isinstance(n, ast.FunctionDef) and n.name == 'get_config' for n in tree.body):
            yield path, tree


def variants(tree: ast.Module) -> str:
    """'[:smoke|cifar10]' from the keys of the file's VARIANTS."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == 'VARIANTS':
            keys = getattr(node.value, 'keys', ())
            return '[:' + '|'.join(str(getattr(key, 'value', '?')) for key in keys) + ']'
    return ''


def located(name: str) -> Path:
    """The config file of a path, 'configs/simclr.py', or of the name of one on offer, 'simclr'."""
    path = Path(name)
    if path.is_file():
        if path.suffix != '.py':
            raise Mistake(f'{path} is no config file: it does not end in .py')
        return path
    own = folder() / f'{path.stem}.py'
    if own.is_file() and path.parent in (Path('.'), Path('configs')):
        return own
    there = path.parent if path.parent != Path('.') and path.parent.is_dir() else home()
    offered = [str(path) for path, _ in files(there)]
    close = nearest(name, offered) or nearest(path.stem, (Path(p).stem for p in offered))
    what = f'{name} is a directory; no config file' if path.is_dir() else f'no config file {name}'
    raise Mistake(f'{what}{close}; offered: {", ".join(offered) or "none"}')


def read(argument: str) -> dict[str, Any]:
    """get_config(variant) of 'FILE[:variant]', as plain dicts."""
    name, _, variant = str(cli.place(argument)).partition(':')
    path = located(name)
    spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
    module = importlib.util.module_from_spec(spec)
    beside = str(path.resolve().parent.parent)  # for a file that imports others of its package
    sys.path.insert(0, beside)
    try:
        with in_one_line(f'config file {path} fails', path):
            spec.loader.exec_module(module)
            if not callable(getattr(module, 'get_config', None)):
                raise Mistake(f'{path} has no function get_config(variant)')
            found = plain(module.get_config(variant))
    finally:
        sys.path.remove(beside)
    if not isinstance(found, dict):
        raise Mistake(
            f'get_config of {path} returns {type(found).__name__}, not the fields of a config;'
            ' type return base.config(VARIANTS, variant, method=..., ...), or a dict'
        )
    return found


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


def merge(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` laid over `config`; a spec of another name replaces the whole spec."""
    merged = dict(config)
    for key, new in changes.items():
        old = merged.get(key)
        nested = isinstance(old, Mapping) and isinstance(new, Mapping)
        same = nested and new.get('name', old.get('name')) == old.get('name')
        merged[key] = merge(old, new) if same else new
    return merged


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
