"""Numbers over seeds, and the tables made of them."""

import json
import shutil
from pathlib import Path

import jobs
import pytest

from benchmarks import fine_tune, protocol, seeds, tables
from ssljax.names import Mistake

# ---- seeds, with a training command that only writes what a run would


@pytest.fixture
def command(tmp_path, monkeypatch):
    """(flags) -> the file; .calls: the seeds that were run; .code: how the next one ends."""
    monkeypatch.chdir(jobs.ROOT)

    def call(words):
        flags = dict(word.split('=', 1) for word in words[2:])
        seed, workdir = int(flags['--config.seed']), Path(flags['--workdir'])
        ask.calls.append(seed)
        workdir.mkdir(parents=True, exist_ok=True)
        cost = {'minutes': 2.0, 'cpu_minutes': 3.0, 'megabytes': 100 + seed}
        run = {
            'config': {'method': 'simclr', 'steps': 4, 'batch': 16},
            'overrides': {'seed': seed, 'batch': '16'},
            'data': {'name': 'glyphs'},
            'versions': {'jax': '1'},
            'python': '3',
            'revision': 'ab' if seed == 2 else 'aa',
        }
        (workdir / 'run.json').write_text(json.dumps(run))
        if ask.code:
            return ask.code, cost
        k = int(flags.get('--config.evals.knn.k', 5))
        scores = {'trained': {'accuracy': 50.0 + seed}, 'untrained': {'accuracy': 30.0 - seed}}
        if seed == 0:
            scores['trained']['accuracy_k200'] = 1.0  # not of all seeds
        results = {
            'device': 'cpu, 2 cores',
            'examples_seen': 64,
            'training_cpu_seconds': 7.5 + seed,
            'minutes': {'training': 1.0, 'training_cpu': 1.5},
            'evals': {'knn': {'protocol': {'k': k}, 'scores': scores}},
        }
        (workdir / 'results.json').write_text(json.dumps(results))
        lines = [{'step': i, 'net/loss': 1 / i, 'net/rank': seed + i} for i in (1, 2)]
        lines = [json.dumps(line) + '\n' for line in [*lines, {'step': 2, 'knn/accuracy': 3.0}]]
        (workdir / 'metrics.jsonl').write_text(''.join(lines))
        return 0, cost

    monkeypatch.setattr(seeds, 'call', call)

    def ask(*flags):
        out = tmp_path / 'simclr.json'
        flags = ['--config=configs/simclr.py:smoke', f'--workdir={tmp_path / "runs"}', *flags]
        assert seeds.main([*flags, f'--out={out}']) == 0
        return json.loads(out.read_text())

    ask.calls, ask.code = [], 0
    return ask


def test_seeds_are_added_to_a_file_and_none_is_run_twice(command):
    command('--seeds=2')
    found = command('--seeds=0,1')
    assert found['seeds'] == [0, 1, 2] and command.calls == [2, 0, 1]
    scores = found['evals']['knn']['scores']
    assert scores['trained'] == {'accuracy': {'mean': 51.0, 'sd': 1.0, 'values': [50, 51, 52]}}
    assert found['examples_seen'] == [64, 64, 64]
    assert found['training_cpu_seconds'] == [7.5, 8.5, 9.5]
    assert found['minutes']['whole'] == [2, 2, 2] and found['peak_megabytes'] == [100, 101, 102]
    assert found['revision'] == 'aa' and found['disagree'] == {'revision': ['aa', 'aa', 'ab']}
    assert found['overrides'] == {'batch': '16'}
    assert found['last'] == {'net': {'loss': {'values': [0.5] * 3}, 'rank': {'values': [2, 3, 4]}}}
    assert command('--seeds=0,1,2') == found and command.calls == [2, 0, 1]
    again = command('--seeds=1', '--again')  # evaluated: its training costs what it cost
    assert again == found and command.calls == [2, 0, 1, 1]


def test_seeds_of_another_config_do_not_mix(command, tmp_path):
    command('--seeds=0,1')
    with pytest.raises(Mistake, match='--seeds=0,1 to run it again'):
        command('--seeds=1', '--config.evals.knn.k=3')
    found = command('--seeds=0,1', '--config.evals.knn.k=3')
    assert found['evals']['knn']['protocol'] == {'k': 3}
    assert found['minutes']['whole'] == [2, 2]


def test_seeds_may_be_of_several_machines(command, tmp_path):
    """The file is enough to add a seed to; a seed of another config is refused, as before."""
    whole = command('--seeds=0,1,2')
    command('--seeds=0,2', '--again')
    shutil.rmtree(tmp_path / 'runs')
    assert command('--seeds=1') == whole
    shutil.rmtree(tmp_path / 'runs')
    with pytest.raises(Mistake, match='seed 0.*of another config'):
        command('--seeds=1', '--config.evals.knn.k=3')
    (tmp_path / 'simclr.json').write_text(json.dumps({'seeds': [0]}))  # by an earlier version
    with pytest.raises(Mistake, match='did not write the config'):
        command('--seeds=1')


