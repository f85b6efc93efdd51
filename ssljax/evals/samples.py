"""Samples: a picture, how far they lie from held-out rows, and what a small classifier trained on
the data thinks of them.

Gneiting, Raftery 2007 (energy score); Salimans et al. 2016, arXiv:1606.03498 (inception score);
Heusel et al. 2017, arXiv:1706.08500 (Frechet distance); kernel distance, precision and recall: see
distances.py. The latter with a classifier of the source's own labels, so numbers compare with the
baseline `real` and the untrained generator of the same source, and with nothing published.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ssljax.data.source import of_tokens
from ssljax.evals.baselines import real, train_ids
from ssljax.evals.distances import energy_score, frechet, kernel, precision_recall
from ssljax.evals.evaluator import Evaluator, Scores, Shown, averaged, passed_on
from ssljax.evals.judge import trained
from ssljax.evals.measures import entropy, floats, percent, ratio
from ssljax.evals.pictures import grid
from ssljax.evals.subject import Subject, answers, part_of, pick, readout
from ssljax.kinds import Count, SplitName
from ssljax.names import Mistake


def score(
    subject: Subject,
    *,
    split: SplitName = 'test',
    count: Count | None = None,
    judge_steps: Count = 600,
    net: str = '',
    options: Mapping[str, Any] = {},
) -> Scores:
    """Saves samples to look at and scores them.

    energy_score: of each held-out row under the samples, a proper score, more is better. Of points
    also the Frechet distance, of images with labels all that the classifier says.

    split: whose rows the readout is handed; half of them, the other half is held out.
    count: of samples; none: 2000, of texts 64.
    judge_steps: in which the classifier learns.
    net: 'PACKAGE.MODULE:FUNCTION' of yours, images [N, H, W, C] in [-1, 1] -> features [N, D], for
    the distances in place of the classifier: with Inception's weights, that is what is called FID.
    options: of the readout sample.
    """
    if of_tokens(subject.source):
        return of_texts(subject, split, count or 64, options)
    return of_rows(subject, split, count or 2000, judge_steps, net, options)


def of_rows(
    subject: Subject, split: str, count: int, judge_steps: int, net: str, options: Mapping[str, Any]
) -> Scores:
    """Of images, points and whatever else is numbers."""
    source, part = subject.source, part_of(subject.source, split)
    index = pick(part.count, 2 * count)
    if len(index) < 4:
        raise Mistake(f'samples needs 4 rows; the split {split} of {source.name} has {len(index)}')
    held, index = part.rows(index[::2]), index[1::2]
    x, _ = answers(readout(subject, 'sample', 'samples'), part, index, **options)
    if x.shape[1:] != held['x'].shape[1:]:
        raise Mistake(
            f'samples needs samples of the shape of the data {list(held["x"].shape[1:])};'
            f' {subject.name} gave {list(x.shape[1:])}'
        )
    if bad := int((~np.isfinite(x.reshape(len(x), -1))).any(1).sum()):
        raise Mistake(
            f'samples: {bad} of {len(x)} samples of {subject.name} are not finite; the training'
            ' diverged: lower the learning rate'
        )
    truth = floats(held['x'])
    rows, numbers = {'energy_score': energy_score(x, truth)}, {'samples': len(x)}
    if x.ndim == 4:
        subject.save('samples', grid(x[:64]))
    if x.ndim == 2:  # points: their own coordinates are the features
        numbers['frechet'] = frechet(x, truth)
    elif net and x.ndim == 4:
        look = function(net)
        h, h_real = (np.asarray(look(v)) for v in (x, truth))
        rows, numbers = rows | precision_recall(h, h_real), numbers | distances(h, h_real)
    elif 'label' in held and x.ndim == 4:
        judge = trained(source, judge_steps)
        p, h = judge.look(x)
        p_real, h_real = judge.look(truth)
        rows |= precision_recall(h, h_real) | opinion(p)
        rows['judge_accuracy'] = percent(p_real.argmax(1) == held['label'])
        numbers |= distances(h, h_real) | variety(p)
    return averaged(rows, **numbers)


def function(net: str) -> Callable:
    """What 'PACKAGE.MODULE:FUNCTION' names."""
    module, _, name = net.partition(':')
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Mistake(
            f'samples: no function {net!r} ({error}); type net=PACKAGE.MODULE:FUNCTION'
        ) from error


def distances(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Distances of two sets of features [N, D], [M, D]."""
    return {'frechet': frechet(fake, real), 'kernel': kernel(fake, real)}


def opinion(p: np.ndarray) -> dict[str, np.ndarray]:
    """What class probabilities [N, K] say of each sample [N]."""
    return {
        'sharpness': entropy(p),  # H(y|x), in nats: low where a sample is of one class
        'confident': p.max(1) > 0.9,
    }


def variety(p: np.ndarray) -> dict[str, float]:
    """What class probabilities [N, K] say of all samples together."""
    whole = entropy(p.mean(0))
    return {
        'variety': float(whole),  # H(y), in nats: log K where all classes occur alike
        'score': float(np.exp(whole - entropy(p).mean())),  # 1 to K
    }


def of_texts(subject: Subject, split: str, count: int, options: Mapping[str, Any]) -> Scores:
    """How many of the words are words of train, by text."""
    source, part = subject.source, part_of(subject.source, split)
    ask = readout(subject, 'sample', 'samples')
    ids, _ = answers(ask, part, pick(part.count, count), **options)
    written = [''.join(source.vocab[t] for t in row) for row in ids]
    subject.save('samples', f'\n\n{"-" * 40}\n\n'.join(written[:8]) + '\n')
    known = set(words(''.join(source.vocab[t] for t in train_ids(source))))
    inner = [words(text)[1:-1] for text in written]  # the outer two may be cut
    total = sum(map(len, inner))
    numbers = {'words': total, 'samples': len(ids)}
    if not total:
        return Scores({'known_words': 0.0, 'distinct_words': 0.0, **numbers})
    mine = [sum(word in known for word in line) for line in inner]
    distinct = len({word for line in inner for word in line})
    return averaged(
        {'known_words': ratio(mine, [len(line) for line in inner])},
        distinct_words=distinct / total,
        **numbers,
    )


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.lower())


evaluator = Evaluator(
    run=score,
    needs=('sample',),
    baselines=(real,),
    shown={
        'frechet': Shown('samples, Frechet distance', less=True),
        'energy_score': Shown('samples, energy score', decimals=3),
        'sharpness': Shown('samples, sharpness', less=True, decimals=2),
        'variety': Shown('samples, variety', decimals=2),
        'known_words': Shown('samples, known words', decimals=3),
    },
    asks=passed_on('sample'),
)
