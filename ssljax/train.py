"""Trains a method: python -m ssljax.train --config=configs/simclr.py --workdir=DIR."""

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax import cache, cli, config
from ssljax.names import Mistake

EPILOG = """\
any field of a config:  --config.model.temperature=0.2  --config.steps=1e4
the same command again resumes; --dry_run shows the whole config and starts nothing.

configs:
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.train', __doc__, EPILOG + config.listing())
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument('--workdir', type=Path, metavar='DIR', help='where the run is kept')
    parser.add_argument('--dry_run', action='store_true', help='describe the run and exit')
    known, rest = parser.parse_known_args(argv)
    changes = cli.overrides(parser, rest)
    if known.workdir is None and not known.dry_run:
        raise Mistake('--workdir=DIR is missing: where shall the run be kept?')

    from ssljax import assemble, describe, watch
    from ssljax.checkpoint import Checkpoints

    settings = assemble.resolve(known.config, changes)
    if known.dry_run:
        print(describe.job(assemble.assemble(settings)))
        return 0
    cli.writable(known.workdir)
    cache.programs()
    again = f'--config={known.config} ' + ''.join(f'--config.{k}={v} ' for k, v in changes)
    try:
        return train(settings, known.workdir, changes, again)
    except watch.Diverged as end:
        saved = [str(step) for step in Checkpoints(known.workdir).steps()]
        last = f'the last good checkpoint is step {saved[0]}' if saved else 'no checkpoint yet'
        print(f'error: {end}; {last}; a lower learning rate or clip=1.0 may help', file=sys.stderr)
        return 1


def train(
    settings: Mapping[str, Any],
    workdir: Path,
    changes: Sequence[tuple[str, str]] = (),
    again: str = '',
) -> int:
    """Trains to the end, or from where the workdir stands to the end; then evaluates."""
    from ssljax import evaluate
    from ssljax.assemble import REFRESH, STEP, assemble
    from ssljax.checkpoint import Checkpoints
    from ssljax.data.batches import Batches
    from ssljax.log import Log
    from ssljax.watch import Preemption, Window, finite
    from ssljax.workdir import claim, same_data, same_run

    same_run(settings, workdir)
    job = assemble(settings)
    same_data(job, workdir)
    steps, every = settings['steps'], settings['log']['every']
    checkpoints = Checkpoints(workdir, **settings['checkpoint'])
    state = checkpoints.restore(job.shapes)
    if state is None:
        state = job.fresh()
    start = int(state.step)
    if not claim(job, workdir, changes):
        print(f'{workdir}: going on from step {start} of {steps}', flush=True)
    step, key, sweep = job.step(), job.key(STEP), job.sweep(purpose=REFRESH)
    batches = Batches(
        job.train, seed=settings['seed'], batch=settings['batch'], start=start, stop=steps,
        place=job.place,
    )  # fmt: skip
    log = Log(workdir, start=start, steps=steps, tensorboard=settings['log']['tensorboard'])
    window = Window(start)
    with batches, log, Preemption() as preempted:
        for i, batch in batches:
            if job.method.refresh and job.method.refresh.when(i):
                state, logs = refresh(job, state, i, sweep)
                log.scalars(i, {k: float(v) for k, v in logs.items()})
            state, metrics = step(state, batch, key, job.acting(i))
            window.add(metrics)
            log.progress(i + 1)
            stop = preempted.caught
            if (i + 1) % every == 0 or i + 1 == steps or stop:
                values = window.read(settings['batch'], batches.waited, steps)
                values |= {f'{n}/learning_rate': job.rates[n](i) for n in job.acting(i)}
                log.scalars(i + 1, values)
                log.line(i + 1, values)
            if checkpoints.due(i + 1, steps) or stop:
                window.check()
                finite(state, i + 1)
                checkpoints.save(state, settings)
            if stop:
                checkpoints.close()
                print(f'stopped by a signal; step {i + 1} is saved: the same command resumes')
                return 75
            if (evaluation := settings['log']['evaluate']) and (i + 1) % evaluation == 0:
                began = time.perf_counter()
                try:
                    found = evaluate.numbers(job, state)
                    log.scalars(i + 1, found | {'curve/seconds': time.perf_counter() - began})
                except Mistake as mistake:
                    print(f'not evaluated at step {i + 1}: {mistake}', flush=True)
                window.rest()
    checkpoints.close()
    # an evaluator that cannot run, on rows without labels say, is a line: the run itself is done
    told = evaluate.report(job, state, workdir, again=again, strict=False)
    print('\n' + told.strip('\n'))
    return 0


def refresh(job: Any, state: Any, i: int, sweep: Any) -> tuple[Any, dict]:
    """The method's E-step before step i; nothing is ever saved between the two."""
    import jax

    from ssljax.assemble import REFRESH, begin

    rule, old = job.method.refresh, state
    state, logs = rule.rule(jax.random.fold_in(job.key(REFRESH), i), state, sweep)
    if state.step is not old.step or state.opt is not old.opt:
        raise TypeError('a refresh may not touch state.step or state.opt')
    opt = begin(job.method, job.optimizers, state.params)
    return job.placed(state.replace(opt={**state.opt, **{n: opt[n] for n in rule.restarts}})), logs


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
