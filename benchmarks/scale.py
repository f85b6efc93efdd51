"""What a real step of ours costs, against batch, image side, depth and number of devices:
python benchmarks/scale.py --out=results/speed-scale.json [--plot=docs/scale.svg]

Augmentation, losses and optimizer are in the step; rows of data are drawn and on the device. Points
of one axis take turns in one process. Simulated devices share the cores of this machine, so that
axis shows what a mesh adds to a step, and no speed-up; each of its points has a process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import step  # noqa: E402

SIMCLR, GPT = 'configs/simclr.py:cifar10_small', 'configs/gpt.py'
# axis -> config, fields that its value sets, values
AXES: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {
    'batch': (SIMCLR, ('batch',), (16, 32, 64, 128, 256, 512)),
    'side': (SIMCLR, ('model.view.size',), (16, 32, 64)),
    'depth': (GPT, ('model.decoder.depth',), (1, 2, 4, 8)),
    'devices': (SIMCLR, (), (1, 2, 4, 8)),
}
SEEN = {'side': {'batch': '64'}}  # fields that are the same for all values of an axis
ONE = 'xla_force_host_platform_device_count'


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python benchmarks/scale.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--only', default=','.join(AXES), metavar='AXIS,AXIS')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--most', type=float, default=8.0, help='seconds of a point')
    parser.add_argument('--devices', type=int, help='one point of that axis; prints its seconds')
    parser.add_argument('--out', type=Path, metavar='FILE')
    parser.add_argument('--plot', type=Path, metavar='FILE')
    known = parser.parse_args()
    axes = known.only.split(',')
    if odd := set(axes) - {*AXES}:
        parser.error(f'unknown: {", ".join(odd)}; offered: {", ".join(AXES)}')
    import rounds
    from rows import keep

    if known.devices:
        print(json.dumps(rounds.timed(points('devices', [1]), known.rounds, most=known.most)))
        return 0
    head, rows = {**rounds.about(), 'gigaflop_per_second': rounds.peak()}, []
    for axis in axes:
        print(axis, flush=True)
        config, _, values = AXES[axis]
        if axis == 'devices':
            seconds = {str(n): apart(n, known.rounds, known.most) for n in values}
        else:
            seconds = rounds.timed(points(axis, values), known.rounds, most=known.most)
        for value, times in seconds.items():
            row = {'work': f'{axis} {value}', 'axis': axis, 'value': int(value), 'config': config}
            rows.append({**row, **rounds.compared({'ours': times})})
            print(f'  {value:>5}  {rows[-1]["milliseconds"]["ours"][1]:.1f} ms', flush=True)
        keep(known.out, head, rows)
    if known.plot:
        plot(json.loads(known.out.read_text()) if known.out else {**head, 'rows': rows}, known.plot)
    return 0


def points(axis: str, values: Sequence[int]) -> dict[str, Callable[[], Any]]:
    """A call of one step for each value of an axis."""
    from ssljax import cache

    cache.programs()
    return {value: step.repeated(job, 1) for value, job in made(axis, values).items()}


def made(axis: str, values: Sequence[int]) -> dict[str, Any]:
    """The job of each value of an axis."""
    config, fields, _ = AXES[axis]
    jobs = {}
    for value in values:
        changes = {**SEEN.get(axis, {}), **{field: str(value) for field in fields}}
        side = value if axis == 'side' else 32
        images = {'x': lambda r, count, side=side: r.integers(0, 256, (count, side, side, 3), 'u1')}
        data = step.drawn(images) if config == SIMCLR else None
        jobs[str(value)] = step.opened(config, changes.items(), data)
    return jobs


def apart(devices: int, rounds: int, most: float) -> list[float]:
    """Seconds of steps in a process that simulates so many devices."""
    flags = os.environ.get('XLA_FLAGS', '') + f' --{ONE}={devices}'
    command = [sys.executable, __file__, f'--devices={devices}', f'--rounds={rounds}']
    command.append(f'--most={most}')
    environment = {**os.environ, 'XLA_FLAGS': flags.strip(), 'JAX_PLATFORMS': 'cpu'}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    (seconds,) = json.loads(done.stdout).values()
    return seconds


def plot(found: Mapping[str, Any], path: Path) -> None:
    """Milliseconds of a step against each axis; the thin line is proportional to it."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator

    plt.rcParams['svg.hashsalt'] = 'ssljax'  # the same numbers, the same file
    axes = [axis for axis in AXES if any(row['axis'] == axis for row in found['rows'])]
    figure, panels = plt.subplots(1, len(axes), figsize=(3 * len(axes), 3), layout='constrained')
    for axis, panel in zip(axes, [panels] if len(axes) == 1 else panels):
        mine = sorted((r for r in found['rows'] if r['axis'] == axis), key=lambda r: r['value'])
        x = [row['value'] for row in mine]
        low, middle, high = zip(*(row['milliseconds']['ours'] for row in mine))
        panel.fill_between(x, low, high, alpha=0.25)
        panel.loglog(x, middle, 'o-')
        if axis != 'devices':
            power = 2 if axis == 'side' else 1  # of pixels
            panel.loglog(x, [middle[-1] * (v / x[-1]) ** power for v in x], 'k:', lw=0.8)
        panel.set_xticks(x, [str(v) for v in x])
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter('{x:g}')
        panel.set(
            xlabel='simulated devices' if axis == 'devices' else axis, ylim=(min(low) / 2, None)
        )
        panel.grid(alpha=0.3)
    (panels if len(axes) == 1 else panels[0]).set_ylabel('milliseconds of a step')
    figure.savefig(path, metadata={'Date': None})


if __name__ == '__main__':
    sys.exit(main())
