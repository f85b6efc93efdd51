"""W-MSE, restated from Ermolov et al. 2020, arXiv:2007.06346: equations 4 to 6, and section 3.1's
parts of a batch, in which features are whitened."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

from ssljax.names import Mistake

# few enough rows to try every split of a batch: 35, or 630 pairs of splits
SMALL = {'batch': 8, 'model__part': 4, 'model__views': 2,
         'model__projector': "{'name': 'mlp', 'dims': (16, 2), 'norm': 'batch'}"}  # fmt: skip
WHOLE = {'model__part': 16, 'model__partitions': 1}


def whitened(v, shrinkage):
    """W (v - m) with W^T W the inverse of the covariance, W from its Cholesky factor."""
    centered = v - v.mean(0)
    covariance = centered.T @ centered / (len(v) - 1)
    covariance = (1 - shrinkage) * covariance + shrinkage * jnp.eye(v.shape[1])
    return jnp.linalg.solve(jnp.linalg.cholesky(covariance), centered.T).T


def mse(z, rows, shrinkage):
    """Of z [B, d, D]: the sum over these rows of the mean distance of two views, equation 4."""
    w = [whitened(z[rows, i], shrinkage) for i in range(z.shape[1])]
    w = [v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in w]
    pairs = list(itertools.combinations(w, 2))
    return sum(jnp.square(a - b).sum() for a, b in pairs) / len(pairs)


def loss_of(seen, splits):
    """The gradient, and value and statistics; splits: of each partition, its parts."""
    nets, (views,) = seen.nets('encoder', 'projector'), seen.views

    def loss(params):
        net = nets(params, seen.state.memory['stats'], train=True)
        z = net.projector(net.encoder(views.out))
        z = z.reshape(len(seen.batch['x']), seen.config['views'], -1)
        sums = [
            mse(z, np.array(rows), seen.config['shrinkage']) for split in splits for rows in split
        ]
        value = sum(sums) / len(splits) / len(z)
        return value, (value, net.stats, z)

    return oracle.quick(jax.grad(loss, has_aux=True), seen.state.params)


def check(seen, splits):
    (views,) = seen.views
    assert views.spec == seen.config['view']
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    gradient, (value, stats, z) = loss_of(seen, splits)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient, 1e-3)
    oracle.close(seen.memory, {'stats': stats})
    return z


@pytest.mark.parametrize('changes', [WHOLE, WHOLE | {'model__shrinkage': 0.3, 'model__views': 2}])
def test_the_loss_of_a_batch_that_is_one_part(changes):
    """All pairs of views count alike; then it does not matter in which order rows were drawn."""
    seen = oracle.see('w_mse', **changes)
    z = check(seen, [[range(16)]])
    u = z[:, 0] / np.linalg.norm(z[:, 0], axis=1, keepdims=True)
    e = np.linalg.eigvalsh(np.cov(u.T))
    w = whitened(z[:, 0], seen.config['shrinkage'])
    far = np.abs(w.T @ w / 15 - np.eye(w.shape[1])).max()  # from white, by what was shrunk
    rank = e.sum() ** 2 / np.square(e).sum()
    oracle.close(seen.logs, {'rank': rank, 'not_white': far}, 1e-2)


@pytest.mark.parametrize('partitions', [1, 2])
def test_parts_are_drawn_and_the_same_in_all_views(partitions):
    """Of all ways to cut the batch, one explains value and gradient; for two partitions, two."""
    seen = oracle.see('w_mse', **SMALL, model__partitions=partitions)
    (views,) = seen.views
    net = seen.nets('encoder', 'projector')(
        seen.state.params, seen.state.memory['stats'], train=True
    )
    z = oracle.quick(lambda x: net.projector(net.encoder(x)), views.out).reshape(8, 2, 2)
    first = [(0, *rest) for rest in itertools.combinations(range(1, 8), 3)]
    cuts = [(rows, tuple(set(range(8)) - set(rows))) for rows in first]
    sums = oracle.quick(
        lambda z: jax.vmap(lambda rows: mse(z, rows, seen.config['shrinkage']))(
            jnp.array(cuts).reshape(-1, 4)
        ),
        z,
    )
    values = sums.reshape(-1, 2).sum(1) / 8
    chosen = itertools.combinations_with_replacement(range(35), partitions)
    best = min(chosen, key=lambda c: abs(values[list(c)].mean() - seen.value))
    check(seen, [cuts[i] for i in best])
    assert len(set(best)) == partitions  # each partition is drawn anew
    if partitions == 1:  # and at each step
        later = oracle.see('w_mse', **SMALL, model__partitions=1, step=2)
        assert abs(later.value - seen.value) > 1e-4


def test_features_that_a_linear_map_changes_cost_the_same():
    """Whitening takes out a scale: no collapse to a point makes the loss small (section 3)."""

    def larger(state):
        layers = state.params['projector']
        last = jax.tree.map(lambda leaf: 5 * leaf, layers['Dense_1'])
        return state.replace(params=state.params | {'projector': layers | {'Dense_1': last}})

    exact = WHOLE | {'model__shrinkage': 1e-6}
    whole, scaled = oracle.see('w_mse', **exact), oracle.see('w_mse', **exact, state=larger)
    oracle.close(scaled.value, whole.value, 1e-2)
    assert 0.01 < whole.value < 4


def test_features_are_those_before_the_projection_with_stored_statistics():
    seen = oracle.see('w_mse', **WHOLE)
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))


def test_parts_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(Mistake, match='model.part=5 does not divide the batch of 16'):
        oracle.see('w_mse', model__part=5)
