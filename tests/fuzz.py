"""Command lines at random: python tests/fuzz.py --count=500 --seed=0 --out=results/fuzz.json.

Each is made from the options that a config declares: values inside their range, at its border,
outside of it, of another type, names that are misspelled, several at once. A line is to be refused
in one line with exit code 2, or to pass --dry_run, and then it has to train two steps (a sample of
them does). Anything else is a fault: a traceback, a line that takes longer than a minute.
"""

import argparse
import collections
import contextlib
import datetime
import io
import json
import os
import platform
import random
import signal
import sys
import time
import traceback
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

if __name__ == '__main__':
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
    sys.path.insert(0, str(Path(__file__).parents[1]))

import importlib

import jax
import jobs

from ssljax import cli, config, evals, methods, resolve, train
from ssljax.job import checked, make
from ssljax.kinds import Interval, Named, Range, Table
from ssljax.values import peeled

LONGEST = 60  # seconds that a line may take
BIG = 2**70
JUNK = ('', ' ', 'none', 'nan', 'inf', '-1', '1e400', '{}', '[]', '()', 'True', '{"a": 1}', '0x10')
JUNK += ("'", '(1,', '[[1], [2, 3]]', 'b"x"', '...', str(BIG), 'ä', '1,2', '"None"', '{1: 2}')

FILES = ('', 'x', 'rbm:x', 'rbm:smoke:x', '.', '/', 'README.md', 'tests/jobs.py', '~/x.py', '~x/y')
FILES += ('gs://bucket/x.py', 'configs', 'configs/base.py', 'configs/rbm', 'rbm.py:smoke', 'a\0b')
FLAGS = (
    '--workdir=gs://bucket/x',
    '--workdir=~x/y',
    '--workdir=a\0b',
    '--workdir=README.md/x',
    'x',
)
FLAGS += ('--dry_run=3', '--x', '--config.', '--config.=', '--config..x=3', '--config', '--workdir')

