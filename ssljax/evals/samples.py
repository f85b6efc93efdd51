"""Samples: a picture, and what a small classifier trained on the data thinks of them.

Salimans et al. 2016, arXiv:1606.03498 (inception score); Heusel et al. 2017, arXiv:1706.08500
(Frechet distance); kernel distance, precision and recall below. All with a classifier of the
source's own labels, so numbers compare with the baseline `real` and the untrained generator of the
same source, and with nothing published.
"""

import importlib
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from ssljax.evals.baselines import floats, real, train_ids
from ssljax.evals.pictures import grid
from ssljax.evals.subject import Subject, answers, entropy, pick, readout, split
from ssljax.losses import cross_entropy
from ssljax.names import Mistake
from ssljax.nets import Nets

NEEDS = ('sample',)
BASELINES = (real,)
SHOWN = ('frechet', 'sharpness', 'variety', 'known_words')  # what a table shows, where it is there
LESS = ('frechet', 'sharpness')  # of these less is better


def samples(
    subject: Subject,
    *,
    split: str = 'test',
    count: int | None = None,
    judge_steps: int = 600,
    net: str = '',
    options: Mapping[str, Any] = {},
) -> dict[str, float]:
    """Saves samples to look at and scores `count` of them (2000 images, 64 texts).

    The readout is handed rows of the split; half of it, the other half is the reference.
    net: 'PACKAGE.MODULE:FUNCTION' of yours, images [N, H, W, C] in [-1, 1] -> features [N, D], for
    the distances in place of the classifier: with Inception's weights, that is what is called FID.
    """
    if subject.source.vocab:
        return texts(subject, split, count or 64, options)
    return images(subject, split, count or 2000, judge_steps, net, options)


def images(subject, name, count, judge_steps, net, options):
    source, part = subject.source, split(subject.source, name)
    index = pick(part.count, 2 * count)
    if len(index) < 4:
        raise Mistake(f'samples needs 4 rows; the split {name} of {source.name} has {len(index)}')
    reference, index = index[::2], index[1::2]
    x, _ = answers(readout(subject, 'sample', 'samples'), part, index, **options)
    held = part.rows(reference)
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
    if x.ndim == 4:
        subject.save('samples', grid(x[:64]))
    if x.ndim == 2:  # points: their own coordinates are the features
        return {'frechet': frechet(x, held['x']), 'samples': len(x)}
    if net and x.ndim == 4:
        look = function(net)
        return apart(*(np.asarray(look(v)) for v in (x, floats(held['x'])))) | {'samples': len(x)}
    if 'label' not in held or x.ndim != 4:
        return {'samples': len(x)}
    judge = trained(source, judge_steps)
    p, h = judge.look(x)
    p_real, h_real = judge.look(floats(held['x']))
    right = 100 * float(np.mean(p_real.argmax(1) == held['label']))
    return opinion(p) | apart(h, h_real) | {'judge_accuracy': right, 'samples': len(x)}


def function(net: str) -> Callable:
    """What 'PACKAGE.MODULE:FUNCTION' names."""
    module, _, name = net.partition(':')
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Mistake(
            f'samples: no function {net!r} ({error}); type net=PACKAGE.MODULE:FUNCTION'
        ) from error


