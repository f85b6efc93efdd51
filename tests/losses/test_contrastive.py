"""Contrastive losses: values by hand, limits, symmetries, and one loss as a case of another.

That each equals its paper, with its gradient and on any mesh, is shown in test_proofs.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.losses import (
    clip,
    decoupled,
    decoupled_weighted,
    info_nce,
    margin_pair,
    moco,
    moco_v3,
    nt_xent,
    siglip,
    sup_con,
    triplet,
)


def rows(n=6, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(2, n, d))


each = pytest.mark.parametrize('loss', [nt_xent, info_nce, decoupled, clip, siglip])


def test_by_hand():
    # orthogonal examples whose views agree; of the three others one has cosine 1 and two have 0
    z = jnp.eye(2)
    np.testing.assert_allclose(nt_xent(z, z, temperature=1.0), np.log(np.e + 2) - 1, rtol=1e-6)
    np.testing.assert_allclose(info_nce(z, z, temperature=1.0), np.log(np.e + 1) - 1, rtol=1e-6)
    np.testing.assert_allclose(decoupled(z, z, temperature=1.0), np.log(2) - 1, rtol=1e-6)
    np.testing.assert_allclose(clip(z, z, scale=1.0), np.log(np.e + 1) - 1, rtol=1e-6)
    found = siglip(z, z, scale=1.0, bias=-2.0)  # the bias is that of both pairs
    np.testing.assert_allclose(found, np.log1p(np.e) + np.log1p(np.exp(-2)), rtol=1e-6)
    two = jnp.stack([z, z], 1)
    np.testing.assert_allclose(
        sup_con(two, jnp.array([0, 0]), temperature=1.0), np.log(np.e + 2) - 1 / 3, rtol=1e-6
    )


def test_distances_by_hand():
    near, far = jnp.array([[0.0, 0.0]]), jnp.array([[0.3, 0.4]])  # 0.5 apart
    same, other = jnp.array([True]), jnp.array([False])
    np.testing.assert_allclose(margin_pair(near, far, same), 0.125, rtol=1e-6)
    np.testing.assert_allclose(margin_pair(near, far, other), 0.125, rtol=1e-6)
    np.testing.assert_allclose(margin_pair(near, far, other, margin=0.4), 0, atol=1e-12)
    np.testing.assert_allclose(triplet(near, near, far), 0, atol=1e-7)  # 0.25 nearer, 0.2 asked
    np.testing.assert_allclose(triplet(near, far, near), 0.45, rtol=1e-6)


@pytest.mark.parametrize('distance', [0.0, 1e-7, 1e-5])
def test_pairs_that_touch_are_pushed_less_than_those_further_apart(distance):
    """Within about 1e-6 the slope falls to zero, where it has no direction."""
    z, other = jnp.array([[distance, 0.0]]), jnp.zeros((1, 2))
    value, grad = jax.value_and_grad(lambda z: margin_pair(z, other, jnp.array([False])).sum())(z)
    np.testing.assert_allclose(value, 0.5, rtol=1e-4)
    slope = -distance / np.sqrt(distance**2 + 1e-12)
    np.testing.assert_allclose(grad, [[slope, 0]], rtol=1e-3)


def test_defaults_are_the_papers():
    z1, z2 = rows()
    np.testing.assert_array_equal(nt_xent(z1, z2), nt_xent(z1, z2, temperature=0.5))
    np.testing.assert_array_equal(info_nce(z1, z2), info_nce(z1, z2, temperature=0.07))
    np.testing.assert_allclose(clip(z1, z2), clip(z1, z2, scale=1 / 0.07))
    np.testing.assert_array_equal(siglip(z1, z2), siglip(z1, z2, scale=10.0, bias=-10.0))


@pytest.mark.parametrize('n', [3])
def test_nothing_told_apart_costs_the_log_of_the_choices(n):
    z, queue = jnp.ones((n, 3)), jnp.ones((9, 3))
    close = dict(rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nt_xent(z, z), np.log(2 * n - 1), **close)
    np.testing.assert_allclose(info_nce(z, z), np.log(n), **close)
    np.testing.assert_allclose(clip(z, z), np.log(n), **close)
    np.testing.assert_allclose(info_nce(z, z, negatives=queue), np.log(n + 9), **close)
    np.testing.assert_allclose(moco(z, z, queue), np.log(10), **close)
    two = jnp.stack([z, z], 1)
    np.testing.assert_allclose(sup_con(two, jnp.zeros(n, int)), np.log(2 * n - 1), **close)
    np.testing.assert_allclose(decoupled(z, z), np.log(2 * n - 2), **close)


@each
def test_order_and_length_of_rows_mean_nothing(loss):
    z1, z2 = rows()
    random = np.random.default_rng(1)
    order, value = random.permutation(len(z1)), loss(z1, z2)
    np.testing.assert_allclose(loss(z1[order], z2[order]), value[order], rtol=1e-5, atol=1e-5)
    lengths = np.exp(random.normal(size=(len(z1), 1)))
    np.testing.assert_allclose(loss(z1 * lengths, z2), value, rtol=1e-5, atol=1e-5)
    turn = np.linalg.qr(random.normal(size=(5, 5)))[0]
    np.testing.assert_allclose(loss(z1 @ turn, z2 @ turn), value, rtol=1e-4, atol=1e-5)


def test_who_may_exchange_views():
    z1, z2 = rows()
    for loss in (nt_xent, decoupled, clip):
        np.testing.assert_allclose(loss(z1, z2), loss(z2, z1), rtol=1e-6)
    assert np.abs(info_nce(z1, z2) - info_nce(z2, z1)).max() > 0.1
    there, back = info_nce(z1, z2), info_nce(z2, z1)
    np.testing.assert_allclose(info_nce(z1, z2, symmetric=True), (there + back) / 2, rtol=1e-6)


@pytest.mark.parametrize('loss', [nt_xent, info_nce])
def test_finite_when_cold_or_of_odd_lengths(loss):
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in rows())
    slopes = jax.jit(jax.value_and_grad(lambda z, t: loss(*z, temperature=t).mean()))
    for a, b, t in ((z1, z2, 1e-4), (z1 * 1e-15, z2 * 1e15, 0.5), (0 * z1, z2, 0.5)):
        value, grads = slopes((a, b), t)
        assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads)


def test_nt_xent_is_optaxs():
    """optax stacks the views and averages all anchors, with cosines of its own."""
    z1, z2 = (jnp.asarray(z, jnp.float32) for z in rows())
    labels = jnp.tile(jnp.arange(6), 2)
    theirs = optax.losses.ntxent(jnp.concatenate([z1, z2]), labels, temperature=0.5)
    np.testing.assert_allclose(nt_xent(z1, z2).mean(), theirs, rtol=1e-5)


def test_triplet_is_optaxs():
    a, p = rows()
    n = rows(seed=1)[0]
    theirs = optax.losses.triplet_margin_loss(a, p, n, margin=0.2)
    lengths = [np.linalg.norm(a - x, axis=1) for x in (p, n)]  # optax does not square them
    np.testing.assert_allclose(theirs, np.maximum(lengths[0] - lengths[1] + 0.2, 0), rtol=1e-4)
    squares = lengths[0] ** 2 - lengths[1] ** 2
    np.testing.assert_allclose(triplet(a, p, n), np.maximum(squares + 0.2, 0), rtol=1e-5)


def test_supervised_with_a_class_per_example_is_nt_xent():
    z1, z2 = rows()
    found = sup_con(np.stack([z1, z2], 1), np.arange(6), temperature=0.3)
    np.testing.assert_allclose(found, nt_xent(z1, z2, temperature=0.3), rtol=1e-5)


def test_supervised_without_positives_says_nothing():
    z, labels = rows()[0][:, None], np.array([0, 0, 1, 2, 3, 4])  # one view; four are alone
    value, grad = jax.value_and_grad(lambda z: sup_con(z, labels)[2:].sum())(jnp.asarray(z))
    assert value == 0 and not grad.any()
    assert (sup_con(z, labels)[:2] > 0).all()


def test_the_positive_in_the_denominator_is_all_that_decoupled_leaves_out():
    z, _ = rows()
    alone = decoupled(z, z, temperature=0.3)  # equal views: both anchors have one value
    np.testing.assert_allclose(
        nt_xent(z, z, temperature=0.3), np.logaddexp(0, alone), rtol=1e-5, atol=1e-6
    )


def test_a_queue_is_negatives_that_no_batch_gives():
    z1, z2 = rows(1)
    queue = rows(9, seed=1)[0]
    np.testing.assert_allclose(
        moco(z1, z2, queue), info_nce(z1, z2, negatives=queue), rtol=1e-5, atol=1e-5
    )


def test_a_false_negative_is_as_if_it_were_not_there():
    z1, z2 = rows()
    alike = np.zeros((6, 6), bool)
    alike[:, 5] = True  # row 5's own positive stays
    found = info_nce(z1, z2, alike=alike)
    np.testing.assert_allclose(found[:5], info_nce(z1[:5], z2[:5]), rtol=1e-5)
    np.testing.assert_allclose(found[5], info_nce(z1, z2)[5], rtol=1e-5)
    assert not jax.grad(lambda z: info_nce(z1, z, alike=alike)[:5].sum())(jnp.asarray(z2))[5].any()


def test_a_learned_scale_and_bias_have_gradients():
    z1, z2 = rows()
    grads = jax.grad(lambda s, b: siglip(z1, z2, scale=s, bias=b).mean(), (0, 1))(10.0, -10.0)
    assert all(abs(g) > 1e-3 for g in grads)
    assert abs(jax.grad(lambda s: clip(z1, z2, scale=s).mean())(14.0)) > 1e-3


def test_moco_v3_by_hand():
    z = jnp.eye(2)
    loss = np.log(np.e + 1) - 1  # of each view at temperature 1
    np.testing.assert_allclose(moco_v3(z, z, z, z, temperature=1.0), 4 * loss, rtol=1e-6)
    (q1, k1), (q2, k2) = rows(), rows(seed=1)  # a query looks for the key of the other view
    there, back = (info_nce(q, k, temperature=0.2) for q, k in ((q1, k2), (q2, k1)))
    np.testing.assert_allclose(moco_v3(q1, q2, k1, k2), 0.4 * (there + back), rtol=1e-5)


def test_weights_of_positives():
    z1, z2 = rows()
    even = decoupled_weighted(z1, z2, sigma=1e6)
    np.testing.assert_allclose(even, decoupled(z1, z2), rtol=1e-4)
    # one pair agrees and one is opposed; at sigma = 2 / log 3 the weights are 1/2 and 3/2
    a, b = jnp.eye(2), jnp.array([[1.0, 0.0], [0.0, -1.0]])
    found = decoupled_weighted(a, b, temperature=1.0, sigma=2 / np.log(3))
    whole = decoupled(a, b, temperature=1.0)
    np.testing.assert_allclose(found - whole, [0.5 * 1, -0.5 * -1], rtol=1e-5)
