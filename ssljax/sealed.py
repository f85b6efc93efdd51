"""Folders of checkpoints: how one is sealed, what is wrong with one, which go. No jax here.

A folder `8` of `checkpoints/` is written as `8.unsealed`. It gets its name when its manifest is
written and all of it is on the disk, so whoever sees a number sees a finished save. It loses the
name, by a rename to `8.old`, before its first file is deleted. What has no number is nobody's.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssljax.names import Mistake

FOLDER, MANIFEST, DAMAGED = 'checkpoints', 'manifest.json', 'damaged'
UNSEALED, OLD = '.unsealed', '.old'
LEFT = re.compile(r'[0-9]+\.(unsealed|old|orbax-checkpoint-tmp)')  # the last by earlier versions


def digest(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def files(folder: Path) -> dict[str, Path]:
    """All files of a checkpoint but its manifest, by name."""
    found = {str(p.relative_to(folder)): p for p in sorted(folder.rglob('*')) if not p.is_dir()}
    return {name: p for name, p in found.items() if name != MANIFEST}


def numbered(root: Path) -> list[Path]:
    """What has a number for a name, whole or not, the highest first."""
    found = [p for p in root.iterdir() if re.fullmatch('[0-9]+', p.name)] if root.is_dir() else []
    return sorted(found, key=lambda p: (int(p.name), p.name), reverse=True)


def seal(folder: Path, step: int) -> None:
    """Writes the manifest, and all that is in the folder to the disk."""
    entries = {}
    for name, path in files(folder).items():
        synced(path)
        entries[name] = {'bytes': path.stat().st_size, 'sha256': digest(path)}
    path = folder / MANIFEST
    path.write_text(json.dumps({'step': step, 'files': entries}, indent=1))
    synced(path)
    for one in (p for p in folder.rglob('*') if p.is_dir()):
        synced(one)
    synced(folder)


def named(unsealed: Path, folder: Path) -> None:
    """Gives a sealed folder its number."""
    os.rename(unsealed, folder)  # fails where there is one of this name
    synced(folder.parent)
    synced(folder.parent.parent)  # the first save makes `checkpoints` itself


def synced(path: Path) -> None:
    """Waits until a file or a folder is on the disk; some file systems cannot sync folders."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def broken(folder: Path) -> str:
    """What is wrong with a checkpoint, or ''."""
    if folder.name != str(int(folder.name)):
        return f'the folder of this step is called {int(folder.name)}'
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return 'it has no manifest, so it was not finished'
    except (OSError, ValueError, RecursionError):
        return 'its manifest cannot be read'
    if isinstance(found, dict) and not found.keys() & {'step', 'files'}:
        found = {'step': int(folder.name), 'files': found}  # as earlier versions wrote it
    match found:
        case {'step': int(step), 'files': {**entries}} if len(found) == 2 and entries:
            pass
        case _:
            return 'its manifest is none'
    if step != int(folder.name):
        return f'its manifest is that of step {step}'
    try:
        there = files(folder)
    except OSError as error:
        return f'its files cannot be listed ({error.strerror})'
    for name in sorted(entries.keys() ^ there.keys()):
        return f'{name} is {"missing" if name in entries else "not in its manifest"}'
    for name, path in there.items():
        match entries[name]:
            case {'bytes': int(size), 'sha256': str(sha256)}:
                pass
            case _:
                return f'its manifest does not say what {name} is'
        try:
            if path.stat().st_size != size:
                return f'{name} has {path.stat().st_size} bytes, not {size}'
            if digest(path) != sha256:
                return f'{name} is not what was written (SHA-256 differs)'
        except OSError as error:
            return f'{name} cannot be read ({error.strerror})'
    return ''


def surplus(steps: Sequence[int], keep: int, keep_every: int = 0) -> list[int]:
    """Those that go: all but the newest so many, and the multiples of keep_every."""
    return [step for step in sorted(steps)[: -max(keep, 1)] if not keep_every or step % keep_every]


def drop(folder: Path) -> None:
    """Deletes a checkpoint; a kill at any moment leaves the whole of it, or none of that name.

    One that is being read stays, until the next save comes to it.
    """
    old = folder.with_name(folder.name + OLD)
    if old.exists():  # of a deletion of this step that was killed
        shutil.rmtree(old, ignore_errors=True)
    with claimed(folder, fcntl.LOCK_EX) as mine:
        if mine:
            os.rename(folder, old)
    if mine:
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def claimed(folder: Path, kind: int) -> Iterator[bool]:
    """Readers share a checkpoint (LOCK_SH), who deletes it is alone (LOCK_EX): whether it is given.

    It is, where the file system has no locks; a reader may then find that its files are gone.
    """
    with contextlib.ExitStack() as stack:
        given = True
        try:
            file = stack.enter_context((folder / MANIFEST).open('rb'))
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            given = False
        except OSError:  # no locks, or no manifest
            pass
        yield given


def aside(folder: Path) -> Path:
    """Moves a checkpoint that is not whole out of the way, so that its step can be saved again."""
    there = folder.parent.parent / DAMAGED / folder.name
    shutil.rmtree(there, ignore_errors=True)
    there.parent.mkdir(exist_ok=True)
    os.replace(folder, there)
    return there


def leftovers(root: Path) -> list[Path]:
    """What saves and deletions that were killed have left, or one is at work on."""
    return sorted(p for p in root.iterdir() if LEFT.match(p.name)) if root.is_dir() else []


def sweep(root: Path) -> None:
    """Deletes what was left; for the one writer, while it saves nothing."""
    for one in leftovers(root):
        shutil.rmtree(one, ignore_errors=True)


class Full(Mistake):
    """There is no room for what has to be written."""

    code = 1


def full(error: BaseException | None) -> str:
    """What the system says if an error, or one that it comes from, is for want of room; or ''."""
    while error is not None:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in str(error):  # Orbax and TensorStore pass on the text alone
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return ''
