"""Methods that compare views, all under one harness, linear and k-NN, with two architectures:
python benchmarks/dino_table.py --out=results/dino_table.json [--only=byol,moco/vit] [--seeds=0]

The shape of table 2 of Caron et al. 2021, arXiv:2104.14294. A method enters by having the variant
:cifar10_small in its config, an encoder, no decoder, and no source of another run. Its objective,
its projector and its optimizer stay; data, encoder, crops, batch, steps and evaluators are those of
the harness, the same for all, and a warm-up has its share of the steps. Labels stand beside, by
configs/classifier.py; pixels and each encoder untrained are in every row.

Every row is a run of the training command. The file is written whole after each row; one that it
has, of the same config, is not run again. --list names the rows that it does not have.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import seeds  # noqa: E402
from ssljax import cli, config  # noqa: E402
from ssljax.names import Mistake, nearest  # noqa: E402

STEPS, BATCH = 1500, 128
VARIANT = 'cifar10_small'
# variants of keywords alone that are methods of their own: laid over VARIANT
ALSO = ('moco:v1', 'moco:v3', 'simclr:dcl')
LABELS = {'conv': 'classifier:cifar10_conv', 'vit': 'classifier:cifar10_vit'}
TOLD = ('classifier', 'sup_con')  # that read labels: none of them is the best of a column
# both architectures, as in the lectures' table; every other method has that of its config
BOTH = ('byol', 'dino', 'moco', 'moco:v3', 'swav')
NETS = {
    'conv': dict(name='conv', widths=(32, 64, 128, 256), standardize=False, pool='mean'),
    'vit': dict(
        name='vit', patch=8, width=64, depth=2, heads=2, activation='relu', size=32,
        positions='learned', class_token=True, pool='class',
    ),
}  # fmt: skip
SEEDS = {'conv': 3, 'vit': 1}  # of a net
EVALS = dict(
    knn=dict(bank_size=None, picture=False), linear_probe=dict(train_size=None), rank=dict()
)
NUMBERS = {
    'knn': ('knn', 'accuracy'),
    'knn_k200': ('knn', 'accuracy_k200'),
    'whitened': ('knn', 'accuracy_whitened'),
    'linear': ('linear_probe', 'accuracy'),
    'rank': ('rank', 'effective_rank'),
    'spread': ('rank', 'spread'),
    'dims': ('rank', 'dims'),
}


class Row(NamedTuple):
    name: str  # a config, or config:variant
    net: str
    seed: int

    def __str__(self) -> str:
        return f'{self.name}/{self.net}/{self.seed}'


# ---- which rows there are


def listed(folder: Path | None = None) -> list[Row]:
    """All rows: the first seed before the others, the conv net before the ViT."""
    found = [
        Row(name, net, seed)
        for name, net in [*((LABELS[net].partition(':')[0], net) for net in NETS), *methods(folder)]
        for seed in range(SEEDS[net])
    ]
    return sorted(found, key=lambda row: (row.seed, row.net))


def methods(folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """Name and net of all methods that take part."""
    for path, tree in config.files(folder or config.folder()):
        offered = config.variants(tree).strip('[:]').split('|')
        if VARIANT not in offered:
            continue
        also = [name for name in ALSO if name.partition(':')[0] == path.stem]
        for name in (path.stem, *(name for name in also if name.partition(':')[2] in offered)):
            model = begun(name, folder=folder)['model']
            if 'encoder' in model and not {'decoder', 'source'} & set(model):
                own = 'vit' if model['encoder']['name'].startswith('vit') else 'conv'
                yield from ((name, net) for net in NETS if net == own or name in BOTH)


def asked(rows: Sequence[Row], only: str) -> list[Row]:
    """Those that 'byol,moco/vit,dino/conv/0' names."""
    kept = []
    for word in filter(None, only.split(',')):
        mine = [row for row in rows if f'{row}/'.startswith(f'{word}/')]
        if not mine:
            offered = sorted({row.name for row in rows})
            raise Mistake(
                f'no row {word!r}{nearest(word, offered)}; type NAME, NAME/NET or NAME/NET/SEED,'
                f' with NAME of {", ".join(offered)} and NET of {", ".join(NETS)}'
            )
        kept += mine
    return [row for row in rows if row in kept] if only else list(rows)


# ---- the harness, laid over a method's config


def settings(row: Row, folder: Path | None = None) -> dict[str, Any]:
    """The config of a row."""
    whole = begun(row.name, row.net, folder)
    model = whole['model'] | {'encoder': NETS[row.net]}
    for name in ('view', 'other_view'):  # where crops are of several kinds, they are the method's
        if name in model and model[name]['name'] == 'simclr':
            model[name] = model[name] | dict(size=32, scale=(0.25, 1.0), blur=0.0)
    if 'generator' in model:  # OBoW's words have their weights among the features
        dims = (*model['generator']['dims'][:-1], NETS['conv']['widths'][-1])
        model['generator'] = model['generator'] | dict(dims=dims)
    if 'patch' in model:  # it gives the encoder its patch
        encoder = {k: v for k, v in NETS['vit'].items() if k != 'patch'}
        model |= dict(patch=NETS['vit']['patch'], encoder=encoder)
    share = STEPS / whole['steps']
    optim = {turn: shared(spec, share, row.net) for turn, spec in whole['optim'].items()}
    data, log = dict(name='tfds:cifar10', validation=5000), dict(evaluate=0, tensorboard=False)
    harness = dict(steps=STEPS, batch=BATCH, data=data, evals=EVALS, log=log, checkpoint={})
    return whole | harness | dict(model=model, optim=optim, seed=row.seed)


def begun(name: str, net: str = '', folder: Path | None = None) -> dict[str, Any]:
    """The config that a row starts at."""
    stem, _, variant = name.partition(':')
    path = f'{(folder or config.folder()) / stem}.py'
    if stem == LABELS['conv'].partition(':')[0]:
        return config.read(f'{path}:{LABELS[net].partition(":")[2]}')
    whole = config.read(f'{path}:{VARIANT}')
    if variant:
        whole = config.merge(whole, departures(config.read(path), config.read(f'{path}:{variant}')))
    return whole


def departures(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What to lay over `base` to have `other`."""
    found = {}
    for key, value in other.items():
        old = base.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            same = value.get('name') == old.get('name')
            value = departures(old, value) if same else value
            if not value:
                continue
        elif key in base and value == old:
            continue
        found[key] = value
    return found


