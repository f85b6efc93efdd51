"""A job of Slurm that is warned, saved, requeued and ends as if it had never been stopped:
python tests/slurm.py --out=FILE

A real controller, a node and munge run here, from Debian's packages (apt install slurm-wlm munge),
in a folder of their own; the job is two processes, submitted by python -m launch.slurm with a limit
of two minutes. It needs root, and some five minutes of two cores.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
CONFIG = """\
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=60
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def cluster(folder: Path):
    """munge, a controller and a node; -> the environment in which Slurm's commands find them."""
    absent = [name for name in ('munged', 'slurmctld', 'slurmd') if not shutil.which(name)]
    if absent:
        sys.exit(f'error: there is no {", ".join(absent)}; apt install slurm-wlm munge')
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    (folder / 'munge.key').write_bytes(os.urandom(1024))
    (folder / 'munge.key').chmod(0o600)
    text = CONFIG.format(host=os.uname().nodename, folder=folder, cpus=max(2, os.cpu_count()))
    (folder / 'slurm.conf').write_text(text)
    environment = {**os.environ, 'SLURM_CONF': str(folder / 'slurm.conf')}
    files = [f'--{name}={folder}/{name.replace("-file", "")}' for name in ('pid-file', 'seed-file')]
    munge = ['munged', '--foreground', '--force', *files, f'--key-file={folder}/munge.key']
    munge += [f'--socket={folder}/munge.socket', f'--log-file={folder}/munged.log']
    started = []
    try:
        for command in (munge, ['slurmctld', '-D'], ['slurmd', '-D']):
            quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            started.append(subprocess.Popen(command, env=environment, **quiet))
            time.sleep(2)
        yield environment
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(30)


def training(workdir: Path, steps: int) -> list[str]:
    return [
        f'--config={ROOT}/configs/simclr.py:smoke', f'--workdir={workdir}',
        f'--config.steps={steps}', '--config.log.every=100', '--config.log.tensorboard=False',
        '--config.checkpoint.every=100000', '--config.evals={}',
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python tests/slurm.py',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--steps', type=int, default=3000, help='more than a minute of them')
    parser.add_argument('--out', type=Path, metavar='FILE', help='the transcript')
    known = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name, cluster(Path(name)) as environment:
        folder = Path(name)

        def hidden(text: str) -> str:
            for path, short in ((sys.executable, 'python'), (ROOT, '.'), (folder, 'RUNS')):
                text = text.replace(str(path), short)
            return text.replace(os.uname().nodename, 'node')

        def say(text: str) -> None:
            lines.extend(hidden(text).splitlines())
            print(hidden(text), flush=True)

        def ask(*command: str) -> str:
            done = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True
            )
            return (done.stdout + done.stderr).strip()

        def tell(*command: str) -> str:
            say(f'$ {" ".join(command)}')
            say(answer := ask(*command))
            return answer

        launcher = [sys.executable, '-m', 'launch.slurm', '--tasks=2', '--time=00:02:00']
        launcher += ['--save=60', f'--logs={folder}/logs', *training(folder / 'job', known.steps)]
        tell('sinfo')
        tell(*launcher, '--dry_run')
        number = re.search(r'\d+', tell(*launcher))[0]
        before = ''
        while True:
            seen = ask('scontrol', 'show', 'job', number)
            state = re.search(r'JobState=(\S+)', seen)[1]
            restarts = re.search(r'Restarts=(\d+)', seen)[1]
            if (now := f'job {number}: {state}, restarted {restarts} times') != before:
                say(f'{time.strftime("%H:%M:%S")} {now}')
                before = now
            if state in ('COMPLETED', 'FAILED', 'TIMEOUT', 'NODE_FAIL', 'CANCELLED'):
                break
            time.sleep(1)
        say(*(log.read_text() for log in (folder / 'logs').glob('*.log')))
        alone = [sys.executable, '-m', 'launch.local', '--processes=2', '--devices=1']
        ask(*alone, *training(folder / 'alone', known.steps))
        from jobs import differing

        from ssljax.checkpoint import read

        (steps, job), (also, whole) = (read(folder / run) for run in ('job', 'alone'))
        other = differing(job['params'], whole['params'])
        say(f'steps {steps} and {also}; parameters that differ from a run never stopped: {other}')
        good = state == 'COMPLETED' and int(restarts) > 0 and steps == also and not other
    if known.out:
        known.out.write_text('\n'.join(lines) + '\n')
    return not good


if __name__ == '__main__':
    sys.exit(main())
