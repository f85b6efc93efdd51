"""Evaluates a run: python -m ssljax.evaluate --workdir=DIR [--evals=knn,linear_probe]."""

import functools
import importlib.metadata
import json
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ssljax import cache, cli
from ssljax.names import Mistake, choose

WIDTH = 118  # of a table on the console


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.evaluate', __doc__, 'options of one:  --evals.knn.k=200')
    parser.add_argument('--workdir', required=True, type=Path, metavar='DIR')
    parser.add_argument('--evals', metavar='A,B', help="evaluators, or all; else the config's own")
    known, rest = parser.parse_known_args(argv)
    changes = cli.overrides(parser, rest, '--evals.')

    from ssljax import assemble, config, evals

    run = load(known.workdir)
    chosen = run.job.config['evals']
    named = known.evals not in (None, 'all')
    if known.evals is None:
        chosen = assemble.asked(chosen, [dotted for dotted, _ in changes])
    names = known.evals.split(',') if named else list(chosen)
    if known.evals == 'all' or not names:
        readouts = run.job.method.readouts
        names += [n for n in evals.__all__ if n not in names and not evals.explain(n, readouts)]
    chosen = assemble.spell_evals({name: chosen.get(name, {}) for name in names})
    for dotted, text in changes:
        config.override(chosen, dotted, text)
        if dotted.endswith('.name'):
            assemble.forget(chosen, dotted)
    job = run.job._replace(config={**run.job.config, 'evals': chosen})
    cache.programs()
    print(report(job, run.state, known.workdir, strict=named))
    return 0


class Trained:
    """A trained run: every readout of its method is a function here, of arrays or of a batch."""

    def __init__(self, job: Any, state: Any):
        self.job, self.state, self.step = job, state, int(state.step)
        self.sweep = job.sweep()

    def __getattr__(self, name: str) -> Callable:
        if name.startswith('_') or 'job' not in self.__dict__:
            raise AttributeError(name)
        readouts = self.job.method.readouts
        return partial(self.ask, readouts[choose(name, readouts, 'readout of this run')])

    def ask(self, readout: Callable, x: Any, **options: Any) -> Any:
        """x: images [N, H, W, C] (uint8, or floats in [-1, 1]), tokens [N, T], a batch, or a number
        of rows for a readout that needs none (run.sample(64))."""
        import numpy as np

        like = self.job.train.rows(np.arange(1))
        if isinstance(x, int):
            x = {k: np.repeat(v, x, 0) for k, v in like.items()}
        if not isinstance(x, Mapping):
            x = {'x': np.asarray(x)}
        found, trained = x['x'].shape[1:], like['x'].shape[1:]
        if len(found) != len(trained) or (len(found) == 3 and found[-1] != trained[-1]):
            raise Mistake(f'rows of shape {list(found)}; this run was trained on {list(trained)}')
        rows = {name: np.asarray(values) for name, values in x.items()}
        return self.sweep.over(readout, self.state, rows, **options)


def load(workdir: str | Path) -> Trained:
    """The newest whole checkpoint of a run, ready to be asked: load(dir).encode(images)."""
    from ssljax.assemble import assemble
    from ssljax.checkpoint import Checkpoints
    from ssljax.config import plain

    path = Path(workdir) / 'run.json'
    if not path.is_file():
        raise Mistake(f'{workdir} is not a workdir: it has no run.json')
    job = assemble(plain(json.loads(path.read_text())['config']))
    checkpoints = Checkpoints(Path(workdir))
    state = checkpoints.restore(job.shapes, repair=False)
    if state is None:
        raise Mistake(f'no whole checkpoint in {checkpoints.folder}; train there first')
    return Trained(job, state)


def subject(job: Any, state: Any, name: str, **save: Callable) -> Any:
    """A state as evaluators see it."""
    from ssljax.assemble import EVAL
    from ssljax.evals import Model, Subject
    from ssljax.sharding import place

    over, readouts = job.sweep().over, job.method.readouts
    model = Model(state, readouts, over, partial(place, job.mesh))
    asks = {n: partial(over, readout, state) for n, readout in readouts.items()}
    return Subject(name, job.source, asks, job.key(EVAL), model=model, kept={}, **save)


def settled(job: Any, state: Any, steps: int = 50) -> Any:
    """An untrained state whose running statistics are those of its data, as a trained one's are."""
    import jax

    from ssljax.assemble import INIT
    from ssljax.data.batches import Batches
    from ssljax.step import floats

    if not jax.tree.leaves(state.memory.get('stats', {})):
        return state

    @jax.jit
    def look(key, state, batch):
        for turn in job.method.turns.values():
            _, memory, _ = turn.loss(key, state, floats(batch))
            state = state.remember(stats=memory['stats'])
        return state

    settings, key = job.config, job.key(INIT)
    with Batches(
        job.train, seed=settings['seed'], batch=settings['batch'], stop=steps, place=job.place
    ) as batches:
        for i, batch in batches:
            state = look(jax.random.fold_in(key, i), state, batch)
    return state


