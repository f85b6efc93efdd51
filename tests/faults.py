"""Puts faults in on purpose and says which test caught each: python tests/faults.py [--out FILE]

The faults are in faults.toml: each is one replacement in a copy of the project. It is judged by the
tests of the file that it is in, which AREAS names. A fault that no test catches survives.
"""

import argparse
import ast
import collections
import fnmatch
import functools
import hashlib
import json
import multiprocessing
import os
import queue
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import digests

ROOT = Path(__file__).parents[1]
FAULTS = tomllib.loads(Path(__file__).with_suffix('.toml').read_text())['fault']
ENOUGH = 0.97  # share of the faults that must be caught
FORK = multiprocessing.get_context('forkserver')
LIBRARIES = [
    'pytest',
    'jax',
    'flax.linen',
    'optax',
    'orbax.checkpoint',
    'ml_collections',
    'PIL.Image',
]
# it compares faults.toml with the files, so it would catch every fault
COMMON = ['-x', '-q', '-n', '0', '-p', 'no:cacheprovider', '-m', 'not slow', '--deselect']
COMMON += ['tests/test_contract.py::test_every_planted_fault_has_its_place']

# Files of ssljax, and the pytest runs that judge a fault in one of them. The first row that fits
# counts. {name} is the name of the file, {functions} those in it, of which a test has one in its
# own name. Slow tests are left out where a run has no -m of its own.
AREAS = (
    (
        'methods/vae',
        'tests/methods/test_vae.py tests/test_evidence_exact.py',
        'tests/test_methods.py tests/test_contract.py tests/test_method_properties.py -k vae',
    ),
    (
        'methods/*',
        'tests/methods/test_{name}.py',
        'tests/test_methods.py tests/test_contract.py tests/test_method_properties.py -k {name}',
    ),
    ('losses/_shapes', 'tests/losses/test_shapes.py', 'tests/losses/test_edges.py'),
    (
        'losses/_rows',
        'tests/losses/test_distillation.py tests/losses/test_clustering.py',
        'tests/losses/test_edges.py',
        'tests/losses/test_proofs.py -k "nt_xent or vicreg or entropy"',
    ),
    (
        'losses/_strips',
        'tests/losses/test_strips.py',
        'tests/losses/test_proofs.py -k "nt_xent or clip"',
        'tests/losses/test_edges.py',
    ),
    ('losses/_where', 'tests/losses/test_comparing.py tests/losses/test_latents.py'),
    (
        'losses/alignment losses/codes losses/color losses/diffusion losses/kernels losses/labels'
        ' losses/mixtures losses/text losses/weights',
        'tests/losses/test_modeling.py',
        'tests/losses/test_proofs.py tests/losses/test_edges.py -k "{functions}"',
    ),
    (
        'losses/adversarial losses/energy losses/likelihood losses/reconstruction losses/semi',
        'tests/losses/test_{name}.py',
        'tests/losses/test_proofs.py tests/losses/test_edges.py -k "{functions}"',
        'tests/losses/test_modeling.py',
    ),
    (
        'losses/*',
        'tests/losses/test_{name}.py tests/losses/test_comparing.py',
        'tests/losses/test_proofs.py tests/losses/test_edges.py -k "{functions}"',
    ),
    ('nets/chunks', 'tests/test_chunks.py'),
    (
        'nets/transformer nets/vit',
        'tests/test_nets_restated.py',
        'tests/test_vit.py',
        'tests/test_nets.py',
        'tests/test_remat.py',
    ),
    ('nets/attention nets/norms', 'tests/test_nets_fast.py', 'tests/test_nets_text.py'),
    ('nets/text', 'tests/test_nets_text.py'),
    ('nets/rbm chains evals/annealed evals/filters', 'tests/test_chains.py'),
    ('nets/flow', 'tests/test_nets_flow.py'),
    ('nets/lines nets/rnn', 'tests/test_nets_lines.py'),
    ('nets/translator', 'tests/test_nets_translator.py'),
    ('nets/*', 'tests/test_nets_restated.py', 'tests/test_nets.py', 'tests/test_bad_input.py'),
    ('search', 'tests/test_search.py'),
    ('augment/document', 'tests/test_augment_document.py'),
    ('augment/mask', 'tests/test_augment_mask.py'),
    ('augment/patches', 'tests/test_augment_patches.py'),
    ('augment/planes', 'tests/test_augment_planes.py'),
    ('augment/*', 'tests/test_augment.py tests/test_augment_draws.py'),
    ('data/batches', 'tests/test_data_batches.py'),
    (
        'data/combine data/labels',
        'tests/test_data_combine.py tests/test_data_degraded.py tests/test_data_tails.py',
    ),
    ('data/folder', 'tests/test_data_folder.py tests/test_data_scan.py'),
    (
        'data/pixels',
        'tests/test_data_pixels.py',
        'tests/test_data_folder.py',
        'tests/test_data_tfds.py -k tensorflow',
    ),
    ('data/crc', 'tests/test_data_tfds.py -k checksums_are'),
    ('data/records data/tfds', 'tests/test_data_tfds.py'),
    ('data/text evals/ngram', 'tests/test_data_text.py'),
    (
        'data/source',
        'tests/test_data.py tests/test_data_drawn.py',
        'tests/test_data_batches.py',
        'tests/test_data_combine.py tests/test_data_degraded.py',
    ),
    ('data/lines data/scanned', 'tests/test_data_lines.py'),
    ('data/tokens', 'tests/test_data_tokens.py', 'tests/test_data_text.py'),
    ('data/scenes', 'tests/test_data_scenes.py'),
    ('data/plane', 'tests/test_data_plane.py'),
    (
        'data/*',
        'tests/test_data.py tests/test_data_drawn.py',
        'tests/test_data_forms.py',
        'tests/test_bad_input.py',
    ),
    (
        'evals/evaluator',
        'tests/test_evals_exact.py',
        'tests/test_evals.py',
        'tests/test_evaluate.py',
    ),
    ('evals/subject', 'tests/test_evals.py', 'tests/test_evals_fine_tune.py'),
    ('evals/blocks evals/fine_tune evals/sgd_probe', 'tests/test_evals_fine_tune.py'),
    (
        'evals/few_shot evals/kmeans evals/linear_svm evals/mlp_probe evals/partitions'
        ' evals/retrieval',
        'tests/test_evals_exact.py tests/test_evals_probes.py',
    ),
    (
        'evals/frozen evals/knn evals/linear_head',
        'tests/test_evals_exact.py tests/test_evals.py',
        'tests/test_evals_probes.py',
    ),
    (
        'evals/analogies evals/cross_retrieval evals/evidence evals/segmentation'
        ' evals/transcription evals/zero_shot',
        'tests/test_evals_paired.py tests/test_evals_lines.py',
    ),
    ('evals/distances', 'tests/test_evals_probes.py', 'tests/test_evals_models.py'),
    ('evals/likelihood evals/samples', 'tests/test_evals_models.py'),
    (
        'evals/perplexity',
        'tests/test_evals_exact.py tests/test_evals.py',
        'tests/test_data_text.py',
    ),
    ('evals/latents evals/reconstruction', 'tests/test_evals_pictures.py'),
    ('evals/alignment evals/edits', 'tests/test_evals_lines.py', 'tests/test_evals_paired.py'),
    ('evals/restoration evals/binarize', 'tests/test_evals_restoration.py'),
    ('evals/density_map', 'tests/test_evals_density_map.py'),
    ('evals/out_of_class', 'tests/test_evals_models.py'),
    ('evals/*', 'tests/test_evals.py'),
    ('step', 'tests/test_step.py', 'tests/test_methods.py -k "simclr or wgan_gp"'),
    ('depth', 'tests/test_optim.py -k layer_decay'),
    ('optim', 'tests/test_optim.py', 'tests/test_bad_input.py'),
    ('cli names config', 'tests/test_bad_input.py', 'tests/test_cli.py tests/test_config.py'),
    (
        'memory',
        'tests/test_sharding.py',
        'tests/test_methods.py tests/test_method_properties.py -k "dino or byol"',
    ),
    ('sweep', 'tests/test_evals.py', 'tests/test_evaluate.py'),
    ('cluster', 'tests/test_cluster.py'),
    ('collapse', 'tests/test_evals_rank.py', 'tests/test_docstrings.py'),
    ('compare', 'tests/test_compare.py'),
    ('resolve values kinds', 'tests/test_resolve.py tests/test_config.py tests/test_bad_input.py'),
    ('written', 'tests/test_loop.py', 'tests/test_reopen.py', 'tests/test_evaluate.py'),
    ('results reopen evaluate trivial', 'tests/test_reopen.py', 'tests/test_evaluate.py'),
    ('model', 'tests/test_evaluate.py', 'tests/test_bad_input.py'),
    ('sharding', 'tests/test_sharding.py -m ""'),
    (
        'checkpoint',
        'tests/test_checkpoint.py tests/test_sealed.py',
        'tests/test_resume.py -m ""',
        'tests/test_evaluate.py -k while_it_trains',
    ),
    ('sealed', 'tests/test_sealed.py tests/test_checkpoint.py'),
    (
        'lock workdir',
        'tests/test_workdir_lock.py',
        'tests/test_checkpoint.py tests/test_reopen.py',
        'tests/test_cli.py',
        'tests/test_evaluate.py',
    ),
    ('signals', 'tests/test_signals.py tests/test_loop.py'),
    ('processes', 'tests/test_signals.py', 'tests/test_processes.py -m slow'),
    (
        'watch',
        'tests/test_waiting.py',
        'tests/test_loop.py tests/test_signals.py tests/test_cli.py',
        'tests/test_resume.py -m ""',
    ),
    (
        'log',
        'tests/test_loop.py tests/test_cli.py',
        'tests/test_resume.py -m ""',
        'tests/test_processes.py -m slow',
    ),
    (
        'train',
        'tests/test_loop.py tests/test_optim.py tests/test_cli.py',
        'tests/test_workdir_lock.py tests/test_signals.py tests/test_waiting.py',
        'tests/test_methods.py -k deepcluster',
        'tests/test_evaluate.py',
        'tests/test_resume.py -m ""',
    ),
    (
        'job',
        'tests/test_job.py tests/test_cli.py tests/test_bad_input.py',
        'tests/test_methods.py -k simclr',
        'tests/test_evaluate.py',
        'tests/test_resume.py -m ""',
        'tests/test_processes.py -m slow',
    ),
)


