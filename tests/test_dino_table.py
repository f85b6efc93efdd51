"""The table of methods under one harness: which rows there are, what they are run with, and how the
file grows; nothing is trained."""

import json
from pathlib import Path

import pytest

from benchmarks import dino_table, seeds
from benchmarks.dino_table import Row
from ssljax.names import Mistake

CONFIG = """
from ssljax.config import config
VARIANTS = {variants}
def get_config(variant=''):
    return config(VARIANTS, variant, method={method!r}, steps=3000, model={model}, optim=dict(
        net=dict(name='adamw', warmup=300, groups=dict(patches=dict(match='embed', warmup=30)))))
"""
CONV = dict(encoder=dict(name='conv', widths=(8, 16), pool='flatten'))
VIEW = dict(view=dict(name='simclr', size=16, jitter=0.3, blur=0.5))
SMALL = {'cifar10_small': dict(model=dict(projector=dict(dims=(64,))))}


@pytest.fixture
def folder(tmp_path):
    """Configs: two that take part, one with a net of its own, and two that do not take part."""

    def write(name, model, variants):
        text = CONFIG.format(variants=variants, method=name, model=model)
        (tmp_path / f'{name}.py').write_text(text)

    v1 = dict(model=dict(temperature=0.07, encoder=dict(pool='mean')))
    vit = dict(name='vit', patch=4, width=16)
    write('byol', CONV, SMALL)
    write(
        'moco', CONV | VIEW | dict(temperature=0.2, projector=dict(dims=(32,))), {**SMALL, 'v1': v1}
    )
    write('msn', dict(patch=4, encoder=vit | dict(name='vit')), SMALL)
    write('mae', dict(encoder=vit, decoder=vit), SMALL)
    write('gpt', dict(net=vit), {'smoke': {}})
    write('classifier', CONV | VIEW, dict.fromkeys(('cifar10_conv', 'cifar10_vit'), {}))
    return tmp_path


def test_methods_are_found_by_the_variant_that_they_have(folder):
    rows = dino_table.listed(folder)
    first = ['classifier', 'byol', 'moco', 'moco:v1']
    assert [str(row) for row in rows if row.seed == 0] == [
        *(f'{name}/conv/0' for name in first),
        *(f'{name}/vit/0' for name in ('classifier', 'byol', 'moco', 'msn')),
    ]
    assert [str(row) for row in rows[8:]] == [f'{name}/conv/{i}' for i in (1, 2) for name in first]


def test_own_configs_take_part():
    names = {row.name for row in dino_table.listed()}
    assert names >= {'simclr', 'moco', 'moco:v1', 'moco:v3', 'byol', 'simsiam', 'dino'}
    assert not names & {'mae', 'realnvp', 'vae', 'moco:smoke'}


def test_rows_are_asked_for_by_a_part_of_their_name(folder):
    rows = dino_table.listed(folder)
    assert list(map(str, dino_table.asked(rows, 'byol/vit,moco/conv/2'))) == [
        'byol/vit/0',
        'moco/conv/2',
    ]
    assert [row.name for row in dino_table.asked(rows, 'moco:v1')] == ['moco:v1'] * 3
    assert dino_table.asked(rows, '') == rows
    with pytest.raises(Mistake, match=r"no row 'byool' \(did you mean byol\?\); .* moco:v1"):
        dino_table.asked(rows, 'byool')


def test_the_harness_is_the_same_and_the_method_stays(folder):
    found = dino_table.settings(Row('moco:v1', 'conv', 2), folder)
    model = found['model']
    assert model['encoder'] == dino_table.NETS['conv']
    assert model['temperature'] == 0.07 and model['projector'] == {'dims': (64,)}
    view = dict(name='simclr', size=32, scale=(0.25, 1.0), jitter=0.3, blur=0.0)
    assert model['view'] == view
    assert (found['steps'], found['batch'], found['seed']) == (1500, 128, 2)
    assert found['data'] == {'name': 'tfds:cifar10', 'validation': 5000}
    assert (
        found['evals']['knn']['bank_size'] is found['evals']['linear_probe']['train_size'] is None
    )
    # a tenth of the steps, as it was; the conv net has no patches to hold
    assert found['optim'] == {'net': {'name': 'adamw', 'warmup': 150}}
    vit = dino_table.settings(Row('moco', 'vit', 0), folder)
    assert vit['optim']['net']['groups']['patches'] == {'match': 'embed', 'warmup': 15}
    assert vit['model']['temperature'] == 0.2 and vit['model']['encoder'] == dino_table.NETS['vit']
    msn = dino_table.settings(Row('msn', 'vit', 0), folder)['model']
    assert msn['patch'] == 8 and 'patch' not in msn['encoder'] and msn['encoder']['width'] == 64


