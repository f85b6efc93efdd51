"""Clips and sound that are drawn by a formula: what the factors say is what is in the rows."""

import numpy as np
import pytest

from ssljax import data
from ssljax.names import Mistake

VIDEO = dict(name='shapes_video', train=600, validation=20, test=20)
FACTORS = ('direction', 'shape', 'position', 'moving')


def rows(spec, split='train', count=200):
    return data.make(spec).splits[split].rows(np.arange(count))


def around(values, size):
    """Differences on a canvas without a rim, in [-size / 2, size / 2)."""
    return (values + size / 2) % size - size / 2


@pytest.mark.parametrize('size', [32, 48])
def test_the_shape_moves_where_the_label_says(size):
    found = rows(VIDEO | dict(size=size, keep=('position', 'moving', 'direction')))
    made = data.make(VIDEO)
    np.testing.assert_array_equal(found['label'], found['direction'])
    steps = around(np.diff(found['position'], axis=1), size)
    speed = np.linalg.norm(steps, axis=-1)
    assert (0.999 < speed * 32 / size).all() and (speed * 32 / size < 2.001).all()
    assert np.abs(speed - speed[:, :1]).max() < 1e-3
    words = {'right': (0, 1), 'left': (0, -1), 'down': (1, 0), 'up': (-1, 0)}
    for step, label in zip(steps[:, 0], found['label'], strict=True):
        parts = made.class_names[label].split('-')
        way = np.sum([words[word] for word in parts], 0) / len(parts) ** 0.5
        np.testing.assert_allclose(step / np.linalg.norm(step), way, atol=1e-3)


def test_the_mask_is_where_the_position_says_and_where_the_image_moves():
    found = rows(VIDEO | dict(keep=FACTORS))
    grid = np.arange(32)
    moving, position = found['moving'][..., 0].astype(float), found['position']
    for axis, mask in ((0, moving.sum(3)), (1, moving.sum(2))):
        apart = around(grid - position[..., axis, None], 32)
        center = (mask * apart).sum(-1) / mask.sum(-1)
        assert np.abs(center).max() < 0.7 and np.abs(center.mean()) < 0.05
    still = found['moving'].max(1, keepdims=True) == 0
    spread = found['x'].astype(float).std(1, keepdims=True)
    assert np.median(spread[still]) < 6 and np.median(spread[~still]) > 10  # noise, and motion


def test_shapes_are_even_and_no_single_frame_tells_the_direction():
    found = rows(VIDEO | dict(train=1500, keep=FACTORS), count=1500)
    for name, n in (('direction', 8), ('shape', 3)):
        counts = np.bincount(found[name], minlength=n)
        assert len(counts) == n and ((counts - 1500 / n) ** 2 / (1500 / n)).sum() < 25
    area = found['moving'].sum((2, 3, 4)).mean(1)
    for shape in range(3):  # the size does not tell the shape
        assert abs(area[found['shape'] == shape].mean() / area.mean() - 1) < 0.05
    for frame in (0, 7):  # places are uniform for each direction
        for direction in range(8):
            place = found['position'][found['direction'] == direction, frame] / 32
            counts = np.histogram2d(*place.T, 3, ((0, 1), (0, 1)))[0]
            assert ((counts - len(place) / 9) ** 2 / (len(place) / 9)).sum() < 32  # chi2 of 8


def test_clips_have_their_form_and_only_what_is_asked_for():
    plain = rows(VIDEO, count=5)
    assert plain['x'].shape == (5, 8, 32, 32, 1) and plain['x'].dtype == np.uint8
    assert set(plain) == {'x', 'label'}
    kept = rows(VIDEO | dict(keep=FACTORS, label='shape'), count=5)
    np.testing.assert_array_equal(kept['x'], plain['x'])
    np.testing.assert_array_equal(kept['label'], kept['shape'])
    np.testing.assert_array_equal(kept['direction'], plain['label'])
    assert kept['moving'].shape == plain['x'].shape and kept['position'].shape == (5, 8, 2)
    color = rows(VIDEO | dict(color=True, frames=3, size=16), count=5)['x']
    assert color.shape == (5, 3, 16, 16, 3) and (np.ptp(color, -1) > 0).any()
    options = (
        {}, dict(seed=1), dict(label='shape'), dict(color=True), dict(frames=9), dict(size=33),
        dict(train=9), dict(keep=('shape',)),
    )  # fmt: skip
    assert len({data.make(VIDEO | o).fingerprint for o in options}) == 8
    for other in (rows(VIDEO | dict(seed=1), count=5), rows(VIDEO, 'test', 5)):
        assert (other['x'] != plain['x']).any((1, 2, 3, 4)).all()
    with pytest.raises(Mistake, match='did you mean position'):
        data.make(VIDEO | dict(keep=('positon',)))


