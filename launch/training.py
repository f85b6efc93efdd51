"""The training command, in which every launcher ends, and its own options beside it."""

import argparse
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax import cli
from ssljax.names import Mistake


def parser(name: str, title: str) -> argparse.ArgumentParser:
    """With --dry_run; what it does not know belongs to the training command."""
    made = argparse.ArgumentParser(
        prog=f'python -m launch.{name}',
        description=title,
        usage=f'python -m launch.{name} [options] --config=FILE --workdir=DIR [--config.KEY=VALUE]',
        allow_abbrev=False,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.error = cli.mistaken
    made.add_argument('--dry_run', action='store_true', help='print what would be done, and end')
    return made


def parse(
    made: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> tuple[argparse.Namespace, list[str]]:
    """Its options, and the words of the training command: python -m ssljax.train ..."""
    known, rest = made.parse_known_args(arguments)
    for option, example in (('--config', 'configs/simclr.py'), ('--workdir', 'runs/simclr')):
        if not any(word == option or word.startswith(option + '=') for word in rest):
            raise Mistake(f'{option} is missing: type {option}={example}, say')
    for word in rest:
        name = word.partition('=')[0]
        if word.startswith('-') and name not in TRAINING and not name.startswith('--config.'):
            offered = [flag for action in made._actions for flag in action.option_strings]
            raise Mistake(
                f'unknown argument {name}; offered: {", ".join(sorted({*offered, *TRAINING}))},'
                ' --config.KEY=VALUE'
            )
    return known, ['python', '-m', 'ssljax.train', *rest]


def value(command: Sequence[str], option: str) -> str:
    """What the training command has for an option that it has."""
    for word, after in zip(command, [*command[1:], '']):
        name, equals, given = word.partition('=')
        if name == option:
            return given if equals else after
    raise AssertionError(f'parse saw that {option} is there')


def replaced(command: Sequence[str], option: str, new: str) -> list[str]:
    """The command with another value of an option."""
    old = value(command, option)
    words = [f'{option}={new}' if word == f'{option}={old}' else word for word in command]
    at = [i for i, word in enumerate(words) if word == option]
    for i in at:
        words[i + 1] = new
    return words


def in_bucket(command: Sequence[str], mounted: str) -> list[str]:
    """The command, its workdir in the bucket that is mounted there."""
    place = value(command, '--workdir')
    if Path(place).is_absolute() and not place.startswith(mounted):
        raise Mistake(f'--workdir={place} is not in the bucket; type a relative path')
    return replaced(command, '--workdir', str(Path(mounted) / place))


def install(extra: str) -> str:
    """Shell: this directory in a Python of its own, ~/env; that of an image is often too old."""
    return (
        'python3 -m pip install -q uv && python3 -m uv venv -q --allow-existing --python=3.12 ~/env'
        f" && python3 -m uv pip install -q --python ~/env/bin/python -e '.[train,tf,{extra}]'"
    )


TRAINING = ('--config', '--workdir', '--from_scratch')


def written(tree: Any) -> str:
    """YAML; a text of several lines stands as it is."""
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        style = '|' if '\n' in value else None
        return dumper.represent_scalar('tag:yaml.org,2002:str', value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(tree, Dumper=Dumper, sort_keys=False, width=1000)


def start(
    words: Sequence[str],
    absent: str,
    text: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Runs a program, which reads `text`; -> its exit code."""
    try:
        return subprocess.run(words, input=text, text=True, env=environment).returncode
    except FileNotFoundError:
        raise Mistake(f'there is no {words[0]} here; {absent}') from None


def line(words: Sequence[str]) -> str:
    return ' '.join(shlex.quote(word) for word in words)
