"""Instance discrimination, restated from Wu et al. 2018, arXiv:1805.01978: equations 2 to 10."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax import augment

SOFTMAX = {'model__noise': 0, 'model__temperature': 0.6, 'model__momentum': 0.7,
           'model__proximal': 0.2, 'model__encoder__pool': 'mean'}  # fmt: skip


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def clean(state):
    """Rows of the bank have length one, also when the oracle has moved them."""
    return state.remember(bank=unit(state.memory['bank']))


def equal(state):
    """All rows of the bank are one, so that the noise does not depend on what is drawn."""
    return state.remember(
        bank=jnp.full_like(state.memory['bank'], state.memory['bank'].shape[1] ** -0.5)
    )


def softmax(v, i, bank, tau):
    """Equation 2: l(i) = -log P(i | v)."""
    e = jnp.exp(v @ bank.T / tau)
    return -jnp.log(e[np.arange(len(v)), i] / e.sum(1))


def nce(v, i, bank, tau, m, Z):
    """Equations 4 to 7, with the mean over all that can be drawn in place of a sum over m draws."""
    P = jnp.exp(v @ bank.T / tau) / Z
    h = P / (P + m / len(bank))  # the noise is even
    return -jnp.log(h[np.arange(len(v)), i]) - m * jnp.log(1 - h).mean(1)


def restated(seen, term):
    """Value, statistics, gradient and v; term(v) is [B]."""
    memory, (views,), config = seen.state.memory, seen.views, seen.config
    own = memory['bank'][np.asarray(seen.batch['index'])]

    def loss(params):
        net = seen.nets('encoder', 'projector')(params, memory['stats'], train=True)
        v = unit(net.projector(net.encoder(views.out)))
        near = jnp.square(v - own).sum(1)  # equation 10: the row is v of the epoch before
        value = (term(v) + config['proximal'] * near).mean()
        return value, (value, net.stats, v)

    gradient, told = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    return *told, gradient


def agrees(seen, term, normalizer):
    value, stats, v, gradient = restated(seen, term)
    oracle.close((seen.value, seen.gradient), (value, gradient))
    i, m = np.asarray(seen.batch['index']), seen.config['momentum']
    bank = np.array(seen.state.memory['bank'])
    e = np.linalg.eigvalsh(np.cov(np.asarray(v).T))
    cosine = (bank[i] * v).sum(1).mean()
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum(), 'agreement': cosine}, 1e-3)
    bank[i] = unit(m * bank[i] + (1 - m) * v)  # and no other row
    oracle.close(seen.memory, {'stats': stats, 'bank': bank} | normalizer)


def test_the_softmax_of_all():
    seen = oracle.see('instance_discrimination', state=clean, **SOFTMAX)
    (views,), memory = seen.views, seen.state.memory
    assert views.spec == seen.config['view'] and (views.x == seen.batch['x']).all()
    assert len(views.out) == len(views.x) and len(memory['bank']) == seen.job.train.count
    i, tau = np.asarray(seen.batch['index']), seen.config['temperature']
    agrees(seen, lambda v: softmax(v, i, memory['bank'], tau), {})


@pytest.mark.parametrize('step', [0, 1])
def test_noise_where_all_draws_are_alike(step):
    """Z is a constant, equation 8 of the first batch: it has no gradient and is kept."""
    seen = oracle.see('instance_discrimination', step=step, state=equal)
    memory, config = seen.state.memory, seen.config
    i, tau, m = np.asarray(seen.batch['index']), config['temperature'], config['noise']
    bank, Z = memory['bank'], np.exp(memory['log_normalizer'])
    if step == 0:
        v = unit(next(call.out for call in seen.calls if call.net == 'projector'))
        Z = len(bank) * np.exp(v @ bank.T / tau).mean()
    agrees(seen, lambda v: nce(v, i, bank, tau, m, Z), {'log_normalizer': np.log(Z)})


def test_noise_is_even_over_all_rows():
    """The mean over draws is within four standard errors of its expectation."""
    seen = oracle.see('instance_discrimination', state=clean)
    (turn,), (views,), memory = seen.job.method.turns.values(), seen.views, seen.state.memory
    i, tau, m = np.asarray(seen.batch['index']), seen.config['temperature'], seen.config['noise']
    Z = np.exp(memory['log_normalizer'])
    with mock.patch.object(augment, 'views', lambda view, key, x, n: views.out):
        draw = jax.vmap(lambda key, state: turn.loss(key, state, seen.batch)[0], (0, None))
        values = oracle.quick(draw, jax.random.split(jax.random.key(5), 400), seen.state)
    expected, *_ = restated(seen, lambda v: nce(v, i, memory['bank'], tau, m, Z))
    error = values.std() / np.sqrt(len(values))
    assert 0 < error < 0.02 * expected and abs(values.mean() - expected) < 4 * error


def test_the_start():
    """Rows of length one, all different."""
    bank = np.asarray(oracle.see('instance_discrimination', state=clean).job.fresh().memory['bank'])
    similar = bank @ bank.T
    np.testing.assert_allclose(np.diag(similar), 1, atol=1e-5)
    assert (similar - np.eye(len(bank))).max() < 0.9999


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('instance_discrimination', state=clean)
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
