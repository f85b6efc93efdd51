"""Sources made of sources: two domains, few labels, noisy labels; and their nesting."""

import itertools

import numpy as np
import pytest

from ssljax import data, resolve
from ssljax.data import source
from ssljax.data.batches import Batches
from ssljax.data.source import Source, Split
from ssljax.names import Mistake

GLYPHS = dict(name='glyphs', train=200, validation=20, test=60, classes='ABCDE')
DIGITS = dict(name='digits')


def whole(made, split='train'):
    return made.splits[split].rows(np.arange(made.splits[split].count))


def counted(count=3000, classes=5):
    """Rows that cost nothing; the label is their number modulo the classes."""

    def rows(index):
        label = (index % classes).astype(np.int32)
        return {'x': np.stack([index, label], -1).astype(np.float32), 'label': label}

    splits = {name: Split(count, rows) for name in source.SPLITS}
    names = tuple('abcde'[:classes])
    texts = lambda t: {'text': np.zeros(len(t))}  # noqa: E731
    return Source('counted', splits, 'mark', classes, names, ('<', '>'), 'pillow 0', texts)


def equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# two domains --------------------------------------------------------------------------------------


def test_unpaired_gives_a_row_of_each_domain():
    x, y = data.make(GLYPHS), data.make(DIGITS)
    made = data.make(dict(name='unpaired', x=GLYPHS, y=DIGITS))
    assert (made.name, made.classes, made.class_names) == (
        'unpaired(glyphs, digits)',
        5,
        (*'ABCDE',),
    )
    with Batches(made.splits['train'], seed=1, batch=16, start=70, stop=75) as batches:
        for _, rows in batches:
            assert set(rows) == {'x', 'label', 'index', 'y', 'index_y'}
            alone = x.splits['train'].rows(rows['index'])
            equal(alone, {name: rows[name] for name in ('x', 'label')})
            np.testing.assert_array_equal(rows['y'], y.splits['train'].rows(rows['index_y'])['x'])


def test_a_domain_walks_as_it_would_with_any_other():
    def walk(y):
        made = data.make(dict(name='unpaired', x=counted(23), y=counted(y)))
        with Batches(made.splits['train'], seed=1, batch=7, stop=9) as batches:
            return [
                np.concatenate(r) for r in zip(*((b['index'], b['index_y']) for _, b in batches))
            ]

    (x1, y1), (x2, y2) = walk(11), walk(40)
    np.testing.assert_array_equal(x1, x2)
    assert y1.max() == 10 and y2.max() > 10
    with Batches(counted(23).splits['train'], seed=1, batch=7, stop=9) as batches:
        np.testing.assert_array_equal(np.concatenate([b['index'] for _, b in batches]), x1)


def test_for_evaluation_rows_are_pairs():
    made = data.make(dict(name='unpaired', x=DIGITS, y=GLYPHS))
    x, y = data.make(DIGITS).splits['test'], data.make(GLYPHS).splits['test']
    assert made.splits['test'].count == 397
    rows = made.splits['test'].rows(np.array([0, 59, 60, 396], np.int32))
    np.testing.assert_array_equal(rows['x'], x.rows(np.array([0, 59, 60, 396]))['x'])
    np.testing.assert_array_equal(rows['y'], y.rows(np.array([0, 59, 0, 36]))['x'])
    np.testing.assert_array_equal(rows['index_y'], [0, 59, 0, 36])
    assert rows['index_y'].dtype == np.int32


def test_splits_are_those_of_both_and_a_length_goes_along():
    def padded(index):
        return {'x': np.zeros((len(index), 4)), 'length': 1 + index % 4, 'label': index}

    second = Source('padded', {'train': Split(9, padded)}, '')
    made = data.make(dict(name='unpaired', x=DIGITS, y=second))
    assert list(made.splits) == ['train']
    rows = made.splits['train'].rows(np.arange(12))
    assert set(rows) == {'x', 'label', 'y', 'length_y', 'index_y'}
    np.testing.assert_array_equal(rows['length_y'], 1 + rows['index_y'] % 4)


