"""Shoots a training process at random moments, starts it again, and compares the end with that of
a run that was left alone: python tests/kill.py [--method=simclr] [--steps=60] [--seed=0]."""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command(method, workdir, steps):
    return [
        sys.executable, '-m', 'ssljax.train', f'--config={ROOT}/configs/{method}.py:smoke',
        f'--workdir={workdir}', f'--config.steps={steps}', '--config.checkpoint.every=3',
        '--config.log.every=1', '--config.log.tensorboard=False', '--config.evals={}',
    ]  # fmt: skip


def final(workdir):
    """The final state of a workdir, straight from its newest checkpoint."""
    from ssljax.checkpoint import read

    return read(Path(workdir))[1]


def reached(workdir):
    path = Path(workdir) / 'metrics.jsonl'
    return len(path.read_text().splitlines()) if path.exists() else 0


def killed(method, folder, *, steps, seed, kills=3):
    """Kills at random moments between the first and the last step; -> what differs at the end."""
    from jobs import differing

    generator, folder = random.Random(seed), Path(folder)
    flags = re.sub('device_count=8', 'device_count=1', os.environ.get('XLA_FLAGS', ''))
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    quiet['env'] = {**os.environ, 'XLA_FLAGS': flags}  # of the eight devices of the tests, one
    subprocess.run(command(method, folder / 'whole', steps), check=True, **quiet)
    # each kill waits for a random share of the steps that are left, then for a random moment
    done, log = 0, []
    while done < kills:
        start = reached(folder / 'shot')
        target = start + generator.randint(1, max(1, (steps - start) // (kills + 1 - done)))
        process = subprocess.Popen(command(method, folder / 'shot', steps), **quiet)
        while process.poll() is None and reached(folder / 'shot') < target:
            time.sleep(0.002)
        time.sleep(generator.random() * 0.05)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            done += 1
        process.wait()
        log.append(reached(folder / 'shot'))
        if log[-1] >= steps:
            break
    subprocess.run(command(method, folder / 'shot', steps), check=True, **quiet)
    return {
        'kills': done,
        'steps at the kills': log,
        'differing': differing(final(folder / 'whole'), final(folder / 'shot')),
    }


if __name__ == '__main__':
    sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--method', default='simclr')
    parser.add_argument('--steps', type=int, default=60)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_args()
    folder = tempfile.mkdtemp()
    try:
        found = killed(options.method, folder, steps=options.steps, seed=options.seed)
    finally:
        shutil.rmtree(folder)
    print(found)
    sys.exit(bool(found['differing']) or found['kills'] < 3)
