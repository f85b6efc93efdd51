"""The training command, in which every launcher ends, and its own options beside it."""

import argparse
import shlex
from collections.abc import Sequence

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


TRAINING = ('--config', '--workdir', '--from_scratch')


def line(words: Sequence[str]) -> str:
    return ' '.join(shlex.quote(word) for word in words)
