"""What single methods promise beyond the shared suite: exact properties, on their smoke jobs."""

import functools

import jax
import jax.numpy as jnp
import jobs
import numpy as np

from ssljax import methods, model, train
from ssljax.method import Run, State


def walk(one, steps):
    """The states before the first step and after each."""
    state, step, seen = one.fresh(), one.step(), []
    for i in range(steps + 1):
        seen.append(jax.tree.map(np.array, jax.device_get(state)))
        if i < steps:
            state, _ = jobs.run(one, 1, state, step)
    return seen


@functools.cache
def dino():
    """Its job, and its states until the first step at which its last layer moves."""
    one = jobs.job('dino')
    held = int(one.config['model']['frozen'] * (one.train.count // one.config['batch']))
    assert 0 < held < one.config['steps']
    return one, walk(one, held + 1)


def test_dinos_teacher_follows_at_the_schedules_pace():
    one, (start, end, *_) = dino()
    momentum = one.config['model']['momentum']  # at step 0 of the cosine to 1
    moved = jax.tree.map(
        lambda t, s: momentum * t + (1 - momentum) * s,
        start.memory['teacher']['params'],
        end.params,
    )
    for path, leaf in jobs.leaves(end.memory['teacher']['params']).items():
        np.testing.assert_allclose(leaf, jobs.leaves(moved)[path], atol=1e-6, err_msg=path)


def test_dinos_last_layer_is_held_and_then_let_go():
    _, (start, *_, still, free) = dino()
    assert not jobs.differing(start.params['last'], still.params['last'])
    assert jobs.differing(start.params['last'], free.params['last'])


def test_dinos_center_is_an_average_of_the_teachers_logits():
    """With teacher logits of cosines, the center stays within [-1, 1] and leaves 0."""
    _, states = dino()
    center = states[-1].memory['center']
    assert center.any() and np.abs(center).max() <= 1


def test_maes_prediction_does_not_see_what_is_hidden():
    one = jobs.job('mae')
    state, rows = one.fresh(), one.train.rows(np.arange(3))
    reconstruct = one.method.readouts['reconstruct']
    x = rows['x'] / np.float32(127.5) - 1
    patch = one.config['model']['patch']
    ask = jax.jit(reconstruct)
    first = jax.device_get(ask(jax.random.key(1), state, {'x': x}))
    side = x.shape[1] // patch
    hidden = first['mask'].reshape(3, side, side).repeat(patch, 1).repeat(patch, 2)[..., None]
    # another picture inside the hidden patches, with the same mean and deviation per patch
    flipped = x.reshape(3, side, patch, side, patch, 1)[:, :, ::-1, :, ::-1].reshape(x.shape)
    other = np.where(hidden, flipped, x)
    assert np.abs(other - x).max() > 0.1
    second = ask(jax.random.key(1), state, {'x': other})
    np.testing.assert_allclose(second['reconstruction'], first['reconstruction'], atol=1e-4)
    np.testing.assert_array_equal(np.where(hidden, 0, first['reconstruction'] - x), 0)
    assert (first['mask'].sum(1) == round(0.75 * side**2)).all()


@functools.cache
def refreshed():
    one = jobs.job('deepcluster')
    before = one.fresh()
    after, metrics = train.refresh(one, before, 0, one.sweep(purpose=model.REFRESH))
    return one, jax.device_get(before), jax.device_get(after), metrics


def test_deepcluster_weighs_every_cluster_alike():
    one, _, after, metrics = refreshed()
    labels, weight = after.memory['labels'], after.memory['weight']
    sums = [weight[labels == c].sum() for c in np.unique(labels)]
    np.testing.assert_allclose(sums, len(labels) / len(sums), rtol=1e-4)
    np.testing.assert_allclose(weight.mean(), 1, rtol=1e-5)
    assert len(sums) > 1 and 0 <= metrics['agreement'] <= 1
    assert len(labels) == one.train.count


def test_deepclusters_head_starts_anew_and_nothing_else_does():
    _, before, after, _ = refreshed()
    assert jobs.differing(before.params['head'], after.params['head'])
    for net in set(before.params) - {'head'}:
        assert not jobs.differing(before.params[net], after.params[net])
    assert not jobs.differing(before.opt, after.opt)


def test_deepcluster_learns_the_labels_of_its_own_rows():
    """The loss of a batch is the weighted cross entropy of the labels at the batch's indices."""
    one, _, after, _ = refreshed()
    state, rows = one.placed(after), jobs.batch(one, 0)
    turn = one.method.turns['net']
    value = jax.jit(lambda state: turn.loss(jax.random.key(0), state, batch(rows))[0])
    whole = float(value(state))
    index = np.asarray(rows['index'])
    weight = after.memory['weight'].copy()
    outside = np.setdiff1d(np.arange(one.train.count), index)
    weight[outside] = 99.0  # rows that are not in the batch
    np.testing.assert_allclose(value(after.remember(weight=weight)), whole, rtol=1e-5)
    weight[index] *= 2
    np.testing.assert_allclose(value(after.remember(weight=weight)), 2 * whole, rtol=1e-5)


def batch(rows):
    return {**rows, 'x': rows['x'] / 127.5 - 1}


def test_a_classifiers_encoder_is_held_first_and_its_statistics_can_stay():
    encoder = "{'name': 'conv', 'widths': (8, 16), 'norm': 'batch'}"
    one = jobs.job('classifier', **{'model.frozen': 2, 'model.encoder': encoder})
    start, _, still, free = walk(one, 3)
    assert not jobs.differing(start.params['encoder'], still.params['encoder'])
    assert jobs.differing(start.params['head'], still.params['head'])
    assert jobs.differing(start.params['encoder'], free.params['encoder'])
    assert jobs.differing(start.memory['stats'], still.memory['stats'])
    stored = jobs.job('classifier', **{'model.statistics': 'stored', 'model.encoder': encoder})
    start, end = walk(stored, 1)
    assert not jobs.differing(start.memory['stats'], end.memory['stats'])
    assert jobs.differing(start.params['encoder'], end.params['encoder'])


def test_a_flow_without_noise_claims_what_no_code_can_do():
    """Images that are always black: a density without limit, fewer than no bits."""
    rows = {'x': jax.ShapeDtypeStruct((2, 2, 1), jnp.uint8)}
    run = Run(steps=1, steps_per_epoch=1, examples=64, batch=64, row=rows)
    black, key, claimed, bound = {'x': -jnp.ones((64, 2, 2, 1))}, jax.random.key(0), {}, {}
    for noise in (True, False):
        flow = dict(name='flow_vector', couplings=0, linear=True)
        method = methods.function('realnvp')(run, flow=flow, noise=noise)
        state = State(jnp.zeros((), int), *jax.jit(method.init)(key, black), {})
        loss, ask = jax.jit(method.turns['flow'].loss), jax.jit(method.readouts['bound'])
        claimed[noise] = loss(key, state, black)[2]['bits_per_dim']
        bound[noise] = -ask(key, state, black).mean() / 4 / np.log(2)
    assert claimed[False] < -5 and 0 < claimed[True] < 1  # bits of a level that is certain
    assert bound[False] > 100 and 0 < bound[True] < 1  # the bound has noise, whatever was learned


def test_a_flows_latents_are_painted_again():
    one = jobs.job('realnvp')
    state, _ = jobs.run(one, 3)
    rows = one.train.rows(np.arange(20))
    x = rows['x'] / np.float32(127.5) - 1
    found = one.sweep().over(one.method.readouts['reconstruct'], state, rows)['reconstruction']
    np.testing.assert_allclose(found, x, atol=1e-4)
    drawn = one.sweep().over(one.method.readouts['sample'], state, rows)
    level = 127.5 * (drawn + 1)
    np.testing.assert_allclose(level, np.round(level), atol=1e-3)
    assert level.min() >= 0 and level.max() <= 255.01 and len(np.unique(level)) > 20
