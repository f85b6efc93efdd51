"""Losses beside implementations that others trust, on the same inputs:
python benchmarks/parity.py --out=results/parity.json --golden=tests/losses/golden.npz

Value, and gradient by the first argument. Needs PyTorch, lightly and pytorch-metric-learning beside
optax, scikit-learn and scipy; those that are missing keep the rows that the files have. The golden
file holds inputs and the peers' numbers, so that the tests need none of them.
"""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import peers  # noqa: E402

from ssljax import losses  # noqa: E402


class Pair(NamedTuple):
    loss: str  # ours, by name
    package: str  # 'torch', whose tensors `theirs` is given; 'optax': jax arrays; else NumPy's
    what: str
    draw: Callable  # random -> arrays; the first is differentiated
    ours: Callable  # arrays -> a number
    theirs: Callable  # the package's arrays -> a number
    note: str = ''  # what differs by convention, and is accounted for
    agrees: bool = True  # if not, the note says who is right

    @property
    def name(self) -> str:
        return f'{self.loss} / {self.package} {self.what}'


def normal(*shapes: tuple[int, ...]) -> Callable:
    return lambda random: tuple(random.normal(size=shape).astype(np.float32) for shape in shapes)


def labeled(*shape: int, classes: int) -> Callable:
    """Rows, and a class of each."""
    return lambda random: (*normal(shape)(random), random.integers(classes, size=shape[0]))


def read(random: Any) -> tuple:
    """Logits [B, T, V], texts, lengths of both."""
    B, T, V, L = 5, 20, 6, 5
    (logits,) = normal((B, T, V))(random)
    text = random.integers(1, V, (B, L))
    return 2 * logits, text, random.integers(12, T + 1, B), random.integers(1, L + 1, B)


def shares(random: Any) -> tuple:
    return *normal((6, 5))(random), random.uniform(size=(6, 5)).astype(np.float32)


two = normal((8, 6), (8, 6))
ALIKE = 'mean over the batch'


def lightly(module: str, name: str, **options: Any) -> Callable:
    return lambda: getattr(peers.lightly(module), name)(**options)


def metric(name: str, **options: Any) -> Callable:
    def make():
        from pytorch_metric_learning import losses

        return getattr(losses, name)(**options)

    return make


def views(loss: Callable) -> Callable:
    """A loss of rows and labels, for two arguments that are views of the same examples."""

    def of_two(z1, z2):
        import torch

        n = torch.arange(len(z1))
        return loss()(torch.cat([z1, z2]), torch.cat([n, n]))

    return of_two


def in_torch(call: Callable) -> Callable:
    """call(torch, torch.nn.functional, *arrays)."""

    def run(*args):
        import torch

        return call(torch, torch.nn.functional, *args)

    return run


def with_optax(call: Callable) -> Callable:
    def run(*args):
        import optax

        return call(optax.losses, *args)

    return run


def ctc_padding(lib, logits, text, length, text_length):
    frames = jnp.arange(logits.shape[1]) >= length[:, None]
    places = jnp.arange(text.shape[1]) >= text_length[:, None]
    return lib.ctc_loss(logits, frames.astype(float), text, places.astype(float)).mean()


def normals(torch, log_variance, mean):
    return torch.distributions.Normal(mean, (log_variance / 2).exp())


def scikit_log_loss(logits, labels):
    from scipy.special import softmax
    from sklearn.metrics import log_loss

    return log_loss(labels, softmax(logits.astype(np.float64), 1), labels=range(logits.shape[1]))


def scipy_entropy(logits):
    from scipy.special import softmax
    from scipy.stats import entropy

    return entropy(softmax(logits.astype(np.float64), 1), axis=1).mean()


def scikit_mixture(logits, mean, log_variance, x):
    from scipy.special import softmax
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(len(logits), covariance_type='diag')
    model.weights_, model.means_ = softmax(logits.astype(np.float64)), mean
    model.precisions_cholesky_ = np.exp(-log_variance.astype(np.float64) / 2)
    return -model.score_samples(x).mean()


