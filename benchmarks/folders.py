"""Makes three folders of images, with bad files among them, as people have them:
python benchmarks/folders.py --data=../shared/data --out=DIR

classes   JPEG in class folders, train/ and val/ apart
flat      scans, photographs and text lines of all sizes, modes and formats, no classes
gray16    16-bit TIFF in class folders
"""

import io
import shutil
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from ssljax import cli  # noqa: E402
from ssljax.data.records import records  # noqa: E402


def main() -> int:
    parser = cli.parser('benchmarks/folders.py', __doc__)
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='TFDS data sets')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    known = parser.parse_args()
    for make in (classes, flat, gray16):
        folder = known.out / make.__name__
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(known.data, folder)
        spoil(folder)
        print(f'{folder}: {sum(path.is_file() for path in folder.rglob("*")):,} files')
    return 0


def examples(data: Path, name: str, split: str, count: int) -> Iterator[tuple[bytes, Any]]:
    """The encoded image of the first rows, and the name of its class."""
    from tensorflow_datasets import decode

    features, parts = records(name, str(data))
    count = min(count, parts[split].count)
    for raw in parts[split].raw(np.arange(count)):
        row = features.deserialize_example_np(raw, decoders={'image': decode.SkipDecoding()})
        label = features['label'].int2str(int(row['label'])) if 'label' in features else ''
        yield row['image'], label


def classes(data: Path, out: Path) -> None:
    for split, name in dict(train='train', validation='val').items():
        for i, (raw, label) in enumerate(examples(data, 'tiny_imagenet_50', split, 10**9)):
            place = out / name / label / f'{i:05}.JPEG'
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(raw)


def flat(data: Path, out: Path) -> None:
    for path in sorted((data / 'papyri_binarization').glob('*.[jp][pn]g')):
        shutil.copy(path, out)
        image = Image.open(path)
        for i in range(0, image.height - 200, 150):  # pieces, as someone cut them
            piece = image.crop((0, i, image.width, i + 200))
            piece.save(out / f'{path.stem}_{i:04}.png')
    for i, (raw, _) in enumerate(examples(data, 'archiscribe_lines', 'train', 560)):
        image = Image.open(io.BytesIO(raw))
        image.save(out / f'line{i:04}.{("png", "tif", "bmp")[i % 3]}')
    for i, (raw, _) in enumerate(examples(data, 'flickr8k_1k', 'train', 800)):
        photo = Image.open(io.BytesIO(raw)).convert('RGB')
        name = f'photo {i:04}'  # with a blank, as cameras and people write
        match i % 8:
            case 0 | 1:
                (out / f'{name}.jpg').write_bytes(raw)
            case 2:
                edge = Image.radial_gradient('L').resize(photo.size).point(lambda v: 255 - v)
                photo.putalpha(edge)
                photo.save(out / f'{name}.png')
            case 3:
                photo.quantize(64).save(out / f'{name}.png')
            case 4:
                photo.convert('CMYK').save(out / f'{name}.jpg', quality=85)
            case 5:
                later = Image.new('P', photo.size)
                photo.quantize(128).save(out / f'{name}.gif', save_all=True, append_images=[later])
            case 6:
                photo.save(out / f'{name}.webp', quality=80)
            case 7:
                turned = Image.Exif()
                turned[0x0112] = 6  # the camera was held upright
                photo.rotate(90, expand=True).save(out / f'{name}.JPG', exif=turned, quality=90)


def gray16(data: Path, out: Path) -> None:
    for i, (raw, label) in enumerate(examples(data, 'fashion_mnist', 'train', 3000)):
        deep = np.asarray(Image.open(io.BytesIO(raw)).convert('L')).astype(np.uint16) * 257
        place = out / label.replace('/', ' or ') / f'{i:05}.tif'
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(deep).save(place, compression='tiff_lzw' if i % 2 else None)


def spoil(out: Path) -> None:
    """Plants what goes wrong in real folders, beside the first image and at the top."""
    first = min(path for path in out.rglob('*') if path.is_file())
    at, whole, suffix = first.parent, first.read_bytes(), first.suffix
    (at / f'empty{suffix}').write_bytes(b'')
    (at / f'zeros{suffix}').write_bytes(bytes(5000))
    (at / f'cut{suffix}').write_bytes(whole[: len(whole) * 2 // 3])
    (at / 'text.png').write_text('<!DOCTYPE html><title>404 Not Found</title>')
    (at / 'bomb.png').write_bytes(bomb(30000))
    Image.open(first).convert('L').save(at / 'misnamed.jpg', 'png')  # fine
    (at / '.hidden.png').write_text('not looked at')
    (at / f'again{suffix}').symlink_to(first.name)
    (at / f'gone{suffix}').symlink_to('nowhere')
    (out / 'loop').symlink_to('.', target_is_directory=True)
    (out / 'README.txt').write_text('Not an image.')
    (out / 'labels.csv').write_text('file,label\n')


def bomb(side: int) -> bytes:
    """A PNG of some bytes that claims side x side pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        tail = struct.pack('>I', zlib.crc32(name + content))
        return struct.pack('>I', len(content)) + name + content + tail

    header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
    parts = (
        chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    )
    return b'\x89PNG\r\n\x1a\n' + parts


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
