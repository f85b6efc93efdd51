"""MSN, restated from Assran et al. 2022, arXiv:2204.07141, section 3. That targets use all
prototypes equally is algorithm 1 of Caron et al. 2020, arXiv:2006.09882, of the sharp targets."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

OTHER = {
    'model__rounds': 0, 'model__temperature': 0.3, 'model__target_temperature': 0.1,
    'model__projector__norm': 'batch',
    'model__weight': 2.0, 'model__masked_views': 1, 'model__focal_views': 0, 'model__ratio': 0.25,
    'model__momentum': 0.7,
}  # fmt: skip


def nets_of(seen):
    last = dict(name='prototypes', count=12)
    return seen.nets('encoder', 'projector', last=last, patch=8)


def softmax(s):
    e = np.exp(s - s.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def targets(seen):
    """p+ [B, K] of the whole views by the teacher and the prototypes of now; and its statistics."""
    teacher, prototypes = seen.state.memory['teacher'], seen.state.params['last']['kernel']

    def project(x):
        net = nets_of(seen)(**teacher, train=True)
        return net.projector(net.encoder(x)), net.stats

    z, stats = oracle.quick(project, seen.views[0].out)
    z, q = (np.float64(rows) for rows in (z, prototypes.T))
    z, q = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (z, q))
    p = softmax(z @ q.T / seen.config['target_temperature'])
    B, K = p.shape
    for _ in range(seen.config['rounds']):
        p = p / p.sum(0) / K
        p = p / p.sum(1, keepdims=True) / B
        p = p * B
    return p, stats


def wiped(x, kept):
    """Images [N, 32, 32, 1] with noise for each patch of 8 x 8 that is not among those kept."""
    seen = np.zeros((len(x), 16), bool)
    seen[np.arange(len(x))[:, None], kept] = True
    pixels = seen.reshape(-1, 4, 4).repeat(8, 1).repeat(8, 2)[..., None]
    return np.where(pixels, x, np.random.default_rng(0).normal(size=x.shape).astype('f'))


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss(changes):
    """Equation 1. The anchors' hidden patches are noise here: what they were is of no matter."""
    seen = oracle.see('msn', **changes)
    c, (whole, masked, *focal) = seen.config, seen.views
    assert whole.spec == masked.spec == c['view'] and len(focal) == bool(c['focal_views'])
    assert all(views.spec == c['focal_view'] for views in focal)
    assert [len(v.out) for v in focal] == [16 * c['focal_views']] * len(focal)
    assert len(whole.out) == 16 and len(masked.out) == 16 * c['masked_views']
    for views in seen.views:
        np.testing.assert_array_equal(views.x, seen.batch['x'])
    assert (np.abs(whole.out - masked.out[:: c['masked_views']]).max((1, 2, 3)) > 0.1).all()
    (kept,) = (call.args[1] for call in seen.calls if len(call.args) == 2)
    assert kept.shape == (len(masked.out), 16 - int(16 * c['ratio']))
    assert all(len(set(row)) == len(row) and 0 <= min(row) <= max(row) < 16 for row in kept)
    assert len({frozenset(row.tolist()) for row in kept}) > len(kept) // 2
    (p_plus, stats), x = targets(seen), wiped(masked.out, kept)

    def loss(params):
        net = nets_of(seen)(params, seen.state.memory['stats'], train=True)
        h = [net.encoder(x, kept)]
        z = [net.projector(h[0]), *(net.projector(net.encoder(views.out)) for views in focal)]
        s = jnp.concatenate([net.last(rows).reshape(16, -1, 12) for rows in z], 1)
        p = jax.nn.softmax(s / c['temperature'])  # [B, M, K]
        entropy = -(p_plus[:, None] * jnp.log(p)).sum(-1).mean()  # H(p+, p), over all anchors
        mean = p.mean((0, 1))
        of_mean = -(mean * jnp.log(mean)).sum()
        return entropy - c['weight'] * of_mean, (net.stats, jnp.exp(of_mean))

    (value, (new, used)), gradient = oracle.quick(
        jax.value_and_grad(loss, has_aux=True), seen.state.params
    )
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    teacher = seen.state.memory['teacher'] | {'stats': stats}
    oracle.close(seen.memory, {**seen.state.memory, 'stats': new, 'teacher': teacher})
    oracle.close(seen.logs, {'used': used})


def test_the_teacher_follows():
    """Its momentum rises to 1 along a line; the prototypes are of the student alone."""
    seen = oracle.see('msn', **OTHER)
    start = seen.job.fresh()
    student = {net: start.params[net] for net in ('encoder', 'projector')}
    assert not jobs.differing(start.memory['teacher']['params'], student)
    old, new = seen.memory['teacher'], seen.state.params
    for k in range(4):
        m = 0.7 + (1 - 0.7) * k / 4
        state, logs = oracle.after(seen, step=np.int32(k))
        follow = {
            net: jax.tree.map(lambda a, b, m=m: m * a + (1 - m) * b, part, new[net])
            for net, part in old['params'].items()
        }
        oracle.close(state.memory, seen.memory | {'teacher': old | {'params': follow}})
        assert not jobs.differing(state.params, new) and not logs


def test_readouts_are_of_the_teacher():
    seen = oracle.see('msn')
    x, ask = seen.batch['x'], seen.job.method.readouts

    def answers(state):
        net = nets_of(seen)({**state.memory['teacher']['params'], 'last': state.params['last']},
                            state.memory['teacher']['stats'])  # fmt: skip
        h = net.encoder(x)
        expected = {'encode': h, 'assign': net.last(net.projector(h)).argmax(1)}
        return {name: ask[name](jax.random.key(1), state, {'x': x}) for name in ask}, expected

    oracle.close(*oracle.quick(answers, seen.state))
