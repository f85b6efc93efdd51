"""Where the records of a TFDS data set are: serialized examples by index, without TensorFlow."""

import io
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.data.pixels import pool
from ssljax.data.source import fingerprint
from ssljax.names import Mistake, nearest


class Records(NamedTuple):
    """Serialized examples by index."""

    count: int
    raw: Callable[[np.ndarray], list[bytes]]
    digest: str  # changes with the contents


def records(path: str, dir: str = '') -> tuple[Any, dict[str, Records]]:
    """The features of a TFDS data set, and the records of each of its splits."""
    folder = locate(path, dir)
    import tensorflow_datasets

    builder = tensorflow_datasets.builder_from_directory(str(folder))
    splits = builder.info.splits
    if not splits:
        raise Mistake(f'tfds: {folder} lists no splits; build the data set again')
    reader = tfrecords if builder.info.file_format.value == 'tfrecord' else array_records
    return builder.info.features, {name: reader(builder, name) for name in splits}


def locate(path: str, dir: str) -> Path:
    """The directory of NAME, NAME:VERSION or NAME/CONFIG: its newest version."""
    root = Path(dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()
    folder = root.joinpath(*path.replace(':', '/').split('/'))
    if (folder / 'features.json').is_file():
        return folder
    inside = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    versions = [p for p in inside if re.fullmatch(r'\d+\.\d+\.\d+', p.name)]
    versions = [p for p in versions if (p / 'features.json').is_file()]
    if versions:
        return max(versions, key=lambda p: tuple(map(int, p.name.split('.'))))
    if inside:
        names = ', '.join(p.name for p in inside)
        raise Mistake(f'tfds: {folder} holds no data set; it has {names}; type tfds:{path}/ONE')
    there = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    name = path.replace(':', '/').split('/')[0]
    raise Mistake(
        f'tfds: no data set {path!r} in {root}{nearest(path, there)};'
        f' it has {", ".join(there) or "nothing"}; type dir=WHERE IT IS (or set TFDS_DATA_DIR), or'
        f' make it: tfds build {name} --data_dir={root}'
    )


def tfrecords(builder: Any, split: str) -> Records:
    """Random access to TFRecord files: the offsets are found once, by stepping over the headers.

    A record is: length uint64, its crc, the bytes, their crc. The digest is of lengths and crcs,
    so contents are compared without reading them.
    """
    info = builder.info.splits[split]

    def scan(path: Any) -> np.ndarray:
        """Offset, length and crc of each record of one file: int64 [n, 3]."""
        entries, end = [], os.path.getsize(path)
        with open(path, 'rb', buffering=1 << 16) as file:
            at = 0
            while at < end:
                header = file.read(12)
                length = struct.unpack('<Q', header[:8])[0] if len(header) == 12 else end
                if at + length + 16 > end:
                    raise Mistake(f'tfds: {path} is cut short at byte {at}; copy it again')
                file.seek(length, io.SEEK_CUR)
                entries.append((at + 12, length, struct.unpack('<I', file.read(4))[0]))
                at += length + 16
        return np.array(entries, np.int64).reshape(-1, 3)

    tables = list(pool().map(scan, info.filepaths))
    table = np.concatenate(tables)
    shard = np.repeat(np.arange(len(tables)), [len(t) for t in tables])
    if len(table) != info.num_examples:
        raise Mistake(
            f'tfds: split {split} of {builder.data_path} has {len(table)} records but'
            f' dataset_info.json says {info.num_examples}; build the data set again'
        )

    def read(i: int) -> bytes:
        file = os.open(info.filepaths[shard[i]], os.O_RDONLY)  # kept open, 1024 shards are too many
        try:
            return os.pread(file, table[i, 1], table[i, 0])
        finally:
            os.close(file)

    def raw(index: np.ndarray) -> list[bytes]:
        return list(pool().map(read, index))

    return Records(len(table), raw, fingerprint(table[:, 1:]))


def array_records(builder: Any, split: str) -> Records:
    """Random access to array_record files, by their own reader.

    They hold no checksum to compare, so the digest is of sizes and of 64 records spread over all.
    """
    source = builder.as_data_source(split=split).data_source
    info = builder.info.splits[split]
    some = np.unique(np.linspace(0, max(len(source) - 1, 0), 64).astype(int)) if len(source) else []
    sizes = [os.path.getsize(path) for path in info.filepaths]

    def raw(index: np.ndarray) -> list[bytes]:
        return list(source.__getitems__([int(i) for i in index]))

    return Records(len(source), raw, fingerprint(sizes, *raw(some)))
