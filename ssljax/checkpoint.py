"""The checkpoints of a run: python -m ssljax.checkpoint verify|list|prune WORKDIR."""

import contextlib
import fcntl
import functools
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ssljax import cli, lock, sealed
from ssljax.names import Mistake, choose
from ssljax.sealed import FOLDER, MANIFEST, UNSEALED, broken, digest, numbered

EPILOG = """\
verify  reads every byte; exit code 1 where one is not whole
list    the same; exit code 0
prune   deletes all whole ones but the newest --keep=N; what is not whole stays

none of them needs the data or a device. prune is refused while a run writes there.
"""
ACTIONS = ('verify', 'list', 'prune')

if TYPE_CHECKING:  # jax and Orbax are imported when something is saved or restored
    from ssljax.method import State


class Checkpoints:
    """The checkpoints of one workdir: step -> folder, whole if it holds a manifest that is true.

    Orbax writes the arrays and neither notices a flipped byte nor doubts an empty folder. So each
    save is sealed with a manifest of size and SHA-256 of every file, and then named and kept as
    `sealed.py` says. An older one is deleted after that. Who only reads (`repair=False`) writes
    nothing, moves nothing and may read while the run goes on.
    """

    def __init__(self, workdir: Path, *, every: int = 0, keep: int = 2, keep_every: int = 0):
        self.folder = workdir.resolve() / FOLDER
        self.every, self.keep, self.keep_every = every, keep, keep_every
        self.worker, self.pending = ThreadPoolExecutor(1), Future()
        self.pending.set_result(None)
        self.opened = ''  # digest of the manifest of what was restored, so of all its files
        self._writer = None

    def due(self, step: int, last: int) -> bool:
        if self.pending.done():
            self.wait()  # a save that has failed is told at the next step and not at the next save
        return step == last or bool(self.every and step % self.every == 0)

    def save(self, state: 'State', config: Mapping[str, Any]) -> None:
        """Starts to write; returns when the state may be donated. One save at a time."""
        self.wait()
        ocp = orbax()
        step = int(state.step)
        if (self.folder / str(step)).exists():
            raise RuntimeError(f'there is a step {step} in {self.folder}')
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(dict(config))
        )
        if self._writer is None:
            ignore_closed_event_loops()
            self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())
        with self.tidy():
            self._writer.save(self.unsealed(step), args=args, force=True)
        self.pending = self.worker.submit(self._seal, step)

    def unsealed(self, step: int) -> Path:
        return self.folder / f'{step}{UNSEALED}'

    def _seal(self, step: int) -> None:
        """Seals what Orbax has written; only then are older ones deleted."""
        from ssljax import processes

        with self.tidy():
            self._writer.wait_until_finished()
            if not processes.first():
                return
            sealed.seal(self.unsealed(step), step)
            sealed.named(self.unsealed(step), self.folder / str(step))
        done = step  # what is newer is a stray, and keeps none
        mine = [step for step in self.steps() if step <= done]
        for old in sealed.surplus(mine, self.keep, self.keep_every):
            sealed.drop(self.folder / str(old))

    @contextlib.contextmanager
    def tidy(self):
        """What a save that fails has written only takes room, of which there may be too little."""
        try:
            yield
        except Exception:
            sealed.sweep(self.folder)
            raise

    def wait(self) -> None:
        self.pending.result()

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self.worker.shutdown()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def steps(self) -> list[int]:
        """Steps with a folder, whole or not, newest first."""
        return [int(p.name) for p in numbered(self.folder) if p.name == str(int(p.name))]

    def restore(
        self, like: 'State', *, repair: bool = True, scratch: bool = False
    ) -> 'State | None':
        """The newest whole checkpoint, placed as `like` says; None if there is none.

        A fall back to an older one is told. With `repair`, for the one process that may write, a
        damaged one is moved aside, so that its step can be saved again, and what killed saves have
        left is deleted. Where there are checkpoints and none is whole, `repair` needs `scratch`.
        """
        from ssljax import processes

        found, faults = -1, ''
        if processes.first():
            if repair:
                sealed.sweep(self.folder)
            found, faults = self.newest(repair=repair, scratch=scratch)
        found = processes.of_first(found)
        if found == -2:
            raise Mistake(
                f'no checkpoint in {self.folder} is whole{faults and f" ({faults})"}; bring one'
                ' back from a copy, or type --from_scratch to move them aside and start at step 0'
            )
        if found < 0:
            return None
        try:
            with sealed.claimed(self.folder / str(found), fcntl.LOCK_SH):
                self.opened = digest(self.folder / str(found) / MANIFEST)
                return self._load(found, like)
        except Exception:
            if repair or processes.several() or (self.folder / str(found)).exists():
                raise
        return self.restore(like, repair=repair)  # the run has deleted it meanwhile

    def newest(self, *, repair: bool, scratch: bool = False) -> tuple[int, str]:
        """The newest whole step, and what is wrong with those after it.

        -1 if there is none; -2 if there is none, but broken ones without leave to give them up.
        """
        found, faults = -1, {}
        # a listing misses a step that is named while it goes on, and the run deletes the older one
        for folder in numbered(self.folder) or numbered(self.folder):
            with sealed.claimed(folder, fcntl.LOCK_SH):
                fault = broken(folder)
            if not fault:
                found = int(folder.name)
                break
            if not folder.exists():  # the run has deleted it meanwhile, so it has a newer one
                return self.newest(repair=repair, scratch=scratch)
            faults[folder] = fault
        told = '; '.join(f'{folder.name}: {fault}' for folder, fault in faults.items())
        if repair and faults and found < 0 and not scratch:
            return -2, told
        for folder, fault in faults.items():
            where = f' (it is moved to {sealed.aside(folder)})' if repair else ''
            print(
                f'WARNING: checkpoint {folder.name} is not whole: {fault};'
                f' falling back to the one before{where}',
                file=sys.stderr,
                flush=True,
            )
        return found, told

    def _load(self, step: int, like: 'State') -> 'State':
        import jax

        from ssljax import form

        ocp, folder = orbax(), self.folder / str(step)
        parts = {name: getattr(like, name) for name in ('step', 'params', 'memory')}
        if like.opt:
            restore = ocp.args.StandardRestore(like)
        else:  # a model: without optimizers
            places = jax.tree.map(lambda s: ocp.ArrayRestoreArgs(sharding=s.sharding), parts)
            restore = ocp.args.PyTreeRestore(parts, restore_args=places, partial_restore=True)
        with reader() as read:
            try:
                found = read(folder, state=restore)['state']
            except (ValueError, TypeError):  # Orbax's list of every leaf
                method = read(folder, config=ocp.args.JsonRestore())['config']['method']
                raise Mistake(
                    f'{folder} holds a state of {method} that does not fit the'
                    ' config of this run: other nets, sizes or optimizers; give the workdir the'
                    ' checkpoints that it was trained with'
                ) from None
        if not like.opt:
            found = like.replace(**found)
        if int(found.step) != step:
            raise Mistake(f'{folder} holds the state of step {int(found.step)}: it is a copy')
        return form.same(like, found, 'the state')


