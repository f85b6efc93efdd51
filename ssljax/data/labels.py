"""Sources with fewer labels or texts than another, wrong ones, or rare classes. They nest.

Only labels, texts and the choice of training rows change; all else is that of the inner source.
"""

from collections.abc import Callable
from typing import Annotated

import numpy as np

from ssljax.data import make
from ssljax.data.source import (
    Rows,
    Source,
    Split,
    draws,
    entries,
    fingerprint,
    mapped,
    permutation,
    select,
    uniform,
)
from ssljax.kinds import Count, DataSpec, Natural, Range, Share
from ssljax.names import Mistake, choose

# Numbers of draws and permutations that no source and no epoch uses, nor combine.py: with equal
# seeds they would be the same numbers, and noise would follow what it is to be independent of.
FLIPS, CHOICE, TAIL = 16, 2**62, 2**62 + 1


def few_labels(
    *,
    of: DataSpec,
    per_class: Count = 4,
    seed: Natural = 0,
    only: bool = False,
    share: Share = 0.0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Train keeps the labels of a few rows of each class, a fixed draw; all others are -1.

    The entry labelled says which. Validation and test stay as they are.

    of: the source, with labels.
    per_class: training rows of each class that keep their label.
    seed: of the draw of these rows.
    only: whether train has these rows alone, as for a supervised baseline.
    share: of the training rows that have a label; those with one are repeated until they are so
    many, after all others. 0: none is repeated.
    keep: true_label adds the label as it was.
    """
    for name in keep:
        choose(name, ('true_label',), 'entry of few_labels')
    only_or_share('few_labels', only, share)
    source = make(of)
    check_labels(source, 'few_labels')
    chosen = np.sort(drawn(source, per_class, seed))

    def hide(rows: Rows, known: np.ndarray) -> Rows:
        label = np.where(known, rows['label'], -1).astype(np.int32)
        return {**rows, 'label': label} | {name: rows['label'] for name in keep}

    what = (per_class, seed, only) + ((float(share), tuple(keep)) if share or keep else ())
    return source._replace(
        name=f'few_labels({source.name})',
        splits={**source.splits, 'train': few(source.splits['train'], chosen, hide, only, share)},
        fingerprint=fingerprint('few_labels 1', source.fingerprint, *what),
    )


def few_texts(
    *,
    of: DataSpec,
    count: Count = 100,
    seed: Natural = 0,
    only: bool = False,
    share: Share = 0.0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Train keeps the texts of a few rows, a fixed draw; of all others text_length is 0.

    The entry labelled says which. Validation and test stay as they are.

    of: the source, with texts.
    count: training rows that keep their text.
    seed: of the draw of these rows.
    only, share: as of `few_labels`.
    keep: true_text adds the text as it was, and true_text_length.
    """
    for name in keep:
        choose(name, ('true_text',), 'entry of few_texts')
    only_or_share('few_texts', only, share)
    source = make(of)
    train, row = source.splits['train'], entries(source)
    if not {'text', 'text_length'} <= set(row):
        raise Mistake(f'few_texts needs text and text_length; {source.name} has {", ".join(row)}')
    if count > train.count:
        raise Mistake(
            f'few_texts: count={count}, and {source.name} has {train.count} training rows; type'
            f' count={train.count} or less'
        )
    chosen = np.sort(permutation(seed, CHOICE, train.count)[:count])

    def hide(rows: Rows, known: np.ndarray) -> Rows:
        text, size = rows['text'], rows['text_length']
        true = {'true_text': text, 'true_text_length': size} if keep else {}
        size = np.where(known, size, 0).astype(np.int32)
        return {**rows, 'text': np.where(known[:, None], text, 0), 'text_length': size} | true

    return source._replace(
        name=f'few_texts({source.name})',
        splits={**source.splits, 'train': few(train, chosen, hide, only, share)},
        fingerprint=fingerprint(
            'few_texts 1', source.fingerprint, count, seed, only, float(share), tuple(keep)
        ),
    )


def only_or_share(who: str, only: bool, share: float) -> None:
    if only and share:
        raise Mistake(f'{who}: only leaves no row without a label for share={share}; type one')
    if share == 1:
        raise Mistake(f'{who}: share=1 leaves no row without a label; type only=True')


def few(train: Split, chosen: np.ndarray, hide: Callable, only: bool, share: float) -> Split:
    """Rows hide(rows, known), of which the chosen ones are known, and `labelled` says so; only
    these, or these repeated until they are a share of all."""
    known = np.zeros(train.count, bool)
    known[chosen] = True

    def change(index: np.ndarray, rows: Rows) -> Rows:
        return {**hide(rows, known[index]), 'labelled': known[index]}

    train = mapped(train, change)
    if only:
        return select(train, chosen)
    asked = round(share / (1 - share) * (train.count - len(chosen)))
    if (more := asked - len(chosen)) <= 0:
        return train
    return select(train, np.concatenate([np.arange(train.count), np.resize(chosen, more)]))


def drawn(source: Source, per_class: int, seed: int) -> np.ndarray:
    """The first `per_class` training rows of each class in a fixed permutation: int64 [K * n].

    Rows are read until there are enough: labels may lie in files, beside images to be decoded.
    """
    train = source.splits['train']
    order = permutation(seed, CHOICE, train.count)
    chosen: list[list[int]] = [[] for _ in range(source.classes)]
    for start in range(0, train.count, 512):
        part = order[start : start + 512]
        for i, label in zip(part, train.rows(part)['label'], strict=True):
            if label >= 0 and len(chosen[label]) < per_class:
                chosen[label].append(i)
        if all(len(rows) == per_class for rows in chosen):
            break
    for label, rows in enumerate(chosen):
        if 0 < len(rows) < per_class:  # a number that no row has is no class
            name = source.class_names[label] if source.class_names else label
            raise Mistake(
                f'few_labels: class {name} has {len(rows)} training rows in {source.name}, fewer'
                f' than per_class={per_class}; type per_class={min(map(len, filter(None, chosen)))}'
            )
    return np.array([i for rows in chosen for i in rows], np.int64)


def noisy_labels(
    *, of: DataSpec, rate: Share = 0.2, seed: Natural = 0, keep: tuple[str, ...] = ()
) -> Source:
    """Some training rows have the label of another class, each class equally likely.

    Validation and test stay as they are.

    of: the source, with labels.
    rate: the chance that a training row has another label.
    seed: of the draw of these rows and of their labels.
    keep: true_label adds the label as it was.
    """
    for name in keep:
        choose(name, ('true_label',), 'entry of noisy_labels')
    source = make(of)
    check_labels(source, 'noisy_labels')

    def change(index: np.ndarray, rows: Rows) -> Rows:
        chance, step = uniform(draws(seed, FLIPS, index, 2)).T
        label = rows['label']
        other = (label + 1 + (step * (source.classes - 1)).astype(np.int32)) % source.classes
        noisy = np.where((chance < rate) & (label >= 0), other, label).astype(np.int32)
        return {**rows, 'label': noisy} | {name: label for name in keep}

    return source._replace(
        name=f'noisy_labels({source.name})',
        splits={**source.splits, 'train': mapped(source.splits['train'], change)},
        fingerprint=fingerprint(
            'noisy_labels 1', source.fingerprint, float(rate), seed, tuple(keep)
        ),
    )


def long_tailed(
    *,
    of: DataSpec,
    count: Count = 10000,
    ratio: Annotated[float, Range(1)] = 100.0,
    seed: Natural = 0,
) -> Source:
    """Train keeps a few rows: many of the first classes, hardly any of the last.

    Cui et al. 2019, arXiv:1901.05555, section 5.1: the sizes fall by one factor from each class to
    the next. Validation and test stay as they are. A method that reads no label meets the classes
    as in a set that nobody has sorted.

    of: the source, with labels.
    count: training rows.
    ratio: how many times as large the first class is as the last; 1: all are equally large.
    seed: of the draw of the rows.
    """
    source = make(of)
    check_labels(source, 'long_tailed')
    train, classes = source.splits['train'], source.classes
    order = permutation(seed, TAIL, train.count)
    label = labels(train)[order]
    share = ratio ** (-np.arange(classes) / max(classes - 1, 1))
    # rounded so that they add up
    sizes = np.diff(np.rint(count * np.cumsum(share) / share.sum()), prepend=0).astype(int)
    have = np.bincount(label[label >= 0], minlength=classes)
    if (have < sizes).any():
        most, name = int(((have - 1) * share.sum() / share).min()), (have < sizes).argmax()
        raise Mistake(
            f'long_tailed: class {name} would have {sizes[name]} rows of count={count}, and'
            f' {source.name} has {have[name]}; type count={most} or less, or another ratio'
        )
    chosen = np.concatenate([order[label == c][:n] for c, n in enumerate(sizes)])
    return source._replace(
        name=f'long_tailed({source.name})',
        splits={**source.splits, 'train': select(train, np.sort(chosen))},
        fingerprint=fingerprint('long_tailed 1', source.fingerprint, count, float(ratio), seed),
    )


def check_labels(source: Source, who: str) -> None:
    if source.classes < 2 or 'label' not in entries(source):
        raise Mistake(f'{who} needs labels of two classes or more; {source.name} has none')


def labels(split: Split) -> np.ndarray:
    """The label of each row, read some rows at a time: labels may lie beside images."""
    starts = range(0, split.count, 512)
    parts = (np.arange(start, min(start + 512, split.count)) for start in starts)
    return np.concatenate([split.rows(part)['label'] for part in parts])
