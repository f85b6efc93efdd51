"""DeepCluster, restated from Caron et al. 2018, arXiv:1807.05520: equation 1, section 3."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

from ssljax import cluster, model

NETS = ('encoder', 'neck')  # head: a linear layer to a score for each cluster


def shuffled(state):
    """Labels that no rule on the index would give."""
    labels = np.random.default_rng(2).integers(0, 8, 64).astype(np.int32)
    return state.remember(labels=labels)


def scores(params, features):
    dense = params['head']['Dense_0']
    return features @ dense['kernel'] + dense['bias']


def see():
    return oracle.see('deepcluster', step=3, state=shuffled)


def test_the_loss():
    """Equation 1, each row weighed by its entry in memory (section 3.3)."""
    seen = see()
    (views,) = seen.views
    assert views.spec == seen.config['view'] and views.out.shape == seen.batch['x'].shape
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    nets, memory, index = seen.nets(*NETS), seen.state.memory, np.asarray(seen.batch['index'])
    labels, weight = memory['labels'][index], memory['weight'][index]

    def loss(params):
        net = nets(params, memory['stats'], train=True)
        logits = scores(params, net.neck(net.encoder(views.out)))  # [B, clusters]
        log_p = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
        value = -(weight * log_p[np.arange(len(index)), labels]).mean()
        return value, (value, net.stats, (logits.argmax(1) == labels).mean())

    gradient, (value, stats, right) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, {'accuracy': right})
    assert 0 < right < 1
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {**memory, 'stats': stats})  # labels and weights stay


@functools.cache
def refreshed():
    """State and metrics after the refresh, and what k-means was asked and answered."""
    seen, asked = see(), []

    def kmeans(key, x, **options):
        labels, centers, _ = cluster.kmeans(key, x, **options)
        out = jnp.where(labels == 5, 4, labels), centers, jnp.int32(7)  # cluster 5 is empty
        asked.append((np.asarray(x), options, jax.device_get(out)))
        return out

    one = seen.job
    with mock.patch('ssljax.methods.deepcluster.kmeans', kmeans):
        state, metrics = one.method.refresh.rule(
            jax.random.key(1), one.placed(seen.state), one.sweep(purpose=model.REFRESH)
        )
    (call,) = asked
    return jax.device_get(state), jax.device_get(metrics), *call


def features(seen, x):
    """What is clustered, of images without a view, by running statistics."""
    net = seen.nets(*NETS)(seen.state.params, seen.state.memory['stats'], train=False)
    return oracle.quick(lambda x: (net.encoder(x), net.neck(net.encoder(x))), x)


def test_what_is_clustered():
    """Section 3.4: PCA to so many dimensions, whitening, length one."""
    seen, (_, _, x, options, _) = see(), refreshed()
    assert options == dict(k=8, rounds=3) and x.shape == (64, 8)
    images = seen.job.train.rows(np.arange(64))['x'] / np.float32(127.5) - 1
    f = np.float64(features(seen, images)[0].reshape(64, -1))
    left, _, _ = np.linalg.svd(f - f.mean(0), full_matrices=False)  # columns of equal length
    expected = left[:, :8] / np.linalg.norm(left[:, :8], axis=1, keepdims=True)
    oracle.close(x @ x.T, expected @ expected.T, 2e-3)  # axes have no sign


def test_the_refresh():
    seen, (after, metrics, _, _, (labels, _, emptied)) = see(), refreshed()
    old, n = seen.state.memory['labels'], 64
    np.testing.assert_array_equal(after.memory['labels'], labels)
    # section 3.3: as if clusters were drawn alike; weights are one on average
    size = np.bincount(labels, minlength=8)
    assert len(set(size)) > 2 and size.min() == 0
    oracle.close(after.memory['weight'], n / ((size > 0).sum() * size[labels]))
    joint = np.array([[np.mean((old == a) & (labels == b)) for b in range(8)] for a in range(8)])
    p, q = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    entropy = [-(r[r > 0] * np.log(r[r > 0])).sum() for r in (p, q)]
    ratio = np.where(joint > 0, joint, 1) / np.where(joint > 0, p * q, 1)
    shared = (joint * np.log(ratio)).sum() / np.sqrt(np.prod(entropy))  # section 4.1
    expected = {'agreement': shared, 'emptied': emptied, 'largest': size.max() / n}
    oracle.close(metrics, expected)


def test_a_refresh_starts_the_head_anew_and_changes_no_other_net():
    seen, (after, *_) = see(), refreshed()
    kept = {**after.params, 'head': seen.state.params['head']}
    assert not jobs.differing(kept, seen.state.params)
    assert not jobs.differing(after.memory['stats'], seen.state.memory['stats'])
    begun, fresh = seen.job.fresh(), after.params['head']['Dense_0']
    for dense in (begun.params['head']['Dense_0'], fresh):
        assert abs(dense['kernel'].std() / 0.01 - 1) < 0.2 and not dense['bias'].any()
    assert np.abs(fresh['kernel'] - begun.params['head']['Dense_0']['kernel']).max() > 0.01
    assert seen.job.method.by_rows == ('labels', 'weight')
    np.testing.assert_array_equal(np.bincount(begun.memory['labels']), np.full(8, 64 // 8))
    assert (np.asarray(begun.memory['weight']) == 1).all()


def test_refreshes_come_at_the_pace_of_epochs():
    when = see().job.method.refresh.when  # 4 steps an epoch
    assert [bool(when(i)) for i in range(6)] == 3 * [True, False]
    when = jobs.job('deepcluster', model__epochs=0.75).method.refresh.when
    assert [bool(when(i)) for i in range(7)] == [i % 3 == 0 for i in range(7)]


def test_readouts():
    seen = see()
    f, after_neck = features(seen, seen.batch['x'])
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    found = oracle.quick(lambda *given: {name: ask[name](*given) for name in ask}, *given)
    oracle.close(found['encode'], f)
    np.testing.assert_array_equal(found['assign'], scores(seen.state.params, after_neck).argmax(1))
