"""Chains and annealed runs where all can be counted: the RBM's promises, and those of chains.py."""

import itertools
from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest
import scipy.stats
from scipy.special import expit, logsumexp
from toys import KEY, one_line, score, scores, source, subject

from ssljax import data, evals, evaluate
from ssljax.chains import anneal, walk
from ssljax.evals.annealed import mean_of_exp
from ssljax.method import Run, State
from ssljax.methods.energy import energy
from ssljax.methods.rbm import rbm
from ssljax.names import Mistake
from ssljax.nets import make
from ssljax.nets.rbm import alone, between


def states(n):
    return np.array(list(itertools.product([0.0, 1.0], repeat=n)))


def net(visible=5, hidden=4, deviation=0.0, scale=1.0):
    """An RBM with weights of size one, and these weights."""
    random = np.random.default_rng(0)
    sizes = dict(kernel=(visible, hidden), visible=visible, hidden=hidden)
    params = {k: scale * random.normal(size=shape).astype('f') for k, shape in sizes.items()}
    module = make(dict(name='rbm', visible=visible, hidden=hidden, deviation=deviation))

    call = jax.jit(
        lambda params, *args, method: module.apply({'params': params}, *args, method=method),
        static_argnames='method',
    )

    def ask(*args, method='__call__', params=params):
        return call(params, *args, method=method)

    return ask, params


def pair_energies(params, v, h, s=0.0):
    """E(v, h) of all pairs [V, H], by loops."""
    out = np.zeros((len(v), len(h)))
    for i, j in np.ndindex(*out.shape):
        pull = sum(
            v[i, p] * params['kernel'][p, q] * h[j, q] / (s or 1)
            for p, q in np.ndindex(*params['kernel'].shape)
        )
        mine = (
            ((v[i] - params['visible']) ** 2).sum() / (2 * s**2) if s else -v[i] @ params['visible']
        )
        out[i, j] = mine - pull - h[j] @ params['hidden']
    return out


# ---- the net


@pytest.mark.parametrize('s', [0.0, 0.7])
def test_an_rbm_by_all_of_its_states(s):
    ask, params = net(deviation=s)
    h = states(4)
    v = np.random.default_rng(1).normal(size=(6, 5)).astype('f') if s else states(5).astype('f')
    E = pair_energies(params, v, h, s)
    np.testing.assert_allclose(ask(v), -logsumexp(-E, 1), rtol=1e-4, atol=1e-4)
    p = np.exp(-E - logsumexp(-E, 1)[:, None])  # of h given v
    np.testing.assert_allclose(ask(v, method='to_hidden'), p @ h, atol=1e-5)
    mean = ask(h.astype('f'), method='to_visible')
    if s:
        np.testing.assert_allclose(mean, params['visible'] + s * h @ params['kernel'].T, atol=1e-5)
        return
    q = np.exp(-E - logsumexp(-E, 0))  # of v given h
    np.testing.assert_allclose(mean, q.T @ v, atol=1e-5)
    np.testing.assert_allclose(ask(method='log_z'), logsumexp(-E), rtol=1e-5)


def test_the_integral_of_an_rbm_with_normal_noise():
    ask, _ = net(visible=2, hidden=3, deviation=0.5)
    side = np.linspace(-9, 9, 601)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype('f')
    integral = logsumexp(-np.asarray(ask(grid), np.float64)) + 2 * np.log(side[1] - side[0])
    np.testing.assert_allclose(ask(method='log_z'), integral, rtol=1e-4)


