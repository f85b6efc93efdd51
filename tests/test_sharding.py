"""Where each leaf of the state lives, and that rings and pools send only their rows."""

import re
from collections import Counter

import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax import assemble, sharding
from ssljax.memory import ema, exchange, ring
from ssljax.names import Mistake

OPCODES = r'\b(all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\('


def test_the_mesh_takes_all_devices_and_has_auto_axes():
    mesh = sharding.mesh(data=-1, fsdp=4)
    assert dict(mesh.shape) == {'data': 2, 'fsdp': 4, 'tensor': 1}
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)
    z = jax.device_put(jnp.ones((8, 4)), sharding.of_batch(mesh))
    assert jax.jit(lambda z: z @ z.T)(z).shape == (8, 8)  # an error on Explicit axes
    for axes in (dict(data=3), dict(data=16), dict(data=-1, fsdp=-1), dict(fsdp=0)):
        with pytest.raises(Mistake, match='does not cover 8 devices'):
            sharding.mesh(**axes)


def test_rules_are_by_state_path():
    big = jax.ShapeDtypeStruct((512, 256), jnp.float32)
    small = jax.ShapeDtypeStruct((7,), jnp.float32)
    state = {
        'params': {
            'encoder': {'kernel': big, 'bias': small},
            'critic': {'kernel': jax.ShapeDtypeStruct((512, 512, 256, 3), jnp.float32)},
        },
        'memory': {
            'teacher': {'encoder': {'kernel': big}},
            'queue': big,
            'bank': jax.ShapeDtypeStruct((64, 2), jnp.float32),
            'labels': jax.ShapeDtypeStruct((63,), jnp.int32),  # does not divide
        },
        'opt': {'net': {'mu': {'encoder': {'kernel': jax.ShapeDtypeStruct((256, 512), 'f4')}}}},
    }
    places = sharding.places(state, sharding.mesh(data=2, fsdp=4))
    specs = {k: v.spec for k, v in zip(jobs_paths(places), jax.tree.leaves(places), strict=True)}
    assert specs['params/encoder/kernel'] == P('fsdp')
    assert specs['params/encoder/bias'] == P()
    assert specs['params/critic/kernel'] == P(None, None, 'fsdp')  # never the window
    assert specs['memory/teacher/encoder/kernel'] == P('fsdp')
    assert specs['memory/queue'] == P()
    assert specs['memory/bank'] == P(('data', 'fsdp'))
    assert specs['memory/labels'] == P()
    assert specs['opt/net/mu/encoder/kernel'] == P(None, 'fsdp')


def jobs_paths(tree):
    return [sharding.path_name(p) for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def collectives(function, *args):
    return Counter(re.findall(OPCODES, jax.jit(function).lower(*args).compile().as_text()))


def test_simclr_needs_no_more_than_its_gradients_and_its_views():
    """A gather of the projections, reductions of gradients and statistics, no resharding."""
    job = assemble.assemble(jobs.settings('simclr'))
    step = job.step()
    text = step.lower(job.fresh(), jobs.batch(job, 0), job.key(1), ('net',)).compile().as_text()
    found = Counter(re.findall(OPCODES, text))
    assert found['all-gather'] >= 1 and found['all-reduce'] >= 1
    assert not found['all-to-all'] and not found['collective-permute'], found


def test_ema():
    old, new = {'a': jnp.array([0.0, 1.0])}, {'a': jnp.array([1.0, 1.0])}
    np.testing.assert_allclose(ema(old, new, 0.9)['a'], [0.1, 1.0], rtol=1e-6)
    assert np.array_equal(ema(new, new, 0.3)['a'], new['a'])  # a fixed point, exactly


def test_ring_holds_the_last_rows_in_turn():
    queue, seen = jnp.zeros((6, 1)), []
    for step in range(7):
        rows = jnp.full((4, 1), step) + jnp.arange(4)[:, None] / 10
        queue = ring(queue, rows, jnp.int32(step))
        seen += list(np.asarray(rows[:, 0]))
    np.testing.assert_allclose(sorted(queue[:, 0]), sorted(seen[-6:]))
    late = ring(queue, rows, jnp.int32(2**31 - 1))  # step * B would overflow
    assert np.isfinite(late).all() and (np.isin(rows, late)).all()
    with pytest.raises(ValueError, match='do not fit'):
        ring(queue, jnp.zeros((7, 1)), 0)


def test_ring_by_rows_sends_no_queue():
    mesh = sharding.mesh(data=8)
    cut = sharding.of_batch(mesh)
    queue = jax.device_put(jnp.zeros((1024, 16)), cut)
    rows = jax.device_put(jnp.ones((64, 16)), cut)
    text = jax.jit(ring, out_shardings=cut).lower(queue, rows, 3).compile().as_text()
    assert not re.search(r'f32\[1024,16\]\S* all-gather', text)
    whole = ring(jnp.zeros((1024, 16)), jnp.ones((64, 16)), 3)
    np.testing.assert_array_equal(jax.jit(ring)(queue, rows, 3), whole)


def test_exchange_keeps_every_row_once():
    pool = jnp.arange(10.0)[:, None]
    new = 100 + jnp.arange(4.0)[:, None]
    rows, after = exchange(jax.random.key(0), pool, new)
    kept = np.concatenate([rows, after])[:, 0]
    assert sorted(kept) == sorted(np.concatenate([pool, new])[:, 0])
    rows, after = exchange(jax.random.key(0), pool, new, old=0.0)
    assert np.array_equal(rows, new) and np.array_equal(after, pool)
    rows, _ = exchange(jax.random.key(0), pool, new, old=1.0)
    assert (rows < 100).all() and len(set(np.asarray(rows[:, 0]))) == 4


def test_places_are_shardings_of_one_mesh():
    job = assemble.assemble(jobs.settings('gpt', **{'mesh.fsdp': 4, 'mesh.big': 16}))
    for shape in jax.tree.leaves(job.shapes):
        assert isinstance(shape.sharding, NamedSharding)