def test_shapes_are_those_of_a_training_row():
    found = data.shapes(data.make(dict(name='unpaired', x=GLYPHS, y=DIGITS)))
    told = {name: (str(s.dtype), s.shape) for name, s in found.items()}
    assert told == {
        'x': ('uint8', (32, 32, 1)), 'y': ('uint8', (8, 8, 1)), 'label': ('int32', ()),
        'index': ('int32', ()), 'index_y': ('int32', ()),
    }  # fmt: skip
    few = data.shapes(data.make(dict(name='few_labels', of=counted())))
    assert few['labelled'].dtype == bool and set(few) == {'x', 'label', 'labelled', 'index'}


# labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize('per_class', [1, 20])
def test_few_labels_are_so_many_of_each_class_and_the_others_are_hidden(per_class):
    plain = data.make(GLYPHS)
    made = data.make(dict(name='few_labels', of=GLYPHS, per_class=per_class))
    truth, rows = whole(plain), whole(made)
    known = rows['labelled']
    assert known.dtype == bool and rows['label'].dtype == np.int32
    np.testing.assert_array_equal(np.bincount(truth['label'][known], minlength=5), [per_class] * 5)
    np.testing.assert_array_equal(rows['label'], np.where(known, truth['label'], -1))
    np.testing.assert_array_equal(rows['x'], truth['x'])
    for split in ('validation', 'test'):
        equal(whole(made, split), whole(plain, split))
    only = data.make(dict(name='few_labels', of=GLYPHS, per_class=per_class, only=True))
    alone = whole(only)
    assert alone['labelled'].all() and len(alone['x']) == 5 * per_class
    np.testing.assert_array_equal(alone['x'], truth['x'][known])
    np.testing.assert_array_equal(alone['label'], truth['label'][known])
    assert only.splits['test'].count == 60


def test_few_labels_are_repeated_until_they_are_a_share():
    few = dict(name='few_labels', of=GLYPHS, per_class=2, keep=('true_label',))
    plain, rows = whole(data.make(few)), whole(data.make(dict(few, share=0.4)))
    count, known = len(plain['x']), np.flatnonzero(plain['labelled'])
    equal({name: values[:count] for name, values in rows.items()}, plain)
    more = known[np.arange(len(rows['x']) - count) % len(known)]  # again, each equally often
    equal(
        {name: values[count:] for name, values in rows.items()},
        {name: values[more] for name, values in plain.items()},
    )
    assert abs(rows['labelled'].mean() - 0.4) < 0.5 / len(rows['x'])
    np.testing.assert_array_equal(plain['true_label'], whole(data.make(GLYPHS))['label'])
    equal(whole(data.make(dict(few, share=0.01))), plain)  # they are more than that
    marks = {data.make(dict(few, **c)).fingerprint for c in ({}, {'share': 0.4}, {'keep': ()})}
    assert len(marks) == 3


def test_few_texts_are_so_many_and_the_others_are_hidden():
    lines = dict(name='lines', height=16, width=48, words=1, train=60, validation=4, test=4)
    few = dict(name='few_texts', of=lines, count=9, keep=('true_text',))
    truth, rows = whole(data.make(lines)), whole(data.make(few))
    known = rows['labelled']
    assert known.sum() == 9 and rows['text_length'].dtype == np.int32
    np.testing.assert_array_equal(rows['text_length'], np.where(known, truth['text_length'], 0))
    np.testing.assert_array_equal(rows['text'], truth['text'] * known[:, None])
    np.testing.assert_array_equal(rows['true_text'], truth['text'])
    np.testing.assert_array_equal(rows['true_text_length'], truth['text_length'])
    equal(whole(data.make(few), 'test'), whole(data.make(lines), 'test'))
    shared = whole(data.make(dict(few, share=0.4)))
    assert shared['labelled'].mean() == 0.4 and (shared['x'][:60] == truth['x']).all()
    alone = whole(data.make(dict(few, only=True)))
    np.testing.assert_array_equal(alone['x'], truth['x'][known])
    other = whole(data.make(dict(few, seed=1)))['labelled']
    assert (other != known).any() and other.sum() == 9


