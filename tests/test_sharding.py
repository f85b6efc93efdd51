"""Where each leaf of the state lives, and what travels between devices in a step."""

import collections
import functools
import math
import re
from typing import NamedTuple
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import jobs
import numpy as np
import pytest
from drawn import variables
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax import sharding
from ssljax.job import make
from ssljax.memory import ema, exchange, ring
from ssljax.names import Mistake
from ssljax.nets.named import Bound
from ssljax.step import floats

MESHES = (dict(data=8), dict(data=2, fsdp=4))
OPCODES = 'all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute'
BYTES = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's64': 8, 'u64': 8, 'f64': 8}  # else 4


class Sent(NamedTuple):
    """One array that a collective makes on each device."""

    opcode: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self):
        return math.prod(self.shape) * BYTES.get(self.dtype, 4)

    @property
    def kind(self):
        """The shape, up to transposition and axes of length 1."""
        return kind(self.shape)


def kind(shape):
    return tuple(sorted(n for n in shape if n > 1))


def sent(compiled) -> list[Sent]:
    """All collectives of a program; a fused one makes a tuple, whose type is written with blanks:
    %x = (f32[8]{0}, f32[2,3]{1,0}) all-reduce(...)."""
    found = []
    for line in compiled.as_text().splitlines():
        if match := re.search(rf' = (.*?) ({OPCODES})(?:-start)?\(', line):
            for dtype, sizes in re.findall(r'(\w+)\[([\d,]*)\]', match[1]):
                shape = tuple(int(n) for n in sizes.split(',') if n)
                found.append(Sent(match[2], dtype, shape))
    return found


def compile(lowered):
    """Quickly: the code is only read."""
    return lowered.compile(compiler_options={'xla_backend_optimization_level': 0})


def test_the_mesh_takes_all_devices_and_has_auto_axes():
    mesh = sharding.mesh(data=-1, fsdp=4)
    assert dict(mesh.shape) == {'data': 2, 'fsdp': 4, 'tensor': 1}
    assert all(kind == jax.sharding.AxisType.Auto for kind in mesh.axis_types)
    z = jax.device_put(jnp.ones((8, 4)), sharding.of_batch(mesh))
    assert jax.jit(lambda z: z @ z.T)(z).shape == (8, 8)  # an error on Explicit axes
    for axes in (dict(data=3), dict(data=16), dict(data=-1, fsdp=-1), dict(fsdp=0)):
        with pytest.raises(Mistake, match='does not cover 8 devices'):
            sharding.mesh(**axes)


def test_memory_by_rows_is_cut_as_a_batch_and_all_else_by_its_largest_axis():
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
    mesh = sharding.mesh(data=2, fsdp=4)
    places = sharding.places(state, mesh, by_rows=('bank', 'labels'))
    specs = {k: v.spec for k, v in zip(jobs_paths(places), jax.tree.leaves(places), strict=True)}
    assert specs['params/encoder/kernel'] == P('fsdp')
    assert specs['params/encoder/bias'] == P()
    assert specs['params/critic/kernel'] == P(None, None, 'fsdp')  # never the window
    assert specs['memory/teacher/encoder/kernel'] == P('fsdp')
    assert specs['memory/queue'] == P('fsdp')
    assert specs['memory/bank'] == P(('data', 'fsdp'))
    assert specs['memory/labels'] == P()
    undeclared = sharding.places(state, mesh)['memory']['bank']
    assert undeclared.spec == P()  # a name alone declares nothing
    assert specs['opt/net/mu/encoder/kernel'] == P(None, 'fsdp')


