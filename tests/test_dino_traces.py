"""The collapse study of DINO: what its variants leave out, and how its traces are read."""

import json
import math

import jobs
import pytest

from benchmarks import dino_traces
from ssljax.job import make


def test_variants_leave_out_what_they_say():
    models = {name: jobs.settings('dino', name)['model'] for name in dino_traces.VARIANTS}
    sharp = {
        name
        for name, m in models.items()
        if max(m['teacher_temperature']) < m['student_temperature']
    }
    assert sharp == {'both', 'sharpened', 'whole'}
    # a center that starts at zero and keeps all of itself stays there
    assert {name for name, m in models.items() if m['center_momentum'] < 1} == {
        'both',
        'centered',
        'whole',
    }
    assert {name for name, m in models.items() if m['local_views'] == 0} == {'whole'}
    for model in models.values():  # and nothing else
        for key in ('teacher_temperature', 'center_momentum', 'local_views'):
            del model[key]
    assert all(model == models['both'] for model in models.values())


def variant(entropy, divergence, **changes):
    line = {'step': 10, 'student/loss': entropy + divergence, 'student/entropy': entropy}
    trace = dino_traces.traced([line, line | {'step': 20}])
    both = {'pixels': 80.0, 'untrained': 50.0, 'trained': 90.0}
    facts = {'prototypes': 100, 'pairs': 6, 'steps': 20, 'batch': 64, 'training_cpu_seconds': 7.0}
    last = {name: trace[-1][name] for name in ('entropy', 'divergence')}
    return {**facts, **last, 'knn': both, 'rank': both, 'trace': trace, 'data': {'name': 'patches'}}


def test_the_loss_is_entropy_and_divergence_and_collapse_is_named(tmp_path):
    found = {
        'both': variant(2.0, 1.5),
        'centered': variant(math.log(100) - 0.01, 0.001),
        'sharpened': variant(0.01, 0.001),
        'neither': variant(2.0, 0.01),
    }
    assert found['both']['trace'][1] == {'step': 20, 'entropy': 2.0, 'divergence': 1.5}
    path = tmp_path / 'traces.json'
    path.write_text(json.dumps({'variants': found}))
    lines = dino_traces.table(path).splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:6]]
    assert [row[1:4] for row in cells] == [
        ['2.00', '1.50', ''],
        ['4.60', '0.00', '**collapsed**: all prototypes alike'],
        ['0.01', '0.00', '**collapsed**: one prototype'],
        ['2.00', '0.01', '**collapsed**: the same prototypes for all'],
    ]
    assert lines[-1].startswith('log K = 4.61; k-NN of pixels 80.0; 20 steps of 64 on patches')
    dino_traces.plot(found, tmp_path / 'plot.svg')
    assert (tmp_path / 'plot.svg').read_text().startswith('<?xml')


@pytest.mark.parametrize('points', [10, 600])
def test_traces_are_thinned_to_a_few_points(points):
    assert len(dino_traces.thinned(list(range(points)))) in (10, 60)


def test_a_net_without_attention_is_not_asked_for_it():
    conv = dict(name='conv', widths=(8, 16), pool='mean')
    found = jobs.settings('dino') | {'evals': {}}
    one = make({**found, 'model': {**found['model'], 'encoder': conv}})
    assert set(one.method.readouts) == {'encode'}
    assert set(jobs.smoke('dino').method.readouts) == {'encode', 'attend'}
