"""What a training survives: python benchmarks/storm.py --out=results/storm.json

Runs are shot, starved of disk, read, doubled, damaged and asked to stop, at moments that are drawn
(--seed) or set; then the same command is given again. Each must end, bit for bit, in the state in
which the run ends that was left alone, and with the same metrics. Takes a quarter of an hour on two
idle cores.
"""

import argparse
import contextlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from launch.local import free_port  # noqa: E402

KILLS = {'deepcluster': 6, 'dino': 7, 'gpt': 9, 'wgan_gp': 8}
FLIPS, CUTS, STEPS = 80, 12, 100
SPEED = ('seconds', 'cpu_seconds', 'examples_per_second', 'waiting', 'seconds_left')
# where a kill or a signal is to fall exactly, the child has it put into its own program
CHILD = """
import os, signal, sys
from ssljax import signals
signals.guard()
from ssljax import checkpoint, cli, evaluate, results, sealed, train

def before(owner, name, act):
    real = getattr(owner, name)
    def wrapped(*given, **options):
        act()
        return real(*given, **options)
    setattr(owner, name, wrapped)

def send(*numbers):
    return lambda: [os.kill(os.getpid(), one) for one in numbers]

{patch}
sys.exit(cli.guarded(lambda: train.main(sys.argv[1:])))
"""
MOMENTS = {
    'before the manifest': 'before(sealed, "seal", send(9))',
    'before the step has its name': 'before(sealed, "named", send(9))',
    'between seal and deletion': 'before(sealed, "drop", send(9))',
    'inside a deletion': 'before(sealed.shutil, "rmtree", send(9))',
}
LATE = {
    'after the last step': 'before(checkpoint.Checkpoints, "close", send(15))',
    'twice while saving': 'before(sealed, "seal", send(10, 15))',
    'before the report': 'before(evaluate, "report", send(10))',
    'inside the report': 'before(results, "write", send(1))',
}


class Storm:
    """A folder of runs, the numbers drawn, and the rows of the table."""

    def __init__(self, folder: Path, seed: int):
        self.folder, self.random, self.rows = folder, random.Random(seed), []

    def row(self, what: str, count: int, equal: int, told: str = '', **more: Any) -> None:
        """equal: how many of them ended where the run ends that was left alone."""
        self.rows.append({'done': what, 'count': count, 'equal': equal, 'told': told} | more)
        print(json.dumps(self.rows[-1]), flush=True)


def flags(method: str, workdir: Path, *more: str, steps: int = STEPS) -> list[str]:
    return [
        f'--config={ROOT}/configs/{method}.py:smoke', f'--workdir={workdir}',
        f'--config.steps={steps}', '--config.checkpoint.every=2', '--config.checkpoint.keep=1',
        '--config.log.every=1', '--config.log.tensorboard=False', '--config.evals={}', *more,
    ]  # fmt: skip


def start(
    argv: Sequence[str], patch: str = '', module: str = 'ssljax.train', **how: Any
) -> subprocess.Popen:
    program = ['-c', CHILD.format(patch=patch)] if patch else ['-m', module]
    streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    return subprocess.Popen([sys.executable, *program, *argv], **{**streams, **how})


def ended(process: subprocess.Popen, *codes: int) -> tuple[int, list[str]]:
    """Exit code and what it told on stderr; any other code or a traceback is an error."""
    out, err = process.communicate(timeout=600)
    lines = [line for line in err.splitlines() if line.strip() and 'Gloo' not in line]
    if process.returncode not in codes or 'Traceback' in err:
        raise RuntimeError(f'exit code {process.returncode}, not {codes}:\n{out}\n{err}')
    return process.returncode, lines


def whole(storm: Storm, method: str, steps: int = STEPS) -> Path:
    """The run that is left alone."""
    workdir = storm.folder / f'{method}-{steps}'
    if not workdir.exists():
        ended(start(flags(method, workdir, steps=steps)), 0)
    return workdir


def same(a: Path, b: Path) -> bool:
    """Whether two runs ended in one state and have told the same numbers."""
    return final(a) == final(b) and metrics(a) == metrics(b)


def final(workdir: Path) -> dict[str, Any]:
    from ssljax.checkpoint import read

    return flat(read(workdir)[1])


def flat(tree: Any) -> dict[str, Any]:
    import jax
    import numpy as np

    pairs = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {str(path): (str(np.asarray(x).dtype), np.asarray(x).tobytes()) for path, x in pairs}


def metrics(workdir: Path) -> list[dict[str, Any]]:
    from ssljax import written

    return [{k: v for k, v in row.items() if k not in SPEED} for row in written.metrics(workdir)]


