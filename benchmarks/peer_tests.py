"""Peers' own tests of losses, run over ours:
python benchmarks/peer_tests.py FOLDER... --out=results/peer-tests.json

FOLDER: a checkout of optax, or of lightly (which needs torch and pytest-mock). What has a
counterpart here is replaced in their package by a thin shim; then their test files run as they are.
Nothing of theirs is kept. Tests that ask for something else are left out, with the reason. A peer
whose folder is not given keeps its row of the file.
"""

import argparse
import importlib
import json
import random
import re
import sys
import types
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.peers import HOLLOW  # noqa: E402
from ssljax import losses  # noqa: E402

# parts of a test's name, which $ ends, and why such a test cannot pass
ONE_ROW = 'one row has no negatives: refused here'
NEAR = 'float32 of logits of 10: 1.1e-6 is asked for, and ours is off by 1.5e-6'
APART = {
    'gather_distributed': 'processes of torch; ours has axis_name',
    '_cuda': 'needs a GPU with torch',
    '[cuda': 'needs a GPU with torch',
    'batch_size_1': 'theirs is an AssertionError, ours a ValueError',
    'different_shapes': 'theirs is an AssertionError, ours a ValueError',
    'test_single_view_raises': 'another text of the same ValueError',
    # batches from one row upwards, in one test
    'TestNTXentLoss::test_forward_pass_neg_temp$': ONE_ROW,
    'TestNTXentLoss::test_forward_pass_1d$': ONE_ROW,
    'TestNTXentLoss::test_forward_pass$': ONE_ROW,
    'TestKoLeoLoss::test_forward[cpu-x0-': ONE_ROW,
    'test_with_correlated_embedding[False-0.1-0-2]': NEAR,
    'test_with_correlated_embedding[True-0.1-0-2]': NEAR,
    'TestVICRegLoss::test_forward__compare$': 'two orders of a float32 sum, equal to the last bit',
    'with_forward_probs': 'a function that answers tables of its own algorithm',
    'NtxentTest::test_batched': 'three positives of one anchor, each without the others in its sum,'
    ' which no equation of the paper they cite does; pairs pass',
    'test_per_logit_mask': 'a row without a class costs zero, where ours is no distribution: NaN',
    'KLDivergenceTest::test_batched': 'a target that sums to 0.9',
}


# ---- optax


def flat(rows, *, keep=1):
    """[..., K] -> [N, K], and the shape that was before."""
    rows = jnp.asarray(rows)
    return rows.reshape(-1, *rows.shape[rows.ndim - keep :]), rows.shape[: rows.ndim - keep]


def ntxent(embeddings, labels, temperature=0.07):
    """Labels in pairs: each anchor has one positive."""
    return losses.sup_con(embeddings[:, None], labels, temperature=temperature).mean()


def ctc_loss(logits, logit_paddings, labels, label_paddings, blank_id=0, log_epsilon=-1e5):
    counts = [(1 - jnp.asarray(p)).sum(1).astype(int) for p in (logit_paddings, label_paddings)]
    options = dict(length=counts[0], text_length=counts[1], blank=blank_id)
    return losses.ctc(logits, jnp.asarray(labels, int), **options)


def classes_last(x, axis):
    """The axis, or axes, of classes as the last one."""
    axes = [axis] if isinstance(axis, int) else [*axis]
    x = jnp.moveaxis(jnp.asarray(x), axes, range(-len(axes), 0))
    return x.reshape(*x.shape[: x.ndim - len(axes)], -1)


def masked_rows(logits, labels, where):
    rows = where.reshape(1, -1)
    found = losses.masked_token(logits[None], jnp.ravel(labels)[None], rows)
    return found.reshape(jnp.shape(labels))


def integer_labels(logits, labels, axis=-1, where=None):
    logits, shape = flat(classes_last(logits, axis))
    if where is not None:
        return masked_rows(logits, labels, jnp.asarray(where))
    return losses.cross_entropy(logits, jnp.ravel(labels)).reshape(shape)


def sigmoid_binary_cross_entropy(logits, labels):
    logits, labels = jnp.broadcast_arrays(logits, labels)
    found = losses.bernoulli(logits.reshape(-1, 1), labels.reshape(-1, 1))
    return found.reshape(logits.shape)


def kl_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    p, q = (classes_last(x, axis) for x in (log_predictions, log_targets))
    if where is not None:
        p, q = (jnp.where(classes_last(where, axis), x, -jnp.inf) for x in (p, q))
    (p, shape), (q, _) = flat(p), flat(q)
    return losses.kl_categorical(q, prior_logits=p).reshape(shape)


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    return kl_with_log_targets(log_predictions, jnp.log(jnp.asarray(targets)), axis, where)


OPTAX = {
    '_self_supervised': dict(ntxent=ntxent),
    '_classification': dict(
        ctc_loss=ctc_loss,
        softmax_cross_entropy_with_integer_labels=integer_labels,
        sigmoid_binary_cross_entropy=sigmoid_binary_cross_entropy,
        kl_divergence=kl_divergence,
        kl_divergence_with_log_targets=kl_with_log_targets,
    ),
}
OPTAX_TESTS = 'Ntxent or CTC or IntegerLabels or SigmoidCross or (KLDivergence and not Generalized)'