def test_layers_of_transformers_are_cut_over_tensor_and_their_other_axis_over_fsdp():
    wide, narrow = (jax.ShapeDtypeStruct(shape, 'f4') for shape in ((64, 256), (256, 64)))
    bias = jax.ShapeDtypeStruct((64,), 'f4')
    square = jax.ShapeDtypeStruct((64, 64), 'f4')
    block = {name: {'kernel': square, 'bias': bias} for name in ('query', 'key', 'value')}
    block |= {'attend_out': {'kernel': square, 'bias': bias}, 'attend_norm': {'scale': bias}}
    block |= {'mlp_in': {'kernel': wide}, 'mlp_out': {'kernel': narrow, 'bias': bias}}
    odd = {'query': {'kernel': jax.ShapeDtypeStruct((64, 63), 'f4')}, 'key': {'embedding': square}}
    moments = {'net': {'mu': {'encoder': {'blocks_0': block}}}}
    state = {'params': {'encoder': {'blocks_0': block}, 'odd': odd}, 'opt': moments}
    state['memory'] = {'bank': jax.ShapeDtypeStruct((4, 2), 'f4')}

    def specs(**axes):
        places = sharding.places(state, sharding.mesh(**axes), by_rows=('bank',), big=2**12)
        return {k: v.spec for k, v in zip(jobs_paths(places), jax.tree.leaves(places), strict=True)}

    both = specs(data=2, fsdp=2, tensor=2)
    for at in ('params/encoder/blocks_0', 'opt/net/mu/encoder/blocks_0'):
        for name in ('query', 'key', 'value', 'mlp_in'):
            assert both[f'{at}/{name}/kernel'] == P('fsdp', 'tensor')
        assert both[f'{at}/key/bias'] == P('tensor')
        for name in ('attend_out', 'mlp_out'):
            assert both[f'{at}/{name}/kernel'] == P('tensor', 'fsdp')
            assert both[f'{at}/{name}/bias'] == P()  # added once, to the sum
        assert both[f'{at}/attend_norm/scale'] == P()
    assert both['params/odd/query/kernel'] == P() and both['params/odd/key/embedding'] == P('fsdp')
    alone = specs(data=4, tensor=2)
    assert alone['params/encoder/blocks_0/mlp_in/kernel'] == P(None, 'tensor')
    assert alone['params/encoder/blocks_0/mlp_out/kernel'] == P('tensor')
    assert alone['memory/bank'] == P(('data', 'fsdp'))  # as a batch: in four parts, not in eight
    assert specs(data=2, fsdp=4)['params/encoder/blocks_0/mlp_in/kernel'] == P(None, 'fsdp')


def equal(a, b):
    """To rounding: each leaf by its own scale."""
    a, b = jobs.leaves(a), jobs.leaves(b)
    for path in a:
        scale = max(np.abs(a[path]).max(), 1e-3) if a[path].size else 1
        np.testing.assert_allclose(a[path] / scale, b[path] / scale, atol=2e-4, err_msg=path)


@functools.cache
def plain():
    """A run of gpt: its config, where it starts, two steps."""
    found = jobs.sgd(jobs.settings('gpt', **{'data.length': 13}))
    one = make(found, jax.devices()[:1])
    start = jax.device_get(one.fresh())
    return found, start, *jobs.run(one, 2)


@pytest.mark.parametrize('axes', [dict(data=4), dict(data=2, fsdp=2)], ids=['data=4', 'fsdp=2'])
def test_tensor_parallel_is_the_plain_run(axes):
    """The same numbers; of each cut kernel a device has and multiplies its part."""
    found, start, a, seen_a = plain()
    cut = make({**found, 'mesh': dict(fsdp=1, tensor=2, big=16) | axes})
    equal(start, cut.fresh())
    b, seen_b = jobs.run(cut, 2, state=cut.placed(start))
    for metrics_a, metrics_b in zip(seen_a, seen_b, strict=True):
        for name in metrics_a:
            np.testing.assert_allclose(metrics_a[name], metrics_b[name], rtol=2e-4, atol=2e-5)
    equal(a, b)
    if 'fsdp' not in axes:  # width 16, of the mlp 64; a device has 2 rows of 12 tokens
        step = cut.step().lower(cut.shapes, jobs.batch(cut, 0), cut.key(1), cut.acting(0))
        compiled = compile(step)
        shapes = set(re.findall(r'f32\[(\d+,\d+)\]', compiled.as_text()))
        assert {'16,8', '8,16', '16,32', '32,16', '24,32', '24,8'} <= shapes
        assert not {'16,64', '64,16', '24,64'} & shapes
        travels = sent(compiled)
        assert not [one for one in travels if one.opcode != 'all-reduce' and one.bytes > 256]
        assert [one for one in travels if one.kind == kind((24, 16))]  # the parts are added