def reached(workdir: Path) -> int:
    path = workdir / 'metrics.jsonl'
    return (
        max([0, *(json.loads(x)['step'] for x in path.read_text().splitlines()[:-1])])
        if (path.exists())
        else 0
    )


def kills(storm: Storm) -> None:
    """-9 at drawn moments of the run, inside saves, and at each place between seal and deletion."""
    for method, count in KILLS.items():
        alone, workdir = whole(storm, method), storm.folder / f'{method}-shot'
        plan = [*MOMENTS.values(), 'saving', 'saving', *['drawn'] * count][:count]
        storm.random.shuffle(plan)
        inside = 0
        for i, moment in enumerate(plan):
            patch = moment if moment in MOMENTS.values() else ''
            process = start(flags(method, workdir), patch)
            begun = reached(workdir)
            # so that all kills find a run that still goes on
            aim = begun + storm.random.randint(1, max(1, (STEPS - begun) // (2 * (count - i))))
            while not patch and process.poll() is None and reached(workdir) < aim:
                time.sleep(0.002)
            if moment == 'saving':
                saving = lambda: list((workdir / 'checkpoints').glob('*.unsealed*'))  # noqa: B023, E731
                while process.poll() is None and not saving():
                    pass
            elif not patch:
                time.sleep(storm.random.random() * 0.05)
            if not patch:
                process.kill()
            ended(process, -9)
            left = os.listdir(workdir / 'checkpoints') if (workdir / 'checkpoints').exists() else ()
            inside += any('unsealed' in name or 'old' in name for name in left)
        _, told = ended(start(flags(method, workdir)), 0)
        good = same(alone, workdir)
        storm.row(
            f'{method}: killed (-9)', count, count * good, '; '.join(told),
            inside_a_save_or_a_deletion=inside,
        )  # fmt: skip


def signals(storm: Storm) -> None:
    """All four, at drawn moments of a run's life, and at each late one."""
    alone, workdir = whole(storm, 'gpt'), storm.folder / 'signaled'
    names = [one for one in ('SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1') for _ in range(2)]
    told: set[str] = set()
    for name in names:
        process = start(flags('gpt', workdir))
        time.sleep(1.5 + storm.random.random() * 8)
        process.send_signal(getattr(signal, name))
        told |= set(ended(process, 75, 0)[1])
    ended(start(flags('gpt', workdir)), 0)
    storm.row('signals at any time', 8, 8 * same(alone, workdir), '; '.join(sorted(told)))
    for what, patch in LATE.items():
        workdir = storm.folder / what.replace(' ', '-')
        _, lines = ended(start(flags('gpt', workdir), patch), 75)
        again = start(flags('gpt', workdir))
        ended(again, 0)
        storm.row(f'signal {what}', 1, int(same(alone, workdir)), '; '.join(lines))


def disk(storm: Storm) -> None:
    """A disk that fills up, and then has room again."""
    alone, small = whole(storm, 'gpt'), storm.folder / 'small'
    small.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=400k', 'none', str(small)]
    mounted = os.geteuid() == 0 and not subprocess.run(mount, capture_output=True).returncode
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # noqa: E731
    how = {} if mounted else {'preexec_fn': limit}
    argv = flags('gpt', small / 'run', '--config.checkpoint.keep=3')
    try:
        _, told = ended(start(argv, **how), 1)
        from ssljax.checkpoint import Checkpoints
        from ssljax.sealed import broken

        store = Checkpoints(small / 'run')
        bad = [step for step in store.steps() if broken(store.folder / str(step))]
        if mounted:
            subprocess.run(['mount', '-o', 'remount,size=16m', str(small)], check=True)
        ended(start(argv), 0)
        good = same(alone, small / 'run') and not bad and len(told) == 1
        kind = 'tmpfs' if mounted else 'ulimit'
        storm.row(f'disk full ({kind})', 1, int(good), '; '.join(told))
        good, told = evaluated_without_room(small, mounted)
        storm.row(f'evaluated on a full disk ({kind})', 1, int(good), '; '.join(told))
    finally:
        if mounted:
            subprocess.run(['umount', str(small)], check=True)


def evaluated_without_room(small: Path, mounted: bool) -> tuple[bool, list[str]]:
    """Whether results.json stays as it was, and is written once there is room; what was told."""
    results = small / 'run/results.json'
    before = results.read_bytes()
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # noqa: E731
    how = {} if mounted else {'preexec_fn': limit}
    ask = [f'--workdir={small / "run"}', '--evals=perplexity']
    with contextlib.suppress(OSError):
        (small / 'filler').write_bytes(bytes(2**24 if mounted else 0))  # more than there is
    _, told = ended(start(ask, module='ssljax.evaluate', **how), 1)
    (small / 'filler').unlink()
    good = len(told) == 1 and results.read_bytes() == before
    ended(start(ask, module='ssljax.evaluate'), 0)
    return good and 'perplexity' in json.loads(results.read_text())['evals'], told


def damage(storm: Storm) -> None:
    """Bits flipped in the newest checkpoint, its manifest included, and files cut short: the run
    must go on from the one before. One of each method is then trained to its end."""
    states = {method: damaged(storm, method) for method in KILLS}
    for what, count, harm in (('bit flips', FLIPS, flip), ('truncations', CUTS, cut)):
        equal, told = 0, set()
        for i in range(count):
            method = list(KILLS)[i % len(KILLS)]
            folder, job, before = states[method]
            workdir = storm.folder / f'{what}-{i}'
            shutil.copytree(folder, workdir)
            name = harm(storm, max((workdir / 'checkpoints').iterdir(), key=lambda p: int(p.name)))
            found, reason = fallen_back(workdir, job)
            told.add(f'{name}: {reason}')
            good = found == before
            if i < len(KILLS):
                ended(start(flags(method, workdir)), 0)
                good &= same(whole(storm, method), workdir)
            equal += good
            shutil.rmtree(workdir)
        kinds = sorted({line.split(': ', 1)[1] for line in told})
        storm.row(what, count, equal, '; '.join(kinds))


def damaged(storm: Storm, method: str) -> tuple[Path, Any, dict]:
    """A run that was stopped at its last step but one, with two checkpoints; the older's state."""
    from ssljax import job, resolve
    from ssljax.checkpoint import Checkpoints

    workdir = storm.folder / f'{method}-two'
    argv = flags(method, workdir, '--config.checkpoint.keep=2')
    ended(start(argv), 0)
    typed = [tuple(one.removeprefix('--config.').split('=', 1)) for one in argv[2:]]
    made = job.make(resolve.resolve(f'{ROOT}/configs/{method}.py:smoke', typed))
    older = Checkpoints(workdir)
    step = older.steps()[1]
    return workdir, made, flat(older._load(step, made.shapes))


def fallen_back(workdir: Path, job: Any) -> tuple[dict, str]:
    from ssljax import sealed
    from ssljax.checkpoint import Checkpoints

    store = Checkpoints(workdir)
    reason = sealed.broken(sealed.numbered(store.folder)[0])
    return flat(store.restore(job.shapes)), kind(reason)


def kind(reason: str) -> str:
    """The reason without names and numbers."""
    kinds = ('SHA-256 differs', 'bytes, not', 'is missing', 'not in its manifest')
    return next((one for one in kinds if one in reason), reason)


def flip(storm: Storm, step: Path) -> str:
    files = [p for p in sorted(step.rglob('*')) if p.is_file() and p.stat().st_size]
    path = storm.random.choice(files)
    content = bytearray(path.read_bytes())
    content[storm.random.randrange(len(content))] ^= 1 << storm.random.randrange(8)
    path.write_bytes(content)
    return path.name


def cut(storm: Storm, step: Path) -> str:
    files = [p for p in sorted(step.rglob('*')) if p.is_file() and p.stat().st_size]
    path = storm.random.choice(files)
    os.truncate(path, storm.random.randrange(path.stat().st_size))
    return path.name


def reader(storm: Storm) -> None:
    """ssljax.load and evaluate, again and again, while a run saves every step and keeps one."""
    import ssljax
    from ssljax import sealed

    steps = 600
    alone, workdir = whole(storm, 'gpt', steps), storm.folder / 'read'
    run = start(flags('gpt', workdir, '--config.checkpoint.every=1', steps=steps))
    while run.poll() is None and not sealed.numbered(workdir / 'checkpoints'):
        time.sleep(0.01)  # until the first save is sealed: before, there is nothing to load
    command = [sys.executable, '-m', 'ssljax.evaluate', f'--workdir={workdir}']
    command += ['--evals=perplexity']
    evaluated = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    seen = set()
    while run.poll() is None:
        seen.add(ssljax.load(workdir).step)
    during = evaluated.poll() is not None
    code = evaluated.wait()
    ended(run, 0)
    # the metrics were told as if nobody had looked
    good = not code and same(alone, workdir) and len(seen) > 1
    told = f'{len(seen)} states opened, evaluate ended {"during" if during else "after"} the run'
    storm.row('a reader at work', len(seen) + 1, (len(seen) + 1) * good, told)


def writers(storm: Storm) -> None:
    """The same command twice at once, in a new workdir and in one that is there."""
    alone, workdir = whole(storm, 'gpt', 600), storm.folder / 'doubled'
    argv = flags('gpt', workdir, '--config.checkpoint.every=5', steps=600)
    told, count = [], 0
    both = [start(argv), start(argv)]
    codes = sorted(ended(one, 0, 2) for one in both)
    told += codes[1][1]
    count += [code for code, _ in codes] == [0, 2]
    good = count and same(alone, workdir)
    storm.row('two writers', 1, int(good), '; '.join(told))


def processes(storm: Storm) -> None:
    """Two processes of two devices; one is killed, and the scheduler ends the other."""
    alone, workdir = storm.folder / 'pair', storm.folder / 'pair-shot'
    for one in pair(alone):
        ended(one, 0)
    shots = 2
    for i in range(shots):
        first, second = pair(workdir)
        while first.poll() is None and reached(workdir) < 5 + 12 * i:
            time.sleep(0.002)
        second.kill()
        time.sleep(1)
        first.kill()
        for one in (first, second):
            one.communicate()
    told = [ended(one, 0)[1] for one in pair(workdir)]
    storm.row('two processes, one killed', shots, shots * same(alone, workdir), str(told[0] or ''))
    for one in started_and_signaled(storm, workdir := storm.folder / 'pair-signaled'):
        code, lines = ended(one, 75)
    for one in pair(workdir):
        ended(one, 0)
    storm.row('two processes, one signaled', 1, int(same(alone, workdir)), '; '.join(lines))


def started_and_signaled(storm: Storm, workdir: Path) -> list[subprocess.Popen]:
    both = pair(workdir)
    while both[0].poll() is None and reached(workdir) < 3:
        time.sleep(0.002)
    both[1].send_signal(signal.SIGUSR1)
    return both


def pair(workdir: Path) -> list[subprocess.Popen]:
    port = free_port()
    sgd = "--config.optim.net={'name': 'sgd', 'learning_rate': 0.02}"
    found = []
    for i in range(2):
        environment = os.environ | {
            'JAX_COORDINATOR_ADDRESS': f'127.0.0.1:{port}', 'JAX_NUM_PROCESSES': '2',
            'JAX_PROCESS_ID': str(i), 'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
        }  # fmt: skip
        found.append(start(flags('simclr', workdir, sgd), env=environment))
    return found


PARTS: dict[str, Callable[[Storm], None]] = {
    'kills': kills, 'signals': signals, 'disk': disk, 'damage': damage, 'reader': reader,
    'writers': writers, 'processes': processes,
}  # fmt: skip


def plain(told: str) -> str:
    """Each line once, without what only this machine knows."""
    told = re.sub(r'(kill -9|pid) \d+', r'\1 PID', told)
    told = re.sub(r'on \S+ since [-\d]+ [:\d]+', 'on HOST since TIME', told)
    return '; '.join(dict.fromkeys(told.split('; ')))


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ['| done | times | ended alike | told |', '|---|--:|--:|---|']
    lines += ['| {done} | {count} | {equal} | {told} |'.format(**row) for row in rows]
    return '\n'.join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog='python benchmarks/storm.py', description=__doc__)
    parser.add_argument('--out', type=Path, metavar='FILE')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument(
        '--only',
        default='',
        metavar='A,B',
        help=f'of {", ".join(PARTS)}; the other rows of FILE stay',
    )
    known = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    storm, rows = Storm(folder, known.seed), {}
    if known.out and known.out.exists() and known.only:
        rows = json.loads(known.out.read_text())['rows']
    try:
        for name in known.only.split(',') if known.only else PARTS:
            storm.rows = rows[name] = []
            try:
                PARTS[name](storm)
            except Exception as error:  # the others are worth knowing
                storm.row(name, 1, 0, f'{type(error).__name__}: {error}')
            for row in storm.rows:
                row['told'] = plain(row['told'].replace(str(folder), 'DIR'))
            if known.out:
                found = {'seed': known.seed, 'rows': rows}
                known.out.write_text(json.dumps(found, indent=1) + '\n')
    finally:
        shutil.rmtree(folder)
    every = [row for name in PARTS for row in rows.get(name, ())]
    print(table(every))
    return int(any(row['equal'] < row['count'] for row in every))


if __name__ == '__main__':
    sys.exit(main())
