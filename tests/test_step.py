"""The core refuses what would break a run later, and its arithmetic is that of one plain step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax import form
from ssljax.method import Method, State, Turn, always, between, every
from ssljax.step import floats, make_step

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def quadratic(key, state, batch):
    value = jnp.square(batch['x'] @ state.params['w'] - state.params['b']).mean()
    return value, {'seen': state.memory['seen'] + 1}, {'norm': jnp.abs(state.params['w']).sum()}


def method(loss=quadratic, **fields):
    return Method(init=None, **{'turns': {'net': Turn(loss)}, **fields})


def drawn(key, state, batch):
    """A loss that tells a number of its key."""
    return state.params['b'] * 0, state.memory, {'draw': jax.random.uniform(key)}


def start(optimizers, params=None):
    params = params or {'w': jnp.array([1.0, -2.0, 0.5]), 'b': jnp.array(0.3)}
    opt = {name: optimizer.init(params) for name, optimizer in optimizers.items()}
    return State(jnp.array(0, jnp.int32), params, {'seen': jnp.zeros((), jnp.int32)}, opt)


def one(method, optimizer=None, acting=('net',), steps=1, **options):
    optimizers = {name: optimizer or optax.sgd(0.1) for name in method.turns}
    step, state = make_step(method, optimizers, **options), start(optimizers)
    for _ in range(steps):
        state, metrics = step(state, {'x': jnp.asarray(X)}, jax.random.key(0), acting)
    return state, metrics


def test_a_step_is_gradient_descent():
    state, metrics = one(method())
    w, b = np.array([1.0, -2.0, 0.5]), 0.3
    error = X @ w - b
    np.testing.assert_allclose(metrics['net/loss'], (error**2).mean(), rtol=1e-5)
    np.testing.assert_allclose(state.params['w'], w - 0.1 * 2 * (error @ X) / 8, rtol=1e-5)
    np.testing.assert_allclose(state.params['b'], b + 0.1 * 2 * error.mean(), rtol=1e-5)
    assert int(state.step) == 1 and int(state.memory['seen']) == 1


@pytest.mark.parametrize('parts', [2, 8])
def test_accumulation_is_the_whole_batch(parts):
    """For a loss that is a mean over rows; memory is threaded through the parts."""
    whole = np.array([1.0, -2.0, 0.5]) - 0.1 * 2 * ((X @ [1.0, -2.0, 0.5] - 0.3) @ X) / 8
    state, metrics = one(method(), accumulate=parts)
    np.testing.assert_allclose(state.params['w'], whole, rtol=1e-5)
    np.testing.assert_allclose(metrics['net/norm'], 3.5)
    assert int(state.memory['seen']) == parts


def test_after_runs_once_a_step_however_many_parts():
    def after(key, state, batch):
        assert batch['x'].shape == (8, 3)
        return state.remember(seen=state.memory['seen'] * 10), {}

    state, _ = one(method(after=after), accumulate=4)
    assert int(state.memory['seen']) == 40


def test_who_acts_does_not_change_a_turns_key():
    turns = {'a': Turn(drawn), 'b': Turn(drawn)}
    _, both = one(method(turns=turns), acting=('a', 'b'))
    _, alone = one(method(turns=turns), acting=('b',))
    assert both['b/draw'] == alone['b/draw'] != both['a/draw']


def test_every_step_has_its_own_keys():
    optimizers = {'net': optax.sgd(0.1)}
    step, found = make_step(method(drawn), optimizers), []
    for _ in range(2):
        state = start(optimizers)
        for _ in range(3):
            state, metrics = step(state, {'x': X}, jax.random.key(0), ('net',))
            found.append(float(metrics['net/draw']))
    assert len(set(found)) == 3 and found[:3] == found[3:]


def test_a_turn_moves_its_params_alone():
    state, _ = one(method(turns={'net': Turn(quadratic, moves=('b',))}))
    assert np.array_equal(state.params['w'], [1.0, -2.0, 0.5])
    assert state.params['b'] != 0.3


def test_what_is_held_is_held_exactly_even_from_weight_decay():
    adamw = optax.adamw(0.1, weight_decay=0.5)
    turn = Turn(quadratic, holds={'w': between(0, 2)})
    state, _ = one(method(turns={'net': turn}), adamw, steps=2)
    assert np.array_equal(state.params['w'], [1.0, -2.0, 0.5])
    state, _ = one(method(turns={'net': turn}), adamw, steps=3)
    assert not np.array_equal(state.params['w'], [1.0, -2.0, 0.5])


@pytest.mark.parametrize('optimizer', [optax.adam(0.1), optax.sgd(0.1, momentum=0.9)])
def test_the_optimizer_never_hears_of_what_is_held(optimizer):
    """Its moments are still zero when the params are let go."""
    turn = Turn(quadratic, holds={'w': between(0, 2)})
    state, _ = one(method(turns={'net': turn}), optimizer, steps=2)
    moments = jax.tree_util.tree_leaves_with_path(state.opt)
    of_w = [leaf for path, leaf in moments if 'w' in str(path[-1])]
    assert of_w and not any(leaf.any() for leaf in of_w)
    assert any(leaf.any() for path, leaf in moments if 'b' in str(path[-1]))


def test_a_later_turn_sees_what_an_earlier_one_did():
    def first(key, state, batch):
        return state.params['b'], {'seen': state.memory['seen'] + 7}, {}

    def second(key, state, batch):
        seen = {'b': state.params['b'], 'memory': state.memory['seen']}
        return state.params['w'].sum(), state.memory, seen

    turns = {'z': Turn(first, moves=('b',)), 'a': Turn(second, moves=('w',))}
    _, metrics = one(method(turns=turns), acting=('z', 'a'))
    np.testing.assert_allclose(metrics['a/b'], 0.3 - 0.1, rtol=1e-6)
    assert metrics['a/memory'] == 7


def test_after_sees_the_new_params_and_the_memory_of_the_loss():
    def after(key, state, batch):
        return state, {'b': state.params['b'], 'seen': state.memory['seen']}

    state, metrics = one(method(after=after))
    assert metrics['b'] == state.params['b'] and metrics['seen'] == 1


def draws(accumulate=1, steps=1):
    """What the key of each call of a loss draws, and the rows that it got, in order."""

    def noisy(key, state, batch):
        draw, seen = jax.random.uniform(key), state.memory['seen']
        kept = {
            'seen': seen + 1,
            'draws': state.memory['draws'].at[seen].set(draw),
            'rows': state.memory['rows'].at[seen, : len(batch['x'])].set(batch['x'][:, 0]),
        }
        return state.params['b'] * draw, kept, {'draw': draw}

    def after(key, state, batch):
        return state, {'after': jax.random.uniform(key)}

    step = make_step(method(noisy, after=after), {'net': optax.sgd(0.1)}, accumulate=accumulate)
    state = start({'net': optax.sgd(0.1)})
    state = state.remember(draws=jnp.zeros(8), rows=jnp.full((8, 8), jnp.nan))
    for _ in range(steps):
        state, metrics = step(state, {'x': jnp.asarray(X)}, jax.random.key(0), ('net',))
    return np.asarray(state.memory['draws']), np.asarray(state.memory['rows']), metrics


def test_every_part_of_a_batch_has_its_own_key_and_rows():
    drawn, rows, metrics = draws(accumulate=4, steps=2)
    assert len({*drawn.tolist(), float(metrics['after'])}) == 9
    rows = [row[~np.isnan(row)] for row in rows]
    assert all(len(row) == 2 for row in rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(rows[:4])), np.sort(X[:, 0]))
    np.testing.assert_array_equal(rows[1], X[1::4, 0])  # every fourth row: a device keeps its own
    # metrics are means over the parts
    np.testing.assert_allclose(metrics['net/draw'], drawn[4:].mean(), rtol=1e-6)
    np.testing.assert_allclose(metrics['net/gradient_norm'], drawn[4:].mean(), rtol=1e-6)


def test_after_may_not_touch_step_or_opt():
    for touch in (
        lambda s: s.replace(step=s.step + 1),
        lambda s: s.replace(opt=jax.tree.map(lambda x: x + 0, s.opt)),
    ):
        with pytest.raises(TypeError, match='after may not touch'):
            one(method(after=lambda k, s, b, t=touch: (t(s), {})), optax.adam(0.1))


@pytest.mark.parametrize(
    'memory',
    [{}, {'seen': jnp.zeros(2, jnp.int32)}, {'seen': 0.5}, {'seen': jnp.array(0), 'new': 1.0}],
)
def test_the_form_of_the_state_may_not_change(memory):
    def loss(key, state, batch):
        return state.params['b'], memory, {}

    with pytest.raises(TypeError, match='memory by the loss of net may not change: .*(seen|new)'):
        one(method(loss))
    rule = lambda key, state, batch: (state.replace(memory=memory), {})  # noqa: E731
    with pytest.raises(TypeError, match='memory by after may not change: .*(seen|new)'):
        one(method(after=rule))


def test_only_x_and_y_are_images():
    rows = {name: jnp.array([0, 255], jnp.uint8) for name in ('x', 'y', 'mask')}
    seen = floats({**rows, 'index': jnp.arange(2)})
    for name in ('x', 'y'):
        np.testing.assert_array_equal(seen[name], [-1, 1])
    assert seen['mask'].dtype == jnp.uint8 and seen['index'].dtype == jnp.int32


def test_metrics_are_scalars():
    def loss(key, state, batch):
        return state.params['b'], state.memory, {'row': batch['x'][0]}

    with pytest.raises(TypeError, match='net/row is not a scalar'):
        one(method(loss))


def test_a_weakly_typed_start_compiles_once():
    optimizers = {'net': optax.sgd(0.1)}
    step = make_step(method(), optimizers)
    state = form.strong(start(optimizers, {'w': jnp.ones(3), 'b': jnp.log(10.0)}))
    for _ in range(3):
        state, _ = step(state, {'x': jnp.asarray(X)}, jax.random.key(0), ('net',))
    assert step._cache_size() == 1


def test_images_become_floats():
    batch = floats({'x': jnp.array([0, 255], jnp.uint8), 'label': jnp.array([3])})
    np.testing.assert_array_equal(batch['x'], [-1.0, 1.0])
    assert batch['label'].dtype == jnp.int32


def test_when():
    assert [i for i in range(12) if every(5, 4)(i)] == [4, 9]
    assert [i for i in range(5) if between(1, 3)(i)] == [1, 2]
    assert all(always(i) for i in range(3))
    assert np.array_equal(jax.jit(every(3))(jnp.arange(4)), [1, 0, 0, 1])
