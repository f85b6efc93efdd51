"""Recordings of words from one file: the Free Spoken Digit Dataset, or one of the same layout."""

from typing import Literal

import numpy as np

from ssljax.data.arrays import archive
from ssljax.data.source import Rows, Source, Split, fingerprint, select
from ssljax.kinds import Natural, Positive
from ssljax.names import Mistake

NEEDED = ('lo', 'hi', 'ends', 'rate', 'label', 'speaker', 'speaker_names', 'take')


def sound(
    *,
    path: str = '',
    label: Literal['digit', 'speaker'] = 'digit',
    seconds: Positive = 1.0,
    validation: Natural = 0,
    test: Natural = 5,
) -> Source:
    """Waves float32 [T] in [-1, 1), padded with zeros or cut to one length, and their length.

    A speaker says each word several times; each time is a take. The first takes are the test
    split, the next the validation split, all others train. All speakers are in all splits.
    The file has 16-bit samples of all clips, one after the other, as differences folded to
    unsigned numbers (0, -1, 1, -2, ...): their low bytes `lo`, their high bytes `hi`; `ends` of
    the clips, `rate`, and for each clip `label`, `speaker` and `take`. Names: `speaker_names`.

    path: the .npz file.
    label: what the class is, 'digit' or 'speaker'.
    seconds: length of a row; longer clips are cut.
    validation, test: takes of each word by each speaker in the split.
    """
    file, npz = archive('sound', path)
    if absent := [name for name in NEEDED if name not in npz]:
        raise Mistake(
            f'sound: {file} has no {", ".join(absent)}; type the path of a file like fsdd.npz, or'
            ' name=arrays:PATH.npz for waves x [N, T]'
        )
    ends, clips = npz['ends'].astype(np.int64), ('ends', 'label', 'speaker', 'take')
    whole = len({npz[name].shape for name in clips}) == 1 == len({len(npz['lo']), *ends[-1:]})
    if not whole or npz['lo'].shape != npz['hi'].shape or (np.diff(ends, prepend=0) < 1).any():
        raise Mistake(f'sound: {file}: its arrays do not belong together; write it again')
    wave, starts = decoded(npz['lo'], npz['hi']), ends - np.diff(ends, prepend=0)
    most = max(1, round(seconds * int(npz['rate'])))
    length = np.minimum(ends - starts, most).astype(np.int32)
    if label == 'speaker':
        names = tuple(map(str, npz['speaker_names']))
        codes = npz['speaker'].astype(np.int32)
    else:
        codes = npz['label'].astype(np.int32)
        names = tuple(map(str, range(int(codes.max()) + 1)))

    def rows(index: np.ndarray) -> Rows:
        x = np.zeros((len(index), most), np.float32)
        for row, i in zip(x, index):
            row[: length[i]] = wave[starts[i] : starts[i] + length[i]] / np.float32(2**15)
        return {'x': x, 'length': length[index], 'label': codes[index]}

    every, take = Split(len(ends), rows), npz['take']
    parts = {
        'train': take >= test + validation,
        'validation': (take >= test) & (take < test + validation),
        'test': take < test,
    }
    if not parts['train'].any():
        raise Mistake(
            f'sound: {file} has takes 0 to {take.max()}; test={test} and validation={validation}'
            ' leave none to train on; type smaller numbers'
        )
    contents = (npz[name] for name in NEEDED)
    return Source(
        f'sound:{file.name}',
        {name: select(every, np.flatnonzero(m)) for name, m in parts.items() if m.any()},
        fingerprint('sound 1', *contents, label, float(seconds), validation, test),
        classes=len(names),
        class_names=names,
    )


def decoded(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Bytes of the folded differences -> int16 samples; sums wrap around, as differences did."""
    folded = low.astype(np.uint16) | (high.astype(np.uint16) << 8)
    steps = (folded >> 1) ^ (0 - (folded & 1)).astype(np.uint16)
    return np.cumsum(steps, dtype=np.uint16).view(np.int16)