def test_the_draw_is_fixed_and_follows_the_seed():
    draws = []
    for seed in (0, 0, *range(1, 40)):
        made = data.make(dict(name='few_labels', of=counted(), seed=seed))
        draws.append(np.flatnonzero(whole(made)['labelled']))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert len({tuple(d) for d in draws[1:]}) == 40
    # any row may be drawn: 800 draws over tenths of the set, a chi2 of 9
    counts = np.histogram(np.concatenate(draws[1:]), 10, (0, 3000))[0]
    assert ((counts - 80) ** 2 / 80).sum() < 28
    with_few = np.concatenate([draws[1]] * 2)
    with Batches(counted().splits['train'], seed=0, batch=300, stop=1) as batches:
        first = next(batches)[1]['index']
    assert np.isin(with_few, first).mean() < 0.5  # they are not those that epoch 0 begins with


def test_a_class_without_rows_is_none():
    plain = counted()._replace(classes=7, class_names=())
    rows = whole(data.make(dict(name='few_labels', of=plain, per_class=3)))
    np.testing.assert_array_equal(np.bincount(rows['label'][rows['labelled']]), [3] * 5)


@pytest.mark.parametrize('rate', [0.0, 0.2, 0.75, 1.0])
def test_noisy_labels_are_of_any_other_class_at_the_rate(rate):
    plain, count = counted(20_000), 20_000
    made = data.make(dict(name='noisy_labels', of=plain, rate=rate, keep=('true_label',)))
    rows, truth = whole(made), np.arange(count) % 5
    np.testing.assert_array_equal(rows['true_label'], truth)
    assert rows['label'].dtype == np.int32 and set(rows['label']) == set(range(5))
    wrong = rows['label'] != truth
    bound = 4 * np.sqrt(rate * (1 - rate) / count)
    assert abs(wrong.mean() - rate) <= bound
    if 0 < rate < 1:  # noise does not depend on the class or on the place
        for part in (wrong.reshape(-1, 5).T, wrong.reshape(5, -1)):
            assert (abs(part.mean(1) - rate) < bound * 5**0.5).all()
    if rate:
        step = (rows['label'] - truth)[wrong] % 5
        counts = np.bincount(step, minlength=5)[1:]
        assert ((counts - wrong.sum() / 4) ** 2 / (wrong.sum() / 4)).sum() < 16.3  # chi2 of 3
    for split in ('validation', 'test'):
        equal(whole(made, split), whole(plain, split))


def test_the_true_label_is_given_only_where_it_is_asked_for():
    one, two = (
        data.make(dict(name='noisy_labels', of=counted(), seed=seed, rate=0.5)) for seed in (0, 1)
    )
    assert set(whole(one)) == {'x', 'label'}
    assert 0.3 < (whole(one)['label'] != whole(two)['label']).mean() < 0.9
    again = one.splits['train'].rows(np.array([7, 7, 3]))
    equal(again, {name: values[[7, 7, 3]] for name, values in whole(one).items()})


def test_noise_does_not_follow_what_glyphs_draw():
    of = GLYPHS | dict(train=1500)  # of the same seed: its first draw is the label
    made = data.make(dict(name='noisy_labels', of=of, rate=0.5, keep=('true_label',)))
    rows = whole(made)
    wrong = rows['label'] != rows['true_label']
    for label in range(5):
        assert abs(wrong[rows['true_label'] == label].mean() - 0.5) < 4 * 0.5 / 300**0.5


# nesting ------------------------------------------------------------------------------------------