# Values that mean nothing: all of them are refused before anything is made. (config, option, value)
MEANINGLESS = [
    ('simclr', 'optim.net.learning_rate', '-0.1'),
    ('simclr', 'optim.net.learning_rate', 'inf'),
    ('simclr', 'optim.net.learning_rate', 'none'),
    ('simclr', 'optim.net.weight_decay', '-1'),
    ('simclr', 'optim.net.warmup', '-1'),
    ('simclr', 'optim.net.clip', '-1'),
    ('simclr', 'optim.net.clip', '0'),
    ('simclr', 'optim.net.b1', '1'),
    ('simclr', 'optim.net', '{"name": "sgd", "learning_rate": 0.1, "momentum": 5}'),
    ('simclr', 'optim.net', '{"name": "sgd", "learning_rate": 0.1, "momentum": 1}'),
    ('simclr', 'optim.net', '{"name": "muon", "learning_rate": 0.1, "beta": 1}'),
    ('simclr', 'optim.net', '{"name": "sgd", "learning_rate": 0.1, "decayed": "("}'),
    ('simclr', 'optim.net.groups', '{"a": {"name": "sgd", "learning_rate": -1, "match": "e"}}'),
    ('simclr', 'optim.net.groups', '{"a": {"name": "sgd", "learning_rate": 1, "match": "("}}'),
    ('simclr', 'optim.net.groups', '{"a": {"name": "sgd", "learning_rate": 1}}'),
    ('simclr', 'optim.net.groups', '{"a": {"name": "sgd", "match": "encoder"}}'),
    ('simclr', 'optim.net.groups', '{"a": {"name": "sgd", "learning_rate": 1, "match": "e",'
     ' "clip": 1}}'),
    ('simclr', 'batch', '1'),
    ('clip', 'batch', '1'),
    ('simclr', 'batch', '0'),
    ('simclr', 'accumulate', '16'),  # of a batch of 16: one row each
    ('simclr', 'steps', '0'),
    ('simclr', 'seed', '-1'),
    ('simclr', 'dtype', 'none'),
    ('simclr', 'dtype', 'float8'),
    ('simclr', 'log.every', '0'),
    ('simclr', 'checkpoint.keep', '0'),
    ('simclr', 'mesh.data', '-2'),
    ('simclr', 'model.temperature', '0'),
    ('simclr', 'model.temperature', '-1'),
    ('simclr', 'model.temperature', 'none'),
    ('simclr', 'model.temperature', 'nan'),
    ('simclr', 'model.encoder.widths', '()'),
    ('simclr', 'model.encoder.widths', '(8, 0)'),
    ('simclr', 'model.encoder.widths', 'none'),
    ('simclr', 'model.encoder.stride', '0'),
    ('simclr', 'model.encoder.kernel', '0'),
    ('simclr', 'model.encoder.norm', 'bath'),
    ('simclr', 'model.encoder.dtype', 'float99'),
    ('simclr', 'model.encoder.kernel_init', '-0.1'),
    ('simclr', 'model.projector.dims', '()'),
    ('simclr', 'model.projector.dims', '(0,)'),
    ('simclr', 'model.projector.dropout', '1'),
    ('simclr', 'model.projector.dropout', '-0.1'),
    ('mae', 'model.view.size', '0'),
    ('mae', 'model.view.flip', '2'),
    ('mae', 'model.view.scale', '(0.5, 0.1)'),
    ('mae', 'model.view.scale', '(0, 1)'),
    ('mae', 'model.view.ratio', '(0, 1)'),
    ('simsiam', 'model.view.strength', '-1'),
    ('simclr', 'evals.knn.k', '0'),
    ('simclr', 'evals.knn.temperature', '0'),
    ('simclr', 'evals.knn.bank', 'test'),
    ('simclr', 'evals.knn.queries', 'train'),
    ('simclr', 'evals.knn.bank', 'tset'),
    ('simclr', 'evals.knn.also', '((0, 0.1),)'),
    ('simclr', 'evals.linear_probe.test', 'train'),
    ('simclr', 'evals.linear_probe.validation', 'test'),
    ('simclr', 'evals.linear_probe.l2', '()'),
    ('simclr', 'evals.retrieval.at', '()'),
    ('simclr', 'evals.few_shot.shots', '(0,)'),
    ('simclr', 'evals.sgd_probe.momentum', '5'),
    ('simclr', 'evals.fine_tune.learning_rate', '-1'),
    ('mae', 'model.ratio', '0'),
    ('mae', 'model.ratio', '1'),
    ('mae', 'model.ratio', '2'),
    ('mae', 'model.patch', '0'),
    ('mae', 'model.encoder.depth', '0'),
    ('mae', 'model.encoder.heads', '0'),
    ('mae', 'model.encoder.width', '-8'),
    ('byol', 'model.momentum', '5'),
    ('byol', 'model.momentum', '-0.1'),
    ('byol', 'model.other_view.blur', '-1'),
    ('classifier', 'model.smoothing', '1'),
    ('classifier', 'model.smoothing', '-0.1'),
    ('moco', 'model.temperature', '0'),
    ('moco', 'model.queue', '-1'),
    ('dino', 'model.teacher_temperature', '(0, 0.07)'),
    ('dino', 'model.prototypes', '0'),
    ('dino', 'model.momentum', '5'),
    ('deepcluster', 'model.clusters', '0'),
    ('deepcluster', 'model.epochs', '0'),
    ('gpt', 'model.decoder.width', '0'),
    ('gpt', 'model.decoder.depth', '0'),
    ('gpt', 'model.decoder.dropout', '2'),
    ('gpt', 'data.test', '1.5'),
    ('vae', 'model.latent', '0'),
    ('vae', 'model.deviation', '0'),
    ('vae', 'model.beta', '-1'),
    ('cyclegan', 'model.pool', '0'),
    ('cyclegan', 'model.generator.kernel', '4'),
    ('energy', 'model.fresh', '1.5'),
    ('energy', 'model.steps', '0'),
    ('rbm', 'model.hidden', '0'),
    ('realnvp', 'model.alpha', '0'),
    ('wgan_gp', 'model.critics', '0'),
    ('pseudo_label', 'model.threshold', '2'),
    ('ctc', 'model.encoder.widths', '(0, 8)'),
    ('ctc', 'data.height', '0'),
]  # fmt: skip


class Option(NamedTuple):
    """A field that a line may set."""

    name: str
    kind: Any
    default: Any


def options(settings: Mapping[str, Any]) -> dict[str, list[Option]]:
    """Every field of a config, and every option of what it names and of evaluators, by block."""
    found = list(declared(config.Settings, settings, ''))
    found += declared(methods.function(settings['method']), settings['model'], 'model.')
    blocks: dict[str, list[Option]] = {}
    for one in found:
        block, _, inside = one.name.partition('.')
        blocks.setdefault(block if inside else 'shared', []).append(one)
    for name, evaluator in evals.offered().items():
        block = 'evals' if name in settings['evals'] else 'other evals'
        options = settings['evals'].get(name, {})
        blocks.setdefault(block, []).extend(declared(evaluator.run, options, f'evals.{name}.'))
    return blocks