def test_a_seed_that_was_stopped_goes_on_and_adds_to_its_cost(command):
    command.code = 75
    with pytest.raises(SystemExit, match='75'):
        command('--seeds=0')
    command.code = 0
    found = command('--seeds=0')
    assert command.calls == [0, 0] and found['minutes']['whole'] == [4]
    assert found['disagree'] == {}


def test_a_process_is_measured_alone():
    work = "import sys, time; x = b'x' * int(sys.argv[1])\nwhile time.process_time() < 0.3: x[0]"
    code, cost = seeds.call(['-c', f'{work}\nsys.exit(3)', str(2**27)])
    assert code == 3 and 0.29 < cost['cpu_minutes'] * 60 and cost['megabytes'] > 128
    code, cost = seeds.call(['-c', 'pass'])
    assert code == 0 and 0 < cost['cpu_minutes'] * 60 < 0.29


# ---- tables


def test_the_page_of_results_has_every_number(tmp_path, monkeypatch):
    def over(**values):
        return {name: {'values': v, 'mean': sum(v) / 3, 'sd': 1.0} for name, v in values.items()}

    scores = {
        'pixels': over(accuracy=[40, 40, 40]),
        'untrained': over(accuracy=[30, 32, 34], accuracy_k200=[1, 2, 3], bank=[9, 9, 9]),
        'trained': over(accuracy=[50, 55, 51], accuracy_k200=[2, 2, 2], bank=[9, 9, 9]),
    }
    nmi = {
        n: over(nmi=[v, v, v]) for n, v in (('chance', 0.01), ('untrained', 0.1), ('trained', 0.25))
    }
    found = {
        'seeds': [0, 1, 2],
        'steps': 4,
        'batch': 16,
        'examples_seen': [64, 64, 64],
        'training_cpu_seconds': [7.0, 8.0, 9.0],
        'minutes': {'training_cpu': [1, 1, 1], 'whole': [1, 1, 1], 'cpu': [1, 1, 1]},
        'evals': {
            'knn': {'protocol': {'k': 20}, 'scores': scores},
            'cluster': {'protocol': {}, 'scores': nmi},
            'density': {'protocol': {}, 'scores': {}},
        },
    }
    (tmp_path / 'results').mkdir()
    (tmp_path / 'results/a.json').write_text(json.dumps(found))
    (tmp_path / 'results/faults.json').write_text('{"faults": []}')
    monkeypatch.setattr(tables, 'ROOT', tmp_path)
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in tables.features().split('\n')
    ]
    assert rows[2:] == [
        ['`a`', 'k-NN, k = 20', 'pixels 40.0', '32.0 ± 2.0', '**52.0 ± 2.6**', '20.0 ± 3.0',
         '17.0'],
        ['`a`', 'k-NN, k = 200', '', '2.0 ± 1.0', '**2.0**', '0.0 ± 1.0', '-1.0'],
        ['`a`', 'clusters, NMI', 'chance 0.010', '0.100', '**0.250**', '0.150', '0.150'],
    ]  # fmt: skip
    assert tables.costs().split('\n')[2] == '| `a` | 3 | 64 | 8 ± 1 | 9 | - |'
    readme = tables.results().split('\n')[2:]
    assert [row.split('|')[2].strip() for row in readme] == ['knn accuracy']


# ---- protocols


def test_the_order_of_methods_leaves_out_who_learned_nothing():
    def run(method, first, second, baseline=False):
        numbers = {protocol.DEFAULT: first, 'other': second}
        return {'method': method, 'baseline': baseline, 'numbers': numbers}

    runs = {
        'a-0': run('a', 50.0, 10.0), 'a-1': run('a', 52.0, 14.0),
        'b-0': run('b', 40.0, 30.0), 'c-0': run('c', 30.0, 20.0),
        'pixels': run('pixels', 45.0, 99.0, baseline=True),
    }  # fmt: skip
    first, other = protocol.ordered(runs)
    assert first['tau'] == 1 and first['methods']['a']['mean'] == 51
    assert first['methods']['a']['sd'] == pytest.approx(2**0.5) and first['methods']['b']['sd'] == 0
    assert other['tau'] == pytest.approx(-1 / 3)  # of three pairs, one holds
    assert other['methods']['pixels']['values'] == [99.0]


def test_files_of_fine_tuning_are_joined(tmp_path):
    def row(labels, switch, accuracy):
        return {'encoder': 'e', 'labels': labels, 'switch': switch, 'accuracy': accuracy}

    one, two, out = (tmp_path / name for name in ('one.json', 'two.json', 'out.json'))
    one.write_text(json.dumps({'steps': 5, 'rows': [row(1, 'all', 50.0), row(2, 'all', 60.0)]}))
    two.write_text(json.dumps({'steps': 5, 'rows': [row(1, 'head first', 51.0)]}))
    assert fine_tune.main([f'--out={out}', '--add', str(one), str(two)]) == 0
    found = json.loads(out.read_text())
    assert found['steps'] == 5 and len(found['rows']) == 3
