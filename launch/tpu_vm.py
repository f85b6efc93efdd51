"""A TPU by gcloud's queued resources, for all of its hosts: python -m launch.tpu_vm ..."""

import subprocess
import sys
import time

from launch import training
from ssljax import cli
from ssljax.names import Mistake


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('tpu_vm', __doc__)
    made.add_argument('--name', default='ssljax')
    made.add_argument('--zone', help='us-central1-a, say')
    made.add_argument('--type', default='v5litepod-8', help='gcloud: --accelerator-type')
    made.add_argument('--runtime', default='v2-alpha-tpuv5-lite', help='gcloud: --runtime-version')
    made.add_argument('--spot', action='store_true')
    made.add_argument('--bucket', metavar='NAME', help='mounted at ~/runs by gcsfuse')
    made.add_argument('--keep', action='store_true', help='the TPU when the run has ended')
    known, command = training.parse(made, arguments)
    for name in ('zone', 'bucket'):
        if not getattr(known, name):
            raise Mistake(f'--{name} is missing; --help says what it is')
    steps = commands(known, command)
    if known.dry_run:
        print(*map(training.line, steps.values()), sep='\n')
        return 0
    try:
        code = training.start(steps['ask'], 'install the Google Cloud CLI')
        while code == 0:
            state = subprocess.run(steps['state'], capture_output=True, text=True).stdout.strip()
            if state in ('FAILED', 'SUSPENDED'):
                raise Mistake(f'the TPU is {state}; gcloud says why')
            if state == 'ACTIVE':
                break
            print(f'the TPU is {state or "asked for"}', flush=True)
            time.sleep(30)
        for name in ('copy', 'install', 'train'):
            code = code or training.start(steps[name], '')
        return code
    finally:
        if not known.keep:
            training.start(steps['give back'], '')


def commands(known, command: list[str]) -> dict[str, list[str]]:
    """What is done, in this order; the TPU is given back in any case."""
    place = training.value(command, '--workdir')
    command = training.replaced(command, '--workdir', f'../runs/{place}')
    command = ['../env/bin/python', *command[1:]]
    tpus, zone = ['gcloud', 'compute', 'tpus'], f'--zone={known.zone}'
    node, all_hosts = f'{known.name}-node', '--worker=all'
    asked = [
        f'--node-id={node}', zone, f'--accelerator-type={known.type}',
        f'--runtime-version={known.runtime}', *(['--spot'] if known.spot else []),
    ]  # fmt: skip
    mount = f'mkdir -p runs && (mountpoint -q runs || gcsfuse --implicit-dirs {known.bucket} runs)'

    def ssh(text: str) -> list[str]:
        return [*tpus, 'tpu-vm', 'ssh', node, zone, all_hosts, f'--command={text}']

    return {
        'ask': [*tpus, 'queued-resources', 'create', known.name, *asked],
        'state': [
            *tpus, 'queued-resources', 'describe', known.name, zone, '--format=value(state.state)'
        ],
        'copy': [*tpus, 'tpu-vm', 'scp', '--recurse', '.', f'{node}:ssljax', zone, all_hosts],
        'install': ssh(f'{mount} && cd ssljax && {training.install("tpu")}'),
        'train': ssh(f'cd ssljax && {training.line(command)}'),
        'give back': [
            *tpus, 'queued-resources', 'delete', known.name, zone, '--force', '--quiet'
        ],
    }  # fmt: skip


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
