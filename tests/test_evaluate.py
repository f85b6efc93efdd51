"""A finished run, asked from Python and from the command line."""

import dataclasses
import functools
import hashlib
import json
import re
import resource
import shutil

import jax
import jobs
import numpy as np
import pytest
import toys

import ssljax
from ssljax import cli, config, console, evals, evaluate, resolve, results, sealed, train, trivial
from ssljax.data.source import fingerprint
from ssljax.model import as_trained
from ssljax.names import Mistake
from ssljax.workdir import job_of

pytestmark = pytest.mark.xdist_group('evaluate')  # they share `runs`


@pytest.fixture(scope='module', autouse=True)
def shared():
    with pytest.MonkeyPatch.context() as patch:
        jobs.share(patch)
        yield


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A smoke run of each method, not evaluated."""
    folder = tmp_path_factory.mktemp('runs')
    for method in ('simclr', 'gpt', 'wgan_gp'):
        found = jobs.settings(method, **{'log.tensorboard': False})
        assert train.train({**found, 'evals': {}}, folder / method) == 0
    return folder


def test_a_loaded_run_answers_for_any_number_of_rows(runs):
    run = ssljax.load(runs / 'simclr')
    job = jobs.job('simclr')
    images = job.source.splits['test'].rows(np.arange(20))['x']
    h = run.encode(images)
    assert h.shape == (20, 1024) and run.step == 4
    np.testing.assert_allclose(h[:3], run.encode(images[:3]), atol=1e-4)
    np.testing.assert_allclose(h, run.encode(images / np.float32(127.5) - 1), atol=1e-4)
    # the weights are the trained ones: those of the checkpoint, not those of step 0
    fresh = job.model.over(job.model.readouts['encode'], job.fresh(), {'x': images})
    assert np.abs(h - fresh).max() > 1e-3


def test_samples_need_no_rows_and_options_reach_the_readout(runs):
    images = ssljax.load(runs / 'wgan_gp').sample(7)
    assert images.shape == (7, 8, 8, 1) and np.abs(images).max() <= 1
    run = ssljax.load(runs / 'gpt')
    assert hasattr(run, 'sample') and not hasattr(run, 'decode')
    rows = jobs.job('gpt').source.splits['test'].rows(np.arange(4))
    text = run.sample(rows, prompt=9)
    other = run.sample(rows | {'index': np.arange(4) + 4}, prompt=9)  # of the next chunk
    assert not np.array_equal(text, other)
    assert np.array_equal(text[:, :9], rows['x'][:, :9])
    assert not np.array_equal(text[:, 9:], rows['x'][:, 9:])
    cold = [run.sample(rows, temperature=1e-4) for _ in range(2)]
    assert np.array_equal(*cold)
    likeliest = run.token_log_prob({'x': cold[0]}).sum() > run.token_log_prob({'x': text}).sum()
    assert likeliest


@pytest.mark.parametrize(
    'ask, pattern',
    [
        (lambda run: run.encod(np.zeros((1, 32, 32, 1))), 'did you mean encode'),
        (lambda run: run.encode(np.zeros((1, 32, 32, 3))), r'\[32, 32, 3\].*\[32, 32, 1\]'),
        (lambda run: run.encode(np.zeros((1, 64, 64, 1), np.uint8)), r'\[64, 64, 1\].*trained on'),
        (lambda run: run.encode(np.full((1, 32, 32, 1), 255.0)), 'uint8 images: give uint8'),
        (lambda run: run.encode(np.full((1, 32, 32, 1), 0.5)), r'may be \[0, 1\] or \[-1, 1\]'),
        (lambda run: run.encode(np.full((1, 32, 32, 1), -np.inf)), 'give uint8'),
        (lambda run: run.encode(np.full((1, 32, 32, 1), 256)), 'give uint8'),
        (lambda run: run.encode(np.zeros((0, 32, 32, 1), np.uint8)), 'no rows'),
        (lambda run: run.encode(np.zeros((32, 32))), r'rows of shape \[32\]'),
        (lambda run: ssljax.load('nowhere'), 'not a workdir'),
    ],
)
def test_mistakes(runs, ask, pattern):
    run = ssljax.load(runs / 'simclr')
    with pytest.raises(Mistake, match=pattern):
        ask(run)


def test_a_workdir_without_a_whole_checkpoint(runs, tmp_path, capsys):
    shutil.copytree(runs / 'gpt', tmp_path / 'run')
    for manifest in (tmp_path / 'run').rglob('manifest.json'):
        manifest.unlink()
    with pytest.raises(Mistake, match='no whole checkpoint'):
        ssljax.load(tmp_path / 'run')


def test_the_checkpoint_of_another_method_is_one_line(runs, tmp_path):
    shutil.copytree(runs / 'gpt', tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run/checkpoints')
    shutil.copytree(runs / 'simclr/checkpoints', tmp_path / 'run/checkpoints')
    with pytest.raises(Mistake, match=r'checkpoints/4 holds a state of simclr that does not fit'):
        ssljax.load(tmp_path / 'run')


def run_evaluate(capsys, *flags):
    code = cli.guarded(lambda: evaluate.main(list(flags)))
    return code, capsys.readouterr()


def test_all_that_can_run_is_run_and_the_rest_is_explained(runs, capsys, monkeypatch):
    few = {n: evals.offered()[n] for n in ('density', 'knn', 'linear_probe', 'retrieval')}
    few['retrieval'] = few['retrieval']._replace(baselines=())
    monkeypatch.setattr(evals, 'offered', lambda: few)
    flags = ['--evals=all', '--evals.linear_probe.steps=5', '--evals.knn.k=3']
    flags += ['--evals.retrieval.split=train', '--evals.retrieval.size=1']
    code, told = run_evaluate(capsys, f'--workdir={runs / "simclr"}', *flags)
    assert code == 0, told.err
    assert 'knn accuracy' in told.out and 'linear probe accuracy' in told.out.replace('_', ' ')
    assert 'not run     retrieval needs two classes' in told.out and 'density' not in told.out
    found = json.loads((runs / 'simclr/results.json').read_text())
    assert found['evals']['knn']['protocol']['k'] == 3
    assert set(found['evals']['knn']['scores']) == {
        'pixels', 'standardized', 'untrained', 'trained'
    }  # fmt: skip
    assert found['checkpoint'] == 4 and found['data']['fingerprint']


def changed(workdir, change):
    """The run's run.json, changed."""
    run = json.loads((workdir / 'run.json').read_text())
    change(run)
    (workdir / 'run.json').write_text(json.dumps(run))


