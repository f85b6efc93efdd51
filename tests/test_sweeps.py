"""Cells of sweeps, what they vary, and the test between systems on the same rows."""

import json

import jax
import numpy as np
import pytest
from scipy.stats import permutation_test

import ssljax
from benchmarks import cells, sweep_tables, sweeps, transfer
from ssljax.compare import permutation_p
from ssljax.job import make
from ssljax.names import Mistake

# ---- cells


def test_a_cell_that_the_file_has_is_not_run_again(tmp_path):
    out, ran = tmp_path / 'a.json', []

    def measure(name, changes):
        ran.append((name, changes))
        return {'knn': 2.0 * changes['steps']}

    table = {name: {'steps': i, 'widths': (1, 2)} for i, name in enumerate('abc')}
    ask = dict(measure=measure, about={'seed': 0})
    cells.fill(out, table, only=['c'], **ask)
    assert [cell['cell'] for cell in json.loads(out.read_text())['cells']] == ['c']
    found = cells.fill(out, table, **ask)
    assert [name for name, _ in ran] == ['c', 'a', 'b'] and ran[1][1] is table['a']
    assert [(cell['cell'], cell['knn']) for cell in found['cells']] == [
        ('a', 0),
        ('b', 2),
        ('c', 4),
    ]
    whole = out.read_text()
    cells.fill(out, table, **ask)
    assert len(ran) == 3 and out.read_text() == whole
    with pytest.raises(Mistake, match='made in another way: b; give another --out'):
        cells.fill(out, {**table, 'b': {'steps': 7}}, **ask)
    with pytest.raises(Mistake, match='another way: seed;'):
        cells.fill(out, table, measure, about={'seed': 1})
    with pytest.raises(Mistake, match='cell'):
        cells.fill(out, table, only=['d'], **ask)
    assert len(ran) == 3 and out.read_text() == whole


def test_a_sweep_goes_on_in_a_file_that_it_has(tmp_path, monkeypatch):
    ran = []

    def measure(sweep, seed, name, changes):
        ran.append(name)
        return {'knn': 1.0}

    monkeypatch.setattr(sweeps, 'measure', measure)
    monkeypatch.setattr(sweeps.cache, 'programs', lambda: None)
    out = tmp_path / 'new' / 'head.json'
    assert sweeps.main(['--sweep=head', '--only=none', f'--out={out}']) == 0
    assert ran == ['none']
    assert sweeps.main(['--sweep=head', f'--out={out}']) == 0
    assert ran == ['none', 'pixels', 'untrained', 'linear head', 'hidden layer']


# ---- what is swept


@pytest.mark.parametrize('sweep', sweeps.SWEEPS)
def test_every_cell_is_a_config(sweep):
    for name, changes in sweeps.SWEEPS[sweep].cells.items():
        typed = {k: v for k, v in changes.items() if v is not None}
        found = cells.settings(sweeps.CONFIG, sweeps.BASE, typed)
        for field, value in typed.items():
            at = found
            for step in field.split('.'):
                at = at[step]
            assert at == value, (name, field)


def test_each_pair_of_augmentations_is_a_cell_and_turns_these_on():
    table = sweeps.SWEEPS['aug_pairs'].cells
    on = {
        'crop': lambda v: v['scale'][0] < 1, 'jitter': lambda v: v['jitter'] > 0,
        'gray': lambda v: v['gray'] > 0, 'blur': lambda v: v.get('blur', 0) > 0,
    }  # fmt: skip
    for name, changes in table.items():
        view = {field.split('.')[-1]: value for field, value in changes.items()}
        assert [who for who in on if on[who](view)] == name.split(' + ') and view['flip'] == 0
    assert len(table) == 10 == len(set(table))


@pytest.mark.parametrize('sweep', ['batch', 'decoupled'])
def test_batches_see_equally_many_examples(sweep):
    table = sweeps.SWEEPS[sweep].cells.values()
    seen = [changes['batch'] * changes['steps'] for changes in table]
    assert len({changes['batch'] for changes in table}) == 4
    assert max(seen) - min(seen) < max(changes['batch'] for changes in table)
    rates = {c['batch']: c['optim.net.learning_rate'] for c in table}
    assert rates[256] == pytest.approx(8**0.5 * rates[32], rel=1e-3)


def test_views_grow_stronger_by_both_means():
    table = list(sweeps.SWEEPS['strength'].cells.values())
    strength = [changes['model.view.strength'] for changes in table]
    areas = [changes['model.view.scale'] for changes in table]
    assert strength == sorted(strength) and strength[0] == 0 and areas[0] == (1, 1)
    assert areas == sorted(areas, reverse=True)


# ---- who finds the other view


def test_partners_are_neighbors_and_nobody_finds_itself():
    h = np.array([[1, 0], [2, 0.1], [0, 1], [5, 5.0]])
    # the third's nearest is the fourth, the fourth's is one of the first two
    assert sweeps.partners(h).tolist() == [True, True, True, False]


def test_a_histogram_sees_colors_and_no_places():
    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (2, 8, 8, 3))
    mixed = random.permutation(x.reshape(2, 64, 3), axis=1).reshape(x.shape)
    h = sweeps.histograms(x)
    assert h.shape == (2, 512) and (h**2).sum(1) == pytest.approx(1)
    assert (sweeps.histograms(mixed) == h).all()
    plain = np.stack([np.full((4, 4, 3), color) for color in (-1, -0.8, 0.9, 1)])
    assert sweeps.histograms(plain).argmax(1).tolist() == [0, 0, 511, 511]


