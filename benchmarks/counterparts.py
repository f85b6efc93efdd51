"""How to call implementations that others trust: benchmarks/parity_pairs.py has the pairs."""

import sys
import types
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import peers

from ssljax import losses


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


def scikit_model(logits, mean, log_variance):
    from scipy.special import softmax
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(len(logits), covariance_type='diag')
    model.weights_, model.means_ = softmax(logits.astype(np.float64)), mean
    model.precisions_cholesky_ = np.exp(-log_variance.astype(np.float64) / 2)
    return model


def scikit_mixture(logits, mean, log_variance, x):
    return -scikit_model(logits, mean, log_variance).score_samples(x).mean()


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


def cosines(z, prototypes):
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    return unit(z) @ unit(prototypes).T


def evened(targets, temperature):
    """All prototypes used equally, from probabilities, as the authors of MSN do."""
    log_q = temperature * jax.nn.log_softmax(targets / temperature)
    return targets - losses.sinkhorn_center(log_q, temperature=temperature)


def msn_of_lightly(T, F, anchors, targets, prototypes, rounds=0):
    """Anchors one view after another; the entropy is taken off log K."""
    loss = lightly('msn_loss', 'MSNLoss', sinkhorn_iterations=rounds)()
    return loss(anchors.swapaxes(0, 1).flatten(0, 1), targets, prototypes) - np.log(len(prototypes))


def sharpened(p, temperature):
    return peers.lightly('msn_loss').sharpen(p, temperature)


def swav_shares(scores):
    return peers.lightly('swav_loss').sinkhorn(scores)


def moved_center(T, F, center, teacher):
    """Theirs has its center in a module, without a gradient: the step is linear in it."""
    module = peers.lightly('center', 'models.modules').Center(size=(1, 1, 7), momentum=0.9)
    module.update(teacher)
    return (0.9 * center + module.value[0, 0]).square().sum()


def scaled_normals(T, F, x, log_scale):
    """x of exp(-a) z, z standard normal."""
    d = T.distributions
    flow = d.AffineTransform(T.zeros(4), (-log_scale).exp())
    z = d.Normal(T.zeros(4), T.ones(4))
    return -d.TransformedDistribution(z, [flow]).log_prob(x).sum(1).mean()


def moco_of_lightly(T, F, query, keys, queue):
    loss = lightly('ntx_ent_loss', 'NTXentLoss', temperature=0.1, memory_bank_size=(7, 6))()
    loss.memory_bank.bank = F.normalize(queue)
    return loss(query, keys)


def hardest(T, F, z, labels):
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.losses import TripletMarginLoss
    from pytorch_metric_learning.miners import BatchHardMiner
    from pytorch_metric_learning.reducers import MeanReducer

    distance = LpDistance(normalize_embeddings=False)
    loss = TripletMarginLoss(margin=1.0, distance=distance, reducer=MeanReducer())
    return loss(z, labels, BatchHardMiner(distance=distance)(z, labels))


def n_pairs(T, F, anchor, positive):
    from pytorch_metric_learning.distances import DotProductSimilarity
    from pytorch_metric_learning.losses import NPairsLoss

    loss = NPairsLoss(distance=DotProductSimilarity(normalize_embeddings=False))
    # of two rows of a class, theirs takes the first as the anchor
    labels = T.arange(len(anchor))
    return loss(T.cat([anchor, positive]), T.cat([labels, labels]))


def one_way(T, F, z1, z2):
    """Anchors of z1; all rows to compare with are of z2."""
    n = T.arange(len(z1))
    return metric('NTXentLoss', temperature=0.1)()(z1, n, ref_emb=z2, ref_labels=n.clone())


def sigreg_of_lightly(T, F, z, directions):
    loss = lightly('lejepa_loss', 'SIGReg', knots=9, t_max=5.0)()
    loss._generate_unit_vectors = lambda *args, **options: F.normalize(directions, dim=1).T
    return loss(z)


def vicregl_of_lightly(T, F, z1, z2, places1, places2):
    """The searches of both directions. Their file of helpers asks torchvision for one name."""
    ops = types.ModuleType('torchvision.ops')
    ops.StochasticDepth = None
    missing = {'torchvision': types.ModuleType('torchvision'), 'torchvision.ops': ops}
    peers.lightly('vicreg_loss')
    models = Path(sys.modules['lightly.models'].__path__[0])
    spec = spec_from_file_location('lightly.models.utils', models / 'utils.py')
    sys.modules |= {**missing, spec.name: module_from_spec(spec)}
    spec.loader.exec_module(sys.modules[spec.name])
    for name in missing:
        del sys.modules[name]
    loss = lightly('vicregl_loss', 'VICRegLLoss', num_matches=(3, 3))()
    maps = dict(z_a=z1[:, :, None], z_b=z2[:, :, None])  # [B, H, W, D]
    grids = dict(grid_a=places1[:, :, None], grid_b=places2[:, :, None])
    return loss._local_l2_loss(**maps) + loss._local_location_loss(**maps, **grids)


def torch_mixture(T, F, logits, mean, log_variance, x):
    d = T.distributions
    parts = d.Independent(d.Normal(mean, (log_variance / 2).exp()), 1)
    return -d.MixtureSameFamily(d.Categorical(logits=logits), parts).log_prob(x).mean()


def scikit_responsibilities(logits, mean, log_variance, x):
    return np.square(scikit_model(logits, mean, log_variance).predict_proba(x)).sum()


def cheapest(cost):
    from scipy.optimize import linear_sum_assignment

    return cost[linear_sum_assignment(cost)].sum()


def noise_schedule():
    from diffusers import DDPMScheduler

    return DDPMScheduler()  # a line of beta from 1e-4 to 0.02


ALPHA_BAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)).astype(np.float32)


def levels(count: int) -> Callable:
    """That many arrays of rows, and a step of the schedule for each row."""

    def draw(random):
        return *normal(*[(6, 4)] * count)(random), random.integers(1000, size=6)

    return draw
