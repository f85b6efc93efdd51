"""Where the records of a TFDS data set are: serialized examples by index, without TensorFlow."""

import contextlib
import io
import os
import re
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.data.crc import crc32c, masked
from ssljax.data.pixels import THREADS, each, pool
from ssljax.data.source import fingerprint
from ssljax.names import Mistake, nearest

CHECKED = 2**22  # bytes whose checksums are computed at once
ALONE = threading.Lock()  # of whoever replaces a method of TFDS


class Records(NamedTuple):
    """Serialized examples by index."""

    count: int
    raw: Callable[[np.ndarray], list[bytes]]
    digest: str  # changes with the contents


def records(path: str, dir: str = '') -> tuple[Any, dict[str, Records]]:
    """The features of a TFDS data set, and the records of each of its splits."""
    folder = locate(path, dir)
    import tensorflow_datasets
    from google.protobuf.json_format import ParseError

    try:
        with known_features(folder):
            builder = tensorflow_datasets.builder_from_directory(str(folder))
    except (ValueError, KeyError, TypeError, AttributeError, ParseError) as error:
        reason = str(error).strip().partition('\n')[0]
        raise Mistake(
            f'tfds: the description of {folder} (features.json, dataset_info.json) cannot be read:'
            f' {reason}; copy it again'
        ) from None
    splits = builder.info.splits
    if not splits:
        raise Mistake(f'tfds: {folder} lists no splits; build the data set again')
    reader = tfrecords if builder.info.file_format.value == 'tfrecord' else array_records
    return builder.info.features, {name: reader(builder, name) for name in splits}


@contextlib.contextmanager
def known_features(folder: Path) -> Iterator[None]:
    """Inside, TFDS makes the features of its own library, and no other.

    features.json names a Python class for each, and TFDS would import its module, whatever it is.
    All forms of that file end in the method that is replaced here.
    """
    from tensorflow_datasets import features

    base = features.FeatureConnector
    found = base.__dict__['cls_from_name']

    def cls_from_name(cls: type, name: str) -> type:
        if not re.fullmatch(r'tensorflow_datasets\.core\.features\.\w+(\.\w+)*', name):
            raise Mistake(
                f'tfds: {folder}/features.json names {name!r}, which is no feature of TFDS, so it'
                ' is not imported; build the data set with features of tfds.features'
            )
        return found.__get__(None, cls)(name)

    with ALONE:
        base.cls_from_name = classmethod(cls_from_name)
        try:
            yield
        finally:
            base.cls_from_name = found


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
    so contents are compared without reading them. Both crcs are checked: of the lengths here, of
    the bytes whenever they are read.
    """
    info = builder.info.splits[split]

    def scan(path: Any) -> np.ndarray:
        """Offset, length and crc of each record of one file: int64 [n, 3]."""
        entries, headers, at, end = [], [], 0, os.path.getsize(path)
        with open(path, 'rb', buffering=1 << 16) as file:
            while at < end:
                headers.append(file.read(12))
                length = int.from_bytes(headers[-1][:8], 'little')
                if len(headers[-1]) < 12 or at + length + 16 > end:
                    break
                file.seek(length, io.SEEK_CUR)
                entries.append((at + 12, length, struct.unpack('<I', file.read(4))[0]))
                at += length + 16
        whole = [header for header in headers if len(header) == 12]
        said = np.frombuffer(b''.join(header[8:] for header in whole), '<u4')
        wrong = np.flatnonzero(masked(crc32c([header[:8] for header in whole])) != said)
        if len(wrong):
            raise damaged(path, wrong[0])
        if at < end:
            raise Mistake(f'tfds: {path} is cut short at byte {at}; copy it again')
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
        found = each(read, index, THREADS)
        some = max(1, CHECKED // max(map(len, found), default=1))
        for start in range(0, len(found), some):
            mine = index[start : start + some]
            sums = masked(crc32c(found[start : start + some]))
            for i in mine[sums != table[mine, 2]][:1]:
                raise damaged(info.filepaths[shard[i]], i - np.searchsorted(shard, shard[i]))
        return found

    return Records(len(table), raw, fingerprint(table[:, 1:]))


def damaged(path: Any, number: int) -> Mistake:
    return Mistake(
        f'tfds: {path} is damaged: record {number} is not what was written (its checksum differs);'
        ' copy the file again'
    )


def array_records(builder: Any, split: str) -> Records:
    """Random access to array_record files, by their own reader.

    They hold no checksum to compare (their reader checks those that it has), so the digest is of
    sizes and of 64 records spread over all.
    """
    source = builder.as_data_source(split=split).data_source
    info = builder.info.splits[split]
    some = np.unique(np.linspace(0, max(len(source) - 1, 0), 64).astype(int)) if len(source) else []
    sizes = [os.path.getsize(path) for path in info.filepaths]

    def raw(index: np.ndarray) -> list[bytes]:
        return list(source.__getitems__([int(i) for i in index]))

    return Records(len(source), raw, fingerprint(sizes, *raw(some)))
