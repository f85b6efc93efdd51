"""Every config resolves in every variant, and its variants are what --help says."""

import ast

import jobs
import pytest

from ssljax import config, resolve
from ssljax.names import Mistake

CONFIGS = sorted(p for p in (jobs.ROOT / 'configs').glob('*.py') if p.stem != 'base')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
def test_every_variant_resolves(path):
    shown = config.variants(ast.parse(path.read_text()))
    names = shown.strip('[:]').split('|')
    assert 'smoke' in names
    for variant in ('', *names):
        found = resolve.resolve(f'{path}:{variant}')
        assert found['method'] in jobs.METHODS
        assert found == resolve.resolve(found)
        assert set(found['optim']) or not jobs.smoke(path.stem).method.turns


def test_every_method_has_a_config():
    assert set(jobs.METHODS) <= {p.stem for p in CONFIGS}


def test_a_resolved_config_survives_json():
    found = jobs.settings('gpt')
    assert config.plain(config.as_json(found)) == found


@pytest.mark.parametrize('block', ['evals', 'log.curve'])
def test_options_of_evaluators_need_not_stand_in_the_file(block):
    found = jobs.settings('simclr', **{f'{block}.knn.temperature': 0.5})
    for part in block.split('.'):
        found = found[part]
    assert found['knn']['temperature'] == 0.5
    with pytest.raises(Mistake, match=f'config.{block}.knn.*temprature.*did you mean temperature'):
        jobs.settings('simclr', **{f'{block}.knn.temprature': 0.5})


def test_an_option_of_another_evaluator_asks_for_it():
    found = resolve.resolve('configs/simclr.py:smoke', [('evals.retrieval.size', '7')])
    assert found['evals']['retrieval']['size'] == 7 and found['evals']['knn']['k'] == 5
    asked = [('evals.sgd_probe.view.name', 'ink'), ('evals.sgd_probe.view.blur', '(0.1, 0.2)')]
    found = resolve.resolve('configs/simclr.py:smoke', asked)['evals']['sgd_probe']
    assert found['view'] == {'name': 'ink', 'blur': (0.1, 0.2)} and found['epochs'] == 10
    spelled = resolve.evaluators({'sgd_probe': {'view': {'flip': 0.5}}})['sgd_probe']['view']
    assert spelled == {'name': 'crop', 'scale': (0.4, 1.0), 'flip': 0.5}
    with pytest.raises(Mistake, match="'retrieval'.*'siz'.*did you mean size"):
        resolve.resolve('configs/simclr.py:smoke', [('evals.retrieval.siz', '7')])