@pytest.mark.parametrize(
    'change, pattern',
    [
        (lambda run: run['data'].update(fingerprint='another'), "fingerprint is 'another'"),
        (lambda run: run['data'].update(name='another'), "name is 'another'"),
        (
            lambda run: run['config'].update(seed=9),
            r'checkpoints/4 was written under.*seed: 0 -> 9',
        ),
        (
            lambda run: run['config']['evals']['perplexity'].update(odd=1),
            r"run.json.*'odd'.*out of",
        ),
    ],
)
def test_other_data_or_another_config_is_refused(runs, tmp_path, capsys, change, pattern):
    workdir = shutil.copytree(runs / 'gpt', tmp_path / 'run')
    (workdir / 'results.json').unlink(missing_ok=True)
    changed(workdir, lambda run: run['config'].update(evals={'perplexity': {}}))
    changed(workdir, change)
    code, told = run_evaluate(capsys, f'--workdir={workdir}', '--evals=perplexity')
    (line,) = told.err.strip().splitlines()
    assert code == 2 and re.search(pattern, line), line
    assert not (workdir / 'results.json').exists()


def test_results_name_the_data_that_were_read_and_the_checkpoint(runs, tmp_path, capsys):
    """By another decoder than that of the training; beside a line of metrics that is torn."""
    workdir = shutil.copytree(runs / 'gpt', tmp_path / 'run')
    (workdir / 'results.json').unlink(missing_ok=True)
    changed(workdir, lambda run: run['data'].update(decoder='another'))
    whole = (workdir / 'metrics.jsonl').read_text()
    (workdir / 'metrics.jsonl').write_text(whole.splitlines()[0][:20] + '\n' + whole)
    code, told = run_evaluate(capsys, f'--workdir={workdir}', '--evals=perplexity')
    (line,) = told.err.strip().splitlines()
    assert code == 0 and re.search('metrics.jsonl: line 1 is torn.*delete', line), line
    found, source = json.loads((workdir / 'results.json').read_text()), jobs.job('gpt').source
    rows = {name: split.count for name, split in source.splits.items()}
    data = dict(name=source.name, fingerprint=source.fingerprint, decoder=source.decoder, rows=rows)
    assert found['data'] == found['evals']['perplexity']['data'] == data and rows['test']
    assert found['evals']['perplexity']['checkpoint'] == 4
    lines = [json.loads(line) for line in whole.splitlines()]
    spent = sum(line.get('cpu_seconds', 0) for line in lines)
    assert found['training_cpu_seconds'] == pytest.approx(spent, abs=0.06)
    (workdir / 'results.json').write_text('{"evals": {"knn"')
    code, told = run_evaluate(capsys, f'--workdir={workdir}', '--evals=perplexity')
    assert code == 2 and re.search('results.json is torn.*delete it, and type python', told.err)
    assert 'evaluating' not in told.out  # said before the work