def numbers(job: Any, state: Any) -> dict[str, float]:
    """The trained model's numbers alone, for a curve: {'knn/accuracy': ...}."""
    from ssljax import evals

    who, found = subject(job, state, 'trained'), {}
    for name, options in (job.config['log']['curve'] or job.config['evals']).items():
        if not evals.explain(name, job.method.readouts):
            scores = getattr(evals, name)(who, **options)
            found |= {f'{name}/{k}': v for k, v in scores.items()}
    return found


def report(job: Any, state: Any, workdir: Path, *, again: str = '', strict: bool = True) -> str:
    """Runs the evaluators on the trained and the untrained model and on what is trivial;
    writes results.json and pictures; returns the table to print.

    strict: an evaluator that cannot run is a Mistake, not a line of the report.
    """
    from ssljax import evals

    pictures: list[Path] = []
    keep = partial(keep_picture, workdir / 'pictures', pictures)
    models = {'untrained': settled(job, job.fresh()), 'trained': state}
    models = {who: subject(job, its, who, save=partial(keep, who)) for who, its in models.items()}
    results, reasons = {}, []
    for name, options in job.config['evals'].items():
        try:
            if reason := evals.explain(name, job.method.readouts):
                raise Mistake(reason)
            scores = {who: getattr(evals, name)(one, **options) for who, one in models.items()}
            told = getattr(evals.module(name), 'told', lambda scores: {})(scores['trained'])
            trivial = {
                one.name: remembered(name, one, {**options, **told}, workdir / 'pictures')
                for one in baselines(job, name)
            }
            scores = {**trivial, **scores}
        except Mistake as mistake:
            if strict:
                raise
            reasons.append(f'not run     {mistake}')
        else:
            results[name] = {'protocol': options, 'scores': scores}
            for metric, reason in getattr(evals.module(name), 'LACKING', {}).items():
                if metric not in scores['trained']:
                    reasons.append(f'not run     {name} {reason}')
    path = write(job, state, workdir, results)
    lines = [table(results), *reasons]
    lines += [f'pictures    {p}' for p in pictures if 'trained' == p.stem.split('-')[0]]
    lines += [
        f'checkpoint  {workdir / "checkpoints" / str(int(state.step))}',
        f'results     {path}',
    ]
    if again:
        lines.append(f'next        python -m ssljax.evaluate --workdir={workdir} --evals=all')
        lines.append(f'            tensorboard --logdir={workdir}')
    return '\n'.join(lines)


def baselines(job: Any, name: str) -> list[Any]:
    """Whoever learned nothing and is scored by the same evaluator."""
    import jax

    from ssljax import evals

    key = jax.random.key(0)  # not the run's: their numbers are the same in every run
    found = evals.trivial(name, job.source, key)
    return [evals.Subject(who, job.source, asks, key) for who, asks in found.items()]


def remembered(name: str, one: Any, options: Mapping[str, Any], pictures: Path) -> dict[str, float]:
    """An evaluator's numbers of a baseline, and its pictures: from the user's cache if they are
    there, since on 50k images the baselines take longer than the models, and no run changes them.

    An entry is named by all that it depends on: data, evaluator, options, code and versions.
    """
    from ssljax import evals
    from ssljax.data.source import fingerprint
    from ssljax.log import write_json

    source = one.source
    data = (source.name, source.fingerprint, source.decoder)
    entry = cache.home() / 'baselines' / fingerprint(data, name, one.name, options, code())
    try:
        entry.mkdir(parents=True, exist_ok=True)
    except OSError:  # nothing can be kept
        save = partial(keep_picture, pictures, [], one.name)
        return getattr(evals, name)(one._replace(save=save), **options)
    if not (path := entry / 'scores.json').exists():
        save = partial(keep_picture, entry, [], one.name)
        write_json(path, getattr(evals, name)(one._replace(save=save), **options))  # last
    for picture in entry.glob(f'{one.name}-*'):
        pictures.mkdir(exist_ok=True)
        shutil.copyfile(picture, pictures / picture.name)
    return json.loads(path.read_text())


@functools.cache
def code() -> tuple[Any, ...]:
    """What evaluators compute with: sources of ours, versions of others, the kind of device."""
    import jax

    here = Path(__file__).parent
    rooms = ('augment', 'evals', 'losses', 'nets')
    files = [file for room in rooms for file in here.glob(f'{room}/*.py')]
    files += [here / 'cluster.py', here / 'data' / 'source.py']
    versions = [importlib.metadata.version(n) for n in ('jax', 'numpy', 'scipy', 'scikit-learn')]
    return [file.read_bytes() for file in sorted(files)], versions, jax.default_backend()


