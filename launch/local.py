"""Several processes of one run on this machine: python -m launch.local --processes=2 ..."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

from launch import training
from ssljax import cli, signals
from ssljax.names import Mistake


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('local', __doc__)
    made.add_argument('--processes', type=int, default=2)
    made.add_argument('--devices', type=int, help='of each process, on CPUs', metavar='N')
    made.add_argument('--gpus', type=int, help='of each process', metavar='N')
    made.add_argument('--logs', type=Path, help='default: WORKDIR.logs', metavar='DIR')
    made.add_argument('--grace', type=float, default=5.0, help='seconds from SIGTERM to SIGKILL')
    known, command = training.parse(made, arguments)
    if known.processes < 1:
        raise Mistake(f'--processes={known.processes}; type 1 or more')
    if known.devices and known.gpus:
        raise Mistake('--devices is of CPUs, and --gpus are no CPUs; type one of the two')
    port = free_port()
    environments = [environment(i, known, port) for i in range(known.processes)]
    if known.dry_run:
        for given in environments:
            print(*(f'{k}={training.line([v])}' for k, v in given.items()), training.line(command))
        return 0
    place = cli.place(training.value(command, '--workdir'))
    logs = known.logs or place.with_name(place.name + '.logs')  # a new workdir has to be empty
    logs.mkdir(parents=True, exist_ok=True)
    return run([sys.executable, *command[1:]], environments, logs, known.grace)


def environment(index: int, known, port: int) -> dict[str, str]:
    """The variables by which process `index` joins the others, and has its devices."""
    found = {
        'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}',
        'JAX_NUM_PROCESSES': str(known.processes),
        'JAX_PROCESS_ID': str(index),
    }
    if known.devices:
        flags = os.environ.get('XLA_FLAGS', '')
        count = f'--xla_force_host_platform_device_count={known.devices}'
        found |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'{flags} {count}'.strip()}
    if known.gpus:
        own = range(index * known.gpus, (index + 1) * known.gpus)
        found['CUDA_VISIBLE_DEVICES'] = ','.join(map(str, own))
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def run(command: list[str], environments: list[dict], logs: Path, grace: float) -> int:
    """Starts all, shows and keeps what each says, passes signals on, ends all when one fails."""
    children, readers, wide = [], [], len(str(len(environments) - 1))

    def tell(number: int, frame) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    kept = {n: signal.signal(n, tell) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        for i, given in enumerate(environments):
            child = subprocess.Popen(
                command,
                env={**os.environ, **given},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                bufsize=1,
                start_new_session=True,  # a Ctrl-C comes from here alone, once
            )
            children.append(child)
            log = (logs / f'{i}.log').open('a', buffering=1)
            reader = threading.Thread(target=copy, args=(child.stdout, log, f'[{i:>{wide}}] '))
            reader.start()
            readers.append(reader)
        code = ended(children, grace)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
        for number, handler in kept.items():
            signal.signal(number, handler)
    for reader in readers:
        reader.join()
    return code


def copy(stream: TextIO, log: TextIO, prefix: str) -> None:
    with log:
        for text in stream:
            log.write(text)
            print(prefix + text, end='', flush=True)


def ended(children: list[subprocess.Popen], grace: float) -> int:
    """Waits for all; once one has failed, the others have `grace` seconds. The code of the run."""
    late = None
    while None in (codes := [child.poll() for child in children]):
        if late is None and any(code not in (None, 0, signals.CODE) for code in codes):
            first = next(code for code in codes if code not in (None, 0, signals.CODE))
            late = time.monotonic() + grace
            for child in children:
                if child.poll() is None:
                    child.terminate()
        if late is not None and time.monotonic() > late:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(0.1)
    if late is None:
        first = next((code for code in codes if code not in (0, signals.CODE)), max(codes))
    return first if first >= 0 else 128 - first  # as a shell says that a signal ended it


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
