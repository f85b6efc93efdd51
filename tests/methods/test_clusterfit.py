"""ClusterFit, restated from Yan et al. 2020, arXiv:1912.03330, section 3: cluster, then fit."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

from ssljax import cluster, model


def shuffled(state):
    """Labels that no rule on the index would give."""
    labels = np.random.default_rng(2).integers(0, 8, 64).astype(np.int32)
    return state.remember(labels=labels)


def see():
    return oracle.see('clusterfit', step=3, state=shuffled)


def scores(params, features):
    dense = params['head']['Dense_0']
    return features @ dense['kernel'] + dense['bias']


def test_the_loss():
    """Cross entropy of the cluster's name, every image alike; nothing of the source is in it."""
    seen = see()
    (views,) = seen.views
    assert views.spec == seen.config['view'] and views.out.shape == seen.batch['x'].shape
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    nets, memory, index = seen.nets('encoder'), seen.state.memory, np.asarray(seen.batch['index'])
    labels = memory['labels'][index]

    def loss(params):
        net = nets(params, memory['stats'], train=True)
        logits = scores(params, net.encoder(views.out))
        log_p = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
        value = -log_p[np.arange(len(index)), labels].mean()
        return value, (value, net.stats, (logits.argmax(1) == labels).mean())

    gradient, (value, stats, right) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, {'accuracy': right})
    assert 0 < right < 1
    oracle.close(seen.gradient, gradient)  # that of the source is zero
    oracle.close(seen.memory, {**memory, 'stats': stats})


def of_source(seen, state, x):
    """What the trained net says of images without a view, by its running statistics."""
    source = state.params['source']
    net = seen.nets('source')({'source': source['params']}, {'source': source['stats']})
    return oracle.quick(lambda x: net.source(x).reshape(len(x), -1), x)


@functools.cache
def refreshed():
    """State and metrics after the refresh, and what k-means was asked and answered."""
    seen, asked = see(), []

    def kmeans(key, x, **options):
        labels, centers, _ = cluster.kmeans(key, x, **options)
        out = jnp.where(labels == 5, 4, labels), centers, jnp.int32(7)
        asked.append((np.asarray(x), options, jax.device_get(out)))
        return out

    one = seen.job
    with mock.patch('ssljax.methods.clusterfit.kmeans', kmeans):
        state, metrics = one.method.refresh.rule(
            jax.random.key(1), one.placed(seen.state), one.sweep(purpose=model.REFRESH)
        )
    (call,) = asked
    return jax.device_get(state), jax.device_get(metrics), *call


def test_the_clusters_are_those_of_the_source():
    """Of all training images, once, before the first step; the net that is fitted stays."""
    seen, (after, metrics, x, options, (labels, _, emptied)) = see(), refreshed()
    assert options == dict(k=8, rounds=3)
    images = seen.job.train.rows(np.arange(64))['x'] / np.float32(127.5) - 1
    f = of_source(seen, seen.state, images)
    oracle.close(x, f / np.linalg.norm(f, axis=1, keepdims=True), 1e-3)
    np.testing.assert_array_equal(after.memory['labels'], labels)
    size = np.bincount(labels, minlength=8)
    oracle.close(metrics, {'emptied': emptied, 'largest': size.max() / 64})
    assert not jobs.differing(after.params, seen.state.params)
    assert not jobs.differing(after.memory['stats'], seen.state.memory['stats'])
    when = seen.job.method.refresh.when
    assert [bool(when(i)) for i in range(5)] == [True] + 4 * [False]
    assert seen.job.method.by_rows == ('labels',)


def test_the_source_is_another_net_and_never_moves():
    job = see().job
    (turn,) = job.method.turns.values()
    assert all(turn.holds['source'](k) for k in (0, 1, 1000)) and set(turn.holds) == {'source'}
    start = job.fresh()
    source, own = start.params['source']['params'], start.params['encoder']
    assert source['Conv_1']['kernel'].shape[-1] == 12 != own['Conv_1']['kernel'].shape[-1]
    assert np.abs(source['Conv_0']['kernel'] - own['Conv_0']['kernel']).max() > 0.01
    state, _ = jobs.run(job, 3)
    assert not jobs.differing(jax.device_get(state.params['source']), start.params['source'])
    labels = np.asarray(state.memory['labels'])  # of k-means now, and they stay
    again, _ = jobs.run(job, 1, state)
    np.testing.assert_array_equal(again.memory['labels'], labels)


def test_readouts():
    seen = see()
    x, ask = seen.batch['x'], seen.job.method.readouts
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    f = oracle.quick(net.encoder, x)
    given = (jax.random.key(1), seen.state, {'x': x})
    found = oracle.quick(lambda *given: {name: ask[name](*given) for name in ask}, *given)
    assert set(found) == {'encode', 'encode_source', 'assign'}
    oracle.close(found['encode'], f)
    oracle.close(found['encode_source'].reshape(len(x), -1), of_source(seen, seen.state, x))
    np.testing.assert_array_equal(found['assign'], scores(seen.state.params, f).argmax(1))
