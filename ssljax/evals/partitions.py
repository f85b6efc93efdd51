"""How far two partitions of the same rows agree: clusters and classes."""

import numpy as np

from ssljax.evals.evaluator import Scores, averaged
from ssljax.evals.measures import entropy, percent


def against(cluster: np.ndarray, label: np.ndarray, clusters: int, classes: int = 0) -> Scores:
    """How far clusters [N] agree with classes [N]; accuracy where there are as many."""
    counts = np.zeros((clusters, max(classes, int(label.max()) + 1)))
    np.add.at(counts, (cluster, label), 1)
    rows = {'purity': counts.argmax(1)[cluster] == label}
    if clusters == counts.shape[1]:
        rows['accuracy'] = percent(named(counts)[cluster] == label)
    return averaged(rows, nmi=nmi(counts), ari=ari(counts))


def nmi(counts: np.ndarray) -> float:
    """I(cluster, class) over the arithmetic mean of the two entropies, as scikit-learn has it, from
    counts [clusters, classes].

    Over their geometric mean it is ssljax.cluster.agreement, the measure of Caron et al. 2018.
    """
    p = counts / counts.sum()
    each = entropy(p.sum(0)) + entropy(p.sum(1))
    return float(2 * (each - entropy(p.ravel())) / each)


def ari(counts: np.ndarray) -> float:
    """The adjusted Rand index of counts [clusters, classes]: 1 where they agree, 0 by chance."""

    def pairs(count):
        return (count * (count - 1) / 2).sum()

    both, rows, columns = pairs(counts), pairs(counts.sum(1)), pairs(counts.sum(0))
    chance = rows * columns / max(pairs(counts.sum()), 1)
    most = (rows + columns) / 2
    return float((both - chance) / (most - chance)) if most != chance else 1.0


def named(counts: np.ndarray) -> np.ndarray:
    """The class that each cluster is named as, by the best one-to-one naming [clusters]."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(-counts)[1]
