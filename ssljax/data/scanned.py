"""Scanned lines with what they read, from a TFDS directory."""

import io

import numpy as np

from ssljax.data.lines import Side, speller
from ssljax.data.pixels import pillow
from ssljax.data.source import Rows, Source, Split, fingerprint, held, hold_out
from ssljax.data.tokens import UNSEEN
from ssljax.kinds import Natural
from ssljax.names import Mistake


def scanned_lines(
    *,
    path: str = 'archiscribe_lines',
    dir: str = '',
    height: Side = 32,
    width: Side = 1024,
    validation: Natural = 0,
    image: str = 'image',
    transcript: str = 'text',
) -> Source:
    """Lines of a TFDS directory, uint8 [height, width, 1]: name=scanned_lines:NAME. text, length.

    A line is scaled to the height, or further where it would be too wide, and starts at the left;
    length says how many columns it has, and what follows is its own light ground. Tokens are the
    characters of the transcripts to train on; characters that only others have are one more.

    path: NAME, NAME:VERSION or NAME/CONFIG, as of `tfds`, with splits train and test.
    dir: where the data sets are (empty: TFDS_DATA_DIR, else ~/tensorflow_datasets).
    height, width: of the canvas in pixels.
    validation: lines held out of train.
    image, transcript: the features to read.
    """
    from ssljax.data.records import records

    features, parts = records(path, dir)
    for name in (image, transcript):
        if name not in features:
            raise Mistake(f'scanned_lines: {path} has no {name!r}; it has {", ".join(features)}')
    examples = {
        name: [features.deserialize_example_np(raw) for raw in part.raw(np.arange(part.count))]
        for name, part in parts.items()
        if name in ('train', 'validation', 'test')
    }
    texts = {
        name: [bytes(example[transcript]).decode() for example in part]
        for name, part in examples.items()
    }
    seen = sorted(set(''.join(texts['train'])))
    odd = set(''.join(text for part in texts.values() for text in part)) - set(seen)
    vocab = (*seen, *([UNSEEN] if odd else []))
    most = max(len(text) for part in texts.values() for text in part)
    tokens = speller(vocab, most)

    def split(name: str) -> Split:
        def rows(index: np.ndarray) -> Rows:
            images = [examples[name][i][image] for i in index]
            x, length = placed(images, height, width)
            return {'x': x, 'length': length, **tokens([texts[name][i] for i in index])}

        return held(Split(len(texts[name]), rows))

    splits = {name: split(name) for name in examples}
    if validation and 'validation' in splits:
        raise Mistake(f'scanned_lines: {path} has a validation split; type validation=0')
    if validation:
        splits['train'], splits['validation'] = hold_out(splits['train'], validation)
    digests = [(name, parts[name].digest) for name in examples]
    return Source(
        f'scanned_lines:{path}',
        splits,
        fingerprint('scanned_lines 1', digests, height, width, validation, image, transcript),
        vocab=vocab,
        decoder=pillow(),
        tokens=tokens,
    )


def placed(images: list, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [h, w, C] or encoded ones on canvases uint8 [N, height, width, 1]; their columns."""
    from PIL import Image

    x = np.zeros((len(images), height, width, 1), np.uint8)
    length = np.zeros(len(images), np.int32)
    for i, values in enumerate(images):
        if isinstance(values, bytes):
            image = Image.open(io.BytesIO(values)).convert('L')
        else:
            image = Image.fromarray(values if values.shape[-1] == 3 else values[..., 0])
            image = image.convert('L')
        scale = min(height / image.height, width / image.width)
        wide = min(width, max(1, round(image.width * scale)))
        tall = min(height, max(1, round(image.height * scale)))
        line = np.asarray(image.resize((wide, tall), Image.Resampling.BICUBIC))
        x[i] = np.percentile(line, 90)
        top = (height - tall) // 2
        x[i, top : top + tall, :wide, 0] = line
        length[i] = wide
    return x, length