def orbax() -> Any:
    import logging

    import orbax.checkpoint as ocp

    logging.getLogger('absl').setLevel(logging.CRITICAL)  # it narrates; and what it says, it raises
    return ocp


@functools.cache
def ignore_closed_event_loops() -> None:
    """Of a save that has failed, TensorStore goes on to write other arrays, and at the end of each
    calls an event loop that is closed by then: a traceback from a thread of its own, which nobody
    can catch. The save itself tells why it failed."""
    usual = sys.excepthook

    def hook(kind: Any, error: BaseException, trace: Any) -> None:
        if kind is not RuntimeError or str(error) != 'Event loop is closed':
            usual(kind, error, trace)

    sys.excepthook = hook


@contextlib.contextmanager
def reader():
    """(folder, name=args) -> what was saved under the names. It writes nothing."""
    ocp = orbax()
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as one:
        yield lambda folder, **args: one.restore(folder, args=ocp.args.Composite(**args))


def read(workdir: Path) -> tuple[int, dict[str, Any]]:
    """Step and whole tree of the newest whole checkpoint of another run, as host arrays."""
    import jax
    import numpy as np

    ocp, store = orbax(), Checkpoints(workdir)
    step, _ = store.newest(repair=False)
    if step < 0:
        raise Mistake(f'no whole checkpoint in {store.folder}; train there first')
    folder = store.folder / str(step)
    with (
        sealed.claimed(folder, fcntl.LOCK_SH),
        ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as one,
    ):
        folder = folder / 'state'
        leaves = one.metadata(folder).item_metadata.tree
        # in the memory of the host: the devices of that run need not be here
        host = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), leaves)
        return step, one.restore(folder, args=ocp.args.PyTreeRestore(restore_args=host))


