"""A checkpoint is whole or not used: damage, unfinished steps, other device counts, grafts."""

import errno
import json
import os
import random
import re
import shutil
import sys

import jax
import jobs
import numpy as np
import pytest
from test_sealed import state_of

from ssljax import checkpoint, cli, model, sealed, train
from ssljax.checkpoint import Checkpoints, broken, graft, read
from ssljax.job import make
from ssljax.names import Mistake


@pytest.fixture(scope='module')
def job():
    return jobs.job('gpt')


@pytest.fixture
def folder(job, tmp_path):
    """Checkpoints of steps 1, 2 and 3, and the state of each."""
    state, states = job.fresh(), {}
    store = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        state = job.placed(jax.tree.map(lambda x: x + 1, state))
        states[step] = jax.device_get(state)
        store.save(state, job.config)
    store.close()
    return tmp_path, states


def restored(job, path, **options):
    state = Checkpoints(path).restore(job.shapes, **options)
    return state if state is None else jax.device_get(state)


def test_what_is_saved_is_restored(job, folder):
    path, states = folder
    found = Checkpoints(path).restore(job.shapes)
    assert not jobs.differing(found, states[3])
    assert jax.tree.structure(found) == jax.tree.structure(job.shapes)
    assert [x.sharding for x in jax.tree.leaves(found)] == [
        s.sharding for s in jax.tree.leaves(job.shapes)
    ]


def test_a_listing_that_missed_a_step_is_made_again(folder, monkeypatch):
    """A folder that gets its name while others are listed may be missed, and the older one gone."""
    path, _ = folder
    listings = iter([[], sealed.numbered(path / 'checkpoints')])
    monkeypatch.setattr(checkpoint, 'numbered', lambda root: next(listings))
    assert Checkpoints(path).newest(repair=False) == (3, '')


def test_no_checkpoint_is_none(job, tmp_path):
    assert restored(job, tmp_path) is None


def test_a_manifest_names_every_file(folder):
    path, _ = folder
    step = path / 'checkpoints' / '3'
    manifest = json.loads((step / 'manifest.json').read_text())
    files = {str(p.relative_to(step)) for p in step.rglob('*') if p.is_file()} - {'manifest.json'}
    assert set(manifest['files']) == files and len(files) > 3 and manifest['step'] == 3