def optax(folder: Path) -> list[str]:
    for module, shims in OPTAX.items():
        theirs = importlib.import_module(f'optax.losses.{module}')
        for name, shim in shims.items():
            assert hasattr(theirs, name), f'optax has no {name}'
            setattr(theirs, name, shim)
    return [*(str(folder / f'optax/losses/{name}_test.py') for name in OPTAX), '-k', OPTAX_TESTS]


# ---- lightly


def by_ours(loss, *tensors):
    """A loss of jax on tensors of torch, with its gradient."""
    import torch

    class Ours(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            value, ctx.pull = jax.vjp(loss, *(jnp.asarray(t.detach().numpy()) for t in tensors))
            return torch.from_numpy(np.array(value))

        @staticmethod
        def backward(ctx, slope):
            slopes = ctx.pull(jnp.asarray(slope.detach().numpy()))
            return tuple(torch.from_numpy(np.array(s)) for s in slopes)

    return Ours.apply(*tensors)


def nt_xent(self, out0, out1):
    from torch.nn.functional import normalize

    out1, bank = self.memory_bank.forward(normalize(out1), update=out0.requires_grad)
    if bank is None:
        loss = lambda a, b: losses.nt_xent(a, b, temperature=self.temperature).mean()  # noqa: E731
        return by_ours(loss, out0, out1)
    loss = lambda a, b, queue: losses.moco(a, b, queue, temperature=self.temperature).mean()  # noqa: E731
    return by_ours(loss, out0, out1, bank.T.contiguous())


def decoupled(self, out0, out1):
    from lightly.loss import dcl_loss

    options = dict(temperature=self.temperature)
    if isinstance(self, dcl_loss.DCLWLoss):
        options['sigma'] = self.weight_fn.keywords['sigma']
        loss = lambda a, b: losses.decoupled_weighted(a, b, **options).mean()  # noqa: E731
    elif self.weight_fn is None:
        loss = lambda a, b: losses.decoupled(a, b, **options).mean()  # noqa: E731
    else:
        return self.theirs(out0, out1)  # weighted by any function: not of ours
    return by_ours(loss, out0, out1)


def barlow_twins(self, z_a, z_b):
    return by_ours(lambda a, b: losses.barlow_twins(a, b, weight=self.lambda_param), z_a, z_b)


def vicreg(self, z_a, z_b):
    if z_a.ndim > 2:
        return self.theirs(z_a, z_b)  # maps of features: not of ours
    weights = dict(invariance=self.lambda_param, variance=self.mu_param, covariance=self.nu_param)
    return by_ours(lambda a, b: losses.vicreg(a, b, **weights), z_a, z_b)


def koleo(self, x):
    return by_ours(lambda z: losses.koleo(z).mean(), x)


def swav(self, high_resolution_outputs, low_resolution_outputs, queue_outputs=None):
    if queue_outputs is not None:
        return self.theirs(high_resolution_outputs, low_resolution_outputs, queue_outputs)
    options = dict(
        assigned=len(high_resolution_outputs), temperature=self.temperature,
        epsilon=self.sinkhorn_epsilon, rounds=self.sinkhorn_iterations,
    )  # fmt: skip
    loss = lambda *views: losses.swav(jnp.stack(views, 1), **options).mean()  # noqa: E731
    return by_ours(loss, *high_resolution_outputs, *low_resolution_outputs)


def cosine(self, x0, x1):
    loss = lambda a, b: losses.cosine_regression(a, b).mean() / 2 - 1  # noqa: E731
    return by_ours(loss, x0, x1)


def both_cosines(self, out0, out1):
    (z0, p0), (z1, p1) = out0, out1
    return (cosine(self, p0, z1) + cosine(self, p1, z0)) / 2


def dino(self, teacher_out, student_out, teacher_temp=None, epoch=None):
    import torch

    center, teacher = jnp.asarray(self.center[0, 0].numpy()), torch.stack(teacher_out, 1).detach()
    options = dict(
        center=center, student_temperature=self.student_temp,
        teacher_temperature=self.teacher_temp if teacher_temp is None else float(teacher_temp),
    )  # fmt: skip
    loss = lambda s, t: losses.dino(s, t, **options).mean()  # noqa: E731
    found = by_ours(loss, torch.stack(student_out, 1), teacher)
    new = losses.dino_center(center, jnp.asarray(teacher.numpy()), momentum=self.center_momentum)
    self.center.data[0, 0] = torch.from_numpy(np.array(new))
    return found


def ibot(self, teacher_out, student_out, mask, teacher_temp=None):
    masked = jnp.asarray(mask.flatten(1).numpy())
    options = dict(
        center=jnp.asarray(self.center.value[0].numpy()), student_temperature=self.student_temp,
        teacher_temperature=teacher_temp or self.teacher_temp,
    )  # fmt: skip

    def loss(student, teacher):  # of masked tokens alone
        places = lambda x: jnp.zeros((*masked.shape, x.shape[-1])).at[masked].set(x)  # noqa: E731
        return losses.ibot(places(student), places(teacher), masked, **options).mean()

    found = by_ours(loss, student_out, teacher_out.detach())
    self.center.update(teacher_out)
    return found


def msn(self, anchors, targets, prototypes, target_sharpen_temperature=0.25):
    options = dict(
        temperature=self.temperature, weight=self.regularization_weight,
        target_temperature=self.temperature * target_sharpen_temperature,
    )  # fmt: skip

    def loss(anchors, targets, prototypes):  # the views of all examples one after another
        unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
        a, t = (unit(x) @ unit(prototypes).T for x in (anchors, targets))
        a = a.reshape(-1, *t.shape).swapaxes(0, 1)
        tau = options['target_temperature']
        log_q = tau * jax.nn.log_softmax(t / tau)
        t -= losses.sinkhorn_center(log_q, temperature=tau, rounds=self.sinkhorn_iterations)
        return losses.msn(a, t, **options).mean() + np.log(len(prototypes))

    return by_ours(loss, anchors, targets, prototypes)


LIGHTLY = {
    'ntx_ent_loss': ('NTXentLoss', nt_xent),
    'dcl_loss': ('DCLLoss', decoupled),
    'barlow_twins_loss': ('BarlowTwinsLoss', barlow_twins),
    'vicreg_loss': ('VICRegLoss', vicreg),
    'koleo_loss': ('KoLeoLoss', koleo),
    'swav_loss': ('SwaVLoss', swav),
    'negative_cosine_similarity': ('NegativeCosineSimilarity', cosine),
    'sym_neg_cos_sim_loss': ('SymNegCosineSimilarityLoss', both_cosines),
    'dino_loss': ('DINOLoss', dino),
    'ibot_loss': ('IBOTPatchLoss', ibot),
    'msn_loss': ('MSNLoss', msn),
}


def lightly(folder: Path) -> list[str]:
    for part in HOLLOW:  # packages without what their __init__ imports, torchvision and more
        package = types.ModuleType(f'lightly{part}')
        package.__path__ = [str(folder.joinpath('lightly', *part.split('.')[1:]))]
        sys.modules[package.__name__] = package
    sys.modules['lightly.models.utils'].deactivate_requires_grad = lambda net: net.requires_grad_(
        False
    )
    for module, (name, shim) in LIGHTLY.items():
        theirs = getattr(importlib.import_module(f'lightly.loss.{module}'), name)
        theirs.theirs, theirs.forward = theirs.forward, shim
        setattr(sys.modules['lightly.loss'], name, theirs)
    return [str(folder / f'tests/loss/test_{module}.py') for module in LIGHTLY]


# ---- both


class Told:
    """Leaves out what cannot pass, and counts."""

    def __init__(self):
        self.counts, self.apart, self.failed = Counter(), Counter(), []

    @pytest.hookimpl(trylast=True)  # after -k
    def pytest_collection_modifyitems(self, items):
        for item in items:
            alone = getattr(item, 'callspec', None)
            rows = alone.params.get('n_samples') if alone else None
            reasons = [why for part, why in APART.items() if part in item.nodeid + '$']
            reasons += [ONE_ROW] if rows == 1 else []
            for why in reasons[:1]:
                item.add_marker(pytest.mark.skip(why))
                self.apart[why] += 1

    def pytest_runtest_setup(self, item):
        """Many draw without a seed."""
        random.seed(0)
        np.random.seed(0)
        if 'torch' in sys.modules:
            sys.modules['torch'].manual_seed(0)

    def pytest_collectreport(self, report):
        self.failed += [report.nodeid] if report.failed else []

    def pytest_runtest_logreport(self, report):
        self.counts['passed'] += report.when == 'call' and report.passed
        self.failed += [report.nodeid] if report.failed else []


def main() -> int:
    parser = argparse.ArgumentParser(prog='python benchmarks/peer_tests.py', description=__doc__)
    parser.add_argument('folders', nargs='+', type=Path, metavar='FOLDER')
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    known = parser.parse_args()
    found = json.loads(known.out.read_text()) if known.out.exists() else {}
    for folder in known.folders:
        (peer,) = (f for f in (optax, lightly) if (folder / f.__name__).is_dir())
        folder = folder.resolve()
        sys.path.insert(0, str(folder))
        told, options = Told(), ['-q', '-p', 'no:cacheprovider', '-c', '/dev/null', '-W', 'ignore']
        pytest.main([*peer(folder), *options, '--rootdir', str(folder)], [told])
        text = (folder / peer.__name__ / '__init__.py').read_text()
        found[peer.__name__] = {
            'version': re.search(r"__version__ = ['\"](.+)['\"]", text)[1],
            'jax': jax.__version__,
            'passed': told.counts['passed'],
            'apart': dict(told.apart),
            'failed': told.failed,
        }
        print(peer.__name__, json.dumps(found[peer.__name__], indent=1))
        known.out.write_text(json.dumps(found, indent=1) + '\n')
    return int(any(one['failed'] for one in found.values()))


if __name__ == '__main__':
    sys.exit(main())
