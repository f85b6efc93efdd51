"""What an evaluator is given: the data, and readouts: trained, untrained or a baseline's."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.data.source import Source, Split, permutation
from ssljax.names import Mistake, choose


class Subject(NamedTuple):
    """Whoever is scored. Evaluators are functions of it, so all are scored by the same code."""

    name: str  # 'trained', 'untrained', 'pixels', ...
    source: Source
    readouts: Mapping[str, Callable]  # name -> ask(batch of host arrays, **options) -> host arrays
    key: jax.Array
    save: Callable[[str, Any], None] = lambda name, picture: None  # (name, PIL image or text)
    # for evaluators that look inside a model or train it on: an ssljax.model.Model, of which they
    # use state, readouts, over(readout, state, rows, **options) and place(rows). None: a baseline
    model: Any = None
    layer: str = ''  # of which `encode` gives the features; empty: the method's own
    kept: dict | None = None  # features that were asked for, for the next evaluator


def readout(subject: Subject, name: str, who: str) -> Callable:
    """The readout `name` of the subject, or the Mistake that says what there is instead."""
    if name not in subject.readouts:
        offers = ', '.join(sorted(subject.readouts)) or 'none'
        raise Mistake(f'{who} needs the readout {name}; {subject.name} offers: {offers}')
    return subject.readouts[name]


def part_of(source: Source, name: str) -> Split:
    """The split `name` of the source, or the Mistake that says which there are."""
    return source.splits[choose(name, source.splits, f'split of {source.name}')]


def images_of(subject: Subject, name: str, who: str) -> Split:
    """The split `name`, if its rows are images."""
    part = part_of(subject.source, name)
    if len(shape := part.rows(np.arange(1))['x'].shape[1:]) == 3:
        return part
    raise Mistake(
        f'{who} needs images [H, W, C]; {subject.source.name} has rows {list(shape)}:'
        f' leave {who} out of the evals'
    )


def pick(count: int, size: int | None, *, seed: int = 0) -> np.ndarray:
    """`size` of the indices below `count` (all of them: None), in order, the same in every run."""
    if size is None or size >= count:
        return np.arange(count)
    # a random choice, since stored sets are often sorted by class
    return np.sort(permutation(seed, 1, count)[:size])


def answers(
    ask: Callable,
    split: Split,
    index: np.ndarray,
    *,
    keep: tuple[str, ...] = (),
    chunk: int = 1024,
    **options: Any,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What a readout answers for the rows `index`, and the entries `keep` of these rows."""
    parts, kept = [], []
    for i in np.array_split(index, max(1, math.ceil(len(index) / chunk))):
        rows = split.rows(i) | {'index': i.astype(np.int32)}
        parts.append(np.asarray(ask(rows, **options)))
        kept.append({name: np.asarray(rows[name]) for name in keep if name in rows})
    return np.concatenate(parts), {k: np.concatenate([rows[k] for rows in kept]) for k in kept[0]}


def features(
    subject: Subject, name: str, index: np.ndarray, who: str
) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] in float32 and labels [N] of rows of the split `name`."""
    h, rows = encoded(subject, name, index, who)
    return h, classes(subject, name, rows, who).astype(np.int32)


def encoded(
    subject: Subject, name: str, index: np.ndarray, who: str
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Features [N, D] in float32 of rows of the split `name`, and their labels if there are any."""
    ask = readout(subject, 'encode', who)
    kept = {} if subject.kept is None else subject.kept
    asked = subject.layer, name, index.tobytes()
    if asked not in kept:
        kept[asked] = answers(ask, part_of(subject.source, name), index, keep=('label',))
    h, rows = kept[asked]
    h = h.reshape(len(h), -1).astype(np.float32)
    if bad := int((~np.isfinite(h)).any(1).sum()):
        raise Mistake(
            f'{who}: {bad} of {len(h)} feature rows of {subject.name} are not finite;'
            ' the training diverged: lower the learning rate'
        )
    return h, rows


def classes(subject: Subject, name: str, rows: Mapping[str, Any], who: str) -> np.ndarray:
    """The labels of these rows of the split `name`, one class each; else a Mistake."""
    if 'label' not in rows:
        raise Mistake(
            f'{who} needs labels; {subject.source.name} has none: leave {who} out of the evals'
        )
    label = rows['label']
    if not one_class(label):
        raise Mistake(
            f'{who} needs one label >= 0 per row; the split {name} of {subject.source.name} has'
            f' {label.dtype}{list(label.shape)} from {label.min()}: leave {who} out of the evals'
        )
    return label


def one_class(label: np.ndarray) -> bool:
    """Whether each row has one label, a class."""
    return label.ndim == 1 and label.dtype.kind in 'iu' and label.min() >= 0
