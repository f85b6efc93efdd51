"""NAT, restated from Bojanowski & Joulin 2017, arXiv:1704.05310: equations 2 to 5, algorithm 1."""

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import oracle
from scipy.optimize import linear_sum_assignment


def unit(z):
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


def clean(state):
    """Targets are points of a sphere, also when the oracle has moved them."""
    return state.remember(bank=np.asarray(unit(state.memory['bank'])))


def see(step=1, **changes):
    return oracle.see('nat', step=step, state=clean, **changes)


def restated(seen, matched):
    """Gradient, (value, statistics, z), and the bank with the targets where they are now."""
    memory, index = seen.state.memory, np.asarray(seen.batch['index'])
    nets, (views,) = seen.nets('encoder', 'projector'), seen.views

    def project(params):
        net = nets(params, memory['stats'], train=True)
        return unit(net.projector(net.encoder(views.out))), net.stats

    z, _ = oracle.quick(project, seen.state.params)
    bank, targets = memory['bank'].copy(), memory['bank'][index]
    order = np.arange(len(index))
    if matched:  # equation 5, of the batch's images and the targets that are theirs
        _, order = linear_sum_assignment(-np.float64(z) @ np.float64(targets).T)
        bank[index] = targets[order]

    def loss(params):
        z, stats = project(params)
        value = jnp.square(z - targets[order]).sum(1).mean() / 2  # equation 2, a mean over images
        return value, (value, stats, z)

    return *oracle.quick(jax.grad(loss, has_aux=True), seen.state.params), bank, order


def check(seen, matched):
    (views,) = seen.views
    assert views.spec == seen.config['view'] and views.out.shape == seen.batch['x'].shape
    np.testing.assert_array_equal(views.x, seen.batch['x'])
    gradient, (value, stats, z), bank, order = restated(seen, matched)
    oracle.close(seen.value, value)
    oracle.close(seen.gradient, gradient)  # none by way of the targets, or of who has which
    oracle.close(seen.memory, {'stats': stats, 'bank': bank})
    e = np.linalg.eigvalsh(np.cov(np.asarray(z).T))
    share = np.mean(order != np.arange(len(order)))  # of images that have another target now
    oracle.close(seen.logs, {'rank': e.sum() ** 2 / np.square(e).sum(), 'moved': share}, 1e-3)
    return share


def test_images_and_targets_are_matched_and_then_pulled_together():
    seen = see()
    assert len(set(np.asarray(seen.batch['index']))) == 16
    assert check(seen, True) > 0.5


def test_in_other_epochs_they_are_only_pulled_together():
    """Section 3.3: P is updated every so many epochs; here every second one of three steps."""
    assert check(see(4), False) == 0


def test_the_pace_of_matching():
    for epochs, expected in ((2, [1, 1, 1, 0, 0, 0, 1]), (1, [1] * 7)):
        found = []
        for step in range(7):
            seen = see(step, model__epochs=epochs)
            found.append(bool(jobs.differing(seen.memory['bank'], seen.state.memory['bank'])))
        assert found == [bool(one) for one in expected]


def test_targets_are_fixed_and_each_has_one_image():
    """Algorithm 1: P stays a permutation, also where a batch has an image twice; C never moves."""
    job = jobs.job('nat', model__epochs=1)
    assert job.method.by_rows == ('bank',)
    state = job.fresh()
    rows = np.asarray(state.memory['bank'])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert np.abs(rows.mean(0)).max() < 0.3 and (rows @ rows.T - np.eye(60)).max() < 0.9999
    twice = 0
    for k in range(8):
        index = np.asarray(jobs.batch(job, k)['index'])
        twice += len(set(index)) < 16
        before = np.asarray(state.memory['bank'])
        state, _ = jobs.run(job, 1, state)
        after = np.asarray(state.memory['bank'])
        assert {row.tobytes() for row in after} == {row.tobytes() for row in rows}
        others = np.setdiff1d(np.arange(60), index)
        np.testing.assert_array_equal(after[others], before[others])
    assert twice


def test_images_that_a_batch_has_twice_have_one_target_each():
    seen = see()
    index = np.asarray(seen.batch['index']).copy()
    index[8:] = index[:8]
    loss = seen.job.method.turns['net'].loss
    given = (jax.random.key(1), seen.state, {**seen.batch, 'index': index})
    _, memory, _ = oracle.quick(loss, *given)
    old, new = np.asarray(seen.state.memory['bank']), np.asarray(memory['bank'])
    assert (old != new).any(1).sum() > 2
    assert sorted(row.tobytes() for row in new) == sorted(row.tobytes() for row in old)


def test_features_are_of_the_encoder_with_stored_statistics():
    seen = see()
    encode, x = seen.job.method.readouts['encode'], seen.batch['x']
    net = seen.nets('encoder')(seen.state.params, seen.state.memory['stats'])
    found = oracle.quick(lambda s: encode(jax.random.key(1), s, {'x': x}), seen.state)
    oracle.close(found, oracle.quick(net.encoder, x))
