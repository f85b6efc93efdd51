"""Sources made of sources: unpaired domains, few labels, noisy labels, a degraded copy, a view of
each image. They nest.

Only what changes is made anew; splits, class names, tokens and decoder are those of the inner
source, and its fingerprint is part of the new one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssljax.data import make
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    draws,
    fingerprint,
    held,
    mapped,
    normal,
    permutation,
    select,
    uniform,
)
from ssljax.kinds import Count, DataSpec, Natural, NonNegative, Share, ViewSpec
from ssljax.names import Mistake, choose

# Numbers of draws and permutations that no source and no epoch uses: with equal seeds they would
# be the same numbers, and noise would follow what it is to be independent of.
FLIPS, CHANNEL, CHOICE = 16, 32, 2**62


def unpaired(*, x: DataSpec, y: DataSpec, apart: bool = False) -> Source:
    """Two domains whose rows do not belong together; each is walked in an order of its own.

    Batches have all entries of the first, and of the second its images as y and index_y (and where
    its rows are padded length_y); no labels of it. Splits: those that both have. An epoch is one
    of the first. For evaluation, row i is x_i with y_(i mod n_y).

    apart: of two sources whose rows belong together, as clean and degraded copies, train has the
    first half of x and the second half of y: no training row has its partner in the other domain.
    In validation and test all rows stay, so there y_i is the partner of x_i, for who measures.
    """
    first, second = make(x), make(y)
    if apart:
        first, second = halved(first, 0), halved(second, 1)
    for name, source in dict(x=first, y=second).items():
        if source.splits['train'].domains:
            raise Mistake(f'unpaired: {name} is {source.name}, which has two domains; type one')
    if 'y' in entries(first):
        raise Mistake(f'unpaired: x is {first.name}, whose rows have a y; type a source without')
    splits = {
        name: pair(split, mapped(second.splits[name], as_y))
        for name, split in first.splits.items()
        if name in second.splits
    }
    decoders = dict.fromkeys(d for d in (first.decoder, second.decoder) if d)
    return first._replace(
        name=f'unpaired({first.name}, {second.name})',
        splits=splits,
        fingerprint=fingerprint('unpaired 1', first.fingerprint, second.fingerprint),
        decoder=', '.join(decoders),
    )


def halved(source: Source, half: int) -> Source:
    """A source with the first (0) or the second half (1) of its training rows."""
    train = source.splits['train']
    if train.count < 2:
        raise Mistake(f'unpaired: {source.name} has {train.count} training row; apart needs two')
    part = np.array_split(np.arange(train.count), 2)[half]
    return source._replace(
        splits={**source.splits, 'train': select(train, part)},
        fingerprint=fingerprint('half 1', source.fingerprint, half),
    )


def as_y(index: np.ndarray, rows: Rows) -> Rows:
    """A row of the second domain, under the names that a batch has for it."""
    names = {'x': 'y', 'length': 'length_y'}
    return {new: rows[old] for old, new in names.items() if old in rows}


def pair(x: Split, y: Split) -> Split:
    """Two domains as one split; its rows are pairs, for evaluation."""

    def rows(index: np.ndarray) -> Rows:
        partner = index % y.count
        return {**x.rows(index), **y.rows(partner), 'index_y': partner.astype(np.int32)}

    return Split(x.count, rows, domains=(x, y))


def few_labels(
    *, of: DataSpec, per_class: Count = 4, seed: Natural = 0, only: bool = False
) -> Source:
    """Train keeps the labels of a few rows of each class, a fixed draw; all others are -1.

    The entry labelled says which. Validation and test stay as they are.

    of: the source, with labels.
    per_class: training rows of each class that keep their label.
    seed: of the draw of these rows.
    only: whether train has these rows alone, as for a supervised baseline.
    """
    source = make(of)
    check_labels(source, 'few_labels')
    train = source.splits['train']
    chosen = drawn(source, per_class, seed)
    known = np.zeros(train.count, bool)
    known[chosen] = True

    def hide(index: np.ndarray, rows: Rows) -> Rows:
        label = np.where(known[index], rows['label'], -1).astype(np.int32)
        return {**rows, 'label': label, 'labelled': known[index]}

    train = mapped(train, hide)
    return source._replace(
        name=f'few_labels({source.name})',
        splits={**source.splits, 'train': select(train, np.sort(chosen)) if only else train},
        fingerprint=fingerprint('few_labels 1', source.fingerprint, per_class, seed, only),
    )


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


def degraded(
    *,
    of: DataSpec,
    noise: NonNegative = 0.1,
    blur: NonNegative = 1.0,
    contrast: Share = 0.5,
    seed: Natural = 0,
) -> Source:
    """x is a degraded copy of each image (or clip), y the clean one: a pair, in all splits.

    Less contrast, then blur, then noise, each of a strength that is drawn for the row, uniformly
    up to the option: the part of the contrast that is lost; the standard deviation of the blur in
    pixels; that of the noise as a part of the range. A row is a function of (seed, split, index).
    """
    source = make(of)
    row = entries(source)
    if 'y' in row:
        raise Mistake(f'degraded: rows of {source.name} have a y already; type a source without')
    if row['x'].dtype != np.uint8 or row['x'].ndim not in (4, 5):
        form = f'{row["x"].dtype}{list(row["x"].shape[1:])}'
        raise Mistake(
            f'degraded: rows of {source.name} are {form}; it takes images, uint8 [H, W, C], and'
            ' clips, uint8 [T, H, W, C]'
        )
    strengths = np.array([contrast, blur, noise], float)
    pixels = row['x'][0].size

    def split(name: str) -> Split:
        def change(index: np.ndarray, rows: Rows) -> Rows:
            x, at_once = np.empty_like(rows['x']), max(1, 2**20 // pixels)  # draws take memory
            for start in range(0, len(index), at_once):
                part = slice(start, start + at_once)
                words = draws(seed, CHANNEL + SPLITS.index(name), index[part], 3 + pixels)
                x[part] = degrade(rows['x'][part], words, strengths)
            return {**rows, 'x': x, 'y': rows['x']}

        return mapped(source.splits[name], change)

    return source._replace(
        name=f'degraded({source.name})',
        splits={name: split(name) for name in source.splits},
        fingerprint=fingerprint('degraded 1', source.fingerprint, strengths, seed),
    )


def degrade(x: np.ndarray, words: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """uint8 [B, (T,) H, W, C], words [B, 3 + pixels of a row] -> the same through the channel."""
    lost, sigma, noise = (uniform(words[:, :3]) * strengths).astype(np.float32).T[..., None, None]
    height, width = x.shape[-3:-1]
    image = np.moveaxis(x, -1, 1).astype(np.float32) / 255
    shape = image.shape  # [B, C, (T,) H, W]
    mean = image.mean(tuple(range(1, image.ndim)), keepdims=True)
    image = image.reshape(len(x), -1, height * width)
    image = image + lost * (mean.reshape(-1, 1, 1) - image)
    image = image.reshape(len(x), -1, height, width)
    tall, wide = (gauss(side, sigma)[:, None] for side in (height, width))
    image = tall @ image @ wide.swapaxes(-1, -2)
    image = image.reshape(shape) + (noise * normal(words[:, None, 3:])).reshape(shape)
    return np.moveaxis(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), 1, -1)


def viewed(
    *, of: DataSpec, view: ViewSpec, seed: Natural = 0, keep: tuple[str, ...] = ()
) -> Source:
    """x is a view of each image, drawn once for each row: the same in every epoch.

    A row is a function of (seed, split, index), up to the rounding of a level on another processor.

    of: the source, of images.
    view: of ssljax.augment, as dict(name='document').
    seed: of the draws.
    keep: y adds the image as it was.
    """
    for name in keep:
        choose(name, ('y',), 'entry of viewed')
    import jax  # here: most sources need no jax

    from ssljax import augment

    source, draw = make(of), augment.make(view)
    row = entries(source)
    if row['x'].dtype != np.uint8 or row['x'].ndim != 4 or ('y' in row and keep):
        raise Mistake(
            f'viewed takes images, uint8 [H, W, C], without a y; rows of {source.name} are'
            f' {row["x"].dtype}{list(row["x"].shape[1:])}' + ' with a y' * ('y' in row)
        )

    @jax.jit  # of one row: its rounding does not depend on who is asked for beside it
    def drawn(stream: Any, index: Any, image: Any) -> Any:
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), index)
        made = draw(key, image / 127.5 - 1)
        return jax.numpy.clip(made * 127.5 + 128, 0, 255).astype('uint8')

    def split(name: str) -> Split:
        def change(index: np.ndarray, rows: Rows) -> Rows:
            # beside an accelerator it is the host that makes data
            with jax.default_device(jax.local_devices(backend='cpu')[0]):
                stream = SPLITS.index(name)
                x = [drawn(stream, int(i), one) for i, one in zip(index, rows['x'], strict=True)]
            x = np.stack(x) if x else rows['x']
            return {**rows, 'x': x} | {entry: rows['x'] for entry in keep}

        made = mapped(source.splits[name], change)
        small = made.count * row['x'].size < 2**30 and not (made.stream or made.domains)
        return held(made) if small else made

    spec = dict(view) if isinstance(view, Mapping) else repr(view)
    return source._replace(
        name=f'viewed({source.name})',
        splits={name: split(name) for name in source.splits},
        fingerprint=fingerprint('viewed 1', source.fingerprint, spec, seed, tuple(keep)),
        decoder=', '.join(filter(None, (source.decoder, f'jax {jax.__version__}'))),
    )


def gauss(side: int, sigma: np.ndarray) -> np.ndarray:
    """Blurs along an axis, each output a mean of inputs, for sigma [B, 1, 1]: [B, side, side]."""
    distance = np.arange(side)[:, None] - np.arange(side)
    kernel = np.exp(-0.5 * (distance / np.maximum(sigma, 1e-3)) ** 2)
    return (kernel / kernel.sum(-1, keepdims=True)).astype(np.float32)


def entries(source: Source) -> Rows:
    """The first training row of a source, as a batch of one."""
    return source.splits['train'].rows(np.arange(1))


def check_labels(source: Source, who: str) -> None:
    if source.classes < 2 or 'label' not in entries(source):
        raise Mistake(f'{who} needs labels of two classes or more; {source.name} has none')
