"""What every loss must show, whichever it is: cases.py holds the losses and their formulas."""

import doctest
import functools
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable

import cases_modeling
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, KEYWORDS, STILL
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax import losses

every = pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
needs_eight = pytest.mark.skipif(jax.device_count() < 8, reason='needs 8 (simulated) devices')


def drawn(case, n=5, seed=0):
    return case.draw(np.random.default_rng(seed), n)


def named(name):
    (case,) = (case for case in CASES if case.name == name)
    return case


def real(args, dtype='float32'):
    """Of this dtype where the arguments are real."""
    return tuple(
        jnp.asarray(a, dtype) if np.asarray(a).dtype.kind == 'f' else jnp.asarray(a) for a in args
    )


def formula(case, **fixed):
    options = {k: v for k, v in case.options.items() if k != 'block'}  # no part of any formula
    return lambda *args: case.paper(*args, **options | fixed)


def bound(case, **more):
    loss, options = anew(case.loss), {name: anew(x) for name, x in case.options.items()}
    return lambda *args: loss(*args, **options | more)


def anew(value):
    """The arrays of a case copied: JAX remembers how it read an array of NumPy, in the precision of
    that time."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {name: anew(x) for name, x in value.items()}
    if isinstance(value, functools.partial):
        keywords = {name: anew(x) for name, x in value.keywords.items()}
        return functools.partial(anew(value.func), *map(anew, value.args), **keywords)
    if isinstance(value, types.FunctionType) and value.__module__.startswith('cases'):
        cells = tuple(types.CellType(anew(cell.cell_contents)) for cell in value.__closure__ or ())
        defaults = tuple(map(anew, value.__defaults__ or ()))
        data = {k: anew(x) if k != '__builtins__' else x for k, x in vars_of(value).items()}
        return types.FunctionType(value.__code__, data, value.__name__, defaults, cells)
    return value


def vars_of(function):
    """The globals of a function that it names."""
    names = function.__code__.co_names
    return {k: x for k, x in function.__globals__.items() if k in names or k == '__builtins__'}


@functools.cache
def stated(name):
    """The paper's value of a case, and its slopes of a weighted sum: central differences of the
    formula in float64 by every entry of what moves."""
    case = named(name)
    args = drawn(case)
    value = formula(case)(*args)
    weight = np.random.default_rng(1).normal(size=np.shape(value))
    fixed = case.constants(*args)

    def along(i):
        f = lambda a: (formula(case, **fixed)(*args[:i], a, *args[i + 1 :]) * weight).sum()  # noqa: E731
        return differences(f, args[i])

    return value, weight, [along(i) for i in case.moves]


@functools.cache
def compiled(name, bits):
    """A program of the weight and the arguments: the value, and the slopes of its weighted sum."""
    case = named(name)

    def weighted(weight, *args):
        value = bound(case)(*args)
        assert value.dtype == f'float{bits}'
        return (value * weight).sum(), value

    return jax.jit(jax.grad(weighted, [i + 1 for i in case.moves + case.still], has_aux=True))


def value_and_slopes(case, args, weight, bits=32):
    """The value, and the slopes of its weighted sum by what moves and by what is still."""
    grads, value = compiled(case.name, bits)(jnp.asarray(weight, f'float{bits}'), *args)
    return value, grads[: len(case.moves)], grads[len(case.moves) :]


def even(case, args):
    """The weights of a mean."""
    weight = np.ones(jax.eval_shape(bound(case), *args).shape)
    return weight / weight.size


@every
@pytest.mark.parametrize('bits', [32, 64])
def test_value_and_gradient_are_the_papers(case, bits):
    """In the precision of the arguments: every entry, to a few of its last digits."""
    value, weight, slopes = stated(case.name)
    rtol = {32: 1e-4, 64: 1e-6}[bits]
    with jax.enable_x64(bits == 64):
        args = real(drawn(case), f'float{bits}')
        found, grads, none = value_and_slopes(case, args, weight, bits)
    assert found.shape == np.shape(value)
    np.testing.assert_allclose(
        found,
        value,
        **(
            {32: dict(rtol=2e-5, atol=2e-5), 64: dict(rtol=1e-9, atol=1e-9)}[bits]
            if 'koleo' not in case.name
            else dict(rtol=2e-5)
        ),
    )
    for grad, slope in zip(grads, slopes, strict=True):
        assert grad.dtype == f'float{bits}'
        np.testing.assert_allclose(grad, slope, rtol=rtol, atol=rtol / 5 * np.abs(slope).max())
    assert not any(grad.any() for grad in none), 'a gradient reaches what is still'


def differences(value, x):
    """Central differences of value(x) by every entry of x."""
    slopes = np.zeros(np.shape(x))
    for at in np.ndindex(*np.shape(x)):
        step = np.zeros(np.shape(x))
        step[at] = 1e-6
        slopes[at] = (value(x + step) - value(x - step)) / 2e-6
    return slopes


@pytest.mark.parametrize('name', dict.fromkeys(name for name, _, _ in KEYWORDS))
def test_gradient_by_keywords_is_the_papers(name):
    """All of a case at once, as traced numbers or arrays."""
    case, args = named(name), drawn(named(name))
    given = {keyword: value for other, keyword, value in KEYWORDS if other == name}
    fixed = case.constants(*args)
    mean = lambda given: bound(case, **given)(*real(args)).sum()  # noqa: E731
    grads = jax.jit(jax.grad(mean))({k: jnp.asarray(v, jnp.float32) for k, v in given.items()})
    for keyword, grad in grads.items():
        if keyword in STILL:
            assert not grad.any()
            continue
        f = lambda v, k=keyword: formula(case, **fixed | given | {k: v})(*args).sum()  # noqa: E731
        slopes = differences(f, given[keyword])
        np.testing.assert_allclose(grad, slopes, rtol=1e-4, atol=3e-5 * np.abs(slopes).max())


@every
def test_bfloat16_is_read_as_float32(case):
    """Bit for bit, in one program of which both are parts."""
    short = [a.astype(jnp.bfloat16) if a.dtype == jnp.float32 else a for a in real(drawn(case))]

    def both(*short):
        long = [a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a for a in short]
        return bound(case)(*short), bound(case)(*long)

    found, value = jax.jit(both)(*short)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, value)


DEGENERATE = {
    'alike': lambda a: np.ones_like(a),
    'zero': lambda a: np.zeros_like(a),
    'huge': lambda a: 1e4 * a,
    'two rows': lambda a: a,
}


@every
@pytest.mark.parametrize('how', DEGENERATE)
def test_finite_where_it_degenerates(case, how):
    if how == 'two rows' and not case.of_set:
        pytest.skip('no row meets another')
    change = lambda a: DEGENERATE[how](a) if np.asarray(a).dtype.kind == 'f' else a  # noqa: E731
    args = real(map(change, drawn(case, 2 if how == 'two rows' else 5)))
    value, grads, none = value_and_slopes(case, args, even(case, args))
    for found in (value, *grads, *none):
        assert np.isfinite(found).all()


@every
def test_a_row_minds_its_own_unless_the_loss_is_of_a_set(case):
    args = real(drawn(case))
    shape = jax.eval_shape(bound(case), *args).shape
    if case.of_set and not shape:
        pytest.skip('one value for the set')
    weight, foreign = np.random.default_rng(2).uniform(1, 2, shape), False
    for row in range(len(weight)):
        alone = np.zeros(shape)
        alone[row] = weight[row]
        _, grads, _ = value_and_slopes(case, args, alone)
        foreign |= any(np.delete(grad, row, axis=0).any() for grad in grads)
    # where rows meet in what is held fixed, as swav's codes, it is without a gradient
    assert foreign == (case.of_set and bool(case.moves) and case.meets)


# ---- a loss of a set is the same however the batch is cut

# other numbers are cut in the same way
OTHER_NUMBERS = ('cold', 'warm', 'small', 'soft')
SETS = [case for case in CASES if case.of_set and not case.name.endswith(OTHER_NUMBERS)]


def eight(kind):
    return Mesh(np.array(jax.devices()[:8]), ('data',), axis_types=(kind,))


def objective(case, loss):
    """The value, and the gradients of its mean by what moves."""
    if not case.moves:
        return lambda *args: (loss(*args), ())

    def mean(*args):
        value = loss(*args)
        return value.mean(), value

    return lambda *args: jax.grad(mean, case.moves, has_aux=True)(*args)[::-1]


def by_jit(case, args, scalar):
    mesh = eight(AxisType.Auto)
    parts = jax.device_put(args, NamedSharding(mesh, P('data')))
    return jax.jit(objective(case, bound(case)))(*parts)


def by_shard_map(case, args, scalar):
    mesh = eight(AxisType.Auto)
    parts = jax.device_put(args, NamedSharding(mesh, P('data')))
    loss = jax.shard_map(
        bound(case, axis_name='data'), mesh=mesh, in_specs=P('data'),
        out_specs=P() if scalar else P('data'),
    )  # fmt: skip
    return jax.jit(objective(case, loss))(*parts)


def by_vmap(case, args, scalar):
    return by_map(jax.vmap, case, args, scalar)


def by_pmap(case, args, scalar):
    return by_map(jax.pmap, case, args, scalar)


def by_map(map, case, args, scalar):
    """Inside a map the derivative is of the sum over devices of their local means, eight times the
    mean: hence users average the gradients of their params, and the eighth here."""
    parts = [a.reshape(8, -1, *a.shape[1:]) for a in args]
    mapped = map(objective(case, bound(case, axis_name='data')), axis_name='data')
    value, grads = jax.jit(mapped)(*parts) if map is jax.vmap else mapped(*parts)
    grads = [g.reshape(-1, *g.shape[2:]) / 8 for g in grads]
    return value[0] if scalar else value.reshape(-1, *value.shape[2:]), grads


def by_explicit_mesh(case, args, scalar):
    with jax.set_mesh(jax.make_mesh((8,), ('data',))):  # as typed: Explicit axes
        parts = jax.device_put(args, jax.P('data'))
        return jax.jit(objective(case, bound(case)))(*parts)


WAYS = {
    'jit': by_jit,
    'shard_map': by_shard_map,
    'vmap': by_vmap,
    'pmap': by_pmap,
    'explicit mesh': by_explicit_mesh,
}


@needs_eight
@pytest.mark.parametrize('case', SETS, ids=lambda case: case.name)
def test_a_set_is_the_same_however_it_is_cut(case):
    args = real(drawn(case, 16))
    value, grads = jax.jit(objective(case, bound(case)))(*args)
    for name, way in WAYS.items():
        value8, grads8 = way(case, args, value.ndim == 0)
        np.testing.assert_allclose(value8, value, rtol=2e-5, atol=2e-6, err_msg=name)
        for grad8, grad in zip(grads8, grads, strict=True):
            largest = np.abs(grad).max()
            assert largest > 1e-4
            np.testing.assert_allclose(
                grad8, grad, rtol=1e-4, atol=1e-5 * largest, err_msg=f'gradient, {name}'
            )


# ---- the library


def test_every_loss_has_a_case():
    cased = {case.name.split()[0] for case in CASES}
    # no losses of a batch, or with a key or a critic: each has tests of its own
    own = {'dino_center', 'dino_temperature', 'bits_per_dim', 'dequantize'}
    own |= {'gradient_penalty', 'r1', 'gumbel_softmax', 'sinkhorn_center', 'assignment'}
    own |= {'nearest_row'}
    own |= cases_modeling.apart()
    assert set(losses.__all__) == cased | own


def test_every_array_is_under_the_gradient_test():
    for case in CASES:
        floats = {i for i, a in enumerate(drawn(case)) if np.asarray(a).dtype.kind == 'f'}
        assert floats == {*case.moves, *case.still}, case.name
    for name in {case.name.split()[0] for case in CASES}:
        fields = inspect.signature(getattr(losses, name)).parameters.values()
        fields = [p for p in fields if typing.get_origin(p.annotation) is not Callable]
        arrays = [p for p in fields if jax.Array in (p.annotation, *typing.get_args(p.annotation))]
        given = max(len(drawn(case)) for case in CASES if case.name.split()[0] == name)
        by_keyword = {keyword for other, keyword, _ in KEYWORDS if other.split()[0] == name}
        assert len(arrays) == given + len(by_keyword), name


def test_every_number_may_be_traced():
    """What is a float by default is an array to jax; only counts and switches are static."""
    for name in losses.__all__:
        for p in inspect.signature(getattr(losses, name)).parameters.values():
            assert (
                p.annotation in (int, bool, int | None)
                or not isinstance(p.default, float)
                or (jax.Array in typing.get_args(p.annotation))
            ), f'{name}: {p.name}'


def test_every_loss_with_an_axis_is_proven_as_a_set():
    with_axis = {
        name
        for name in losses.__all__
        if 'axis_name' in inspect.signature(getattr(losses, name)).parameters
    }
    cased = {case.name.split()[0] for case in SETS}
    # whose values are none of rows: tests of their own
    assert with_axis == cased | {'dino_center', 'sinkhorn_center'}


@needs_eight
def test_the_center_is_of_the_whole_batch():
    random = np.random.default_rng(0)
    center, teacher = (jnp.asarray(random.normal(size=s), jnp.float32) for s in (5, (16, 2, 5)))
    plain = losses.dino_center(center, teacher)
    mesh = eight(AxisType.Auto)
    parts = jax.device_put(teacher, NamedSharding(mesh, P('data')))
    np.testing.assert_allclose(jax.jit(losses.dino_center)(center, parts), plain, atol=1e-6)
    for map in (jax.pmap, jax.vmap):
        each = map(lambda t: losses.dino_center(center, t, axis_name='data'), axis_name='data')(
            teacher.reshape(8, 2, 2, 5)
        )
        np.testing.assert_allclose(each, np.tile(plain, (8, 1)), atol=1e-6)


@pytest.mark.parametrize('name', losses.__all__)
def test_a_docstring_has_paper_shapes_and_an_example(name):
    told = inspect.getdoc(getattr(losses, name))
    for part in ('->', f'{name}(', '>>> '):
        assert part in told, part
    for case in CASES:
        if case.name == name and not np.ndim(formula(case)(*drawn(case))):
            assert 'one value for a batch' in told.splitlines()[0]


FAMILIES = [m.name for m in pkgutil.iter_modules(losses.__path__) if not m.name.startswith('_')]


def at_once(loss):
    """The loss as one program of constants: operations one by one are compiled one by one."""
    if inspect.signature(loss).return_annotation is not jax.Array:  # it makes a loss, or two arrays
        return loss
    return lambda *args, **options: jax.jit(lambda: loss(*args, **options))()


@pytest.mark.parametrize('name', FAMILIES)
def test_every_family_has_an_example_that_runs(name):
    family = importlib.import_module(f'ssljax.losses.{name}')
    compiled = {n: at_once(loss) for n, loss in vars(family).items() if n in losses.__all__}
    failed, tried = doctest.testmod(family, extraglobs=compiled)
    assert tried and not failed