def test_numbers_stay_beside_those_of_other_evaluations(runs, capsys):
    workdir = runs / 'gpt'
    run_evaluate(capsys, f'--workdir={workdir}', '--evals=perplexity')
    run_evaluate(capsys, f'--workdir={workdir}', '--evals=samples', '--evals.samples.count=2')
    found = json.loads((workdir / 'results.json').read_text())
    assert set(found['evals']) == {'perplexity', 'samples'}
    scores = found['evals']['perplexity']['scores']
    assert scores['kneser_ney']['characters'] == scores['trained']['characters']


@pytest.mark.parametrize(
    'flags, pattern',
    [
        (['--evals=knn'], 'knn needs labels'),
        (['--evals=kn'], 'did you mean knn'),
        (['--evals=perplexity', '--evals.perplexity.splt=test'], 'did you mean split'),
        (['--evals=perplexity', '--evals.perplexity.split=tset'], 'did you mean test'),
    ],
)
def test_bad_input(runs, capsys, flags, pattern):
    code, told = run_evaluate(capsys, f'--workdir={runs / "gpt"}', *flags)
    assert code == 2 and len(told.err.strip().splitlines()) == 1
    assert re.search(pattern, told.err), told.err


def test_an_untrained_net_gets_the_statistics_of_its_data(runs):
    """Frozen statistics of both arms come from training views: no arm sees its test rows."""
    job = jobs.job('simclr')
    fresh, settled = job.fresh(), job.untrained().state
    assert not jobs.differing(fresh.params, settled.params)
    means = [v for k, v in jobs.leaves(settled.memory).items() if k.endswith('mean')]
    assert means and all(np.abs(mean).max() > 0 for mean in means)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(settled.memory))


def test_a_teachers_statistics_settle_too_and_nothing_else_changes():
    job = jobs.job('dino', **{'model.head.norm': 'batch'})
    fresh, settled = job.fresh(), job.untrained(3).state
    changed = jobs.differing(fresh, settled)
    assert changed and all('batch_stats' in path.split('/') for path in changed)
    assert {path.split('/')[1] for path in changed} == {'stats', 'teacher'}


def test_the_untrained_model_is_made_only_where_an_evaluator_asks(runs, tmp_path, monkeypatch):
    workdir = shutil.copytree(runs / 'simclr', tmp_path / 'run')
    few = dict(evals.offered())
    few['knn'] = few['knn']._replace(untrained=False, baselines=())
    monkeypatch.setattr(evals, 'offered', lambda: few)
    job = jobs.job('simclr', **{'evals': {}})
    monkeypatch.setattr(type(job), 'untrained', lambda self: pytest.fail('it was made'))
    options = {'k': 5, 'bank_size': 40, 'picture': False}
    evaluate.report(job, ssljax.load(workdir), workdir, {'knn': options})
    found = json.loads((workdir / 'results.json').read_text())['evals']['knn']
    assert set(found['scores']) == {'trained'} and not found['gains']


