"""A finished run, asked from Python and from the command line."""

import json
import re
import shutil

import jax
import jobs
import numpy as np
import pytest

import ssljax
from ssljax import cli, config, evaluate, train
from ssljax.names import Mistake


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
    images = run.job.source.splits['test'].rows(np.arange(20))['x']
    h = run.encode(images)
    assert h.shape == (20, 1024) and run.step == 4
    np.testing.assert_allclose(h[:3], run.encode(images[:3]), atol=1e-4)
    np.testing.assert_allclose(h, run.encode(images / np.float32(127.5) - 1), atol=1e-4)
    # the weights are the trained ones: those of the checkpoint, not those of step 0
    fresh = run.sweep.over(run.job.method.readouts['encode'], run.job.fresh(), {'x': images})
    assert np.abs(h - fresh).max() > 1e-3


def test_samples_need_no_rows_and_options_reach_the_readout(runs):
    images = ssljax.load(runs / 'wgan_gp').sample(7)
    assert images.shape == (7, 8, 8, 1) and np.abs(images).max() <= 1
    run = ssljax.load(runs / 'gpt')
    rows = run.job.source.splits['test'].rows(np.arange(4))
    text = run.sample(rows, prompt=9)
    assert np.array_equal(text[:, :9], rows['x'][:, :9])
    assert not np.array_equal(text[:, 9:], rows['x'][:, 9:])
    cold = [run.sample(rows, temperature=1e-4) for _ in range(2)]
    assert np.array_equal(*cold)
    likeliest = run.log_prob({'x': cold[0]}).sum() > run.log_prob({'x': text}).sum()
    assert likeliest


@pytest.mark.parametrize(
    'ask, pattern',
    [
        (lambda run: run.encod(np.zeros((1, 32, 32, 1))), 'did you mean encode'),
        (lambda run: run.encode(np.zeros((1, 32, 32, 3))), r'\[32, 32, 3\].*\[32, 32, 1\]'),
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


def run_evaluate(capsys, *flags):
    code = cli.guarded(lambda: evaluate.main(list(flags)))
    return code, capsys.readouterr()


def test_all_that_can_run_is_run_and_the_rest_is_explained(runs, capsys):
    flags = ['--evals.linear_probe.steps=5', '--evals.knn.k=3']
    code, told = run_evaluate(capsys, f'--workdir={runs / "simclr"}', *flags)
    assert code == 0, told.err
    assert 'knn accuracy' in told.out and 'linear probe accuracy' in told.out.replace('_', ' ')
    assert 'not run     density needs the readout log_prob; this method offers: encode' in told.out
    found = json.loads((runs / 'simclr/results.json').read_text())
    assert found['evals']['knn']['protocol']['k'] == 3
    assert set(found['evals']['knn']['scores']) == {
        'pixels', 'standardized', 'untrained', 'trained'
    }  # fmt: skip
    assert found['checkpoint'] == 4 and found['data']['fingerprint']


def test_numbers_stay_beside_those_of_other_evaluations(runs, capsys):
    workdir = runs / 'gpt'
    run_evaluate(capsys, f'--workdir={workdir}', '--evals=density')
    run_evaluate(capsys, f'--workdir={workdir}', '--evals=samples', '--evals.samples.count=2')
    found = json.loads((workdir / 'results.json').read_text())
    assert set(found['evals']) == {'density', 'samples'}
    scores = found['evals']['density']['scores']
    assert scores['kneser_ney']['characters'] == scores['trained']['characters']


@pytest.mark.parametrize(
    'flags, pattern',
    [
        (['--evals=knn'], 'knn needs labels'),
        (['--evals=kn'], 'did you mean knn'),
        (['--evals=density', '--evals.density.splt=test'], 'did you mean density.split'),
        (['--evals=density', '--evals.density.split=tset'], 'did you mean test'),
    ],
)
def test_bad_input(runs, capsys, flags, pattern):
    code, told = run_evaluate(capsys, f'--workdir={runs / "gpt"}', *flags)
    assert code == 2 and len(told.err.strip().splitlines()) == 1
    assert re.search(pattern, told.err), told.err


def test_an_untrained_net_gets_the_statistics_of_its_data(runs):
    """Frozen statistics of both arms come from training views: no arm sees its test rows."""
    job = ssljax.load(runs / 'simclr').job
    fresh = job.fresh()
    settled = evaluate.settled(job, job.fresh())
    assert not jobs.differing(fresh.params, settled.params)
    means = [v for k, v in jobs.leaves(settled.memory).items() if k.endswith('mean')]
    assert means and all(np.abs(mean).max() > 0 for mean in means)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(settled.memory))


def test_curve_while_training(tmp_path):
    found = jobs.settings('simclr', **{'log.evaluate': 2, 'log.tensorboard': False})
    found = {**found, 'evals': {'knn': found['evals']['knn']}}
    train.train(config.plain(found), tmp_path)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    curve = {line['step']: line['knn/accuracy'] for line in lines if 'knn/accuracy' in line}
    assert set(curve) == {2, 4}
