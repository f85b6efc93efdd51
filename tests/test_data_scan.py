"""What a directory holds: broken files, links, order, and what a second start remembers."""

import io
import json
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from directories import SMOOTH, directory, make, many, put, rows  # noqa: F401
from PIL import Image

from ssljax.data import scan

# what is wrong with files -------------------------------------------------------------------------


def bomb(side):
    def chunk(name, content):
        crc = struct.pack('>I', zlib.crc32(name + content))
        return struct.pack('>I', len(content)) + name + content + crc

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0))
    return b'\x89PNG\r\n\x1a\n' + header + chunk(b'IDAT', zlib.compress(b'')) + chunk(b'IEND', b'')


def encoded(format, **options):
    file = io.BytesIO()
    Image.fromarray(SMOOTH.repeat(4, 0).repeat(4, 1)).save(file, format, **options)
    return file.getvalue()


BROKEN = {
    'empty.jpg': (b'', 'empty'),
    'zeros.png': (bytes(999), 'zero bytes'),
    'text.png': (b'<!DOCTYPE html>', "not an image; it begins b'<!DOCTYPE"),
    'bomb.png': (bomb(50000), 'pixels'),
    'float.tif': (encoded('tiff'), 'floating point'),
} | {
    f'cut.{format}': (encoded(format)[:-40], 'cut short|damaged')
    for format in ('jpeg', 'png', 'gif', 'bmp', 'webp', 'tiff')
}  # fmt: skip


def test_broken_files_are_listed_and_left_out(root, capsys):
    for name in ('good/1.png', 'good/2.png'):
        put(root, name)
    for name, (raw, _) in BROKEN.items():
        (root / 'good' / name).write_bytes(raw)
    Image.fromarray(np.ones((4, 4), np.float32)).save(root / 'good/float.tif')
    (root / 'good/progressive.jpg').write_bytes(encoded('jpeg', progressive=True)[:-40])
    made = make(root)
    told = capsys.readouterr().err
    assert made.splits['train'].count == 2
    lines = {line.split(':')[0].strip(): line for line in told.splitlines()}
    for name, (_, reason) in BROKEN.items():
        assert any(word in lines[f'good/{name}'] for word in reason.split('|')), told
    assert 'cut short' in lines['good/progressive.jpg'] and 'cut short' in lines['good/cut.jpeg']
    assert f'broken      {len(BROKEN) + 1} files' in told


def test_a_long_list_is_cut_and_says_where_the_rest_is(root, capsys):
    many(root, 4)
    for i in range(25):
        (root / f'a/x{i:02}.png').write_bytes(b'')
    make(root)
    told = capsys.readouterr().err
    assert 'broken      25 files' in told and 'a/x19.png' in told and 'a/x20.png' not in told
    (place,) = [line.split()[3] for line in told.splitlines() if 'and 5 more' in line]
    assert json.loads(Path(place).read_text())['files']['a/x24.png'][3] == 'empty (0 bytes)'


def test_hidden_files_other_files_and_special_files(root, capsys):
    for name in ('a.png', 'b.png', '.hidden.png', '.cache/c.png'):
        put(root, name)
    for name in ('README.txt', 'x.csv', 'y.CSV', 'list'):
        (root / name).write_text('')
    os.mkfifo(root / 'pipe.png')  # opening it would wait forever
    assert make(root).splits['train'].count == 2
    told = capsys.readouterr().err
    assert 'ignored     2 .csv, 1 .txt, 1 without a suffix' in told
    assert 'pipe.png: not a file' in told and 'hidden' not in told


def test_links_are_followed_once_and_loops_end(root, capsys):
    for name in ('dog/1.png', 'owl/2.png'):
        put(root, name)
    outside = root.parent / 'outside'
    put(outside, 'in/3.png')
    (root / 'cat').symlink_to(outside / 'in')  # the only way to these: they are a class
    (root / 'eel').symlink_to(outside)  # which holds it once more, and has nothing else
    (root / 'aaa').symlink_to(root / 'dog')  # first by name, but dog is what is there itself
    (root / 'dog/loop').symlink_to('..')
    (root / 'up').symlink_to(root.parent)
    (root / 'dog/0.png').symlink_to(root / 'owl/2.png')
    (root / 'owl/gone.png').symlink_to('nowhere')
    (root / 'owl/self.png').symlink_to('self.png')
    made = make(root)
    assert made.class_names == ('cat', 'dog', 'owl')
    assert rows(made)['label'].tolist() == [0, 1, 2]
    told = capsys.readouterr().err
    assert '5 links to what is there already' in told
    assert 'owl/gone.png: a link to nothing' in told and 'owl/self.png: a link' in told


