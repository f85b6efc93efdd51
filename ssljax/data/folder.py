"""A directory of the user's own images, with class folders or without: name=folder:DIR."""

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ssljax.cli import span
from ssljax.data.pixels import (
    THREADS,
    Loader,
    canvas,
    each,
    load,
    opened,
    pillow,
    pixels,
    route,
    stream,
    tensorflow,
)
from ssljax.data.scan import SUFFIXES, File, Scan, book, scan
from ssljax.data.source import SPLITS, Rows, Source, Split, fingerprint, held, select
from ssljax.kinds import Count, Natural, NonNegative, Range
from ssljax.names import Mistake, nearest

PARTS = {
    'train': 'train',
    'training': 'train',
    'val': 'validation',
    'valid': 'validation',
    'validation': 'validation',
    'test': 'test',
    'testing': 'test',
}
SHOWN = 20  # of the files that are left out


def folder(
    *,
    path: str = '',
    size: Count | tuple[Count, Count] = 64,
    channels: Literal[0, 1, 3] = 0,
    label: bool = True,
    validation: NonNegative = 0.1,
    test: NonNegative = 0.1,
    bits: Annotated[int, Range(8, 16)] = 16,
    loader: Loader = 'auto',
    hold: Natural = 2**30,
) -> Source:
    """Any images below a directory. The first level of folders is the class; it may have none.

    If the top level is train/ and test/ or validation/ (val/, valid/), these are the splits.
    Broken files are listed and left out; what is transparent becomes white.

    path: the directory.
    size: side, or (height, width), of the canvas: scaled to cover it, then cropped at the center.
    channels: 1 or 3; 0 means 1 where every image is stored as gray, else 3.
    label: false: folders are no classes, as in a collection of photographs by year.
    validation, test: rows (500) or a part (0.1) held out of train, where there is no such folder.
        The choice follows the bytes of the files, so copies of an image are never on both sides.
    bits: of the images with 16 bits a pixel, how many are in use: 2 ** bits - 1 becomes 255.
    loader: 'tf' (tf.data), 'numpy' (threads, without TensorFlow), 'auto' (numpy, which is faster):
        Pillow decodes in both, so pixels are the same.
    hold: images of at most so many bytes in all are decoded once and kept in host memory.
    """
    root = locate(path)
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise Mistake(f'folder: size={size}; type a side of 1 pixel or more, as size=64')
    if channels not in (0, 1, 3):
        raise Mistake(f'folder: channels={channels}; offered: 0 (as the images are), 1, 3')
    if not 8 <= bits <= 16:
        raise Mistake(f'folder: bits={bits}; type a number from 8 to 16')
    loader = 'numpy' if loader == 'auto' else route(loader)
    seen = scan(root)
    names = [name for name, file in seen.files.items() if not file.reason]
    files = [seen.files[name] for name in names]
    if not names:
        raise Mistake(nothing(root, seen))
    parts, classes = layout(root, names, label)
    channels = channels or (1 if all(file.gray for file in files) else 3)
    shape = (height, width, channels)
    kinds = tuple(sorted(set(classes)))
    code = {kind: i for i, kind in enumerate(kinds)}
    codes = np.array([code[kind] for kind in classes], np.int32) if classes else None
    whole = images(root, names, files, codes, shape, bits)
    if loader == 'numpy':
        whole = whole._replace(stream=None)
    if len(names) * np.prod(shape) <= hold:
        whole = held(whole)
    digests = np.array([file.digest for file in files])
    splits, out = divide(root, parts, digests, validation=validation, test=test)
    source = Source(
        f'folder:{root.name}',
        {name: select(whole, index) for name, index in splits.items()},
        fingerprint(
            'folder 1',
            [(name, file.size, file.digest) for name, file in zip(names, files)],
            (shape, bits, label, float(validation), float(test)),
        ),
        classes=len(kinds),
        class_names=kinds,
        decoder=pillow(),  # by both routes
    )
    lines = report(root, seen, source, out, shape, label)
    notes = [*remarks(names, files, kinds, bits)]
    print('\n'.join([*lines, *(f'note        {n}' for n in notes)]), file=sys.stderr, flush=True)
    return source


def locate(path: str) -> Path:
    """The directory, or the Mistake that says what there is instead."""
    if not path:
        raise Mistake(
            'folder: no directory named; type --config.data.path=DIR (in a config: name=folder:DIR)'
        )
    root = Path(os.path.abspath(Path(path).expanduser()))
    if root.is_dir():
        return root
    if root.exists():
        archive = root.suffix.lower() in ('.zip', '.tar', '.gz', '.tgz', '.bz2', '.xz', '.7z')
        what = 'unpack it and type the directory' if archive else f'type {root.parent}'
        raise Mistake(f'folder: {root} is a file, not a directory; {what}')
    if root.is_symlink():
        raise Mistake(f'folder: {root} is a link to {os.readlink(root)}, which is not there')
    parent = root.parent
    while not parent.is_dir():
        parent = parent.parent
    there = sorted(p.name for p in parent.iterdir() if p.is_dir() and p.name[0] != '.')
    wanted = root.relative_to(parent).parts[0]
    raise Mistake(
        f'folder: no directory {root}{nearest(wanted, there)}; {parent} has the directories'
        f' {several(there) or "(none)"}; type --config.data.path=DIR'
    )


