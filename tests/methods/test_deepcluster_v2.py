"""DeepCluster-v2, restated from Caron et al. 2020, arXiv:2006.09882: section 4.1, appendix A.

The centroids of spherical k-means over what the last epoch projected are the classifier of the next
one; several clusterings stand beside each other, of the first and the second view in turn.
"""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax import cluster, model

NETS = ('encoder', 'projector')


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def clean(state, heads=3):
    """Rows of length one, also when the oracle has moved them, and labels that no rule gives."""
    bank, centers = (np.asarray(unit(state.memory[name])) for name in ('bank', 'centers'))
    labels = np.random.default_rng(2).integers(0, 6, (64, heads)).astype(np.int32)
    return state.remember(bank=bank, centers=centers, labels=labels)


OTHER = {'state': functools.partial(clean, heads=2), 'model__heads': 2, 'model__local_views': 3}


@pytest.mark.parametrize('changes', [{}, OTHER])
def test_the_loss_and_the_bank(changes):
    """The negative log of the right center's share, a mean over clusterings and views. The bank
    takes the projections of the global views; nothing flows to centers."""
    seen = oracle.see('deepcluster_v2', step=5, **{'state': clean, **changes})
    heads, local = seen.config['heads'], seen.config['local_views']
    assert [v.spec for v in seen.views] == [seen.config[f'{k}_view'] for k in ('global', 'local')]
    for views, n in zip(seen.views, (2, local), strict=True):
        np.testing.assert_array_equal(views.x, seen.batch['x'])
        assert len(views.out) == 16 * n
    nets, memory, index = seen.nets(*NETS), seen.state.memory, np.asarray(seen.batch['index'])
    labels = memory['labels'][index]  # [16, heads]

    def loss(params):
        net = nets(params, memory['stats'], train=True)
        z = [net.projector(net.encoder(v.out)).reshape(16, -1, 8) for v in seen.views]
        z, terms = unit(jnp.concatenate(z, 1)), []
        for h in range(heads):
            share = jnp.exp(z @ memory['centers'][h].T / 0.2)  # [16, views, clusters]
            share = share / share.sum(-1, keepdims=True)
            terms += [-jnp.log(share[np.arange(16), v, labels[:, h]]) for v in range(2 + local)]
        value = sum(terms).mean() / len(terms)
        return value, (value, net.stats, z)

    gradient, (value, stats, z) = oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)
    oracle.close((seen.value, seen.gradient), (value, gradient))
    bank, z = memory['bank'].copy(), np.asarray(z)
    bank[index] = z[:, :2]
    oracle.close(seen.memory, {**memory, 'stats': stats, 'bank': bank})
    e = np.linalg.eigvalsh(np.cov(z[:, 0].T))
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum()}, 1e-3)


def refreshed(step):
    """What was seen, state and metrics after the refresh, what k-means was asked and answered."""
    seen, asked = oracle.see('deepcluster_v2', step=step, state=clean), []

    def kmeans(key, x, **options):
        labels, centers = cluster.spherical_kmeans(key, x, **options)
        labels = jnp.where(labels == 5, 4, labels)  # cluster 5 is empty
        asked.append((*jax.device_get((jax.random.key_data(key), x, labels, centers)), options))
        return labels, centers

    given = seen.job.placed(seen.state), seen.job.sweep(purpose=model.REFRESH)
    with mock.patch('ssljax.methods.deepcluster_v2.spherical_kmeans', kmeans):
        after = seen.job.method.refresh.rule(jax.random.key(1), *given)
    return seen, *jax.device_get(after), asked


def test_the_refresh_clusters_the_bank():
    """As the authors' code: a clustering for each head, of the two views in turn; no other pass."""
    seen, after, metrics, asked = refreshed(4)
    memory, (keys, rows, labels, centers, options) = seen.state.memory, zip(*asked)
    assert list(options) == 3 * [dict(k=6, rounds=2)] and len({bytes(k) for k in keys}) == 3
    oracle.close(np.stack(rows, 1), memory['bank'][:, [0, 1, 0]], 1e-5)
    labels, centers = np.stack(labels), np.stack(centers)
    oracle.close(after.memory, {**memory, 'labels': labels.T, 'centers': centers})
    oracle.close(after.params, seen.state.params, 1e-7)
    agreement = cluster.agreement(memory['labels'][:, 0], labels[0], k=6)
    oracle.close(metrics, {'agreement': agreement, 'used': len(set(labels[0]))})


def test_the_first_clustering_is_of_whole_images_and_others_come_with_epochs():
    seen, _, _, asked = refreshed(0)
    x = seen.job.train.rows(np.arange(64))['x'] / np.float32(127.5) - 1
    net = seen.nets(*NETS)(seen.state.params, seen.state.memory['stats'], train=False)
    z = oracle.quick(lambda x: unit(net.projector(net.encoder(x))), x)
    for _, rows, *_ in asked:
        oracle.close(rows, z)
    refresh = seen.job.method.refresh
    assert [bool(refresh.when(i)) for i in range(9)] == [i % 4 == 0 for i in range(9)]
    assert set(seen.job.method.by_rows) == {'bank'} and refresh.restarts == ()


def test_readouts():
    seen = oracle.see('deepcluster_v2', step=5, state=clean)
    net = seen.nets(*NETS)(seen.state.params, seen.state.memory['stats'])
    ask, given = seen.job.method.readouts, (jax.random.key(1), seen.state, seen.batch)
    found = oracle.quick(lambda *given: {name: ask[name](*given) for name in ask}, *given)
    centers = seen.state.memory['centers'][0]  # of the first clustering
    told = lambda f: (f, unit(net.projector(f)) @ centers.T)  # noqa: E731
    features, cosines = oracle.quick(lambda x: told(net.encoder(x)), seen.batch['x'])
    oracle.close(found['encode'], features)
    np.testing.assert_array_equal(found['assign'], cosines.argmax(1))
