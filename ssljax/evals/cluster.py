"""Clusters against classes that their maker never saw, and how even they are."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import chance, kmeans
from ssljax.evals.pictures import bytes_of, strips
from ssljax.evals.subject import Subject, answers, entropy, one_class, pick, readout, split
from ssljax.names import Mistake, options

NEEDS = ('assign',)
BASELINES = (kmeans, chance)
SHOWN = ('nmi', 'purity', 'used')  # what a table shows, where it is there
LACKING = {'nmi': 'nmi, purity: the rows have no labels of two classes or more'}
GOOD, BAD = (60, 170, 60), (220, 30, 30)


def cluster(
    subject: Subject,
    *,
    split: str = 'test',
    size: int | None = None,
    clusters: int = 0,
    picture: bool = True,
) -> dict[str, float]:
    """Normalized mutual information with the classes, purity, and the clusters' sizes.

    clusters: how many the method has; 0: as many as it names. The baselines get as many, since nmi
    and purity grow with it.
    purity: the share of rows whose class is their cluster's commonest. accuracy: that of the best
    one-to-one naming of clusters by classes, where there are as many. used: how many clusters have
    rows. balance: the entropy of the sizes as a share of that of equal ones.
    """
    return score(subject, split, size, clusters, picture)


def score(subject, name, size, clusters, picture):
    source, part = subject.source, split(subject.source, name)
    index = pick(part.count, size)
    ask = readout(subject, 'assign', 'cluster')
    if 'clusters' in options(ask):  # a baseline
        ask = partial(ask, clusters=clusters or source.classes or 10)
    found, rows = answers(ask, part, index, keep=('label',))
    if found.shape != (len(index),) or found.dtype.kind not in 'iu' or found.min() < 0:
        raise Mistake(
            f'cluster needs one cluster >= 0 per row; {subject.name} gave'
            f' {found.dtype}{list(found.shape)}'
        )
    if clusters and found.max() >= clusters:
        raise Mistake(
            f'cluster: {subject.name} has a cluster {found.max()}, so there are more than'
            f' clusters={clusters}: set clusters to what the method has'
        )
    count = clusters or int(found.max()) + 1
    sizes = np.bincount(found, minlength=count)
    scores = {
        'used': int((sizes > 0).sum()),
        'of': count,
        'balance': float(entropy(sizes / len(found)) / np.log(max(count, 2))),
        'rows': len(found),
    }
    label = rows.get('label')
    if label is not None and not (one_class(label) and label.min() < label.max()):
        label = None
    if label is not None:
        scores |= against(found, label, count, source.classes)
    if picture and part.rows(index[:1])['x'].ndim == 4:
        draw(subject, part, index, found, label)
    return scores


def told(scores: Mapping[str, float]) -> dict[str, Any]:
    """Options of the baselines beside a model with these scores."""
    return {'clusters': scores['of']}


def against(
    found: np.ndarray, label: np.ndarray, clusters: int, classes: int = 0
) -> dict[str, float]:
    """How far clusters [N] agree with classes [N]; accuracy where there are as many."""
    table = np.zeros((clusters, max(classes, int(label.max()) + 1)))
    np.add.at(table, (found, label), 1)
    purity = float(table.max(1).sum() / table.sum())
    scores = {'nmi': nmi(table), 'ari': ari(table), 'purity': purity}
    return scores | ({'accuracy': named(table)} if clusters == table.shape[1] else {})


def nmi(table: np.ndarray) -> float:
    """I(cluster, class) over the mean of the two entropies, from counts [clusters, classes]."""
    p = table / table.sum()
    each = entropy(p.sum(0)) + entropy(p.sum(1))
    return float(2 * (each - entropy(p.ravel())) / each)


def ari(table: np.ndarray) -> float:
    """The adjusted Rand index of counts [clusters, classes]: 1 where they agree, 0 by chance."""

    def pairs(count):
        return (count * (count - 1) / 2).sum()

    both, rows, columns = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    chance = rows * columns / max(pairs(table.sum()), 1)
    most = (rows + columns) / 2
    return float((both - chance) / (most - chance)) if most != chance else 1.0


def named(table: np.ndarray) -> float:
    """Percent of rows in the cluster that is named as their class, by the best naming."""
    from scipy.optimize import linear_sum_assignment

    return 100 * float(table[linear_sum_assignment(-table)].sum() / table.sum())


def draw(
    subject: Subject,
    part: Any,
    index: np.ndarray,
    found: np.ndarray,
    label: np.ndarray | None,
    *,
    shown: int = 10,
) -> None:
    """Ten clusters from the greatest to small ones, ten members each; red: not its commonest class.

    Clusters of fewer than ten members are shown only where there are not enough others.
    """
    sizes = np.bincount(found)
    order = np.argsort(-sizes, kind='stable')
    full, some = order[sizes[order] >= shown], order[sizes[order] > 0]
    chosen = some[:shown]
    if len(full) > shown:
        chosen = full[np.linspace(0, len(full) - 1, shown).astype(int)]
    images, frames, names = {}, [], subject.source.class_names
    for c in chosen:
        members = np.flatnonzero(found == c)
        few = members[np.linspace(0, len(members) - 1, min(shown, len(members))).astype(int)]
        x = bytes_of(part.rows(index[few])['x'])
        blank = np.full((shown - len(few), *x.shape[1:]), 255, np.uint8)
        frame = np.full((shown, 3), 255)
        name = f'cluster {c}: {len(members)}'
        if label is not None:
            common = int(np.bincount(label[members]).argmax())
            frame[: len(few)] = np.where((label[few] == common)[:, None], GOOD, BAD)
            called = names[common] if common < len(names) else f'class {common}'
            name += f', {np.mean(label[members] == common):.0%} {called}'
        images[name] = np.concatenate([x, blank])
        frames.append(frame)
    subject.save('clusters', strips(images, frame=np.concatenate(frames)))
