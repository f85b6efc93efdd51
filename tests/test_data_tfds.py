"""TFDS directories, with and without TensorFlow, against files written and read by hand."""

import importlib.util
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tfrecords import KIND, crc, encoded, masked, record, write

from ssljax import data
from ssljax.data import crc as data_crc
from ssljax.data.batches import Batches
from ssljax.names import Mistake

DATA = Path(os.environ.get('SSLJAX_DATA', Path(__file__).parents[1].parent / 'shared' / 'data'))


def tiny(root, name='tiny', change=0, file_format='tfrecord', sizes=False, extra=()):
    """27 training images in three files and 7 test images; -> their pixels."""
    rng = np.random.default_rng(0)
    images, examples = [], []
    for i in range(34):
        tall, wide = (rng.integers(8, 40, 2)) if sizes else (12, 10)
        if sizes and i % 5 == 0:  # slow to decode: it must not be overtaken
            tall, wide = 300, 400
        images.append(rng.integers(0, 256, (tall, wide, 3), np.uint8))
        if i == 30:
            images[i][0, 0] += np.uint8(change)
        fields = dict(id=b'n%d' % i, image=encoded(images[i]), label=i % 3)
        examples.append(record(**fields))
    shards = dict(train=[examples[:9], examples[9:20], examples[20:27]], test=[examples[27:]])
    for split in extra:
        shards[split] = [examples[:2]]
    write(root / name / '1.0.0', shards, (None, None, 3) if sizes else (12, 10, 3), file_format)
    return images


CAPTIONS = (
    [b'A cat, on a mat.', b'a cat'],
    [b'the dog', b'a brown dog runs', b'a dog'],
    [b'an owl', b'\xc3\xa9t\xc3\xa9', b'two owls'],
    [b'a quiet zebra that nobody has seen so far', b'a cat', b'', b'more'],
    [b'one cat'],
)


def captioned(root, train=3):
    """Images with captions: three train rows, two test rows of another number of captions."""
    part = dict(pythonClassName=KIND + 'text_feature.Text', text={})
    captions = dict(pythonClassName=KIND + 'sequence_feature.Sequence')
    captions['sequence'] = dict(feature=part, length='-1')
    image = dict(pythonClassName=KIND + 'image_feature.Image')
    dims = dict(dimensions=['6', '5', '3'])
    image['image'] = dict(shape=dims, dtype='uint8', encodingFormat='png')
    pixels = [np.full((6, 5, 3), i, np.uint8) for i in range(len(CAPTIONS))]
    examples = [
        record(captions=texts, id=b'picture %d' % i, image=encoded(x))
        for i, (texts, x) in enumerate(zip(CAPTIONS, pixels, strict=True))
    ]
    shards = dict(train=[examples[:train]], test=[examples[train:]])
    features = dict(captions=captions, id=part, image=image)
    write(root / 'captioned' / '1.0.0', shards, (), features=features)


def spec(root, name='tiny', **options):
    return dict(name=f'tfds:{name}', dir=str(root), **{'loader': 'numpy', **options})


@pytest.mark.parametrize('file_format', ['tfrecord', 'array_record'])
def test_rows_are_the_images_written_and_tensorflow_stays_out(tmp_path, file_format):
    before = 'tensorflow' in sys.modules
    images = np.stack(tiny(tmp_path, file_format=file_format))
    for hold in (0, 2**30):
        made = data.make(spec(tmp_path, hold=hold))
        assert (made.classes, made.class_names) == (3, ('cat', 'dog', 'owl'))
        assert made.decoder.startswith('pillow ')
        assert {name: split.count for name, split in made.splits.items()} == dict(train=27, test=7)
        index = np.array([26, 0, 8, 9, 19, 20, 0])
        rows = made.splits['train'].rows(index)
        np.testing.assert_array_equal(rows['x'], images[index])
        np.testing.assert_array_equal(rows['label'], index % 3)
        assert rows['label'].dtype == np.int32
        np.testing.assert_array_equal(made.splits['test'].rows(np.arange(7))['x'], images[27:])
    assert ('tensorflow' in sys.modules) == before