def declared(owner: Any, values: Mapping[str, Any], prefix: str) -> Iterator[Option]:
    for name, field in resolve.fields(owner).items():
        value = values.get(name, field.default)
        yield Option(prefix + name, field.annotation, value)
        kind, note = peeled(field.annotation)
        named = [peeled(one)[1] for one in get_args(kind)] if note is None else [note]
        named = [one for one in named if isinstance(one, Named)]
        if hasattr(kind, '_fields') and isinstance(value, Mapping):
            yield from declared(kind, value, f'{prefix}{name}.')
        if isinstance(note, Table) and note.of and isinstance(value, Mapping):
            for entry, spec in value.items():
                yield from of_spec(note.of, spec, f'{prefix}{name}.{entry}.')
        for one in named:
            if isinstance(value, Mapping):
                yield from of_spec(one, value, f'{prefix}{name}.')


def of_spec(named: Named, spec: Mapping[str, Any], prefix: str) -> Iterator[Option]:
    offered = getattr(importlib.import_module(f'ssljax.{named.package}'), named.offered)()
    yield Option(f'{prefix}name', Literal[tuple(offered)], spec.get('name'))
    base = str(spec.get('name', '')).partition(':')[0]
    if base in offered:
        yield from declared(offered[base], spec, prefix)


def text(draw: random.Random, kind: Any) -> str:
    """A value for an option of this kind, as it is typed: mostly near its border."""
    if draw.random() < 0.15:
        return draw.choice(JUNK)
    return str(value(draw, kind))


def value(draw: random.Random, kind: Any) -> Any:
    kind, note = peeled(kind)
    origin, inside = get_origin(kind), get_args(kind)
    if isinstance(note, Interval):
        ends = (
            note.low,
            note.high,
            draw.uniform(note.low, min(note.high, 10)),
            -1.0,
            note.high + 1,
        )
        return tuple(sorted((draw.choice(ends), draw.choice(ends)), reverse=draw.random() < 0.3))
    if isinstance(note, Named):
        offered = getattr(importlib.import_module(f'ssljax.{note.package}'), note.offered)()
        return {'name': draw.choice(sorted(offered))}
    if isinstance(note, Table):
        return draw.choice(({}, {'x': {}}, {'knn': {}}, {'net': {'name': 'sgd'}}, []))
    if origin is Literal:
        return draw.choice((*inside, *inside, 'other', f'{inside[0]}x'))
    if origin in (Union, types.UnionType):
        return value(draw, draw.choice(inside))
    if origin is tuple and inside[-1] is not Ellipsis:
        members = [value(draw, one) for one in inside]
        return tuple(members[: draw.choice((len(members),) * 5 + (1, 0))])
    if inside and origin in (tuple, collections.abc.Sequence):
        return tuple(value(draw, inside[0]) for _ in range(draw.randrange(4)))
    if kind in (int, float):
        return number(draw, kind, note)
    if kind is bool:
        return draw.choice((True, False, 'yes', 1))
    if kind is str:
        return draw.choice(('', 'x', 'encoder', '(', 'train', 'blocks_0', '/nowhere', '~/nowhere'))
    if kind is types.NoneType:
        return None
    return draw.choice((0, 1, 'word', {}, {'temperature': 0}, (1, 2), None))