def jobs_paths(tree):
    return [sharding.path_name(p) for p, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def test_collectives_are_read():
    """Each kind once, of a size that is known."""
    mesh = sharding.mesh(data=8)
    cut, whole = sharding.of_batch(mesh), NamedSharding(mesh, P())
    x = jax.device_put(jnp.ones((16, 24)), cut)
    again = compile(jax.jit(lambda x: x + 0, out_shardings=whole).lower(x))
    assert sent(again) == [Sent('all-gather', 'f32', (16, 24))] and sent(again)[0].bytes == 1536
    sums = compile(jax.jit(lambda x: (x.sum(), x.max(0)), out_shardings=whole).lower(x))
    assert sorted(sent(sums)) == [('all-reduce', 'f32', ()), ('all-reduce', 'f32', (24,))]
    turned = compile(
        jax.jit(lambda x: x, out_shardings=NamedSharding(mesh, P(None, 'data'))).lower(x)
    )
    assert {s.opcode for s in sent(turned)} == {'all-to-all'}
    rolled = compile(jax.jit(lambda x: jnp.roll(x, 2, 0), out_shardings=cut).lower(x))
    assert {s.opcode for s in sent(rolled)} == {'collective-permute'}


@pytest.mark.slow
@pytest.mark.parametrize('method', jobs.METHODS)
@pytest.mark.parametrize('axes', MESHES, ids=['data=8', 'data=2 fsdp=4'])
def test_what_travels_in_a_step(method, axes):
    """Gradients and statistics; of a row of the batch at most a vector; under FSDP also weights.

    Where places of a row are foreseen, they are told from those of all rows: vectors of as many
    places, of the width that is foreseen, in all a quarter of the row or less.
    Rows of a pool, whose places are drawn, go to those of the batch and back. A queue of several
    views is laid beside the batch, and so cut anew: flags of rows, and, where it is cut over fsdp,
    parts of it, each no more than a device has, all of them less than it is.

    Of SGD: Muon's products of cut matrices are its own matter.
    """
    rows = 56  # 8 devices with 7 rows each; nothing else has a factor of 7
    found = jobs.sgd(jobs.settings(method))
    mesh = {**dict(data=1, fsdp=1, tensor=1, big=16), **axes}
    job = make({**found, 'batch': rows, 'mesh': mesh})
    quarter, spots = rows * math.prod(job.run.row['x'].shape), set()
    if foresee := job.method.readouts.get('foresee'):
        _, *grid, _, width = jax.eval_shape(
            foresee, job.key(1), job.shapes, floats(jobs.batch(job, 0))
        ).shape
        spots = {kind((rows, n, width)) for n in range(2, math.prod(grid) + 1)}
    leaves = jax.tree_util.tree_leaves_with_path((job.shapes.params, job.shapes.memory))
    leaves = {sharding.path_name(path): leaf for path, leaf in leaves}
    assert not [path for path, leaf in leaves.items() if any(n % 7 == 0 for n in leaf.shape)]
    kinds = {kind(leaf.shape) for leaf in leaves.values()}
    rowwise = {f'1/{name}' for name in job.method.by_rows}  # these are cut already
    volume = sum(leaf.size * 4 for path, leaf in leaves.items() if path not in rowwise)
    # a table of embeddings that is cut by features is looked up where it lies
    tables = [p for p, s in leaves.items() if p.endswith('embedding') and len(s.sharding.spec) == 2]

    kept = [kind(job.shapes.memory[n].shape[1:]) for n in job.method.by_rows if '/' not in n]
    pools = [row for row in kept if len(row) > 1]  # of images; labels have a number for each row
    queue = getattr(job.shapes.memory.get('queue'), 'shape', ())
    laid = 4 * math.prod(queue) if len(queue) > 2 else 0  # bytes

    acting = max(jobs.acting_sets(job), key=len)
    calls, call = collections.Counter(), Bound._call

    def counted(self, name, *args, **options):
        calls[name] += 1
        return call(self, name, *args, **options)

    with mock.patch.object(Bound, '_call', counted):
        step = job.step().lower(job.shapes, jobs.batch(job, 0), job.key(1), acting)
    weights = moved = 0
    for array in sent(compile(step)):
        resharded = array.opcode in ('all-to-all', 'collective-permute')
        of_batch = any(n % 7 == 0 for n in array.shape)
        slots = pools and array.bytes <= 4 * rows
        flags = laid and array.dtype == 'pred' and array.bytes <= rows
        parts = laid and 'fsdp' in axes and not of_batch and array.bytes <= laid // 8
        tabled = tables and array.opcode == 'all-to-all'
        assert not resharded or slots or flags or parts or tabled, array
        moved += array.bytes if resharded and parts else 0
        if of_batch:
            few = resharded or len(array.kind) <= 2
            few = few or (array.kind in spots and array.bytes <= quarter)
            assert few or any(set(one) <= set(array.kind) for one in pools), (
                f'{array}: more than a vector of each row'
            )
        elif array.opcode == 'all-gather' and array.bytes > 8 * rows:
            assert 'fsdp' in axes and array.kind in kinds, f'{array} is no weight'
            weights += array.bytes
    assert moved < max(laid, 1), 'more than the queue is'
    # a net that is called four times or more, in several terms or to sample, is gathered as often
    often = max(calls.values(), default=0)  # no turn, no call
    most = 1.5 * often if often > 3 else 3
    assert weights <= most * volume, 'forward, backward, and some to spare'
    assert ('fsdp' in axes and often > 0) == (weights > volume / 3)


class Towers(nn.Module):
    """Takes and returns what nets may: tuples, dicts, tables, things that are no arrays."""

    @nn.compact
    def __call__(self, x, *, table, name='tower'):
        h = nn.remat(nn.Dense)(32)(x['left'] + x['right'])
        return (h, None), {'mean': nn.Dense(32)(table).mean(), 'name': name, 'count': 16}


def towers(key, state, batch):
    x, table = {'left': batch['x'], 'right': batch['x'][::-1]}, jnp.ones((5, 32))
    (h, _), rest = Towers().apply(state, x, table=table)

    def one(x):  # under vmap the leading axis is not the batch's; still nothing may change
        return Towers().apply(state, {'left': x, 'right': x}, table=table)[0][0]

    pair = jax.vmap(one)(jnp.stack([batch['x']] * 3, 1))
    inner = jax.grad(lambda x: jnp.sin(one(x)).sum())(batch['x'])
    value = jnp.square(h @ h.T).mean() + rest['mean'] + jnp.square(pair).mean()
    return value + jnp.square(inner).sum()


@pytest.fixture(scope='module')
def descent():
    """A state, a batch, and the value and gradient of `towers` on one device."""
    batch = {'x': np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)}
    x = {'left': batch['x'], 'right': batch['x']}
    state = variables(Towers(), x, table=np.ones((5, 32), np.float32))
    return state, batch, jax.jit(jax.value_and_grad(towers, argnums=1))(None, state, batch)


