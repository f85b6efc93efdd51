"""RBM, restated from Hinton 2002 (Neural Computation 14): energy and contrastive divergence. Kept
chains: Tieleman 2008 (ICML). Annealing: Salakhutdinov, Murray 2008 (ICML), section 4.

A small model, in which units 0-3 of 64 alone have weights, has exact answers: sums over 16 states
of these and 64 of the hidden units, and the other units are independent.
"""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

from ssljax.method import Run, State
from ssljax.methods.rbm import rbm
from ssljax.step import floats

ROWS = 4096
V, H = (np.array(list(itertools.product((0.0, 1.0), repeat=n))) for n in (4, 6))
RANDOM = np.random.default_rng(0)
W, B, C = (s * RANDOM.normal(size=n) for s, n in ((1.5, (4, 6)), (0.2, 64), (0.5, 6)))
B[:4] = -0.5 - W.sum(1) / 2
C -= W.sum(0) / 2
WEIGHTS = {'kernel': np.vstack([W, np.zeros((60, 6))]), 'visible': B, 'hidden': C}


def sigmoid(a):
    return 1 / (1 + jnp.exp(-a))


def softplus(a):
    return np.log1p(np.exp(a))


def free_energy(p, v, s=0.0):
    """-log of the sum over h of exp(-E(v, h))."""
    v = v.reshape(len(v), -1)
    inner = jnp.log(1 + jnp.exp(v @ p['kernel'] / (s or 1) + p['hidden'])).sum(1)
    visible = jnp.square(v - p['visible']).sum(1) / (2 * s**2) if s else -v @ p['visible']
    return visible - inner


FREE = -V @ B[:4] - softplus(V @ W + C).sum(1)  # of the 16 states
LOG_Z = np.log(np.exp(-FREE).sum()) + softplus(B[4:]).sum()
P = np.exp(-FREE) / np.exp(-FREE).sum()


def chances(states, logits):
    """Of each of all states of binary units with these logits [N, units] -> [N, states]."""
    return np.exp(logits @ states.T - softplus(logits).sum(1, keepdims=True))


STEP = chances(H, V @ W + C) @ chances(V, H @ W.T + B[:4])  # [16, 16] of v, h is drawn, then v
START = 5


def states(v):
    """Which of the 16 states rows are in, how often."""
    v = np.reshape(v, (len(v), -1))
    return np.bincount((v[:, :4] @ (8, 4, 2, 1)).astype(int), minlength=16)


def far(counts, p):
    """Chi squared over its degrees of freedom: near 1 where counts are of p."""
    expected = counts.sum() * p
    return (np.square(counts - expected) / expected).sum() / 15


def started(chain=None, weights=WEIGHTS, mean=0.5):
    memory = {'mean': jnp.full(64, mean) if np.ndim(mean) == 0 else jnp.asarray(mean, 'float32')}
    memory |= {} if chain is None else {'chain': jnp.asarray(chain, jnp.float32)}
    weights = {name: jnp.asarray(leaf, jnp.float32) for name, leaf in weights.items()}
    return State(jnp.int32(3), {'rbm': weights}, memory, {})


def images(v):
    return {'x': jnp.asarray(2 * v - 1, jnp.float32).reshape(-1, 8, 8, 1)}


def tiled(row):
    return np.tile(row, (ROWS, 1))


def first(state=START):
    """A row in this state, with all other units 1."""
    return np.concatenate([V[state], np.ones(60)])


@functools.cache
def readouts():
    return jobs.job('rbm').method.readouts


def binary(state):
    return state.remember(chain=(state.memory['chain'] > 0.5).astype(np.float32))


def test_the_loss_of_kept_chains():
    """The free energy of data less that of the chains where they have come to, which are kept. No
    gradient goes through the draws."""
    seen = oracle.see('rbm', state=binary)
    assert set(np.unique(seen.batch['x'])) == {-1, 1}
    v, old, new = (seen.batch['x'] + 1) / 2, seen.state.memory, seen.memory

    def loss(params):
        p = params['rbm']
        value = free_energy(p, v).mean() - free_energy(p, new['chain']).mean()
        return value, (value, sigmoid(v.reshape(16, 64) @ p['kernel'] + p['hidden']).mean())

    gradient, (value, active) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.logs, {'active': active})
    assert set(np.unique(new['chain'])) == {0, 1} and new['chain'].shape == (12, 64)
    mean = 0.9 * old['mean'] + 0.1 * np.reshape(v, (16, 64)).mean(0)
    oracle.close(new, {'chain': new['chain'], 'mean': mean})