# sound --------------------------------------------------------------------------------------------

TONES = dict(name='tones', train=300, validation=20, test=20)


def heard(wave, rate=8000):
    """The frequency of a note in Hz, from its autocorrelation."""
    wave = wave - wave.mean()
    lags = np.arange(4, 60)  # 133 to 2,000 Hz
    score = np.array([np.dot(wave[:-lag], wave[lag:]) / (len(wave) - lag) for lag in lags])
    best = 1 + np.argmax((score[1:-1] > 0.8 * score.max()) & (score[1:-1] > score[2:]))
    left, middle, right = score[best - 1 : best + 2]  # multiples of the lag score as well
    return rate / (lags[best] + 0.5 * (left - right) / (left - 2 * middle + right))


def test_the_pitch_of_each_note_is_what_the_factors_and_the_label_say():
    spec = TONES | dict(keep=('pitch', 'starts'), seconds=1.0)
    names, found = data.make(spec).class_names, rows(spec)
    assert names[:4] == ('up-up', 'up-level', 'up-down', 'level-up') and len(set(names)) == 9
    errors = []
    for wave, label, pitch, starts in zip(*(found[n] for n in ('x', 'label', 'pitch', 'starts'))):
        steps = 12 * np.log2(pitch[1:] / pitch[:-1])
        words = ['up' if s > 1.99 else 'down' if s < -1.99 else 'level' for s in steps]
        assert '-'.join(words) == names[label] and np.abs(steps).max() < 5.01
        long = starts[1] - starts[0]
        assert 1600 <= long + 1 and starts[2] + long <= 8001
        assert np.abs(wave[: starts[0] - 1]).max(initial=0) < 0.2  # noise
        for start, hertz in zip(starts, pitch, strict=True):
            note = wave[start + long // 10 : start + 6 * long // 10]
            errors.append(12 * np.log2(heard(note) / hertz))
    assert (np.abs(errors) < 0.5).mean() > 0.95 and np.abs(np.median(errors)) < 0.1


def test_sounds_have_their_form_and_tell_their_class_by_the_notes_alone():
    spec = TONES | dict(train=1500)
    found = rows(spec | dict(keep=('pitch', 'starts')), count=1500)
    plain = rows(spec, count=50)
    assert set(plain) == {'x', 'label'} and plain['x'].dtype == np.float32
    np.testing.assert_array_equal(plain['x'], found['x'][:50])
    assert found['x'].shape == (1500, 4000) and np.abs(found['x']).max() <= 1
    counts = np.bincount(found['label'], minlength=9)
    assert ((counts - 1500 / 9) ** 2 / (1500 / 9)).sum() < 26  # chi2 of 8
    middle = np.log(found['pitch']).mean(1)
    loud, start = np.abs(found['x']).max(1), found['starts'][:, 0]
    for fact in (middle, loud, start):  # pitch, loudness and onset are those of any class
        means = np.array([fact[found['label'] == label].mean() for label in range(9)])
        assert np.abs(means - fact.mean()).max() < 4.5 * fact.std() / 160**0.5
    for other in (rows(spec | dict(seed=1), count=9), rows(spec, 'test', 9)):
        assert (other['x'] != plain['x'][:9]).all(1).all()
    options = (
        {},
        dict(seed=1),
        dict(rate=9000),
        dict(seconds=0.6),
        dict(test=9),
        dict(keep=('pitch',)),
    )
    assert len({data.make(TONES | o).fingerprint for o in options}) == 6
    with pytest.raises(Mistake, match='did you mean pitch'):
        data.make(TONES | dict(keep=('pich',)))