def test_few_of_noisy_labels():
    noisy = dict(name='noisy_labels', of=GLYPHS, rate=0.5)
    made = data.make(dict(name='few_labels', of=noisy, per_class=20))
    assert made.name == 'few_labels(noisy_labels(glyphs))'
    rows, wrong = whole(made), whole(data.make(noisy))['label']
    np.testing.assert_array_equal(rows['label'], np.where(rows['labelled'], wrong, -1))
    assert (np.bincount(rows['label'][rows['labelled']]) == 20).all()
    truth = whole(data.make(GLYPHS))['label']
    assert 0.3 < (truth != wrong)[rows['labelled']].mean() < 0.7


def test_what_is_hidden_stays_hidden():
    few = dict(name='few_labels', of=counted(), per_class=50)
    rows, hidden = (
        whole(data.make(dict(name='noisy_labels', of=few, rate=1.0))),
        whole(data.make(few)),
    )
    np.testing.assert_array_equal(rows['label'] < 0, ~hidden['labelled'])
    assert (rows['label'] != hidden['label'])[hidden['labelled']].all()
    fewer = whole(data.make(dict(name='few_labels', of=few, per_class=2, seed=1)))
    assert fewer['labelled'].sum() == 10 and hidden['labelled'][fewer['labelled']].all()


# black and white ----------------------------------------------------------------------------------


def test_a_binarized_row_is_a_function_of_its_place():
    plain, made = data.make(GLYPHS), data.make(dict(name='binarized', of=GLYPHS))
    assert made.name == 'binarized(glyphs)'
    for split in made.splits:
        rows, truth = whole(made, split), whole(plain, split)
        assert rows['x'].dtype == np.uint8 and set(np.unique(rows['x'])) == {0, 255}
        np.testing.assert_array_equal(rows['label'], truth['label'])
        index = np.array([11, 3, 11])
        for name, values in made.splits[split].rows(index).items():
            np.testing.assert_array_equal(values, rows[name][index], err_msg=name)
    other = whole(data.make(dict(name='binarized', of=GLYPHS, seed=1)))
    assert (other['x'] != whole(made)['x']).any((1, 2, 3)).mean() > 0.9


def test_a_pixel_is_white_as_often_as_it_is_gray():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    gray = Split(4000, lambda i: {'x': levels.repeat(len(i), 0)})
    inner = counted()._replace(splits=dict.fromkeys(source.SPLITS, gray))
    made = data.make(dict(name='binarized', of=inner))
    assert made[3:] == inner[3:]  # classes, names, tokens, decoder
    drawn = {split: whole(made, split)['x'].reshape(4000, 256) > 0 for split in made.splits}
    white = drawn['train']
    assert not white[:, 0].any() and white[:, 255].all()
    chance = np.arange(1, 255) / 255
    z = (white[:, 1:-1].mean(0) - chance) / np.sqrt(chance * (1 - chance) / 4000)
    assert np.abs(z).max() < 4.5 and abs((z**2).mean() - 1) < 0.4
    for a, b in ((white[1:], white[:-1]), (white, drawn['test']), (white[:, 1:], white[:, :-1])):
        a, b = (part[:, 60:190].astype(float) for part in (a, b))
        a, b = a - a.mean(0), b - b.mean(0)
        assert abs((a * b).mean() / (a.std() * b.std())) < 5 / a.size**0.5  # each has its own


@pytest.mark.parametrize('wrap', ['few_labels', 'noisy_labels', 'unpaired', 'binarized'])
def test_facts_pass_through(wrap):
    inner = counted() if wrap != 'binarized' else data.make(DIGITS)
    given = dict(x=inner, y=DIGITS) if wrap == 'unpaired' else dict(of=inner)
    made = data.make(dict(name=wrap, **given))
    for fact in ('classes', 'class_names', 'vocab', 'tokens', 'decoder'):
        assert getattr(made, fact) == getattr(inner, fact), fact
    assert list(made.splits) == list(source.SPLITS)


