"""A checkpoint is whole or not used: damage, unfinished steps, other device counts, grafts."""

import json
import random

import jax
import jobs
import numpy as np
import pytest

from ssljax.checkpoint import Checkpoints, broken, graft
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


def test_no_checkpoint_is_none(job, tmp_path):
    assert restored(job, tmp_path) is None


def test_a_manifest_names_every_file(folder):
    path, _ = folder
    step = path / 'checkpoints' / '3'
    entries = json.loads((step / 'manifest.json').read_text())
    files = {str(p.relative_to(step)) for p in step.rglob('*') if p.is_file()} - {'manifest.json'}
    assert set(entries) == files and len(files) > 3


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


@pytest.mark.parametrize('damage', [truncate, empty, unsealed, torn_manifest, lost_file])
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


def test_a_graft_that_a_method_needs_is_asked_for(job):
    with pytest.raises(Mistake, match='needs a graft for memory/tokenizer'):
        graft(job.fresh(), {}, ('memory/tokenizer',))
