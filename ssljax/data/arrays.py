"""Arrays of the user's own, from one .npz file."""

import zipfile
from pathlib import Path

import numpy as np

from ssljax.data.source import SPLITS, Rows, Source, Split, fingerprint, hold_out
from ssljax.names import Mistake, nearest


def arrays(*, path: str = '', validation: int = 0, test: int = 0) -> Source:
    """Rows from a .npz: x or x_train, x_validation, x_test; and any array beside it: label_train.

    Images are uint8 [N, H, W] or [N, H, W, C]; tokens are integers [N, T]; all else is floating
    point. `validation` rows, then `test` rows, are held out of train where the file has neither.
    """
    file = Path(path).expanduser()
    if not path:
        raise Mistake('arrays: no file named; type name=arrays:PATH.npz')
    if not file.is_file():
        raise Mistake(f'arrays: no file {file}; type the path of a .npz that has x or x_train')
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, AttributeError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0]
        raise Mistake(
            f'arrays: {file} cannot be read ({reason}); write it with numpy.savez(path, x=...,'
            ' label=...), plain numbers only'
        ) from error
    parts: dict[str, Rows] = {}
    for key, values in found.items():
        name, _, split = key.rpartition('_')
        name, split = (name, split) if name and split in SPLITS else (key, 'train')
        parts.setdefault(split, {})[name] = values
    if 'x' not in parts.get('train', {}):
        raise Mistake(
            f'arrays: {file} has {", ".join(sorted(found)) or "nothing"} but neither x nor x_train'
            f'{nearest("x_train", found)}; name the training rows x or x_train'
        )
    splits = {
        name: rows_of(file, name, parts[name], parts['train']) for name in SPLITS if name in parts
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
    return Source(
        f'arrays:{file.name}',
        splits,
        fingerprint(
            'arrays 1', validation, test, *(x for pair in sorted(found.items()) for x in pair)
        ),
        classes=classes,
        class_names=tuple(map(str, range(classes))),
    )


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
    return Split(count, lambda index: {name: array[index] for name, array in values.items()})


def tidy(what: str, name: str, array: np.ndarray) -> np.ndarray:
    """uint8 images [N, H, W, C], int32 integers, float32 numbers; else a Mistake."""
    if not array.ndim or array.dtype.kind not in 'buif':
        raise Mistake(
            f'{what} is {array.dtype}{list(array.shape)}; type numbers, one row per example'
        )
    if name == 'label' and (array.ndim != 1 or array.dtype.kind not in 'ui' or (array < 0).any()):
        raise Mistake(f'{what} is {array.dtype}{list(array.shape)}; type whole numbers >= 0, [N]')
    if name == 'x' and array.ndim in (3, 4):
        image = array[..., None] if array.ndim == 3 else array
        if image.dtype != np.uint8 or image.shape[3] not in (1, 3, 4):
            raise Mistake(
                f'{what} is {array.dtype}{list(array.shape)}; images are uint8 [N, H, W] or'
                ' [N, H, W, C] with values 0 to 255'
            )
        return image
    if array.dtype.kind == 'f':
        if not np.isfinite(array).all():
            raise Mistake(f'{what} has values that are not finite; remove those rows')
        return array.astype(np.float32)
    if array.dtype.kind in 'ui' and np.abs(array).max(initial=0) >= 2**31:
        raise Mistake(f'{what} has whole numbers of 2**31 and more; give smaller ones')
    return array if array.dtype == np.uint8 and name != 'label' else array.astype(np.int32)
