"""What the tests of directories share: small images, saved where they are wanted."""

import zlib

import numpy as np
import pytest
from PIL import Image

from ssljax import data

RNG = np.random.default_rng(0)
SMOOTH = np.asarray(  # 24 x 16 in color, so smooth that a lossy format changes little
    Image.fromarray(RNG.integers(40, 216, (2, 3, 3), np.uint8)).resize((24, 16), 2)
)


@pytest.fixture(name='root')
def directory(tmp_path, monkeypatch):
    """Where a test puts its images; scans are kept beside it."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'photos'


def put(root, name, image=None, **options):
    """Saves an image; by default a small one of its own color."""
    if image is None:
        image = np.full((5, 6, 3), zlib.crc32(name.encode()) % 251, np.uint8)
        image[0, 0] = list(zlib.crc32(name.encode()).to_bytes(4, 'big')[:3])
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name, **options)
    return np.asarray(image)


def make(root, **options):
    return data.make(
        dict(name=f'folder:{root}', loader='numpy', validation=0, test=0, size=(16, 24)) | options
    )


def rows(made, split='train'):
    return made.splits[split].rows(np.arange(made.splits[split].count))


def many(root, count=60):
    for i in range(count):
        put(root, f'{"ab"[i % 2]}/{i:03}.png')
