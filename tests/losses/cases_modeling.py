"""Cases of losses that model data, play games, read texts or learn from few labels.

As in cases.py: slow NumPy in float64, written from the papers.
"""

import itertools
from functools import partial

import jax.numpy as jnp
import numpy as np
from case import Case, log_sum_exp, normal, on, padded, softmax

from ssljax import losses


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normal_density(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


# ---- reconstruction


def beit(logits, tokens, mask):
    return np.array(
        [
            np.mean([-np.log(softmax(row[i])[names[i]]) for i in np.flatnonzero(hidden)])
            for row, names, hidden in zip(logits, tokens, mask)
        ]
    )


def context_encoder(prediction, x, region, seen, weight=10.0):
    values = []
    for p, y, asked, known in zip(prediction, x, region, seen):
        errors = [
            (weight if known[at] else 1) * ((p[at] - y[at]) ** 2).mean()
            for at in zip(*np.nonzero(asked))
        ]
        values.append(np.mean(errors))
    return np.array(values)


def sparse_kl(codes, target=0.05):
    total = 0
    for unit in codes.T:
        r, m = target, unit.mean()
        total += r * np.log(r / m) + (1 - r) * np.log((1 - r) / (1 - m))
    return total


A, C = (np.random.default_rng(i).normal(size=(3, 3)) for i in (11, 12))
W = A[:2]


def tanh_layer(x):
    return jnp.tanh(x @ jnp.asarray(A, x.dtype))


def contractive(x):
    values = np.zeros(len(x))
    for b in range(len(x)):
        h = np.tanh(x[b] @ A)
        values[b] = sum(((1 - h[j] ** 2) * A[i, j]) ** 2 for i in range(3) for j in range(3))
    return values


def contractive_sigmoid(codes, kernel):
    return np.array([((h * (1 - h) * kernel) ** 2).sum() for h in codes])


# ---- colors

CLASSES = np.random.default_rng(13).normal(size=(6, 2))


def color_targets(color, classes, neighbors=5, sigma=5.0):
    found = np.zeros((*color.shape[:-1], len(classes)))
    for at in np.ndindex(*color.shape[:-1]):
        squares = ((color[at] - classes) ** 2).sum(1)
        nearest = np.argsort(squares)[:neighbors]
        weights = np.exp(-squares[nearest] / (2 * sigma**2))
        found[at][nearest] = weights / weights.sum()
    return found


def color_classes(logits, targets, weight):
    values = np.zeros(len(logits))
    for b, pixel in np.ndindex(*logits.shape[:2]):
        z = targets[b, pixel]
        entropy = -(z * np.log(softmax(logits[b, pixel]))).sum()
        values[b] += weight[z.argmax()] * entropy / logits.shape[1]
    return values


def copied(target, reference, values, temperature=1.0):
    return np.array(
        [
            [sum(a * v for a, v in zip(softmax(f @ there.T / temperature), given)) for f in here]
            for here, there, given in zip(target, reference, values)
        ]
    )


def color_pointer(target, reference, colors, reference_colors, temperature=1.0):
    """With colors as one-hot vectors that are copied."""
    values = np.zeros(len(target))
    for b in range(len(target)):
        there = np.eye(3)[reference_colors[b]]
        copies = copied(target[b : b + 1], reference[b : b + 1], there[None], temperature)[0]
        chances = [copy[color] for copy, color in zip(copies, colors[b])]
        values[b] = np.mean([-np.log(p) for p in chances if p > 0] or [0.0])
    return values


# ---- likelihoods


def gaussian_mixture(logits, mean, log_variance, x):
    values = []
    for row, m, v, y in zip(logits, mean, np.exp(log_variance), x):
        parts = [pi * normal_density(y, a, b).prod() for pi, a, b in zip(softmax(row), m, v)]
        values.append(-np.log(sum(parts)))
    return np.array(values)


def level_mass(x, mean, scale, h):
    """From the side on which the difference keeps its digits."""
    low = -np.inf if x < -1 + h else (x - h - mean) / scale
    high = np.inf if x > 1 - h else (x + h - mean) / scale
    low, high = (low, high) if low + high < 0 else (-high, -low)
    return 1 / (1 + np.exp(-high)) - 1 / (1 + np.exp(-low))


def logistic_mixture_rgb(logits, mean, log_scale, coupling, x, levels=256):
    h, s, c = 1 / (levels - 1), np.exp(log_scale), np.tanh(coupling)
    values = np.zeros(len(x))
    for at in np.ndindex(*x.shape[:-1]):
        r, g, b = x[at]
        p = 0
        for k, share in enumerate(softmax(logits[at])):
            m, t, w = mean[at][:, k], s[at][:, k], c[at][:, k]
            red = level_mass(r, m[0], t[0], h)
            green = level_mass(g, m[1] + w[0] * r, t[1], h)
            blue = level_mass(b, m[2] + w[1] * r + w[2] * g, t[2], h)
            p += share * red * green * blue
        values[at[0]] -= np.log(p)
    return values


def free_bits(kl, least):
    return sum(max(least, group.mean()) for group in kl.T)


def dequantizing_cost(x, sample, log_q):
    """-log of the density that 256 y has, 256 y - x = sigmoid(v), less log 256 for each entry."""
    u = sigmoid(sample)
    return log_q - np.log(u * (1 - u)).sum(1) + x.shape[1] * np.log(256)


def infomax_ica(u, weight):
    y = sigmoid(u)
    return -np.log(abs(np.linalg.det(weight))) - np.log(y * (1 - y)).sum(1)


# ---- diffusion


def diffuse(x, noise, alpha_bar):
    return np.array([np.sqrt(a) * y + np.sqrt(1 - a) * e for y, e, a in zip(x, noise, alpha_bar)])


def ddpm(prediction, x, noise, alpha_bar, target='v'):
    values = []
    for p, y, e, a in zip(prediction, x, noise, alpha_bar):
        values.append(((p - (np.sqrt(a) * e - np.sqrt(1 - a) * y)) ** 2).mean())
    return np.array(values)


def denoised(prediction, noisy, alpha_bar):
    rows = zip(prediction, noisy, alpha_bar)
    return np.array([(z - np.sqrt(1 - a) * e) / np.sqrt(a) for e, z, a in rows])


def flow_path(x, noise, time, sigma=0.0):
    rows = zip(x, noise, time)
    return np.array([t * y + (1 - (1 - sigma) * t) * e for y, e, t in rows])


def flow_matching(velocity, x, noise, sigma=0.0):
    return ((velocity - (x - (1 - sigma) * noise)) ** 2).mean((1, 2))


# ---- kernels


def bumps(a, b, scales=(1.0, 2.0)):
    return sum(np.exp(-((a - b) ** 2).sum() / (2 * s**2)) for s in scales)


def mmd(x, y, unbiased=True, **kernel):
    n, total = len(x), 0.0
    for rows in (x, y):
        pairs = [(i, k) for i in range(n) for k in range(n) if i != k or not unbiased]
        total += np.mean([bumps(rows[i], rows[k]) for i, k in pairs])
    return total - 2 * np.mean([bumps(a, b) for a in x for b in y])


def density_products(rows, sigma):
    """The integral of two bumps of the density estimate, for each pair of rows."""
    D = rows.shape[1]
    squares = ((rows[:, None] - rows) ** 2).sum(2)
    return np.exp(-squares / (4 * sigma**2)) / (4 * np.pi * sigma**2) ** (D / 2)


def renyi_entropy(z, sigma=1.0):
    return -np.log(density_products(z, sigma).sum() / len(z) ** 2)


def quadratic_mutual_information(y, z, sigma=1.0, divergence='cauchy_schwarz'):
    G, H, n = density_products(y, sigma), density_products(z, sigma), len(y)
    joint = (G * H).sum() / n**2
    product = G.sum() / n**2 * (H.sum() / n**2)
    cross = sum(G[i].sum() * H[i].sum() for i in range(n)) / n**3
    if divergence == 'euclidean':
        return joint - 2 * cross + product
    return np.log(joint * product / cross**2)


# ---- energies


def energy(x):
    return (x**2 @ jnp.asarray([0.5, 1.0], x.dtype)) + jnp.sin(x[:, 0])


def energy_gap(x, chain, held=None):
    def of(x):
        return 0.5 * x[:, 0] ** 2 + x[:, 1] ** 2 + np.sin(x[:, 0])

    return of(x) - of(chain if held is None else held).mean()


def score(x):
    return jnp.tanh(x @ jnp.asarray(A, x.dtype)) @ jnp.asarray(C, x.dtype)


def score_and_jacobian(row):
    t = np.tanh(row @ A)
    return t @ C, np.einsum('ih,h,hj->ij', A, 1 - t**2, C)  # ds_j / dx_i


def implicit_score_matching(x):
    both = [score_and_jacobian(row) for row in x]
    return np.array([np.trace(J) + (s**2).sum() / 2 for s, J in both])


def sliced_score_matching(x, directions, reduced=True):
    values = []
    for row, vs in zip(x, directions):
        s, J = score_and_jacobian(row)
        square = [(s @ s if reduced else (v @ s) ** 2) / 2 for v in vs]
        values.append(np.mean([v @ J @ v for v in vs]) + np.mean(square))
    return np.array(values)


# ---- games


def relativistic(first, second):
    return -np.log(sigmoid(first - second))


def relativistic_average(first, second):
    return -np.log(sigmoid(first - second.mean())) - np.log(1 - sigmoid(second - first.mean()))


def infogan(logits, code):
    values = np.zeros(len(code))
    for at in np.ndindex(*code.shape):
        values[at[0]] += -np.log(softmax(logits[at])[code[at]]) + np.log(1 / logits.shape[-1])
    return values


def infogan_continuous(mean, code, log_variance):
    return -np.log(normal_density(code, mean, np.exp(log_variance)) / (1 / 2)).sum(1)


# ---- texts


def replaced_token(logits, tokens, corrupted, mask):
    D = sigmoid(logits)
    return np.where(tokens == corrupted, -np.log(D), -np.log(1 - D)) * mask


def glove(word, context, word_bias, context_bias, count, largest=100.0, power=0.75):
    values = np.zeros(len(count))
    for i, X in enumerate(count):
        if X > 0:
            weight = (X / largest) ** power if X < largest else 1
            error = word[i] @ context[i] + word_bias[i] + context_bias[i] - np.log(X)
            values[i] = weight * error**2
    return values


BIGRAM = np.log(softmax(np.random.default_rng(14).normal(size=(3, 3))))
PRIOR = np.log([0.5, 0.3, 0.2])


def ctc_language_model(logits, length, log_bigram=BIGRAM, log_prior=PRIOR):
    """Every way to name the frames, by the chance of the text that it reads as; 0 is the blank."""
    values = []
    for row, frames in zip(logits, length):
        scores, ways = np.log(softmax(row)) - log_prior, []
        for path in itertools.product(range(3), repeat=frames):
            text = [name for name, _ in itertools.groupby(path) if name != 0]
            language = sum(log_bigram[pair] for pair in itertools.pairwise([0, *text, 0]))
            ways.append(language + sum(scores[t, name] for t, name in enumerate(path)))
        values.append(-log_sum_exp(ways))
    return np.array(values)


# ---- labels that are few, soft, wrong or rare

NOISE = np.array([[0.8, 0.2, 0.0], [0.1, 0.7, 0.2], [0.0, 0.1, 0.9]])
THRESHOLDS = np.array([0.2, 0.6, 0.9])


def forward_corrected(logits, labels, noise):
    return np.array([-np.log((noise.T @ softmax(x))[y]) for x, y in zip(logits, labels)])


def symmetric_cross_entropy(logits, labels, alpha=0.1, beta=1.0, log_zero=-4.0):
    values = []
    for p, y in zip(softmax(logits), labels):
        log_q = [0.0 if k == y else log_zero for k in range(len(p))]
        values.append(-alpha * np.log(p[y]) - beta * sum(a * b for a, b in zip(p, log_q)))
    return np.array(values)


def focal(logits, labels, weight, gamma=2.0):
    chances = [softmax(x)[y] for x, y in zip(logits, labels)]
    return np.array([-weight[y] * (1 - p) ** gamma * np.log(p) for p, y in zip(chances, labels)])


def flexmatch(strong, weak, thresholds):
    values = []
    for s, q in zip(strong, softmax(weak)):
        sure = q.max() >= thresholds[q.argmax()]
        values.append(-np.log(softmax(s)[q.argmax()]) if sure else 0.0)
    return np.array(values)


def sharpened(p, temperature=0.5):
    powers = p ** (1 / temperature)
    return powers / powers.sum(-1, keepdims=True)


def net(x):
    return softmax(np.tanh(x @ A) @ C)


def vat_held(x, direction, radius=2.0):
    """H as a matrix, for logits tanh(x A) C."""
    step = np.zeros_like(x)
    for i, p in enumerate(net(x)):
        _, J = score_and_jacobian(x[i])
        d = J @ (np.diag(p) - np.outer(p, p)) @ J.T @ direction[i]
        step[i] = radius * d / np.linalg.norm(d)
    return dict(step=step, p=net(x))


def vat(x, direction, radius=8.0, step=None, p=None):
    """step and p: held fixed."""
    held = vat_held(x, direction, radius)
    step, p = (held['step'], held['p']) if step is None else (step, p)
    return (p * np.log(p / net(x + step))).sum(1)


# ---- arguments

reals = normal((), ())


def choices(random, n):
    return random.normal(size=(n, 2, 4)), random.integers(4, size=(n, 2))


def hidden_tokens(random, n):
    """What is not hidden has no token."""
    mask = random.permuted(np.tile([True, True, False], (n, 1)), axis=1)
    return (
        random.normal(size=(n, 3, 4)),
        np.where(mask, random.integers(4, size=(n, 3)), -100),
        mask,
    )


def holes(random, n):
    images = (random.normal(size=(n, 2, 3, 2)) for _ in range(2))
    region = np.ones((n, 2, 3), bool)
    region[:, 0, 0] = np.arange(n) % 2
    return *images, region, random.uniform(size=(n, 2, 3)) < 0.5


def uniform(*shape):
    return lambda random, n: (random.uniform(0.02, 0.9, size=(n, *shape)),)


def soft_labels(*shape):
    return lambda random, n: (
        random.normal(size=(n, *shape)), softmax(random.normal(size=(n, *shape)))
    )  # fmt: skip


def labeled(random, n):
    return random.normal(size=(n, 3)), random.integers(3, size=n)


def frames_of_colors(random, n):
    """Some colors of the frame are not in the reference."""
    return (
        random.normal(size=(n, 2, 2)), random.normal(size=(n, 3, 2)),
        random.integers(3, size=(n, 2)), random.integers(3, size=(n, 3)),
    )  # fmt: skip


def rgb(random, n):
    x = random.integers(16, size=(n, 3)) / 7.5 - 1
    x[:2] = [[-1, 1, 0.2], [1, -1, 1]]
    mean, log_scale, coupling = (random.normal(size=(n, 3, 2)) for _ in range(3))
    return random.normal(size=(n, 2)), mean, log_scale - 1, coupling, x


def groups(random, n):
    return (np.exp(random.normal(size=(n, 3))) * [0.2, 1.0, 3.0],)


def bytes_and_noise(random, n):
    return random.integers(256, size=(n, 2)), *normal((2,), ())(random, n)


def levels_of_noise(count):
    return lambda random, n: (
        *normal(*[(2, 2)] * count)(random, n), random.uniform(0.05, 0.95, size=n)
    )  # fmt: skip


def replaced(random, n):
    tokens = random.integers(3, size=(n, 3))
    corrupted = np.where(random.uniform(size=(n, 3)) < 0.5, tokens, random.integers(3, size=(n, 3)))
    return random.normal(size=(n, 3)), tokens, corrupted, random.uniform(size=(n, 3)) < 0.7


def counted(random, n):
    """No count, a few, and above the largest."""
    count = np.array([0.0, 3.0, 250.0])[np.arange(n) % 3]
    return *normal((2,), (2,), (), ())(random, n), count


def spoken(random, n):
    return random.normal(size=(n, 4, 3)), np.where(np.arange(n) % 2, 3, 4)


def weighted(distribution):
    """So that the sum has a slope, where that of shares is one."""

    def of(*args, **options):
        p = distribution(*args, **options)
        return p * np.arange(p.shape[-1], dtype=p.dtype)

    return of


CASES = (
    Case('beit', losses.beit, beit, hidden_tokens, moves=(0,)),
    Case('context_encoder',
         lambda *args, **options: losses.context_encoder(*args[:3], seen=args[3], **options),
         context_encoder, holes),
    Case('sparse_l1', losses.sparse_l1, lambda h: np.abs(h).sum(1), normal((3,)), moves=(0,)),
    padded('sparse_kl', losses.sparse_kl, sparse_kl, uniform(3), dict(target=0.3), moves=(0,)),
    Case('contractive', partial(losses.contractive, tanh_layer), contractive, normal((3,)),
         moves=(0,)),
    Case('contractive_sigmoid', partial(losses.contractive_sigmoid, kernel=W),
         partial(contractive_sigmoid, kernel=W), uniform(3), moves=(0,)),
    Case('color_targets', weighted(partial(losses.color_targets, classes=CLASSES)),
         weighted(partial(color_targets, classes=CLASSES)), normal((2,)),
         dict(neighbors=3, sigma=1.5), moves=(), still=(0,)),
    Case('color_classes', partial(losses.color_classes, weight=THRESHOLDS),
         partial(color_classes, weight=THRESHOLDS), soft_labels(2, 3)),
    Case('copied', losses.copied, copied, normal((2, 2), (3, 2), (3, 2)), dict(temperature=0.5),
         moves=(0, 1, 2)),
    Case('color_pointer', losses.color_pointer, color_pointer, frames_of_colors),
    Case('gaussian_mixture', losses.gaussian_mixture, gaussian_mixture,
         normal((3,), (3, 2), (3, 2), (2,)), moves=(0, 1, 2, 3)),
    Case('logistic_mixture_rgb', losses.logistic_mixture_rgb, logistic_mixture_rgb, rgb,
         dict(levels=16), moves=(0, 1, 2, 3, 4)),
    padded('free_bits', losses.free_bits, free_bits, groups, dict(least=1.0), moves=(0,)),
    Case('variational_dequantize', lambda *a: losses.variational_dequantize(*a)[1],
         dequantizing_cost, bytes_and_noise, moves=(1, 2)),
    Case('infomax_ica', partial(losses.infomax_ica, weight=A), partial(infomax_ica, weight=A),
         normal((3,)), moves=(0,)),
    Case('diffuse', losses.diffuse, diffuse, levels_of_noise(2), moves=(0, 1, 2)),
    Case('ddpm', losses.ddpm, ddpm, levels_of_noise(3), dict(target='v'), moves=(0,),
         still=(1, 2, 3)),
    Case('denoised', losses.denoised, denoised, levels_of_noise(2), moves=(0, 1, 2)),
    Case('flow_path', losses.flow_path, flow_path, levels_of_noise(2), dict(sigma=0.1),
         moves=(0, 1, 2)),
    Case('flow_matching', losses.flow_matching, flow_matching, normal((2, 2), (2, 2), (2, 2)),
         dict(sigma=0.1), moves=(0,), still=(1, 2)),
    Case('mmd', lambda x, y, a, b, **options: losses.mmd(x, y, where=a, where_y=b, **options),
         lambda x, y, a, b, **options: mmd(x[a], y[b], **options),
         lambda random, n: (*normal((2,), (2,))(random, n), on(random, n), on(random, n)),
         dict(kernel=losses.gaussian_kernel(1.0, 2.0)), of_set=True),
    padded('renyi_entropy', losses.renyi_entropy, renyi_entropy, normal((2,)), dict(sigma=0.7),
           moves=(0,)),
    padded('quadratic_mutual_information', losses.quadratic_mutual_information,
           quadratic_mutual_information, normal((2,), (1,)), dict(sigma=0.7)),
    Case('persistent_contrastive_divergence',
         partial(losses.persistent_contrastive_divergence, energy), energy_gap,
         normal((2,), (2,)), moves=(0,), still=(1,), of_set=True, meets=False,
         constants=lambda x, chain: dict(held=chain)),
    Case('implicit_score_matching', partial(losses.implicit_score_matching, score),
         implicit_score_matching, normal((3,)), moves=(0,)),
    Case('sliced_score_matching', partial(losses.sliced_score_matching, score),
         sliced_score_matching, normal((3,), (2, 3))),
    Case('relativistic_critic', losses.relativistic_critic, relativistic, reals),
    Case('relativistic_generator', losses.relativistic_generator,
         lambda real, fake: relativistic(fake, real), reals),
    padded('relativistic_average_critic', losses.relativistic_average_critic, relativistic_average,
           reals),
    padded('relativistic_average_generator', losses.relativistic_average_generator,
           lambda real, fake: relativistic_average(fake, real), reals),
    padded('feature_matching', losses.feature_matching,
           lambda real, fake: ((real.mean(0) - fake.mean(0)) ** 2).sum(), normal((3,), (3,)),
           whole=(1,)),
    Case('infogan', losses.infogan, infogan, choices, moves=(0,)),
    Case('infogan_continuous', lambda m, c, v: losses.infogan_continuous(m, c, log_variance=v),
         infogan_continuous, normal((2,), (2,), (2,)), moves=(0, 1, 2)),
    Case('replaced_token', lambda x, t, c, m: losses.replaced_token(x, t, c, mask=m),
         replaced_token, replaced, moves=(0,)),
    Case('sentence_pair', losses.sentence_pair,
         lambda x, y: np.array([-np.log(softmax(a)[int(b)]) for a, b in zip(x, y)]),
         lambda random, n: (random.normal(size=(n, 2)), random.integers(2, size=n)), moves=(0,)),
    Case('glove', losses.glove, glove, counted, moves=(0, 1, 2, 3), still=(4,)),
    Case('ctc_language_model',
         lambda x, length, log_bigram=BIGRAM, log_prior=PRIOR: losses.ctc_language_model(
             x, length=length, log_bigram=log_bigram, log_prior=log_prior),
         ctc_language_model, spoken, moves=(0,)),
    Case('soft_cross_entropy', losses.soft_cross_entropy,
         lambda x, t: -(t * np.log(softmax(x))).sum(1), soft_labels(3)),
    Case('forward_corrected', partial(losses.forward_corrected, noise=NOISE),
         partial(forward_corrected, noise=NOISE), labeled, moves=(0,)),
    Case('symmetric_cross_entropy', losses.symmetric_cross_entropy, symmetric_cross_entropy,
         labeled, moves=(0,)),
    Case('focal', partial(losses.focal, weight=THRESHOLDS), partial(focal, weight=THRESHOLDS),
         labeled, moves=(0,)),
    Case('flexmatch', partial(losses.flexmatch, thresholds=THRESHOLDS),
         partial(flexmatch, thresholds=THRESHOLDS), normal((3,), (3,), scale=2.0), moves=(0,),
         still=(1,)),
    Case('mean_teacher', losses.mean_teacher,
         lambda s, t: ((softmax(s) - softmax(t)) ** 2).mean(1), normal((3,), (3,)), moves=(0,),
         still=(1,)),
    Case('vat', partial(losses.vat, score), vat, normal((3,), (3,)), dict(radius=2.0), moves=(0,),
         still=(1,), constants=vat_held),
    Case('sharpen', weighted(losses.sharpen), weighted(sharpened),
         lambda random, n: (softmax(random.normal(size=(n, 3))),), moves=(), still=(0,)),
)  # fmt: skip

KEYWORDS = (
    ('context_encoder', 'weight', 3.0),
    ('sparse_kl', 'target', 0.2),
    ('contractive_sigmoid', 'kernel', W),
    ('color_targets', 'classes', CLASSES),
    ('color_classes', 'weight', THRESHOLDS),
    ('color_targets', 'sigma', 1.2),
    ('copied', 'temperature', 0.7),
    ('color_pointer', 'temperature', 0.7),
    ('free_bits', 'least', 0.9),
    ('infomax_ica', 'weight', A),
    ('flow_path', 'sigma', 0.2),
    ('flow_matching', 'sigma', 0.2),
    ('renyi_entropy', 'sigma', 0.8),
    ('quadratic_mutual_information', 'sigma', 0.8),
    ('glove', 'largest', 90.0),
    ('glove', 'power', 0.6),
    ('ctc_language_model', 'log_bigram', BIGRAM),
    ('ctc_language_model', 'log_prior', PRIOR),
    ('forward_corrected', 'noise', NOISE),
    *(('symmetric_cross_entropy', *option) for option in (
        ('alpha', 0.3), ('beta', 0.8), ('log_zero', -5.0))),
    ('focal', 'weight', THRESHOLDS),
    ('focal', 'gamma', 1.5),
    ('flexmatch', 'thresholds', THRESHOLDS),
    ('vat', 'radius', 1.0),
    ('sharpen', 'temperature', 0.7),
)  # fmt: skip
STILL = ('classes', 'thresholds', 'radius')


def apart():
    """Each loss that is none of rows, called once: they have tests of their own."""
    kernel = jnp.ones((3, 2))
    losses.spectral_norm(kernel, jnp.ones(2)), losses.orthogonal_penalty(kernel)
    losses.color_weights(jnp.ones(2) / 2), losses.flexmatch_thresholds(jnp.ones(3), rows=9)
    losses.ramp_up(3, rise=10), losses.gaussian_kernel(1.0)(kernel, kernel)
    losses.patch(losses.wasserstein_generator)(kernel)
    return {
        'spectral_norm', 'orthogonal_penalty', 'color_weights', 'flexmatch_thresholds', 'ramp_up',
        'gaussian_kernel', 'patch',
    }  # fmt: skip


# ---- what test_edges.py asks of every case

ANY = {('sparse_l1', 0), ('sparse_kl', 0), ('contractive', 0), ('implicit_score_matching', 0)}
ANY |= {('sharpen', 0)}  # of any axes
TWO_SETS = {'mmd', 'feature_matching', 'persistent_contrastive_divergence'}  # of their own sizes
ALONE = {  # one row is a set, too
    'sparse_kl', 'free_bits', 'renyi_entropy', 'quadratic_mutual_information', 'feature_matching',
    'relativistic_average_critic', 'relativistic_average_generator',
    'persistent_contrastive_divergence',
}  # fmt: skip
OFF = {
    'mmd': lambda x, y, where, where_y: (
        np.where(where[:, None], x, np.nan), np.where(where_y[:, None], y, np.nan),
    ),
    'feature_matching': lambda real, fake, where: (np.where(where[:, None], real, np.nan),),
    'replaced_token': lambda logits, tokens, corrupted, mask: (
        np.where(mask, logits, np.nan), np.where(mask, tokens, -100),
    ),
    'ctc_language_model': lambda logits, length: (
        np.where(np.arange(4)[:, None] < length[:, None, None], logits, np.nan),
    ),
}  # fmt: skip