def test_two_decoders_are_both_recorded():
    other = counted()._replace(decoder='tensorflow 1')
    made = data.make(dict(name='unpaired', x=counted(), y=other))
    assert made.decoder == 'pillow 0, tensorflow 1'


def test_labels_of_the_first_domain_may_be_few_and_noisy():
    domains = dict(name='unpaired', x=counted(), y=counted(7))
    nested = [
        dict(name='few_labels', of=dict(name='noisy_labels', of=domains)),
        dict(domains, x=dict(name='few_labels', of=dict(name='noisy_labels', of=counted()))),
    ]
    found = []
    for spec in nested:
        split = data.make(spec).splits['train']
        with Batches(split, seed=0, batch=50, stop=70) as batches:
            found.append([rows for _, rows in batches] + [split.rows(np.arange(40))])
    for one, two in zip(*found, strict=True):
        equal(one, two)
    assert sum(rows['labelled'].sum() for rows in found[0][:60]) == 20  # one epoch
    only = data.make(dict(nested[0], only=True)).splits['train']
    with Batches(only, seed=0, batch=20, stop=1) as batches:
        rows = next(batches)[1]
    assert only.count == 20 and rows['labelled'].all() and set(rows['index_y']) == set(range(7))


def test_every_option_is_in_the_fingerprint():
    few, noisy = dict(name='few_labels', of=GLYPHS), dict(name='noisy_labels', of=GLYPHS)
    black = dict(name='binarized', of=GLYPHS)
    worse, two = dict(name='degraded', of=GLYPHS), dict(name='unpaired', x=GLYPHS, y=DIGITS)
    specs = [
        GLYPHS, few, few | dict(per_class=5), few | dict(seed=1), few | dict(only=True),
        few | dict(of=GLYPHS | dict(seed=1)), few | dict(of=noisy), noisy | dict(of=few),
        noisy, noisy | dict(rate=0.3), noisy | dict(seed=1), noisy | dict(keep=('true_label',)),
        worse, worse | dict(noise=0.2), worse | dict(blur=0.2), worse | dict(contrast=0.2),
        worse | dict(seed=1), worse | dict(of=DIGITS), two, two | dict(y=few),
        dict(two, x=DIGITS, y=GLYPHS), black, black | dict(seed=1), black | dict(of=DIGITS),
    ]  # fmt: skip
    prints = [data.make(spec).fingerprint for spec in specs]
    assert len(set(prints)) == len(prints)
    assert prints == [data.make(spec).fingerprint for spec in specs]


def test_a_stream_goes_through_and_is_changed_by_its_own_indices():
    def stream(indices):  # it asks for four batches before it gives one
        ahead = list(itertools.islice(indices, 4))
        while ahead:
            yield plain.splits['train'].rows(ahead.pop(0))
            ahead.extend(itertools.islice(indices, 1))

    plain = counted()
    fed = plain._replace(splits={'train': plain.splits['train']._replace(stream=stream)})
    found = []
    for inner in (plain, fed):
        few = dict(
            name='few_labels', of=dict(name='noisy_labels', of=inner, rate=0.5), per_class=300
        )
        split = data.make(dict(name='unpaired', x=few, y=inner)).splits['train']
        assert bool(split.domains[0].stream) == bool(split.domains[1].stream) == (inner is fed)
        with Batches(split, seed=0, batch=30, start=98, stop=104) as batches:  # over an epoch's end
            found.append([rows for _, rows in batches])
    for one, two in zip(*found, strict=True):
        assert set(one) == {'x', 'y', 'label', 'labelled', 'index', 'index_y'}
        equal(one, two)


# mistakes and the command line --------------------------------------------------------------------


