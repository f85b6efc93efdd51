"""Which files of a directory are whole images: each is decoded once, and the answer is kept.

The answer lies in the user's cache directory, one file per directory, and holds as long as a file
keeps its size and its time of change.
"""

import contextlib
import hashlib
import heapq
import json
import os
import stat
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssljax import cache
from ssljax.cli import span
from ssljax.data.pixels import formats, is_gray, load, opened, pillow, pixels, pool
from ssljax.data.source import fingerprint

SUFFIXES = tuple(
    '.apng .avif .bmp .dib .gif .j2k .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff'
    ' .webp'.split()
)
HEADS = (b'\x89PNG', b'\xff\xd8\xff', b'GIF8', b'II*\0', b'MM\0*', b'BM', b'RIFF')  # of formats
SAVE = 60  # seconds between two savings of a long scan


class File(NamedTuple):
    """What a scan knows of one file; a row of the cache."""

    size: int
    mtime: int
    digest: str = ''  # of its bytes
    reason: str = ''  # why it is broken; '' where it is whole
    format: str = ''
    side: int = 0  # the shorter one
    gray: bool = False
    peak: int = 0  # the largest value of an image of more than 8 bits


class Found(NamedTuple):
    """What there is below a directory. Names are relative and have slashes."""

    images: dict[str, File]  # what has their suffix
    broken: dict[str, str]  # what cannot be looked at, and why
    others: Counter  # files of other suffixes
    again: int  # links to what was met before


class Scan(NamedTuple):
    files: dict[str, File]  # in the order of their names
    broken: dict[str, str]
    others: Counter
    again: int
    seconds: float
    read: int  # files that were not known yet


def walk(root: str) -> Found:
    """Lists a directory. Links are followed, after all else, and nothing is listed twice."""
    home = os.path.realpath(root)
    listing = Found({}, {}, Counter(), 0)
    seen, again, links = set(), 0, []
    folders = [('', home)]
    while folders or links:
        if not folders:  # what lies here itself keeps its own name: links come last, in order
            name, path = heapq.heappop(links)
            target = os.path.realpath(path)
            if target in seen or home.startswith(os.path.join(target, '')):  # a loop, a copy
                again += 1
            elif os.path.isdir(target):
                folders.append((name + '/', target))
            elif not os.path.exists(target):
                if suffix(name) in SUFFIXES:
                    listing.broken[name] = 'a link to nothing'
            else:
                note(listing, seen, name, target)
            continue
        prefix, folder = folders.pop()
        if folder in seen:
            again += 1
            continue
        seen.add(folder)
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            listing.broken[prefix or '.'] = f'cannot be listed ({error.strerror})'
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.name.startswith('.'):
                continue
            if entry.is_symlink():
                heapq.heappush(links, (name, entry.path))
            elif entry.is_dir():
                folders.append((name + '/', entry.path))
            else:
                note(listing, seen, name, entry.path)
    return listing._replace(again=again)


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def note(found: Found, seen: set[str], name: str, place: str) -> None:
    """Enters one file, whose true place is `place`."""
    if suffix(name) not in SUFFIXES:
        found.others[suffix(name) or 'without a suffix'] += 1
        return
    seen.add(place)
    try:
        status = os.stat(place)
    except OSError as error:
        found.broken[name] = f'cannot be read ({error.strerror})'
        return
    if stat.S_ISREG(status.st_mode):  # reading a pipe would wait forever
        found.images[name] = File(status.st_size, status.st_mtime_ns)
    else:
        found.broken[name] = 'not a file'


def examine(place: str, size: int, mtime: int) -> File:
    """Decodes one file to its end."""
    try:
        raw = Path(place).read_bytes()
    except OSError as error:
        return File(size, mtime, reason=f'cannot be read ({error.strerror})')
    one = File(size, mtime, hashlib.blake2b(raw, digest_size=16).hexdigest())
    if not raw.strip(b'\0'):
        return one._replace(reason='nothing but zero bytes' if raw else 'empty (0 bytes)')
    try:
        image = opened(raw)
        format, side = image.format, min(image.size)
        image = load(image, reach=1)
        pixels(image, 3)
        peak = int(np.asarray(image).max()) if image.mode.startswith('I') else 0
    except Exception as error:  # whatever the reader of a format makes of a damaged file
        return one._replace(reason=explain(error, raw))
    return one._replace(format=format, side=side, gray=is_gray(image), peak=peak)


