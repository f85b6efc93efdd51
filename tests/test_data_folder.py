"""Directories of images as a source: classes, splits, rows by both routes, mistakes, a training."""

import importlib.util
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import jobs
import numpy as np
import pytest
from directories import RNG, SMOOTH, directory, make, many, put, rows  # noqa: F401
from PIL import Image

from ssljax import data, train
from ssljax.data.batches import Batches
from ssljax.names import Mistake

# layouts ------------------------------------------------------------------------------------------


def test_class_folders_nested_folders_and_none(root, capsys):
    for name in ('dog/b.png', 'dog/a.png', 'cat/deep/er/c.png', 'owl/d.png'):
        put(root, name)
    made = make(root)
    assert made.class_names == ('cat', 'dog', 'owl') and made.classes == 3
    assert made.name == 'folder:photos' and made.decoder.startswith('pillow ')
    found = rows(made)
    assert found['label'].tolist() == [0, 1, 1, 2] and found['label'].dtype == np.int32
    assert 'classes     3: cat, dog, owl' in capsys.readouterr().err
    plain = make(root, label=False)
    assert 'classes     none, as label=False' in capsys.readouterr().err
    assert plain.classes == 0 and set(rows(plain)) == {'x'}
    np.testing.assert_array_equal(rows(plain)['x'], found['x'])
    flat = root.parent / 'flat'
    for name in ('b.png', 'a.png'):
        put(flat, name)
    assert set(rows(make(flat))) == {'x'} and make(flat).classes == 0
    assert 'classes     none' in capsys.readouterr().err


def test_one_class_is_fine_and_a_deeper_folder_is_pointed_to(root, capsys):
    put(root, 'images/a.png'), put(root, 'images/b.png')
    assert rows(make(root))['label'].tolist() == [0, 0]
    assert 'note' not in capsys.readouterr().err
    put(root, 'images/cat/c.png')
    assert make(root).class_names == ('images',)
    assert 'all is one class, images' in capsys.readouterr().err
    split = root.parent / 'split'
    put(split, 'train/n/a.png'), put(split, 'train/n/b.png'), put(split, 'test/n/c.png')
    assert make(split).class_names == ('n',)
    assert 'note' not in capsys.readouterr().err


@pytest.mark.parametrize('held', ['val', 'valid', 'validation', 'Validation'])
def test_split_folders(root, held):
    for name in ('train/dog/1.png', 'train/cat/2.png', f'{held}/dog/3.png', 'test/owl/4.png'):
        put(root, name)
    made = make(root, validation=0.5, test=1)  # what is there is not held out again
    assert {n: s.count for n, s in made.splits.items()} == dict(train=2, validation=1, test=1)
    assert made.class_names == ('cat', 'dog', 'owl')
    assert [rows(made, n)['label'].tolist() for n in made.splits] == [[0, 1], [1], [2]]
    x = rows(made, 'validation')['x'][0, 8, 12]
    assert (x == zlib.crc32(f'{held}/dog/3.png'.encode()) % 251).all()


def test_a_class_may_be_called_train(root):
    for name in ('bus/1.png', 'car/2.png', 'train/3.png'):
        put(root, name)
    made = make(root)
    assert made.class_names == ('bus', 'car', 'train') and list(made.splits) == ['train']


# what is held out ---------------------------------------------------------------------------------


def marks(made, split):
    return {x.tobytes() for x in rows(made, split)['x']}


def test_held_out_rows_are_disjoint_and_stable(root):
    many(root)
    put(root, 'a/copy of 3.png', np.asarray(Image.open(root / 'b/003.png')))
    options = dict(validation=0.2, test=9, size=5)
    made = make(root, **options)
    parts = [marks(made, name) for name in ('train', 'validation', 'test')]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 60  # of the copies, both or none
    counts = [made.splits[name].count for name in ('train', 'validation', 'test')]
    assert sum(counts) == 61 and counts[1] in (12, 13) and counts[2] in (9, 10)
    again = make(root, **options)
    for name in made.splits:
        np.testing.assert_array_equal(rows(made, name)['x'], rows(again, name)['x'])
    put(root, 'a/one more.png')  # moves nothing but what lies at the cuts
    later = [marks(make(root, **options), name) for name in ('validation', 'test')]
    assert all(len(a & b) >= len(a) - 2 for a, b in zip(parts[1:], later))