def apart(fake: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Distances of two sets of features [N, D], [M, D]."""
    found = {'frechet': frechet(fake, real), 'kernel': kernel(fake, real)}
    return found | precision_recall(fake, real)


def opinion(p: np.ndarray) -> dict[str, float]:
    """What class probabilities [N, K] of N samples say: nats, and a share of the samples."""
    each, whole = entropy(p).mean(), entropy(p.mean(0))
    return {
        'sharpness': float(each),  # H(y|x): low where every sample is of one class
        'variety': float(whole),  # H(y): log K where all classes occur alike
        'score': float(np.exp(whole - each)),  # 1 to K
        'confident': float((p.max(1) > 0.9).mean()),
    }


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) of features [N, D], [M, D]."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    A, B = np.atleast_2d(np.cov(a.T)), np.atleast_2d(np.cov(b.T))
    values, vectors = np.linalg.eigh(A)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    # (A B)^(1/2) has the trace of (A^(1/2) B A^(1/2))^(1/2), whose argument is symmetric
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ B @ root), 0, None)).sum()
    distance = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * cross
    return float(max(distance, 0))


def kernel(a: np.ndarray, b: np.ndarray) -> float:
    """The kernel distance of features [N, D], [M, D], times 1000: zero on average where both are of
    one distribution.

    Binkowski et al. 2018, arXiv:1801.01401, eq. 4: the unbiased MMD^2 of (x.y / D + 1)^3.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def within(x):
        k = (x @ x.T / x.shape[1] + 1) ** 3
        return (k.sum() - np.trace(k)) / (len(x) * (len(x) - 1))

    between = ((a @ b.T / a.shape[1] + 1) ** 3).mean()
    return float(1000 * (within(a) + within(b) - 2 * between))


def precision_recall(fake: np.ndarray, real: np.ndarray, *, k: int = 3) -> dict[str, float]:
    """The share of samples that lie among the data, and of data that lie among the samples.

    Kynkaanniemi et al. 2019, arXiv:1904.06991, eqs. 1 and 2: among are those within the distance
    of some row to its k-th nearest other. Nothing where there are too few rows.
    """
    if min(len(fake), len(real)) <= k:
        return {}

    def among(x, rows):
        reach = np.sort(distances(rows, rows), 1)[:, k]  # its nearest is itself
        return float((distances(x, rows) <= reach).any(1).mean())

    return {'precision': among(fake, real), 'recall': among(real, fake)}


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a_i - b_k|, [N, M]."""
    from scipy.spatial.distance import cdist

    return cdist(np.asarray(a, np.float64), np.asarray(b, np.float64))


class Judge(NamedTuple):
    """A small supervised classifier of one source."""

    look: Callable  # images [N, H, W, C] in [-1, 1] -> probabilities [N, K], features [N, D]


JUDGES: dict[tuple[str, int], Judge] = {}  # of this process: all subjects of a source share one


def trained(source, steps: int, *, batch: int = 128) -> Judge:
    """The judge of a source: the same for every subject, whatever its key."""
    if (source.fingerprint, steps) in JUDGES:
        return JUDGES[source.fingerprint, steps]
    train, random = split(source, 'train'), np.random.default_rng(0)
    label = train.rows(pick(train.count, 20000))['label']
    classes = source.classes or int(label.max()) + 1
    nets = Nets(encoder=dict(name='conv'), head=dict(name='mlp', dims=(classes,)))
    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def forward(net, x):
        h = net.encoder(x)
        return net.head(h), h

    def draw():
        rows = train.rows(random.integers(train.count, size=batch))
        return floats(rows['x']), rows['label']

    @jax.jit
    def start(x):
        params, stats, _ = nets.init(jax.random.key(0), forward, x)
        return params, stats, optimizer.init(params)

    @jax.jit
    def step(params, stats, opt, x, y):
        def loss(params):
            net = nets(params, stats, train=True)
            logits, _ = forward(net, x)
            return cross_entropy(logits, y).mean(), net.stats

        grads, stats = jax.grad(loss, has_aux=True)(params)
        updates, opt = optimizer.update(grads, opt, params)
        return optax.apply_updates(params, updates), stats, opt

    params, stats, opt = start(draw()[0])
    for _ in range(steps):
        params, stats, opt = step(params, stats, opt, *draw())

    @jax.jit
    def answer(x):
        logits, h = forward(nets(params, stats), x)
        return jax.nn.softmax(logits), h

    def look(x):
        chunk = min(500, len(x))
        parts = [
            jax.device_get(answer(np.pad(part, ((0, chunk - len(part)), *[(0, 0)] * 3))))
            for part in (x[i : i + chunk] for i in range(0, len(x), chunk))
        ]
        return tuple(np.concatenate(found)[: len(x)] for found in zip(*parts, strict=True))

    JUDGES[source.fingerprint, steps] = Judge(look)
    return JUDGES[source.fingerprint, steps]


def texts(subject, name, count, options):
    source, part = subject.source, split(subject.source, name)
    ids, _ = answers(
        readout(subject, 'sample', 'samples'), part, pick(part.count, count), **options
    )
    written = [''.join(source.vocab[t] for t in row) for row in ids]
    subject.save('samples', f'\n\n{"-" * 40}\n\n'.join(written[:8]) + '\n')
    known = set(words(''.join(source.vocab[t] for t in train_ids(source))))
    found = [word for line in written for word in words(line)[1:-1]]  # the outer two may be cut
    if not found:
        return {'known_words': 0.0, 'distinct_words': 0.0, 'words': 0, 'samples': len(ids)}
    return {
        'known_words': sum(word in known for word in found) / len(found),
        'distinct_words': len(set(found)) / len(found),
        'words': len(found),
        'samples': len(ids),
    }


def words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.lower())
