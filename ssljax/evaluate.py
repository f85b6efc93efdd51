"""Evaluates a run: python -m ssljax.evaluate --workdir=DIR [--evals=knn,linear_probe].

Numbers of baselines and of the untrained model are kept in ~/.cache/ssljax/baselines, or below
XDG_CACHE_HOME; it may be deleted at any time.
"""

import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ssljax import cache, cli
from ssljax.names import Mistake, choose


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.evaluate', __doc__, 'options of one:  --evals.knn.k=200')
    parser.add_argument('--workdir', required=True, type=cli.place, metavar='DIR')
    parser.add_argument('--evals', metavar='A,B', help="evaluators, or all; else the config's own")
    known, rest = parser.parse_known_args(argv)
    typed = cli.overrides(parser, rest, '--evals.')

    from ssljax import config, evals, processes, resolve
    from ssljax.reopen import load
    from ssljax.workdir import job_of, room_to_evaluate
    from ssljax.written import record

    processes.start()
    cache.programs()
    own = config.plain(record(known.workdir)['config'].get('evals', {}))
    cli.writable(known.workdir)
    model = load(known.workdir)
    named = known.evals not in (None, 'all')
    names = known.evals.split(',') if named else list(own)
    if known.evals == 'all' or not (names or typed):
        able = [n for n in evals.offered() if not evals.explain(n, model.readouts)]
        names += [name for name in able if name not in names]
    if named:
        for dotted, _ in typed:
            choose(dotted.partition('.')[0], names, 'evaluator in --evals')
    resolve.evaluators({name: {} for name in names if name not in own}, ())  # those typed exist
    try:
        resolve.evaluators({name: own[name] for name in names if name in own})
    except Mistake as mistake:
        raise Mistake(
            f'{known.workdir / "run.json"} was made by another version of ssljax: {mistake};'
            ' take it out of config.evals there'
        ) from None
    chosen = resolve.evaluators({name: own.get(name, {}) for name in names}, typed)
    with room_to_evaluate(known.workdir):
        told = report(job_of(known.workdir), model, known.workdir, chosen, strict=named)
    processes.told(told)
    return 0


def report(
    job: Any,
    model: Any,
    workdir: Path,
    chosen: Mapping[str, Mapping[str, Any]],
    *,
    again: bool = False,
    strict: bool = True,
) -> str:
    """Runs the evaluators on the trained model, the untrained one and on what is trivial;
    writes results.json and pictures; returns the table to print.

    strict: an evaluator that cannot run is a Mistake, not a line of the report.
    again: whether to say what to type next.
    """
    from ssljax import console, processes, results, trivial
    from ssljax.evals import obstacle, offered

    results.earlier(workdir)  # if it is torn, this is said before the work and not after
    pictures: list[Path] = []
    told, reasons, keep = {}, [], partial(trivial.keep_picture, workdir / 'pictures', pictures)
    trained = subject(model, job.source, 'trained', save=partial(keep, 'trained'))

    @functools.cache
    def untrained():
        return subject(job.untrained(), job.source, 'untrained', save=partial(keep, 'untrained'))

    begun = trivial.begun(job)
    for name, options in chosen.items():
        try:
            if reason := obstacle(name, options, model.readouts, job.source):
                raise Mistake(reason)
            scores = scored(name, options, trained, untrained, workdir / 'pictures', begun)
        except Mistake as mistake:
            if strict:
                raise
            reasons.append(f'not run     {mistake}')
            continue
        told[name] = results.entry(name, options, scores)
        if processes.first():
            told[name]['rows_sha256'] = results.keep_rows(workdir, name, scores['trained'].rows)
        for metric, reason in offered()[name].lacking.items():
            if metric not in scores['trained'].numbers:
                reasons.append(f'not run     {name} {reason}')
    path = workdir / 'results.json'
    if processes.first():
        results.write(workdir, model.step, told, job.source, model.checkpoint)
    lines = [console.table(told), *reasons]
    lines += [f'pictures    {p}' for p in pictures if p.stem.split('-')[0] == 'trained']
    lines += [f'checkpoint  {workdir / "checkpoints" / str(model.step)}', f'results     {path}']
    if again:
        lines.append(f'next        python -m ssljax.evaluate --workdir={workdir} --evals=all')
        lines.append(f'            tensorboard --logdir={workdir}')
    return '\n'.join(lines)


def tell_what_cannot_run(job: Any) -> None:
    """Says before the first step which evaluators will not run, as far as it is known then."""
    from ssljax import processes
    from ssljax.evals import obstacle

    for name, options in job.evals.items():
        if reason := obstacle(name, options, job.model.readouts, job.source):
            processes.told(f'will not run: {reason}')


def scored(
    name: str,
    options: Mapping[str, Any],
    trained: Any,
    untrained: Callable[[], Any],
    pictures: Path,
    begun: Any,
) -> dict[str, Any]:
    """An evaluator's scores of all subjects, the trained model last; says how long each took.

    begun: what the untrained model depends on, by which its scores are remembered; None: they are
    not.
    """
    from ssljax import trivial
    from ssljax.evals import Subject, offered

    evaluator, scores = offered()[name], {}
    with Progress(name) as progress:
        progress.next('trained')
        mine = evaluator.run(trained, **options)
        more = {**options, **evaluator.told(mine.numbers)}
        for one in trivial.subjects(name, trained.source):
            progress.next(one.name)
            scores[one.name] = trivial.remembered(name, one, more, pictures)
        if evaluator.untrained:
            progress.next('untrained')
            if begun is None:
                scores['untrained'] = evaluator.run(untrained(), **options)
            else:
                one = Subject('untrained', trained.source, {}, trained.key)
                known = dict(of=begun, make=untrained)
                scores['untrained'] = trivial.remembered(name, one, options, pictures, **known)
    return {**scores, 'trained': mine}


def subject(model: Any, source: Any, name: str, **save: Callable) -> Any:
    """A model as evaluators see it. What it answered is kept for the next evaluator."""
    from ssljax.evals import Subject

    asks = {n: partial(model.over, readout, model.state) for n, readout in model.readouts.items()}
    return Subject(name, source, asks, model.key(), model=model, kept={}, **save)


class Progress:
    """One line for each evaluator, which grows: 'knn  trained 2.1 s, pixels 0.4 s'."""

    def __init__(self, name: str):
        self.name, self.who = name, ''

    def next(self, who: str) -> None:
        self.end()
        self.who, self.began = who, time.perf_counter()
        self.say(('  ' if self.first else ', ') + who)
        self.first = False

    def end(self) -> None:
        if self.who:
            self.say(f' {time.perf_counter() - self.began:.1f} s')

    def say(self, text: str, end: str = '') -> None:
        from ssljax import processes

        if processes.first():
            print(text, end=end, flush=True)

    def __enter__(self) -> 'Progress':
        self.first = True
        self.say(f'evaluating  {self.name}')
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()
        self.say('', end='\n')


def numbers(model: Any, source: Any, chosen: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The model's numbers alone, for a curve: {'knn/accuracy': ...}."""
    from ssljax.evals import obstacle, offered

    out = {}
    for name, options in chosen.items():
        if not obstacle(name, options, model.readouts, source):
            scores = offered()[name].run(subject(model, source, 'trained'), **options)
            out |= {f'{name}/{k}': v for k, v in scores.numbers.items()}
    return out


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
