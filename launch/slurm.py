"""A job of Slurm that saves before its time is over and goes on: python -m launch.slurm ..."""

import sys
from pathlib import Path

from launch import training
from ssljax import cli
from ssljax.names import Mistake

SCRIPT = """\
#!/bin/bash
{options}

# each task is a process of the run; JAX finds the others by the variables of Slurm
srun --label --wait={wait} {command}
code=$?
# 75: a signal came, the run was saved, and the same command goes on
if [ "$code" -eq 75 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
"""


def main(arguments: list[str] | None = None) -> int:
    made = training.parser('slurm', __doc__)
    made.add_argument('--name', default='ssljax')
    made.add_argument('--nodes', type=int, default=1)
    made.add_argument('--tasks', type=int, default=1, help='processes of a node')
    made.add_argument('--gpus', type=int, default=0, help='of a node')
    made.add_argument('--cpus', type=int, help='of a process', metavar='N')
    made.add_argument('--time', default='24:00:00', help='after which Slurm ends the job')
    made.add_argument(
        '--save', type=int, default=120, help='seconds before that: save, and requeue'
    )
    made.add_argument('--wait', type=int, default=300, help='seconds for the others when one ended')
    made.add_argument('--partition')
    made.add_argument('--account')
    made.add_argument('--logs', type=Path, default=Path('slurm'), help='a directory')
    made.add_argument('--python', default=sys.executable, help='on the nodes')
    known, command = training.parse(made, arguments)
    for name in ('nodes', 'tasks', 'save'):
        if getattr(known, name) < 1:
            raise Mistake(f'--{name}={getattr(known, name)}; type 1 or more')
    text = script(known, [known.python, *command[1:]])
    if known.dry_run:
        print(text, end='')
        return 0
    known.logs.mkdir(parents=True, exist_ok=True)
    return training.start(['sbatch'], 'log in where jobs are submitted', text)


def script(known, command: list[str]) -> str:
    """What sbatch reads."""
    options = {
        'job-name': known.name,
        'nodes': known.nodes,
        'ntasks-per-node': known.tasks,
        'gpus-per-node': known.gpus,
        'cpus-per-task': known.cpus,
        'time': known.time,
        'partition': known.partition,
        'account': known.account,
        'signal': f'USR1@{known.save}',  # to the tasks; with `B:` it would be to this script
        'open-mode': 'append',  # a job that was requeued writes to the same log
        'output': known.logs / '%x-%j.log',
    }
    lines = [f'#SBATCH --{key}={value}' for key, value in options.items() if value]
    lines += ['#SBATCH --requeue']
    return SCRIPT.format(options='\n'.join(lines), wait=known.wait, command=training.line(command))


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