def test_copies_of_an_image_are_never_on_both_sides(root):
    for i in range(30):
        put(root, f'{i:02}.png', np.full((5, 6, 3), i % 5 * 40, np.uint8))
    made = make(root, test=3, validation=0.25)
    assert {n: s.count for n, s in made.splits.items()} == dict(train=12, validation=12, test=6)
    parts = [marks(made, name) for name in made.splits]
    assert [len(part) for part in parts] == [2, 2, 1] and len(set.union(*parts)) == 5


def test_the_defaults_hold_out_a_tenth_twice(root):
    many(root, 40)
    made = data.make(dict(name=f'folder:{root}'))
    assert {n: s.count for n, s in made.splits.items()} == dict(train=32, validation=4, test=4)
    assert rows(made)['x'].shape == (32, 64, 64, 3)


# rows ---------------------------------------------------------------------------------------------


def test_rows_do_not_depend_on_company_and_are_read_once_where_they_are_held(root, monkeypatch):
    many(root, 12)
    loose, made = make(root, hold=0), make(root)
    read, count = Path.read_bytes, []
    monkeypatch.setattr(Path, 'read_bytes', lambda p: count.append(p.name) or read(p))
    index = np.array([3, 3, 11, 0])
    a, b = loose.splits['train'].rows(index), made.splits['train'].rows(index)
    np.testing.assert_array_equal(a['x'], b['x'])
    np.testing.assert_array_equal(a['x'][2], loose.splits['train'].rows(np.array([11]))['x'][0])
    count.clear()
    made.splits['train'].rows(index)
    assert not count
    with Batches(loose.splits['train'], seed=0, batch=4, start=10**9, stop=10**9 + 2) as far:
        assert [batch['x'].shape for _, batch in far] == [(4, 16, 24, 3)] * 2


def test_a_file_that_changes_while_it_is_used_is_a_mistake(root):
    many(root, 4)
    made = make(root, hold=0)
    put(root, 'a/000.png', SMOOTH)
    with Batches(made.splits['train'], seed=0, batch=4, stop=1) as batches:
        with pytest.raises(Mistake, match='a/000.png has changed since the start'):
            next(batches)


WITH_TENSORFLOW = """
import sys
import numpy as np
from ssljax import data
from ssljax.data.batches import Batches

spec = dict(name='folder:' + sys.argv[1], hold=0, size=(20, 30), validation=3)
a, b = data.make(spec | dict(loader='auto')), data.make(spec | dict(loader='tf'))
assert a.fingerprint == b.fingerprint and a.decoder == b.decoder
assert a.splits['train'].stream is None and b.splits['train'].stream
b.splits['train'].rows(np.arange(2))
assert 'tensorflow' not in sys.modules, 'imported before it was used'
for split in a.splits:
    for start in (0, 10**9):
        how = dict(seed=1, batch=6, start=start, stop=start + 5)
        with Batches(a.splits[split], **how) as one, Batches(b.splits[split], **how) as two:
            one, two = list(one), list(two)
        assert 'tensorflow' in sys.modules
        assert [k for k, _ in one] == [k for k, _ in two] == list(range(start, start + 5))
        for (_, x), (_, y) in zip(one, two):
            assert sorted(x) == sorted(y) == ['index', 'label', 'x']
            for key in x:
                np.testing.assert_array_equal(x[key], y[key], strict=True)

from pathlib import Path
from ssljax.names import Mistake
for path in Path(sys.argv[1]).glob('*/*'):
    path.write_bytes(b'')  # through TensorFlow it is the same mistake
with Batches(b.splits['train'], seed=0, batch=6) as batches:
    try:
        next(batches)
    except Mistake as mistake:
        assert 'has changed since the start' in str(mistake)
        print('equal')
"""


def test_both_routes_give_the_same_rows(root):
    if not importlib.util.find_spec('tensorflow'):
        pytest.skip('TensorFlow is not installed')
    for i in range(24):
        side = 8 + 300 * (i % 5 == 0)  # slow to decode: it must not be overtaken
        image = RNG.integers(0, 256, (side, side + i, 3), np.uint8)
        put(root, f'{"ab"[i % 2]}/{i}.{("png", "jpg", "webp")[i % 3]}', image)
    done = subprocess.run(
        [sys.executable, '-c', WITH_TENSORFLOW, str(root)],
        capture_output=True,
        text=True,
        cwd=jobs.ROOT,
        env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'},
        timeout=300,
    )
    assert done.returncode == 0 and done.stdout.endswith('equal\n'), done.stderr[-3000:]