def area(file: str) -> tuple[str, ...]:
    """The row of AREAS that a file falls under."""
    for row in AREAS:
        if any(fnmatch.fnmatch(file, f'ssljax/{name}.py') for name in row[0].split()):
            return row
    sys.exit(f'tests/faults.py: AREAS has no tests for {file}')


@functools.cache
def runs(file: str) -> list[str]:
    """The pytest runs that judge a fault in a file."""
    program = ast.parse((ROOT / file).read_text()).body
    names = [part.name for part in program if isinstance(part, ast.FunctionDef)]
    words = {'name': Path(file).stem, 'functions': ' or '.join(n for n in names if n[0] != '_')}
    return [run.format(**words) for run in area(file)[1:]]


def tests(arguments: Sequence[str], folder: Path, out: Path) -> None:
    """pytest in a copy of the project, in a process that was forked with its libraries imported."""
    os.setsid()  # whoever stops it stops what the tests have started, too
    with out.open('w') as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(folder)
    # no stored byte code, which may be that of the file before; children see this copy, too
    sys.dont_write_bytecode = True
    os.environ |= {'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONPATH': str(folder)}
    sys.path[:] = [str(folder), *(p for p in sys.path if not Path(p).is_relative_to(ROOT))]
    sys.modules.pop('digests', None)
    import pytest

    code = pytest.main([*COMMON, *arguments])
    sys.stdout.flush()
    os._exit(code)  # threads of XLA need no goodbye