@pytest.mark.parametrize('axes', MESHES, ids=['data=8', 'data=2 fsdp=4'])
def test_to_hold_activations_by_rows_changes_no_value(axes, descent):
    mesh, (state, batch, expected) = sharding.mesh(**axes), descent
    places = sharding.places(state, mesh, big=16)
    state = jax.device_put(state, places)
    batch = jax.device_put(batch, sharding.of_batch(mesh))
    held = jax.jit(jax.value_and_grad(sharding.by_rows(towers, mesh), argnums=1))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        held(None, state, batch),
        expected,
    )
    assert sharding.by_rows(towers, sharding.mesh(devices=jax.devices()[:1])) is towers


def test_a_net_of_noise_is_cut_as_the_batch_is():
    """Nothing else says that the rows of noise are rows: each device would compute all of them."""
    mesh = sharding.mesh(data=8)
    dense = nn.Dense(24)

    def sample(key, state, batch):
        return jax.nn.relu(dense.apply(state, jax.random.normal(key, (len(batch['x']), 32))))

    state = variables(dense, np.ones((1, 32), np.float32))
    batch = {'x': jax.device_put(jnp.ones((48, 2)), sharding.of_batch(mesh))}

    def shapes(function):
        text = compile(jax.jit(function).lower(jax.random.key(1), state, batch)).as_text()
        return set(re.findall(r'f32\[(\d+),24\]\S* dot', text))

    assert shapes(sample) == {'48'} and shapes(sharding.by_rows(sample, mesh)) == {'6'}


