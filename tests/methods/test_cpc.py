"""CPC, restated from van den Oord et al. 2018, arXiv:1807.03748: equations 2 to 4, section 3.2."""

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

WAVES = {
    'data': "{'name': 'tones', 'train': 64, 'validation': 32, 'test': 32}",
    'model__encoder': "{'name': 'time_delay', 'widths': (8, 12), 'kernels': (10, 8),"
    " 'strides': (5, 4), 'norm': 'token'}",
    'model__context': "{'name': 'gru', 'width': 12}",
    'model__view': "{'name': 'identity'}",
    'model__ahead': 3,
    'model__skip': 0,
    'model__features': 'context',
}
ALL = {'model__all_places': True, 'model__skip': 0, 'model__ahead': 3}


def steps(seen):
    return range(seen.config['skip'] + 1, seen.config['skip'] + seen.config['ahead'] + 1)


def told(seen, params, x, **options):
    """Latents z and contexts c, [B, T, columns, D], and the matrices W_k by k; statistics."""
    net = seen.nets('encoder', 'context')(params, seen.state.memory.get('stats', {}), **options)
    z = net.encoder(x)
    c = net.context(z)
    z, c = (h.reshape(*h.shape[:2], -1, h.shape[-1]) for h in (z, c))
    kernel = params['forecast']['kernel']  # [C, steps D]
    matrices = jnp.split(kernel, seen.config['ahead'], axis=1)
    return z, c, dict(zip(steps(seen), matrices, strict=True)), net.stats


def losses(z, c, matrices, all_places):
    """Equation 4 for each step k: z_{t+k} of the same image, against those of the other images at
    the same place; or against all places of all images. With the share of images that are told from
    the others at the same place."""
    found, right = {}, {}
    for k, W in matrices.items():
        prediction, target = c[:, :-k] @ W, z[:, k:]  # [B, T - k, columns, D]
        log_f = jnp.einsum('itjd,ntjd->tjin', prediction, target)  # over images n
        right[k] = (log_f.argmax(-1) == np.arange(len(z))).mean()
        if all_places:
            rows = target.reshape(-1, target.shape[-1])
            log_f = prediction.reshape(rows.shape) @ rows.T  # [N, N]
        own = jnp.diagonal(log_f, axis1=-2, axis2=-1)
        found[k] = -jnp.log(jnp.exp(own) / jnp.exp(log_f).sum(-1)).mean()
    return found, right


@pytest.mark.parametrize('changes', [{}, ALL, WAVES])
def test_the_loss(changes):
    seen = oracle.see('cpc', **changes)
    (views,) = seen.views
    assert views.spec == seen.config['view'] and len(views.out) == len(seen.batch['x'])
    np.testing.assert_array_equal(views.x, seen.batch['x'])

    def loss(params):
        *given, stats = told(seen, params, views.out, train=True)
        found, right = losses(*given, seen.config['all_places'])
        value = sum(found.values()) / len(found)
        return value, (value, found, right, stats)

    gradient, (value, found, right, stats) = oracle.quick(
        jax.grad(loss, has_aux=True), seen.state.params
    )
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)
    assert len(found) == seen.config['ahead']
    if 'stats' in seen.state.memory:
        oracle.close(seen.memory, {'stats': stats})
    oracle.close(seen.logs['chance'], 1 / len(views.out))
    for k, share in right.items():
        oracle.close(seen.logs[f'accuracy_{k}'], share)


def test_features_and_what_is_foreseen():
    """foresee: of each place its latent, and what was predicted of it from k places before."""
    for changes in ({}, WAVES):
        seen = oracle.see('cpc', **changes)
        x, ask = seen.batch['x'], seen.job.method.readouts
        z, c, W, _ = oracle.quick(lambda x, s=seen: told(s, s.state.params, x), x)
        features = c if seen.config['features'] == 'context' else z
        found = oracle.quick(
            lambda s, x=x, ask=ask: {k: f(jax.random.key(0), s, {'x': x}) for k, f in ask.items()},
            seen.state,
        )
        oracle.close(found['encode'], features.mean((1, 2)))
        expected = np.zeros((*z.shape[:3], max(W) + 1, z.shape[-1]), np.float32)
        expected[..., 0, :] = z
        for k in W:
            expected[:, k:, :, k] = c[:, :-k] @ W[k]
        oracle.close(found['foresee'].reshape(expected.shape), expected)


def test_what_lies_behind_the_end_of_a_row_counts_for_nothing():
    """A place is there if it begins before the row ends: as what is predicted, as one of the others
    that it is told from, and as a feature."""
    seen = oracle.see('cpc', **WAVES)
    x, method = seen.batch['x'], seen.job.method
    whole, key = x.shape[1], jax.random.key(0)
    length = np.linspace(whole // 2, whole, len(x)).astype(np.int32)
    batch = {**seen.batch, 'length': length}
    z, c, W, _ = oracle.quick(lambda x: told(seen, seen.state.params, x), x)
    T = z.shape[1]
    there = np.array([[t / T < n / whole for t in range(T)] for n in length])
    assert there.all(1).any() and (there.sum(1) < T).sum() > 4
    values, shares = [], {}
    for k, matrix in W.items():
        log_f = np.einsum('itd,ntd->tin', c[:, :-k, 0] @ matrix, z[:, k:, 0])
        terms, right = [], []
        for i, t in np.argwhere(there[:, k:]):
            others = np.flatnonzero(there[:, t + k])
            f = np.exp(np.float64(log_f[t, i]))
            terms.append(-np.log(f[i] / f[others].sum()))
            right.append(f[i] == f[others].max())
        values.append(np.mean(terms))
        shares[k] = np.mean(right)
    value, _, logs = oracle.quick(lambda s: method.turns['net'].loss(key, s, batch), seen.state)
    oracle.close(value, np.mean(values))
    for k, share in shares.items():
        oracle.close(logs[f'accuracy_{k}'], share)
    ask = method.readouts
    features, foreseen = oracle.quick(
        lambda s: (ask['encode'](key, s, batch), ask['foresee'](key, s, batch)), seen.state
    )
    oracle.close(features, np.stack([c[i, there[i], 0].mean(0) for i in range(len(x))]))
    assert not foreseen[~there].any() and foreseen[there].any((1, 2)).all()


def test_what_is_predicted_of_a_row_has_not_seen_the_rows_between():
    """Patches of 12 pixels, 4 apart: pixels from 16 on belong to no patch of the first two rows."""
    seen = oracle.see('cpc')
    foresee = seen.job.method.readouts['foresee']
    x = np.asarray(seen.batch['x'])
    cut = np.where(np.arange(32)[:, None, None] < 16, x, 0)
    a, b = (
        oracle.quick(lambda s, x=x: foresee(jax.random.key(0), s, {'x': x}), seen.state)
        for x in (x, cut)
    )
    a, b = (h.reshape(len(x), 6, 6, -1, h.shape[-1]) for h in (a, b))
    for k in steps(seen):
        assert a[:, k : k + 2, :, k].any()
        np.testing.assert_array_equal(a[:, k : k + 2, :, k], b[:, k : k + 2, :, k])
        assert np.abs(a - b)[:, k + 2 :, :, k].max() > 1e-3
