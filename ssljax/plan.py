"""What a train step needs on devices that are not here: python -m ssljax.plan --config=FILE.

It is compiled, and nothing is run: memory of a device, operations, what is sent between devices,
and the least time of a step that these allow.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssljax import cli, program
from ssljax.names import Mistake, choose

EPILOG = """\
python -m ssljax.plan --config=configs/mae.py:imagenet --topology=v5e:4x4 --row=256x256x3
for a TPU, install its compiler first: pip install 'jax[tpu]'; no TPU is needed
"""


class Chip(NamedTuple):
    """Of one device: bfloat16 operations and bytes per second as its maker says, bytes of memory
    that its compiler leaves to a program."""

    operations: float
    memory: float
    bandwidth: float  # to its memory
    links: float  # to its neighbors, all links together


GIB = 2**30
CHIPS = {
    'v4': Chip(137.5e12, 15.25 * GIB, 614e9, 150e9),  # to the compiler a chip is two devices
    'v5e': Chip(197e12, 15.75 * GIB, 819e9, 200e9),
    'v5p': Chip(459e12, 95.74 * GIB, 2765e9, 600e9),
    'v6e': Chip(918e12, 31.25 * GIB, 1640e9, 448e9),
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.plan', __doc__, EPILOG)
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument(
        '--topology',
        default='local',
        metavar='CHIP:AxB',
        help=f'of {", ".join(CHIPS)}: v5e:2x4, v4:2x2x4; local: the devices that are here',
    )
    parser.add_argument(
        '--row', metavar='AxBxC', help='shape of an image, where its data set is not here'
    )
    parser.add_argument('--rows', type=int, default=1_281_167, help='of that data set')
    parser.add_argument('--classes', type=int, default=1000, help='of that data set')
    known, rest = parser.parse_known_args(argv)
    typed = cli.overrides(parser, rest)
    found = plan(known.config, typed, known.topology, source=known.row and unseen(known))
    print('\n\n'.join(described(one) for one in found))
    return 0


def unseen(known: argparse.Namespace) -> Any:
    """A source of gray images, for a data set that is not here."""
    import numpy as np

    from ssljax.data.source import Source, Split

    try:
        shape = tuple(int(side) for side in known.row.split('x'))
    except ValueError:
        raise Mistake(f'--row={known.row}; type sides with x between: 256x256x3') from None

    def rows(index):
        return {
            'x': np.full((len(index), *shape), 128, np.uint8),
            'label': np.zeros(len(index), np.int32),
        }

    split = Split(known.rows, rows)
    return Source('unseen', {'train': split, 'test': split}, 'unseen', classes=known.classes)


class Plan(NamedTuple):
    """One set of turns that act together."""

    turns: tuple[str, ...]
    chip: str
    devices: int
    mesh: dict[str, int]
    batch: int
    parameters: int
    kept: float  # bytes of a device: the state and the batch
    peak: float  # at once, temporaries included
    operations: float  # of a device, in a step
    read: float  # bytes that a device moves from and to its main memory
    exchanges: dict[str, tuple[int, float]]  # kind -> how many, bytes sent by a device


def plan(
    config: str | Mapping[str, Any],
    typed: Sequence[tuple[str, str]],
    topology: str,
    source: Any = None,
) -> list[Plan]:
    """The plan of each set of turns of a config on a topology."""
    devices, chip = found(topology)
    import jax

    from ssljax import job, model, resolve, sharding

    settings = resolve.resolve(config, list(typed))
    if source is not None:
        settings = {**settings, 'data': source}
    made = job.make({**settings, 'evals': {}}, devices)
    shapes = model.batch_shapes(made.run)
    batch = sharding.placed(shapes, dict.fromkeys(shapes, sharding.of_batch(made.mesh)))
    key, whole = (
        made.key(model.STEP),
        jax.sharding.NamedSharding(made.mesh, jax.sharding.PartitionSpec()),
    )
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    plans = []
    for acting in made.acting_sets():
        traced = made.step().trace(made.shapes, batch, key, acting)
        lowered = traced.lower(lowering_platforms=('tpu',)) if chip else traced.lower()
        compiled = fitting(lowered)
        memory, cost, text = compiled.memory_analysis(), costs(compiled), compiled.as_text()
        plans.append(
            Plan(
                acting,
                chip or jax.default_backend(),
                len(devices or jax.devices()),
                dict(made.mesh.shape),
                made.run.batch,
                sum(leaf.size for leaf in jax.tree.leaves(made.shapes.params)),
                memory.argument_size_in_bytes,
                peak(memory),
                cost.get('flops', math.nan),
                program.moved(text),
                program.exchanged(text),
            )
        )
    return plans


def fitting(lowered: Any) -> Any:
    """The compiled program, or a line that says by how much its chip is too small."""
    import jax

    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        _, _, needs = str(error).partition('RESOURCE_EXHAUSTED: ')
        if not needs:
            raise
        raise Mistake(
            f'the step does not fit: {needs.splitlines()[0].rstrip(".")}; type more chips, '
            'a smaller --config.batch, or a net with remat=True'
        ) from None


def costs(compiled: Any) -> Mapping[str, float]:
    """What the compiler counts of a program: flops, and more."""
    counted = compiled.cost_analysis()
    return counted[0] if isinstance(counted, list) else counted or {}


def peak(memory: Any) -> float:
    """Bytes of a device at once: arguments, results and temporaries; donated arguments once."""
    if memory is None:
        return math.nan
    parts = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return parts - memory.alias_size_in_bytes + memory.temp_size_in_bytes


def found(topology: str) -> tuple[Any, str]:
    """Devices of a topology, and the name of its chip; of here: None, and no name."""
    if topology == 'local':
        return None, ''
    chip, colon, shape = topology.partition(':')
    choose(chip, CHIPS, 'chip')
    if not (colon and re.fullmatch(r'\d+(x\d+){1,2}', shape)):
        raise Mistake(f'--topology={topology}; type the sides of the slice: {chip}:2x4')
    # no cloud is asked what this machine is, and nothing is said about it
    quiet = dict(
        TPU_SKIP_MDS_QUERY='1', TPU_WORKER_HOSTNAMES='localhost',
        TPU_ACCELERATOR_TYPE='v5litepod-4',  # one that it knows, whatever the topology
        ALLOW_MULTIPLE_LIBTPU_LOAD='1',  # nothing runs on a TPU: two may compile at once
    )  # fmt: skip
    for name, value in (quiet | dict(TF_CPP_MIN_LOG_LEVEL='3')).items():
        os.environ.setdefault(name, value)
    import jax
    from jax.experimental import topologies

    jax.config.update('jax_platforms', 'cpu')
    jax.config.update('jax_num_cpu_devices', 2)  # layers take the forms of accelerators
    try:
        made = topologies.get_topology_desc(topology_name=topology, platform='tpu')
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) or 'not installed' in str(error):
            raise Mistake(
                "the compiler for TPUs is not installed: type pip install 'jax[tpu]'"
            ) from None
        raise Mistake(f'--topology={topology}: {str(error).splitlines()[0]}') from None
    return made.devices, chip


def floors(plan: Plan) -> dict[str, float]:
    """Seconds that a step takes at the least, by what a chip can do; none for other devices."""
    chip = CHIPS.get(plan.chip)
    if chip is None:
        return {}
    sent = sum(volume for _, volume in plan.exchanges.values())
    return {
        'operations': plan.operations / chip.operations,
        'memory': plan.read / chip.bandwidth,
        'links': sent / chip.links,
    }


def described(plan: Plan) -> str:
    from ssljax.dry_run import table

    mesh = ', '.join(f'{axis} {n}' for axis, n in plan.mesh.items() if n > 1) or 'no axis'
    rows: list[tuple[Any, ...]] = [
        ('devices', f'{plan.devices} x {plan.chip}', f'mesh: {mesh}'),
        ('batch', plan.batch, f'{plan.batch // plan.devices} on each device'),
        ('parameters', plan.parameters, ''),
        ('state and batch', f'{plan.kept / 1e6:,.0f} MB', 'of a device'),
    ]
    chip = CHIPS.get(plan.chip)
    room = f'of {chip.memory / 1e6:,.0f} MB' if chip else 'of a device'
    if chip and plan.peak > chip.memory:
        room += ': does not fit'
    rows += [
        ('most memory', f'{plan.peak / 1e6:,.0f} MB', room),
        ('operations', f'{plan.operations / 1e9:,.1f} G', 'of a device in a step'),
    ]
    for kind, (count, volume) in plan.exchanges.items():
        rows.append((kind, f'{volume / 1e6:,.1f} MB', f'sent by a device, {count} times'))
    least = floors(plan)
    for name, seconds in least.items():
        rows.append((f'floor by {name}', f'{1e3 * seconds:.2f} ms', ''))
    if least:
        slowest = max(least, key=least.__getitem__)
        speed = plan.batch / least[slowest]
        rows.append(('at most', f'{speed:,.0f} examples/s', f'{slowest} is the narrowest'))
    return f'step of {" and ".join(plan.turns) or "no turn"}\n{table(rows)}'


def as_json(plan: Plan) -> Mapping[str, Any]:
    return {**plan._asdict(), 'floors': floors(plan)}


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
