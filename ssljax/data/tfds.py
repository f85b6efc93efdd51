"""TFDS data sets, with TensorFlow or without: the same rows, labels and order by both routes.

Records are read by offset, so batch k costs the same for every k. Pixels are equal for PNG; JPEG
differs by a few levels between decoders, so the decoder's name is part of the Source.
"""

import functools
import importlib.metadata
import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ssljax.data import tokens
from ssljax.data.pixels import THREADS, Loader, canvas, each, pillow, route, stream, tensorflow
from ssljax.data.records import Records, records
from ssljax.data.source import (
    SPLITS,
    Rows,
    Source,
    Split,
    fingerprint,
    held,
    hold_out,
    mapped,
    permutation,
    select,
)
from ssljax.kinds import Count, Natural
from ssljax.names import Mistake, nearest


def tfds(
    *,
    path: str = '',
    dir: str = '',
    size: Natural | tuple[Count, Count] = 0,
    train: str = 'train',
    validation: Natural = 0,
    rows: Natural = 0,
    test: str = 'test',
    x: str = 'image',
    label: str = 'label',
    keep: tuple[str, ...] = (),
    text: str = '',
    words: Natural = 0,
    loader: Loader = 'auto',
    hold: Natural = 2**30,
) -> Source:
    """The images of a TFDS directory: name=tfds:cifar10, tfds:cifar10:3.0.2, tfds:NAME/CONFIG.

    path: NAME, NAME:VERSION or NAME/CONFIG; without a version, the newest.
    dir: where the data sets are (empty: TFDS_DATA_DIR, else ~/tensorflow_datasets).
    size: side, or (height, width), of the canvas: scaled to cover it, then cropped at the center.
    train, test: the set's own names of the splits (imagenet2012: test='validation').
    validation: rows held out of train, where no split of the set is left for it.
    rows: so many of what then is left to train on, any of them; 0: all.
    x, label, keep: the features to read; `keep` adds more, as rows under their own names.
    text: a feature of one string, or of several, that describes the image: `text` [B, n, T] (of
    one: [B, T]) and `text_length` of the rows are its words. Each has as many texts as the row of
    train that has fewest.
    words: so many of the commonest words of train are tokens; 0: all.
    loader: 'tf' (tf.data), 'numpy' (Pillow, without TensorFlow), 'auto' (tf where installed).
    hold: a split of at most so many bytes is decoded once and kept in host memory.
    """
    if not path:
        raise Mistake('tfds: no data set named; type name=tfds:NAME, as in tfds:cifar10')
    loader = route(loader)
    features, parts = records(path, dir)
    for name in dict.fromkeys((train, test)):
        if name not in parts and not (name == 'test' == test):  # many sets have no test split
            raise Mistake(f'tfds:{path} has no split {name!r}; offered: {", ".join(parts)}')
    names = {'train': train, 'test': test}
    if 'validation' in parts and 'validation' not in names.values():
        names['validation'] = 'validation'
    if validation and 'validation' in names:
        raise Mistake(
            f'tfds:{path} has a validation split of its own, so validation={validation} cannot be'
            ' held out; type validation=0'
        )
    shape = canvas_shape(path, features, x, size)
    wanted = {'x': x} | {name: name for name in keep}
    if label in features or label != 'label':  # many sets have no label
        wanted['label'] = label
    for name in set(wanted.values()) - {x}:
        check_row(path, features, name)
    read = tf_rows if loader == 'tf' else numpy_rows
    splits = {}
    for name in SPLITS:
        if names.get(name) in parts:
            part = read(features, parts[names[name]], wanted, shape)
            splits[name] = held(part) if part.count * np.prod(shape) <= hold else part

    def parted(split: Split) -> dict[str, Split]:
        """What is left to train on, and what is held out of it."""
        left, apart = hold_out(split, validation) if validation else (split, None)
        if not 0 <= rows <= left.count:
            raise Mistake(
                f'tfds:{path}: rows={rows} of the {left.count} that train has; type 0 for all'
            )
        left = select(left, permutation(0, 2, left.count)[:rows]) if rows else left
        return {'train': left} | ({'validation': apart} if apart else {})

    described = {}
    if text:
        written = {name: strings(path, features, parts[names[name]], text) for name in splits}
        numbers = parted(Split(len(written['train']), lambda i: {'number': i}))['train']
        known = numbers.rows(np.arange(numbers.count))['number']  # only these make the vocabulary
        described, texts = tokenized(f'tfds:{path}: {text}', written, known, words)
        splits = {
            name: mapped(part, lambda i, rows, own=texts[name]: rows | {k: own[k][i] for k in own})
            for name, part in splits.items()
        }
    splits |= parted(splits['train'])
    kind = dict(features).get(label)
    classes = getattr(kind, 'num_classes', 0) or 0
    digests = [(name, parts[names[name]].digest) for name in SPLITS if names.get(name) in parts]
    return Source(
        f'tfds:{path}',
        splits,
        fingerprint(
            'tfds 1',
            digests,
            shape,
            validation,
            wanted,
            *([rows] if rows else []),
            *([text, words] if text else []),
        ),
        classes=classes,
        class_names=tuple(kind.names) if classes and kind.names else (),
        decoder=decoder(loader),
        **described,
    )