def test_chains_take_two_steps():
    """Of all chains that are in one state, so many are in each other one after the loss."""
    job = jobs.job('rbm', model__chains=ROWS)
    state = started(tiled(first()))
    _, memory, _ = oracle.quick(
        job.method.turns['rbm'].loss, jax.random.key(1), state, images(tiled(first(0))[:16])
    )
    counts = states(memory['chain'])
    one, two, three = (np.linalg.matrix_power(STEP, n)[START] for n in (1, 2, 3))
    assert far(counts, two) < 3 < 6 < min(far(counts, one), far(counts, three))
    assert np.abs(memory['chain'].mean(0)[4:] - sigmoid(B[4:])).max() < 5 * 0.5 / ROWS**0.5


def test_chains_start_at_the_data():
    """Without kept ones: E F(v) - E F(v'), and v' is two steps from v. A pixel is a chance."""
    job = jobs.job('rbm', model__chains=0)
    gray = np.concatenate([[0.9, 0.2, 0.5, 0.05], np.ones(60)])

    def slope(key, state, batch):
        def loss(params):
            return job.method.turns['rbm'].loss(key, state.replace(params=params), batch)[:2]

        return jax.value_and_grad(loss, has_aux=True)(state.params)

    (value, memory), gradient = oracle.quick(
        slope, jax.random.key(2), started(), images(tiled(gray))
    )
    data = chances(V, np.log(gray[:4] / (1 - gray[:4]))[None])[0]
    model = data @ STEP @ STEP
    others = -B[4:].sum() + sigmoid(B[4:]) @ B[4:]
    assert abs(value - ((data - model) @ FREE + others)) < 0.05
    hidden = sigmoid(V @ W + C)
    expected = {
        'kernel': -np.einsum('n,nv,nh->vh', data - model, V, hidden),
        'visible': -(data - model) @ V,
        'hidden': -(data - model) @ hidden,
    }
    found = {**gradient['rbm'], 'kernel': gradient['rbm']['kernel'][:4]}
    found['visible'] = found['visible'][:4]
    for name, leaf in expected.items():
        np.testing.assert_allclose(found[name], leaf, atol=0.04)
        assert np.abs(leaf).max() > 0.1
    oracle.close(memory, {'mean': 0.9 * 0.5 + 0.1 * gray}, 0.02)


def test_readouts():
    """Chances of hidden units, and of pixels given these; log p is exact, where they are few."""
    seen = oracle.see('rbm', state=binary)
    p = jax.tree.map(np.float64, seen.state.params['rbm'])
    x = seen.batch['x']
    v = (np.reshape(x, (16, 64)) + 1) / 2
    h = sigmoid(v @ p['kernel'] + p['hidden'])
    log_z = np.log(
        np.exp(H @ p['hidden'] + softplus(H @ p['kernel'].T + p['visible']).sum(1)).sum()
    )

    def asked(key, state):
        names = ('encode', 'reconstruct', 'free_energy', 'log_prob')
        return {name: seen.job.method.readouts[name](key, state, {'x': x}) for name in names}

    found = oracle.quick(asked, jax.random.key(0), seen.state)
    energy = free_energy(p, v)
    pixels = 2 * sigmoid(h @ p['kernel'].T + p['visible']) - 1
    oracle.close(found['encode'], h)
    oracle.close(found['free_energy'], energy)
    oracle.close(found['log_prob'], -energy - log_z)
    oracle.close(found['reconstruct'], {'reconstruction': np.reshape(pixels, x.shape)})


def test_log_prob_sums_to_one():
    """Over the 16 states of the units that have weights, and the chances of the others."""
    rows = np.array([np.concatenate([v, np.ones(60)]) for v in V])
    found = oracle.quick(readouts()['log_prob'], jax.random.key(0), started(), images(rows))
    oracle.close(np.exp(found + softplus(-B[4:]).sum()), P)
    assert 'log_prob' not in jobs.job('rbm', model__hidden=200).method.readouts