def nothing(root: Path, seen: Scan) -> str:
    """Why no image is left."""
    broken = {name: file.reason for name, file in seen.files.items()} | seen.broken
    if broken:
        reasons = [f'{name}: {reason}' for name, reason in broken.items()]
        return f'folder: none of the {len(broken)} images below {root} is whole: {several(reasons)}'
    what = several([f'{n:,} {suffix}' for suffix, n in seen.others.most_common()])
    return f'folder: no images below {root}, but {what or "nothing"}; it reads {" ".join(SUFFIXES)}'


def several(words: Sequence[str], most: int = 6) -> str:
    """'a, b, c and 4 more'."""
    more = f' and {len(words) - most:,} more' if len(words) > most else ''
    return ', '.join(words[:most]) + more


# Which split, which class -------------------------------------------------------------------------


def layout(root: Path, names: Sequence[str], label: bool) -> tuple[list[str], list[str]]:
    """The split of each image, and its class, if there are any."""
    tops = sorted({name.split('/')[0] for name in names if '/' in name})
    split_of = {top: PARTS[top.lower()] for top in tops if top.lower() in PARTS}
    if len(split_of) == len(tops) > 0 or len(set(split_of.values())) > 1:
        others = [f'{top}/' for top in tops if top not in split_of]
        others += [name for name in names if '/' not in name]
        doubled = [top for top in split_of if list(split_of.values()).count(split_of[top]) > 1]
        listed = ', '.join(f'{top}/' for top in split_of)
        if others:
            raise Mistake(
                f'folder: {root} has {listed}, which are splits, and beside them'
                f' {several(others)}; move those out, or rename what is no split'
            )
        if doubled:
            raise Mistake(f'folder: {root} has {listed}: {doubled[0]} is there twice; join the two')
        if 'train' not in split_of.values():
            raise Mistake(
                f'folder: {root} has {listed} but no train/; add it, or rename what is there'
            )
        parts = [split_of[name.split('/')[0]] for name in names]
        inner = [name.split('/', 1)[1] for name in names]
    else:
        parts, inner = ['train'] * len(names), list(names)
    classes = [name.split('/')[0] if '/' in name else '' for name in inner]
    loose = [name for name, kind in zip(names, classes) if not kind]
    if not label or len(loose) == len(names):
        return parts, []
    if loose:
        raise Mistake(
            f'folder: {len(loose):,} images lie beside the class folders of {root}'
            f' ({several(loose, 3)}); move them into one, or type --config.data.label=False to'
            ' train without classes'
        )
    return parts, classes