def number(draw: random.Random, kind: type, note: Any) -> Any:
    """Small numbers, since a line that is accepted is made: inside, at the border, outside."""
    low = note.low if isinstance(note, Range) and note.low > -1e9 else 0
    high = min(note.high if isinstance(note, Range) else 1e9, low + 8)
    if kind is int:
        near = (low, low + 1, low + 2, low + 3, high, low - 1, high + 1, -low, 0, 1.5, BIG)
        return draw.choice([int(n) if n == n // 1 else n for n in near])
    middle = low + (high - low) * draw.random()
    return draw.choice((low, high, middle, middle, low - 1, high * 2, 1e-12, 1e300, -middle))


def misspelled(draw: random.Random, name: str) -> str:
    i = draw.randrange(len(name))
    return draw.choice(
        (name[:i] + name[i + 1 :], name[:i] + 'q' + name[i:], f'{name}.x', f'x.{name}')
    )


def lines(seed: int, count: int, names: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Command lines: the config, then options."""
    draw, known = random.Random(seed), {}
    for _ in range(count):
        method = draw.choice(names or jobs.METHODS)
        if method not in known:
            known[method] = list(options(jobs.settings(method)).values())
        line = [
            f'--config={draw.choice(FILES)}' if draw.random() < 0.03 else f'--config={method}:smoke'
        ]
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            one = draw.choice(draw.choice(known[method]))
            name = misspelled(draw, one.name) if draw.random() < 0.05 else one.name
            line.append(f'--config.{name}={text(draw, one.kind)}')
        yield (*line, draw.choice(FLAGS)) if draw.random() < 0.03 else tuple(line)


class TooLong(BaseException):
    """A line that takes longer than LONGEST."""


def late(*_: Any) -> None:
    raise TooLong


def outcome(line: tuple[str, ...], training: bool) -> tuple[str, str]:
    """refused, accepted, trained, or a fault: traceback, many lines, hang; and what was said."""
    said, told = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(told):
            code = cli.guarded(lambda: train.main([*line, '--dry_run']))
        wrong = [one for one in said.getvalue().splitlines() if not one.startswith(('data', ' '))]
        if code:
            return ('refused' if code == 2 and len(wrong) == 1 else 'many lines'), said.getvalue()
        if not training:
            return 'accepted', ''
        signal.alarm(5 * LONGEST)
        changes = [part.removeprefix('--config.').partition('=')[::2] for part in line[1:]]
        changes = [change for change in changes if not change[0].startswith('--')]
        settings = resolve.resolve(line[0].partition('=')[2], changes)
        one = checked(make(settings, jax.devices()[:1]))
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(told):
            jobs.run(one, min(2, one.run.steps))
        return 'trained', ''
    except TooLong:
        return 'hang', ''
    except Exception:
        return 'traceback', traceback.format_exc()
    finally:
        signal.alarm(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--train', type=int, default=40, help='accepted lines that are trained')
    parser.add_argument('--only', default='', help='methods, as simclr,gpt')
    parser.add_argument('--part', default='0/1', metavar='i/n', help='each n-th line, from line i')
    parser.add_argument('--out', type=Path, help='what other parts have written there is added')
    parser.add_argument('--verbose', action='store_true')
    given = parser.parse_args()
    began, counts, faults = time.time(), collections.Counter(), []
    only = tuple(given.only.split(',')) if given.only else ()
    part, parts = map(int, given.part.split('/'))
    for i, line in enumerate(list(lines(given.seed, given.count, only))[part::parts]):
        start = time.time()
        what, said = outcome(line, counts['trained'] < -(-given.train // parts))
        counts[what] += 1
        if what not in ('refused', 'accepted', 'trained'):
            faults.append({'line': line, 'outcome': what, 'said': said})
            print(f'{what}: {" ".join(line)}\n{said}', flush=True)
        elif given.verbose:
            print(f'{time.time() - start:.1f} {what}: {" ".join(line)}  {said.strip()}', flush=True)
        if i % 50 == 49:
            jax.clear_caches()
    senseless = list(map(typed, MEANINGLESS))[part::parts]
    refused = sum(outcome(one, False)[0] == 'refused' for one in senseless)
    report = {
        'seed': given.seed,
        'count': sum(counts.values()),
        'outcomes': dict.fromkeys(('refused', 'accepted', 'trained', 'traceback', 'hang'), 0)
        | counts,
        'meaningless': {'count': len(senseless), 'refused': refused},
        'date': datetime.date.today().isoformat(),
        'versions': {'python': platform.python_version(), 'jax': jax.__version__},
        'minutes': round((time.time() - began) / 60, 1),
    }
    if given.out:
        if part:
            report = added(json.loads(given.out.read_text()), report)
        given.out.write_text(json.dumps(report, indent=2) + '\n')
    print(json.dumps(report, indent=2))
    return int(bool(faults) or refused < len(senseless))


def added(before: dict, part: dict) -> dict:
    """The report of several parts."""
    numbers = {'count': before['count'] + part['count']}
    numbers['minutes'] = round(before['minutes'] + part['minutes'], 1)
    for group in ('outcomes', 'meaningless'):
        numbers[group] = {k: before[group][k] + n for k, n in part[group].items()}
    return part | numbers


def typed(one: tuple[str, str, str]) -> tuple[str, ...]:
    """The command line of a row of MEANINGLESS."""
    return f'--config={one[0]}:smoke', f'--config.{one[1]}={one[2]}'


if __name__ == '__main__':
    sys.exit(main())
