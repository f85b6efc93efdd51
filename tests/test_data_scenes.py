"""Captioned scenes: words say what is there, and no pair that is tested is trained on."""

import numpy as np
import pytest

from ssljax import data
from ssljax.data.glyphs import FONTS
from ssljax.data.scenes import COLORS, FACTORS, LENGTH, PHRASES, PLACES, SIZES, TELL_ALL
from ssljax.names import Mistake

SPEC = dict(name='scenes', keep=FACTORS)
NAMES = dict(color=tuple(COLORS), size=tuple(SIZES), place=tuple(PLACES))


def rows(split='train', count=800, **options):
    made = data.make(SPEC | options)
    return made, made.splits[split].rows(np.arange(min(count, made.splits[split].count)))


def pairs(found):
    return set(zip(found['color'].tolist(), found['letter'].tolist()))


@pytest.mark.parametrize(
    'seed, letters', [(0, None), (3, None), (0, 'ABCDEFGH'), (1, 'abcdefghijk')]
)
def test_pairs_of_test_are_new_and_their_parts_are_not(seed, letters):
    options = dict(seed=seed, size=16) | ({'letters': letters} if letters else {})
    found = {}
    for split in ('train', 'validation', 'test'):
        made, found[split] = rows(split, **options)
    count = len(made.class_names) // 8
    seen = {split: pairs(part) for split, part in found.items()}
    assert {split: len(some) for split, some in seen.items()} == {
        'train': 5 * count, 'validation': count, 'test': 2 * count,
    }  # fmt: skip
    assert len(set.union(*seen.values())) == 8 * count  # disjoint, and all
    for factor, n in zip(FACTORS, (8, count, 2, 5)):
        assert set(found['train'][factor]) == set(range(n)), factor
        assert set(found['test'][factor]) <= set(range(n))
    if count == 16:  # no color is new more often than another
        assert np.ptp(np.bincount([color for color, _ in seen['test']])) == 0


def test_each_combination_comes_once_before_any_comes_twice():
    _, found = rows(train=3000, count=3000, size=16)
    scenes = list(zip(*(found[name].tolist() for name in FACTORS)))
    assert len(set(scenes[:800])) == 800 and scenes[800:1600] == scenes[:800]
    assert (found['x'][800] != found['x'][0]).any()
    _, test = rows('test', size=16)
    texts = {tuple(text) for text in test['text']}
    assert len(test['x']) == len(texts) == 320  # no caption is that of another image, too


def test_captions_say_what_is_there():
    for split in ('train', 'test'):
        made, found = rows(split, size=16)
        names, told = NAMES | {'letter': tuple('ABCEFGHKMRSTXZ24')}, {name: 0 for name in FACTORS}
        assert found['text'].shape[1:] == (LENGTH,) and found['text_length'].max() == LENGTH - 1
        kinds = set()
        for i, (ids, n) in enumerate(zip(found['text'], found['text_length'])):
            words = [made.vocab[t] for t in ids[:n]]
            assert words[0] == '<start>' and words[-1] == '<end>' and not ids[n:].any()
            text = ' '.join(words[1:-1])
            scene = {name: names[name][found[name][i]] for name in FACTORS}
            kind = {p for p in PHRASES if p.format(**scene).replace(',', ' ,') == text}
            kinds |= kind
            assert kind and made.vocab[-1] not in words
            for name in FACTORS:
                told[name] += any('{' + name in phrase for phrase in kind)
                others = set(names[name]) - {scene[name]} - set(scene['place'].split())
                assert name == 'place' or not others & set(words)
        if split == 'test':
            assert kinds == set(PHRASES[:TELL_ALL]) and set(told.values()) == {len(found['x'])}
        else:
            assert kinds == set(PHRASES) and min(told.values()) > 0.5 * len(found['x'])
    written = made.tokens(['a red K', 'a photo of a red K.', ' '.join(['a'] * 40)])
    assert made.vocab[written['text'][0, 3]] == 'K' and written['text_length'].tolist() == [
        5,
        9,
        16,
    ]
    assert made.vocab[written['text'][1, 2]] == made.vocab[-1]  # photo