@pytest.mark.parametrize(
    'spec, says',
    [
        (dict(name='few_labels'), 'needs of; type of=dict(name=...)'),
        (dict(name='unpaired', x=DIGITS), 'needs y'),
        (dict(name='few_labels', of=dict(name='digit')), 'did you mean digits'),
        (dict(name='few_labels', of=dict(name='glyphs', sizes=3)), 'did you mean size'),
        (dict(name='few_labels', of=5), '5 is no source'),
        (dict(name='few_labels', of=DIGITS, per_class=200), 'type per_class=106'),
        (dict(name='few_labels', of='python_text'), 'python_text has none'),
        (dict(name='few_labels', of=DIGITS, only=True, share=0.5), 'type one'),
        (dict(name='few_texts', of=DIGITS), 'needs text and text_length; digits has'),
        (dict(name='few_labels', of=DIGITS, share=1.0), 'type only=True'),
        (dict(name='few_labels', of=DIGITS, keep=('label',)), 'true_label'),
        (dict(name='noisy_labels', of='python_text'), 'python_text has none'),
        (dict(name='noisy_labels', of=DIGITS, keep=('label',)), 'offered: true_label'),
        (dict(name='few_labels:x', of=DIGITS), 'nothing after a colon'),
        (dict(name='binarized', of=dict(name='density')), 'float32[2]; it takes uint8'),
        (dict(name='degraded', of=dict(name='density')), 'float32[2]; it takes images'),
        (dict(name='degraded', of=dict(name='degraded', of=DIGITS)), 'have a y already'),
        (dict(name='unpaired', x=dict(name='degraded', of=DIGITS), y=DIGITS), 'rows have a y'),
        (dict(name='binarized', of=dict(name='density')), 'it takes uint8'),
        (
            dict(name='unpaired', x=DIGITS, y=dict(name='unpaired', x=DIGITS, y=DIGITS)),
            'y is unpaired(digits, digits), which has two domains',
        ),
    ],
)
def test_mistakes_are_one_line(spec, says):
    with pytest.raises(Mistake) as error:
        data.make(spec)
    assert says in str(error.value) and '\n' not in str(error.value)


def test_options_are_read_and_checked_on_the_command_line():
    config = dict(method='simclr', data=dict(name='glyphs', train=64))

    def typed(**options):
        pairs = [('data.' + name.replace('__', '.'), text) for name, text in options.items()]
        return resolve.resolve(config, pairs)['data']

    few = typed(name='few_labels', of__name='noisy_labels', of__of__name='text:/a', per_class='2')
    assert few['per_class'] == 2 and few['of']['rate'] == 0.2 and few['of']['of']['length'] == 129
    assert typed(keep='font')['keep'] == ('font',) and typed(size='48')['size'] == 48
    for options, says in (
        (dict(name='few_labels', of__name='digits', per_class='0'), 'at least 1'),
        (dict(name='noisy_labels', of__name='digits', rate='1.5'), 'at most 1'),
        (dict(name='noisy_labels', of__name='digits', seed='-1'), 'at least 0'),
        (dict(name='degraded', of__name='digits', blur='-1'), 'at least 0'),
        (dict(name='density', kind='moon'), 'did you mean moons'),
        (dict(name='shapes_video', label='directon'), 'did you mean direction'),
        (dict(name='folder', bits='7'), 'at least 8'),
        (dict(size='7'), 'at least 8'),
    ):
        with pytest.raises(Mistake, match=says):
            typed(**options)


# views --------------------------------------------------------------------------------------------

WORN = dict(name='document', kinds=('photograph',), severity=0.8)