def write(job: Any, state: Any, workdir: Path, results: Mapping[str, Any]) -> Path:
    """results.json: the numbers with their protocol, beside those of earlier evaluations."""
    from ssljax.checkpoint import FOLDER, MANIFEST, digest
    from ssljax.log import write_json

    path, settings = workdir / 'results.json', job.config
    old = json.loads(path.read_text())['evals'] if path.exists() else {}
    run = json.loads((workdir / 'run.json').read_text())
    lines = [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]
    for name, result in results.items():
        for scores in result['scores'].values():
            scores |= interval(name, scores)
        result |= best(name, run['config'], lines)
    times = ('seconds', 'cpu_seconds')
    total = {name: sum(line.get(name, 0) for line in lines) for name in times}
    spent = {name: round(seconds / 60, 2) for name, seconds in total.items()}
    found = {name: settings[name] for name in ('method', 'seed', 'steps', 'batch')}
    found |= {
        'data': run['data'],
        'checkpoint': int(state.step),
        # of its manifest, which has the digest of every file
        'checkpoint_sha256': digest(workdir / FOLDER / str(int(state.step)) / MANIFEST),
        'examples_seen': int(state.step) * settings['batch'],
        'training_cpu_seconds': round(total['cpu_seconds'], 1),
        'minutes': {'training': spent['seconds'], 'training_cpu': spent['cpu_seconds']},
        'device': f'{run["device_kind"]}, {run["cores"]} cores',
        'evals': {**old, **results},
    }
    write_json(path, found)
    return path


def interval(name: str, scores: Mapping[str, float]) -> dict[str, list[float]]:
    """Where the evaluator's first number lies with 95 percent confidence, by its rows."""
    from ssljax import evals

    metric = evals.module(name).SHOWN[0]
    if metric not in scores or 'standard_error' not in scores:
        return {}
    reach = 1.96 * scores['standard_error']
    return {'interval_95': [scores[metric] - reach, scores[metric] + reach]}


def best(
    name: str, settings: Mapping[str, Any], lines: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """The evaluator's first number while training, where log.evaluate asked for it, with its
    protocol, and its best: chosen by what it tells, so no number to compare by."""
    from ssljax import evals

    module = evals.module(name)
    shown = f'{name}/{module.SHOWN[0]}'
    curve = {line['step']: line[shown] for line in lines if shown in line}
    if not curve:
        return {}
    choose_by = min if module.SHOWN[0] in getattr(module, 'LESS', ()) else max
    step = choose_by(curve, key=curve.get)
    asked = settings['log'].get('curve') or settings['evals']
    best = {'step': step, module.SHOWN[0]: curve[step]}
    return {'best': best, 'curve': curve, 'curve_protocol': asked[name]}


def keep_picture(folder: Path, kept: list[Path], who: str, name: str, picture: Any) -> None:
    """Saves a picture, or a text, of one subject."""
    folder.mkdir(exist_ok=True)
    path = folder / (f'{who}-{name}' + ('.txt' if isinstance(picture, str) else '.png'))
    path.write_text(picture) if isinstance(picture, str) else picture.save(path)
    kept.append(path)


def table(results: Mapping[str, Any]) -> str:
    """Subjects down; across, what each evaluator shows."""
    from ssljax import evals

    columns: dict[tuple[str, str], str] = {}
    rows: dict[str, dict] = {}
    for name, result in results.items():
        shown = evals.module(name).SHOWN
        for who, scores in result['scores'].items():
            for metric in shown:
                if metric in scores:
                    # k200, not accuracy_k200: it follows accuracy
                    short = metric.removeprefix(f'{shown[0]}_').replace('_', ' ')
                    columns[name, metric] = f'{name} {short}'
                    rows.setdefault(who, {})[name, metric] = digits(scores[metric])
    last = ('untrained', 'trained')  # below those who learned nothing
    names = sorted(rows, key=lambda who: last.index(who) if who in last else -1)
    parts: list[list] = []
    for column, head in columns.items():
        cells = [head, *(rows[who].get(column, '-') for who in names)]
        if not parts or sum(2 + width(c) for c in [*parts[-1], cells]) > WIDTH:
            parts.append([['', *names]])
        parts[-1].append(cells)
    return ''.join('\n' + '\n'.join(aligned(part)) + '\n' for part in parts)


def aligned(columns: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns side by side: the first to the left, numbers to the right, a rule below the
    heads."""
    first, *others = [[c[0], '-' * width(c), *c[1:]] for c in columns]
    columns = [
        [cell.ljust(width(first)) for cell in first],
        *([cell.rjust(width(c)) for cell in c] for c in others),
    ]
    return ['  '.join(cells) for cells in zip(*columns, strict=True)]


def width(cells: Sequence[str]) -> int:
    return max(map(len, cells))


def digits(value: float) -> str:
    """Three digits that count, and two decimals at least; of a count, its own digits."""
    if isinstance(value, int):
        return str(value)
    below = max(0, -math.floor(math.log10(abs(value)))) if value and math.isfinite(value) else 0
    return f'{value:.{min(2 + below, 6)}f}'


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