def test_checksums_are_those_of_the_standard():
    """RFC 3720, B.4, and one byte at a time, for sizes around the blocks."""
    known = [(b'123456789', 0xE3069283), (bytes(32), 0x8A9136AA), (b'\xff' * 32, 0x62A8AB43)]
    assert data_crc.crc32c([raw for raw, _ in known]).tolist() == [found for _, found in known]
    rng = np.random.default_rng(0)
    raws = [rng.bytes(n) for n in (0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 5000)]
    raws += [b'\0' * 70 + raw for raw in raws]
    found = data_crc.crc32c(raws)
    assert found.tolist() == [crc(raw) for raw in raws]
    assert data_crc.masked(found).tolist() == [masked(raw) for raw in raws]
    assert data_crc.crc32c([]).shape == (0,)


def flip(file, at, bit=0):
    raw = bytearray(file.read_bytes())
    raw[at] ^= 1 << bit
    file.write_bytes(raw)


def test_one_flipped_bit_is_told_and_never_read(tmp_path):
    """In what was written, in its checksum, in its length, in that of the length."""
    images = np.stack(tiny(tmp_path))
    made = data.make(spec(tmp_path, hold=0))
    (file,) = (tmp_path / 'tiny/1.0.0').glob('*train.tfrecord-00001-of-*')  # rows 9 to 19
    whole, at = file.read_bytes(), 0
    for _ in range(3):
        at += 16 + struct.unpack_from('<Q', whole, at)[0]
    size = struct.unpack_from('<Q', whole, at)[0]
    for place in (at + 12, at + 12 + size // 2, at + 11 + size, at + 12 + size):
        flip(file, place, bit=place % 8)
        again = data.make(spec(tmp_path, hold=0))
        assert (again.fingerprint == made.fingerprint) == (place < at + 12 + size)
        with pytest.raises(Mistake, match=f'{file} is damaged: record 3 .*copy') as mistake:
            again.splits['train'].rows(np.arange(27)[::-1])
        assert '\n' not in str(mistake.value)
        np.testing.assert_array_equal(
            again.splits['train'].rows(np.array([11]))['x'][0], images[11]
        )
        file.write_bytes(whole)
    for place, bit in ((at, 0), (at, 3), (at + 7, 7), (at + 9, 1)):
        flip(file, place, bit)
        with pytest.raises(Mistake, match=f'{file} is damaged: record 3 '):
            data.make(spec(tmp_path))
        file.write_bytes(whole)
    assert np.array_equal(made.splits['train'].rows(np.array([12]))['x'][0], images[12])


@pytest.mark.parametrize('file_format', ['tfrecord', 'array_record'])
def test_fingerprint_follows_contents_and_options(tmp_path, file_format):
    for root, change in (('a', 0), ('b', 0), ('c', 1)):
        tiny(tmp_path / root, change=change, file_format=file_format)
    first = data.make(spec(tmp_path / 'a')).fingerprint
    assert data.make(spec(tmp_path / 'b')).fingerprint == first
    assert data.make(spec(tmp_path / 'b', hold=0)).fingerprint == first
    assert data.make(spec(tmp_path / 'c')).fingerprint != first
    for options in (dict(size=8), dict(validation=3), dict(rows=3), dict(test='train')):
        assert data.make(spec(tmp_path / 'a', **options)).fingerprint != first


def test_validation_is_the_end_of_a_fixed_permutation(tmp_path):
    tiny(tmp_path, extra=['validation'])
    tiny(tmp_path, 'other')
    made = data.make(spec(tmp_path, 'other', validation=5, keep=('label',)))
    rows = {n: s.rows(np.arange(s.count))['x'].tobytes() for n, s in made.splits.items()}
    assert len(rows['train']) == 22 * 360 and len(rows['validation']) == 5 * 360
    parts = {
        rows[n][i : i + 360] for n in ('train', 'validation') for i in range(0, len(rows[n]), 360)
    }
    assert len(parts) == 27
    again = data.make(spec(tmp_path, 'other', validation=5)).splits['validation']
    assert again.rows(np.arange(5))['x'].tobytes() == rows['validation']
    own = data.make(spec(tmp_path))
    assert own.splits['validation'].count == 2
    swapped = data.make(spec(tmp_path, test='validation', validation=4))
    assert {n: s.count for n, s in swapped.splits.items()} == dict(train=23, test=2, validation=4)


def test_fewer_rows_are_some_of_those_that_are_not_held_out(tmp_path):
    tiny(tmp_path)
    every, few, fewer = (
        data.make(spec(tmp_path, validation=5, rows=rows)).splits for rows in (0, 9, 4)
    )
    named = [
        {row.tobytes() for row in s['train'].rows(np.arange(s['train'].count))['x']}
        for s in (every, few, fewer)
    ]
    assert [len(n) for n in named] == [22, 9, 4] and named[2] < named[1] < named[0]
    held = every['validation'].rows(np.arange(5))['x']
    assert np.array_equal(held, few['validation'].rows(np.arange(5))['x'])


def test_canvas_covers_and_crops_at_the_center(tmp_path):
    images = tiny(tmp_path, sizes=True)
    rows = data.make(spec(tmp_path, size=(16, 12))).splits['train'].rows(np.arange(27))
    assert rows['x'].shape == (27, 16, 12, 3)
    for x, image in zip(rows['x'], images, strict=False):
        tall, wide = image.shape[:2]
        by = max(16 / tall, 12 / wide)
        big = Image.fromarray(image).resize(
            (max(12, round(wide * by)), max(16, round(tall * by))), 3
        )
        top, left = (big.height - 16) // 2, (big.width - 12) // 2
        np.testing.assert_array_equal(x, np.asarray(big.crop((left, top, left + 12, top + 16))))


def test_one_bit_and_palette_images_have_full_range(tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (4, 6, 5)).astype(bool)
    fields = [dict(id=b'', image=encoded(b), label=0) for b in bits]
    palette = io.BytesIO()
    colors = rng.integers(0, 2, (6, 5, 3)).astype(np.uint8) * 255
    Image.fromarray(colors).quantize(16).save(palette, 'png')
    fields.append(dict(id=b'', image=palette.getvalue(), label=0))
    write(tmp_path / 'bits' / '1.0.0', dict(train=[[record(**f) for f in fields]]), (6, 5, 3))
    x = data.make(spec(tmp_path, 'bits')).splits['train'].rows(np.arange(5))['x']
    np.testing.assert_array_equal(x[:4], np.repeat(bits[..., None] * 255, 3, -1))
    np.testing.assert_array_equal(x[4], colors)


def read(made, rows, i):
    """The captions of a row."""
    texts, lengths = rows['text'][i], rows['text_length'][i]
    return [' '.join(made.vocab[t] for t in ids[:n]) for ids, n in zip(texts, lengths)]


def test_captions_are_words_of_train(tmp_path):
    captioned(tmp_path)
    made = data.make(spec(tmp_path, 'captioned', text='captions'))
    train, test = (made.splits[name].rows(np.arange(n)) for name, n in (('train', 3), ('test', 2)))
    # two of each, since a row of train has two; the longest of train has seven words
    assert train['text'].shape == (3, 2, 9) and train['text_length'].tolist()[0] == [9, 4]
    assert read(made, train, 0) == ['<start> a cat , on a mat . <end>', '<start> a cat <end>']
    assert read(made, train, 2) == ['<start> an owl <end>', '<start> été <end>']
    unseen = made.vocab[-1]
    cut = f'<start> a {" ".join([unseen] * 6)} <end>'
    assert read(made, test, 0) == [cut, '<start> a cat <end>']
    assert read(made, test, 1) == [f'<start> {unseen} cat <end>'] * 2  # it has no other
    assert 'zebra' not in made.vocab and made.vocab[3:5] == ('a', 'dog')
    assert made.tokens(['A dog!'])['text'].tolist()[0][:5] == [1, 3, 4, len(made.vocab) - 1, 2]
    few = data.make(spec(tmp_path, 'captioned', text='captions', words=2))
    assert few.vocab == (*made.vocab[:5], unseen)
    # what is held out of train, or left out of it, makes no words
    held = data.make(spec(tmp_path, 'captioned', text='captions', validation=1, rows=1))
    index = held.splits['train'].rows(np.arange(1))['x'][0, 0, 0, 0]
    words = {word for text in CAPTIONS[index] for word in text.decode().lower().split()}
    assert {word.strip(',.') for word in words} == set(held.vocab[3:-1]) - {',', '.'}
    for split in held.splits.values():  # rows keep their own texts
        rows = split.rows(np.arange(split.count))
        for i, x in enumerate(rows['x'][:, 0, 0, 0]):
            first = CAPTIONS[x][0].decode().lower().split()[0]
            assert read(held, rows, i)[0].split()[1] in (first, unseen)
    one = data.make(spec(tmp_path, 'captioned', text='id'))
    assert one.splits['train'].rows(np.arange(3))['text'].shape == (3, 4)
    prints = {made.fingerprint, few.fingerprint, one.fingerprint, held.fingerprint}
    assert len(prints | {data.make(spec(tmp_path, 'captioned')).fingerprint}) == 5
    for option, says in (('image', 'is no text'), ('caption', 'did you mean captions')):
        with pytest.raises(Mistake, match=says):
            data.make(spec(tmp_path, 'captioned', text=option))


WITH_TENSORFLOW = """
import sys
import numpy as np
from ssljax import data
from ssljax.data.batches import Batches

root = sys.argv[1]
for name, options in (('tiny', {}), ('sizes', dict(size=16)), ('records', dict(validation=5)),
                      ('captioned', dict(text='captions', validation=1))):
    spec = dict(name=f'tfds:{name}', dir=root, hold=0, **options)
    a, b = data.make(spec | dict(loader='numpy')), data.make(spec | dict(loader='auto'))
    assert a.fingerprint == b.fingerprint and a.class_names == b.class_names
    assert 'tensorflow' not in sys.modules or name != 'tiny', 'imported before it was used'
    for split in a.splits:
        assert b.splits[split].stream
        index = np.arange(a.splits[split].count)[::-1]
        x, y = a.splits[split].rows(index), b.splits[split].rows(index)
        for start in (0, 10**9):
            how = dict(seed=1, batch=6, start=start, stop=start + 9)
            with Batches(a.splits[split], **how) as one, Batches(b.splits[split], **how) as two:
                one, two = list(one), list(two)
            assert [k for k, _ in one] == [k for k, _ in two] == list(range(start, start + 9))
            for x, y in [(x, y), *((i, j) for (_, i), (_, j) in zip(one, two))]:
                assert sorted(x) == sorted(y)
                for key in x:
                    np.testing.assert_array_equal(x[key], y[key], strict=True)
    assert a.vocab == b.vocab and bool(a.tokens) == bool(b.tokens) == (name == 'captioned')
    with Batches(b.splits['train'], seed=0, batch=4) as early:  # left before its end
        next(early)

# two streams at once, changed on the way, each process its part
def two(loader):
    tiny = dict(name='tfds:tiny', dir=root, hold=0, loader=loader)
    few = dict(name='few_labels', per_class=3, of=dict(name='noisy_labels', of=tiny, rate=0.5))
    return data.make(dict(name='unpaired', x=few, y=dict(tiny, rows=7))).splits['train']

for mine in (None, np.array([4, 1])):
    how = dict(seed=1, batch=6, start=3, stop=12, mine=mine)
    with Batches(two('numpy'), **how) as one, Batches(two('tf'), **how) as other:
        for (k, x), (_, y) in zip(one, other, strict=True):
            assert sorted(x) == sorted(y) == ['index', 'index_y', 'label', 'labelled', 'x', 'y']
            for key in x:
                np.testing.assert_array_equal(x[key], y[key], strict=True)

# a run is fed through tf.data, and ends bit for bit where the other route ends, also if it stopped
import shutil
from pathlib import Path
from ssljax import cache, resolve, train
from ssljax.checkpoint import read
cache.programs()
ends = []
for loader in ('numpy', 'tf'):
    found = resolve.resolve('configs/simclr.py:smoke', [
        ('evals', '{}'), ('log.tensorboard', 'false'), ('checkpoint.every', '1'),
        ('checkpoint.keep', '9'), ('optim.net.warmup', '0'), ('model.view.name', 'identity'),
        ('model.encoder.widths', '(4,)'),
        ('data', repr(dict(name='tfds:tiny', dir=root, hold=0, loader=loader)))])
    assert train.train(found, Path(root) / f'run-{loader}') == 0
    ends.append(read(Path(root) / f'run-{loader}'))
for step in (2, 3, 4):
    shutil.rmtree(Path(root) / f'run-tf/checkpoints/{step}')
assert train.train(found, Path(root) / 'run-tf') == 0
ends.append(read(Path(root) / 'run-tf'))
import jax
assert [step for step, _ in ends] == [4, 4, 4]
jax.tree.map(lambda *leaves: [np.testing.assert_array_equal(leaves[0], l) for l in leaves],
             *[state for _, state in ends])

# one flipped bit ends the stream with one line, as it does the other route
from ssljax.names import Mistake
(file,) = Path(root).glob('tiny/1.0.0/*train.tfrecord-00001-of-*')
raw = bytearray(file.read_bytes())
raw[len(raw) // 2] ^= 1
file.write_bytes(raw)
for loader in ('numpy', 'tf'):
    split = data.make(dict(name='tfds:tiny', dir=root, hold=0, loader=loader)).splits['train']
    try:
        with Batches(split, seed=1, batch=6, stop=9) as batches:
            list(batches)
    except Mistake as mistake:
        assert str(file) in str(mistake) and 'is damaged: record ' in str(mistake), mistake
    else:
        raise AssertionError('damaged rows were read')

import tensorflow
assert b.decoder == 'tensorflow ' + tensorflow.__version__, b.decoder
print('equal')
"""


def test_tensorflow_gives_the_same_rows_and_the_same_run(tmp_path):
    if not importlib.util.find_spec('tensorflow'):
        pytest.skip('TensorFlow is not installed')
    tiny(tmp_path)
    tiny(tmp_path, 'sizes', sizes=True)
    tiny(tmp_path, 'records', file_format='array_record')
    captioned(tmp_path, train=4)
    done = subprocess.run(
        [sys.executable, '-c', WITH_TENSORFLOW, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout.endswith('equal\n'), done.stderr[-3000:]


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
@pytest.mark.parametrize('name', ['mnist', 'omniglot', 'cifar10'])
def test_real_sets_equal_a_sequential_reading(name):
    made = data.make(spec(DATA, name))
    (file,) = DATA.glob(f'{name}/*/*-test.tfrecord-*')
    found = made.splits['test'].rows(np.arange(20))
    with open(file, 'rb') as handle:
        for i in range(20):
            raw = handle.read(struct.unpack('<Q', handle.read(12)[:8])[0])
            handle.read(4)
            start = max(raw.find(b'\x89PNG'), raw.find(b'\xff\xd8\xff'))  # one image an example
            mode = 'L' if name == 'mnist' else 'RGB'
            image = np.asarray(Image.open(io.BytesIO(raw[start:])).convert(mode))
            np.testing.assert_array_equal(found['x'][i], image.reshape(found['x'][i].shape))
    assert len(np.unique(made.splits['test'].rows(np.arange(300))['label'])) >= 10
    with Batches(made.splits['train'], seed=0, batch=8, start=10**6) as batches:
        assert next(batches)[1]['x'].shape[0] == 8


@pytest.mark.skipif(not DATA.is_dir(), reason=f'no data in {DATA}; set SSLJAX_DATA')
def test_kept_features_and_odd_sets():
    made = data.make(spec(DATA, 'camvid_160', keep=('segmentation_mask',)))
    mask = made.splits['validation'].rows(np.arange(9))['segmentation_mask']
    assert mask.shape == (9, 120, 160, 1) and mask.max() <= 11 and len(np.unique(mask)) > 5
    with pytest.raises(Mistake, match='different sizes'):
        data.make(spec(DATA, 'archiscribe_lines'))
    with pytest.raises(Mistake, match='cannot be a row'):
        data.make(spec(DATA, 'flickr8k_1k', keep=('captions',)))


@pytest.mark.parametrize(
    'options, says',
    [
        (dict(name='tiney'), 'did you mean tiny'),
        (dict(name='tiny:2.0.0'), 'tiny'),
        (dict(name='empty'), 'holds no data set'),
        (dict(test='tset'), 'offered: train, test, validation'),
        (dict(validation=3), 'of its own'),
        (dict(rows=99), 'rows=99 of the 27 that train has'),
        (dict(x='picture'), 'id, image, label'),
        (dict(x='id'), "'id'"),
        (dict(label='lable'), 'did you mean label'),
        (dict(keep=('id',)), "'id'"),
        (dict(loader='torch'), 'auto, numpy, tf'),
        (dict(name='cut'), 'cut short'),
        (dict(name='fewer'), 'records but'),
    ],
)
def test_mistakes_are_one_line(tmp_path, options, says):
    tiny(tmp_path, extra=['validation'])
    (tmp_path / 'empty' / 'sub').mkdir(parents=True)
    for name in ('cut', 'fewer'):
        tiny(tmp_path, name)
        file = next((tmp_path / name / '1.0.0').glob('*train.tfrecord-00001-*'))
        file.write_bytes(file.read_bytes()[:-5] if name == 'cut' else b'')
    with pytest.raises(Mistake) as error:
        data.make(spec(tmp_path, **{'name': 'tiny', **options}))
    assert says in str(error.value) and '\n' not in str(error.value)


def legacy(kind, **content):
    return dict(type=kind, content=content)


@pytest.mark.parametrize('form', ['proto', 'snake', 'json', 'legacy', 'text', 'top', 'loaded'])
def test_no_module_that_a_directory_names_is_imported(tmp_path, monkeypatch, form):
    """In whichever form of features.json."""
    from tensorflow_datasets import features

    tfds_own = features.FeatureConnector.__dict__['cls_from_name']
    tiny(tmp_path)
    place = tmp_path / 'tiny/1.0.0'
    (tmp_path / 'stranger.py').write_text(
        f'import pathlib; pathlib.Path({str(tmp_path / "ran")!r}).touch()'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    good = json.loads((place / 'features.json').read_text())
    name = 'stranger.Feature' if form != 'loaded' else 'ssljax.names.Mistake'
    name = f'stranger.{KIND}text_feature.Text' if form == 'top' else name
    found, inside = json.loads(json.dumps(good)), json.dumps(legacy(name))
    parts = found['featuresDict']['features']
    if form in ('proto', 'loaded'):
        parts['id']['pythonClassName'] = name
    elif form == 'snake':
        parts['id']['python_class_name'] = parts['id'].pop('pythonClassName') and name
    elif form == 'json':  # a dict of features, inside a string
        json_feature = dict(json=json.dumps({'a': legacy(name)}))
        parts['id'] = dict(pythonClassName=KIND + 'features_dict.FeaturesDict')
        parts['id']['jsonFeature'] = json_feature
    elif form == 'text':
        found = legacy(KIND + 'features_dict.FeaturesDict', id=json.loads(inside))
    elif form == 'top':
        found['pythonClassName'] = name
    else:
        found = legacy(name)
    (place / 'features.json').write_text(json.dumps(found))
    with pytest.raises(Mistake, match=f"names '{name}', which is no feature of TFDS") as mistake:
        data.make(spec(tmp_path))
    assert '\n' not in str(mistake.value) and not (tmp_path / 'ran').exists()
    assert features.FeatureConnector.__dict__['cls_from_name'] is tfds_own
    # a module that only the other file names is not imported either
    (place / 'features.json').write_text(json.dumps(good))
    info = json.loads((place / 'dataset_info.json').read_text())
    (place / 'dataset_info.json').write_text(json.dumps(info | dict(moduleName='stranger')))
    assert data.make(spec(tmp_path)).splits['train'].count == 27
    assert not (tmp_path / 'ran').exists() and 'stranger' not in sys.modules


@pytest.mark.parametrize('name', ['features.json', 'dataset_info.json'])
@pytest.mark.parametrize('text', ['', '{"pyth', '[]', '{}', 'null', '{"pythonClassName": 5}'])
def test_a_description_that_is_damaged_is_one_line(tmp_path, name, text):
    tiny(tmp_path)
    (tmp_path / 'tiny/1.0.0' / name).write_text(text)
    with pytest.raises(Mistake, match='tiny') as mistake:
        data.make(spec(tmp_path))
    assert '\n' not in str(mistake.value)


def test_a_missing_name_says_how_to_give_one():
    with pytest.raises(Mistake, match='tfds:cifar10'):
        data.make(dict(name='tfds'))


def test_scanned_lines_are_the_images_and_texts_of_a_directory(tmp_path):
    images = tiny(tmp_path)
    spec = dict(name='scanned_lines:tiny', dir=str(tmp_path), transcript='id', height=24, width=40)
    made = data.make(spec)
    assert {name: split.count for name, split in made.splits.items()} == dict(train=27, test=7)
    assert made.vocab == (*'0123456789', 'n') and made.decoder.startswith('pillow ')
    found = made.splits['test'].rows(np.arange(7))
    assert found['x'].shape == (7, 24, 40, 1) and (found['length'] == 20).all()
    for i, (x, text, n) in enumerate(zip(*(found[k] for k in ('x', 'text', 'text_length')))):
        gray = Image.fromarray(images[27 + i]).convert('L').resize((20, 24), Image.BICUBIC)
        np.testing.assert_array_equal(x[:, :20, 0], np.asarray(gray))
        assert ''.join(made.vocab[c] for c in text[:n]) == f'n{27 + i}'
    held = data.make(spec | dict(validation=5))
    assert held.splits['train'].count == 22 and held.splits['validation'].count == 5
    assert len({held.fingerprint, made.fingerprint}) == 2
    with pytest.raises(Mistake, match="no 'line'; it has"):
        data.make(spec | dict(transcript='line'))
