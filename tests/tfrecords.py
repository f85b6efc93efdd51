"""What the tests of TFDS directories share: files as TFDS writes them, spelled out by hand."""

import io
import json
import struct

from PIL import Image

KIND = 'tensorflow_datasets.core.features.'


def record(**fields):
    """A tf.train.Example, spelled out in protocol buffer wire format."""

    def part(number, content):
        return bytes([number << 3 | 2]) + varint(len(content)) + content

    def varint(n):
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    def feature(value):
        if isinstance(value, bytes | list):
            texts = value if isinstance(value, list) else [value]
            return part(1, b''.join(part(1, text) for text in texts))
        return part(3, part(1, varint(value)))

    entries = (part(1, part(1, k.encode()) + part(2, feature(v))) for k, v in fields.items())
    return part(1, b''.join(entries))


def remainder(register):
    for _ in range(8):
        register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register


REMAINDERS = [remainder(byte) for byte in range(256)]


def crc(raw):
    """CRC32C, a byte at a time."""
    register = 0xFFFFFFFF
    for byte in raw:
        register = register >> 8 ^ REMAINDERS[(register ^ byte) & 255]
    return register ^ 0xFFFFFFFF


def masked(raw):
    """As TFRecord files have it."""
    found = crc(raw)
    return ((found >> 15 | found << 17) + 0xA282EAD8) % 2**32


def encoded(image, format='png'):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format)
    return file.getvalue()


def write(place, shards, shape, file_format='tfrecord', features=None):
    """A TFDS directory: shards is split -> list of lists of serialized examples."""
    place.mkdir(parents=True)
    dims = ['-1' if n is None else str(n) for n in shape]
    image = dict(pythonClassName=KIND + 'image_feature.Image')
    image['image'] = dict(shape=dict(dimensions=dims), dtype='uint8', encodingFormat='png')
    label = dict(pythonClassName=KIND + 'class_label_feature.ClassLabel')
    label['classLabel'] = dict(numClasses='3')
    text = dict(pythonClassName=KIND + 'text_feature.Text', text={})
    found = features or dict(image=image, label=label, id=text)
    top = dict(pythonClassName=KIND + 'features_dict.FeaturesDict')
    top['featuresDict'] = dict(features=found)
    (place / 'features.json').write_text(json.dumps(top))
    (place / 'label.labels.txt').write_text('cat\ndog\nowl\n')
    splits, name = [], place.parent.name
    for split, parts in shards.items():
        splits.append(dict(name=split, numBytes='1', shardLengths=[str(len(p)) for p in parts]))
        splits[-1]['filepathTemplate'] = '{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}'
        for i, part in enumerate(parts):
            file = place / f'{name}-{split}.{file_format}-{i:05d}-of-{len(parts):05d}'
            if file_format == 'array_record':
                from array_record.python.array_record_module import ArrayRecordWriter

                writer = ArrayRecordWriter(str(file), 'group_size:1')
                for raw in part:
                    writer.write(raw)
                writer.close()
                continue
            with open(file, 'wb') as out:
                for raw in part:
                    size = struct.pack('<Q', len(raw))
                    out.write(size + struct.pack('<I', masked(size)) + raw)
                    out.write(struct.pack('<I', masked(raw)))
    info = dict(name=name, version=place.name, fileFormat=file_format, splits=splits)
    info['moduleName'] = 'adhoc'
    (place / 'dataset_info.json').write_text(json.dumps(info))
