"""NNCLR, restated from Dwibedi et al. 2021, arXiv:2104.14548: equations 2 and 3 and algorithm 1."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax import model

OTHER = {'model__temperature': 0.6, 'model__queue': 24, 'model__encoder__pool': 'mean',
         'model__projector__norm': 'layer'}  # fmt: skip


def unit(z):
    return z / jnp.linalg.norm(z, axis=1, keepdims=True)


def clean(state):
    """Rows of the queue have length one, also where the oracle moves them; row j is of image j."""
    queue = unit(state.memory['queue'])
    return state.remember(queue=queue, owners=jnp.arange(len(queue)))


def nearest(z, queue):
    """Equation 2: which row of the support set lies nearest to each row of z."""
    return np.square(np.asarray(unit(z))[:, None] - np.asarray(queue)).sum(-1).argmin(1)


def one_way(neighbor, p, tau):
    """Equation 3, a mean over rows: the neighbor of one view picks the other view's prediction."""
    e = jnp.exp(neighbor @ unit(p).T / tau)
    return -jnp.log(jnp.diag(e) / e.sum(1)).mean()


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss(changes):
    seen = oracle.see('nnclr', state=clean, **changes)
    v1, v2 = seen.views
    assert v1.spec == v2.spec == seen.config['view'] and (v1.x == v2.x).all()
    assert (v1.x == seen.batch['x']).all() and (np.abs(v1.out - v2.out).max((1, 2, 3)) > 0.1).all()
    memory, tau = seen.state.memory, seen.config['temperature']
    nets = seen.nets('encoder', 'projector', 'predictor')

    def forward(params):
        net = nets(params, memory['stats'], train=True)
        z, p = [], []
        for views in seen.views:  # each a batch of its own
            z.append(net.projector(net.encoder(views.out)))
            p.append(net.predictor(z[-1]))
        return z, p, net.stats

    (z1, z2), _, stats = oracle.quick(forward, seen.state.params)
    found = [nearest(z, memory['queue']) for z in (z1, z2)]

    def loss(params):  # the neighbors are rows of the queue, which no gradient changes
        _, (p1, p2), _ = forward(params)
        near1, near2 = (memory['queue'][i] for i in found)
        return one_way(near1, p2, tau) / 2 + one_way(near2, p1, tau) / 2

    value, gradient = oracle.quick(jax.value_and_grad(loss), seen.state.params)
    oracle.close((seen.value, seen.gradient), (value, gradient))
    oracle.close(seen.memory['stats'], stats)
    e = np.linalg.eigvalsh(np.cov(np.asarray(unit(z1)).T))
    own = np.mean(memory['owners'][found[0]] == seen.batch['index'])
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum(), 'own': own}, 1e-3)


def test_how_many_neighbors_are_of_the_image_itself():
    seen = oracle.see('nnclr', state=clean)
    (turn,), memory = seen.job.method.turns.values(), seen.state.memory
    z1 = next(call.out for call in seen.calls if call.net == 'projector')
    found, index = nearest(z1, memory['queue']), np.asarray(seen.batch['index'])
    owners = np.full_like(memory['owners'], -1)
    owners[found[:5]] = index[:5]

    def own(state):
        return turn.loss(seen.job.key(model.STEP), state, seen.batch)[2]['own']

    told = oracle.quick(own, seen.state.remember(owners=owners))
    assert (share := (owners[found] == index).mean()) > 0
    oracle.close(told, share)


def test_the_queue_takes_the_first_views_and_loses_its_oldest_rows():
    """Algorithm 1: 'update queue with latest projection embeddings', z1; first in, first out."""
    seen = oracle.see('nnclr', state=clean)
    (turn,), state = seen.job.method.turns.values(), seen.state
    z1 = np.asarray(unit(next(call.out for call in seen.calls if call.net == 'projector')))
    slots = [np.flatnonzero(np.abs(row - seen.memory['queue']).max(1) < 1e-5) for row in z1]
    assert all(len(found) == 1 for found in slots)  # the order does not matter
    owners = seen.memory['owners'][np.concatenate(slots)]
    np.testing.assert_array_equal(owners, seen.batch['index'])
    ask = jax.jit(lambda key, state: turn.loss(key, state, seen.batch)[1])
    rows = lambda queue: {row.tobytes() for row in np.asarray(queue)}  # noqa: E731
    ages = [rows(state.memory['queue'])]  # of the start, and then 16 of each step
    for k in range(3):
        before = rows(state.memory['queue'])
        state = state.replace(memory=ask(jax.random.key(k), state))
        ages.append(rows(state.memory['queue']) - before)
    K, left = len(ages[0]), rows(state.memory['queue'])
    assert K == seen.config['queue'] and [len(born) for born in ages] == [K, 16, 16, 16]
    room = [min(max(K - 16 * k, 0), 16) for k in (2, 1, 0)]  # for rows of each step
    assert [len(born & left) for born in ages] == [max(K - 48, 0), *room]


def test_the_start():
    """Rows of length one, all different, of no image of the data."""
    memory = jax.device_get(oracle.see('nnclr', state=clean).job.fresh().memory)
    similar = memory['queue'] @ memory['queue'].T
    np.testing.assert_allclose(np.diag(similar), 1, atol=1e-5)
    assert (similar - np.eye(len(similar))).max() < 0.999
    assert (memory['owners'] < 0).all()


def test_readouts_are_of_the_encoder_with_stored_statistics():
    seen = oracle.see('nnclr', state=clean)
    x, memory = seen.batch['x'], seen.state.memory
    net = seen.nets('encoder', 'projector', 'predictor')(seen.state.params, memory['stats'])
    ask = lambda name: oracle.quick(  # noqa: E731
        lambda s: seen.job.method.readouts[name](jax.random.key(1), s, {'x': x}), seen.state
    )
    h, z = oracle.quick(lambda x: (h := net.encoder(x), net.projector(h)), x)
    oracle.close(ask('encode'), h)
    # the image whose row of the queue is nearest
    np.testing.assert_array_equal(ask('neighbor'), memory['owners'][nearest(z, memory['queue'])])
