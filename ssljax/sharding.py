"""Where arrays are: one mesh, ordered rules that place the state; activations are cut by rows."""

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.method import Method, Tree
from ssljax.names import Mistake

ROWS = ('data', 'fsdp')  # the axes over which a batch is cut, and memory with a row per example

# Layers of transformers that are cut over `tensor`, by the names of their modules. Of these each
# device has some columns, so it makes some of the heads, or some of the hidden width of the mlp;
SPLITTING = ('query', 'key', 'value', 'mlp_in')
# of these it has the rows that go with them, and what the devices make is added.
JOINING = ('attend_out', 'mlp_out')


def mesh(
    *, data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh of all devices; one axis may be -1: all devices over the product of the other axes.

    The axes are Auto: with Explicit ones (the default of jax.make_mesh) a plain `z @ z.T` of a
    sharded batch is an error.

    data: devices over which batches are cut.
    fsdp: devices over which batches and large weights are cut.
    tensor: devices over which the heads and the mlps of transformers are cut.
    devices: the devices of the mesh; None: all.
    """
    sizes, count = [data, fsdp, tensor], len(devices or jax.devices())
    fixed = math.prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and fixed > 0 and count % fixed == 0:
        sizes[sizes.index(-1)] = count // fixed
    if min(sizes) < 1 or math.prod(sizes) != count:
        raise Mistake(
            f'mesh data={data} fsdp={fsdp} tensor={tensor} does not cover {count} devices;'
            f' their product must be {count}, and one of them may be -1'
        )
    kinds = (AxisType.Auto,) * 3
    return jax.make_mesh(tuple(sizes), ('data', 'fsdp', 'tensor'), kinds, devices=devices)


def of_batch(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P(ROWS))


def place(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """Host rows, the same on every process, as global arrays that are cut as a batch."""
    sharding = of_batch(mesh)
    return {
        name: jax.make_array_from_callback(rows.shape, sharding, lambda i, rows=rows: rows[i])
        for name, rows in ((name, np.asarray(rows)) for name, rows in batch.items())
    }


def held_here(mesh: Mesh, count: int) -> np.ndarray:
    """Which of the `count` rows of a global batch this process's devices hold, in order."""
    spans = of_batch(mesh).addressable_devices_indices_map((count,)).values()
    return np.unique(np.concatenate([np.arange(count)[span] for span in spans]))


def place_mine(mesh: Mesh, batch: Mapping[str, np.ndarray], count: int) -> dict[str, jax.Array]:
    """The rows `held_here`, which only this process has, as global arrays of `count` rows."""
    cut, held = of_batch(mesh), held_here(mesh, count)

    def whole(rows: np.ndarray) -> jax.Array:
        def part(index: tuple[slice, ...]) -> np.ndarray:
            first, end, _ = index[0].indices(count)
            return rows[np.searchsorted(held, first) : np.searchsorted(held, end)]

        return jax.make_array_from_callback((count, *rows.shape[1:]), cut, part)

    return {name: whole(np.asarray(rows)) for name, rows in batch.items()}


def parts(mesh: Mesh) -> int:
    """Into how many parts a batch is cut."""
    return math.prod(mesh.shape[axis] for axis in ROWS)


def rows(shape: tuple[int, ...], mesh: Mesh) -> P:
    """The first axis over the devices of a batch, if it is a multiple of them."""
    return P(ROWS) if shape and shape[0] % parts(mesh) == 0 else P()


def split(path: str, shape: tuple[int, ...], mesh: Mesh) -> int | None:
    """The axis of a leaf that is cut over `tensor`, if any: of a layer that splits, the last one;
    of a kernel that joins, the one before."""
    layer, _, leaf = path.rpartition('/')
    layer, axis = layer.rpartition('/')[2], None
    if layer in SPLITTING and (leaf, len(shape)) in (('kernel', 2), ('bias', 1)):
        axis = len(shape) - 1
    elif layer in JOINING and (leaf, len(shape)) == ('kernel', 2):
        axis = 0
    cuts = mesh.shape['tensor']
    return None if axis is None or cuts == 1 or shape[axis] % cuts else axis


def largest(shape: tuple[int, ...], mesh: Mesh, big: int, taken: int | None = None) -> int | None:
    """The largest axis that fsdp divides, of a leaf with at least `big` elements.

    Only the last two axes: the window of a convolution is small, and XLA fails if it is cut.

    taken: an axis that is cut already.
    """
    cuts = mesh.shape['fsdp']
    axes = [i for i in range(max(len(shape) - 2, 0), len(shape)) if shape[i] % cuts == 0]
    axes = [i for i in axes if i != taken]
    if cuts == 1 or math.prod(shape) < big or not axes:
        return None
    return max(axes, key=lambda axis: shape[axis])


def path_name(path: tuple[Any, ...]) -> str:
    """'params/encoder/Dense_0/kernel' of a key path."""
    return '/'.join(str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path)


def places(shapes: Tree, mesh: Mesh, *, by_rows: Collection[str] = (), big: int = 2**16) -> Tree:
    """A NamedSharding for every leaf of a state (or of its shapes).

    Memory that the method keeps `by_rows` is cut as a batch is. Layers of transformers are `split`
    over tensor. All of the rest, and of those another axis, is cut by its `largest` axis over fsdp.
    """
    entries = {('memory', name) for name in by_rows}

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = path_name(path)
        if tuple(name.split('/')[:2]) in entries:
            return NamedSharding(mesh, rows(leaf.shape, mesh))
        tensor = split(name, leaf.shape, mesh)
        fsdp = largest(leaf.shape, mesh, big, tensor)
        axes = {
            axis: over for axis, over in ((tensor, 'tensor'), (fsdp, 'fsdp')) if axis is not None
        }
        return NamedSharding(mesh, P(*(axes.get(i) for i in range(max(axes, default=-1) + 1))))

    return jax.tree_util.tree_map_with_path(place, shapes)


def placed(shapes: Tree, places: Tree) -> Tree:
    """Shapes that know their places."""
    return jax.tree.map(
        lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, places
    )


def by_rows(function: Callable, mesh: Mesh) -> Callable:
    """A function of (key, ..., batch) whose nets are fed by rows, cut as the batch is.

    The rules above place weights, but do not say which arrays are sent between devices. Without
    more, XLA decides: with weights cut over fsdp it may gather activations; and a net whose input
    is noise may be computed as a whole on every device, since nothing says that its rows are cut.
    So an input of a module with one or more rows for each row of the batch is constrained to be cut
    by rows, and so is its gradient. No value changes. Outputs are not constrained: for a dense
    layer that costs memory, since XLA then does not fuse its reshape. The input of a layer that
    joins what the devices of `tensor` have made is cut over these, too.
    """
    cut, cuts = of_batch(mesh), mesh.shape['tensor']
    if cut.num_devices == 1:
        return function

    @functools.wraps(function)
    def held(*args: Any, **options: Any) -> Any:
        count = len(jax.tree.leaves(args[-1])[0])

        def hold(x: Any, joins: bool) -> Any:
            if not (isinstance(x, jax.Array) and x.ndim and len(x) and len(x) % count == 0):
                return x
            place = cut
            if joins and cuts > 1 and x.ndim > 1 and x.shape[-1] % cuts == 0:
                place = NamedSharding(mesh, P(ROWS, *[None] * (x.ndim - 2), 'tensor'))
            return jax.lax.with_sharding_constraint(x, place)

        def intercept(call: Callable, args: Any, options: Any, context: Any) -> Any:
            joins = context.module.name in JOINING
            args, options = jax.tree.map(lambda x: hold(x, joins), (args, options))
            return call(*args, **options)

        with nn.intercept_methods(intercept):
            return function(*args, **options)

    return held


def method_by_rows(method: Method, mesh: Mesh) -> Method:
    """A method whose init, losses and `after` are `by_rows`; a Sweep does it for readouts."""
    hold = functools.partial(by_rows, mesh=mesh)
    turns = {name: turn._replace(loss=hold(turn.loss)) for name, turn in method.turns.items()}
    after = method.after and hold(method.after)
    return method._replace(init=hold(method.init), turns=turns, after=after)
