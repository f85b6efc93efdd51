"""Clusters against classes that their maker never saw, and how even they are."""

from functools import partial
from typing import Any

import numpy as np

from ssljax.evals.baselines import chance, kmeans
from ssljax.evals.evaluator import Evaluator, Scores, Shown
from ssljax.evals.measures import entropy
from ssljax.evals.partitions import against
from ssljax.evals.pictures import bytes_of, strips
from ssljax.evals.subject import Subject, answers, one_class, part_of, pick, readout
from ssljax.kinds import Count, Natural, SplitName
from ssljax.names import Mistake, options

GOOD, BAD = (60, 170, 60), (220, 30, 30)


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    size: Count | None = None,
    clusters: Natural = 0,
    picture: bool = True,
) -> Scores:
    """Normalized mutual information with the classes, purity, and the clusters' sizes.

    purity: the share of rows whose class is their cluster's commonest. accuracy: that of the best
    one-to-one naming of clusters by classes, where there are as many. used: how many clusters have
    rows. balance: the entropy of the sizes as a share of that of equal ones.

    split, size: so many rows of this split; none: all.
    clusters: how many the method has; 0: as many as it names. The baselines get as many, since nmi
    and purity grow with it.
    picture: whether members of some clusters are saved as a picture.
    """
    source, part = subject.source, part_of(subject.source, split)
    index = pick(part.count, size)
    ask = readout(subject, 'assign', 'cluster')
    if 'clusters' in options(ask):  # a baseline
        ask = partial(ask, clusters=clusters or source.classes or 10)
    cluster, rows = answers(ask, part, index, keep=('label',))
    if cluster.shape != (len(index),) or cluster.dtype.kind not in 'iu' or cluster.min() < 0:
        raise Mistake(
            f'cluster needs one cluster >= 0 per row; {subject.name} gave'
            f' {cluster.dtype}{list(cluster.shape)}'
        )
    if clusters and cluster.max() >= clusters:
        raise Mistake(
            f'cluster: {subject.name} has a cluster {cluster.max()}, so there are more than'
            f' clusters={clusters}: set clusters to what the method has'
        )
    count = clusters or int(cluster.max()) + 1
    sizes = np.bincount(cluster, minlength=count)
    numbers = {
        'used': int((sizes > 0).sum()),
        'of': count,
        'balance': float(entropy(sizes / len(cluster)) / np.log(max(count, 2))),
        'rows': len(cluster),
    }
    label = rows.get('label')
    if label is not None and not (one_class(label) and label.min() < label.max()):
        label = None
    if picture and part.rows(index[:1])['x'].ndim == 4:
        draw(subject, part, index, cluster, label)
    if label is None:
        return Scores(numbers)
    scores = against(cluster, label, count, source.classes)
    return scores._replace(numbers=scores.numbers | numbers)


def draw(
    subject: Subject,
    part: Any,
    index: np.ndarray,
    cluster: np.ndarray,
    label: np.ndarray | None,
    *,
    shown: int = 10,
) -> None:
    """Ten clusters from the greatest to small ones, ten members each; red: not its commonest class.

    Clusters of fewer than ten members are shown only where there are not enough others.
    """
    sizes = np.bincount(cluster)
    order = np.argsort(-sizes, kind='stable')
    full, some = order[sizes[order] >= shown], order[sizes[order] > 0]
    chosen = some[:shown]
    if len(full) > shown:
        chosen = full[np.linspace(0, len(full) - 1, shown).astype(int)]
    images, frames, names = {}, [], subject.source.class_names
    for c in chosen:
        members = np.flatnonzero(cluster == c)
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


evaluator = Evaluator(
    run=score,
    needs=('assign',),
    baselines=(kmeans, chance),
    shown={
        'nmi': Shown('clusters, NMI', decimals=3),
        'purity': Shown('clusters, purity', decimals=3),
        'used': Shown('clusters, used', decimals=0),
    },
    told=lambda numbers: {'clusters': numbers['of']},
    lacking={'nmi': 'nmi, purity: the rows have no labels of two classes or more'},
)