def decoder(loader: str) -> str:
    """'tensorflow 2.21.0' or 'pillow 13.0.0', without importing TensorFlow."""
    if loader == 'numpy':
        return pillow()
    names = ('tensorflow', 'tensorflow-cpu', 'tf-nightly', 'tensorflow-macos')
    for name in names:
        try:
            return f'tensorflow {importlib.metadata.version(name)}'
        except importlib.metadata.PackageNotFoundError:
            continue
    return 'tensorflow'


# From records to rows -----------------------------------------------------------------------------


def canvas_shape(path: str, features: Any, x: str, size: Any) -> tuple[int, int, int]:
    """[H, W, C] of the images, from the features and the size asked for."""
    if x not in features or not is_image(features[x]):
        raise Mistake(
            f'tfds:{path} has no feature {x!r} of uint8 images; it has'
            f' {", ".join(sorted(features))}; type x=ITS NAME'
        )
    shape = features[x].shape
    if size:
        height, width = (size, size) if isinstance(size, int) else size
        shape = (int(height), int(width), shape[2])
    if None in shape:
        raise Mistake(
            f'tfds:{path} has images of different sizes {list(shape)}; type size=SIDE, as size=224'
        )
    return tuple(shape)


def check_row(path: str, features: Any, name: str) -> None:
    """Only numbers of a fixed shape can be rows of a batch."""
    if name not in features:
        raise Mistake(
            f'tfds:{path} has no feature {name!r}{nearest(name, features)}; it has'
            f' {", ".join(sorted(features))}'
        )
    shape, kind = getattr(features[name], 'shape', None), getattr(features[name], 'np_dtype', None)
    if not isinstance(shape, tuple) or None in shape or np.dtype(kind).kind not in 'buif':
        raise Mistake(
            f'tfds:{path}: feature {name!r} cannot be a row of a batch; type keep=NAMES of numbers'
            ' of a fixed shape'
        )


def strings(path: str, features: Any, source: Records, name: str) -> list[list[str]]:
    """The texts of each record: one, or several."""
    from tensorflow_datasets import decode

    if name not in features:
        raise Mistake(
            f'tfds:{path} has no feature {name!r}{nearest(name, features)}; it has'
            f' {", ".join(sorted(features))}'
        )
    kind, shape = np.dtype(getattr(features[name], 'np_dtype', 'i')), features[name].shape
    if kind.kind not in 'OSU' or len(shape) > 1:
        raise Mistake(f'tfds:{path}: feature {name!r} is no text; type text=NAME of one that is')
    skipped = {name: decode.SkipDecoding() for name, kind in features.items() if is_image(kind)}

    def texts(raw: bytes) -> list[str]:
        found = features.deserialize_example_np(raw, decoders=skipped)[name]
        return [text.decode(errors='replace') for text in np.atleast_1d(found).tolist()]

    starts = range(0, source.count, 1024)  # the records of a large set do not fit into memory
    parts = (source.raw(np.arange(i, min(i + 1024, source.count))) for i in starts)
    return [texts(raw) for part in parts for raw in part]


