"""Puts faults in on purpose and says which test caught each: python tests/faults.py [--out=FILE]

Every fault is one replacement in a copy of the project; a fault that no test catches is an error.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUITE = 'tests/test_methods.py'

# what is wrong, file, text, its replacement, tests that are asked (a -k expression after the file)
FAULTS = (
    (
        'a net is skipped: the loss sees features, not projections',
        'ssljax/methods/simclr.py',
        '        _, z = forward(net',
        '        z, _ = forward(net',
        (SUITE, 'simclr and not slow'),
    ),
    (
        'batch statistics are dropped',
        'ssljax/methods/simclr.py',
        "return value, state.memory | {'stats': stats}",
        'return value, state.memory',
        (SUITE, 'simclr and dead'),
    ),
    (
        'encode uses the statistics of its own batch',
        'ssljax/methods/simclr.py',
        "return nets(state.params, state.memory['stats']).encoder",
        "return nets(state.params, state.memory['stats'], train=True).encoder",
        (SUITE, 'simclr and readouts'),
    ),
    (
        'both views are one view',
        'ssljax/methods/simclr.py',
        'nt_xent(z[:, 0], z[:, 1]',
        'nt_xent(z[:, 0], z[:, 0]',
        (SUITE, 'simclr and learns'),
    ),
    (
        'a memory entry is NaN at step 0',
        'ssljax/methods/simclr.py',
        "return params, {'stats': stats}",
        "return params, {'stats': stats, 'center': jax.numpy.full((), jax.numpy.nan)}",
        ('tests/test_contract.py', 'simclr'),
    ),
    (
        'after touches the optimizers',
        'ssljax/methods/simclr.py',
        "Method(init, {'net': Turn(loss)},",
        "Method(init, {'net': Turn(loss)}, lambda key, state, batch: (state.replace("
        'opt=jax.tree.map(lambda x: 0 * x, state.opt)), {}),',
        (SUITE, 'simclr and two_steps'),
    ),
    (
        'a turn never acts',
        'ssljax/methods/wgan_gp.py',
        'when=every(critics, critics - 1)',
        'when=lambda step: step < 0',
        (SUITE, 'wgan_gp and two_steps'),
    ),
    (
        'a key is used twice',
        'ssljax/methods/wgan_gp.py',
        'gradient_penalty(k2,',
        'gradient_penalty(k1,',
        (SUITE, 'wgan_gp and twice'),
    ),
    (
        'the generator walks away from the critic',
        'ssljax/losses/adversarial.py',
        'return -fake.astype(jnp.float32)',
        'return fake.astype(jnp.float32)',
        ('tests/losses', 'adversarial'),
    ),
    (
        'the penalty forgets the slope',
        'ssljax/losses/adversarial.py',
        'slope = jax.grad(',
        'slope = 0 * jax.grad(',
        ('tests/losses', 'adversarial'),
    ),
    (
        'an anchor is its own negative',
        'ssljax/losses/contrastive.py',
        'log_sum = _log_sum(z, first, itself=False, **options)',
        'log_sum = _log_sum(z, first, **options)',
        ('tests/losses/test_proofs.py', 'nt_xent and equals'),
    ),
    (
        'the transformer sees the token that it predicts',
        'ssljax/nets/transformer.py',
        'is_causal=self.causal',
        'is_causal=False',
        ('tests/test_nets.py', 'transformer or causal or gpt'),
    ),
    (
        'micro-batch gradients are added, not averaged',
        'ssljax/step.py',
        'sum(leaves) / accumulate',
        'sum(leaves)',
        ('tests/test_step.py', 'accumulation'),
    ),
    (
        'what is held is moved by weight decay',
        'ssljax/step.py',
        'part = optax.apply_updates(part, hold(turn, state.step, updates))',
        'part = optax.apply_updates(part, updates)',
        ('tests/test_step.py', 'held'),
    ),
    (
        'a turn moves every net',
        'ssljax/step.py',
        'select(state.params, turn.moves)',
        'select(state.params, ())',
        (SUITE, 'wgan_gp and (moved or two_steps)'),
    ),
    (
        'the step key does not follow the step',
        'ssljax/step.py',
        'jax.random.fold_in(key, state.step)',
        'jax.random.fold_in(key, 0)',
        ('tests/test_step.py', 'key'),
    ),
    (
        'the schedule is one step off after a resume',
        'ssljax/checkpoint.py',
        "return form.same(like, found, 'the state')",
        'opt = jax.tree.map(lambda x: x + (x.ndim == 0), found.opt)\n'
        "            return form.same(like, found.replace(opt=opt), 'the state')",
        ('tests/test_resume.py', 'never_stopped and simclr'),
    ),
    (
        'the data start one batch late after a resume',
        'ssljax/train.py',
        'with job.batches(start) as batches',
        'with job.batches(start + (start > 0), steps + (start > 0)) as batches',
        ('tests/test_resume.py', 'never_stopped and gpt'),
    ),
    (
        'batches depend on the number of devices',
        'ssljax/job.py',
        'seed=self.model.seed',
        'seed=self.model.seed + jax.device_count()',
        ('tests/test_resume.py', 'one_device'),
    ),
    (
        'a refresh or a resume recompiles: the initial state is not placed',
        'ssljax/job.py',
        'jax.jit(whole, out_shardings=places)',
        'jax.jit(whole)',
        (SUITE, 'simclr and two_steps'),
    ),
    (
        'an unfinished checkpoint is trusted',
        'ssljax/checkpoint.py',
        "        return 'it has no manifest, so it was not finished'",
        "        return ''",
        ('tests/test_checkpoint.py', 'unfinished or damaged'),
    ),
    (
        'a flipped bit is not noticed',
        'ssljax/checkpoint.py',
        "if digest(path) != entry['sha256']:",
        'if False:',
        ('tests/test_checkpoint.py', 'flipped'),
    ),
    (
        'a checkpoint is written though a loss was NaN',
        'ssljax/watch.py',
        "if name.endswith('/loss') and not np.isfinite(value):",
        'if False:',
        ('tests/test_resume.py', 'nan'),
    ),
    (
        'the teacher never follows',
        'ssljax/methods/dino.py',
        "return state.remember(teacher=teacher | {'params': params}), {}",
        'return state, {}',
        (SUITE, 'dino and dead'),
    ),
    (
        'the teacher follows too fast',
        'ssljax/methods/dino.py',
        '1 - apart(state.step)',
        'apart(state.step)',
        ('tests/test_method_properties.py', 'dino'),
    ),
    (
        'the center is kept and not used',
        'ssljax/losses/distillation.py',
        't = (teacher.astype(jnp.float32) - center)',
        't = teacher.astype(jnp.float32)',
        ('tests/losses', 'distillation'),
    ),
    (
        'a view predicts itself',
        'ssljax/losses/_rows.py',
        '1 - jnp.eye(*terms.shape[1:])',
        'jnp.ones(terms.shape[1:])',
        ('tests/losses', 'distillation'),
    ),
    (
        'the loss scores what was seen',
        'ssljax/losses/reconstruction.py',
        '(error * mask)',
        '(error * (1 - mask))',
        ('tests/losses', 'reconstruction'),
    ),
    (
        'hidden patches reach the encoder',
        'ssljax/nets/vit.py',
        'x = patchify(x, self.patch)',
        'x = patchify(x - x.mean((1, 2), keepdims=True), self.patch)',
        ('tests/test_vit.py', 'kept'),
    ),
    (
        'the rows are never clustered again',
        'ssljax/methods/deepcluster.py',
        'every(max(int(epochs * run.steps_per_epoch), 1))',
        'lambda step: step < 0',
        (SUITE, 'deepcluster and dead'),
    ),
    (
        'large clusters weigh more',
        'ssljax/methods/deepcluster.py',
        '/ size[labels]',
        '* size[labels]',
        ('tests/test_method_properties.py', 'deepcluster'),
    ),
    (
        'an epoch is not a permutation',
        'ssljax/data/batches.py',
        'epochs, within = np.divmod(positions, count)',
        'epochs, within = positions // count, (positions * 2) % count',
        ('tests/test_data_batches.py', ''),
    ),
    (
        'what fills up the last strip counts as rows',
        'ssljax/losses/_strips.py',
        'index < 0 if missing else None',
        'None',
        ('tests/losses/test_strips.py', 'width'),
    ),
    (
        'the backward pass of strips forgets who is left out',
        'ssljax/losses/_strips.py',
        '_replaced(left_out, 0, fold.slope(s, value[:, None]))',
        'fold.slope(s, value[:, None])',
        ('tests/losses/test_strips.py', 'width'),
    ),
    (
        'round the ring a gradient takes the place of those before it',
        'ssljax/losses/_strips.py',
        'jax.tree.map(jnp.add, sums, terms)',
        'terms',
        ('tests/losses/test_proofs.py', 'clip and cut'),
    ),
    (
        'CTC goes from a token to the same one without a blank',
        'ssljax/losses/sequence.py',
        '(tokens != blank) & (tokens != before)',
        'tokens != blank',
        ('tests/losses/test_proofs.py', 'ctc and equals'),
    ),
    (
        'levels at the edges take nothing that lies beyond',
        'ssljax/losses/likelihood.py',
        'log_p = jnp.where(x > 1 - h, log_sigmoid(-below), log_p)',
        'log_p = log_p + 0',
        ('tests/losses/test_likelihood.py', 'levels'),
    ),
    (
        'all chunks share one key',
        'ssljax/nets/chunks.py',
        'jax.random.split(key, count)',
        'jax.numpy.broadcast_to(key, (count,))',
        ('tests/test_chunks.py', 'key'),
    ),
    (
        'the held encoder learns',
        'ssljax/methods/classifier.py',
        "{'encoder': between(0, frozen)} if frozen else {}",
        '{}',
        ('tests/test_method_properties.py', 'classifier'),
    ),
    (
        'a row finds itself',
        'ssljax/evals/retrieval.py',
        'jnp.where(asked[:, None] == jnp.arange(len(h)), -2.0, s)',
        's + 0',
        ('tests/test_evals_probes.py', 'retrieval'),
    ),
    (
        'few shots are tested on what they learned from',
        'ssljax/evals/few_shot.py',
        'h[rows[:, shot:]]',
        'h[rows[:, :shot]]',
        ('tests/test_evals_probes.py', 'few_shot'),
    ),
    (
        "every param of the encoder learns at the head's rate",
        'ssljax/evals/fine_tune.py',
        'u * s * acts',
        'u * acts',
        ('tests/test_evals_fine_tune.py', 'share'),
    ),
    (
        'a layer far from the head learns as fast as one near it',
        'ssljax/evals/fine_tune.py',
        'layer_decay**d',
        'layer_decay',
        ('tests/test_evals_fine_tune.py', 'share'),
    ),
    (
        'the student is fine-tuned where encode reads the teacher',
        'ssljax/evals/fine_tune.py',
        'if id(v) in used}',
        '}',
        ('tests/test_evals_fine_tune.py', 'reads'),
    ),
    (
        'fine-tuning leaves the stored statistics behind',
        'ssljax/evals/fine_tune.py',
        'momentum * old + (1 - momentum) * new',
        'old',
        ('tests/test_evals_fine_tune.py', 'flax'),
    ),
    (
        'each epoch of the probe sees one view',
        'ssljax/evals/sgd_probe.py',
        'jax.random.key(epoch)',
        'jax.random.key(0)',
        ('tests/test_evals_fine_tune.py', 'views'),
    ),
    (
        'the rates of the probe do not fall',
        'ssljax/evals/sgd_probe.py',
        'optax.cosine_decay_schedule(1.0, epochs * steps)',
        '1.0',
        ('tests/test_evals_fine_tune.py', 'sgd_probe_is'),
    ),
    (
        'features of one layer pass for those of another',
        'ssljax/evals/subject.py',
        'asked = subject.layer, name',
        'asked = name',
        ('tests/test_evals_fine_tune.py', 'kept_apart'),
    ),
    (
        'the last block of queries is cut short',
        'ssljax/evals/blocks.py',
        'np.concatenate(found)[: len(queries)]',
        'np.concatenate(found)[: len(queries) // block * block]',
        ('tests/test_evals_fine_tune.py', 'cut_over'),
    ),
    (
        'what is equal for all is found first',
        'ssljax/evals/cross_retrieval.py',
        's >= best',
        's > best',
        ('tests/test_evals_paired.py', 'equal'),
    ),
    (
        'prompts are averaged before they have one length',
        'ssljax/evals/zero_shot.py',
        "unit(embedded(subject, texts, 'zero_shot'))",
        "embedded(subject, texts, 'zero_shot')",
        ('tests/test_evals_paired.py', 'zero_shot'),
    ),
    (
        'an insertion costs nothing',
        'ssljax/evals/transcription.py',
        'np.minimum.accumulate(kept - steps) + steps',
        'np.minimum.accumulate(kept)',
        ('tests/test_evals_paired.py', 'edits'),
    ),
    (
        'the words of a question may answer it',
        'ssljax/evals/analogies.py',
        's.at[rows, asked[:, :3]].set(-jnp.inf)',
        's',
        ('tests/test_evals_paired.py', 'analogies'),
    ),
    (
        'attention that was passed over counts as kept',
        'ssljax/evals/segmentation.py',
        'share.cumsum(-1) - share',
        'share.cumsum(-1)',
        ('tests/test_evals_paired.py', 'segmentation or strongest'),
    ),
    (
        'the importance-weighted bound is not a mean',
        'ssljax/evals/evidence.py',
        ' - math.log(samples)',
        '',
        ('tests/test_evals_paired.py', 'bound or likelihood'),
    ),
    (
        "a teacher's statistics do not settle",
        'ssljax/job.py',
        "'batch_stats' in sharding.path_name(path).split('/')",
        "'batch_stats' in sharding.path_name(path).split('/')[:3]",
        ('tests/test_evaluate.py', 'settle'),
    ),
    (
        'each process makes the whole batch',
        'ssljax/job.py',
        'mine=sharding.held_here(self.mesh, count)',
        'mine=None',
        ('tests/test_processes.py', 'losses'),
    ),
    (
        'the second process writes, too',
        'ssljax/log.py',
        'self.writes = processes.first()',
        'self.writes = True',
        ('tests/test_processes.py', 'losses'),
    ),
    (
        'what is typed stands for a default of another name',
        'ssljax/resolve.py',
        "if base != old.partition(':')[0]:",
        'if False:',
        ('tests/test_resolve.py', 'names'),
    ),
    (
        'a number out of its range is taken',
        'ssljax/resolve.py',
        'if not (low and given <= note.high):',
        'if False:',
        ('tests/test_resolve.py', 'fit'),
    ),
    (
        'memory by rows is not cut',
        'ssljax/sharding.py',
        'rows(leaf.shape, mesh) if kept else largest(leaf.shape, mesh, big)',
        'largest(leaf.shape, mesh, big)',
        ('tests/test_sharding.py', 'memory_by_rows'),
    ),
    (
        'codebooks are decayed',
        'ssljax/optim.py',
        "DECAYED = r'(^|/)(kernel|embedding)$'",
        "DECAYED = r'.'",
        ('tests/test_optim.py', ''),
    ),
    (
        'a mask of bytes becomes numbers in [-1, 1]',
        'ssljax/step.py',
        "for k in ('x', 'y') if k in batch and batch[k]",
        'for k in batch if batch[k]',
        ('tests/test_step.py', 'images'),
    ),
    (
        'floats of any range are taken for images',
        'ssljax/model.py',
        'if -1.001 <= low < 0 and high <= 1.001:',
        'if True:',
        ('tests/test_evaluate.py', 'mistakes'),
    ),
    (
        'gains are not paired with the right sign',
        'ssljax/evals/evaluator.py',
        'gains = other - rows if less else rows - other',
        'gains = rows - other if less else other - rows',
        ('tests/test_evaluate.py', 'gains'),
    ),
    (
        'the permutation test does not count the partition that was found',
        'ssljax/compare.py',
        'other >= gap - 1e-12 * max(abs(gap), 1)',
        'other > gap + 1e-12 * max(abs(gap), 1)',
        ('tests/test_compare.py', ''),
    ),
)


def caught(fault: tuple, folder: Path) -> str:
    """The first test that fails with the fault in, or ''."""
    _, name, text, other, (tests, which) = fault
    path = folder / name
    whole = path.read_text()
    if text not in whole:
        sys.exit(f'{name} has no {text!r}: bring tests/faults.py up to date')
    path.write_text(whole.replace(text, other, 1))
    command = [sys.executable, '-m', 'pytest', '-x', '-q', '-n', '0', tests]
    command += ['-k', which] if which else []
    try:
        out = subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout
    finally:
        path.write_text(whole)
    found = re.search(r'^(?:FAILED|ERROR) (.+?)(?: - .*)?$', out, flags=re.M)
    return found[1] if found else ''


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path)
    parser.add_argument('--only', default='', help='faults whose description has these words')
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / 'project'
        skip = shutil.ignore_patterns('.git', 'runs', '__pycache__')
        shutil.copytree(ROOT, folder, ignore=skip)
        for fault in FAULTS:
            if options.only in fault[0]:
                rows.append({'fault': fault[0], 'file': fault[1], 'test': caught(fault, folder)})
                print(f'{rows[-1]["test"] or "NOT CAUGHT":70}  {fault[0]}', flush=True)
    if options.out:
        if options.only and options.out.exists():  # the others keep what was found before
            kept = {row['fault']: row for row in json.loads(options.out.read_text())['faults']}
            kept |= {row['fault']: row for row in rows}
            rows = [kept[fault[0]] for fault in FAULTS if fault[0] in kept]
        options.out.write_text(json.dumps({'faults': rows}, indent=1) + '\n')
    return int(any(not row['test'] for row in rows))


if __name__ == '__main__':
    sys.exit(main())
