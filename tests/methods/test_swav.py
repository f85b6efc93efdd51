"""SwAV, restated from Caron et al. 2020, arXiv:2006.09882: equations 1 to 6, section 4.1."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

NETS = ('encoder', 'projector')


def unit(z, axis=-1):
    return z / jnp.linalg.norm(z, axis=axis, keepdims=True)


def see(step=1, writes=7, **changes):
    """With a queue of 72 rows of length one, of which 16 were written in each of some steps."""

    def written(state):
        return state.remember(
            queue=np.asarray(unit(state.memory['queue'])), writes=np.int32(writes)
        )

    return oracle.see('swav', step=step, state=written, **changes)


def sinkhorn(scores):
    """Equations 3 to 5: diag(u) exp(C^T Z / epsilon) diag(v) with equal sums; here rows are one."""
    Q = np.exp(np.float64(scores) / 0.1)
    for _ in range(2):
        Q = Q / Q.sum(0) / Q.shape[1]
        Q = Q / Q.sum(1, keepdims=True) / len(Q)
    return Q * len(Q)


def restated(seen, older):
    """Gradient, (value, statistics, z [B, views, D]), and the codes of both global views, beside so
    many first rows of the queue."""
    memory, views = seen.state.memory, [view.out for view in seen.views]
    nets = seen.nets(*NETS)

    def scores_of(params):
        net = nets(params, memory['stats'], train=True)
        z = [net.projector(net.encoder(x)).reshape(16, -1, 8) for x in views]  # a size is a batch
        z = unit(jnp.concatenate(z, 1))
        return z, z @ unit(params['last']['kernel'], 0), net.stats

    _, scores, _ = oracle.quick(scores_of, seen.state.params)
    prototypes, codes = np.asarray(unit(seen.state.params['last']['kernel'], 0)), []
    for g in range(2):  # older rows of the same view stand beside the batch, and are then left out
        rows = [scores[:, g], *([memory['queue'][:older, g] @ prototypes] if older else [])]
        codes.append(sinkhorn(np.concatenate(rows))[:16])

    def loss(params):
        z, scores, stats = scores_of(params)
        log_p = jax.nn.log_softmax(scores / 0.2)
        pairs = [(g, v) for g in range(2) for v in range(scores.shape[1]) if v != g]  # equation 6
        value = sum(-(codes[g] * log_p[:, v]).sum(1).mean() for g, v in pairs) / len(pairs)
        return value, (value, stats, z)

    return *oracle.quick(jax.grad(loss, has_aux=True), seen.state.params), codes


@pytest.mark.parametrize(
    'step, writes, older, changes',
    [
        (1, 7, 72, {}),
        (0, 7, 0, {}),
        (1, 2, 32, {}),
        (1, 7, 72, {'model__local_views': 3}),
        (1, 7, 72, {'model__local_views': 0}),
    ],
)
def test_the_loss_and_the_queue(step, writes, older, changes):
    """With the rows of the queue that were written, from its first step on, and without; nothing
    flows to codes or queue."""
    seen = see(step, writes, **changes)
    kinds = ('global', 'local') if seen.config['local_views'] else ('global',)
    assert [v.spec for v in seen.views] == [seen.config[f'{kind}_view'] for kind in kinds]
    for views in seen.views:
        np.testing.assert_array_equal(views.x, seen.batch['x'])
    gradient, (value, stats, z), codes = restated(seen, older)
    oracle.close((seen.value, seen.gradient), (value, gradient))
    memory, z = dict(seen.memory), np.asarray(z)[:, :2]
    old, new = seen.state.memory['queue'], memory.pop('queue')
    oracle.close(memory, {'stats': stats, 'writes': writes + 1})
    among = lambda a, b: np.abs(a[:, None] - b).max((-1, -2)).min(1) < 1e-5  # noqa: E731
    assert new.shape == old.shape and among(z, new).all() and among(old, new).sum() == 72 - 16
    e = np.linalg.eigvalsh(np.cov(z.reshape(-1, 8).T))
    used = len(set(codes[0].argmax(1)))  # prototypes that are the first ones of a first view
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum(), 'used': used}, 1e-3)


def test_without_a_queue_the_batch_stands_alone():
    seen = oracle.see('swav', model__queue=0)
    gradient, (value, stats, _), _ = restated(seen, 0)
    oracle.close((seen.value, seen.gradient, seen.memory), (value, gradient, {'stats': stats}))


def test_the_oldest_rows_leave_first():
    state, job, ages = jobs.job('swav').fresh(), jobs.job('swav'), np.zeros(72)
    for k in range(1, 7):
        old = np.asarray(state.memory['queue'])
        state, _ = jobs.run(job, 1, state)
        moved = (np.asarray(state.memory['queue']) != old).any((1, 2))
        assert moved.sum() == 16 and ages[moved].max() <= ages[~moved].min()
        ages[moved] = k
    np.testing.assert_allclose(np.linalg.norm(state.memory['queue'], axis=-1), 1, atol=1e-5)


def test_what_is_held_and_what_is_read_out():
    """Appendix A: prototypes are held in the first epoch; here in a quarter of one of 4 steps."""
    seen = see()
    (turn,) = seen.job.method.turns.values()
    assert set(turn.holds) == {'last'} and seen.job.method.by_rows == ()
    assert [bool(turn.holds['last'](k)) for k in range(4)] == [True, False, False, False]
    net = seen.nets(*NETS)(seen.state.params, seen.state.memory['stats'])
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    found = oracle.quick(lambda *given: {name: ask[name](*given) for name in ask}, *given)
    prototypes = unit(seen.state.params['last']['kernel'], 0)
    told = lambda f: (f, unit(net.projector(f)) @ prototypes)  # noqa: E731
    features, scores = oracle.quick(lambda x: told(net.encoder(x)), seen.batch['x'])
    oracle.close(found['encode'], features)
    np.testing.assert_array_equal(found['assign'], scores.argmax(1))