def tokenized(
    what: str, written: dict[str, list[list[str]]], known: np.ndarray, size: int
) -> tuple[dict[str, Any], dict[str, Rows]]:
    """Words of the texts of each split: how a Source describes them, and its rows.

    known: the rows of train that make the vocabulary and say how long a text may be.
    """
    told = [written['train'][i] for i in known]
    each = min(map(len, told))  # texts of a row
    if not each or not all(all(texts) for texts in written.values()):
        raise Mistake(f'{what} has rows without any text; type text= of another feature')
    flat = [text for texts in told for text in texts]
    tokenizer = tokens.words(flat, marks=tokens.MARKS, size=size or None)
    length = 2 + max(len(tokenizer.encode(text)) for text in flat)
    to_rows = functools.partial(tokens.captions, tokenizer, length=length)

    def rows(texts: list[list[str]]) -> Rows:
        # of more than `each` the first are taken; of fewer, which only held-out rows have, all
        some = [own[i % len(own)] for own in texts for i in range(each)]
        shape = (len(texts), each) if each > 1 else (len(texts),)
        return {name: v.reshape(*shape, *v.shape[1:]) for name, v in to_rows(some).items()}

    described = {'vocab': tokenizer.vocab, 'tokens': to_rows}
    return described, {name: rows(texts) for name, texts in written.items()}


def tidy(values: np.ndarray) -> np.ndarray:
    """Integers become int32 and floats float32; pixels stay bytes."""
    kind = values.dtype.kind
    if values.dtype == np.uint8 or kind == 'b':
        return values
    return values.astype(np.int32 if kind in 'iu' else np.float32)


def numpy_rows(features: Any, source: Records, wanted: dict[str, str], shape: tuple) -> Split:
    """The route without TensorFlow: Pillow, in threads."""
    from PIL import Image
    from tensorflow_datasets import decode

    # Decoded here: tfds would take OpenCV where it is installed, and reads 1-bit PNGs as 0 and 1.
    modes = {1: 'L', 3: 'RGB', 4: 'RGBA'}
    images = {name for name, kind in features.items() if is_image(kind)}
    skipped = {name: decode.SkipDecoding() for name in images}

    def example(raw: bytes) -> Rows:
        fields = features.deserialize_example_np(raw, decoders=skipped)
        row = {}
        for name, feature in wanted.items():
            row[name] = fields[feature]
            if feature in images:
                file = Image.open(io.BytesIO(fields[feature]))
                row[name] = np.asarray(file.convert(modes[features[feature].shape[-1]]))
                row[name] = row[name].reshape(*row[name].shape[:2], -1)
        return row | {'x': canvas(row['x'], shape)}

    def rows(index: np.ndarray) -> Rows:
        if not len(index):
            return {name: values[:0] for name, values in rows(np.array([0])).items()}
        examples = each(example, source.raw(index))
        return {name: tidy(np.stack([row[name] for row in examples])) for name in wanted}

    return Split(source.count, rows)


def tf_rows(features: Any, source: Records, wanted: dict[str, str], shape: tuple) -> Split:
    """The route through tf.data: parallel decoding, read ahead. Imports TensorFlow at first use."""

    @functools.cache
    def graphs() -> tuple[Any, Callable, Callable]:
        tf = tensorflow()

        def example(raw: Any) -> dict[str, Any]:
            fields = features.deserialize_example(raw)
            row = {name: fields[feature] for name, feature in wanted.items()}
            if row['x'].shape != shape:  # by Pillow in both routes, so that pixels are equal
                row['x'] = tf.numpy_function(lambda x: canvas(x, shape), [row['x']], tf.uint8)
                row['x'].set_shape(shape)
            return row

        one = tf.function(example, input_signature=[tf.TensorSpec([], tf.string)])
        types = one.get_concrete_function().structured_outputs
        types = tf.nest.map_structure(tf.TensorSpec.from_tensor, types)

        @functools.partial(tf.function, input_signature=[tf.TensorSpec([None], tf.string)])
        def batch(raws: Any) -> dict[str, Any]:
            return tf.map_fn(one, raws, fn_output_signature=types, parallel_iterations=THREADS)

        return tf, one, batch

    def rows(index: np.ndarray) -> Rows:
        tf, _, batch = graphs()
        raws = tf.constant(source.raw(index), tf.string, shape=[len(index)])
        return {name: tidy(values.numpy()) for name, values in batch(raws).items()}

    def streamed(indices: Iterator[np.ndarray]) -> Iterator[Rows]:
        for row in stream(indices, source.raw, 'string', graphs()[1]):
            yield {name: tidy(values) for name, values in row.items()}

    return Split(source.count, rows, streamed)


def is_image(feature: Any) -> bool:
    """Whether a feature is stored as an encoded image of bytes."""
    kind = getattr(feature, 'get_serialized_info', None) and feature.get_serialized_info()
    encoded = getattr(kind, 'np_dtype', None) == np.object_ and getattr(kind, 'shape', None) == ()
    shape = getattr(feature, 'shape', None) or ()
    return encoded and len(shape) == 3 and feature.np_dtype == np.uint8