def test_colors_find_the_other_view_unless_they_are_changed(monkeypatch):
    from ssljax.data.source import Source, Split

    monkeypatch.setattr(sweeps, 'IMAGES', 8)
    monkeypatch.setattr(sweeps, 'BATCHES', 2)
    shades = np.arange(16, dtype=np.uint8) * 16  # one color each: 8 bins of gray see every second
    rows = lambda i: {'x': np.broadcast_to(shades[i, None, None, None], (len(i), 8, 8, 3))}  # noqa: E731
    source = Source('shades', {'test': Split(16, rows)}, 'shades')
    view = dict(name='simclr', size=8, scale=(0.25, 1.0), jitter=0.0, gray=0.0)
    colors = sweeps.colors(source)
    # pairs of shades share a bin, so of three candidates at the top the first is taken
    assert sweeps.matched(view, source, colors)['found'] == 50
    net = colors._replace(readouts={'encode': lambda rows: as_vectors(rows['x'].mean((1, 2, 3)))})
    sure = sweeps.matched(view, source, net, temperature=1e-3)
    assert sure['found'] == 100 and sure['nats'] == pytest.approx(np.log(15), abs=0.05)
    jittered = sweeps.matched({**view, 'jitter': 1.0, 'strength': 1.0}, source, net)
    assert jittered['found'] < 60


def as_vectors(angle):
    return np.stack([np.cos(angle), np.sin(angle)], 1)


# ---- systems on the same rows


def test_coins_in_each_row_are_scipys_permutations():
    random = np.random.default_rng(0)
    for _ in range(5):
        a, b = random.uniform(size=(2, 12)) < [[0.8], [0.5]]
        exact = permutation_test(
            (a.astype(float), b.astype(float)), lambda x, y: np.mean(x - y), vectorized=False,
            permutation_type='samples', alternative='greater', n_resamples=np.inf,
        )  # fmt: skip
        assert transfer.swap_p(a, b) == pytest.approx(exact.pvalue)
    assert transfer.swap_p(a, a) == 1


def test_alike_systems_are_told_apart_no_more_often_than_is_asked_for():
    random = np.random.default_rng(0)
    hard = random.uniform(size=(300, 200))  # how hard each row is: the two systems share it
    a, b = random.uniform(size=(2, 300, 200)) > hard
    p = np.array([transfer.swap_p(x, y) for x, y in zip(a, b, strict=True)])
    # 300 tests of a true null: two standard errors are 0.025
    assert (p <= 0.05).mean() < 0.05 + 0.025 and (p <= 0.5).mean() == pytest.approx(0.45, abs=0.08)


def test_alike_methods_are_told_apart_by_their_seeds_no_more_often_than_is_asked_for():
    random = np.random.default_rng(0)
    p = [permutation_p(*random.normal(size=(2, 4)).tolist()) for _ in range(300)]
    # of 70 partitions 3 are at most 0.05
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(3 / 70, abs=0.025)


def test_bold_is_the_best_of_its_half_and_who_is_not_told_from_it(tmp_path, monkeypatch):
    def cell(how, system, right):
        rows = np.arange(100) < right
        assert transfer.hits({'rows': np.packbits(rows).tobytes().hex(), 'test': 100}) == list(rows)
        return {
            'of': {'target': 't', 'how': how, 'system': system}, 'accuracy': float(right),
            'train': 9, 'test': 100, 'rows': np.packbits(rows).tobytes().hex(),
        }  # fmt: skip

    numbers = {'linear': (60, 57, 40), 'fine-tuned': (70, 75, 71)}
    made = [cell(how, *one) for how in numbers for one in zip(transfer.SYSTEMS, numbers[how])]
    (tmp_path / 'results').mkdir()
    found = {'cells': made, 'pretrained': {'SimCLR': {'steps': 5}}}
    (tmp_path / 'results/simclr-transfer.json').write_text(json.dumps(found))
    monkeypatch.setattr(sweep_tables, 'ROOT', tmp_path)
    heads, rows, below = sweep_tables.transferred()
    # 3 of 3 rows won: p = 1/8; 4 of 4: 1/16; 5 of 5: 1/32
    assert heads == ['', 't'] and [row[1] for row in rows] == [
        '**60.0**', '**57.0**', '40.0', '70.0', '**75.0**', '**71.0**',
    ]  # fmt: skip


# ---- the net of a cell


@pytest.fixture(scope='module')
def smoke():
    settings = cells.settings('configs/simclr.py:smoke', {'evals.knn': 'none'}, {'steps': 3})
    return settings, cells.trained(make(settings))


def test_a_cell_is_trained_as_the_command_trains(smoke, tmp_path):
    settings, model = smoke
    fitted = ssljax.fit(settings | {'evals': {}}, tmp_path / 'run')
    ours, theirs = (jax.tree.leaves((m.state.params, m.state.memory)) for m in (model, fitted))
    assert model.step == 3 and all((a == b).all() for a, b in zip(ours, theirs, strict=True))


def test_z_is_the_head_over_the_features(smoke):
    settings, model = smoke
    x = np.random.default_rng(0).integers(0, 256, (5, *model.run.row['x'].shape), np.uint8)
    project = cells.projected(model, settings['model'])
    z = model.over(project, model.state, {'x': x})
    h, head = model.encode(x), model.state.params['projector']
    norm = model.state.memory['stats']['projector']['batch_stats']['BatchNorm_0']
    hidden = (h @ head['Dense_0']['kernel'] - norm['mean']) / np.sqrt(norm['var'] + 1e-5)
    hidden = np.maximum(hidden * head['BatchNorm_0']['scale'] + head['BatchNorm_0']['bias'], 0)
    expected = hidden @ head['Dense_1']['kernel'] + head['Dense_1']['bias']
    assert z == pytest.approx(np.asarray(expected), abs=1e-4)