def graft(state: 'State', grafts: Mapping[str, str], needs: tuple[str, ...] = ()) -> 'State':
    """Fills subtrees of a fresh state, 'params/encoder': 'WORKDIR:params/encoder', leaf by leaf."""
    import jax

    from ssljax.sharding import path_name

    leaves, treedef = jax.tree_util.tree_flatten_with_path(state)
    leaves = {path_name(path): leaf for path, leaf in leaves}

    def under(path):
        return [name for name in leaves if name == path or name.startswith(path + '/')]

    # a net without batch norm has no statistics that could be needed
    missing = [path for path in needs if path not in grafts and under(path)]
    if missing:
        raise Mistake(
            f'this method needs a graft for {", ".join(missing)}, from an earlier run; type'
            f' --config.graft="{dict.fromkeys(missing, "WORKDIR:PATH")}"'
        )
    for path, source in grafts.items():
        workdir, _, inside = source.rpartition(':')
        if not workdir:
            raise Mistake(f'graft {path}={source!r} must be "WORKDIR:PATH in its state"')
        try:
            _, tree = read(cli.place(workdir))
        except Mistake as mistake:
            how = 'where the config names this run, its first lines have the command'
            raise Mistake(f'graft into {path!r}: {mistake}; {how}') from None
        found = {path_name(p): leaf for p, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
        mine = under(path)
        if not mine:
            raise Mistake(f'graft into {path!r}: the state has no such path')
        for name in mine:
            theirs = inside + name[len(path) :]
            new, old = found.get(theirs), leaves[name]
            if new is None or new.shape != old.shape or new.dtype != old.dtype:
                has = 'nothing' if new is None else f'{new.dtype}{list(new.shape)}'
                heads = dict.fromkeys('/'.join(n.split('/')[:2]) for n in found)
                heads = ', '.join(n for n in heads if n.startswith(('params/', 'memory/')))
                raise Mistake(
                    f'graft: {name} is {old.dtype}{list(old.shape)}, and {workdir} holds {has}'
                    f' at {theirs}; it has {heads}'
                )
            leaves[name] = jax.device_put(new, old.sharding)
    return jax.tree.unflatten(treedef, list(leaves.values()))


def main(argv: Sequence[str] | None = None) -> int:
    parser = cli.parser('ssljax.checkpoint', __doc__, EPILOG)
    parser.usage = 'python -m ssljax.checkpoint verify|list|prune WORKDIR [--keep=N]'
    parser.add_argument('action', nargs='?', default='', metavar='verify|list|prune')
    parser.add_argument('workdir', nargs='?', type=Path, metavar='WORKDIR')
    parser.add_argument('--keep', nargs='?', default='', const='', metavar='N')
    known, rest = parser.parse_known_args(argv)
    if rest:
        raise Mistake(f'unknown argument {rest[0]}; type verify|list|prune WORKDIR [--keep=N]')
    choose(known.action, ACTIONS, 'action')
    if known.workdir is None:
        raise Mistake(f'WORKDIR is missing: {known.action} of which run?')
    root = known.workdir / FOLDER
    if not root.is_dir():
        raise Mistake(f'{known.workdir} has no folder {FOLDER}: nothing was saved there')
    if known.action == 'prune':
        if not known.keep.isdecimal() or int(known.keep) < 1:
            raise Mistake(f'--keep={known.keep}: type how many whole checkpoints stay, 1 or more')
        return prune(known.workdir, int(known.keep))
    return int(listed(root) and known.action == 'verify')


def listed(root: Path) -> bool:
    """Prints a line for each step; whether one is not whole."""
    bad = False
    for folder in numbered(root):
        with sealed.claimed(folder, fcntl.LOCK_SH):
            fault = broken(folder)
            if not folder.exists():  # the run has just deleted it
                continue
            size = sum(p.stat().st_size for p in folder.rglob('*') if p.is_file())
        bad |= bool(fault)
        print(f'{folder.name:>8}  {size / 1e6:10.3f} MB  {fault or "whole"}', flush=True)
    for left in sealed.leftovers(root):
        print(f'{left.name}: not finished; the next start of the run deletes it')
    return bad


def prune(workdir: Path, keep: int) -> int:
    with lock.held(workdir):
        root = workdir / FOLDER
        faults = {folder: broken(folder) for folder in numbered(root)}
        whole = [folder for folder, fault in faults.items() if not fault]
        for folder in whole[keep:]:
            sealed.drop(folder)
        for folder, fault in faults.items():
            print(f'{folder.name:>8}  {"kept" if folder.exists() else "deleted"}  {fault}'.rstrip())
    return 0


if __name__ == '__main__':
    sys.exit(cli.guarded(main))
