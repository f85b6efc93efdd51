"""Schedules and optimizers against plain statements of their formulas."""

import functools
import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_loop import Batches, Checkpoints, Clock

from ssljax import optim, train
from ssljax.method import Method, Refresh, State, Turn, every
from ssljax.names import Mistake
from ssljax.step import make_step

PARAMS = {
    'encoder': {'kernel': jnp.array([[1.0, -2.0], [0.5, 3.0]]), 'bias': jnp.array([1.0, -1.0])},
    'head': {'kernel': jnp.array([[2.0], [1.0]])},
}
GRADS = jax.tree.map(lambda p: 0.1 * p + 0.2, PARAMS)


def moved(spec, steps=1, horizon=100):
    optimizer, _ = optim.make({'shape': 'constant', **spec}, horizon)
    params, opt = PARAMS, optimizer.init(PARAMS)
    for _ in range(steps):
        updates, opt = optimizer.update(GRADS, opt, params)
        params = optax.apply_updates(params, updates)
    return params


def check(params, expected, rtol=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-5), params, expected
    )


def test_warm_up_and_cosine():
    rate = optim.schedule(110, learning_rate=2.0, warmup=10, end=0.1)
    np.testing.assert_allclose([rate(i) for i in range(10)], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
    for i in (10, 35, 60, 110):
        cosine = 0.5 * (1 + np.cos(np.pi * (i - 10) / 100))
        np.testing.assert_allclose(rate(i), 2.0 * (0.9 * cosine + 0.1), rtol=1e-5)
    linear = optim.schedule(10, learning_rate=1.0, shape='linear')
    np.testing.assert_allclose([linear(0), linear(5), linear(10)], [1, 0.5, 0], atol=1e-6)


@pytest.mark.parametrize(
    'options, rates',
    [
        # of 10 steps, whose last is step 9; the rates of 10 and 11 are none that is used
        (dict(), {0: 2, 1: 1.9510565, 5: 1, 9: 0.0489435, 10: 0, 11: 0}),
        (dict(end=0.25), {0: 2, 5: 1.25, 9: 0.5367076, 10: 0.5, 11: 0.5}),
        (dict(warmup=2, end=0.1), {0: 1, 1: 2, 2: 2, 6: 1.1, 9: 0.2685084, 10: 0.2, 11: 0.2}),
        (dict(warmup=1), {0: 2, 1: 2, 4: 1.5, 7: 0.5, 10: 0}),
        (dict(warmup=9), {0: 2 / 9, 4: 10 / 9, 8: 2, 9: 2}),
        (dict(shape='linear'), {0: 2, 1: 1.8, 5: 1, 9: 0.2, 10: 0, 11: 0}),
        (dict(shape='linear', warmup=2, end=0.5), {0: 1, 1: 2, 2: 2, 6: 1.5, 9: 1.125, 10: 1}),
        (dict(shape='constant'), {0: 2, 5: 2, 9: 2, 10: 2}),
        (dict(shape='constant', warmup=4), {0: 0.5, 1: 1, 2: 1.5, 3: 2, 4: 2, 9: 2}),
        (dict(shape='step'), {0: 2, 5: 2, 6: 0.2, 7: 0.2, 8: 0.02, 9: 0.02}),
        (dict(shape='step', warmup=2, drops=(0.5,), factor=0.5), {0: 1, 1: 2, 4: 2, 5: 1, 9: 1}),
        (dict(shape='rsqrt'), {0: 2, 3: 1, 8: 2 / 3, 9: 2 / 10**0.5}),
        (dict(shape='rsqrt', warmup=2), {0: 1, 1: 2, 2: 2, 4: 2**0.5, 8: 1, 9: 2 * (2 / 9) ** 0.5}),
    ],
    ids=str,
)
def test_schedules_by_hand(options, rates):
    rate = optim.schedule(10, learning_rate=2.0, **options)
    found = [float(rate(i)) for i in rates]
    np.testing.assert_allclose(found, [*rates.values()], rtol=1e-5, atol=1e-6)


def test_a_warm_up_ends_before_the_last_step():
    np.testing.assert_allclose(optim.schedule(1, learning_rate=2.0)(0), 2)
    for warmup in (-1, 10):
        with pytest.raises(Mistake, match='at least 0 and less than 10'):
            optim.schedule(10, learning_rate=2.0, warmup=warmup)


@pytest.mark.parametrize('name', optim.__all__)
def test_every_optimizer_follows_its_schedule_from_the_first_step_to_the_last(name):
    """Its updates are those at a rate of 1, times the rate of each step; decay included."""
    spec = dict(name=name, learning_rate=1.0)
    spec |= dict(weight_decay=0.5) if name != 'adam' else {}
    spec |= dict(momentum=0.0) if name == 'lars' else {}  # its momentum is of updates, with rates

    def moves(**schedule):
        optimizer, _ = optim.make(spec | schedule, 5)
        opt, update = optimizer.init(PARAMS), jax.jit(optimizer.update)
        for _ in range(5):
            move, opt = update(GRADS, opt, PARAMS)
            yield move

    plain, found = moves(shape='constant'), moves(warmup=2, shape='linear', end=0.25)
    for a, b, rate in zip(plain, found, [0.5, 1, 1, 0.75, 0.5], strict=True):
        check(b, jax.tree.map(lambda a, rate=rate: rate * a, a), rtol=1e-3)


def test_the_rate_in_the_log_is_the_one_that_was_applied(tmp_path):
    """Of every step: the critic begins again at step 7, the generator acts in four steps."""
    turns = {
        name: Turn(lambda key, state, batch, name=name: (state.params[name], {}, {}), (name,), when)
        for name, when in {'critic': every(1), 'generator': every(3, 2)}.items()
    }
    refresh = Refresh(lambda key, state, sweep: (state, {}), every(7), restarts=('critic',))
    method = Method(None, turns, lambda key, state, batch: (state, state.params), refresh)
    spec = dict(name='sgd', momentum=0.0, learning_rate=1.0, shape='linear')
    specs = {'critic': spec, 'generator': spec | dict(warmup=2)}
    optimizers, rates = optim.make_all(specs, method, 12)
    params = {name: jnp.array(0.0) for name in turns}  # the slope is 1: a step is minus the rate
    opt = {name: optimizers[name].init({name: params[name]}) for name in turns}
    job = SimpleNamespace(
        run=SimpleNamespace(steps=12, batch=8), method=method, config={}, evals={}, rates=rates,
        step=lambda: make_step(method, optimizers), key=jax.random.key, optimizers=optimizers,
        placed=lambda state: state, sweep=lambda purpose: None,
        acting=lambda i: tuple(name for name, turn in turns.items() if turn.when(i)),
        batches=lambda first: Batches(first, 12, Clock()),
    )  # fmt: skip
    state, log = State(jnp.array(0), params, {}, opt), dict(every=1, evaluate=0, curve={})
    train.loop(job, state, Checkpoints(), tmp_path, tensorboard=False, **log)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    lines = [line for line in lines if 'critic' in line]
    critic = [1 - i / 7 for i in (*range(7), *range(5))]
    generator = {2: 0.5, 5: 1, 8: 1, 11: 0.5}
    for name, expected in (('critic', dict(enumerate(critic))), ('generator', generator)):
        moved = -np.diff([0, *(line[name] for line in lines)])
        told = {i: line.get(f'{name}/learning_rate') for i, line in enumerate(lines)}
        assert [i for i in told if told[i] is not None] == [*expected]
        np.testing.assert_allclose(moved[[*expected]], [*expected.values()], rtol=1e-5)
        np.testing.assert_allclose([told[i] for i in expected], [*expected.values()], rtol=1e-5)


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('name', ['sgd', 'lars'])
def test_momentum_by_hand(name, nesterov):
    """m <- 0.5 m + g; a step is rate * m, Nesterov's rate * (0.5 m + g). A bias is not adapted."""
    spec = dict(name=name, learning_rate=0.1, momentum=0.5, nesterov=nesterov, shape='constant')
    optimizer, _ = optim.make(spec, 10)
    params, m = {'bias': jnp.zeros(())}, 0.0
    state = optimizer.init(params)
    for g in (1.0, -2.0, 3.0):
        update, state = optimizer.update({'bias': jnp.float32(g)}, state, params)
        m = 0.5 * m + g
        np.testing.assert_allclose(
            update['bias'], -0.1 * (0.5 * m + g if nesterov else m), rtol=1e-6
        )


def test_sgd_decays_within_the_gradient_and_only_kernels():
    def step(p, g, v):
        v = 0.9 * v + g + (0.01 * p if p.ndim > 1 else 0)
        return p - 0.5 * v, v

    expected, v = PARAMS, jax.tree.map(jnp.zeros_like, PARAMS)
    for _ in range(3):
        both = jax.tree.map(step, expected, GRADS, v)
        pick = lambda i, both=both: jax.tree.map(  # noqa: E731
            lambda t: t[i], both, is_leaf=lambda t: isinstance(t, tuple)
        )
        expected, v = pick(0), pick(1)
    check(moved(dict(name='sgd', learning_rate=0.5, weight_decay=0.01), 3), expected)


def test_adamw_decays_beside_the_gradient():
    def step(p, g):  # the first step of Adam is the sign of the gradient
        return p - 0.5 * (g / (abs(g) + 1e-8) + (0.01 * p if p.ndim > 1 else 0))

    found = moved(dict(name='adamw', learning_rate=0.5, weight_decay=0.01))
    check(found, jax.tree.map(step, PARAMS, GRADS))


def test_lars_gives_each_kernel_its_own_rate():
    def step(p, g):
        if p.ndim == 1:
            return p - 0.5 * g
        g = g + 0.01 * p
        return p - 0.5 * 0.001 * jnp.linalg.norm(p) / jnp.linalg.norm(g) * g

    found = moved(dict(name='lars', learning_rate=0.5, weight_decay=0.01))
    check(found, jax.tree.map(step, PARAMS, GRADS))


def test_lamb_in_two_steps_by_hand():
    """Adam's step, decay added, each kernel's step as long as the kernel; a bias gets Adam's."""
    rate, b1, b2, eps, decay = 0.1, 0.9, 0.999, 1e-6, 0.02
    spec = dict(name='lamb', learning_rate=rate, weight_decay=decay, shape='constant')
    optimizer, _ = optim.make(spec, 100)
    leaves, treedef = jax.tree.flatten(PARAMS)
    expected = [np.asarray(p, np.float64) for p in leaves]
    m, v = [0 * p for p in expected], [0 * p for p in expected]
    params, opt = PARAMS, optimizer.init(PARAMS)
    for t in (1, 2):
        grads = jax.tree.map(lambda p, t=t: 0.1 * p / t + 0.2 * t, PARAMS)  # no two are alike
        updates, opt = optimizer.update(grads, opt, params)
        params = optax.apply_updates(params, updates)
        for i, g in enumerate(np.asarray(g, np.float64) for g in jax.tree.leaves(grads)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g**2
            r = m[i] / (1 - b1**t) / (np.sqrt(v[i] / (1 - b2**t)) + eps)
            if g.ndim > 1:
                r = r + decay * expected[i]
                r = r * np.sqrt((expected[i] ** 2).sum()) / np.sqrt((r**2).sum())
            expected[i] = expected[i] - rate * r
    check(params, jax.tree.unflatten(treedef, expected))


# path of a param within its turn: shape, whether it is decayed, blocks from the top of its net
NAMED = {
    'encoder/class_token': ((1, 1, 2), False, 4),
    'encoder/place': ((5, 2), False, 4),
    'encoder/embed/kernel': ((3, 2), True, 4),
    'encoder/embed/bias': ((2,), False, 4),
    'encoder/blocks_0/attend_norm/scale': ((2,), False, 3),
    'encoder/blocks_0/query/kernel': ((2, 2), True, 3),
    'encoder/blocks_2/mlp_out/kernel': ((2, 2), True, 1),
    'encoder/blocks_2/attention/relative_bias': ((4, 2), False, 1),
    'encoder/norm/scale': ((2,), False, 0),
    'decoder/embed/kernel': ((2, 2), True, 3),
    'decoder/mask_token': ((1, 1, 2), False, 3),
    'decoder/pos_embed/embedding': ((5, 2), True, 3),
    'decoder/ResidualBlock_0/norm/scale': ((2,), False, 2),
    'decoder/ResidualBlock_1/Conv_0/kernel': ((3, 3, 2, 2), True, 1),
    'decoder/ResidualBlock_1/LayerNorm_7/scale': ((2,), False, 1),
    'decoder/ResidualBlock_1/layers_4/kernel': ((2, 2), True, 1),  # the outermost counts
    'deep/blocks_10/scale': ((2,), False, 1),  # comes before the next
    'deep/blocks_9/scale': ((2,), False, 2),
    'decoder/Dense_0/kernel': ((2, 3), True, 0),
    'token/embed/embedding': ((7, 2), True, 0),  # a net's own name says nothing
    'position/Dense_0/kernel': ((2, 2), True, 0),
    'position/posterior/kernel': ((2, 2), True, 0),
}


# one of each kind, for what is compiled
FEW = (
    'encoder/class_token', 'encoder/place', 'encoder/blocks_0/attend_norm/scale',
    'encoder/blocks_0/query/kernel', 'encoder/blocks_2/mlp_out/kernel', 'encoder/norm/scale',
    'decoder/ResidualBlock_1/Conv_0/kernel',
)  # fmt: skip


def named(value, names=NAMED):
    tree = {}
    for path in names:
        *parents, leaf = path.split('/')
        node = tree
        for name in parents:
            node = node.setdefault(name, {})
        node[leaf] = value(*NAMED[path])
    return tree


def paths(tree):
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return {'/'.join(k.key for k in path): leaf for path, leaf in pairs}


def updates(spec, steps=1, horizon=100):
    """-> params, gradients and the update of the last of `steps` steps, by path."""
    optimizer, _ = optim.make({'shape': 'constant', 'learning_rate': 0.1, **spec}, horizon)
    random = np.random.default_rng(0)
    params = named(lambda shape, *_: random.normal(size=shape).astype('f'), FEW)
    grads = named(lambda shape, *_: random.normal(size=shape).astype('f'), FEW)

    @functools.partial(jax.jit, compiler_options={'xla_backend_optimization_level': 0})
    def run(params, grads):
        opt = optimizer.init(params)
        for _ in range(steps):
            found, opt = optimizer.update(grads, opt, params)
        return found

    return paths(params), paths(grads), paths(run(params, grads))


def test_what_is_decayed_is_known_by_its_path():
    found = paths(optim.matching(optim.DECAYED)(named(lambda shape, *_: np.zeros(shape))))
    assert found == {path: decayed for path, (_, decayed, _) in NAMED.items()}


@pytest.mark.parametrize('name', ['sgd', 'adamw', 'lars', 'lamb', 'muon'])
def test_every_decay_keeps_to_it(name):
    """The decay of what is not decayed is exactly nothing; a decoupled one is rate * decay * p."""
    spec = dict(name=name, momentum=0.0) if name in ('sgd', 'lars') else dict(name=name)
    _, _, plain = updates({**spec, 'weight_decay': 0.0})
    params, _, found = updates({**spec, 'weight_decay': 0.5})
    for path in FEW:
        _, decayed, _ = NAMED[path]
        assert np.array_equal(found[path], plain[path]) != decayed, path
        if name in ('adamw', 'muon') and decayed:
            decay = plain[path] - found[path]
            np.testing.assert_allclose(decay, 0.1 * 0.5 * params[path], rtol=1e-3, atol=1e-5)


def test_layer_decay_counts_from_the_top_of_each_net():
    found = paths(optim.from_top(named(lambda shape, *_: np.zeros(shape))))
    assert found == {path: blocks for path, (_, _, blocks) in NAMED.items()}


@pytest.mark.parametrize('name', ['lars', 'lamb'])
def test_only_what_is_decayed_is_adapted(name):
    """Its step is as long as itself (times rate and trust), whatever the gradient's length."""
    spec = dict(name=name, weight_decay=0.0)
    params, grads, found = updates(spec | (dict(trust=1.0, momentum=0.0) if name == 'lars' else {}))
    for path in FEW:
        _, decayed, _ = NAMED[path]
        length = 0.1 * np.linalg.norm(np.ravel(params[path]))
        assert np.isclose(np.linalg.norm(np.ravel(found[path])), length, rtol=1e-4) == decayed, path


def test_layer_decay_is_the_exact_ratio_of_two_updates():
    _, grads, found = updates(dict(name='sgd', momentum=0.0, layer_decay=0.5))
    for path in FEW:
        _, _, blocks = NAMED[path]
        np.testing.assert_allclose(found[path], -0.1 * 0.5**blocks * grads[path], rtol=1e-6)


@pytest.mark.parametrize('name', optim.__all__)
def test_layer_decay_is_a_rate_of_every_optimizer(name):
    """Decoupled weight decay and momentum included."""
    _, _, plain = updates(dict(name=name), steps=2)
    _, _, found = updates(dict(name=name, layer_decay=0.75), steps=2)
    for path in FEW:
        _, _, blocks = NAMED[path]
        np.testing.assert_allclose(found[path], 0.75**blocks * plain[path], rtol=1e-5, atol=1e-9)


def test_layer_decay_with_groups_counts_the_blocks_of_the_whole_net():
    group = dict(match='blocks_0|decoder', name='sgd', learning_rate=1.0, momentum=0.0)
    spec = dict(name='sgd', momentum=0.0, layer_decay=0.5)
    flat = dict(group, match='token', layer_decay=1.0)
    _, grads, found = updates({**spec, 'groups': dict(a=flat, b=group)})
    for path in FEW:
        _, _, blocks = NAMED[path]
        rate = 1.0 if re.search('blocks_0|decoder|token', path) else 0.1
        decay = 1.0 if 'token' in path else 0.5
        np.testing.assert_allclose(found[path], -rate * decay**blocks * grads[path], rtol=1e-6)


def test_layer_decay_needs_blocks():
    optimizer, _ = optim.make(dict(name='sgd', learning_rate=1.0, layer_decay=0.5), 10)
    with pytest.raises(Mistake, match='no numbered blocks.*type layer_decay=1.0'):
        optimizer.init(PARAMS)


def test_steps_down_and_inverse_square_root():
    rate = optim.schedule(200, learning_rate=2.0, shape='step', warmup=10, drops=(0.6, 0.8))
    found = [rate(i) for i in (9, 10, 119, 120, 159, 160, 199)]
    np.testing.assert_allclose(found, [2, 2, 2, 0.2, 0.2, 0.02, 0.02], rtol=1e-6)
    rate = optim.schedule(100, learning_rate=2.0, shape='step', drops=(0.5,), factor=0.2)
    np.testing.assert_allclose([jax.jit(rate)(i) for i in (0, 49, 50)], [2, 2, 0.4], rtol=1e-6)
    rate = optim.schedule(1000, learning_rate=3.0, shape='rsqrt', warmup=16)
    found = [rate(i) for i in (0, 15, 16, 64, 400)]
    np.testing.assert_allclose(found, [3 / 16, 3, 3, 1.5, 0.6], rtol=1e-6)


def test_muon_moves_a_matrix_along_an_orthogonal_one():
    found = moved(dict(name='muon', learning_rate=0.1))
    singular = np.linalg.svd(np.asarray(PARAMS['encoder']['kernel'] - found['encoder']['kernel']))[
        1
    ]
    assert (singular > 0.05).all() and (singular < 0.13).all()  # 0.1, as well as five rounds get


def test_muon_leaves_positions_to_adam():
    _, grads, found = updates(dict(name='muon'))
    signs = -np.sign(grads['encoder/place'])  # of one length: the first step of Adam
    np.testing.assert_allclose(
        found['encoder/place'] / found['encoder/place'][0, 0], signs * signs[0, 0], rtol=1e-3
    )
    assert len(np.unique(np.abs(found['encoder/blocks_0/query/kernel']).round(4))) > 2


def test_clipping_is_of_the_gradient_of_the_whole_turn():
    """Before decay, momentum and rate: a step of SGD is rate * (clipped gradient + decay)."""
    spec = dict(name='sgd', learning_rate=0.5, momentum=0.0, weight_decay=0.1, clip=0.01)
    flat = np.concatenate([np.ravel(g) for g in jax.tree.leaves(GRADS)])
    clipped = jax.tree.map(lambda g: g * 0.01 / np.linalg.norm(flat), GRADS)

    def stepped(path, p, g):
        decay = 0.1 * p if path[-1].key == 'kernel' else 0
        return p - 0.5 * (g + decay)

    check(moved(spec), jax.tree_util.tree_map_with_path(stepped, PARAMS, clipped))


def test_a_gradient_below_the_bound_is_not_clipped():
    spec = dict(name='sgd', learning_rate=0.5, momentum=0.0)
    check(moved({**spec, 'clip': 1e6}), moved(spec))


def test_the_norm_of_the_gradient_is_told():
    """Of the whole turn, before clipping."""

    def loss(key, state, batch):
        inner = jax.tree.map(lambda p, g: (p * g).sum(), state.params, GRADS)
        return optax.tree.sum(inner) * batch['x'].mean(), state.memory, {}

    optimizer, _ = optim.make(dict(name='sgd', learning_rate=1.0, clip=0.01), 10)
    step = make_step(Method(None, {'net': Turn(loss)}), {'net': optimizer}, accumulate=2)
    params = jax.tree.map(jnp.copy, PARAMS)
    state = State(jnp.array(0), params, {}, {'net': optimizer.init(params)})
    _, metrics = step(state, {'x': jnp.arange(4.0)}, jax.random.key(0), ('net',))
    flat = np.concatenate([np.ravel(g) for g in jax.tree.leaves(GRADS)])
    np.testing.assert_allclose(metrics['net/gradient_norm'], 1.5 * np.linalg.norm(flat), rtol=1e-5)


def test_groups_have_their_own_optimizer():
    head = dict(match='^head/', name='sgd', learning_rate=0.5, momentum=0.0)
    spec = dict(name='adamw', learning_rate=0.5, weight_decay=0.01)
    found, plain = moved({**spec, 'groups': dict(head=head)}), moved(spec)
    check(found['encoder'], plain['encoder'])
    check(found['head'], jax.tree.map(lambda p, g: p - 0.5 * g, PARAMS['head'], GRADS['head']))


def test_groups_follow_the_turns_schedule():
    spec = dict(name='sgd', learning_rate=1.0, momentum=0.0, warmup=10)
    group = dict(match='head', name='sgd', learning_rate=1.0, momentum=0.0)
    found = moved({**spec, 'groups': dict(head=group)})
    check(found, jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, GRADS))


@pytest.mark.parametrize(
    'spec, pattern',
    [
        (dict(name='adamm', learning_rate=1.0), 'adamm.*did you mean adam'),
        (dict(name='adam', learning_rate=1.0, weight_decay=1.0), "no option 'weight_decay'"),
        (dict(name='sgd'), 'needs a learning_rate'),
        (dict(learning_rate=1.0), 'has no name'),
        (dict(name='sgd', learning_rate=1.0, warmup=200), 'warmup=200'),
        (dict(name='sgd', learning_rate=1.0, shape='cosin'), 'did you mean cosine'),
        (dict(name='sgd', learning_rate=1.0, groups=dict(a=dict(name='sgd'))), 'match=REGEX'),
    ],
)
def test_mistakes(spec, pattern):
    with pytest.raises(Mistake, match=pattern):
        optim.make(spec, 100)


def test_a_turns_horizon_is_its_own_acting_steps():
    turns = {'critic': Turn(None), 'generator': Turn(None, when=every(5, 4))}
    spec = dict(name='sgd', learning_rate=1.0, shape='linear')
    method = Method(None, turns)
    _, rates = optim.make_all({'critic': spec, 'generator': spec}, method, 20)
    np.testing.assert_allclose(rates['critic'](10), 0.5)
    # it acts at 4, 9, 14, 19: four acting steps, of which two lie before step 14
    np.testing.assert_allclose(
        [rates['generator'](i) for i in (4, 9, 14, 19)], [1, 0.75, 0.5, 0.25]
    )


def test_a_restart_begins_the_schedule_again():
    refresh = Refresh(None, every(10), restarts=('net',))
    method = Method(None, {'net': Turn(None)}, refresh=refresh)
    _, rates = optim.make_all(
        {'net': dict(name='sgd', learning_rate=1.0, shape='linear')}, method, 30
    )
    for i in (0, 10, 20):
        np.testing.assert_allclose([rates['net'](i), rates['net'](i + 5)], [1, 0.5])
