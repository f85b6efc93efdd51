"""A job on a Ray cluster that runs: python -m launch.ray_job --address=http://HOST:8265 ..."""

import argparse
import os
import sys

from launch import local, training
from ssljax import cli, signals
from ssljax.names import Mistake


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('ray_job', __doc__)
    made.add_argument('--address', default='http://127.0.0.1:8265', help='of the dashboard')
    made.add_argument('--nodes', type=int, default=1, help='each has one process of the run')
    made.add_argument('--gpus', type=float, default=0, help='of a node')
    made.add_argument('--cpus', type=float, default=1, help='of a node')
    made.add_argument('--packed', action='store_true', help='processes may share a machine')
    made.add_argument('--inside', action='store_true', help=argparse.SUPPRESS)
    known, command = training.parse(made, arguments)
    if known.nodes < 1:
        raise Mistake(f'--nodes={known.nodes}; type 1 or more')
    place = training.value(command, '--workdir')
    if not os.path.isabs(place):
        raise Mistake(
            f'--workdir={place} would lie in a copy of this directory that Ray deletes; type an'
            ' absolute one, on a file system of all machines'
        )
    options = [f'--{name}={getattr(known, name)}' for name in ('nodes', 'gpus', 'cpus')]
    options += ['--packed'] if known.packed else []
    entry = ['python', '-m', 'launch.ray_job', '--inside', *options, *command[3:]]
    if known.dry_run:
        print(f'at {known.address}: {training.line(entry)}')
        print(f'on each of {known.nodes}: {training.line(command)}')
        return 0
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        raise Mistake("there is no ray here: type pip install 'ray[default]'") from None
    return inside(known, command) if known.inside else submit(known.address, entry)


def submit(address: str, entry: list[str]) -> int:
    """Hands the job over, with this directory, and shows what it says until it ends."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
    except ConnectionError:
        raise Mistake(
            f'no Ray cluster answers at {address}; type --address=http://HOST:8265'
        ) from None
    hidden = ['.git', 'runs', 'tests', 'results']
    environment = {'working_dir': '.', 'excludes': hidden}
    number = client.submit_job(entrypoint=training.line(entry), runtime_env=environment)
    # Ray kills the processes: what they learned since the last checkpoint is lost
    print(
        f'job {number}; ray job stop --address={address} {number} ends it, without a save',
        flush=True,
    )
    import asyncio

    async def follow():
        async for text in client.tail_job_logs(number):
            print(text, end='', flush=True)

    asyncio.run(follow())
    return client.get_job_status(number) != JobStatus.SUCCEEDED


def inside(known: argparse.Namespace, command: list[str]) -> int:
    """On the cluster: a place for each process, then the same command in all of them."""
    import ray
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ray.init(address='auto')
    bundles = [{'CPU': known.cpus, 'GPU': known.gpus} for _ in range(known.nodes)]
    group = placement_group(bundles, 'PACK' if known.packed else 'STRICT_SPREAD')
    if not group.wait(10):
        wanted = f'{known.nodes} times --cpus={known.cpus:g} --gpus={known.gpus:g}'
        where = 'anywhere' if known.packed else 'on a machine each (--packed: several on one)'
        print(f'waiting until the cluster has {wanted} free, {where}', flush=True)
    ray.get(group.ready())

    @ray.remote(max_retries=0)
    def address() -> str:
        return f'{ray.util.get_node_ip_address()}:{local.free_port()}'

    @ray.remote(max_retries=0)
    def process(index: int, first: str) -> int:
        variables = {
            'JAX_COORDINATOR_ADDRESS': first,
            'JAX_NUM_PROCESSES': str(known.nodes),
            'JAX_PROCESS_ID': str(index),
        }
        return training.start(
            [sys.executable, *command[1:]], '', environment={**os.environ, **variables}
        )

    def at(index: int) -> dict:
        strategy = PlacementGroupSchedulingStrategy(group, index)
        return dict(num_cpus=known.cpus, num_gpus=known.gpus, scheduling_strategy=strategy)

    first = ray.get(address.options(**at(0)).remote())
    waiting = [process.options(**at(i)).remote(i, first) for i in range(known.nodes)]
    codes = []
    while waiting:
        done, waiting = ray.wait(waiting)
        codes += ray.get(done)
        if codes[-1] not in (0, signals.CODE):  # the others would wait for it
            for task in waiting:
                ray.cancel(task, force=True)
            return codes[-1]
    return max(codes)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