def failed(arguments: Sequence[str], folder: Path, seconds: float) -> tuple[int, str]:
    """The exit code of pytest, and the first test that fails or what else happened."""
    out = folder.with_name('out.txt')
    child = FORK.Process(target=tests, args=(arguments, folder, out))
    child.start()
    child.join(seconds)
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)
        child.join()
        return 1, 'not done in time'
    said = out.read_text(errors='replace')
    found = re.search(r'^(?:FAILED|ERROR) (.+?)(?: - .*)?$', said, flags=re.M)
    last = (said.strip().splitlines() or ['nothing'])[-1]
    return child.exitcode, found[1] if found else f'pytest {shlex.join(arguments)}: {last}'


class Clean:
    """A copy without a fault: what is not green there cannot judge one."""

    def __init__(self, folder: Path, limit: float):
        self.folder, self.limit, self.lock, self.green = folder, limit, threading.Lock(), set()

    def must_pass(self, run: str) -> None:
        """Stops if this run fails, or takes so long that any fault would be caught."""
        with self.lock:
            if run in self.green:
                return
            began = time.perf_counter()
            code, test = failed(shlex.split(run), self.folder, self.limit)
            took = time.perf_counter() - began
            print(f'{"RED" if code else "unharmed":8} {took:4.0f} s  {run}  {test if code else ""}')
            if code:
                print('this run is not green without a fault, so it cannot judge one', flush=True)
                os._exit(1)
            self.green.add(run)

    def pass_all(self, names: Sequence[str]) -> bool:
        with self.lock:
            return bool(names) and not failed(names, self.folder, self.limit)[0]


