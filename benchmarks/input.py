"""How many examples a second come from a source to the device, beside PyTorch and Grain:
python benchmarks/input.py [--only=WORDS] --out=results/speed-input.json

Each route of data, by the Batches that training uses, and what the step of a config consumes of it.
Beside it, on the same arrays and files, PyTorch's DataLoader (rows one by one or a batch at once,
with workers or without) and Grain in threads. TFDS data sets are those in TFDS_DATA_DIR.
"""

import functools
import importlib.util
import itertools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import rounds  # noqa: E402
import rows  # noqa: E402
from rounds import compared, timed  # noqa: E402

from ssljax import cli, data  # noqa: E402
from ssljax.names import Mistake  # noqa: E402

BATCH = 128
FILES, SHAPE = 1000, (192, 256)  # of the folder


class Route(NamedTuple):
    """A source, the config whose step is fed by it, and what peers read instead of it."""

    spec: dict
    config: str = ''
    changes: tuple = ()
    peer: Callable[[], Any] | None = None  # its rows, by index
    kept: bool = False  # whether rows are decoded once: the first epoch is not timed


def main() -> int:
    parser = cli.parser('benchmarks/input.py', __doc__)
    parser.add_argument('--only', default='', metavar='WORDS', help='rows whose name has these')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--batches', type=int, default=20, help='of a turn')
    parser.add_argument('--most', type=float, default=8.0, help='seconds of a form')
    parser.add_argument('--steps', type=int, default=60, help='of a config that are timed; 0: none')
    parser.add_argument('--out', type=Path, metavar='FILE')
    known = parser.parse_args()
    for package in ('torch', 'grain', 'tensorflow', 'tensorflow_datasets', 'ml_collections'):
        if not there(package):
            print(f'{package} is not installed: what needs it is left out', flush=True)
    needs = functools.cache(functools.partial(need, steps=known.steps))
    with tempfile.TemporaryDirectory() as place:
        for name, route in routes(Path(place)).items():
            if known.only not in name:
                continue
            try:
                source = data.make(route.spec)
            except (Mistake, ImportError) as error:
                print(f'{name}: left out ({error})', flush=True)
                continue
            found = dict(work=name, examples=BATCH * known.batches)
            found |= speeds(source, route, known)
            if route.config and known.steps and there('ml_collections'):
                step, wait = needs(route.config, route.changes)
                found |= dict(config=route.config, step_consumes=step, waiting_for_data=wait)
                found['times_what_the_step_consumes'] = found['per_second']['ours'] / step
            print(told(found), flush=True)
            # now: a run that is stopped goes on with --only
            head = rounds.about('torch', 'grain', 'tensorflow', 'pillow')
            rows.keep(known.out, head, [found])
    return 0


def told(found: dict) -> str:
    words = [f'{name} {v:,.0f}/s' for name, v in found['per_second'].items()]
    if 'ratio' in found:
        words.append(f'ratio {found["ratio"]:.2f}')
    if 'config' in found:
        words.append(
            f'{found["times_what_the_step_consumes"]:.1f} times the {found["step_consumes"]:,.0f}/s'
            f' of {found["config"]}, which waits {found["waiting_for_data"]:.2%}'
        )
    return f'{found["work"]}: ' + ', '.join(words)


def there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def routes(place: Path) -> dict[str, Route]:
    """Every route, each with files that are made here or those that TFDS_DATA_DIR has."""
    x, label = pictures(4096)
    np.savez(place / 'arrays.npz', x=x, label=label)
    photographs(place / 'photographs')
    simclr, gpt, files = 'configs/simclr.py', 'configs/gpt.py', str(place / 'photographs')
    folder = dict(name='folder', path=files, size=48)
    found = {
        'glyphs': Route(dict(name='glyphs'), simclr, kept=True),
        'arrays': Route(
            dict(name='arrays', path=str(place / 'arrays.npz')),
            f'{simclr}:cifar10_small',
            peer=lambda: Pairs(x, label),
        ),
        'folder of JPEG': Route(
            folder | dict(hold=0),
            f'{simclr}:folder',
            (('data.path', files), ('data.hold', '0')),
            peer=lambda: Files(sorted(Path(files).rglob('*.jpg')), folder['size']),
        ),
        'folder of JPEG, tf.data': Route(folder | dict(hold=0, loader='tf'), f'{simclr}:folder'),
        'folder of JPEG, decoded once': Route(folder, f'{simclr}:folder', kept=True),
        'text': Route(dict(name='python_text', length=129), gpt),
        'sound': Route(
            dict(
                name='sound', path=str(Path(os.environ.get('TFDS_DATA_DIR', '')) / 'fsdd/fsdd.npz')
            )
        ),
    }
    for name, config in dict(cifar10='cifar10_small', mnist='mnist').items():
        spec, config = dict(name=f'tfds:{name}', validation=5000), f'{simclr}:{config}'
        found[f'tfds {name}, decoded once'] = Route(spec, config, kept=True)
        for loader, how in dict(tf='tf.data', numpy='numpy').items():
            found[f'tfds {name}, {how}'] = Route(spec | dict(hold=0, loader=loader), config)
    return {
        name: route._replace(changes=route.changes or folder_of(route, files))
        for name, route in found.items()
    }


