"""OBoW, restated from Gidaris et al. 2020, arXiv:2012.11552: section 3."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
import pytest

OTHER = {'model__views': 1, 'model__local_views': 3, 'model__border': 0, 'model__side': 3,
         'model__sharpness': 5.0, 'model__kappa': 4.0, 'model__vocabulary': 24}  # fmt: skip


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def positive(state):
    """A mean square distance is above zero, also when the oracle has moved it."""
    return state.remember(distance=1.3 + 0 * state.memory['distance'])


def maps(seen):
    """The teacher's features of places, [16, h, w, C], without those at the edge; it normalizes by
    its own batch."""
    memory, border = seen.state.memory, seen.config['border']
    teacher = seen.nets('encoder')(memory['teacher'], memory['stats'], train=True)
    f = oracle.quick(lambda x: teacher.encoder(x, method='places'), seen.views[0].out)
    return f[:, border : f.shape[1] - border, border : f.shape[2] - border]


def squares(f, words):
    """|f_u - v_k|^2: [16, places, K]."""
    f = f.reshape(len(f), -1, 1, f.shape[-1])
    return np.square(f - words).sum(-1)


def bags(d, delta):
    """Section 3.1: soft assignments of places, their maximum over the places, with the sum one."""
    q = np.exp(-(d - d.min(-1, keepdims=True)) / delta)
    y = (q / q.sum(-1, keepdims=True)).max(1)
    return y / y.sum(-1, keepdims=True)


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss(changes):
    seen = oracle.see('obow', state=positive, **changes)
    memory, config = seen.state.memory, seen.config
    whole, *crops = seen.views
    assert [v.spec for v in seen.views] == [config[f'{k}view'] for k in ('whole_', '', 'local_')]
    counts = config['views'], config['local_views']
    for drawn, n in zip(seen.views, (1, *counts), strict=True):
        np.testing.assert_array_equal(drawn.x, seen.batch['x'])
        assert len(drawn.out) == n * len(drawn.x)
    words = memory['vocabulary']
    d = squares(maps(seen), words)
    distance = 0.99 * memory['distance'] + 0.01 * d.min(-1).mean()
    bag = bags(d, distance / config['sharpness'])  # the new one
    nets = seen.nets('encoder', 'generator')

    def loss(params):
        net = nets(params, memory['stats'], train=True)
        w = config['kappa'] * unit(net.generator(unit(words)))  # section 3.3
        value = 0  # each size of crops is one batch, and has a loss of its own
        for drawn, n in zip(crops, counts, strict=True):
            logits = (net.encoder(drawn.out) @ w.T).reshape(-1, n, len(words))
            value -= (bag[:, None] * jax.nn.log_softmax(logits)).sum(-1).mean()
        return value, (value, net.stats)

    gradient, (value, stats) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    kept = {name: seen.memory[name] for name in ('stats', 'distance', 'teacher')}
    oracle.close(kept, {'stats': stats, 'distance': distance, 'teacher': memory['teacher']})
    p = bag.mean(0)
    oracle.close(seen.logs, {'words': np.exp(-(p * np.log(p)).sum())}, 1e-3)


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_a_new_word_is_the_mean_of_a_square_of_the_teachers_map(changes):
    """Section 3.2: one word of each image; first in, first out."""
    seen = oracle.see('obow', state=positive, **changes)
    (turn,), side, state = seen.job.method.turns.values(), seen.config['side'], seen.state
    f, K = maps(seen), seen.config['vocabulary']
    h, w = (size - side + 1 for size in f.shape[1:3])
    places = [f[:, a : a + side, b : b + side].mean((1, 2)) for a in range(h) for b in range(w)]
    places = np.stack(places, 1)  # [16, h * w, C]
    among = np.abs(places[:, :, None] - seen.memory['vocabulary']).max(-1) < 1e-5
    assert (among.sum((1, 2)) == 1).all()  # of each image one
    assert len(set(among.any(2).argmax(1))) > 2  # images have squares of their own
    same = np.abs(seen.memory['vocabulary'][:, None] - state.memory['vocabulary']).max(-1) == 0
    assert same.any(1).sum() == K - 16 and seen.memory['writes'] == state.memory['writes'] + 1
    ask = jax.jit(lambda key, state: turn.loss(key, state, seen.batch)[1])
    rows = lambda state: {row.tobytes() for row in np.asarray(state.memory['vocabulary'])}  # noqa: E731
    born = [rows(state)]
    for k in range(3):
        after = state.replace(memory=ask(jax.random.key(k), state))
        born.append(rows(after) - rows(state))
        state = after
    left = [len(words & rows(state)) for words in born]
    assert left == [max(K - 48, 0), *(min(max(K - 16 * k, 0), 16) for k in (2, 1, 0))]


def test_the_teacher_follows():
    """Section 3.1: a slow average of the student's encoder, of a momentum that rises to 1."""
    seen = oracle.see('obow', state=positive)
    start, new = seen.job.fresh(), seen.state.params
    assert not jobs.differing(
        start.memory['teacher'], {name: start.params[name] for name in start.memory['teacher']}
    )
    assert set(start.memory['teacher']) == {'encoder'}
    for k in range(4):
        m = 1 - (1 - 0.9) * (np.cos(np.pi * k / 4) + 1) / 2
        state, logs = oracle.after(seen, step=np.int32(k))
        follow = jax.tree.map(
            lambda a, b, m=m: m * a + (1 - m) * b,
            seen.memory['teacher'],
            {'encoder': new['encoder']},
        )
        oracle.close(state.memory, seen.memory | {'teacher': follow})
        assert not jobs.differing(state.params, new) and not logs


def test_features_are_those_of_the_student_with_stored_statistics():
    seen = oracle.see('obow', state=positive)
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