def caught(fault: dict, folder: Path, *, clean: Clean, hint: str, limit: float) -> dict:
    """The row of a fault: the first test that fails with the fault in, or ''.

    hint: the test that caught it when its file was another, which is asked before all others.
    """
    path, began = folder / fault['file'], time.perf_counter()
    whole = path.read_text()
    if whole.count(fault['old']) != 1:
        sys.exit(f'{fault["file"]} has not once {fault["old"]!r}: bring faults.toml up to date')
    path.write_text(whole.replace(fault['old'], fault['new']))
    try:
        code, test = failed([hint], folder, limit) if hint else (0, '')
        if code != 1:  # 4: there is no such test
            test = ''
            for run in runs(fault['file']):
                clean.must_pass(run)  # within the limit, too: later is the fault's doing
                code, test = failed(shlex.split(run), folder, limit)
                if code:
                    break
                test = ''
    finally:
        path.write_text(whole)
    row = {'fault': fault['told'], 'file': fault['file'], 'test': test}
    return row | {'seconds': round(time.perf_counter() - began), 'digest': digest(fault, whole)}


def digest(fault: dict, whole: str) -> str:
    """It changes where the fault, or the program that it is in, does."""
    parts = (fault['old'], fault['new'], fault['file'], digests.program(whole))
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:16]


def rows_of(paths: Sequence[Path | None]) -> dict[str, dict]:
    """Rows of earlier runs, by what is told of the fault."""
    found = (row for p in paths if p and p.exists() for row in json.loads(p.read_text())['faults'])
    return {row['fault']: row for row in found}


def known(rows: dict[str, dict]) -> dict[str, dict]:
    """Those whose fault is unchanged."""
    now = {f['told']: digest(f, (ROOT / f['file']).read_text()) for f in FAULTS}
    return {n: row for n, row in rows.items() if row.get('digest') == now.get(n, 'gone')}


def hints(rows: dict[str, dict], todo: Sequence[dict], clean: Clean) -> dict[str, str]:
    """What to ask first, by what is told of a fault: tests of the runs that judge its file, all of
    which pass without a fault."""
    of_file = collections.defaultdict(dict)
    for fault in todo:
        test = rows.get(fault['told'], {}).get('test') or ''
        if any(test.partition('::')[0] in run for run in runs(fault['file'])) and '::' in test:
            of_file[fault['file']][fault['told']] = test
    found = {}
    for told in of_file.values():
        if clean.pass_all(sorted(set(told.values()))):
            found |= told
    return found