def explain(error: Exception, raw: bytes) -> str:
    """Why an image cannot be read, in a few words."""
    from PIL import Image

    text = str(error).split('\n')[0]
    if isinstance(error, Image.DecompressionBombError):
        return f'more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels'
    if isinstance(error, Image.UnidentifiedImageError):
        return 'damaged' if raw.startswith(HEADS) else f'not an image; it begins {raw[:12]!r}'
    if 'truncated' in text.lower():
        return f'cut short after {len(raw):,} bytes'
    return f'damaged ({text or type(error).__name__})'


def scan(root: Path) -> Scan:
    """Looks at every image below a directory; what an earlier scan knows is not read again."""
    began, listing, known = time.perf_counter(), walk(str(root)), recall(root)
    files = dict(sorted(listing.images.items()))
    for name, one in files.items():
        old = known.get(name, one)
        files[name] = old if old[:2] == one[:2] else one
    todo = [name for name, one in files.items() if not one.digest]
    formats()  # once, before threads ask for it
    # files are judged here; what Pillow remarks on the metadata of whole images is no news
    warnings.filterwarnings('ignore', module='PIL')
    saved = shown = began
    try:
        for done, one in enumerate(examined(root, todo, files), 1):
            files[todo[done - 1]] = one
            now = time.perf_counter()
            if now - shown > (0.2 if sys.stderr.isatty() else 10):
                shown = now
                progress(done, len(todo), now - began)
            if now - saved > SAVE:
                saved = now
                keep(root, {n: f for n, f in files.items() if f.digest})
    finally:  # also when it is interrupted: the next start goes on from there
        if sys.stderr.isatty() and shown > began:
            print('\r\x1b[K', end='', file=sys.stderr, flush=True)
        if todo or len(known) != len(files):
            keep(root, {name: one for name, one in files.items() if one.digest})
    return Scan(
        files, listing.broken, listing.others, listing.again, time.perf_counter() - began, len(todo)
    )


def examined(root: Path, names: list[str], files: dict[str, File]) -> Iterator[File]:
    """In order, in threads, which are not given all at once: there may be millions."""

    def one(name: str) -> File:
        return examine(os.path.join(root, name), *files[name][:2])

    for start in range(0, len(names), 1024):
        yield from pool().map(one, names[start : start + 1024])


def progress(done: int, count: int, seconds: float) -> None:
    """A bar on a terminal, else a line."""
    left = span((count - done) * seconds / done)
    line = f'{done:,}/{count:,} images  {done / seconds:.0f}/s  {left}'
    if sys.stderr.isatty():
        full = round(30 * done / count)
        bar = f'\r[{"=" * full}{" " * (30 - full)}] {line}'
        print(bar, end='\x1b[K', file=sys.stderr, flush=True)
    else:
        print(f'folder      reading {line}', file=sys.stderr, flush=True)


# What is known ------------------------------------------------------------------------------------


def book(root: Path) -> Path:
    """Where the scan of a directory is kept."""
    return cache.home() / 'folders' / f'{fingerprint(os.path.realpath(root))}.json'


def edition() -> str:
    """Another Pillow may read what this one cannot."""
    return f'1, {pillow()}'


def recall(root: Path) -> dict[str, File]:
    """What an earlier scan found: name -> File."""
    try:
        kept = json.loads(book(root).read_text())
        current = kept['files'] if kept['edition'] == edition() else {}
        return {name: File(*row) for name, row in current.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent, torn, not ours
        return {}


def keep(root: Path, files: dict[str, File]) -> None:
    """Keeps a scan for the next start; where nothing can be written, that one reads all again."""
    path = book(root)
    part = path.with_suffix(f'.{os.getpid()}.part')
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(dict(edition=edition(), root=str(root), files=files)))
        os.replace(part, path)
