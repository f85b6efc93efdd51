"""Saves and restores the state through Orbax, and says of every checkpoint whether it is whole."""

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from ssljax import cli, form, processes
from ssljax.method import State, Tree
from ssljax.names import Mistake
from ssljax.sharding import path_name

FOLDER, MANIFEST = 'checkpoints', 'manifest.json'


class Checkpoints:
    """The checkpoints of one workdir: step -> folder, whole if it holds a manifest that is true.

    Orbax commits a step atomically but neither notices a flipped byte nor doubts an empty folder,
    so after each commit a manifest of size and SHA-256 of every file is written beside the files.
    """

    def __init__(self, workdir: Path, *, every: int = 0, keep: int = 2, keep_every: int = 0):
        self.folder = workdir.resolve() / FOLDER
        self.every = every
        kept = [policies.LatestN(keep)]
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        self.options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(kept),
            cleanup_tmp_directories=True,
        )
        self.worker, self.pending = ThreadPoolExecutor(1), Future()
        self.pending.set_result(None)
        self._manager = None
        logging.getLogger('absl').setLevel(logging.ERROR)  # Orbax narrates every save

    @property
    def manager(self) -> ocp.CheckpointManager:
        if self._manager is None:
            self._manager = ocp.CheckpointManager(self.folder, options=self.options)
        return self._manager

    def due(self, step: int, last: int) -> bool:
        return step == last or bool(self.every and step % self.every == 0)

    def save(self, state: State, config: Mapping[str, Any]) -> None:
        """Starts to write; returns when the state may be donated. One save at a time."""
        self.pending.result()
        step = int(state.step)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(dict(config))
        )
        if not self.manager.save(step, args=args):
            raise RuntimeError(f'Orbax did not save step {step} in {self.folder}')
        self.pending = self.worker.submit(self._seal, step)

    def _seal(self, step: int) -> None:
        self.manager.wait_until_finished()
        if jax.process_index() == 0:
            seal(self.folder / str(step))

    def wait(self) -> None:
        self.pending.result()

    def close(self) -> None:
        self.wait()
        self.worker.shutdown()
        if self._manager is not None:
            self._manager.close()
            self._manager = None

    def steps(self) -> list[int]:
        """Steps with a folder, whole or not, newest first."""
        if not self.folder.is_dir():
            return []
        return sorted(
            (int(p.name) for p in self.folder.iterdir() if p.name.isdigit()), reverse=True
        )

    def restore(self, like: State, *, repair: bool = True) -> State | None:
        """The newest whole checkpoint, placed as `like` says; None if there is none.

        With `repair`, a damaged or unfinished one is moved aside, so that its step can be saved
        again; either way the fall back to the one before is told.
        """
        whole = processes.of_first(self.newest(repair=repair) if processes.first() else -1)
        return None if whole < 0 else self._load(whole, like)

    def newest(self, *, repair: bool) -> int:
        """The newest whole step, -1 if there is none."""
        for step in self.steps():
            fault = broken(self.folder / str(step))
            if not fault:
                return step
            aside = self.folder.parent / 'damaged' / str(step)
            print(
                f'WARNING: checkpoint {step} is not whole: {fault}; falling back to the one before'
                + (f' (it is moved to {aside})' if repair else ''),
                file=sys.stderr,
                flush=True,
            )
            if repair:
                shutil.rmtree(aside, ignore_errors=True)
                aside.parent.mkdir(exist_ok=True)
                os.replace(self.folder / str(step), aside)
        return -1

    def _load(self, step: int, like: State) -> State:
        parts = {name: getattr(like, name) for name in ('step', 'params', 'memory')}
        if like.opt:
            restore = ocp.args.StandardRestore(like)
        else:  # a model: without optimizers
            places = jax.tree.map(lambda s: ocp.ArrayRestoreArgs(sharding=s.sharding), parts)
            restore = ocp.args.PyTreeRestore(parts, restore_args=places, partial_restore=True)
        args = ocp.args.Composite(state=restore)
        with ocp.CheckpointManager(self.folder, options=self.options) as manager:
            try:
                found = manager.restore(step, args=args)['state']
            except (ValueError, TypeError):  # Orbax's list of every leaf
                args = ocp.args.Composite(config=ocp.args.JsonRestore())
                method = manager.restore(step, args=args)['config']['method']
                raise Mistake(
                    f'{self.folder / str(step)} holds a state of {method} that does not fit the'
                    ' config of this run: other nets, sizes or optimizers; give the workdir the'
                    ' checkpoints that it was trained with'
                ) from None
            if not like.opt:
                found = like.replace(**found)
            return form.same(like, found, 'the state')


