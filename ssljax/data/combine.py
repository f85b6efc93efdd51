"""Sources made of sources: two domains or both at once, a degraded copy, a view of each image,
black and white images. Those that change labels are in labels.py.

They nest. Only what changes is made anew; splits, class names, tokens and decoder are those of the
inner source, and its fingerprint is part of the new one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.data import make
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    draws,
    entries,
    fingerprint,
    held,
    mapped,
    normal,
    select,
    uniform,
)
from ssljax.kinds import DataSpec, Natural, NonNegative, Share, ViewSpec
from ssljax.names import Mistake, choose

# Numbers of draws that no source uses, nor labels.py: with equal seeds they would be the same
# numbers, and noise would follow what it is to be independent of.
CHANNEL, COINS = 32, 48


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
        first, second = _halved(first, 0), _halved(second, 1)
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


def _halved(source: Source, half: int) -> Source:
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


def joined(*, first: DataSpec, second: DataSpec, share: Share = 0.5) -> Source:
    """Trains on two sources at once, and is validated and tested on the second alone.

    In an epoch, each row of the first is met once and each of the second as often as its share
    asks, at least once; they are shuffled together. Rows have the entries that both have; texts get
    one vocabulary of the tokens of both.

    first, second: the sources; equal entries have equal shapes, but for texts.
    share: the part of training rows that are of the second.
    """
    sources = make(first), make(second)
    for name, source in zip(('first', 'second'), sources):
        if source.splits['train'].domains:
            raise Mistake(f'joined: {name} is {source.name}, which has two domains; type one')
    if not 0 < share < 1:
        raise Mistake(f'joined: share={share}; type a part between 0 and 1, or one source alone')
    rows = [entries(source) for source in sources]
    alike = sources[0].class_names == sources[1].class_names
    names = [name for name in rows[0] if name in rows[1] and (alike or name != 'label')]
    for name in names:
        a, b = rows[0][name], rows[1][name]
        if (a.shape != b.shape and name != 'text') or a.dtype != b.dtype:
            raise Mistake(
                f'joined: {name} is {a.dtype}{list(a.shape[1:])} in {sources[0].name} and {b.dtype}'
                f'{list(b.shape[1:])} in {sources[1].name}; type options that make them equal'
            )
    if 'text' in names and not {'text_length'} & set(names):
        raise Mistake('joined: a source has texts without text_length; type one that has both')
    vocab = tuple(dict.fromkeys(token for source in sources for token in source.vocab))
    places = {token: i for i, token in enumerate(vocab)}
    most = max(part['text'].shape[1] for part in rows) if 'text' in names else 0

    def fitted(source: Source) -> Callable[[np.ndarray, Rows], Rows]:
        table = np.array([places[token] for token in source.vocab], np.int32)

        def change(index: np.ndarray, rows: Rows) -> Rows:
            rows = {name: rows[name] for name in names if name in rows}
            if 'text' in rows:
                text = table[rows['text']]
                rows['text'] = np.pad(text, ((0, 0), (0, most - text.shape[1])))
            return rows

        return change

    def tokens(texts: Sequence[str]) -> Rows:
        return change(np.arange(len(texts)), sources[1].tokens(texts))

    change = fitted(sources[1])
    one, two = (mapped(source.splits['train'], fitted(source)) for source in sources)
    times = max(1, round(share / (1 - share) * one.count / two.count))

    def both(index: np.ndarray) -> Rows:
        parts = np.flatnonzero(index < one.count), np.flatnonzero(index >= one.count)
        found = one.rows(index[parts[0]]), two.rows((index[parts[1]] - one.count) % two.count)
        made = {}
        for name in names:
            made[name] = np.empty((len(index), *found[0][name].shape[1:]), found[0][name].dtype)
            for part, rows in zip(parts, found, strict=True):
                made[name][part] = rows[name]
        return made

    splits = {name: mapped(split, change) for name, split in sources[1].splits.items()}
    decoders = dict.fromkeys(source.decoder for source in sources if source.decoder)
    return Source(
        f'joined({sources[0].name}, {sources[1].name})',
        {**splits, 'train': Split(one.count + times * two.count, both)},
        fingerprint('joined 1', *(source.fingerprint for source in sources), float(share)),
        classes=sources[1].classes if alike else 0,
        class_names=sources[1].class_names if alike else (),
        vocab=vocab,
        decoder=', '.join(decoders),
        tokens=tokens if most and sources[1].tokens else None,
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


def binarized(*, of: DataSpec, seed: Natural = 0) -> Source:
    """Black and white images: each pixel is drawn once, its gray value the chance of white.

    uint8, 0 or 255, in all splits. A pixel is a function of (seed, split, index, place), so it is
    the same in every epoch. Salakhutdinov, Murray 2008, doi:10.1145/1390156.1390266, draw MNIST so.
    """
    source = make(of)
    x = entries(source)['x']
    if x.dtype != np.uint8:
        raise Mistake(
            f'binarized: rows of {source.name} are {x.dtype}{list(x.shape[1:])}; it takes uint8'
        )
    pixels = x[0].size

    def split(name: str) -> Split:
        def change(index: np.ndarray, rows: Rows) -> Rows:
            white, at_once = np.empty_like(rows['x']), max(1, 2**20 // pixels)  # draws take memory
            for start in range(0, len(index), at_once):
                part = slice(start, start + at_once)
                words = draws(seed, COINS + SPLITS.index(name), index[part], pixels)
                chance = rows['x'][part].astype(np.float64) / 255
                white[part] = 255 * (uniform(words).reshape(chance.shape) < chance)
            return {**rows, 'x': white}

        return mapped(source.splits[name], change)

    return source._replace(
        name=f'binarized({source.name})',
        splits={name: split(name) for name in source.splits},
        fingerprint=fingerprint('binarized 1', source.fingerprint, seed),
    )


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