def scikit_mmd(x, y):
    from sklearn.metrics.pairwise import rbf_kernel

    k = partial(rbf_kernel, gamma=1 / (2 * 1.5**2))
    x, y = x.astype(np.float64), y.astype(np.float64)
    return k(x, x).mean() + k(y, y).mean() - 2 * k(x, y).mean()


def scipy_logistic(u, W):
    from scipy.stats import logistic

    return -logistic.logpdf(u).sum(1).mean() - np.linalg.slogdet(W.astype(np.float64))[1]


def scipy_sparsity(_, h):
    from scipy.special import rel_entr

    m = h.astype(np.float64).mean(0)
    return (rel_entr(0.1, m) + rel_entr(0.9, 1 - m)).sum()


def scipy_norm(W, u):
    from scipy.linalg import svdvals

    return svdvals(W.astype(np.float64))[0]


def koleo_rows(z):
    return losses.koleo(z).mean()


PAIRS = (
    Pair('nt_xent', 'lightly', 'NTXentLoss', two,
         lambda a, b: losses.nt_xent(a, b, temperature=0.5).mean(),
         lambda a, b: lightly('ntx_ent_loss', 'NTXentLoss', temperature=0.5)()(a, b), ALIKE),
    Pair('nt_xent', 'pytorch-metric-learning', 'NTXentLoss', two,
         lambda a, b: losses.nt_xent(a, b, temperature=0.1).mean(),
         views(metric('NTXentLoss', temperature=0.1)), ALIKE),
    Pair('nt_xent', 'optax', 'ntxent', two,
         lambda a, b: losses.nt_xent(a, b, temperature=0.1).mean(),
         with_optax(lambda lib, a, b: lib.ntxent(
             jnp.concatenate([a, b]), jnp.tile(jnp.arange(8), 2), temperature=0.1)),
         ALIKE + '; theirs holds an array of (2N)^2 D numbers'),
    Pair('nt_xent', 'optax', 'ntxent, three views', normal((12, 6)),
         lambda z: losses.sup_con(z.reshape(4, 3, 6), jnp.arange(4), temperature=0.1).mean(),
         with_optax(lambda lib, z: lib.ntxent(z, jnp.repeat(jnp.arange(4), 3), temperature=0.1)),
         'beside sup_con, whose eq. 2 keeps all other views in the denominator; theirs leaves'
         ' the other positives out, which no equation of the paper that it cites does', False),
    Pair('decoupled', 'lightly', 'DCLLoss', two,
         lambda a, b: losses.decoupled(a, b, temperature=0.1).mean(),
         lambda a, b: lightly('dcl_loss', 'DCLLoss', temperature=0.1)()(a, b), ALIKE),
    Pair('sup_con', 'pytorch-metric-learning', 'SupConLoss', labeled(9, 6, classes=3),
         lambda z, y: losses.sup_con(z[:, None], y).mean(),
         lambda z, y: metric('SupConLoss', temperature=0.1)()(z, y), ALIKE),
    Pair('triplet', 'optax', 'triplet_margin_loss', normal((8, 6), (8, 6), (8, 6)),
         lambda a, p, n: losses.triplet(a, p, n, margin=1.0).mean(),
         with_optax(lambda lib, a, p, n: lib.triplet_margin_loss(a, p, n, margin=1.0).mean()),
         'FaceNet, eq. 3, has squared distances, as ours; theirs has distances, as the paper that'
         ' they cite (Balntas et al. 2016)', False),
    Pair('triplet', 'torch', 'triplet_margin_loss', normal((8, 6), (8, 6), (8, 6)),
         lambda a, p, n: losses.triplet(a, p, n, margin=1.0).mean(),
         in_torch(lambda T, F, a, p, n: F.triplet_margin_loss(a, p, n, margin=1.0)),
         'as optax', False),
    Pair('triplet', 'torch', 'triplet_margin_with_distance_loss, squared',
         normal((8, 6), (8, 6), (8, 6)),
         lambda a, p, n: losses.triplet(a, p, n, margin=1.0).mean(),
         in_torch(lambda T, F, a, p, n: F.triplet_margin_with_distance_loss(
             a, p, n, margin=1.0, distance_function=lambda x, y: (x - y).square().sum(1))), ALIKE),
    Pair('margin_pair', 'torch', 'hinge_embedding_loss', normal((8, 6), (8, 6)),
         lambda a, b: losses.margin_pair(a, b, jnp.arange(8) % 2 == 0, margin=4.0).mean(),
         in_torch(lambda T, F, a, b: F.hinge_embedding_loss(
             (a - b).norm(dim=1), 1 - 2 * (T.arange(8) % 2), margin=4.0)),
         'Hadsell et al., eq. 4, squares both terms and halves them, as ours; theirs does neither',
         False),
    Pair('cosine_regression', 'lightly', 'NegativeCosineSimilarity', two,
         lambda a, b: losses.cosine_regression(a, b).mean() / 2 - 1,
         lambda a, b: lightly('negative_cosine_similarity', 'NegativeCosineSimilarity')()(
             a, b.detach()), 'half of ours, less one; theirs stops no gradient by itself'),
    Pair('barlow_twins', 'lightly', 'BarlowTwinsLoss', two, losses.barlow_twins,
         lambda a, b: lightly('barlow_twins_loss', 'BarlowTwinsLoss')()(a, b)),
    Pair('vicreg', 'lightly', 'VICRegLoss', two, losses.vicreg,
         lambda a, b: lightly('vicreg_loss', 'VICRegLoss')()(a, b)),
    Pair('koleo', 'lightly', 'KoLeoLoss', normal((9, 6)), koleo_rows,
         lambda z: lightly('koleo_loss', 'KoLeoLoss')()(z), ALIKE),
    Pair('swav', 'lightly', 'SwaVLoss', normal((9, 4, 7)),
         lambda s: losses.swav(jnp.tanh(s)).mean(),
         in_torch(lambda T, F, s: lightly('swav_loss', 'SwaVLoss')()(
             list(T.tanh(s).unbind(1)[:2]), list(T.tanh(s).unbind(1)[2:]))[0]),
         ALIKE + '; theirs overflows where a score over epsilon passes 88'),
    Pair('dino', 'lightly', 'DINOLoss', normal((5, 4, 7), (5, 2, 7)),
         lambda s, t: losses.dino(s, t, center=jnp.zeros(7)).mean(),
         lambda s, t: lightly('dino_loss', 'DINOLoss', output_dim=7)()(
             list(t.unbind(1)), list(s.unbind(1)), teacher_temp=0.04),
         ALIKE + '; theirs changes its own center in the call'),
    Pair('ctc', 'torch', 'ctc_loss', read,
         lambda x, y, n, m: losses.ctc(x, y, length=n, text_length=m).mean(),
         in_torch(lambda T, F, x, y, n, m: F.ctc_loss(
             x.log_softmax(-1).swapaxes(0, 1), y, n, m, reduction='none').mean()),
         "reduction='none'; their 'mean' divides by the lengths of texts first"),
    Pair('ctc', 'optax', 'ctc_loss', read,
         lambda x, y, n, m: losses.ctc(x, y, length=n, text_length=m).mean(),
         with_optax(ctc_padding), ALIKE),
    Pair('cross_entropy', 'torch', 'cross_entropy, smoothed', labeled(8, 5, classes=5),
         lambda x, y: losses.cross_entropy(x, y, smoothing=0.1).mean(),
         in_torch(lambda T, F, x, y: F.cross_entropy(x, y, label_smoothing=0.1)), ALIKE),
    Pair('cross_entropy', 'scikit-learn', 'log_loss', labeled(8, 5, classes=5),
         lambda x, y: losses.cross_entropy(x, y).mean(), scikit_log_loss, ALIKE),
    Pair('entropy', 'scipy', 'stats.entropy', normal((8, 5)),
         lambda x: losses.entropy(x).mean(), scipy_entropy, ALIKE),
    Pair('next_token', 'torch', 'cross_entropy',
         lambda random: (*normal((3, 6, 5))(random), random.integers(5, size=(3, 6))),
         lambda x, y: losses.next_token(x, y).mean(),
         in_torch(lambda T, F, x, y: F.cross_entropy(x[:, :-1].swapaxes(1, 2), y[:, 1:])),
         'theirs is given shifted tokens'),
    Pair('bernoulli', 'torch', 'binary_cross_entropy_with_logits', shares,
         lambda x, y: losses.bernoulli(x, y).mean(),
         in_torch(lambda T, F, x, y: F.binary_cross_entropy_with_logits(
             x, y, reduction='sum') / len(x)), 'sum over features, ' + ALIKE),
    Pair('bernoulli', 'optax', 'sigmoid_binary_cross_entropy', shares,
         lambda x, y: losses.bernoulli(x, y).mean(),
         with_optax(lambda lib, x, y: lib.sigmoid_binary_cross_entropy(x, y).sum(1).mean()),
         'sum over features, ' + ALIKE),
    Pair('gaussian', 'torch', 'gaussian_nll_loss, full', normal((6, 5), (6, 5), (6, 5)),
         lambda m, x, v: losses.gaussian(m, x, log_variance=v).mean(),
         in_torch(lambda T, F, m, x, v: F.gaussian_nll_loss(
             m, x, v.exp(), full=True, reduction='sum') / len(x)), 'sum over features, ' + ALIKE),
    Pair('kl_gaussian', 'torch', 'distributions.kl_divergence', normal(*[(6, 5)] * 4),
         lambda v, m, w, n: losses.kl_gaussian(
             m, v, prior_mean=n, prior_log_variance=w).mean(),
         in_torch(lambda T, F, v, m, w, n: T.distributions.kl_divergence(
             normals(T, v, m), normals(T, w, n)).sum(1).mean()), 'sum over features, ' + ALIKE),
    Pair('kl_categorical', 'torch', 'distributions.kl_divergence', normal((6, 5), (6, 5)),
         lambda q, p: losses.kl_categorical(q, prior_logits=p).mean(),
         in_torch(lambda T, F, q, p: T.distributions.kl_divergence(
             T.distributions.Categorical(logits=q),
             T.distributions.Categorical(logits=p)).mean()), ALIKE),
    Pair('kl_bernoulli', 'torch', 'distributions.kl_divergence', normal((6, 5), (6, 5)),
         lambda q, p: losses.kl_bernoulli(q, prior_logits=p).mean(),
         in_torch(lambda T, F, q, p: T.distributions.kl_divergence(
             T.distributions.Bernoulli(logits=q),
             T.distributions.Bernoulli(logits=p)).sum(1).mean()), 'sum over features, ' + ALIKE),
    Pair('minimax_critic', 'torch', 'binary_cross_entropy_with_logits', normal((8,), (8,)),
         lambda r, f: losses.minimax_critic(r, f).mean(),
         in_torch(lambda T, F, r, f: F.binary_cross_entropy_with_logits(r, T.ones(8))
                  + F.binary_cross_entropy_with_logits(f, T.zeros(8))), ALIKE),
    Pair('mae', 'torch', 'layer_norm and mse_loss', normal((4, 6, 12), (4, 6, 12)),
         lambda p, x: losses.mae(p, x, jnp.ones((4, 6), bool)).mean(),
         in_torch(lambda T, F, p, x: F.mse_loss(p, F.layer_norm(x, (12,), eps=1e-6))),
         'all patches masked'),
    Pair('focal', 'optax', 'sigmoid_focal_loss',
         lambda random: (*normal((9,))(random), random.integers(2, size=9)),
         lambda x, y: losses.focal(
             jnp.stack([0 * x, x], 1), y, weight=jnp.array([0.75, 0.25])).mean(),
         with_optax(lambda lib, x, y: lib.sigmoid_focal_loss(x, y, alpha=0.25).mean()),
         'two classes, ' + ALIKE),
    Pair('soft_cross_entropy', 'optax', 'softmax_cross_entropy', shares,
         lambda x, t: losses.soft_cross_entropy(x, t).mean(),
         with_optax(lambda lib, x, t: lib.softmax_cross_entropy(x, t).mean()), ALIKE),
    Pair('replaced_token', 'optax', 'sigmoid_binary_cross_entropy',
         lambda random: (*normal((4, 6))(random), *random.integers(2, size=(2, 4, 6))),
         lambda x, a, b: losses.replaced_token(x, a, b).mean(),
         with_optax(lambda lib, x, a, b: lib.sigmoid_binary_cross_entropy(
             x, (a == b).astype(x.dtype)).mean()), ALIKE),
    Pair('gaussian_mixture', 'scikit-learn', 'GaussianMixture.score_samples',
         normal((3,), (3, 2), (3, 2), (7, 2)),
         lambda *a: losses.gaussian_mixture(
             *(jnp.broadcast_to(p, (7, *p.shape)) for p in a[:3]), a[3]).mean(),
         scikit_mixture, 'one mixture for all rows, ' + ALIKE),
    Pair('mmd', 'scikit-learn', 'metrics.pairwise.rbf_kernel', normal((7, 3), (5, 3)),
         lambda x, y: losses.mmd(x, y, kernel=losses.gaussian_kernel(1.5), unbiased=False),
         scikit_mmd, 'means of their kernel'),
    Pair('infomax_ica', 'scipy', 'stats.logistic', normal((6, 3), (3, 3)),
         lambda u, W: losses.infomax_ica(u, weight=W).mean(), scipy_logistic, ALIKE),
    Pair('sparse_kl', 'scipy', 'special.rel_entr', shares,
         lambda _, h: losses.sparse_kl(h, target=0.1), scipy_sparsity),
    Pair('spectral_norm', 'scipy', 'linalg.svdvals', normal((6, 4), (4,)),
         lambda W, u: losses.spectral_norm(W, u, rounds=200)[0], scipy_norm, 'after 200 rounds'),
)  # fmt: skip