def digest(path: Path) -> str:
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob('*') if p.is_file() and p.name != MANIFEST)


def seal(folder: Path) -> None:
    """Writes the manifest, atomically."""
    entries = {
        str(p.relative_to(folder)): {'bytes': p.stat().st_size, 'sha256': digest(p)}
        for p in files(folder)
    }
    part = folder / f'{MANIFEST}.part'
    part.write_text(json.dumps(entries, indent=1))
    os.replace(part, folder / MANIFEST)


def broken(folder: Path) -> str:
    """What is wrong with a checkpoint, or ''."""
    try:
        entries = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return 'it has no manifest, so it was not finished'
    except ValueError:
        return 'its manifest cannot be read'
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            return f'{name} is missing'
        if path.stat().st_size != entry['bytes']:
            return f'{name} has {path.stat().st_size} bytes, not {entry["bytes"]}'
        if digest(path) != entry['sha256']:
            return f'{name} is not what was written (SHA-256 differs)'
    return ''


def read(workdir: Path) -> tuple[int, dict[str, Any]]:
    """Step and whole tree of the newest whole checkpoint of another run, as host arrays."""
    store = Checkpoints(workdir)
    for step in store.steps():
        if not broken(store.folder / str(step)):
            with ocp.CheckpointManager(store.folder) as manager:
                args = ocp.args.Composite(state=ocp.args.StandardRestore())
                return step, manager.restore(step, args=args)['state']
    raise Mistake(f'no whole checkpoint in {store.folder}; train there first')


def graft(state: State, grafts: Mapping[str, str], needs: tuple[str, ...] = ()) -> State:
    """Fills subtrees of a fresh state, 'params/encoder': 'WORKDIR:params/encoder', leaf by leaf."""
    missing = [path for path in needs if path not in grafts]
    if missing:
        raise Mistake(
            f'this method needs a graft for {", ".join(missing)}:'
            f' set config.graft = {{{missing[0]!r}: "WORKDIR:PATH"}}'
        )
    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
    leaves = {path_name(path): leaf for path, leaf in leaves}
    for path, source in grafts.items():
        workdir, _, inside = source.rpartition(':')
        if not workdir:
            raise Mistake(f'graft {path}={source!r} must be "WORKDIR:PATH in its state"')
        _, tree = read(cli.place(workdir))
        found = {path_name(p): leaf for p, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
        mine = [name for name in leaves if name == path or name.startswith(path + '/')]
        if not mine:
            raise Mistake(f'graft into {path!r}: the state has no such path')
        for name in mine:
            theirs = inside + name[len(path) :]
            new, old = found.get(theirs), leaves[name]
            if new is None or new.shape != old.shape or new.dtype != old.dtype:
                has = 'nothing' if new is None else f'{new.dtype}{list(new.shape)}'
                raise Mistake(
                    f'graft: {name} is {old.dtype}{list(old.shape)}, and {workdir} holds {has}'
                    f' at {theirs}'
                )
            leaves[name] = jax.device_put(new, old.sharding)
    return jax.tree.unflatten(treedef, list(leaves.values()))


def count(tree: Tree) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))
