"""How lines are read and aligned: exact cases, the reader by templates, pictures."""

import numpy as np
import pytest
import toys

from ssljax import data
from ssljax.evals import baselines, templates
from ssljax.evals.edits import errors, written
from ssljax.names import Mistake

LINES = data.make(
    dict(name='lines', train=60, validation=20, test=60, width=128, keep=('positions',))
)


def aligned(batch):
    """Right posteriors for even lines, and of odd ones none of the mass where it should be."""
    T, V = batch['x'].shape[2] // 4, len(LINES.vocab) + 1
    told = np.zeros((len(batch['x']), T, V), np.float32)
    told[:, :, -1] = 1
    free = told.copy()
    free[1::2] = np.roll(free[1::2], 1, 2)
    return {'positions': batch['positions'] + 3, 'posteriors': free, 'aligned': told}


def test_alignment_counts_columns_and_shared_mass():
    who, saved = toys.subject(LINES, align=aligned)
    scores = toys.scores('alignment', who)
    np.testing.assert_allclose(scores.rows['position_error'], 3, rtol=1e-5)
    np.testing.assert_allclose(scores.rows['position_spread'], 0, atol=1e-5)
    np.testing.assert_array_equal(scores.rows['overlap'], np.arange(60) % 2 == 0)
    picture = np.asarray(saved['alignment'])
    assert picture.shape[1] == 90 + 2 * 128 and len(np.unique(picture)) > 50
    who, saved = toys.subject(LINES, align=aligned)
    toys.score('alignment', who, images=0)
    assert not saved


def test_alignment_without_truth_or_posteriors():
    bare = LINES._replace(splits=data.make(dict(name='lines', test=20, width=128)).splits)
    who, _ = toys.subject(bare, align=baselines.evenly(LINES, toys.KEY)['align'])
    assert toys.scores('alignment', who).rows == {}
    who, _ = toys.subject(LINES, align=lambda batch: np.zeros(len(batch['x'])))
    with pytest.raises(Mistake) as error:
        toys.score('alignment', who)
    toys.one_line(error, 'by name')


def test_tokens_that_are_spread_evenly():
    align = baselines.evenly(LINES, toys.KEY)['align']
    rows = LINES.splits['test'].rows(np.arange(3))
    rows = rows | {'text_length': np.array([4, 1, 2]), 'length': np.array([80, 50, 20])}
    found = align(rows)['positions']
    np.testing.assert_allclose(found[0, :5], [10, 30, 50, 70, 0])
    np.testing.assert_allclose(found[1:, :3], [[25, 0, 0], [5, 15, 0]])
    for spec in (dict(name='glyphs', train=9), dict(name='lines', train=9)):
        assert baselines.evenly(data.make(spec), toys.KEY) == {}


def test_templates_read_clean_print_and_see_blanks():
    """Characters of a font to train on, set apart on white."""
    from ssljax.data.lines import BASE, typeface

    face, text = (
        typeface('DejaVuSans', LINES.vocab and ''.join(LINES.vocab)),
        'Reads what 35 men do',
    )
    strip, pen = np.zeros((50, 700), np.float32), 20.0
    for character in text:
        glyph = face[character]
        if glyph.ink.size:
            tall, wide = glyph.ink.shape
            left = round(pen) + glyph.left
            part = strip[glyph.top : glyph.top + tall, left : left + wide]
            np.maximum(part, glyph.ink, out=part)
        pen += glyph.advance + 2
    assert BASE < 50
    image = (255 * (1 - strip)).astype(np.uint8)[None, :, :, None]
    (ids,) = templates.reader(LINES.vocab)(image, np.array([int(pen) + 10]))
    assert errors([text], [written(LINES.vocab, ids[ids >= 0])])[0] < 10


def test_templates_are_a_baseline_of_printed_lines_alone():
    read = baselines.nearest_template(LINES, toys.KEY)['transcribe']
    rows = LINES.splits['test'].rows(np.arange(60))
    ids = read(rows, beam=4)  # an option of a model
    truth = [written(LINES.vocab, t[:n]) for t, n in zip(rows['text'], rows['text_length'])]
    found = errors(truth, [written(LINES.vocab, line[line >= 0]) for line in ids]).mean()
    assert 10 < found < 95
    assert (read({'x': np.full((2, 32, 128, 1), 200, np.uint8)}) == -1).all()  # nothing is there
    thin = ('.', '·', "'", '"', ' ', '⸗', '\N{REPLACEMENT CHARACTER}')  # some in no font at all
    assert len(templates.templates(thin).tokens) >= 4 * 13 - 6
    for spec in ('digits', 'python_text'):
        assert baselines.nearest_template(data.make(spec), toys.KEY) == {}


def test_the_worst_lines_are_pictured_with_both_texts():
    who, saved = toys.subject(LINES, transcribe=lambda b, **o: np.zeros((len(b['x']), 3), int))
    toys.score('transcription', who, images=3)
    assert saved['misread'].size == (2 * 128, 3 * (2 * 32 + 4 + 40 + 4))
    who, saved = toys.subject(LINES, transcribe=lambda b, **o: np.zeros((len(b['x']), 3), int))
    toys.score('transcription', who, images=0)
    assert set(saved) == {'transcription'}