def ours(pair: Pair, args: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient."""
    value, grad = jax.jit(jax.value_and_grad(pair.ours))(*map(jnp.asarray, args))
    return np.asarray(value), np.asarray(grad)


def theirs(pair: Pair, args: tuple) -> tuple[np.ndarray, np.ndarray | None]:
    if pair.package == 'optax':
        value, grad = jax.value_and_grad(pair.theirs)(*map(jnp.asarray, args))
        return np.asarray(value), np.asarray(grad)
    if pair.package in ('scikit-learn', 'scipy'):
        return np.asarray(pair.theirs(*args)), None
    import torch

    tensors = [torch.from_numpy(np.asarray(a)) for a in args]
    value = pair.theirs(tensors[0].requires_grad_(), *tensors[1:])
    value.backward()
    return value.detach().numpy(), tensors[0].grad.numpy()


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks/parity.py', description=__doc__)
    parser.add_argument('--out', type=Path, required=True, metavar='FILE')
    parser.add_argument('--golden', type=Path, required=True, metavar='FILE')
    known = parser.parse_args()
    old = json.loads(known.out.read_text())['pairs'] if known.out.exists() else []
    old = {f'{row["loss"]} / {row["package"]} {row["what"]}': row for row in old}
    golden = dict(np.load(known.golden)) if known.golden.exists() else {}
    rows = []
    for i, pair in enumerate(PAIRS):
        version = peers.versions(pair.package).get(pair.package)
        if version is None:
            rows += [old[pair.name]] if pair.name in old else []
            continue
        args = pair.draw(np.random.default_rng(i))
        (value, grad), (other, slope) = ours(pair, args), theirs(pair, args)
        row = {
            'loss': pair.loss,
            'package': pair.package,
            'version': version,
            'what': pair.what,
            'ours': float(value),
            'theirs': float(other),
            'value': float(abs(value - other) / abs(other)),
            'gradient': None if slope is None else float(apart(grad, slope)),
            'agrees': pair.agrees,
            'note': pair.note,
        }
        rows.append(row)
        print(f'{pair.name:60} {row["value"]:.1e} {row["gradient"] or 0:.1e}', flush=True)
        golden |= {f'{pair.name}:{k}': a for k, a in enumerate(args)}
        golden[f'{pair.name}:value'] = other
        if slope is not None:
            golden[f'{pair.name}:gradient'] = slope
    found = {'jax': jax.__version__, 'pairs': rows}
    known.out.write_text(json.dumps(found, indent=1) + '\n')
    np.savez_compressed(known.golden, **golden)
    return 0


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference over the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()


if __name__ == '__main__':
    sys.exit(main())