def test_what_cannot_be_listed_or_read_is_told(root, capsys, monkeypatch):
    put(root, 'a.png'), put(root, 'b.png'), put(root, 'shut/c.png')
    listed, read = os.scandir, Path.read_bytes

    def scandir(path):
        if str(path).endswith('shut'):
            raise PermissionError(13, 'Permission denied')
        return listed(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    make(root)
    assert 'shut/: cannot be listed (Permission denied)' in capsys.readouterr().err
    put(root, 'd.png')
    monkeypatch.setattr(
        Path, 'read_bytes', lambda p: read(p) if p.name != 'd.png' else scandir('shut')
    )
    assert make(root).splits['train'].count == 2
    assert 'd.png: cannot be read (Permission denied)' in capsys.readouterr().err


# order, fingerprint, cache ------------------------------------------------------------------------


def test_order_is_that_of_names_whatever_the_system_says(root, monkeypatch):
    names = ['b/2.png', 'a/10.png', 'a/9.png', 'Z/1.png', 'c/1.png']
    for name in names:
        put(root, name)
    first = make(root)
    other = root.parent / 'else/where'
    for name in reversed(names):
        put(other, name)
    listed = os.scandir
    monkeypatch.setattr(os, 'scandir', lambda p: list(listed(p))[::-1])
    second = make(other)
    assert first.class_names == second.class_names == ('Z', 'a', 'b', 'c')
    np.testing.assert_array_equal(rows(first)['x'], rows(second)['x'])
    expected = [zlib.crc32(name.encode()) % 251 for name in sorted(names)]
    assert rows(first)['x'][:, 8, 12, 0].tolist() == expected
    assert first.fingerprint == second.fingerprint  # and does not know where it lies


def test_fingerprint_follows_contents_names_and_options(root):
    many(root, 10)
    first = make(root).fingerprint
    assert make(root, hold=0).fingerprint == first
    options = (dict(size=8), dict(channels=1), dict(label=False), dict(test=2), dict(bits=12))
    assert len({make(root, **o).fingerprint for o in options} | {first}) == len(options) + 1
    (root / 'a/broken.png').write_bytes(b'')  # is left out, so the data are the same
    assert make(root).fingerprint == first
    place = root / 'a/000.bmp'
    put(root, 'a/000.bmp')
    first, raw = make(root).fingerprint, place.read_bytes()
    place.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))  # a pixel, so of the same size
    os.utime(place, ns=(1, 10**18))
    changed = make(root).fingerprint
    place.write_bytes(raw)
    assert changed != first == make(root).fingerprint
    place.rename(root / 'a/new.png')
    assert make(root).fingerprint != first


def test_a_second_start_reads_nothing_and_a_changed_file_again(root, capsys, monkeypatch):
    many(root, 10)
    (root / 'a/cut.png').write_bytes(b'\x89PNG')
    first = make(root)
    seen, examine = [], scan.examine
    monkeypatch.setattr(scan, 'examine', lambda *a: seen.append(Path(a[0]).name) or examine(*a))
    second = make(root)
    assert not seen and second.fingerprint == first.fingerprint
    told = capsys.readouterr().err
    assert told.count('a/cut.png: damaged') == 2 and 'all known from before' in told
    raw = bytearray((root / 'a/000.png').read_bytes())
    raw[-20] ^= 1  # of the same size
    (root / 'a/000.png').write_bytes(raw)
    os.utime(root / 'a/000.png', ns=(1, 10**18))
    put(root, 'b/new.png')
    make(root)
    assert sorted(seen) == ['000.png', 'new.png']
    (file,) = (root.parent / 'cache' / 'ssljax/folders').iterdir()
    kept = json.loads(file.read_text())
    assert len(kept['files']) == 12
    for spoiled in ('', '[]', json.dumps(kept | dict(edition='0')), '{"files": 3'):
        file.write_text(spoiled)
        seen.clear()
        assert make(root).splits['train'].count >= 10 and len(seen) == 12


def test_an_interrupted_scan_goes_on_where_it_was(root, monkeypatch):
    many(root, 10)
    examine, seen = scan.examine, []

    def interrupted(place, size, mtime):
        if place.endswith('b/005.png'):
            raise KeyboardInterrupt
        return examine(place, size, mtime)

    monkeypatch.setattr(scan, 'examine', interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(root)
    monkeypatch.setattr(scan, 'examine', lambda *a: seen.append(a[0]) or examine(*a))
    make(root)
    assert 0 < len(seen) < 10


def test_a_cache_that_cannot_be_written_is_done_without(root, monkeypatch, tmp_path):
    many(root, 4)
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert make(root).splits['train'].count == 4


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere(capsys, monkeypatch):
    scan.progress(1200, 5000, 10.0)
    assert capsys.readouterr().err == 'folder      reading 1,200/5,000 images  120/s  0:32\n'
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    scan.progress(2500, 5000, 10.0)
    bar = capsys.readouterr().err
    assert bar.startswith('\r[' + 15 * '=' + 15 * ' ' + '] 2,500/5,000') and '\n' not in bar