def test_ema():
    old, new = {'a': jnp.array([0.0, 1.0])}, {'a': jnp.array([1.0, 1.0])}
    np.testing.assert_allclose(ema(old, new, 0.9)['a'], [0.1, 1.0], rtol=1e-6)
    assert np.array_equal(ema(new, new, 0.3)['a'], new['a'])  # a fixed point, exactly


def test_ring_holds_the_last_rows_in_turn():
    queue, seen, write = np.zeros((6, 1), 'f'), [], jax.jit(ring)
    for step in range(7):
        rows = np.float32(step + np.arange(4)[:, None] / 10)
        queue = write(queue, rows, np.int32(step))
        seen += list(np.asarray(rows[:, 0]))
    np.testing.assert_allclose(sorted(queue[:, 0]), sorted(seen[-6:]))
    late = write(queue, rows, np.int32(2**31 - 1))  # step * B would overflow
    places = ((2**31 - 1) * 4 + np.arange(4)) % 6
    np.testing.assert_array_equal(np.asarray(late)[places], rows)
    with pytest.raises(ValueError, match='do not fit'):
        ring(queue, jnp.zeros((7, 1)), 0)


def test_ring_by_rows_sends_no_queue():
    mesh = sharding.mesh(data=8)
    cut = sharding.of_batch(mesh)
    queue = jax.device_put(jnp.zeros((1024, 16)), cut)
    rows = jax.device_put(jnp.ones((64, 16)), cut)
    text = jax.jit(ring, out_shardings=cut).lower(queue, rows, 3).compile().as_text()
    assert not re.search(r'f32\[1024,16\]\S* all-gather', text)
    whole = np.zeros((1024, 16))
    whole[192:256] = 1
    np.testing.assert_array_equal(jax.jit(ring)(queue, rows, 3), whole)


def test_exchange_keeps_every_row_once():
    pool, new = np.arange(10, dtype='f')[:, None], 100 + np.arange(4, dtype='f')[:, None]

    def exchanged(**options):
        program = jax.jit(lambda *args: exchange(*args, **options))
        return map(np.asarray, program(jax.random.key(0), pool, new))

    rows, after = exchanged()
    kept = np.concatenate([rows, after])[:, 0]
    assert sorted(kept) == sorted(np.concatenate([pool, new])[:, 0])
    rows, after = exchanged(old=0.0)
    assert np.array_equal(rows, new) and np.array_equal(after, pool)
    rows, _ = exchanged(old=1.0)
    assert (rows < 100).all() and len(set(rows[:, 0])) == 4


def test_places_are_shardings_of_one_mesh():
    job = make(jobs.settings('gpt', **{'mesh.fsdp': 4, 'mesh.big': 16}))
    for shape in jax.tree.leaves(job.shapes):
        assert isinstance(shape.sharding, NamedSharding)


def test_a_ring_is_the_same_cut_over_fsdp():
    """A queue is cut like any large leaf; its rows are written by scatter."""
    mesh = sharding.mesh(data=2, fsdp=4)
    random = np.random.default_rng(0)
    queue, z = (random.normal(size=(rows, 16)).astype('f') for rows in (64, 8))
    cut = NamedSharding(mesh, P('fsdp'))
    alone, write = jax.jit(ring), jax.jit(ring, out_shardings=cut)
    whole = queue
    for step in range(9):
        whole = alone(whole, z + step, np.int32(step))
        queue = write(
            jax.device_put(queue, cut), jax.device_put(z + step, sharding.of_batch(mesh)),
            jnp.int32(step),
        )  # fmt: skip
        np.testing.assert_array_equal(queue, whole)


def test_each_process_makes_the_rows_that_lie_on_its_devices():
    mesh = sharding.mesh(data=4, fsdp=2)
    np.testing.assert_array_equal(sharding.held_here(mesh, 16), np.arange(16))
    rows = np.arange(16 * 3).reshape(16, 3)
    placed = sharding.place_mine(mesh, {'x': rows}, 16)['x']
    np.testing.assert_array_equal(placed, rows)
    assert placed.sharding == sharding.of_batch(mesh)