def test_gains_and_intervals_are_of_the_rows(runs, tmp_path, capsys):
    workdir = shutil.copytree(runs / 'simclr', tmp_path / 'run')
    flags = ['--evals=knn', '--evals.knn.k=3', '--evals.knn.picture=False']
    assert run_evaluate(capsys, f'--workdir={workdir}', *flags)[0] == 0
    found = json.loads((workdir / 'results.json').read_text())['evals']['knn']
    rows = np.load(workdir / 'rows/knn.npz')['accuracy']
    mine = found['scores']['trained']
    sha256 = hashlib.sha256((workdir / 'rows/knn.npz').read_bytes()).hexdigest()
    assert found['rows_sha256'] == sha256
    assert mine['accuracy'] == pytest.approx(rows.mean())
    reach = 1.96 * rows.std() / len(rows) ** 0.5
    assert mine['interval_95'] == pytest.approx([rows.mean() - reach, rows.mean() + reach])
    for who, gain in found['gains'].items():
        assert gain['mean'] == pytest.approx(mine['accuracy'] - found['scores'][who]['accuracy'])
    assert {'pixels', 'standardized', 'untrained'} == set(found['gains'])


def test_a_run_is_evaluated_while_it_trains(runs, tmp_path, monkeypatch, capsys):
    """It is about to save, deletes the step that is evaluated, and writes a line of its metrics."""
    workdir = shutil.copytree(runs / 'gpt', tmp_path / 'run')
    root, real = workdir / 'checkpoints', evaluate.scored
    saving = [root / f'6.{name}' for name in ('unsealed.orbax-checkpoint-tmp', 'unsealed')]
    saving += [root / '6.orbax-checkpoint-tmp']  # as earlier versions saved
    for one in saving:
        one.mkdir()
    digest = sealed.digest(root / '4/manifest.json')

    def scored(*given):
        sealed.drop(root / '4')
        with (workdir / 'metrics.jsonl').open('a') as file:
            file.write('{"step": 5, "decoder/lo')
        return real(*given)

    monkeypatch.setattr(evaluate, 'scored', scored)
    code, told = run_evaluate(capsys, f'--workdir={workdir}', '--evals=perplexity')
    assert code == 0 and not told.err  # nothing is torn: its line has no end yet
    found = json.loads((workdir / 'results.json').read_text())
    assert found['checkpoint'] == 4 and found['checkpoint_sha256'] == digest
    assert sorted(root.iterdir()) == sorted(saving)
    assert not (workdir / 'damaged').exists()


def test_a_full_disk_is_one_line_and_what_was_evaluated_stays(runs, tmp_path, capsys):
    workdir = shutil.copytree(runs / 'gpt', tmp_path / 'run')
    flags = [f'--workdir={workdir}', '--evals=perplexity']
    assert run_evaluate(capsys, *flags)[0] == 0
    results = [workdir / name for name in ('results.json', 'rows/perplexity.npz')]
    before = [path.read_bytes() for path in results]
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, old[1]))  # bytes of a file
    try:
        code, told = run_evaluate(capsys, *flags)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    (line,) = told.err.strip().splitlines()
    assert code == 1 and re.search('file too large; results.json is as it was; make room', line)
    assert [path.read_bytes() for path in results] == before
    assert not list(workdir.rglob('*.part'))


