"""Where the state lives: one mesh, three ordered rules on state paths. Activations go by rows."""

import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.method import Method, Tree
from ssljax.names import Mistake

ROWS = ('data', 'fsdp')  # the axes over which a batch, and whatever has a row per example, is cut


def mesh(
    *, data: int = -1, fsdp: int = 1, tensor: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
    """A mesh of all devices; one axis may be -1 and takes what the others leave.

    The axes are Auto: under Explicit ones (the default of jax.make_mesh) a plain `z @ z.T` of a
    sharded batch is an error.
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
    """Host rows, the same on every process, as global arrays cut along the batch axes."""
    sharding = of_batch(mesh)
    return {
        name: jax.make_array_from_callback(rows.shape, sharding, lambda i, rows=rows: rows[i])
        for name, rows in ((name, np.asarray(rows)) for name, rows in batch.items())
    }


def rows(shape: tuple[int, ...], mesh: Mesh, big: int) -> P:
    """The leading axis over the devices of a batch, if it divides."""
    cuts = mesh.shape['data'] * mesh.shape['fsdp']
    return P(ROWS) if shape and shape[0] % cuts == 0 else P()


def whole(shape: tuple[int, ...], mesh: Mesh, big: int) -> P:
    return P()


def largest(shape: tuple[int, ...], mesh: Mesh, big: int) -> P:
    """The largest divisible axis over fsdp, of a leaf with at least `big` elements.

    Of the last two: to cut the window of a convolution's kernel gains nothing, and XLA fails on it.
    """
    cuts = mesh.shape['fsdp']
    axes = [i for i in range(max(len(shape) - 2, 0), len(shape)) if shape[i] % cuts == 0]
    if cuts == 1 or math.prod(shape) < big or not axes:
        return P()
    axis = max(axes, key=lambda axis: shape[axis])
    return P(*[None] * axis, 'fsdp')


Rule = Callable[[tuple[int, ...], Mesh, int], P]
RULES: tuple[tuple[str, Rule], ...] = (  # the first match wins
    (r'^memory/(bank|replay|pool|labels|weight|chain)(/|$)', rows),
    (r'^memory/queue(/|$)', whole),
    (r'', largest),
)


def path_name(path: tuple[Any, ...]) -> str:
    """'params/encoder/Dense_0/kernel' of a key path."""
    return '/'.join(str(getattr(k, 'key', getattr(k, 'name', getattr(k, 'idx', k)))) for k in path)


def places(shapes: Tree, mesh: Mesh, *, big: int = 2**16) -> Tree:
    """A NamedSharding for every leaf of a state (or of its shapes)."""

    def place(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = path_name(path)
        rule = next(rule for pattern, rule in RULES if re.search(pattern, name))
        return NamedSharding(mesh, rule(leaf.shape, mesh, big))

    return jax.tree_util.tree_map_with_path(place, shapes)


def by_rows(function: Callable, mesh: Mesh) -> Callable:
    """A function of (key, ..., batch) whose nets are fed by rows, cut as the batch is.

    The rules above say where weights live, not what travels. Left alone, XLA sends whichever it
    takes for smaller: with weights cut over fsdp, it may gather and re-lay activations; and a net
    that starts from noise may be computed whole on every device, since nothing says that its rows
    are cut. So what goes into a module with a row (or several) per row of the batch is held by
    rows, and its gradient with it. No value changes. Held on the way out, a dense layer would cost
    memory: XLA no longer fuses its reshape.
    """
    cut = of_batch(mesh)
    if cut.num_devices == 1:
        return function

    @functools.wraps(function)
    def held(*args: Any, **options: Any) -> Any:
        count = len(jax.tree.leaves(args[-1])[0])

        def hold(x: Any) -> Any:
            fits = isinstance(x, jax.Array) and x.ndim and len(x) and len(x) % count == 0
            return jax.lax.with_sharding_constraint(x, cut) if fits else x

        def intercept(call: Callable, args: Any, options: Any, context: Any) -> Any:
            args, options = jax.tree.map(hold, (args, options))
            return call(*args, **options)

        with nn.intercept_methods(intercept):
            return function(*args, **options)

    return held


def method_by_rows(method: Method, mesh: Mesh) -> Method:
    """A method whose init, losses and `after` are held by rows; a Sweep does it for readouts."""
    hold = functools.partial(by_rows, mesh=mesh)
    turns = {name: turn._replace(loss=hold(turn.loss)) for name, turn in method.turns.items()}
    after = method.after and hold(method.after)
    return method._replace(init=hold(method.init), turns=turns, after=after)
