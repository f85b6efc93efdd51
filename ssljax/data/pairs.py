"""Sources of pairs, and of classes that training never sees: for who learns what is alike."""

import numpy as np

from ssljax.data import make
from ssljax.data.combine import as_y
from ssljax.data.labels import check_labels, labels
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    draws,
    fingerprint,
    permutation,
    select,
    uniform,
)
from ssljax.kinds import Count, DataSpec, Natural, Part
from ssljax.names import Mistake

# PARTNERS: a number of draws that no other source uses; with equal seeds they would be the same
# draws. CLASSES: of a permutation of classes; others with this number are of rows.
PARTNERS, CLASSES = 64, 2**62 + 1


def pairs(*, of: DataSpec, share: Part = 0.5, times: Count = 1, seed: Natural = 0) -> Source:
    """x and y are two rows, and `same` says whether they are of one class.

    x and its label are the rows of the source in their order. y is another row of the class of x
    with the chance `share`, else a row of another class; of all such rows, each is equally likely.
    A pair is a function of (seed, split, index). Validation and test have a pair for each row.

    of: the source, with labels.
    share: the part of pairs that are of one class.
    times: an epoch of train has each row so often as x, each time with another draw of y.
    seed: of the draws.
    """
    source = make(of)
    check_labels(source, 'pairs')

    def split(name: str, part: Split) -> Split:
        label = labels(part)
        if label.min() < 0 or label.min() == label.max():
            raise Mistake(
                f'pairs: the split {name} of {source.name} has rows without a label, or one class;'
                ' type a source whose rows all have a label'
            )
        order = np.argsort(label, kind='stable')  # rows of a class lie side by side
        place = np.argsort(order)  # of each row among them
        size = np.bincount(label)
        start = np.cumsum(size) - size

        def rows(index: np.ndarray) -> Rows:
            i = index % part.count
            u = uniform(draws(seed, PARTNERS + SPLITS.index(name), index, 2))
            n, first = size[label[i]], start[label[i]]
            same = (u[:, 0] < share) & (n > 1)
            # of its class: 1 to n - 1 places further, around; of others: places but those n
            further = place[i] - first + 1 + np.floor(u[:, 1] * (n - 1)).astype(int)
            other = np.floor(u[:, 1] * (part.count - n)).astype(int)
            other += np.where(other >= first, n, 0)
            j = order[np.where(same, first + further % n, other)]
            return {**part.rows(i), **as_y(index, part.rows(j)), 'same': same}

        return Split(part.count * (times if name == 'train' else 1), rows)

    return source._replace(
        name=f'pairs({source.name})',
        splits={name: split(name, part) for name, part in source.splits.items()},
        fingerprint=fingerprint('pairs 1', source.fingerprint, float(share), times, seed),
    )


def classes_apart(
    *, of: DataSpec, test: Count = 10, validation: Natural = 0, seed: Natural = 0
) -> Source:
    """Validation and test have only classes that train never sees.

    Of each split, the rows of other classes are left out. Labels keep their numbers.

    of: the source, with labels.
    test: so many classes are for test alone. validation: so many for validation alone; 0: there is
    no validation split.
    seed: of the draw of these classes.
    """
    source = make(of)
    check_labels(source, 'classes_apart')
    if test + validation >= source.classes:
        raise Mistake(
            f'classes_apart: test={test} and validation={validation} leave none of the'
            f' {source.classes} classes of {source.name} to train on; type smaller numbers'
        )
    order = permutation(seed, CLASSES, source.classes)
    parts = np.split(order, [test, test + validation])
    chosen = dict(zip(('test', 'validation', 'train'), parts, strict=True))
    splits = {}
    for name, split in source.splits.items():
        index = np.flatnonzero(np.isin(labels(split), chosen[name]))
        if len(index):
            splits[name] = select(split, index)
    return source._replace(
        name=f'classes_apart({source.name})',
        splits=splits,
        fingerprint=fingerprint('classes_apart 1', source.fingerprint, test, validation, seed),
    )
