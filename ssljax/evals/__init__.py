"""Evaluators, found by listing: every file in here that has an `evaluator` offers one of its name.

An evaluator is a function (subject, *, options) -> Scores, with the readouts that it needs, trivial
baselines, and how its numbers are shown. The same code scores the trained model and the baselines.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import jax

from ssljax import names
from ssljax.data.source import Source
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.subject import Subject
from ssljax.kinds import SplitName

__all__ = [
    'Evaluator', 'Scores', 'Shown', 'Subject', 'explain', 'offered', 'trivial', 'without_rows',
]  # fmt: skip


@functools.cache
def offered() -> Mapping[str, Evaluator]:
    """The evaluators by name, in alphabetical order."""
    modules = {
        name: importlib.import_module(f'{__name__}.{name}') for name in names.modules(__name__)
    }
    return {
        name: module.evaluator
        for name, module in sorted(modules.items())
        if isinstance(getattr(module, 'evaluator', None), Evaluator)
    }


def one(name: str) -> Evaluator:
    return offered()[names.choose(name, offered(), 'evaluator')]


def explain(name: str, readouts: Iterable[str]) -> str:
    """Why the evaluator cannot run on a method with these readouts, in one line; '' if it can."""
    absent = ', '.join(need for need in one(name).needs if need not in readouts)
    offers = ', '.join(sorted(readouts)) or 'none'
    return absent and f'{name} needs the readout {absent}; this method offers: {offers}'


def without_rows(name: str, options: Mapping[str, Any], source: Source) -> str:
    """Why the evaluator cannot run on this data, in one line; '' if it has the splits."""
    for option, split in options.items():
        if split in get_args(SplitName) and split not in source.splits:
            return (
                f'{name} needs the split {split}, and {source.name} has'
                f' {", ".join(source.splits)}; type --config.evals.{name}.{option}=SPLIT'
            )
    return ''


def trivial(name: str, source: Source, key: jax.Array) -> dict[str, Mapping[str, Callable]]:
    """The evaluator's trivial baselines that this source admits: name -> readouts."""
    made = {baseline.__name__: baseline(source, key) for baseline in one(name).baselines}
    return {who: readouts for who, readouts in made.items() if readouts}