def write(out: Path | None, rows: dict[str, dict]) -> None:
    """The rows in the order of faults.toml; a reader never sees half a file."""
    if out is None:
        return
    told = []
    for fault in (fault for fault in FAULTS if fault['told'] in rows):
        row = {k: v for k, v in rows[fault['told']].items() if k != 'why'}
        why = {} if row['test'] else {'why': fault.get('survives', '')}
        told.append(row | why)
    part = out.with_suffix('.part')
    found = {'planted': len(FAULTS), 'faults': told}  # those without a row: not judged as they are
    part.write_text(json.dumps(found, indent=1) + '\n')
    os.replace(part, out)


def show(row: dict) -> None:
    word = 'caught' if row['test'] else 'SURVIVED'
    print(f'{word:8} {row["seconds"]:4} s  {row["fault"]}  {row["test"]}', flush=True)


def summary(rows: Sequence[dict]) -> bool:
    """Prints how many of each area were caught; whether these are enough."""
    every = collections.Counter(area(row['file'])[0] for row in rows)
    good = collections.Counter(area(row['file'])[0] for row in rows if row['test'])
    print()
    for name in (names for names, *_ in AREAS if names in every):
        print(f'{good[name]:4} of {every[name]:4}  {name}')
    closed = {fault['told'] for fault in FAULTS if fault.get('blind')}
    blind = [bool(row['test']) for row in rows if row['fault'] in closed]
    print(f'{sum(blind):4} of {len(blind):4}  caught of those made with all tests closed')
    print(f'{good.total():4} of {every.total():4}  caught')
    return good.total() >= ENOUGH * every.total()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, metavar='FILE', help='rows as JSON; it is gone on with')
    parser.add_argument('--rows', type=Path, nargs='*', default=[], help='more files with rows')
    parser.add_argument('--only', default='', metavar='WORDS', help='in what is told, or the file')
    parser.add_argument('--shard', default='1/1', metavar='I/N', help='part I of N, with own --out')
    parser.add_argument('-j', type=int, default=1, metavar='N', help='processes, each with a copy')
    parser.add_argument(
        '--limit',
        type=float,
        default=300,
        metavar='S',
        help='for each run of tests; later is caught',
    )
    parser.add_argument('--again', action='store_true', help='also faults that have a row')
    options = parser.parse_args()
    part, parts = map(int, options.shard.split('/'))
    if not 1 <= part <= parts:
        parser.error(f'--shard={options.shard}: the first is 1/{parts}')
    chosen = [f for f in FAULTS if options.only in f['told'] or options.only in f['file']]
    chosen = chosen[part - 1 :: parts]
    earlier = rows_of([*options.rows, options.out])
    rows = known(earlier)
    todo = [fault for fault in chosen if options.again or fault['told'] not in rows]
    print(f'{len(chosen)} faults, {len(chosen) - len(todo)} with a row', flush=True)
    FORK.set_forkserver_preload(LIBRARIES)
    os.environ |= {'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}  # as conftest.py
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(options.j) as pool:
        folders: queue.SimpleQueue = queue.SimpleQueue()
        skip = shutil.ignore_patterns('.git', 'runs', '__pycache__', '.*_cache')

        def copied(name: str) -> Path:
            return shutil.copytree(ROOT, Path(temporary) / name / 'project', ignore=skip)

        for i in range(options.j if todo else 0):
            folders.put(copied(str(i)))
        clean = Clean(copied('clean') if todo else ROOT, options.limit)
        hint = hints(earlier, todo, clean)

        def row_of(fault):
            folder = folders.get()
            try:
                first = hint.get(fault['told'], '')
                return caught(fault, folder, clean=clean, hint=first, limit=options.limit)
            finally:
                folders.put(folder)

        for row in pool.map(row_of, todo):
            rows[row['fault']] = row
            show(row)
            write(options.out, rows)
    write(options.out, rows)
    return int(not summary([rows[fault['told']] for fault in chosen]))


if __name__ == '__main__':
    sys.exit(main())