def test_a_finished_run_is_evaluated_again_and_not_trained(runs, tmp_path, capsys):
    workdir = shutil.copytree(runs / 'simclr', tmp_path / 'run')
    kept = [workdir / 'metrics.jsonl', *sorted((workdir / 'checkpoints').rglob('*'))]
    before = [(p, p.stat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in kept]
    settings = jobs.settings('simclr', **{'log.tensorboard': False})
    knn = settings['evals']['knn']
    assert train.train({**settings, 'evals': {'knn': knn}}, workdir) == 0
    told = capsys.readouterr().out
    assert 'knn accuracy' in told and not re.search('^step ', told, flags=re.M)
    assert kept == [workdir / 'metrics.jsonl', *sorted((workdir / 'checkpoints').rglob('*'))]
    # opened anew, it holds what it held; no checkpoint was touched
    assert [old[2] for old in before] == [p.is_file() and p.read_bytes() for p in kept]
    assert [old[1] for old in before[1:]] == [p.stat().st_mtime_ns for p in kept[1:]]
    found = json.loads((workdir / 'results.json').read_text())
    assert found['examples_seen'] == 4 * 16 and found['checkpoint'] == 4
    lines = [json.loads(line) for line in kept[0].read_text().splitlines()]
    spent = sum(line.get('cpu_seconds', 0) for line in lines)
    assert found['training_cpu_seconds'] == pytest.approx(spent, abs=0.06) and spent > 0


def test_curve_while_training(tmp_path):
    found = jobs.settings('simclr', **{'log.evaluate': 2, 'log.tensorboard': False})
    log, knn = {**found['log'], 'curve': {}}, {'knn': found['evals']['knn']}
    train.train(config.plain({**found, 'log': log, 'evals': knn}), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    curve = {line['step']: line['knn/accuracy'] for line in lines if 'knn/accuracy' in line}
    assert set(curve) == {2, 4}
    knn = json.loads((tmp_path / 'results.json').read_text())['evals']['knn']
    assert knn['curve'] == {str(step): value for step, value in curve.items()}
    assert knn['best']['accuracy'] == max(curve.values()) == curve[knn['best']['step']]
    assert knn['curve_protocol'] == knn['protocol']


def test_a_curve_of_its_own_protocol(tmp_path):
    found = jobs.settings('simclr', **{'log.evaluate': 2, 'log.tensorboard': False})
    curve = resolve.evaluators({'knn': dict(k=3, queries='validation', picture=False)})
    found = {**found, 'log': {**found['log'], 'curve': curve}}
    train.train(config.plain({**found, 'evals': {'knn': found['evals']['knn']}}), tmp_path)
    knn = json.loads((tmp_path / 'results.json').read_text())['evals']['knn']
    assert (
        knn['curve_protocol'] == config.as_json(curve['knn'])
        and knn['protocol']['queries'] == 'test'
    )
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [line['curve/seconds'] > 0 for line in lines if 'curve/seconds' in line] == [True] * 2
    assert knn['protocol']['k'] != 3
    # the curve's numbers are those of its own options, asked again of the last step
    last = {line['step']: line['knn/accuracy'] for line in lines if 'knn/accuracy' in line}[4]
    again = evaluate.numbers(ssljax.load(tmp_path), job_of(tmp_path).source, curve)
    assert again['knn/accuracy'] == pytest.approx(last)


def test_the_best_of_errors_is_the_least():
    lines = [{'step': s, 'error_rate/error': e} for s, e in ((1, 5.0), (2, 3.0), (3, 4.0))]
    settings = {'log': {'curve': {}}, 'evals': {'error_rate': {}}}
    assert results.best('error_rate', settings, lines)['best'] == {'step': 2, 'error': 3.0}
    assert results.best('knn', settings, lines) == {}


# ---- what is trivial is computed once


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """An empty cache, and the names of those whom the evaluator knn has scored."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    scored, knn = [], evals.offered()['knn']

    @functools.wraps(knn.run)
    def counting(subject, **options):
        scored.append(subject.name)
        return knn.run(subject, **options)

    others = evals.offered() | {'knn': knn._replace(run=counting)}
    monkeypatch.setattr(evals, 'offered', lambda: others)
    return scored


def test_baselines_are_scored_once_for_all_seeds(runs, tmp_path, counted):
    job, model, found = jobs.job('simclr'), ssljax.load(runs / 'simclr'), {}
    for seed in (0, 1):
        workdir = shutil.copytree(runs / 'simclr', tmp_path / str(seed))
        shutil.rmtree(workdir / 'pictures', ignore_errors=True)
        evaluate.report(job, model, workdir, {'knn': {'k': 5, 'bank_size': 40}})
        found[seed] = json.loads((workdir / 'results.json').read_text())['evals']['knn']['scores']
        assert (workdir / 'pictures/pixels-neighbors.png').stat().st_size > 1000
    first = ['trained', 'pixels', 'standardized', 'untrained']
    assert counted == [*first, 'trained']  # of the same job, so the same at step 0
    assert list(found[0]) == ['pixels', 'standardized', 'untrained', 'trained']
    for who in ('pixels', 'standardized', 'untrained'):
        assert found[0][who] == found[1][who]
    assert found[0]['trained']['accuracy'] != found[0]['pixels']['accuracy']


def test_baselines_are_scored_again_for_other_data_options_or_code(tmp_path, counted, monkeypatch):
    def score(toy, **options):
        one = evals.Subject('pixels', toy, {'encode': lambda b: b['x']}, jax.random.key(0))
        return trivial.remembered('knn', one, options, tmp_path / 'pictures')

    first = score(toys.labeled(), k=5).numbers
    again = score(toys.labeled(), k=5)
    assert again.numbers == first and len(counted) == 1
    assert again.rows['accuracy'].mean() == pytest.approx(first['accuracy'])
    assert score(toys.labeled(), k=7).numbers != first and len(counted) == 2
    score(toys.labeled(noise=1.1), k=5)
    assert len(counted) == 3
    for field in ('decoder', 'fingerprint', 'name'):
        score(toys.labeled()._replace(**{field: 'another'}), k=5)
    assert len(counted) == 6
    monkeypatch.setattr(trivial, 'code', lambda: 'another')
    score(toys.labeled(), k=5)
    assert len(counted) == 7
    fewer = toys.labeled()
    few = fewer.splits['train']._replace(count=fewer.splits['train'].count // 2)
    assert score(fewer._replace(splits={**fewer.splits, 'train': few}), k=5).numbers != first
    assert len(counted) == 8
    # an option may name a run, and what that is may change
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'run.json').write_text('')
    monkeypatch.chdir(tmp_path)
    assert trivial.another_run('run') and not trivial.another_run('cache')


def test_a_damaged_entry_is_computed_again(tmp_path, counted):
    who = evals.Subject('pixels', toys.labeled(), {'encode': lambda b: b['x']}, jax.random.key(0))

    def score():
        return trivial.remembered('knn', who, {'k': 5}, tmp_path / 'pictures').numbers

    first = score()
    (entry,) = (tmp_path / 'cache/ssljax/baselines').iterdir()
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[-len(whole) // 2] ^= 1
    for damaged in (b'', whole[:20], whole[:-1], bytes(flipped)):
        entry.write_bytes(damaged)
        before = len(counted)
        assert score() == first and len(counted) == before + 1
        assert score() == first and len(counted) == before + 1


def test_what_the_untrained_model_depends_on_names_its_numbers():
    def mark(**typed):
        return trivial.begun(jobs.job('simclr', **typed))

    plain = mark()
    assert plain == mark() == mark(**{'optim.net.learning_rate': 1.0, 'evals.knn.k': 3})
    others = [{'seed': 7}, {'model.encoder.widths': (8, 8)}, {'data.train': 48}, {'batch': 8}]
    assert len({repr(mark(**typed)) for typed in others} | {repr(plain)}) == 5
    grafted = jobs.job('simclr')
    assert trivial.begun(grafted._replace(grafts={'params': 'runs/a'})) is None


def test_what_is_remembered_is_not_made(tmp_path, counted):
    def score(of):
        one = evals.Subject('untrained', toys.labeled(), {}, jax.random.key(0))
        encode = {'encode': lambda b: b['x'] * 2}
        make = lambda: one._replace(readouts=encode)  # noqa: E731
        return trivial.remembered('knn', one, {'k': 5}, tmp_path / 'p', of=of, make=make)

    assert score('a').numbers == score('a').numbers and len(counted) == 1
    score('b')
    assert len(counted) == 2


def test_the_code_of_evaluators_names_their_numbers(tmp_path, monkeypatch):
    here = jobs.ROOT / 'ssljax'
    for part in ('augment', 'evals', 'losses', 'nets'):
        shutil.copytree(here / part, tmp_path / part)
    (tmp_path / 'data').mkdir()
    for name in ('cluster.py', 'collapse.py', 'data/source.py'):
        shutil.copyfile(here / name, tmp_path / name)
    monkeypatch.setattr(trivial, '__file__', str(tmp_path / 'trivial.py'))
    marks = []
    names = ['evals/knn.py', 'evals/subject.py', 'nets/conv.py', 'data/source.py', 'cluster.py']
    names += ['augment/image.py', 'losses/semi.py']
    for name in names:
        marks.append(fingerprint(trivial.code.__wrapped__()))
        with (tmp_path / name).open('a') as file:
            file.write('# another\n')
    marks.append(fingerprint(trivial.code.__wrapped__()))
    assert len(set(marks)) == 8


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, counted, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    toy = toys.labeled()
    one = evals.Subject('pixels', toy, {'encode': lambda b: b['x']}, jax.random.key(0))
    scores = [trivial.remembered('knn', one, {'k': 5}, tmp_path / 'p') for _ in range(2)]
    assert scores[0].numbers == scores[1].numbers and len(counted) == 2


# ---- the table


def test_the_table_is_narrow_and_says_what_each_evaluator_shows():
    scores = {'accuracy': 86.6, 'accuracy_k200': 8.125, 'accuracy_whitened': 91.0, 'k': 20}
    results = {
        'knn': {'scores': {'pixels': {'accuracy': 39.1}, 'trained': scores}},
        'linear_probe': {'scores': {'trained': {'accuracy': 90.0}}},
        'reconstruction': {
            'scores': {
                'trained': {'mse': 0.01234, 'removed': -0.5},
                'mean_image': {'mse': 1.5},
            }
        },
    }
    lines = console.table(results).strip().splitlines()
    heads = [head.strip() for head in lines[0].split('  ') if head]
    assert heads == [
        'knn accuracy', 'knn k200', 'knn whitened', 'linear_probe accuracy',
        'reconstruction mse', 'reconstruction removed',
    ]  # fmt: skip
    assert lines[2].split() == ['pixels', '39.10', '-', '-', '-', '-', '-']
    assert lines[3].split() == ['mean_image', '-', '-', '-', '-', '1.50', '-']
    assert lines[4].split() == ['trained', '86.60', '8.12', '91.00', '90.00', '0.0123', '-0.500']
    assert len({len(line) for line in lines[1:]}) == 1 and len(lines[1]) < 120
    named = [name for name, one in evals.offered().items() if 'accuracy' in one.shown]
    many = {name: {'scores': {'trained': {'accuracy': 1.5}}} for name in named}
    wrapped = console.table(many)
    assert max(map(len, wrapped.splitlines())) < 120 and wrapped.count('trained') == 3
    assert all(f'{name} accuracy' in wrapped for name in many)
    told = [console.digits(v) for v in (0, 1.0, 0.1, 99.999, 1e-12, float('nan'), float('inf'))]
    assert told == ['0', '1.00', '0.100', '100.00', '0.000000', 'nan', 'inf']


def test_what_an_evaluator_lacks_is_said_in_a_line(runs, tmp_path, monkeypatch):
    run = ssljax.load(runs / 'gpt')
    shutil.copytree(runs / 'gpt', tmp_path / 'gpt')
    assign = lambda key, state, batch: batch['index'] % 3  # noqa: E731
    method = run.method._replace(readouts={'assign': assign})
    model, job = dataclasses.replace(run, method=method), jobs.job('gpt')
    job = job._replace(model=dataclasses.replace(job.model, method=method))
    told = evaluate.report(job, model, tmp_path / 'gpt', resolve.evaluators({'cluster': {}}))
    assert 'not run     cluster nmi, purity: the rows have no labels' in told
    assert re.search(r'^trained +3$', told, flags=re.M), told
    found = json.loads((tmp_path / 'gpt/results.json').read_text())['evals']['cluster']['scores']
    assert found['chance']['of'] == found['trained']['of'] == 3  # the baselines get as many


def test_an_option_asks_for_its_evaluator_here_too(runs, capsys):
    flags = ['--evals.few_shot.ways=90', f'--workdir={runs / "simclr"}']
    code, told = run_evaluate(capsys, *flags)
    assert code == 0 and 'not run     few_shot needs 90 classes' in told.out, told
    code, told = run_evaluate(capsys, *flags, '--evals=knn')
    assert code == 2 and 'few_shot' in told.err  # asked for one, set another


def test_rows_are_brought_to_the_form_of_the_training_or_refused():
    image = jax.ShapeDtypeStruct((2, 2, 1), np.uint8)
    bytes_ = np.arange(4, dtype=np.uint8).reshape(1, 2, 2, 1)
    assert as_trained('x', bytes_.astype(np.int64), image).dtype == np.uint8
    numbers = as_trained('x', bytes_ / 127.5 - 1, image)
    assert numbers.dtype == np.float32 and numbers.min() == -1
    text = jax.ShapeDtypeStruct((5,), np.int32)
    assert as_trained('x', np.array([[1, 2, 3]]), text, 4).dtype == np.int32  # a shorter row
    for wrong in (np.array([[4]]), np.array([[-1]]), np.array([[0.0]])):
        with pytest.raises(Mistake, match='tokens, whole numbers from 0 to 3'):
            as_trained('x', wrong, text, 4)
    point = jax.ShapeDtypeStruct((2,), np.float32)
    assert as_trained('x', np.array([[1, 300]]), point).dtype == np.float32
    with pytest.raises(Mistake, match='rows of shape'):
        as_trained('x', np.zeros((1, 3)), point)