@pytest.mark.parametrize('s', [0.0, 0.7])
def test_the_way_starts_at_units_alone_and_ends_at_the_model(s):
    ask, params = net(deviation=s)
    mean = jnp.array([0.2, 0.5, 0.9, 0.1, 0.6])
    first = alone(mean, s)
    start = between(first, params, 0.0)
    at = lambda params: float(ask(params=params, method='log_z'))  # noqa: E731
    np.testing.assert_allclose(ask(params=start, method='log_z_alone'), at(start), rtol=1e-5)
    np.testing.assert_allclose(
        ask(jnp.zeros((1, 4)), params=start, method='to_visible')[0], mean, 1e-5
    )
    assert at(between(first, params, 1.0)) == pytest.approx(at(params))
    for beta in (0.3, 1.0):  # the powers of the two, hidden units and all
        h, v = states(4), states(5).astype('f')
        parts = [pair_energies(p, v, h, s) for p in (start, params)]
        if not s:
            F = -logsumexp(-(1 - beta) * parts[0] - beta * parts[1], 1)
            np.testing.assert_allclose(
                ask(v, params=between(first, params, beta)), F, rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize('s', [0.0, 0.5])
def test_a_chain_ends_at_the_models_own_distribution(s):
    ask, params = net(visible=3, hidden=2, deviation=s)
    start = jnp.zeros((40000, 3))
    move = lambda key, v: ask(key, v, method='gibbs')  # noqa: E731
    v = np.asarray(jax.jit(lambda key: walk(key, move, start, 30))(KEY), np.float64)
    h = states(2)
    if s:  # a mixture of four normals
        pull = h @ params['kernel'].T
        log_w = h @ params['hidden'] + (pull * (params['visible'] / s + pull / 2)).sum(1)
        share = np.exp(log_w - logsumexp(log_w))
        np.testing.assert_allclose(v.mean(0), share @ (params['visible'] + s * pull), atol=0.03)
        return
    E = pair_energies(params, states(3), h)
    share = np.exp(-E - logsumexp(-E)).sum(1)
    found = np.bincount((v @ [4, 2, 1]).astype(int), minlength=8) / len(v)
    np.testing.assert_allclose(found, share, atol=4.5 * np.sqrt(0.25 / 40000))


# ---- annealed runs


def test_runs_between_two_normals_weigh_their_ratio():
    """Of N(0, 1) to exp(-2 |x - 1|^2): Z falls by a half in each of two axes, for any steps."""

    def energy(beta, x):
        return (1 - beta) * (x**2).sum(1) / 2 + beta * 2 * ((x - 1) ** 2).sum(1)

    def move(key, beta, x):  # exact draws of what is between: it loses nothing
        precision = (1 - beta) + 4 * beta
        return 4 * beta / precision + jax.random.normal(key, x.shape) / jnp.sqrt(precision)

    spread = []
    for steps in (3, 30):
        k1, k2 = jax.random.split(KEY)
        x = jax.random.normal(k1, (20000, 2))
        run = jax.jit(lambda key, x, steps=steps: anneal(key, energy, move, x, steps))
        w = np.asarray(run(k2, x), np.float64)
        error = np.exp(w).std() / np.exp(w).mean() / len(w) ** 0.5
        assert abs(logsumexp(w) - np.log(len(w)) - np.log(1 / 4)) < 4.5 * error
        spread.append(w.std())
    assert spread[1] < spread[0] / 2
    x = np.asarray(x)  # who never moves: one great step
    still = jax.jit(lambda x: anneal(KEY, energy, lambda key, beta, x: x, x, 7))(x)
    np.testing.assert_allclose(still, energy(0, x) - energy(1, x), rtol=1e-3, atol=1e-3)


def test_log_z_and_its_error():
    w = np.random.default_rng(0).normal(size=4000).astype('f') + 7
    toy = source(test=dict(x=np.arange(50, dtype='f')[:, None]))
    ask = dict(free_energy=lambda b: b['x'][:, 0], log_z_weights=lambda b, steps: w[: len(b['x'])])
    found, rows = scores('annealed', subject(toy, **ask)[0], runs=4000)
    assert found['log_z'] == pytest.approx(np.log(np.exp(w, dtype=float).mean()), rel=1e-6)
    share = np.exp(w, dtype=float)
    assert found['log_z_error'] == pytest.approx(share.std(ddof=1) / share.mean() / 4000**0.5)
    assert found['effective'] == pytest.approx(share.sum() ** 2 / (share**2).sum())
    np.testing.assert_allclose(rows['nats'], np.arange(50) + found['log_z'])
    tries = [
        np.log(np.exp(7 + np.random.default_rng(i).normal(size=4000)).mean()) for i in range(200)
    ]
    assert found['log_z_error'] == pytest.approx(np.std(tries), rel=0.25)
    bad = {**ask, 'log_z_weights': lambda b, steps: np.full(len(b['x']), np.inf)}
    with pytest.raises(Mistake) as mistake:
        score('annealed', subject(toy, **bad)[0], runs=4)
    one_line(mistake, 'annealed needs log_z_weights [4]', '4 that are none')


def test_what_is_known_has_a_z_of_one():
    toy = data.make(dict(name='binarized', of=dict(name='digits')))
    known = evals.trivial('annealed', toy, KEY)
    assert set(known) == {'bernoulli'}
    one = subject(toy, **known['bernoulli'])[0]
    found, exact = score('annealed', one, runs=3), score('density', one)
    assert found['nats'] == pytest.approx(exact['nats']) and found['log_z_error'] == 0


# ---- the method, with few enough units


SIX = np.random.default_rng(2).random((64, 2, 3, 1)) < [[0.2], [0.7], [0.5]]  # images


def small(count=64, **changes):
    """The method for images of six pixels."""
    row = {'x': jax.ShapeDtypeStruct((2, 3, 1), np.uint8)}
    return rbm(Run(4, 4, count, count, row=row), hidden=4, **changes)


@pytest.mark.parametrize('chains', [0, 20000])
def test_ten_units_learn_as_if_all_states_were_counted(chains):
    """The mean slope of many chains that are long is that of -log P, over all 2^10 states."""
    method = small(chains=chains, steps=40)
    _, params = net(visible=6, hidden=4, scale=0.7)
    batch = {'x': jnp.asarray(np.tile(2.0 * SIX - 1, (1 if chains else 300, 1, 1, 1)))}
    _, memory = jax.jit(method.init)(KEY, batch)

    def value(params):
        state = State(jnp.int32(0), params, memory, {})
        return method.turns['rbm'].loss(KEY, state, batch)[0]

    found = jax.jit(jax.grad(value))({'rbm': params})['rbm']
    v, h = SIX.reshape(-1, 6), states(4)
    E = pair_energies(params, states(6), h)
    joint = np.exp(-E - logsumexp(-E))  # [64, 16]
    given = expit(params['hidden'] + v @ params['kernel'])
    expected = {
        'kernel': states(6).T @ joint @ h - v.T @ given / len(v),
        'visible': joint.sum(1) @ states(6) - v.mean(0),
        'hidden': joint.sum(0) @ h - given.mean(0),
    }
    for name, slope in expected.items():
        assert np.abs(slope).max() > 0.05
        error = 0.5 / 19200**0.5  # at most, of a mean of bits
        np.testing.assert_allclose(found[name], slope, atol=4.5 * error, err_msg=name)


def test_annealed_likelihood_agrees_with_the_exact_one():
    method = small()
    _, params = net(visible=6, hidden=4, scale=2.0)
    batch = {'x': jnp.asarray(2.0 * SIX - 1)}
    state = State(jnp.int32(0), {'rbm': params}, jax.jit(method.init)(KEY, batch)[1], {})
    names = ('log_prob', 'log_z_weights', 'free_energy')
    asks = {name: method.readouts[name] for name in names}
    told = jax.jit(lambda state: {name: ask(KEY, state, batch) for name, ask in asks.items()})
    found = jax.device_get(told(state))
    E = pair_energies(params, states(6), states(4))
    log_p = logsumexp(-E, 1) - logsumexp(-E)
    place = SIX.reshape(64, 6) @ 2 ** np.arange(5, -1, -1)
    np.testing.assert_allclose(found['log_prob'], log_p[place], rtol=1e-4, atol=1e-4)
    log_z, error, _ = mean_of_exp(np.asarray(found['log_z_weights']))
    assert 0 < error < 0.1 and abs(log_z - logsumexp(-E)) < 4 * error
    np.testing.assert_allclose(-found['free_energy'] - logsumexp(-E), log_p[place], atol=1e-4)


def test_gray_pixels_are_chances_and_floats_need_noise():
    job = jobs.job('rbm', data="{'name': 'digits'}")
    rows = jobs.batch(job, 0)
    ask = job.method.readouts['reconstruct']
    x = jax.jit(ask)(KEY, job.fresh(), {'x': rows['x'] / 127.5 - 1})['reconstruction']
    assert x.shape == rows['x'].shape and np.abs(x).max() <= 1
    with pytest.raises(Mistake) as mistake:
        jobs.job('rbm', data="{'name': 'density'}")
    one_line(mistake, 'rbm: its units are 0 or 1', 'model.deviation=1.0')
    points = jobs.job(
        'rbm', data="{'name': 'density'}", model__deviation=0.5, evals__filters='none'
    )
    assert {'log_prob', 'log_z_weights'} <= set(points.method.readouts)
    # of bytes it is a density, and there is no log_prob
    assert set(small(deviation=0.5).readouts) == {'encode', 'reconstruct', 'sample', 'free_energy'}


def test_chains_that_are_kept_go_on_from_where_they_were():
    job = jobs.job('rbm')
    state = job.fresh()
    chain = state.memory['chain']
    assert chain.shape == (12, 64) and set(np.unique(chain)) <= {0, 1}
    ask = jax.jit(partial(job.method.readouts['sample'], steps=0))
    found = ask(KEY, state, {'x': np.zeros((40, 8, 8, 1), 'f')})
    kept = {row.tobytes() for row in np.asarray(chain)}
    assert {row.tobytes() for row in (np.asarray(found).reshape(40, 64) + 1) / 2} <= kept


# ---- energies of a net


class Bowl(nn.Module):
    """|x|^2 / 2: a head with a kernel of k makes it the energy of a normal of variance 1 / k."""

    @nn.compact
    def __call__(self, x):
        return jnp.square(x).sum(-1, keepdims=True) / 2


def bowl(k=4.0, rows=20000, **options):
    row = {'x': jax.ShapeDtypeStruct((2,), np.float32)}
    options = dict(rate=0.05, noise=0.05**0.5, reach=3.0, replay=rows) | options
    method = energy(Run(4, 4, 100, 100, row=row), encoder=Bowl(), **options)
    batch = {'x': np.zeros((rows, 2), 'f')}
    params, memory = jax.jit(method.init)(KEY, batch)
    head = {'Dense_0': {'kernel': np.full((1, 1), k, 'f'), 'bias': np.full(1, 7, 'f')}}
    return method, State(jnp.int32(0), {**params, 'energy': head}, memory, {}), batch


def test_langevin_steps_go_to_the_models_own_variance():
    """Of a bowl they are x <- (1 - rate k / 2) x + sqrt(rate) noise, whose variance is known."""
    method, state, batch = bowl(rate=0.2, noise=0.2**0.5)
    x = np.asarray(jax.jit(partial(method.readouts['sample'], steps=10))(KEY, state, batch))
    exact = 0.2 / (1 - (1 - 0.2 * 4 / 2) ** 2)  # 0.3125, toward 1 / 4 as the rate falls
    np.testing.assert_allclose(x.var(0), exact, rtol=4.5 * (2 / 20000) ** 0.5)
    np.testing.assert_allclose(x.mean(0), 0, atol=4.5 * (exact / 20000) ** 0.5)
    method, state, batch = bowl(noise=0.0, rate=0.5)  # without noise they fall
    start = np.asarray(state.memory['replay'])
    assert np.abs(start).max() <= 3 and start.std() == pytest.approx(3**0.5, rel=0.02)
    clipped, _, _ = bowl(noise=0.0, rate=0.5, clip=0.1)
    for one, step in ((method, 0.25 * 4 * start), (clipped, 0.25 * np.clip(4 * start, -0.1, 0.1))):
        x = np.asarray(jax.jit(partial(one.readouts['sample'], steps=1))(KEY, state, batch))
        ends = {row.round(4).tobytes() for row in (start - step + 0.0)}
        found = {row.round(4).tobytes() for row in x + 0.0}
        assert len(found & ends) > 0.99 * len(found)


def test_in_the_plane_the_density_is_whole():
    method, state, _ = bowl()
    x = np.random.default_rng(0).normal(size=(50, 2)).astype('f')
    log_prob = jax.jit(method.readouts['log_prob'])
    out = np.concatenate([x, [[3.1, 0.0]]]).astype('f')
    *found, outside = np.asarray(log_prob(KEY, state, {'x': out}))
    expected = scipy.stats.multivariate_normal([0, 0], np.eye(2) / 4).logpdf(x)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.isneginf(outside)
    np.testing.assert_allclose(
        jax.jit(method.readouts['free_energy'])(KEY, state, {'x': x}),
        2 * (x**2).sum(1) + 7,
        1e-4,
    )


def test_samples_are_kept_and_some_start_anew():
    for fresh, share in ((0.0, 1.0), (1.0, 0.0)):
        method, state, _ = bowl(rows=100, rate=1e-9, noise=0.0, fresh=fresh, steps=2)
        batch = {'x': np.zeros((40, 2), 'f')}
        value, memory, logs = jax.device_get(
            jax.jit(method.turns['energy'].loss)(KEY, state, batch)
        )
        same = (np.abs(memory['replay'] - state.memory['replay']) < 1e-5).all(1)
        assert same.mean() == 1 if share else (same.sum() == 60)
        x = memory['replay'][~same] if not share else None
        if x is not None:
            E = 2 * (np.asarray(x) ** 2).sum(1) + 7
            assert logs['fake'] == pytest.approx(E.mean(), rel=1e-4)
            assert value == pytest.approx(7 - E.mean() + 49 + (E**2).mean(), rel=1e-4)


def test_an_energy_depends_on_its_row_alone():
    with pytest.raises(Mistake) as mistake:
        jobs.job('energy', model__encoder__norm='batch').fresh()
    one_line(mistake, 'no other row', 'norm=None')
    with pytest.raises(Mistake) as mistake:
        jobs.job('energy', model__replay=15)
    one_line(mistake, 'model.replay=15 cannot hold the 16 samples', 'from 16')


# ---- filters


def test_filters_are_the_columns_of_the_first_kernel_that_fits():
    from ssljax.evals.filters import kernels

    random = np.random.default_rng(0)
    kernel, patches = random.normal(size=(12, 5)).astype('f'), random.normal(size=(4, 4, 3, 7))
    state = {
        'memory': {'teacher': {'kernel': kernel}},
        'params': {'encoder': {'kernel': kernel}, 'head': {'kernel': patches}},
    }
    found = kernels(state, (2, 2, 3))
    assert list(found) == ['params/encoder/kernel', 'params/head/kernel']
    np.testing.assert_array_equal(found['params/encoder/kernel'][3], kernel[:, 3].reshape(2, 2, 3))
    np.testing.assert_array_equal(found['params/head/kernel'][6], patches[..., 6])
    assert list(kernels(state, (2, 2, 3), 'teacher')) == ['memory/teacher/kernel']
    assert not kernels(state, (2, 3, 1))


def test_features_of_a_row_that_are_active():
    rows = np.array([[1, 1, 1, 1], [0, -5, 0, 0], [2, 2, 0, 0]], 'f')
    x = np.zeros((3, 2, 2, 1), np.uint8)
    model = SimpleNamespace(state={'params': {'net': {'kernel': np.eye(4, dtype='f')}}})
    who = subject(source(test=dict(x=x)), encode=lambda b: rows)[0]._replace(model=model)
    _, found = scores('filters', who)
    np.testing.assert_allclose(found['active'], [1, 1 / 4, 1 / 2])


def test_spread_of_filters_and_a_picture():
    job = jobs.job('rbm')
    state = job.fresh()
    kernel = np.zeros((64, 6), 'f')
    kernel[:, 0], kernel[5, 1] = -3, 2  # all pixels; one; the others none
    params = {'rbm': {**state.params['rbm'], 'kernel': jnp.asarray(kernel)}}
    saved = {}
    model = job.model.at(state.replace(params=params))
    who = evaluate.subject(model, job.source, 'trained', save=saved.__setitem__)
    found = score('filters', who, count=2)
    assert found['spread'] == pytest.approx((1 + 1 / 64) / 6) and found['filters'] == 6
    tiles = np.asarray(saved['filters'])[34::68, 34::68]
    assert tiles.shape[:2] == (1, 2) and tiles[0, 0, 0] == 0 and tiles[0, 1, 0] == 128
    with pytest.raises(Mistake) as mistake:
        score('filters', who, path='nothing')
    one_line(mistake, 'filters: trained has no kernel', "'nothing'", '[8, 8, 1]')
