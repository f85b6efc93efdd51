"""MoCo, restated from He et al. 2019, arXiv:1911.05722: equations 1 and 2 and algorithm 1; and v3,
algorithm 1 of Chen et al. 2021, arXiv:2104.02057: no queue, a predictor, a symmetric loss."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

OTHER = {'model__temperature': 0.5, 'model__momentum': 0.7, 'model__queue': 24,
         'model__encoder__pool': 'mean', 'model__projector__norm': None}  # fmt: skip
SMALL = {'model__queue': 40}
BOTH = {'model__symmetric': True, 'model__temperature': 0.2, 'model__queue': 72}
V3 = {'model__symmetric': True, 'model__queue': 0,
      'model__predictor': "{'name': 'mlp', 'dims': (12, 8), 'norm': 'batch'}"}  # fmt: skip


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def clean(state):
    """Rows of a queue have length one, also when the oracle has moved them."""
    return state.remember(**{k: unit(v) for k, v in state.memory.items() if k == 'queue'})


def contrast(q, k, queue, tau):
    """Equation 1, a mean over queries; v3: the keys are those of the batch, and a factor 2 tau."""
    right = jnp.exp((q * k).sum(1) / tau)
    if queue is None:
        return -2 * tau * jnp.log(right / jnp.exp(q @ k.T / tau).sum(1)).mean()
    return -jnp.log(right / (right + jnp.exp(q @ queue.T / tau).sum(1))).mean()


def keys_of(seen):
    """Of both views: the key encoder has no predictor and normalizes by its own batch."""
    memory, views = seen.state.memory, [views.out for views in seen.views]
    net = seen.nets('encoder', 'projector')(memory['teacher'], memory['stats'], train=True)
    return oracle.quick(lambda *x: [unit(net.projector(net.encoder(v))) for v in x], *views)


def slope(seen, keys, queue):
    """Gradient, value, statistics, first projections; a query's key is of the other view."""
    predictor = ['predictor'] if seen.config['predictor'] else []
    nets, tau = seen.nets('encoder', 'projector', *predictor), seen.config['temperature']

    def loss(params):
        net = nets(params, seen.state.memory['stats'], train=True)
        z = [net.projector(net.encoder(v.out)) for v in seen.views[: 1 + seen.config['symmetric']]]
        q = [unit(net.predictor(row) if predictor else row) for row in z]
        value = sum(contrast(one, key, queue, tau) for one, key in zip(q, keys[::-1]))
        return value, (value, net.stats, z[0])

    return oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)


@pytest.mark.parametrize('changes', [{}, OTHER, BOTH, V3])
def test_the_loss_and_what_follows(changes):
    """No gradient goes to keys or queue; equation 2; the queue takes the keys of the loss."""
    seen = oracle.see('moco', state=clean, **changes)
    v1, v2 = seen.views
    assert v1.spec == v2.spec == seen.config['view'] and (v1.x == v2.x).all()
    assert (v1.x == seen.batch['x']).all() and (np.abs(v1.out - v2.out).max((1, 2, 3)) > 0.1).all()
    before, keys = seen.state.memory, keys_of(seen)
    gradient, (value, stats, z) = slope(seen, keys, queue := before.get('queue'))
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    e = np.linalg.eigvalsh(np.cov(np.asarray(unit(z)).T))
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum()}, 1e-3)
    params = jax.tree.map(lambda leaf: 1.1 * leaf + 0.01, seen.state.params)  # after the descent
    state, logs = oracle.after(seen, params=params)
    assert not jobs.differing(state.params, params) and not logs
    m, online = seen.config['momentum'], {net: params[net] for net in ('encoder', 'projector')}
    average, found = lambda a, b: m * a + (1 - m) * b, dict(state.memory)
    teacher, new = jax.tree.map(average, before['teacher'], online), found.pop('queue', None)
    assert found.pop('writes', 1) == before.get('writes', 0) + 1  # how often the queue was written
    oracle.close(found, {'stats': stats, 'teacher': teacher})  # statistics of the queries alone
    if queue is not None:
        assert jobs.differing(slope(seen, keys, -queue)[0], gradient)  # yet negatives act
        keys = np.concatenate(keys) if seen.config['symmetric'] else keys[1]
        among = lambda a, b: np.abs(a[:, None] - b).max(-1).min(1) < 1e-5  # noqa: E731
        assert new.shape == queue.shape and among(keys, new).all()
        assert among(queue, new).sum() == len(queue) - len(keys)  # no other has left


@pytest.mark.parametrize('changes', [SMALL, SMALL | {'accumulate': 2}, BOTH])
def test_the_oldest_keys_leave_first(changes):
    """Section 3.2, and the start: rows of length one, all different; two encoders that are one."""
    job, count = jobs.job('moco', **changes), 32 if changes == BOTH else 16
    state = job.fresh()
    teacher, rows = state.memory['teacher'], np.asarray(state.memory['queue'])
    assert not jobs.differing(teacher, {net: state.params[net] for net in teacher})
    assert (rows @ rows.T - np.eye(len(rows))).max() < 0.999
    born = {row.tobytes(): 0 for row in rows}
    for k in range(1, 5):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        state, _ = jobs.run(job, 1, state)
        rows = np.asarray(state.memory['queue'])
        now = {row.tobytes(): born.get(row.tobytes(), k) for row in rows}
        left = [age for row, age in born.items() if row not in now]
        assert len(now) == len(rows) and list(now.values()).count(k) == count == len(left)
        assert max(left) <= min(now.values())
        born = now


def test_features_are_those_of_the_query_encoder_with_stored_statistics():
    seen = oracle.see('moco', state=clean)
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
