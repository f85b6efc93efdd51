"""The one resolver: names, then defaults with their kinds and ranges, then what was typed."""

import inspect
import typing
from typing import Annotated, Literal

import jobs
import pytest

from ssljax import augment, config, data, evals, methods, nets, optim, resolve
from ssljax.kinds import Count, Natural, NetSpec, Positive, Range, Share
from ssljax.names import Mistake, UnknownOption


def owner(
    *,
    count: Count = 3,
    share: Share = 0.5,
    rate: Positive,
    size: int | tuple[int, int] = 8,
    widths: tuple[int, ...] = (1, 2),
    pair: tuple[float, float] = (0.1, 0.2),
    norm: str | None = None,
    word: str = 'a',
    kind: Literal['a', 'b'] = 'a',
    chunk: Count | None = None,
    on: bool = False,
    free: typing.Any = None,
    keep: tuple[str, ...] = (),
):
    """Each kind of option."""


def made(**typed):
    typed = {'rate': '1', **typed}
    pairs = [(name, text) for name, text in typed.items()]
    return resolve.keywords(owner, {}, resolve.nested(pairs), 'block', 'owner')


@pytest.mark.parametrize(
    'name, text, value',
    [
        ('count', '1e3', 1000),
        ('share', '1', 1.0),
        ('rate', '3e-4', 3e-4),
        ('size', '16', 16),
        ('size', '(16, 8)', (16, 8)),
        ('widths', '8', (8,)),
        ('widths', '[8, 16, 32]', (8, 16, 32)),
        ('pair', '(1, 2)', (1.0, 2.0)),
        ('norm', 'none', None),
        ('norm', 'batch', 'batch'),
        ('kind', 'b', 'b'),
        ('chunk', 'None', None),
        ('chunk', 'null', None),
        ('norm', 'null', None),
        ('word', 'none', 'none'),
        ('chunk', '4', 4),
        ('on', 'true', True),
        ('free', '{"a": [1]}', {'a': (1,)}),
        ('free', 'word', 'word'),
        ('keep', 'font', ('font',)),
        ('keep', "('font', 'size')", ('font', 'size')),
    ],
)
def test_a_text_means_what_its_kind_says(name, text, value):
    found = made(**{name: text})[name]
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    'name, text, pattern',
    [
        ('count', '0', r'config.block.count=0 must be at least 1'),
        ('count', '1.5', 'count=1.5 is not an integer'),
        ('count', 'True', 'count=True is not an integer'),
        ('share', '1.5', 'share=1.5 must be at least 0 and at most 1'),
        ('rate', '0', 'rate=0.*must be above 0'),
        ('rate', 'fast', "rate='fast' is not a number"),
        ('widths', '(8, 16.5)', r'widths=\(8, 16.5\) has 16.5, which is not an integer'),
        ('pair', '(1, 2, 3)', 'has 3 members, not 2'),
        ('kind', 'aa', r"kind='aa' is unknown.*offered: a, b"),
        ('chunk', '0', 'chunk=0 must be at least 1'),
        ('on', '3', 'on=3 is not true or false'),
        ('cuont', '3', r"owner .config.block. has no option 'cuont' \(did you mean count\?\)"),
    ],
)
def test_what_does_not_fit_names_the_field(name, text, pattern):
    with pytest.raises(Mistake, match=pattern):
        made(**{name: text})


def test_a_required_option_is_asked_for():
    with pytest.raises(Mistake, match='owner needs rate; type --config.block.rate=VALUE'):
        resolve.keywords(owner, {}, {}, 'block', 'owner')


def test_names_go_first_whatever_the_order_of_what_was_typed():
    typed = [('optim.net.momentum', '0.5'), ('optim.net.name', 'sgd'), ('model.encoder', 'mlp')]
    found = resolve.resolve('simclr:smoke', [('model.encoder.dims', '(4,)'), *typed])
    assert found['model']['encoder'] == {'name': 'mlp', 'dims': (4,)}  # a name alone is a spec
    typed[2] = ('model.encoder', '{"name": "mlp", "flatten": True}')
    found = resolve.resolve('simclr:smoke', [('model.encoder.dims', '(4,)'), *typed])
    assert found['optim']['net']['momentum'] == 0.5 and 'b1' not in found['optim']['net']
    assert found['model']['encoder'] == {'name': 'mlp', 'flatten': True, 'dims': (4,)}


def test_what_another_name_keeps_is_said(capsys):
    encoder = resolve.resolve('ibot:smoke')['model']['encoder']
    assert encoder['name'] == 'vit' and encoder['width'] == 16
    typed = [('model.encoder.name', 'vit_small'), ('model.encoder.depth', '3')]
    found = resolve.resolve('ibot:smoke', typed)['model']['encoder']
    assert found['width'] == 16 and found['depth'] == 3
    said = capsys.readouterr().err
    assert said.startswith('config.model.encoder keeps ') and said.count('\n') == 1
    assert ' width=16' in said and 'depth' not in said
    assert said.endswith(' of vit; --config.model.encoder=vit_small has its own\n')
    typed[0] = ('model.encoder', 'vit_small')
    found = resolve.resolve('ibot:smoke', typed)['model']['encoder']
    assert 'width' not in found and not capsys.readouterr().err