def shared(spec: Mapping[str, Any], share: float, net: str) -> dict[str, Any]:
    """The spec of an optimizer, its warm-up at the same share of the steps."""
    spec = spec | {'warmup': round(share * spec['warmup'])} if 'warmup' in spec else dict(spec)
    groups = {name: shared(group, share, net) for name, group in spec.get('groups', {}).items()}
    if net == 'conv':
        groups.pop('patches', None)  # it has none whose projection could be held
    return spec | {'groups': groups} if groups else {k: v for k, v in spec.items() if k != 'groups'}


# ---- running them


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('benchmarks/dino_table.py', __doc__)
    parser.add_argument('--only', default='', metavar='NAME[/NET[/SEED]],...')
    parser.add_argument('--seeds', default='', metavar='SEED,SEED', help='of those, these')
    parser.add_argument('--list', action='store_true', help='name what is not there yet')
    parser.add_argument('--workdir', type=Path, default=Path('runs/dino_table'), metavar='DIR')
    parser.add_argument('--out', type=Path, default=ROOT / 'results/dino_table.json')
    known = parser.parse_args(argv)
    rows = asked(listed(), known.only)
    if known.seeds:
        rows = [row for row in rows if str(row.seed) in known.seeds.split(',')]
    check_harness(known.out)
    held = read(known.out)
    absent = [row for row in rows if not there(row, held)]
    if known.list:
        print('\n'.join(map(str, absent)))
        return 0
    failed = []
    for row in absent:
        try:
            found = trained(row, known.workdir)
        except SystemExit as stop:
            if stop.code == 75:  # told to stop: it goes on when asked again
                raise
            failed.append(str(row))
            continue
        keep(known.out, row, found)
        print(row, found['scores']['trained'], flush=True)
    if failed:
        print(f'these failed: {", ".join(failed)}', file=sys.stderr)
    return bool(failed)


