"""The three runs of SimCLR v2: which graft is given to which, and how the file grows; nothing is
trained."""

import json

import pytest

from benchmarks import seeds, simclr_v2
from ssljax.names import Mistake

ASKED = ('error_rate', 'knn')  # evaluators whose scores the command reads


@pytest.fixture
def command(tmp_path, monkeypatch):
    """(flags) -> the file; .ran: the name, config and changes of each run."""

    def run(config, changes, seed, workdir):
        ask.ran[workdir.name] = config.partition('configs/')[2], dict(changes)
        score = {'error': 50.0, 'accuracy': ask.accuracy}
        evals = {name: {'scores': dict(trained=score, majority=score)} for name in ASKED}
        facts = dict.fromkeys(('data', 'versions', 'python', 'revision'), 'known')
        results = {'evals': evals, 'training_cpu_seconds': 9.0, 'device': 'cpu, 2 cores'}
        settings = {'steps': int(dict(changes).get('steps', 7))}
        return {'results': results, 'run': facts, 'config': settings}

    monkeypatch.setattr(seeds, 'run', run)

    def ask(*flags):
        ask.ran = {}
        simclr_v2.main([*flags, f'--out={tmp_path / "out.json"}', f'--workdir={tmp_path}'])
        return json.loads((tmp_path / 'out.json').read_text())

    ask.ran, ask.accuracy = {}, 50.0
    return ask


def test_each_run_has_the_nets_of_the_one_before(command, tmp_path):
    found = command('--per_class=45', '--steps=20')
    ran = command.ran
    assert list(ran) == ['pretrained', 'scratch-45', 'tuned-45', 'distilled-45']
    assert ran['pretrained'][1] | {'steps': '20', 'optim.net.warmup': '2'} == ran['pretrained'][1]
    assert ran['scratch-45'] == ('simclr_v2.py:cifar10_tuned', {'data.per_class': '45'})
    _, tuned = ran['tuned-45']
    assert f"'params/neck': '{tmp_path}/pretrained:params/projector'" in tuned['graft']
    config, distilled = ran['distilled-45']
    assert config == 'simclr_v2.py:cifar10_distilled'
    assert f"'memory/stats/neck': '{tmp_path}/tuned-45:memory/stats/neck'" in distilled['graft']
    assert found['pretrained']['steps'] == 20 and found['pretrained']['revision'] == 'known'


def test_rows_that_a_file_has_stay(command):
    command('--per_class=450')
    found = command('--per_class=45')
    assert [row['per_class'] for row in found['rows']] == [45] * 3 + [450] * 3
    assert [row['way'] for row in found['rows']] == [*simclr_v2.WAYS] * 2
    command.accuracy = 60.0
    with pytest.raises(Mistake, match='rows of another pretrained net; give another --out'):
        command('--per_class=45')