def test_a_viewed_row_is_a_function_of_its_place():
    made, plain = data.make(dict(name='viewed', of=DIGITS, view=WORN)), data.make(DIGITS)
    rows, clean = whole(made, 'test'), whole(plain, 'test')
    assert rows.keys() == clean.keys() and rows['x'].dtype == np.uint8
    np.testing.assert_array_equal(rows['label'], clean['label'])
    assert (rows['x'] != clean['x']).reshape(397, -1).any(1).all()
    again = data.make(dict(name='viewed', of=DIGITS, view=WORN))
    some = np.array([200, 3, 3, 396])
    np.testing.assert_array_equal(again.splits['test'].rows(some)['x'], rows['x'][some])
    assert again.fingerprint == made.fingerprint
    worse = dict(WORN, severity=0.9)
    for other in (dict(seed=1), dict(view=worse), dict(of=GLYPHS), dict(keep=('y',))):
        changed = data.make(dict(name='viewed', of=DIGITS, view=WORN) | other)
        assert changed.fingerprint != made.fingerprint
    seeded = data.make(dict(name='viewed', of=DIGITS, view=WORN, seed=1)).splits['test']
    assert (seeded.rows(some)['x'] != rows['x'][some]).reshape(4, -1).any(1).all()
    # the splits have draws of their own: of one image, two
    draw = [made.splits[name].rows(np.arange(4))['x'] for name in ('train', 'test')]
    light = [d / np.maximum(data.make(DIGITS).splits[n].rows(np.arange(4))['x'], 1)
             for d, n in zip(draw, ('train', 'test'))]  # fmt: skip
    assert np.abs(light[0] - light[1]).max() > 0.01


def test_a_view_that_changes_nothing_gives_the_bytes_back_and_keeps_the_image():
    still = dict(name='identity')
    rows = whole(data.make(dict(name='viewed', of=GLYPHS, view=still)), 'test')
    np.testing.assert_array_equal(rows['x'], whole(data.make(GLYPHS), 'test')['x'])
    negative = dict(name='simclr', size=8, scale=(1, 1), flip=0, jitter=0, gray=0, solarize=1)
    rows = whole(data.make(dict(name='viewed', of=DIGITS, view=negative, keep=('y',))), 'test')
    x, y = rows['x'].astype(int), rows['y'].astype(int)
    np.testing.assert_array_equal(y, whole(data.make(DIGITS), 'test')['x'])
    assert np.abs(np.where(y > 127, 255 - y, y) - x).max() <= 1  # solarize negates what is light
    for spec, says in (
        (dict(of='python_text', view=still), 'images, uint8'),
        (dict(of=dict(name='degraded', of=DIGITS), view=still, keep=('y',)), 'with a y'),
        (dict(of=DIGITS, view=still, keep=('x',)), 'offered: y'),
        (dict(of=DIGITS, view=dict(name='paper')), 'unknown view'),
    ):
        with pytest.raises(Mistake, match=says) as found:
            data.make(dict(name='viewed', **spec))
        assert '\n' not in str(found.value)


def test_domains_that_are_apart_share_no_training_row():
    worn = dict(name='viewed', of=counted_images(), view=dict(name='identity'))
    made = data.make(dict(name='unpaired', x=worn, y=counted_images(), apart=True))
    train = made.splits['train']
    x = train.rows(np.arange(train.count))['x'][:, 0, 0, 0]
    with Batches(train, seed=0, batch=10, stop=20) as batches:
        y = np.concatenate([rows['y'][:, 0, 0, 0] for _, rows in batches])
    np.testing.assert_array_equal(np.unique(x), np.arange(21))
    np.testing.assert_array_equal(np.unique(y), np.arange(21, 41))
    rows = made.splits['test'].rows(np.arange(41))
    np.testing.assert_array_equal(rows['x'], rows['y'])  # held-out rows are with their partners
    joined = data.make(dict(name='unpaired', x=worn, y=counted_images()))
    assert joined.fingerprint != made.fingerprint and joined.splits['train'].count == 41
    with pytest.raises(Mistake, match='apart needs two'):
        one = counted_images(1)
        data.make(dict(name='unpaired', x=one, y=one, apart=True))


def counted_images(count=41):
    """Images whose pixels are their number."""

    def rows(index):
        return {
            'x': np.broadcast_to(index[:, None, None, None], (len(index), 8, 8, 1)).astype('u1')
        }

    return Source('counted', {name: Split(count, rows) for name in source.SPLITS}, 'images')