def harness() -> dict[str, Any]:
    """What all rows of a file share."""
    shared = {'steps': STEPS, 'batch': BATCH, 'nets': NETS, 'evals': EVALS}
    return config.as_json(shared)


def check_harness(path: Path) -> None:
    """Refuses a file whose rows are of another harness."""
    held = json.loads(path.read_text())['harness'] if path.exists() else {}
    other = [name for name, value in harness().items() if held.get(name, value) != value]
    if other:
        raise Mistake(f'{path} has rows with other {", ".join(other)}; give another --out')


def read(path: Path) -> dict[Row, dict[str, Any]]:
    """The rows of a file, which has a list for each net."""
    found = json.loads(path.read_text()) if path.exists() else {}
    return {row_of(run): run for net in NETS for run in found.get(net, ())}


def row_of(run: Mapping[str, Any]) -> Row:
    return Row(run['name'], run['net'], run['seed'])


def there(row: Row, found: Mapping[Row, Any]) -> bool:
    """Whether the file has this row, of the config that it has now."""
    return row in found and found[row]['config'] == config.as_json(own(settings(row)))


def own(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of a row's config is not the harness."""
    return {name: settings[name] for name in ('method', 'model', 'optim')}


def trained(row: Row, workdir: Path) -> dict[str, Any]:
    """Runs a row by the training command, and gives what the file keeps of it."""
    whole = settings(row)
    mark = hashlib.sha256(json.dumps(own(whole)).encode()).hexdigest()
    name = row.name.replace(':', '-')
    path = workdir.absolute() / f'{name}-{row.net}-{mark[:6]}.py'  # another config has its own
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'def get_config(variant=""):\n    return {whole!r}\n')
    place = path.parent / f'{path.stem}-{row.seed}'
    return kept(whole, seeds.run(str(path), [], row.seed, place))


def kept(settings: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """What the file has of a run."""
    results = record['results']
    scores: dict[str, dict[str, float]] = {}
    for name, (evaluator, metric) in NUMBERS.items():
        for who, numbers in results['evals'][evaluator]['scores'].items():
            scores.setdefault(who, {})[name] = numbers[metric]
    return {
        'scores': scores,
        'training_cpu_seconds': results['training_cpu_seconds'],
        'cpu_minutes': round(sum(part['cpu_minutes'] for part in record['spent']), 2),
        'minutes': round(sum(part['minutes'] for part in record['spent']), 2),
        **seeds.facts(record),
        'config': config.as_json(own(settings)),
    }


def keep(path: Path, row: Row, found: Mapping[str, Any]) -> None:
    """Writes the file whole, with this row; others may have written to it meanwhile."""
    from ssljax.log import write_json

    rows = read(path) | {row: {**row._asdict(), **found}}
    parts = {net: [rows[one] for one in sorted(rows) if one.net == net] for net in NETS}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {'harness': harness(), **parts})


# ---- the table

# linear and k-NN, ImageNet: Caron et al. 2021, table 2, as the lectures print it
LECTURES = {
    'conv': {
        'classifier': (79.3, 79.3), 'simclr': (69.1, 60.7), 'moco': (71.1, 61.9),
        'barlow_twins': (73.2, 66.0), 'obow': (73.8, 61.9), 'byol': (74.4, 64.8),
        'deepcluster_v2': (75.2, 67.1), 'swav': (75.3, 65.7), 'dino': (75.3, 67.5),
    },
    'vit': {
        'classifier': (79.8, 79.8), 'byol': (71.4, 66.6), 'moco': (72.7, 64.4),
        'swav': (73.5, 66.3), 'dino': (77.0, 74.5),
    },
}  # fmt: skip
# k-NN, k = 200, of CIFAR-10: lightly, docs/source/getting_started/benchmarks.rst, batch 128
LIGHTLY = {
    'barlow_twins': 84.2, 'byol': 86.9, 'simclr:dcl': 84.4, 'dino': 84.0, 'moco': 83.8,
    'nnclr': 83.4, 'simclr': 84.7, 'simsiam': 81.9, 'swav': 81.2,
}  # fmt: skip
SHOWN = {'linear': 'linear', 'knn': 'k-NN', 'whitened': 'whitened', 'knn_k200': 'k = 200'}