def test_a_judge_is_a_number_of_its_evaluator():
    assert resolve.resolve('simclr:smoke', [('judge', 'knn.accuracy')])['judge'] == 'knn.accuracy'
    with pytest.raises(Mistake, match=r"unknown number of knn 'acuracy' \(did you mean accuracy"):
        resolve.resolve('simclr:smoke', [('judge', 'knn.acuracy')])


def test_another_method_keeps_the_keywords_that_it_has():
    typed = [('method', 'classifier'), ('model.smoothing', '0.2'), ('evals', '{}')]
    found = resolve.resolve('simclr:smoke', typed)
    assert 'temperature' not in found['model'] and found['model']['smoothing'] == 0.2
    assert found['model']['encoder']['widths'] == (8, 16)


def test_an_option_of_another_block_is_pointed_to():
    with pytest.raises(UnknownOption) as plain:
        resolve.resolve('simclr:smoke', [('model.stesp', '3')])
    assert 'did you mean' not in str(plain.value) or 'steps' in str(plain.value)
    with pytest.raises(Mistake, match='did you mean model.temperature'):
        resolve.resolve('simclr:smoke', [('temperature', '1')])


def test_what_is_resolved_resolves_to_itself():
    for method in jobs.METHODS:
        found = jobs.settings(method)
        assert resolve.resolve(found) == found
        assert not config.differences(found, resolve.again(config.as_json(found)))


def test_a_config_of_a_version_that_had_another_option_is_one_line():
    old = config.as_json(jobs.settings('simclr'))
    old['model']['temprature'] = 0.1
    with pytest.raises(Mistake, match='another version.*temprature'):
        resolve.again(old)


OFFERED = {
    **{f'nets.{n}': f for n, f in nets.offered().items()},
    **{f'augment.{n}': f for n, f in augment.offered().items()},
    **{f'data.{n}': f for n, f in data.offered().items()},
    **{f'optim.{n}': f for n, f in optim.offered().items()},
    **{f'evals.{n}': e.run for n, e in evals.offered().items()},
    **{f'methods.{n}': methods.function(n) for n in methods.offered()},
}


@pytest.mark.parametrize('name', OFFERED)
def test_every_option_has_a_kind_that_its_default_fits(name):
    for option, field in resolve.fields(OFFERED[name]).items():
        assert field.annotation is not inspect.Parameter.empty, option
        kind, note = resolve.peeled(field.annotation)
        if field.default is not inspect.Parameter.empty:
            default = config.plain(field.default)
            assert resolve.checked(kind, note, default, option) == default


def test_kinds_are_annotations():
    assert resolve.peeled(Count) == (int, Range(1))
    assert resolve.peeled(Annotated[float, Range(0, 1)]) == resolve.peeled(Share)
    assert resolve.peeled(Natural) == (int, Range(0))


def test_sources_nest():
    typed = [('data.name', 'few_labels'), ('data.of', 'glyphs'), ('data.of.train', '100')]
    found = resolve.resolve('simclr:smoke', typed)['data']
    assert found['name'] == 'few_labels' and found['per_class'] == 4
    assert found['of']['name'] == 'glyphs' and found['of']['train'] == 100
    assert found['of']['size'] == 32  # defaults are written out
    with pytest.raises(Mistake, match="'few_labels' needs of; type --config.data.of="):
        resolve.resolve('simclr:smoke', typed[:1])


def test_a_spec_that_may_be_none():
    def net(*, predictor: NetSpec | None = dict(name='mlp', dims=(4,))):
        """With a net that may be left out."""

    def made(*typed):
        return resolve.keywords(net, {}, resolve.nested(typed), 'model', 'net')['predictor']

    assert made() == {'name': 'mlp', 'dims': (4,)}
    for text in ('none', 'None', 'null'):
        assert made(('predictor', text)) is None
    assert made(('predictor.dims', '(8,)')) == {'name': 'mlp', 'dims': (8,)}
    with pytest.raises(Mistake, match='did you mean mlp'):
        made(('predictor.name', 'mpl'))
    for text, found in {'': '', '3': '=3', 'false': '=False', '(8, 4)': r'=\(8, 4\)'}.items():
        with pytest.raises(Mistake, match=f'config.model.predictor{found} names no net.*=none for'):
            made(('predictor', text))
    with pytest.raises(Mistake, match='config.model.encoder=3 names no net') as mistake:
        resolve.resolve('simclr:smoke', [('model.encoder', '3')])
    assert 'none' not in str(mistake.value)


def test_an_evaluator_is_taken_out_by_none():
    def left(given, *typed):
        return list(resolve.evaluators(given, typed))

    both = {'knn': {'k': 5}, 'linear_probe': {}}
    assert left(config.merge(both, {'knn': None})) == ['linear_probe']
    for text in ('none', 'null', 'None'):
        assert left(both, ('knn', text)) == ['linear_probe']
    assert resolve.evaluators({'knn': None}, [('knn.k', '3')])['knn']['k'] == 3
    found = resolve.resolve('simclr:smoke', [('evals.knn', 'none')])
    assert list(found['evals']) == ['linear_probe'] and resolve.resolve(found) == found
    with pytest.raises(Mistake, match='did you mean knn'):
        left({'knm': None})
    for given, typed in (({'knn': 5}, ()), ({}, [('knn', '5')])):
        with pytest.raises(Mistake, match=r'config.evals.knn=5 is no dict.*none to leave it out'):
            left(given, *typed)