def divide(
    root: Path, parts: Sequence[str], digests: np.ndarray, *, validation: float, test: float
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The rows of each split, in the order of their names; and which were held out of train."""
    where = np.array(parts)
    splits = {name: np.flatnonzero(where == name) for name in SPLITS if name in parts}
    train = splits['train']
    order, out = train[np.argsort(digests[train], kind='stable')], []  # digests are random enough
    for name, asked in (('test', test), ('validation', validation)):
        count = rows_of(name, asked, len(train))
        if name in splits or not count:
            continue
        while count < len(order) and digests[order[count]] == digests[order[count - 1]]:
            count += 1  # copies stay together
        splits[name], order = np.sort(order[:count]), order[count:]
        out.append(name)
    if len(order) < 2:
        raise Mistake(
            f'folder: {root} has {len(train)} images to train on, and test={test:g},'
            f' validation={validation:g} leave {len(order)}; give it more, or type'
            ' --config.data.test=0 --config.data.validation=0'
        )
    splits['train'] = np.sort(order)
    return {name: splits[name] for name in SPLITS if name in splits}, out


def rows_of(name: str, asked: float, count: int) -> int:
    """A number of rows from what was asked for: a number, or a part of `count`."""
    if asked < 0 or (asked > 1 and asked != int(asked)):
        raise Mistake(
            f'folder: {name}={asked:g}; type a number of images, as {name}=500, or a part of them,'
            f' as {name}=0.1'
        )
    if asked >= 1:
        return min(int(asked), count)
    return max(1, round(asked * count)) if asked else 0


# From files to rows -------------------------------------------------------------------------------


@contextlib.contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Inside, an error means that a file has changed: it was whole when it was scanned."""
    try:
        yield
    except Exception as error:
        raise Mistake(
            f'folder: {path} has changed since the start ({error}); start again, in a new'
            ' workdir if it is to stay changed'
        ) from error


def images(
    root: Path,
    names: Sequence[str],
    files: Sequence[File],
    codes: np.ndarray | None,
    shape: tuple[int, int, int],
    bits: int,
) -> Split:
    """All images, decoded by Pillow in both routes, so that pixels are equal."""
    reach = 2 * max(shape[:2])  # what a JPEG may be decoded to; the canvas is scaled from there

    def read(i: int) -> bytes:
        with unchanged(root / names[i]):
            raw = (root / names[i]).read_bytes()
            if len(raw) != files[i].size:
                raise ValueError(f'it had {files[i].size:,} bytes and has {len(raw):,}')
            return raw

    def decoded(i: int, raw: bytes) -> np.ndarray:
        with unchanged(root / names[i]):
            return canvas(pixels(load(opened(raw), reach), shape[2], bits), shape)

    def rows(index: np.ndarray) -> Rows:
        raws = each(read, index, THREADS)
        x = np.empty((len(index), *shape), np.uint8)
        for i, image in enumerate(each(lambda pair: decoded(*pair), [*zip(index, raws)])):
            x[i] = image
        return {'x': x} if codes is None else {'x': x, 'label': codes[index]}

    def streamed(indices: Iterator[np.ndarray]) -> Iterator[Rows]:
        tf, mistakes = tensorflow(), []

        def safe(i: Any) -> np.ndarray:
            try:
                return decoded(i, read(i))
            except Mistake as mistake:  # TensorFlow would print pages and raise an error of its own
                mistakes.append(mistake)
                return np.zeros(shape, np.uint8)

        def row(i: Any) -> dict[str, Any]:
            x = tf.ensure_shape(tf.numpy_function(safe, [i], tf.uint8), shape)
            return {'x': x} if codes is None else {'x': x, 'label': tf.gather(codes, i)}

        with contextlib.closing(stream(indices, lambda index: index, 'int64', row)) as batches:
            for batch in batches:
                if mistakes:
                    raise mistakes[0]
                yield batch

    return Split(len(names), rows, streamed)


# What the user is told ----------------------------------------------------------------------------


def report(
    root: Path,
    seen: Scan,
    source: Source,
    out: Sequence[str],
    shape: tuple[int, int, int],
    label: bool,
) -> Iterator[str]:
    """What was found, what was left out and what was made of it."""
    whole = [file for file in seen.files.values() if not file.reason]
    kinds = [f'{n:,} {kind}' for kind, n in Counter(f.format for f in whole).most_common()]
    sides = sorted({min(f.side for f in whole), max(f.side for f in whole)})
    reading = (
        f'{seen.read:,} read in {span(seen.seconds)}' if seen.read else 'all known from before'
    )
    yield (
        f'data        {source.name}: {len(whole):,} images ({several(kinds)}), the shorter side'
        f' {" to ".join(map(str, sides))} pixels; {reading}'
    )
    broken = {name: file.reason for name, file in seen.files.items() if file.reason} | seen.broken
    if broken:
        yield f'broken      {len(broken):,} files, which are left out:'
        yield from (f'            {name}: {broken[name]}' for name in sorted(broken)[:SHOWN])
        if len(broken) > SHOWN:
            yield f'            and {len(broken) - SHOWN:,} more; {book(root)} has all'
    others = [f'{n:,} {suffix}' for suffix, n in seen.others.most_common()]
    others += [f'{seen.again:,} links to what is there already'] if seen.again else []
    if others:
        yield f'ignored     {several(others)}'
    counts = ', '.join(f'{name} {split.count:,}' for name, split in source.splits.items())
    held_out = f' ({" and ".join(sorted(out, reverse=True))} held out of train)' if out else ''
    yield f'splits      {counts}{held_out}; each image {" x ".join(map(str, shape))}'
    names = f'{source.classes}: {several(source.class_names)}'
    none = f'none, as {"there are no class folders" if label else "label=False"}'
    yield f'classes     {names if source.classes else none}'


def remarks(
    names: Sequence[str], files: Sequence[File], kinds: Sequence[str], bits: int
) -> Iterator[str]:
    """What is not wrong, but perhaps not meant."""
    peak, deep = max(file.peak for file in files), sum(file.peak > 0 for file in files)
    if bits == 16 and 0 < peak < 2**15:
        used = max(peak.bit_length(), 8)
        yield (
            f'the {deep:,} images of 16 bits reach {peak:,} at most, dark on a scale of 65,535; if'
            f' they have {used} bits, type --config.data.bits={used}'
        )
    if len(kinds) == 1 and any('/' in f'/{name}'.split(f'/{kinds[0]}/', 1)[1] for name in names):
        yield f'all is one class, {kinds[0]}; if the classes are the folders in it, type its path'