# mistakes and the training program ----------------------------------------------------------------


MISTAKES = {
    'no path': ((), dict(name='folder'), '--config.data.path=DIR'),
    'absent': (('a.png',), dict(path='fotos'), 'did you mean photos'),
    'absent with its parent': (('a.png',), dict(path='no/where'), 'has the directories'),
    'file': (('a.png',), dict(path='photos/a.png'), 'is a file, not a directory; type'),
    'archive': (('a.zip',), dict(path='photos/a.zip'), 'unpack it'),
    'link': ((), dict(path='dangling'), 'a link to nowhere'),
    'empty': ((), {}, 'but nothing'),
    'no images': (('a.heic', 'b.heic', 'c.txt'), {}, '2 .heic, 1 .txt; it reads'),
    'all broken': (('a.gif', 'b.gif'), {}, 'none of the 2 images'),
    'one image': (('a.png',), {}, '1 images to train on'),
    'few for the splits': (
        ('a.png', 'b.png', 'c.png'),
        dict(validation=0.1, test=1),
        'leave 1; give it more, or type --config.data.test=0',
    ),
    'loose images': (('cat/a.png', 'b.png'), {}, '--config.data.label=False'),
    'splits and more': (('train/a.png', 'test/b.png', 'x/c.png'), {}, 'beside them x/'),
    'splits and loose': (('train/a.png', 'test/b.png', 'c.png'), {}, 'beside them c.png'),
    'a split twice': (('train/a.png', 'val/b.png', 'valid/c.png'), {}, 'there twice'),
    'no train': (('test/a.png', 'val/b.png'), {}, 'no train/'),
    'classes in one split': (('train/cat/a.png', 'test/b.png'), {}, 'label=False'),
    'channels': (('a.png',), dict(channels=2), 'channels=2; offered: 0'),
    'size': (('a.png',), dict(size=0), 'size=0'),
    'bits': (('a.png',), dict(bits=3), 'from 8 to 16'),
    'part': (('a.png', 'b.png', 'c.png'), dict(test=1.5), 'test=1.5'),
    'negative': (('a.png', 'b.png', 'c.png'), dict(validation=-1), 'validation=-1'),
    'loader': (('a.png',), dict(loader='torch'), 'auto, numpy, tf'),
    'option': (('a.png',), dict(sizes=3), 'did you mean size'),
}


@pytest.mark.parametrize('case', MISTAKES)
def test_mistakes_are_one_line(root, case):
    files, options, says = MISTAKES[case]
    root.mkdir()
    (root.parent / 'dangling').symlink_to('nowhere')
    for name in files:
        put(root, name) if name.endswith('png') else (root / name).write_text('text')
    given = dict(name='folder', path=str(root), loader='numpy', validation=0, test=0) | options
    if case == 'no path':
        del given['path']
    elif 'path' in options:
        given['path'] = str(root.parent / options['path'])
    with pytest.raises(Mistake) as error:
        data.make(given)
    assert says in str(error.value) and '\n' not in str(error.value)


def test_tensorflow_that_is_absent_is_a_mistake(root, monkeypatch):
    many(root, 4)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(Mistake, match='type loader=numpy'):
        make(root, loader='tf')
    assert make(root, loader='auto', hold=0).splits['train'].stream is None


def test_training_on_a_folder_without_labels_ends_well(root, capsys, tmp_path):
    for i in range(30):
        put(root, f'{i}.png')
    found = jobs.settings('simclr', 'folder', **{
        'data.path': root, 'data.size': 8, 'steps': 2, 'batch': 8, 'optim.net.warmup': 0,
        'model.encoder.widths': '(4,)', 'model.view.name': 'identity', 'log.evaluate': 1,
        'log.tensorboard': False,
    })  # fmt: skip
    found['evals'].pop('linear_probe')  # one is enough
    assert train.train(found, tmp_path / 'run') == 0
    told = capsys.readouterr().out
    assert 'not run     knn needs labels; folder:photos has none' in told
    assert 'not evaluated at step 1: knn needs labels' in told
    assert 'checkpoint' in told and '\n\n\n' not in told
    assert json.loads((tmp_path / 'run/results.json').read_text())['evals'] == {}