def test_a_sample_is_a_draw_of_the_model():
    """A chain goes on from a kept one; where there is none, from pixels of the mean of the data."""
    kept, mean = np.concatenate([tiled(first())[:4], tiled(first(0))[:8]]), [0.9, 0.1, 0.8, 0.2]
    from_mean = chances(V, np.log(np.divide(mean, np.subtract(1, mean)))[None])[0]
    starts = {12: (2 * STEP[0] + STEP[START]) / 3, 0: from_mean @ STEP}
    for chains, one in starts.items():
        ask = jobs.job('rbm', model__chains=chains).method.readouts['sample']
        state = started(kept if chains else None, mean=np.concatenate([mean, np.full(60, 0.5)]))

        def asked(key, state, batch, ask=ask):
            return [ask(key, state, batch, steps=steps) for steps in (1, 40)]

        samples = oracle.quick(asked, jax.random.key(3), state, images(tiled(first(7))))
        for sample, p in zip(samples, (one, P)):
            assert set(np.unique(sample)) == {-1, 1}
            v = (sample.reshape(ROWS, 64) + 1) / 2
            assert far(states(v), p) < 3
            assert np.abs(v.mean(0)[4:] - sigmoid(B[4:])).max() < 5 * 0.5 / ROWS**0.5
        assert far(states((samples[0].reshape(ROWS, 64) + 1) / 2), P) > 6


def test_the_start():
    """Hinton 2012 (A practical guide), section 8: small weights, biases of the mean, hidden ones
    zero. Chains are rows of data."""
    job = jobs.job('rbm')
    state = jax.device_get(job.fresh())
    v = (np.reshape(floats(jobs.batch(job, 0))['x'], (16, 64)) + 1) / 2
    p, mean = state.params['rbm'], v.mean(0)
    assert abs(p['kernel'].mean()) < 0.002 and abs(p['kernel'].std() - 0.01) < 0.002
    inner = (mean > 0.05) & (mean < 0.95)
    oracle.close(p['visible'][inner], np.log(mean[inner] / (1 - mean[inner])))
    assert np.isfinite(p['visible']).all() and not p['hidden'].any()
    chain = state.memory['chain']
    which = (chain[:, None] == v).all(-1)
    assert which.any(1).all() and len(np.unique(which.argmax(1))) > 5
    oracle.close(state.memory['mean'], mean)


@functools.cache
def annealed(steps):
    mean = np.concatenate([[0.3, 0.6, 0.5, 0.4], sigmoid(B[4:])])

    def ask(key, state, batch):
        return readouts()['log_z_weights'](key, state, batch, steps=steps)

    state = started(tiled(first())[:12], mean=mean)
    return oracle.quick(ask, jax.random.key(4), state, images(tiled(first(0)))).astype(np.float64)


def test_the_mean_weight_of_annealing_is_z():
    """However few steps there are; with more, weights differ less."""
    few, many = np.exp(annealed(3) - LOG_Z), np.exp(annealed(40) - LOG_Z)
    for w in (few, many):
        assert abs(w.mean() - 1) < 4 * w.std() / ROWS**0.5 < 0.2
    assert np.log(few).std() > 0.3 and many.std() < few.std() / 2
    assert len(np.unique(few)) > ROWS / 2  # each run has draws of its own


def test_annealing_starts_at_the_mean_of_the_data():
    """It is exact in each run where the model is that of independent pixels with this mean."""
    mean = np.linspace(0.1, 0.9, 64)
    weights = {'kernel': np.zeros((64, 6)), 'visible': np.log(mean / (1 - mean)), 'hidden': C}
    state = started(tiled(first())[:12], weights, mean)

    def ask(key, state, batch):
        return readouts()['log_z_weights'](key, state, batch, steps=4)

    found = oracle.quick(ask, jax.random.key(5), state, images(tiled(first(0))[:8]))
    oracle.close(found, np.full(8, softplus(weights['visible']).sum() + softplus(C).sum()), 1e-5)


