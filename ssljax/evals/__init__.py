"""Evaluators, found by listing: every file in here that has an `evaluator` offers one of its name.

An evaluator is a function (subject, *, options) -> Scores, with the readouts that it needs, trivial
baselines, and how its numbers are shown. The same code scores the trained model and the baselines.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax

from ssljax import names
from ssljax.data.source import Source
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.subject import Subject
from ssljax.kinds import Elsewhere, SplitName
from ssljax.values import peeled

__all__ = [
    'Evaluator', 'Scores', 'Shown', 'Subject', 'explain', 'obstacle', 'offered', 'trivial',
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


def obstacle(name: str, options: Mapping[str, Any], readouts: Iterable[str], source: Source) -> str:
    """Why the evaluator cannot run, for want of a readout or of a split that it cannot do without,
    in one line; '' if it has both."""
    if reason := explain(name, readouts):
        return reason
    fields = inspect.signature(one(name).run).parameters
    for option, split in options.items():
        kind, note = peeled(fields[option].annotation)
        own = kind == SplitName and not isinstance(note, Elsewhere)
        if own and split not in source.splits:
            there, typed = ', '.join(source.splits), f'evals.{name}.{option}=SPLIT'
            return (
                f'{name} needs the split {split}, and {source.name} has {there};'
                f' type --{typed}, in train --config.{typed}'
            )
    return ''


def trivial(name: str, source: Source, key: jax.Array) -> dict[str, Mapping[str, Callable]]:
    """The evaluator's trivial baselines that this source admits: name -> readouts."""
    made = {baseline.__name__: baseline(source, key) for baseline in one(name).baselines}
    return {who: readouts for who, readouts in made.items() if readouts}
