"""DeeperCluster, restated from Caron et al. 2019, arXiv:1905.01278: section 3.2 and equation 5."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle

from ssljax import cluster, model

NETS = ('encoder', 'neck')
GROUPS, CLUSTERS = 2, 5  # m and k


def shuffled(state):
    """Groups, and clusters within them, that no rule on the index would give."""
    random = np.random.default_rng(2)
    groups, labels = (random.integers(0, n, 64).astype(np.int32) for n in (GROUPS, CLUSTERS))
    return state.remember(groups=groups, labels=labels)


def see():
    return oracle.see('deepercluster', step=3, state=shuffled)


def dense(params, name, x):
    layer = params[name]['Dense_0']
    return x @ layer['kernel'] + layer['bias']


def turned(seen):
    """What the encoder was given, [B * n, ...], and by how many quarter turns each was turned."""
    (views,) = seen.views
    given = next(call.args[0] for call in seen.calls if call.net == 'encoder')
    n = len(given) // len(views.out)
    ways = np.stack([np.rot90(views.out, k, (1, 2)) for k in range(4)])  # [4, B, ...]
    apart = np.abs(ways.repeat(n, 1) - given).max((2, 3, 4))
    assert (apart.min(0) < 1e-5).all() and (np.sort(apart, 0)[1] > 1e-3).all()
    return given, apart.argmin(0), n


def cross_entropy(logits, label):
    log_p = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
    return -log_p[np.arange(len(label)), label]


def test_the_loss():
    """Equation 5: the super-class of an image, its group and its turn in one, and its cluster by
    the head of that super-class alone. Both weigh what the image would if groups, and clusters
    within one, were drawn alike, since it is the image that is drawn."""
    seen = see()
    (views,) = seen.views
    assert views.spec == seen.config['view'] and len(views.out) == len(seen.batch['x'])
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    x, turn, n = turned(seen)
    assert len(set(turn)) == 4
    nets, memory = seen.nets(*NETS), seen.state.memory
    index = np.asarray(seen.batch['index']).repeat(n)
    group, label, weight = (memory[name][index] for name in ('groups', 'labels', 'weight'))
    y = group * 4 + turn

    def loss(params):
        net = nets(params, memory['stats'], train=True)
        f = net.neck(net.encoder(x))
        above = dense(params, 'super_head', f)  # V f: [B, 4 m]
        below = dense(params, 'sub_head', f).reshape(len(x), 4 * GROUPS, CLUSTERS)
        below = below[np.arange(len(x)), y]  # W_y f: [B, k]
        value = (weight * (cross_entropy(above, y) + cross_entropy(below, label))).mean()
        logs = {
            'super_accuracy': (above.argmax(1) == y).mean(),
            'turn_accuracy': (above.argmax(1) % 4 == turn).mean(),
            'sub_accuracy': (below.argmax(1) == label).mean(),
        }
        return value, (value, net.stats, logs)

    gradient, (value, stats, logs) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close(seen.value, value)
    oracle.close(seen.logs, logs)
    oracle.close(seen.gradient, gradient)
    oracle.close(seen.memory, {**memory, 'stats': stats})


@functools.cache
def refreshed():
    """State and metrics after the refresh, and all that k-means was asked and answered."""
    seen, asked = see(), []

    def kmeans(key, x, **options):
        labels, centers, _ = cluster.kmeans(key, x, **options)
        if len(asked) == 1:
            labels = jnp.where(labels == 3, 2, labels)  # cluster 3 of the first group is empty
        out = labels, centers, jnp.int32(7)
        asked.append((np.asarray(x), options, jax.device_get(out)))
        return out

    one = seen.job
    with mock.patch('ssljax.methods.deepercluster.kmeans', kmeans):
        state, metrics = one.method.refresh.rule(
            jax.random.key(1), one.placed(seen.state), one.sweep(purpose=model.REFRESH)
        )
    return jax.device_get(state), jax.device_get(metrics), asked


def features(seen, x):
    """Of images without a view, by running statistics."""
    net = seen.nets(*NETS)(seen.state.params, seen.state.memory['stats'])
    return oracle.quick(lambda x: (net.encoder(x), net.neck(net.encoder(x))), x)


def test_groups_are_clusters_of_all_and_clusters_are_of_each_group():
    """Section 3.2, of whitened features: first m clusters, then k within each of them."""
    seen, (after, _, (first, *others)) = see(), refreshed()
    x, options, (groups, _, _) = first
    assert options == dict(k=GROUPS, rounds=3) and x.shape == (64, 8) and len(others) == GROUPS
    images = seen.job.train.rows(np.arange(64))['x'] / np.float32(127.5) - 1
    f = np.float64(features(seen, images)[0].reshape(64, -1))
    left, _, _ = np.linalg.svd(f - f.mean(0), full_matrices=False)
    expected = left[:, :8] / np.linalg.norm(left[:, :8], axis=1, keepdims=True)
    oracle.close(x @ x.T, expected @ expected.T, 2e-3)  # axes have no sign
    np.testing.assert_array_equal(after.memory['groups'], groups)
    assert len(set(groups)) == GROUPS
    for g, (again, options, (labels, _, _)) in enumerate(others):
        where = np.asarray(options.pop('where'))
        assert options == dict(k=CLUSTERS, rounds=3)
        np.testing.assert_array_equal(again, x)
        np.testing.assert_array_equal(where, groups == g)
        np.testing.assert_array_equal(after.memory['labels'][where], labels[where])


def test_the_refresh():
    """As if groups were drawn alike, and then the clusters of one that have rows; the agreement is
    that of the groups in two rounds."""
    seen, (after, metrics, asked) = see(), refreshed()
    groups, labels = after.memory['groups'], after.memory['labels']
    size = np.zeros((GROUPS, CLUSTERS))
    np.add.at(size, (groups, labels), 1)
    used = (size > 0).sum(1)
    assert len(set(used)) > 1 and len(set(size.ravel())) > 2
    oracle.close(after.memory['weight'], 64 / (GROUPS * used[groups] * size[groups, labels]))
    joint = np.zeros((GROUPS, GROUPS))
    np.add.at(joint, (seen.state.memory['groups'], groups), 1 / 64)
    p, q = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    entropy = [-(r * np.log(r)).sum() for r in (p, q)]
    shared = (joint * np.log(joint / (p * q))).sum() / np.sqrt(np.prod(entropy))
    emptied = sum(out[2] for _, _, out in asked)
    expected = {'agreement': shared, 'emptied': emptied, 'largest': size.max() / 64}
    oracle.close(metrics, expected, 1e-3)


def test_a_refresh_starts_both_heads_anew_and_changes_no_other_net():
    seen, (after, *_) = see(), refreshed()
    heads = ('super_head', 'sub_head')
    kept = {**after.params, **{name: seen.state.params[name] for name in heads}}
    assert not jobs.differing(kept, seen.state.params)
    assert not jobs.differing(after.memory['stats'], seen.state.memory['stats'])
    begun = seen.job.fresh()
    for name in heads:
        old, new = (params[name]['Dense_0'] for params in (begun.params, after.params))
        for layer in (old, new):
            assert abs(layer['kernel'].std() / 0.01 - 1) < 0.2 and not layer['bias'].any()
        assert np.abs(new['kernel'] - old['kernel']).max() > 0.01
    when = seen.job.method.refresh.when  # 4 steps an epoch, twice an epoch
    assert [bool(when(i)) for i in range(4)] == [True, False] * 2
    assert seen.job.method.by_rows == ('groups', 'labels', 'weight')


def test_readouts():
    """A cluster, named by its group and its place there, of the image as it stands."""
    seen = see()
    f, after_neck = features(seen, seen.batch['x'])
    above = dense(seen.state.params, 'super_head', after_neck)
    bias = np.array(seen.state.params['super_head']['Dense_0']['bias'])
    bias[4] += np.median(above[:, 0] - above[:, 4])  # images of both groups
    head = seen.state.params['super_head']['Dense_0'] | {'bias': bias}
    params = seen.state.params | {'super_head': {'Dense_0': head}}
    seen = seen._replace(state=seen.state.replace(params=params))
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    found = oracle.quick(lambda *given: {name: ask[name](*given) for name in ask}, *given)
    oracle.close(found['encode'], f)
    above = dense(seen.state.params, 'super_head', after_neck)
    below = dense(seen.state.params, 'sub_head', after_neck).reshape(-1, 4 * GROUPS, CLUSTERS)
    group = above.reshape(-1, GROUPS, 4)[:, :, 0].argmax(1)
    assert set(group.tolist()) == {0, 1}
    label = below[np.arange(len(f)), 4 * group].argmax(1)
    np.testing.assert_array_equal(found['assign'], group * CLUSTERS + label)