def folder_of(route: Route, files: str) -> tuple:
    return (('data.path', files),) if route.config.endswith(':folder') else ()


def need(config: str, changes: tuple, steps: int) -> tuple[float, float]:
    """Examples a second of a config's step, and the share of its time that it waits for data."""
    from step import measure

    found = measure(config, list(changes), steps, 20)
    return found['examples_per_second'], found['waiting_for_data']


def speeds(source: Any, route: Route, known: Any) -> dict:
    call, close = ours(source, known.batches, route.kept)
    forms = {'ours': call}
    if route.peer and there('torch'):
        rows = route.peer()
        for workers, whole in itertools.product((0, 2), (False, True)):
            if not whole or isinstance(rows, Pairs):
                words = f'torch, {workers} workers' + whole * ', whole batches'
                forms[words] = in_torch(rows, known.batches, workers, whole)
    if route.peer and there('grain'):
        for threads in (os.cpu_count(), 16):
            forms[f'grain, {threads} threads'] = in_grain(route.peer(), known.batches, threads)
    seconds = timed(forms, known.rounds, most=known.most)
    close()
    count = BATCH * known.batches
    return compared(seconds) | {'per_second': {n: count / median(s) for n, s in seconds.items()}}


# Forms: each call takes some batches from an iterator that does not end --------------------------


def ours(source: Any, count: int, kept: bool) -> tuple[Callable[[], Any], Callable[[], None]]:
    import jax

    from ssljax.data.batches import Batches

    split = source.splits['train']
    batches = Batches(split, seed=0, batch=BATCH, place=jax.device_put)

    def call():
        for _, batch in itertools.islice(batches, count):
            jax.block_until_ready(batch)

    for _ in range(-(-split.count // (BATCH * count)) if kept else 0):
        call()
    return call, batches.close


def in_torch(rows: Any, count: int, workers: int, whole: bool) -> Callable[[], Any]:
    import torch

    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    order = torch.utils.data.RandomSampler(rows, replacement=True, num_samples=2**31)
    batches = iter(
        torch.utils.data.DataLoader(
            Whole(rows.x, rows.label) if whole else rows,
            batch_size=BATCH,
            sampler=order,
            num_workers=workers,
            collate_fn=same if whole else None,
            pin_memory=device == 'cuda',
            multiprocessing_context='spawn' if workers else None,
        )
    )

    def call():
        for batch in itertools.islice(batches, count):
            for values in batch.values():
                values.to(device, non_blocking=True)
        if device == 'cuda':
            torch.cuda.synchronize()

    return call


def in_grain(rows: Any, count: int, threads: int) -> Callable[[], Any]:
    import grain
    import jax

    order = grain.MapDataset.source(rows).seed(0).shuffle().repeat().batch(BATCH)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 4))
    batches = iter(order.to_iter_dataset(options))

    def call():
        for batch in itertools.islice(batches, count):
            jax.block_until_ready(jax.device_put(batch))

    return call


class Pairs:
    """Rows of arrays, one by one."""

    def __init__(self, x: np.ndarray, label: np.ndarray):
        self.x, self.label = x, label

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict:
        return {'x': self.x[i], 'label': self.label[i]}


class Whole(Pairs):
    """Rows of arrays, a batch at once."""

    def __getitems__(self, index: list[int]) -> dict:
        import torch

        return {n: torch.from_numpy(v[index]) for n, v in dict(x=self.x, label=self.label).items()}


def same(batch: Any) -> Any:
    return batch


class Files:
    """Images from files, scaled to cover a square and cropped at the center."""

    def __init__(self, paths: list[Path], size: int):
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> dict:
        from PIL import Image

        size, image = self.size, Image.open(self.paths[i])
        image.draft('RGB', (2 * size, 2 * size))  # as ours: a JPEG is decoded at a smaller scale
        image = image.convert('RGB')
        scale = size / min(image.size)
        wide, tall = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((wide, tall), Image.Resampling.BICUBIC)
        left, top = (wide - size) // 2, (tall - size) // 2
        return {'x': np.array(image.crop((left, top, left + size, top + size)))}


# Data that is made here ---------------------------------------------------------------------------


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 32, 32, 3), np.uint8), rng.integers(0, 10, count, np.int32)


def photographs(place: Path) -> None:
    """JPEG of soft forms with a grain, in class folders: about as large as photographs are."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(FILES):
        forms = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        forms = np.asarray(forms.resize(SHAPE[::-1], Image.Resampling.BICUBIC)).astype(int)
        grain = rng.integers(-12, 13, forms.shape)
        path = place / f'class {i % 4}' / f'{i:04}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((forms + grain).clip(0, 255).astype(np.uint8)).save(path, quality=85)


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
