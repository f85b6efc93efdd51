"""A managed job of SkyPilot, GPUs or TPUs, also on spot machines: python -m launch.skypilot ..."""

import argparse
import sys
import tempfile
from typing import Any

from launch import training
from ssljax import cli, signals
from ssljax.names import Mistake

MOUNTED = '/runs'  # the bucket, on each machine
START = 'source ~/env/bin/activate\n'
# SkyPilot numbers the machines; on TPUs JAX finds the others by itself
MEET = """\
export JAX_COORDINATOR_ADDRESS=$(echo "$SKYPILOT_NODE_IPS" | head -n 1):8476
export JAX_NUM_PROCESSES=$SKYPILOT_NUM_NODES JAX_PROCESS_ID=$SKYPILOT_NODE_RANK
"""


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('skypilot', __doc__)
    made.add_argument('--name', default='ssljax')
    made.add_argument('--accelerators', default='H100:8', help='of a node; tpu-v5e-8, say')
    made.add_argument('--nodes', type=int, default=1)
    made.add_argument('--bucket', help='gs://NAME or s3://NAME: the workdir is kept there')
    made.add_argument('--spot', action=argparse.BooleanOptionalAction, default=True)
    made.add_argument(
        '--restarts', type=int, default=3, help='after an error that is no preemption'
    )
    known, command = training.parse(made, arguments)
    if not known.bucket:
        raise Mistake(
            '--bucket is missing: a machine that is taken away keeps nothing; type'
            ' --bucket=gs://NAME'
        )
    text = training.written(task(known, command))
    if known.dry_run:
        print(text, end='')
        return 0
    with tempfile.NamedTemporaryFile('w', suffix='.yaml') as file:
        file.write(text)
        file.flush()
        return training.start(
            ['sky', 'jobs', 'launch', '--yes', file.name], "type pip install 'skypilot[gcp]'"
        )


def task(known: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    tpu = known.accelerators.startswith('tpu')
    command = training.in_bucket(command, MOUNTED)
    return {
        'name': known.name,
        'resources': {
            'accelerators': known.accelerators,
            'use_spot': known.spot,
            # 75: a signal came and the run was saved; the same command goes on
            'job_recovery': {
                'max_restarts_on_errors': known.restarts,
                'recover_on_exit_codes': [signals.CODE],
            },
        },
        'num_nodes': known.nodes,
        'workdir': '.',
        'file_mounts': {MOUNTED: {'source': known.bucket, 'mode': 'MOUNT'}},
        'setup': training.install('tpu' if tpu else 'cuda12'),
        'run': START + (MEET if known.nodes > 1 and not tpu else '') + training.line(command),
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
