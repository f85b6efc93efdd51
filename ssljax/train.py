"""Trains a method: python -m ssljax.train --config=configs/simclr.py --workdir=DIR."""

import sys

if __name__ == '__main__':  # before anything is imported that takes time
    from ssljax import signals

    signals.guard()

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax import cache, cli, config, signals
from ssljax.names import Mistake

EPILOG = """\
any field of a config:  --config.model.temperature=0.2  --config.steps=1e4
the same command again resumes; --dry_run shows the whole config and starts nothing.

configs:
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.train', __doc__, EPILOG + config.listing())
    parser.add_argument('--config', required=True, metavar='FILE[:VARIANT]')
    parser.add_argument('--workdir', type=cli.place, metavar='DIR', help='where the run is kept')
    scratch = dict(action='store_true', help='where no checkpoint is whole, start at step 0')
    parser.add_argument('--from_scratch', **scratch)
    parser.add_argument('--dry_run', action='store_true', help='describe and trace the run, exit')
    known, rest = parser.parse_known_args(argv)
    typed = cli.overrides(parser, rest, fields=('model', *config.Settings._fields))
    if known.workdir is None and not known.dry_run:
        raise Mistake('--workdir=DIR is missing: where will the run be kept?')

    from ssljax import dry_run, job, processes, watch
    from ssljax.checkpoint import Checkpoints
    from ssljax.resolve import resolve

    def run() -> int:
        settings = resolve(known.config, typed)
        if known.dry_run:
            processes.told(dry_run.described(job.checked(job.make(settings))))
            return 0
        cli.writable(known.workdir)
        cache.programs()
        try:
            return train(settings, known.workdir, typed, known.from_scratch)
        except watch.Diverged as end:
            saved = [str(step) for step in Checkpoints(known.workdir).steps()]
            last = f'the last good checkpoint is step {saved[0]}' if saved else 'no checkpoint yet'
            line = f'error: {end}; {last}; a lower learning rate or clip=1.0 may help'
            print(line, file=sys.stderr)
            return 1

    processes.start()
    return processes.together(run)()


def fit(given: Any, workdir: str | Path, **changes: Any) -> Any:
    """Trains from Python and opens the model: fit('simclr:smoke', 'runs/a', steps=8).encode(x).

    given: 'FILE[:VARIANT]', the name of a config of ours, or a dict of fields. changes: fields over
    it, `__` for a dot: optim__net__learning_rate=1e-3. The same call again resumes.
    """
    from ssljax import processes, reopen, resolve

    processes.start()
    cache.programs()
    typed = [(name.replace('__', '.'), str(value)) for name, value in changes.items()]
    workdir = cli.place(workdir)
    if train(resolve.resolve(given, typed), cli.writable(workdir), typed) == signals.CODE:
        raise KeyboardInterrupt(f'stopped by a signal; the same call resumes {workdir}')
    return reopen.load(workdir)


def train(
    settings: Mapping[str, Any],
    workdir: Path,
    typed: Sequence[tuple[str, str]] = (),
    scratch: bool = False,  # where there are checkpoints and none is whole, start at step 0
) -> int:
    """Trains to the end, or from where the workdir stands to the end; then evaluates."""
    from ssljax import evaluate, job, processes
    from ssljax.checkpoint import Checkpoints
    from ssljax.reopen import same_config
    from ssljax.workdir import alone, claim, room_to_train, same_data, same_run

    same_run(settings, workdir)
    checkpoints = Checkpoints(workdir, **settings['checkpoint'])
    with contextlib.ExitStack() as stack:
        stack.enter_context(room_to_train(workdir, checkpoints))
        # a second run is refused early; a new workdir is made when all else is checked
        new = processes.of_first(int(not (workdir / 'run.json').exists()))
        if not new:
            stack.enter_context(alone(workdir))
        one = job.checked(job.make(settings))
        if new:
            stack.enter_context(alone(workdir))
        stack.enter_context(contextlib.closing(checkpoints))
        same_run(settings, workdir)  # again: until now another could write there
        same_data(one.source, workdir)
        processes.wait('every process found the workdir as it was')
        state = checkpoints.restore(one.shapes, scratch=scratch)
        if processes.first():
            claim(one, workdir, typed)
        evaluate.tell_what_cannot_run(one)
        if state is None:
            state = one.fresh()
        else:
            same_config(settings, workdir, int(state.step))
            processes.told(f'{workdir}: going on from step {int(state.step)} of {one.run.steps}')
        state, done = loop(one, state, checkpoints, workdir, **settings['log'])
        if done:
            # an evaluator that cannot run, on rows without labels say, is a line: the run is done
            model = one.model.at(state)
            told = evaluate.report(one, model, workdir, one.evals, again=True, strict=False)
            processes.told('\n' + told.strip('\n'))
        return 0 if done else signals.CODE


def loop(
    job: Any,
    state: Any,
    checkpoints: Any,
    workdir: Path,
    *,
    every: int,
    evaluate: int,
    curve: Mapping[str, Any],
    tensorboard: bool,
) -> tuple[Any, bool]:
    """The steps from the state's to the last: the state then, and whether it is the last.

    every: steps from line to line of the log.
    evaluate: steps from point to point of the curve; 0: no curve.
    curve: evaluators of the curve, with their options; empty: those of the job.
    tensorboard: whether metrics are also written for TensorBoard.
    """
    from ssljax import model, processes
    from ssljax.log import REFRESH, Log
    from ssljax.watch import Preemption, Window, finite

    start, steps = int(state.step), job.run.steps
    step, key, sweep = job.step(), job.key(model.STEP), job.sweep(purpose=model.REFRESH)
    window, stop = Window(start, steps=steps, batch=job.run.batch), False
    log = Log(workdir, start=start, steps=steps, tensorboard=tensorboard)
    with Preemption() as preempted, job.batches(start) as batches, log:
        if evaluate and start and start % evaluate == 0 and not processes.of_first(log.pointed):
            point(job, state, start, curve or job.evals, log)
            window.rest()
        for i, batch in batches:
            if job.method.refresh and job.method.refresh.when(i):
                log.tell(window.lines(batches.waited, now=True))
                state, logs = refresh(job, state, i, sweep)
                log.scalars(i, {REFRESH: 1} | {k: float(v) for k, v in logs.items()})
            state, metrics = step(state, batch, key, job.acting(i))
            window.add(metrics)
            log.progress(i + 1)
            stop = preempted.agreed(i + 1, last=steps)
            if (i + 1) % every == 0 or i + 1 == steps or stop:
                window.end({f'{n}/learning_rate': job.rates[n](i) for n in job.acting(i)})
            save = checkpoints.due(i + 1, steps) or stop
            pointed = evaluate and (i + 1) % evaluate == 0
            log.tell(window.lines(batches.waited, now=save or pointed))
            if save:
                window.check()
                finite(state, i + 1)
                checkpoints.save(state, job.config)
            if stop:
                break
            if pointed:
                point(job, state, i + 1, curve or job.evals, log)
                window.rest()
        checkpoints.close()
        stop = stop or preempted.agreed(steps, last=steps)
    if stop:
        log.say(f'stopped by a signal; step {int(state.step)} is saved: the same command resumes')
    return state, not stop


def point(job: Any, state: Any, step: int, curve: Mapping[str, Any], log: Any) -> None:
    """A point of the curve, in metrics.jsonl."""
    from ssljax import evaluate

    began = time.perf_counter()
    try:
        values = evaluate.numbers(job.model.at(state), job.source, curve)
        log.scalars(step, values | {'curve/seconds': time.perf_counter() - began})
    except Mistake as mistake:
        log.say(f'not evaluated at step {step}: {mistake}')


def refresh(job: Any, state: Any, i: int, sweep: Any) -> tuple[Any, dict]:
    """The method's E-step before step i; nothing is ever saved between the two."""
    import jax

    from ssljax import form
    from ssljax.job import begin
    from ssljax.model import REFRESH

    rule = job.method.refresh
    new, logs = rule.rule(jax.random.fold_in(job.key(REFRESH), i), state, sweep)
    state = form.kept('a refresh', state, new)
    if rule.restarts:
        opt = jax.jit(lambda params: begin(job.method, job.optimizers, params))(state.params)
        state = state.replace(opt={**state.opt, **{name: opt[name] for name in rule.restarts}})
    return job.placed(state), logs


if __name__ == '__main__':
    code = cli.guarded(main)
    signals.deaf()
    sys.exit(code)
