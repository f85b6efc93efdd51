"""A JobSet of Kubernetes, GPUs or TPUs, on GKE: python -m launch.gke --image=... ..."""

import argparse
import re
import sys
from typing import Any

from launch import training
from ssljax import cli, signals
from ssljax.names import Mistake

MOUNTED = '/runs'  # the bucket, in each pod
WORKERS = 'workers'


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('gke', __doc__)
    made.add_argument('--name', default='ssljax', help='of the JobSet')
    made.add_argument('--image', help='made of launch/Dockerfile, in a registry of yours')
    made.add_argument('--bucket', metavar='NAME', help='the workdir is kept there')
    made.add_argument('--nodes', type=int, default=1, help='of a TPU: hosts of its slice')
    made.add_argument('--accelerator', default='nvidia-h100-80gb', help='cloud.google.com/gke-...')
    made.add_argument('--chips', type=int, default=8, help='of a node: GPUs, or chips of a TPU')
    made.add_argument('--topology', help='of a TPU slice: 2x4, say; then --accelerator is a TPU')
    made.add_argument('--grace', type=int, default=300, help='seconds to save in after SIGTERM')
    made.add_argument(
        '--restarts', type=int, default=3, help='after an error that is no preemption'
    )
    known, command = training.parse(made, arguments)
    for name in ('image', 'bucket'):
        if not getattr(known, name):
            raise Mistake(f'--{name} is missing; --help says what it is')
    if not re.fullmatch(r'[a-z]([a-z0-9-]{0,30}[a-z0-9])?', known.name):
        raise Mistake(f'--name={known.name}: Kubernetes takes a-z, 0-9 and - only, 32 at most')
    text = training.written(jobset(known, command))
    if known.dry_run:
        print(text, end='')
        return 0
    return training.start(['kubectl', 'apply', '-f', '-'], 'install it and log in', text)


def jobset(known: argparse.Namespace, command: list[str]) -> dict[str, Any]:
    command = training.in_bucket(command, MOUNTED)
    gke = 'cloud.google.com/gke-'
    if known.topology:  # JAX finds the hosts of a slice by itself
        selector = {
            f'{gke}tpu-accelerator': known.accelerator,
            f'{gke}tpu-topology': known.topology,
        }
        chips, variables = 'google.com/tpu', []
    else:
        selector = {f'{gke}accelerator': known.accelerator}
        first = f'{known.name}-{WORKERS}-0-0.{known.name}:8476'
        index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
        chips, variables = 'nvidia.com/gpu', []
    if not known.topology and known.nodes > 1:
        variables = [
            {'name': 'JAX_COORDINATOR_ADDRESS', 'value': first},
            {'name': 'JAX_NUM_PROCESSES', 'value': str(known.nodes)},
            {'name': 'JAX_PROCESS_ID', 'valueFrom': {'fieldRef': {'fieldPath': index}}},
        ]
    container = {
        'name': 'train',
        'image': known.image,
        'command': command,
        'env': variables,
        'resources': {'limits': {chips: known.chips}},
        'volumeMounts': [{'name': 'runs', 'mountPath': MOUNTED}],
    }
    bucket = {'bucketName': known.bucket, 'mountOptions': 'implicit-dirs'}
    pod = {
        'restartPolicy': 'Never',
        'terminationGracePeriodSeconds': known.grace,
        'nodeSelector': selector,
        'containers': [container],
        'volumes': [
            {
                'name': 'runs',
                'csi': {'driver': 'gcsfuse.csi.storage.gke.io', 'volumeAttributes': bucket},
            }
        ],
    }
    job = {
        'completions': known.nodes,
        'parallelism': known.nodes,
        'completionMode': 'Indexed',
        'backoffLimit': 0,  # a pod alone cannot join the others again: all start anew
        'podFailurePolicy': {
            'rules': [
                # 75: a signal came and the run was saved
                {'action': 'FailJob', 'onExitCodes': {'operator': 'In', 'values': [signals.CODE]}},
                # the node was taken away
                {
                    'action': 'FailJob',
                    'onPodConditions': [{'type': 'DisruptionTarget', 'status': 'True'}],
                },
            ]
        },
        'template': {'metadata': {'annotations': {'gke-gcsfuse/volumes': 'true'}}, 'spec': pod},
    }
    # these two start again without an end, every other failure `restarts` times
    rule = {
        'name': 'preempted',
        'action': 'RestartJobSetAndIgnoreMaxRestarts',
        'onJobFailureReasons': ['PodFailurePolicy'],
    }
    return {
        'apiVersion': 'jobset.x-k8s.io/v1alpha2',
        'kind': 'JobSet',
        'metadata': {'name': known.name},
        'spec': {
            'failurePolicy': {'maxRestarts': known.restarts, 'rules': [rule]},
            'replicatedJobs': [{'name': WORKERS, 'replicas': 1, 'template': {'spec': job}}],
        },
    }


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