def scores(**trained):
    """A run's scores: everything is 30 untrained and 40 for pixels, with a rank of 20."""
    numbers = dict.fromkeys(dino_table.NUMBERS, 30.0) | {'rank': 20.0, 'dims': 256}
    pixels = dict.fromkeys(dino_table.NUMBERS, 40.0) | {'rank': 20.0}
    return {'trained': numbers | trained, 'untrained': numbers, 'pixels': pixels}


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """(flags) -> exit code of the command, whose runs are told and not made; .ran: which."""

    def run(config, changes, seed, workdir):
        name = f'{Path(config).stem.rpartition("-")[0]}-{seed}'
        assert workdir.parent == tmp_path / 'runs' and workdir.name.endswith(f'-{seed}')
        ask.ran.append(name)
        if name in ask.broken:
            raise SystemExit(1)
        evals = {}
        for number, (evaluator, metric) in dino_table.NUMBERS.items():
            for who, one in scores(linear=50.0 + seed).items():
                evals.setdefault(evaluator, {'scores': {}})['scores'].setdefault(who, {})
                evals[evaluator]['scores'][who][metric] = one[number]
        results = {'evals': evals, 'training_cpu_seconds': 9.0, 'device': 'cpu, 2 cores'}
        facts = {'revision': 'aa', 'versions': {}, 'data': {'name': 'tfds:cifar10'}, 'python': '3'}
        return {'results': results, 'run': facts, 'spent': [{'cpu_minutes': 2, 'minutes': 1}] * 2}

    monkeypatch.setattr(seeds, 'run', run)

    def ask(*flags):
        ask.ran = []
        return dino_table.main([*flags, f'--out={ask.out}', f'--workdir={tmp_path / "runs"}'])

    ask.ran, ask.broken, ask.out = [], (), tmp_path / 'table.json'
    return ask


def names(found):
    runs = [*found['conv'], *found['vit']]
    return [f'{run["name"]}/{run["net"]}/{run["seed"]}' for run in runs]


def test_a_row_that_the_file_has_is_not_run_again(trainer, capsys, monkeypatch):
    assert trainer('--only=byol/conv,simclr/conv/0', '--seeds=0') == 0
    assert trainer.ran == ['byol-conv-0', 'simclr-conv-0']
    assert trainer('--only=byol/conv,classifier/vit', '--seeds=0,1') == 0
    assert trainer.ran == ['classifier-vit-0', 'byol-conv-1']
    found = json.loads(trainer.out.read_text())
    rows = ['byol/conv/0', 'byol/conv/1', 'simclr/conv/0', 'classifier/vit/0']
    assert names(found) == rows and found['harness']['steps'] == 1500
    one = found['conv'][1]
    assert one['scores']['trained']['linear'] == 51.0 and one['cpu_minutes'] == 4
    capsys.readouterr()
    assert trainer('--only=byol/conv', '--list') == 0 and trainer.ran == []
    assert capsys.readouterr().out == 'byol/conv/2\n'
    # of another config it is another row
    found['conv'][0]['config']['model']['momentum'] = 0.5
    trainer.out.write_text(json.dumps(found))
    assert trainer('--only=byol/conv/0', '--list') == 0
    assert capsys.readouterr().out == 'byol/conv/0\n'


def test_rows_of_another_harness_are_refused(trainer):
    assert trainer('--only=byol/conv/0') == 0
    found = json.loads(trainer.out.read_text())
    found['harness']['batch'] = 64
    trainer.out.write_text(json.dumps(found))
    with pytest.raises(Mistake, match='rows with other batch; give another --out'):
        trainer('--only=byol/conv/1')
    assert trainer.ran == []


def test_a_row_that_fails_keeps_the_others_going(trainer, capsys):
    trainer.broken = ('byol-conv-0',)
    assert trainer('--only=byol,simclr', '--seeds=0') == 1
    assert trainer.ran == ['byol-conv-0', 'simclr-conv-0', 'byol-vit-0']
    assert 'these failed: byol/conv/0\n' in capsys.readouterr().err
    assert names(json.loads(trainer.out.read_text())) == ['simclr/conv/0', 'byol/vit/0']


def test_the_table_names_what_collapsed_and_whose_order_it_has(tmp_path):
    def row(name, net='conv', seed=0, **trained):
        facts = {'name': name, 'net': net, 'seed': seed, 'cpu_minutes': 3.2}
        return facts | {'scores': scores(**trained)}

    good = dict(linear=60.0, knn=55.0, knn_k200=52.0, whitened=57.0, rank=90.0)
    rows = [
        row('classifier', **good),
        row('simclr', **good),
        row('sup_con', **good | dict(linear=90.0)),
        row('byol', linear=35.0, knn=25.0, knn_k200=25.0, whitened=45.0, rank=4.0),
        row('moco', **good | dict(linear=61.0, knn=40.0, knn_k200=39.0)),
        row('simclr', seed=1, **good | dict(linear=64.0)),
    ]
    path = tmp_path / 'table.json'
    path.write_text(json.dumps({'conv': rows, 'vit': [row('byol', net='vit', **good)]}))
    lines = dino_table.table('conv', path).splitlines()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines[2:-2]]
    assert [row[0].strip('`') for row in cells] == [
        'classifier', 'sup_con', 'simclr', 'moco', 'byol', 'pixels',
    ]  # fmt: skip
    by_name = {row[0].strip('`'): row[1:] for row in cells}
    assert by_name['simclr'] == [
        '**62.0 ± 2.8** (30.0)', '**55.0** (30.0)', '**57.0** (30.0)', '**52.0** (30.0)',
        '90 (20)', '', '69.1 / 60.7', '84.7', '2', '3',
    ]  # fmt: skip
    assert by_name['moco'][5] == 'not above pixels: k-NN, k = 200'
    assert by_name['byol'][4:6] == ['4 (20)', '**collapsed**']
    assert by_name['classifier'][5] == by_name['sup_con'][5] == 'labels'
    assert by_name['sup_con'][0] == '90.0 (30.0)'
    assert by_name['pixels'][:5] == ['40.0', '40.0', '40.0', '40.0', '20']
    # linear: here SimCLR, MoCo, BYOL; in the lectures BYOL, MoCo, SimCLR
    assert 'lectures, linear: tau = -1.00 of 3 methods' in lines[-1]
    assert 'tau' not in dino_table.table('vit', path)
    assert dino_table.table('conv', tmp_path / 'none.json') == 'No row has been run yet.'