def table(net: str, path: Path = ROOT / 'results/dino_table.json') -> str:
    """The rows of a net, the best linear probe first: trained, and untrained in brackets."""
    from benchmarks.tables import grid, spread

    runs: dict[str, list[dict]] = {}
    for row, run in read(path).items():
        if row.net == net:
            runs.setdefault(row.name, []).append(run)
    if not runs:
        return 'No row has been run yet.'
    means = {name: averages(mine) for name, mine in runs.items()}
    order = sorted(runs, key=lambda name: (name != 'classifier', -means[name]['trained']['linear']))
    untold = [name for name in order if name not in TOLD]
    best = {n: max(means[name]['trained'][n] for name in untold or order) for n in SHOWN}

    def cell(name: str, number: str) -> str:
        values = [run['scores']['trained'][number] for run in runs[name]]
        short = spread(values, digits=0 if number == 'rank' else 1)
        if name not in TOLD and means[name]['trained'][number] == best.get(number):
            short = f'**{short}**'
        untrained = means[name]['untrained'][number]
        return f'{short} ({untrained:.{0 if number == "rank" else 1}f})'

    rows = []
    for name in order:
        linear, near = LECTURES[net].get(name, ('', ''))
        theirs = [f'{linear} / {near}' if linear else '', str(LIGHTLY.get(name, ''))]
        said = 'labels' if name in TOLD else verdict(means[name])
        cells = [cell(name, number) for number in (*SHOWN, 'rank')]
        cpu = f'{fmean(run["cpu_minutes"] for run in runs[name]):.0f}'
        theirs = theirs if net == 'conv' else theirs[:1]
        rows.append([f'`{name}`', *cells, said, *theirs, str(len(runs[name])), cpu])
    pixels = next(iter(runs.values()))[0]['scores']['pixels']
    cells = [f'{pixels[n]:.1f}' for n in SHOWN]
    rows.append(['pixels', *cells, f'{pixels["rank"]:.0f}', *[''] * (len(rows[0]) - 6)])
    dims = round(means[order[0]]['trained']['dims'])
    head = ['method', *SHOWN.values(), f'rank of {dims}', '', 'lectures: linear / k-NN']
    head += ['lightly: k = 200'] if net == 'conv' else []
    lines = orders(net, means)
    return grid([*head, 'seeds', 'CPU minutes'], rows, ' '.join(lines))


def averages(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Means over seeds, by who is scored and by number."""
    names = {who: numbers.keys() for who, numbers in runs[0]['scores'].items()}
    return {
        who: {n: fmean(run['scores'][who][n] for run in runs) for n in numbers}
        for who, numbers in names.items()
    }


def verdict(means: Mapping[str, Mapping[str, float]]) -> str:
    """What is to be said of features: that they collapsed, or are worth no more than none."""
    mine, untrained, pixels = (means[who] for who in ('trained', 'untrained', 'pixels'))
    if mine['rank'] < untrained['rank'] / 2 and mine['knn'] < untrained['knn']:
        return '**collapsed**'
    said = []
    for who, other in (('pixels', pixels), ('untrained', untrained)):
        if below := [SHOWN[n] for n in SHOWN if mine[n] <= other[n]]:
            said.append(f'not above {who}: {", ".join(below)}')
    return '; '.join(said)


def orders(net: str, means: Mapping[str, Any]) -> Iterator[str]:
    """How the order of methods agrees with what others print: Kendall's tau."""
    from scipy.stats import kendalltau

    theirs = {
        'the lectures, linear': ('linear', {n: v[0] for n, v in LECTURES[net].items()}),
        'the lectures, k-NN': ('knn', {n: v[1] for n, v in LECTURES[net].items()}),
    }
    if net == 'conv':
        theirs['lightly, k = 200'] = ('knn_k200', LIGHTLY)
    for title, (number, values) in theirs.items():
        both = [name for name in values if name in means and name != 'classifier']
        if len(both) > 2:
            mine = [means[name]['trained'][number] for name in both]
            tau = kendalltau(mine, [values[name] for name in both]).statistic
            yield f'Order beside {title}: tau = {tau:.2f} of {len(both)} methods.'


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
