"""Peers' own tests of losses, run over ours: python benchmarks/peer_tests.py FOLDER...

FOLDER: a checkout of optax, or of lightly (which needs torch and pytest-mock). What has a
counterpart here is replaced in their package by a thin shim; then their test files run as they are.
Nothing of theirs is kept. Tests that ask for something else are left out, with the reason.
"""

import argparse
import importlib
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

# of a test's name, and why it cannot pass
APART = {
    'TripletMarginLossTest': 'distances, where FaceNet and ours have their squares',
    'with_forward_probs': 'a function that answers tables of its own algorithm',
    'test_with_one_to_one_alignment[': 'as above',
    'test_repeat_with_one_to_one_alignment': 'as above',
    'gather_distributed': 'processes of torch; ours has axis_name',
    'batch_size_1': 'theirs is an AssertionError, ours a ValueError',
    'different_shapes': 'theirs is an AssertionError, ours a ValueError',
    'n_samples1': 'one row has no negatives: refused here',
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


def integer_labels(logits, labels, axis=-1, where=None):
    logits, shape = flat(jnp.moveaxis(jnp.asarray(logits), axis, -1))
    where = None if where is None else jnp.moveaxis(jnp.asarray(where), axis, -1)
    if where is not None:
        logits = jnp.where(where.reshape(-1, logits.shape[-1]), logits, -jnp.inf)
    return losses.cross_entropy(logits, jnp.ravel(labels)).reshape(shape)


def sigmoid_binary_cross_entropy(logits, labels):
    logits, labels = jnp.broadcast_arrays(logits, labels)
    found = losses.bernoulli(logits.reshape(-1, 1), labels.reshape(-1, 1))
    return found.reshape(logits.shape)


def kl_with_log_targets(log_predictions, log_targets, axis=-1, where=None):
    p, q = (flat(x)[0] for x in (log_predictions, log_targets))
    return losses.kl_categorical(q, prior_logits=p).reshape(jnp.shape(log_predictions)[:-1])


def kl_divergence(log_predictions, targets, axis=-1, where=None):
    return kl_with_log_targets(log_predictions, jnp.log(jnp.asarray(targets)))


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
    if self.weight_fn is not None:
        return self.theirs(out0, out1)  # weighted: not of ours
    loss = lambda a, b: losses.decoupled(a, b, temperature=self.temperature).mean()  # noqa: E731
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


LIGHTLY = {
    'ntx_ent_loss': ('NTXentLoss', nt_xent),
    'dcl_loss': ('DCLLoss', decoupled),
    'barlow_twins_loss': ('BarlowTwinsLoss', barlow_twins),
    'vicreg_loss': ('VICRegLoss', vicreg),
    'koleo_loss': ('KoLeoLoss', koleo),
    'swav_loss': ('SwaVLoss', swav),
    'negative_cosine_similarity': ('NegativeCosineSimilarity', cosine),
}


def lightly(folder: Path) -> list[str]:
    for part in HOLLOW:  # packages without what their __init__ imports, torchvision and more
        package = types.ModuleType(f'lightly{part}')
        package.__path__ = [str(folder.joinpath('lightly', *part.split('.')[1:]))]
        sys.modules[package.__name__] = package
    for module, (name, shim) in LIGHTLY.items():
        theirs = getattr(importlib.import_module(f'lightly.loss.{module}'), name)
        theirs.theirs, theirs.forward = theirs.forward, shim
        setattr(sys.modules['lightly.loss'], name, theirs)
    return [str(folder / f'tests/loss/test_{module}.py') for module in LIGHTLY]


# ---- both


class Told:
    """Leaves out what cannot pass, and counts."""

    def __init__(self):
        self.counts, self.failed = Counter(), []

    def pytest_collection_modifyitems(self, items):
        for item in items:
            alone = getattr(item, 'callspec', None)
            if alone and alone.params.get('n_samples') == 1:
                item.add_marker(pytest.mark.skip(APART['n_samples1']))
            for part, why in APART.items():
                if part in item.nodeid:
                    item.add_marker(pytest.mark.skip(why))

    def pytest_runtest_logreport(self, report):
        if report.when == 'call' or report.skipped:
            self.counts[report.outcome] += 1
            self.failed += [report.nodeid] if report.failed else []


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks/peer_tests.py', description=__doc__)
    parser.add_argument('folders', nargs='+', type=Path, metavar='FOLDER')
    worst = 0
    for folder in parser.parse_args().folders:
        (peer,) = (f for f in (optax, lightly) if (folder / f.__name__).is_dir())
        sys.path.insert(0, str(folder.resolve()))
        told, options = Told(), ['-q', '-p', 'no:cacheprovider', '-c', '/dev/null']
        folder = folder.resolve()
        worst |= pytest.main([*peer(folder), *options, '--rootdir', str(folder)], [told])
        counts = ', '.join(f'{n} {what}' for what, n in sorted(told.counts.items()))
        print(f'{peer.__name__}: {counts}', *told.failed, sep='\n  ')
    return int(worst)


if __name__ == '__main__':
    sys.exit(main())