@pytest.mark.parametrize('seed', range(5))
def test_one_flipped_bit_is_found(job, folder, capsys, seed):
    path, states = folder
    generator = random.Random(seed)
    files = [p for p in (path / 'checkpoints/3').rglob('*') if p.is_file() and p.stat().st_size]
    victim = generator.choice([p for p in files if p.name != 'manifest.json'])
    content = bytearray(victim.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    victim.write_bytes(content)
    assert not jobs.differing(restored(job, path), states[2])
    err = capsys.readouterr().err
    assert 'WARNING: checkpoint 3 is not whole' in err and 'SHA-256' in err
    assert (path / 'damaged' / '3').is_dir() and not (path / 'checkpoints' / '3').exists()


def truncate(step):
    victim = max((p for p in step.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    victim.write_bytes(victim.read_bytes()[:-1])


def empty(step):
    for p in sorted(step.rglob('*'), reverse=True):
        p.unlink() if p.is_file() else p.rmdir()


def unsealed(step):
    (step / 'manifest.json').unlink()


def torn_manifest(step):
    (step / 'manifest.json').write_text('{"a": ')


def lost_file(step):
    next(p for p in step.rglob('*') if p.is_file() and p.name != 'manifest.json').unlink()


def one_file_more(step):
    (step / 'state' / 'more').write_bytes(b'')


def of_another_step(step):
    text = (step / 'manifest.json').read_text().replace('"step": 3', '"step": 2')
    (step / 'manifest.json').write_text(text)


def no_folder(step):
    shutil.rmtree(step)
    step.write_text('a file')


DAMAGE = [
    truncate, empty, unsealed, torn_manifest, lost_file, one_file_more, of_another_step, no_folder
]  # fmt: skip


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_or_unfinished_step_is_passed_over(job, folder, capsys, damage):
    path, states = folder
    damage(path / 'checkpoints' / '3')
    assert broken(path / 'checkpoints' / '3')
    assert not jobs.differing(restored(job, path, repair=False), states[2])
    assert (path / 'checkpoints' / '3').exists()  # who only reads moves nothing
    assert not jobs.differing(restored(job, path), states[2])
    assert 'WARNING: checkpoint 3' in capsys.readouterr().err
    # and its step can be saved again
    store = Checkpoints(path, keep=3)
    store.save(job.placed(states[3]), job.config)
    store.close()
    assert not jobs.differing(restored(job, path), states[3])


def test_who_reads_leaves_everything_as_it_is(job, folder):
    """Also what a run is about to write, and what is damaged: it may be the run's at work."""
    path, states = folder
    root = path / 'checkpoints'
    for name in ('4.unsealed.orbax-checkpoint-tmp', '4.orbax-checkpoint-tmp', '5.unsealed', '6'):
        (root / name).mkdir()
        (root / name / 'part').write_text('of a save')
    before = state_of(path)
    assert not jobs.differing(restored(job, path, repair=False), states[3])
    assert read(path)[0] == 3
    assert state_of(path) == before
    # the one that writes makes room
    assert not jobs.differing(restored(job, path), states[3])
    assert sorted(p.name for p in root.iterdir()) == ['1', '2', '3']
    assert (path / 'damaged' / '6' / 'part').exists()


def test_a_reader_goes_on_where_the_run_deletes_what_it_reads(job, folder, monkeypatch, capsys):
    path, states = folder
    real, verify = Checkpoints._load, checkpoint.broken

    def load(self, step, like):
        if step == 3:  # as where the file system has no locks
            shutil.rmtree(self.folder / '3')
        return real(self, step, like)

    def deleted_meanwhile(folder):
        if folder.name == '2':
            monkeypatch.setattr(checkpoint, 'broken', verify)
            shutil.rmtree(folder)
        return verify(folder)

    monkeypatch.setattr(Checkpoints, '_load', load)
    assert not jobs.differing(restored(job, path, repair=False), states[2])
    monkeypatch.setattr(checkpoint, 'broken', deleted_meanwhile)
    assert not jobs.differing(restored(job, path, repair=False), states[1])
    assert not capsys.readouterr().err  # nothing was wrong with them


def test_what_is_read_is_not_deleted_meanwhile(job, folder, monkeypatch):
    path, states = folder
    real, store = Checkpoints._load, Checkpoints(path, keep=1)

    def load(self, step, like):
        store.save(job.placed(states[3]).replace(step=states[3].step + 1), {})
        store.wait()
        return real(self, step, like)

    monkeypatch.setattr(Checkpoints, '_load', load)
    assert not jobs.differing(restored(job, path, repair=False), states[3])
    assert store.steps() == [4, 3]
    store.save(job.placed(states[3]).replace(step=states[3].step + 2), {})
    store.close()
    assert store.steps() == [5]


def copied(root):
    shutil.copytree(root / '3', root / '99')


def copied_as_earlier_versions_wrote(root):
    copied(root)
    entries = json.loads((root / '99/manifest.json').read_text())['files']
    entries['none'] = entries['config/metadata']
    (root / '99/manifest.json').write_text(json.dumps(entries))


def padded(root):
    shutil.copytree(root / '3', root / '000099')


def stray(root):
    (root / '000099').mkdir()


@pytest.mark.parametrize('put', [copied, copied_as_earlier_versions_wrote, padded, stray])
def test_strays_are_passed_over_and_do_not_stop_a_run(job, folder, capsys, put):
    path, states = folder
    put(path / 'checkpoints')
    assert not jobs.differing(restored(job, path, repair=False), states[3])
    assert 'not whole' in capsys.readouterr().err
    assert not jobs.differing(restored(job, path), states[3])
    assert Checkpoints(path).steps() == [3, 2, 1]
    state, store = job.placed(states[3]), Checkpoints(path, keep=3)
    store.save(state.replace(step=state.step + 1), job.config)
    store.close()
    assert Checkpoints(path).steps() == [4, 3, 2]


def test_a_stray_that_comes_while_the_run_goes_on_costs_no_checkpoint(job, folder):
    path, states = folder
    store = Checkpoints(path, keep=1)
    copied(path / 'checkpoints')
    store.save(job.placed(states[3]).replace(step=states[3].step + 1), {})
    store.close()
    assert store.steps() == [99, 4] and not broken(store.folder / '4')


def test_a_manifest_of_an_earlier_version_is_read(job, folder):
    """It has the files alone; its copy under another number is found out by its state."""
    path, states = folder
    for folder in (path / 'checkpoints').iterdir():
        entries = json.loads((folder / 'manifest.json').read_text())['files']
        (folder / 'manifest.json').write_text(json.dumps(entries))
    assert not jobs.differing(restored(job, path), states[3])
    copied(path / 'checkpoints')
    with pytest.raises(Mistake, match='99 holds the state of step 3'):
        restored(job, path)


def test_where_no_step_is_whole_the_run_stops_and_moves_nothing(job, folder, capsys):
    path, _ = folder
    for step in (1, 2, 3):
        unsealed(path / 'checkpoints' / str(step))
    with pytest.raises(Mistake, match='no checkpoint in .* is whole .3: it has no.*--from_scratch'):
        restored(job, path)
    assert Checkpoints(path).steps() == [3, 2, 1]
    assert restored(job, path, scratch=True) is None
    assert Checkpoints(path).steps() == [] and len(list((path / 'damaged').iterdir())) == 3


def test_from_scratch_gives_up_nothing_that_is_whole(job, folder):
    path, states = folder
    unsealed(path / 'checkpoints/3')
    assert not jobs.differing(restored(job, path, scratch=True), states[2])


@pytest.fixture
def order(monkeypatch):
    """What reaches the disk, and what is renamed and deleted, in order."""
    done = []
    sync, rename, rmtree = os.fsync, os.rename, shutil.rmtree

    def synced(file):
        done.append(('sync', os.readlink(f'/proc/self/fd/{file}')))
        sync(file)

    monkeypatch.setattr(os, 'fsync', synced)
    monkeypatch.setattr(os, 'rename', lambda a, b: (done.append(('rename', str(b))), rename(a, b)))
    monkeypatch.setattr(
        shutil, 'rmtree', lambda p, **how: (done.append(('delete', str(p))), rmtree(p, **how))
    )
    return done


def test_a_save_is_on_the_disk_before_it_has_a_name_and_before_another_goes(job, tmp_path, order):
    state, store = job.fresh(), Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        store.save(state.replace(step=state.step * 0 + step), {})
        store.wait()
    store.close()
    root = store.folder
    named = order.index(('rename', str(root / '2')))
    gone = order.index(('rename', str(root / '1.old')))
    assert named < order.index(('sync', str(root)), named) < gone
    assert gone < order.index(('delete', str(root / '1.old')), gone)
    assert store.steps() == [2]
    there = {p.relative_to(root / '2') for p in (root / '2').rglob('*')}
    unsealed = root / '2.unsealed'
    for name in [unsealed, *(unsealed / p for p in there)]:
        assert ('sync', str(name)) in order[:named], name
    # the manifest after what it speaks of, the folders after it
    last = [path for what, path in order[:named] if what == 'sync']
    assert last.index(f'{unsealed}/manifest.json') > last.index(f'{unsealed}/_CHECKPOINT_METADATA')
    assert last[-1] == str(unsealed)


class Killed(BaseException):
    pass


@pytest.mark.parametrize('moment', ['seal', 'named', 'drop'])
def test_a_kill_at_any_moment_of_a_save_leaves_a_whole_checkpoint(
    job, tmp_path, monkeypatch, moment
):
    """With keep=1, also between seal and deletion; the same step can be saved afterwards."""
    state, store = job.fresh(), Checkpoints(tmp_path, keep=1)
    states = {step: state.replace(step=state.step * 0 + step) for step in (1, 2)}
    store.save(states[1], {})
    store.wait()

    def killed(*_):
        raise Killed

    monkeypatch.setattr(sealed, moment, killed)
    store.save(states[2], {})
    with pytest.raises(Killed):
        store.close()
    monkeypatch.undo()
    left = 2 if moment == 'drop' else 1
    assert int(restored(job, tmp_path).step) == left
    if left == 1:
        store = Checkpoints(tmp_path, keep=1)
        store.save(states[2], {})
        store.close()
    assert int(restored(job, tmp_path).step) == 2


def test_a_save_that_failed_is_told_at_the_next_step(job, tmp_path, monkeypatch):
    store = Checkpoints(tmp_path, every=50)

    def seal(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sealed, 'seal', seal)
    store.save(job.fresh(), {})
    while not store.pending.done():
        pass
    with pytest.raises(OSError, match='No space left'):
        store.due(1, 100)
    assert list(store.folder.iterdir()) == []  # what it has written does not fill the disk


def test_a_full_disk_is_one_line_that_names_what_is_saved(tmp_path, monkeypatch, capsys):
    found = jobs.settings('gpt', **{'checkpoint.every': 1, 'checkpoint.keep': 1})
    found['log']['tensorboard'] = False
    real, count = sealed.seal, []

    def seal(folder, step):
        count.append(step)
        if len(count) == 3:
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                raise ValueError(f'a library: {error}') from None
        real(folder, step)

    monkeypatch.setattr(sealed, 'seal', seal)
    run = lambda: train.train({**found, 'evals': {}}, tmp_path)  # noqa: E731
    assert cli.guarded(run) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search('no space left on device; step 2 is saved; make room', line)
    assert Checkpoints(tmp_path).steps() == [2]
    assert cli.guarded(run) == 0
    assert Checkpoints(tmp_path).steps() == [4]


def test_two_damaged_steps(job, folder):
    path, states = folder
    truncate(path / 'checkpoints' / '3')
    empty(path / 'checkpoints' / '2')
    assert not jobs.differing(restored(job, path), states[1])


def test_the_latest_is_always_kept(job, tmp_path):
    state, store = job.fresh(), Checkpoints(tmp_path, keep=1, keep_every=2)
    for _ in range(5):
        state = job.placed(jax.tree.map(lambda x: x + 1, state))
        store.save(state, job.config)
    store.close()
    assert store.steps() == [5, 4, 2]
    assert all(not broken(store.folder / str(step)) for step in store.steps())


def test_so_many_are_kept_as_asked(job, tmp_path):
    state, store = job.fresh(), Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 3, 4):
        store.save(state.replace(step=state.step * 0 + step), {})
    store.close()
    assert Checkpoints(tmp_path).steps() == [4, 3]


def test_saving_does_not_wait_for_the_disk_and_survives_donation(job, tmp_path):
    state, step = job.fresh(), job.step()
    state, _ = jobs.run(job, 1, state, step)
    saved, store = jax.device_get(state), Checkpoints(tmp_path)
    store.save(state, job.config)
    jobs.run(job, 2, state, step)  # donates what is being written
    store.close()
    assert not jobs.differing(restored(job, tmp_path), saved)


def test_restored_onto_another_device_count(job, folder):
    path, states = folder
    many = make({**job.config, 'mesh': dict(data=2, fsdp=4, tensor=1, big=16)})
    found = Checkpoints(path).restore(many.shapes)
    assert not jobs.differing(found, states[3])
    assert not found.params['decoder']['embed']['embedding'].sharding.is_fully_replicated


def test_the_devices_of_the_run_need_not_be_here(job, folder):
    """Those of another process, say: a run of many is read, opened, gone on with and grafted."""
    path, states = folder
    places = path / 'checkpoints/3/state/_sharding'
    elsewhere = re.sub(r'("id\\": )(\d)', r'\g<1>2048\2', whole := places.read_text())
    assert elsewhere.count('2048') == whole.count('device_mesh') > 3
    places.write_text(elsewhere)
    sealed.seal(path / 'checkpoints/3', 3)
    found = read(path)[1]
    for part in ('step', 'params', 'memory'):
        assert not jobs.differing(found[part], getattr(states[3], part))
    assert all(isinstance(x, np.ndarray) for x in jax.tree.leaves(found))
    opened = Checkpoints(path).restore(model.shapes(job.model), repair=False)
    assert not jobs.differing(opened.params, states[3].params)
    assert not jobs.differing(restored(job, path), states[3])
    grafted = graft(job.fresh(), {'params/decoder': f'{path}:params/decoder'})
    assert not jobs.differing(grafted.params, states[3].params)


def test_a_state_of_another_form_is_refused(folder):
    path, _ = folder
    other = jobs.job('gpt', **{'model.decoder.width': 32})
    with pytest.raises(Mistake, match='holds a state of gpt that does not fit'):
        Checkpoints(path).restore(other.shapes)


def test_graft_fills_a_subtree(job, folder):
    path, states = folder
    fresh = job.fresh()
    state = graft(fresh, {'params/decoder/embed': f'{path}:params/decoder/embed'})
    found, old = jobs.leaves(state), jobs.leaves(fresh)
    for name, leaf in jobs.leaves(states[3]).items():
        source = leaf if name.startswith('params/decoder/embed/') else old[name]
        np.testing.assert_array_equal(found[name], source, err_msg=name)


@pytest.mark.parametrize(
    'grafts, pattern',
    [
        ({'params/decoder/embed': 'PATH:params/decoder/out'}, 'holds'),
        ({'params/nothing': 'PATH:params/decoder'}, 'no such path'),
        ({'params/decoder/block': 'PATH:params/decoder/block'}, 'no such path'),  # blocks_0
        ({'params/decoder': 'no_colon'}, 'WORKDIR:PATH'),
        ({'params/decoder': 'nowhere:params/decoder'}, 'no whole checkpoint'),
    ],
)
def test_grafts_that_do_not_fit(job, folder, grafts, pattern):
    grafts = {k: v.replace('PATH', str(folder[0])) for k, v in grafts.items()}
    with pytest.raises(Mistake, match=pattern):
        graft(job.fresh(), grafts)


def test_a_graft_from_a_path_that_is_not_there_says_what_is(job, folder):
    with pytest.raises(Mistake, match='holds nothing at decoder/.*; it has .*params/decoder'):
        graft(job.fresh(), {'params/decoder': f'{folder[0]}:decoder'})


def test_a_graft_that_a_method_needs_is_asked_for(job):
    needs = ('params/encoder', 'params/decoder', 'memory/stats/decoder')  # it has no statistics
    typed = "{'params/decoder': 'WORKDIR:PATH'}"
    with pytest.raises(Mistake, match=f'for params/decoder, from .* --config.graft="{typed}"'):
        graft(job.fresh(), {needs[0]: 'nowhere:params/encoder'}, needs)


def test_what_comes_late_from_a_save_that_failed_is_not_printed(monkeypatch):
    """As TensorStore prints it: an error that no one catches, by sys.excepthook."""
    told = []
    monkeypatch.setattr(sys, 'excepthook', lambda kind, error, trace: told.append(error))
    checkpoint.ignore_closed_event_loops.__wrapped__()
    others = [RuntimeError('another'), OSError('Event loop is closed')]
    for error in (RuntimeError('Event loop is closed'), *others):
        sys.excepthook(type(error), error, None)
    assert told == others