S = {'model__deviation': 0.7}


def test_units_with_noise():
    """The energy of Hinton 2010 (a practical guide), section 13.2: |v - b|^2 / 2 s^2."""
    seen = oracle.see('rbm', **S)
    x, new = seen.batch['x'].reshape(16, 64), seen.memory['chain']

    def loss(params):
        return (
            free_energy(params['rbm'], x, 0.7).mean() - free_energy(params['rbm'], new, 0.7).mean()
        )

    value, gradient = oracle.quick(jax.value_and_grad(loss), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    p, ask = seen.state.params['rbm'], seen.job.method.readouts
    # of bytes it would be a density of another measure
    assert not {'log_prob', 'log_z_weights'} & set(ask)

    def asked(key, state):
        names = ('encode', 'reconstruct', 'free_energy')
        return {name: ask[name](key, state, seen.batch) for name in names}

    found = oracle.quick(asked, jax.random.key(0), seen.state)
    h = sigmoid(x @ p['kernel'] / 0.7 + p['hidden'])
    oracle.close(seen.logs, {'active': h.mean()})
    oracle.close(found['encode'], h)
    oracle.close(found['free_energy'], free_energy(p, x, 0.7))
    pixels = {'reconstruction': np.reshape(p['visible'] + 0.7 * h @ p['kernel'].T, (16, 8, 8, 1))}
    oracle.close(found['reconstruct'], pixels)


def test_a_step_of_units_with_noise():
    """Mean and covariance of v' given v, which is one row for all chains."""
    job = jobs.job('rbm', model__chains=ROWS, model__steps=1, **S)
    start = RANDOM.normal(size=64)
    _, memory, _ = oracle.quick(
        job.method.turns['rbm'].loss,
        jax.random.key(1),
        started(tiled(start)),
        images(tiled(first())[:16]),
    )
    h = sigmoid(start[:4] @ W / 0.7 + C)
    chain = memory['chain']
    np.testing.assert_allclose(chain.mean(0), B + 0.7 * WEIGHTS['kernel'] @ h, atol=0.1)
    spread = 0.49 * (np.eye(4) + W @ np.diag(h * (1 - h)) @ W.T)
    np.testing.assert_allclose(np.cov(chain[:, :4].T), spread, atol=0.15)
    assert np.abs(chain[:, 4:].std(0) - 0.7).max() < 0.05


def test_points_have_a_density():
    """With noise, of floats: it is whole, and the mean weight of annealing is its factor."""
    method = rbm(
        Run(4, 4, 16, 16, row={'x': jax.ShapeDtypeStruct((2,), np.float32)}),
        hidden=3,
        deviation=0.5,
    )
    p = {'kernel': 0.8 * RANDOM.normal(size=(2, 3)), 'visible': np.array([0.3, -0.2])}
    p = jax.tree.map(np.float32, {**p, 'hidden': RANDOM.normal(size=3)})
    state = State(jnp.int32(0), {'rbm': p}, {'mean': jnp.array([0.5, 0.5])}, {})
    side = np.linspace(-8, 8, 161, dtype=np.float32)
    x = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)

    def ask(key, state, x):
        read = method.readouts
        weights = read['log_z_weights'](key, state, {'x': x}, steps=8)
        return read['log_prob'](key, state, {'x': x}), weights

    log_p, weights = oracle.quick(ask, jax.random.key(0), state, x)
    assert abs(np.exp(log_p).sum() * 0.01 - 1) < 1e-3
    log_z = np.log(np.exp(-free_energy(p, x, 0.5)).sum() * 0.01)
    oracle.close(log_p, -free_energy(p, x, 0.5) - log_z, 1e-3)
    w = np.exp(weights - log_z)
    assert abs(w.mean() - 1) < 4 * w.std() / len(w) ** 0.5 < 0.2


def test_the_papers_values():
    """CD-1, of 500 hidden units in Salakhutdinov and Murray's section 5."""
    given = {name: v.default for name, v in inspect.signature(rbm).parameters.items()}
    assert (given['hidden'], given['steps'], given['chains'], given['deviation']) == (500, 1, 0, 0)