def test_the_letter_is_where_and_of_the_color_that_is_told():
    _, found = rows(count=600)
    x = found['x'].astype(float) / 255
    color = np.array(list(COLORS.values()))[found['color']]
    ground = np.median(x, (1, 2))  # [B, 3]
    way = color - ground
    amount = ((x - ground[:, None, None]) * way[:, None, None]).sum(-1) / (way**2).sum(-1)[
        :, None, None
    ]
    ink = amount > 0.6
    grid = np.arange(48) - 23.5
    down = (ink.sum(2) * grid).sum(1) / ink.sum((1, 2))
    across = (ink.sum(1) * grid).sum(1) / ink.sum((1, 2))
    row, column = np.array([PLACES[p] for p in NAMES['place']])[found['place']].T
    near = (np.abs(down - 12 * row) < 4) & (np.abs(across - 12 * column) < 4)
    assert near.mean() > 0.95
    area = ink.sum((1, 2))
    assert area[found['size'] == 1].mean() > 1.8 * area[found['size'] == 0].mean()


def test_a_mask_is_where_the_letter_is():
    """Its pixels have the color of the letter, the others a dark ground; it lies at its place."""
    _, found = rows('test', keep=(*FACTORS, 'mask'))
    x, mask = found['x'] / 255, found['mask'].astype(bool)
    assert found['mask'].shape == (320, 48, 48) and set(np.unique(found['mask'])) == {0, 1}
    colors = np.array(list(COLORS.values()))[found['color']][:, None, None]
    apart = np.abs(x - colors).max(-1)  # of a pixel from the color of the letter
    assert apart[mask].mean() < 0.15 and apart[~mask].mean() > 0.4
    y, x = np.indices((48, 48)) - 23.5
    places = np.array(list(PLACES.values()))[found['place']]
    for axis, where in enumerate((y, x)):
        middle = (mask * where).sum((1, 2)) / mask.sum((1, 2))
        assert np.abs(middle - 12 * places[:, axis]).max() < 6
    assert mask[found['size'] == 1].mean() > 1.8 * mask[found['size'] == 0].mean()


def test_fonts_labels_and_form():
    assert not set(FONTS['train']) & set(FONTS['test'])
    made, found = rows('test', size=24)
    assert found['x'].shape == (320, 24, 24, 3) and found['x'].dtype == np.uint8
    assert made.classes == 128 and made.class_names[:2] == ('red A', 'red B')
    np.testing.assert_array_equal(found['label'], 16 * found['color'] + found['letter'])
    for label, n in (('letter', 16), ('color', 8), ('size', 2), ('place', 5)):
        made, other = rows('test', size=24, label=label)
        np.testing.assert_array_equal(other['label'], found[label])
        np.testing.assert_array_equal(other['x'], found['x'])
        assert made.classes == n == len(made.class_names)
    plain = data.make(dict(name='scenes', size=24)).splits['test'].rows(np.arange(2))
    assert set(plain) == {'x', 'label', 'text', 'text_length'}
    options = ({}, dict(seed=1), dict(size=25), dict(letters='ABCDEFGH'), dict(label='color'))
    options += (dict(train=9), dict(keep=()), dict(keep=('mask',)))
    assert len({data.make(SPEC | o).fingerprint for o in options}) == len(options)
    for options, says in (
        (dict(letters='ABC'), '8 or more'),
        (dict(letters='ABCDEFG!'), '8 or more'),
        (dict(letters='ABCDEFGA'), '8 or more'),
        (dict(label='colour'), 'did you mean color'),
        (dict(keep=('sise',)), 'did you mean size'),
    ):
        with pytest.raises(Mistake, match=says):
            data.make(SPEC | options)
