"""Arrays of the user's own, from one .npz file: images, clips, sound, points, tokens, numbers."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ssljax.data.source import SPLITS, Rows, Source, Split, fingerprint, hold_out
from ssljax.kinds import Natural
from ssljax.names import Mistake, nearest

# The entries that batches have a meaning for; others are given where they are asked for.
ENTRIES = ('x', 'y', 'label', 'labelled', 'length', 'mask', 'text', 'text_length')
PADDED = {'length': ('x', 1), 'text_length': ('text', 0)}  # of what, and the least it may be


def arrays(
    *,
    path: str = '',
    validation: Natural = 0,
    test: Natural = 0,
    keep: tuple[str, ...] = (),
) -> Source:
    """Rows from a .npz: x or x_train, x_validation, x_test; and beside it label, y, length, ...

    x and y: images uint8 [N, H, W] or [N, H, W, C]; clips uint8 [N, T, H, W, C]; sound, points
    and other sequences float [N, T] or [N, T, C]; tokens int [N, T]. Rows of variable length are
    padded, and length [N] says how many of the T are meant, of images of lines how many of their
    columns. Bytes of other entries stay bytes.

    path: the .npz file.
    validation, test: rows held out of train, where the file has no such split.
    keep: arrays of other names that are to be entries of the rows.
    """
    file, npz = archive('arrays', path, hint=' that has x or x_train')
    parts: dict[str, Rows] = {}
    for key, values in npz.items():
        name, _, split = key.rpartition('_')
        name, split = (name, split) if name and split in SPLITS else (key, 'train')
        parts.setdefault(split, {})[name] = values
    if 'x' not in parts.get('train', {}):
        raise Mistake(
            f'arrays: {file} has {", ".join(sorted(npz)) or "nothing"} but neither x nor x_train'
            f'{nearest("x_train", npz)}; name the training rows x or x_train'
        )
    for name in keep:
        if name not in parts['train']:
            raise Mistake(
                f'arrays: {file} has no {name!r} to keep{nearest(name, parts["train"])};'
                f' it has {", ".join(sorted(parts["train"]))}'
            )
    wanted = (*ENTRIES, *keep)
    parts = {
        split: {name: values for name, values in part.items() if name in wanted}
        for split, part in parts.items()
    }
    splits = {
        name: rows_of(file, name, parts[name], parts['train']) for name in SPLITS if parts.get(name)
    }
    for name, count in dict(test=test, validation=validation).items():
        if count and name in splits:
            raise Mistake(
                f'arrays: {file} has x_{name}, so {name}={count} cannot be held out of train;'
                f' type {name}=0'
            )
        if count:
            splits['train'], splits[name] = hold_out(splits['train'], count, name)
    labels = [part['label'] for part in parts.values() if 'label' in part]
    classes = 1 + max((int(label.max(initial=-1)) for label in labels), default=-1)
    contents = [x for pair in sorted(npz.items()) for x in pair]
    return Source(
        f'arrays:{file.name}',
        splits,
        fingerprint('arrays 1', validation, test, *contents, *([tuple(keep)] if keep else [])),
        classes=classes,
        class_names=tuple(map(str, range(classes))),
    )


def archive(who: str, path: str, *, hint: str = '') -> tuple[Path, dict[str, np.ndarray]]:
    """The file and the arrays of a .npz, or the Mistake that says what is wrong with it."""
    file = Path(path).expanduser()
    if not path:
        raise Mistake(f'{who}: no file named; type name={who}:PATH.npz')
    if not file.is_file():
        raise Mistake(f'{who}: no file {file}; type the path of a .npz{hint}')
    try:
        with np.load(file, allow_pickle=False) as npz:
            return file, {key: npz[key] for key in npz.files}
    except (ValueError, OSError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = (str(error) or 'it ends too early').splitlines()[0]
        raise Mistake(
            f'{who}: {file} cannot be read ({reason}); write it with numpy.savez(path, x=...,'
            ' label=...), plain numbers only'
        ) from error


def rows_of(file: Path, split: str, part: Rows, train: Rows) -> Split:
    """Checks the arrays of one split and brings them to the types that batches have."""
    if 'x' not in part:
        raise Mistake(
            f'arrays: {file} has {", ".join(sorted(part))} for {split} but no x_{split}; add it'
        )
    values = {
        name: tidy(f'arrays: {file}: {name} of {split}', name, array)
        for name, array in part.items()
    }
    count = len(values['x'])
    for name, array in values.items():
        if len(array) != count:
            raise Mistake(
                f'arrays: {file}: {name} of {split} has {len(array)} rows but x has {count};'
                ' give both the same number'
            )
        if name in train and part[name].shape[1:] != train[name].shape[1:]:
            raise Mistake(
                f'arrays: {file}: {name} of {split} has rows of shape {part[name].shape[1:]} but'
                f' of train {train[name].shape[1:]}; give both the same shape'
            )
    for name, (padded, least) in PADDED.items():
        if name in values:
            check_length(f'arrays: {file}: {name} of {split}', values, name, padded, least)
    return Split(count, lambda index: {name: array[index] for name, array in values.items()})


def check_length(what: str, values: Rows, name: str, padded: str, least: int) -> None:
    """A length says how many of the T places of a padded row are meant; columns, of an image."""
    length, rows = values[name], values.get(padded)
    if rows is None or rows.ndim < 2:
        raise Mistake(f'{what} is of {padded} [N, T, ...], which is not there; add it')
    if length.ndim != 1 or length.dtype.kind not in 'iu':
        raise Mistake(f'{what} is {length.dtype}{list(length.shape)}; type whole numbers, [N]')
    places = rows.shape[2 if rows.ndim == 4 else 1]
    if len(length) and not least <= length.min() <= length.max() <= places:
        raise Mistake(
            f'{what} goes from {length.min()} to {length.max()}; type numbers from {least} to'
            f' {places}, the places of a padded row'
        )


def tidy(what: str, name: str, array: np.ndarray) -> np.ndarray:
    """uint8 images and clips, int32 integers, float32 numbers; else a Mistake."""
    kind, form = array.dtype.kind, f'{array.dtype}{list(array.shape)}'
    if not array.ndim or kind not in 'buif':
        raise Mistake(f'{what} is {form}; type numbers, one row per example')
    if name == 'label' and (array.ndim != 1 or kind not in 'ui' or (array < 0).any()):
        raise Mistake(f'{what} is {form}; type whole numbers >= 0, [N]')
    if name == 'y' and array.ndim == 1 and kind in 'ui':
        raise Mistake(f'{what} is {form}; classes are named label: label, label_train, label_test')
    if name in ('x', 'y') and array.ndim > 2:
        return pictures(what, array)
    if kind == 'f':
        return finite(what, array)
    if kind in 'ui' and np.abs(array).max(initial=0) >= 2**31:
        raise Mistake(f'{what} has whole numbers of 2**31 and more; give smaller ones')
    bytes_stay = array.dtype == np.uint8 and name not in ('label', *PADDED)
    truths_stay = kind == 'b' and name not in ('x', 'y')
    return array if bytes_stay or truths_stay else array.astype(np.int32)


def pictures(what: str, array: np.ndarray) -> np.ndarray:
    """uint8 [N, H, W, C] or [N, T, H, W, C], or float32 [N, T, C]."""
    if array.dtype.kind == 'f' and array.ndim == 3 and not array.shape[1] == array.shape[2] > 3:
        return finite(what, array)  # a square one is rather a gray image
    image = array[..., None] if array.ndim == 3 else array
    if image.dtype != np.uint8 or image.ndim > 5 or image.shape[-1] not in (1, 3, 4):
        raise Mistake(
            f'{what} is {array.dtype}{list(array.shape)}; images are uint8 [N, H, W] or'
            ' [N, H, W, C], clips uint8 [N, T, H, W, C], with values 0 to 255; sound and points'
            ' are floats [N, T, C]'
        )
    return image


def finite(what: str, array: np.ndarray) -> np.ndarray:
    if not np.isfinite(array).all():
        raise Mistake(f'{what} has values that are not finite; remove those rows')
    return array.astype(np.float32)
