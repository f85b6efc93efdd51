"""Every loss beside its formula: slow NumPy in float64, written from the paper.

A case draws arguments whose first axis is the batch, names those that a gradient reaches, and says
whether the loss is of a set, that is, whether a row's value depends on other rows. Its draws lie on
both sides of a margin, a hinge or a threshold.
"""

import itertools
from functools import partial

import cases_comparing
import cases_modeling
import numpy as np
from case import Case, log_sum_exp, normal, padded, softmax, two, unit

from ssljax import losses

# ---- contrastive


def nt_xent(z1, z2, temperature=0.5):
    """Eq. 1, anchor by anchor, over the 2N views stacked."""
    n, z = len(z1), unit(np.concatenate([z1, z2]))
    anchors = []
    for i in range(2 * n):
        others = [z[i] @ z[k] / temperature for k in range(2 * n) if k != i]
        anchors.append(log_sum_exp(others) - z[i] @ z[(i + n) % (2 * n)] / temperature)
    return (np.array(anchors[:n]) + np.array(anchors[n:])) / 2


def decoupled(z1, z2, temperature=0.1):
    n, z = len(z1), unit(np.concatenate([z1, z2]))
    anchors = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [z[i] @ z[k] / temperature for k in range(2 * n) if k not in (i, j)]
        anchors.append(log_sum_exp(others) - z[i] @ z[j] / temperature)
    return (np.array(anchors[:n]) + np.array(anchors[n:])) / 2


def info_nce(z1, z2, alike=None, negatives=None, temperature=0.07, symmetric=False):
    z1, z2 = unit(z1), unit(z2)
    more = [] if negatives is None else list(unit(negatives))

    def one(a, b, out):
        values = []
        for i in range(len(a)):
            kept = [b[k] for k in range(len(b)) if k == i or out is None or not out[i, k]]
            scores = [a[i] @ row / temperature for row in kept + more]
            values.append(log_sum_exp(scores) - a[i] @ b[i] / temperature)
        return np.array(values)

    if not symmetric:
        return one(z1, z2, alike)
    return (one(z1, z2, alike) + one(z2, z1, None if alike is None else alike.T)) / 2


def moco(query, key, queue, temperature=0.07):
    q, k, old = unit(query), unit(key), unit(queue)
    return np.array(
        [
            -np.log(
                np.exp(a @ b / temperature)
                / (np.exp(a @ b / temperature) + sum(np.exp(a @ m / temperature) for m in old))
            )
            for a, b in zip(q, k)
        ]
    )


def clip(image, text, scale=1 / 0.07):
    logits = scale * unit(image) @ unit(text).T
    rows = [-np.log(softmax(logits[i])[i]) for i in range(len(logits))]
    columns = [-np.log(softmax(logits[:, i])[i]) for i in range(len(logits))]
    return (np.array(rows) + np.array(columns)) / 2


def siglip(image, text, scale=10.0, bias=-10.0):
    image, text = unit(image), unit(text)
    values = np.zeros(len(image))
    for i in range(len(image)):
        for k in range(len(text)):
            sign = 1 if i == k else -1
            values[i] += np.log1p(np.exp(-sign * (scale * image[i] @ text[k] + bias)))
    return values


def sup_con(z, labels, temperature=0.1):
    B, V, D = z.shape
    rows, names = unit(z).reshape(-1, D), np.repeat(labels, V)
    values = []
    for i in range(B * V):
        positive = [p for p in range(B * V) if p != i and names[p] == names[i]]
        whole = log_sum_exp([rows[i] @ rows[k] / temperature for k in range(B * V) if k != i])
        terms = [whole - rows[i] @ rows[p] / temperature for p in positive]
        values.append(np.mean(terms) if terms else 0.0)
    return np.array(values).reshape(B, V).mean(1)


def margin_pair(z1, z2, same, margin=1.0):
    distance = np.linalg.norm(z1 - z2, axis=1)
    return np.array(
        [d**2 / 2 if y else max(0.0, margin - d) ** 2 / 2 for d, y in zip(distance, same)]
    )


def triplet(anchor, positive, negative, margin=0.2):
    return np.array(
        [
            max(0.0, ((a - p) ** 2).sum() - ((a - n) ** 2).sum() + margin)
            for a, p, n in zip(anchor, positive, negative)
        ]
    )


# ---- redundancy


def barlow_twins(z1, z2, weight=5e-3):
    total, D = 0.0, z1.shape[1]
    for d in range(D):
        for e in range(D):
            a, b = z1[:, d] - z1[:, d].mean(), z2[:, e] - z2[:, e].mean()
            c = (a * b).mean() / np.sqrt(((a**2).mean() + 1e-5) * ((b**2).mean() + 1e-5))
            total += (1 - c) ** 2 if d == e else weight * c**2
    return total


def vicreg(z1, z2, invariance=25.0, variance=25.0, covariance=1.0):
    D = z1.shape[1]
    value = invariance * ((z1 - z2) ** 2).mean()
    for z in (z1, z2):
        S = np.cov(z, rowvar=False)
        value += variance * np.mean([max(0, 1 - np.sqrt(S[d, d] + 1e-4)) for d in range(D)]) / 2
        value += covariance * sum(S[d, e] ** 2 for d in range(D) for e in range(D) if d != e) / D
    return value


def koleo(z):
    z = unit(z)
    return np.array(
        [
            -np.log(min(np.linalg.norm(z[i] - z[k]) for k in range(len(z)) if k != i))
            for i in range(len(z))
        ]
    )


# ---- clustering and distillation


def sinkhorn(scores, epsilon=0.05, rounds=3):
    """The matrix Q of Algorithm 1 (there with prototypes as rows), scaled as it stands."""
    Q = np.exp(scores / epsilon).T
    K, B = Q.shape
    Q = Q / Q.sum()
    for _ in range(rounds):
        Q = Q / Q.sum(1, keepdims=True) / K
        Q = Q / Q.sum(0, keepdims=True) / B
    return (Q * B).T


def swav(scores, codes=None, assigned=2, temperature=0.1, epsilon=0.05):
    """codes: held fixed where a derivative is taken."""
    B, V, _ = scores.shape
    if codes is None:
        codes = [sinkhorn(scores[:, g], epsilon) for g in range(assigned)]
    values = np.zeros(B)
    for b in range(B):
        terms = [
            -(codes[g][b] * np.log(softmax(scores[b, v] / temperature))).sum()
            for g in range(assigned)
            for v in range(V)
            if g != v
        ]
        values[b] = np.mean(terms)
    return values


def deepcluster(logits, labels, weight):
    return np.array([-w * np.log(softmax(x)[y]) for x, y, w in zip(logits, labels, weight)])


def cosine_regression(prediction, target):
    return ((unit(prediction) - unit(target)) ** 2).sum(1)


def dino(student, teacher, center, student_temperature=0.1, teacher_temperature=0.04):
    values = []
    for s, t in zip(student, teacher):
        terms = [
            -(
                softmax((t[g] - center) / teacher_temperature)
                * np.log(softmax(s[v] / student_temperature))
            ).sum()
            for g in range(len(t))
            for v in range(len(s))
            if g != v
        ]
        values.append(np.mean(terms))
    return np.array(values)


# ---- reconstruction, sequence, semi-supervised


def mae(prediction, patches, mask, normalize=True, ddof=0):
    values = []
    for p, x, m in zip(prediction, patches, mask):
        errors = []
        for t in np.flatnonzero(m):
            target = (x[t] - x[t].mean()) / np.sqrt(x[t].var(ddof=ddof) + 1e-6)
            target = target if normalize else x[t]
            errors.append(((p[t] - target) ** 2).mean())
        values.append(np.mean(errors))
    return np.array(values)


def simmim(prediction, patches, mask):
    return np.array([np.abs(p[m] - x[m]).mean() for p, x, m in zip(prediction, patches, mask)])


def next_token(logits, tokens):
    return np.array(
        [
            [-np.log(softmax(row[t - 1])[names[t]]) for t in range(1, len(names))]
            for row, names in zip(logits, tokens)
        ]
    )


def masked_token(logits, tokens, mask):
    values = np.zeros(tokens.shape)
    for b, t in zip(*np.nonzero(mask)):
        values[b, t] = -np.log(softmax(logits[b, t])[tokens[b, t]])
    return values


def alignments(logits, text, length, text_length):
    """Every way to name the frames of one row that reads as its text, with its probability."""
    p, words = softmax(logits[:length]), list(text[:text_length])
    for path in itertools.product(range(logits.shape[-1]), repeat=length):
        merged = [name for name, _ in itertools.groupby(path)]
        if [name for name in merged if name != 0] == words:
            yield path, np.prod(p[np.arange(length), path])


def lengths(logits, text, length, text_length):
    B, T = logits.shape[:2]
    length = np.full(B, T) if length is None else length
    return length, np.full(B, text.shape[1]) if text_length is None else text_length


def ctc(logits, text, length=None, text_length=None):
    rows = zip(logits, text, *lengths(logits, text, length, text_length))
    return np.array([-np.log(sum(p for _, p in alignments(*row))) for row in rows])


def ctc_posteriors(logits, text, length=None, text_length=None):
    found = np.zeros(logits.shape)
    for row, mine in zip(zip(logits, text, *lengths(logits, text, length, text_length)), found):
        for path, p in alignments(*row):
            mine[np.arange(len(path)), path] += p
        mine /= max(mine[0].sum(), 1e-300)
    return found


def ctc_positions(logits, text, length=None, text_length=None):
    """The frames in which an alignment names its i-th token, their mean over all alignments."""
    found = np.zeros(text.shape)
    for row, mine in zip(zip(logits, text, *lengths(logits, text, length, text_length)), found):
        frames, mass = np.zeros(text.shape[1]), np.zeros(text.shape[1])
        for path, p in alignments(*row):
            token = -1
            for t, name in enumerate(path):
                token += name != 0 and (t == 0 or path[t - 1] != name)
                if name != 0:
                    frames[token] += p * t
                    mass[token] += p
        mine[:] = frames / np.where(mass > 0, mass, 1)
    return found


def cross_entropy(logits, labels, smoothing=0.0):
    K = logits.shape[1]
    targets = (1 - smoothing) * np.eye(K)[labels] + smoothing / K
    return np.array([-(t * np.log(softmax(x))).sum() for t, x in zip(targets, logits)])


def fixmatch(strong, weak, threshold=0.95):
    values = []
    for s, w in zip(strong, weak):
        q = softmax(w)
        values.append(-np.log(softmax(s)[q.argmax()]) if q.max() >= threshold else 0.0)
    return np.array(values)


def pseudo_label(logits, threshold=0.0):
    return np.array([-np.log(p.max()) if p.max() >= threshold else 0.0 for p in softmax(logits)])


def entropy(logits):
    return np.array([-(p * np.log(p)).sum() for p in softmax(logits)])


# ---- likelihoods and bounds


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bernoulli(logits, x):
    p = sigmoid(logits)
    return -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2))


def normal_density(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


def gaussian(mean, x, log_variance):
    return -np.log(normal_density(x, mean, np.exp(log_variance))).sum((1, 2))


def categorical(logits, x):
    return np.array(
        [
            sum(-np.log(softmax(logits[b][d])[x[b][d]]) for d in np.ndindex(*x[b].shape))
            for b in range(len(x))
        ]
    )


def logistic_mixture(logits, mean, log_scale, x, levels=256):
    """Each level's mass under the mixture, cell by cell."""
    h, values = 1 / (levels - 1), np.zeros(len(x))
    for at in np.ndindex(*x.shape):
        low = 0.0 if x[at] < -1 + h else sigmoid((x[at] - h - mean[at]) / np.exp(log_scale[at]))
        high = 1.0 if x[at] > 1 - h else sigmoid((x[at] + h - mean[at]) / np.exp(log_scale[at]))
        values[at[0]] -= np.log((softmax(logits[at]) * (high - low)).sum())
    return values


def change_of_variables(z, log_det):
    return -np.log(normal_density(z, 0, 1)).sum(1) - log_det


def kl_gaussian(mean, log_variance, prior_mean=0.0, prior_log_variance=0.0):
    v, w = np.exp(log_variance), np.exp(prior_log_variance)
    return (np.log(np.sqrt(w / v)) + (v + (mean - prior_mean) ** 2) / (2 * w) - 0.5).sum(1)


def kl_bernoulli(logits, prior_logits=0.0):
    q, p = sigmoid(logits), sigmoid(prior_logits)
    return (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).sum(1)


def kl_categorical(logits, prior_logits=0.0):
    q, p = softmax(logits), softmax(np.broadcast_to(prior_logits, logits.shape))
    return (q * np.log(q / p)).sum((1, 2))


def iwae(log_weights):
    return -np.log(np.exp(log_weights).mean(1))


def vq(z, code, commitment=0.25, fixed_z=None, fixed_code=None):
    """fixed: what the formula's sg(.) holds."""
    sg_z, sg_code = z if fixed_z is None else fixed_z, code if fixed_code is None else fixed_code
    return ((sg_z - code) ** 2 + commitment * (z - sg_code) ** 2).mean((1, 2))


# ---- games and energies


def minimax_critic(real, fake):
    return -np.log(sigmoid(real)) - np.log(1 - sigmoid(fake))


def hinge_critic(real, fake):
    return -np.minimum(0, -1 + real) - np.minimum(0, -1 - fake)


def denoising_score_matching(score, noise, sigma):
    """As the squared distance of s from the slope of log N(x'; x, sigma^2), times sigma^2."""
    slope = -noise / sigma[:, None]
    return sigma**2 * ((score - slope) ** 2).sum(1) / 2


# ---- arguments


def labeled_views(random, n):
    return random.normal(size=(n, 2, 5)), random.integers(3, size=n)


def pairs(random, n):
    return *(0.8 * random.normal(size=(n, 3)) for _ in range(2)), np.arange(n) % 2 == 0


def assigned(random, n):
    return random.normal(size=(n, 4)), random.integers(4, size=n), np.exp(random.normal(size=n))


def masked(random, n, contrast=1.0):
    mask = random.permuted(np.tile([True, True, False, False], (n, 1)), axis=1)
    return random.normal(size=(n, 4, 6)), contrast * random.normal(size=(n, 4, 6)), mask


def sentences(random, n):
    return random.normal(size=(n, 5, 4)), random.integers(4, size=(n, 5))


def shares(random, n):
    return random.normal(size=(n, 2, 3)), random.uniform(size=(n, 2, 3))


def choices(random, n):
    return random.normal(size=(n, 2, 4)), random.integers(4, size=(n, 2))


def levels(random, n):
    """Some at the edges; spread and narrow components."""
    x = random.integers(16, size=(n, 3))
    x[:, 0] = np.where(np.arange(n) % 2, 0, 15)
    shape = (n, 3, 2)
    return (
        *(random.normal(size=shape) for _ in range(2)),
        random.normal(size=shape) - 1,
        x / 7.5 - 1,
    )


def read(random, n):
    """Frames and texts of various lengths; a text with a repeated token; all fit."""
    length, text_length = random.integers(3, 5, size=n), random.integers(0, 3, size=n)
    text = random.integers(1, 3, size=(n, 2))
    text[0], text_length[0] = 2, 2
    return random.normal(size=(n, 4, 3)), text, length, text_length


def noisy(random, n):
    return random.normal(size=(n, 4)), random.normal(size=(n, 4)), np.exp(random.normal(size=n))


def cosines(random, n):
    return (np.tanh(random.normal(size=(n, 4))),)


reals = normal((), ())
QUEUE = np.random.default_rng(7).normal(size=(9, 5))
CENTER = np.random.default_rng(8).normal(size=6)


def alike(n):
    """A symmetric mask, but for one entry: rows of the same third are no negatives."""
    same = np.arange(n)[:, None] % 3 == np.arange(n) % 3
    same[0, 1] = True
    return same


def two_alike(random, n):
    return *two(random, n), alike(n)


def info_nce_alike(z1, z2, out, where=None, **options):
    return losses.info_nce(z1, z2, alike=out, where=where, **options)


def with_lengths(loss):
    return lambda logits, text, length, text_length: loss(
        logits, text, length=length, text_length=text_length
    )


CASES = (
    Case('nt_xent', losses.nt_xent, nt_xent, two, of_set=True),
    Case('nt_xent cold', losses.nt_xent, nt_xent, two, dict(temperature=0.07), of_set=True),
    Case('decoupled', losses.decoupled, decoupled, two, of_set=True),
    Case('info_nce', losses.info_nce, info_nce, two, of_set=True),
    Case('info_nce warm', losses.info_nce, info_nce, two, dict(temperature=3.0), of_set=True),
    Case(
        'info_nce symmetric', losses.info_nce, info_nce, two,
        dict(symmetric=True, temperature=0.3), of_set=True,
    ),
    Case(
        'info_nce negatives', losses.info_nce, info_nce, two,
        dict(negatives=QUEUE, temperature=0.3), of_set=True,
    ),
    Case(
        'info_nce alike',
        info_nce_alike, info_nce, two_alike,
        dict(symmetric=True, temperature=0.3), of_set=True,
    ),
    Case(
        'moco', lambda q, k, queue=QUEUE, **o: losses.moco(q, k, queue + 0, **o),
        partial(moco, queue=QUEUE), two, moves=(0,), still=(1,),
    ),
    Case('clip', losses.clip, clip, two, of_set=True),
    Case('siglip', losses.siglip, siglip, two, of_set=True),
    Case('sup_con', losses.sup_con, sup_con, labeled_views, moves=(0,), of_set=True),
    *(
        padded(f'{name} block', *what, dict(block=4, **options), **more)
        for name, what, options, more in (
            ('nt_xent', (losses.nt_xent, nt_xent, two), {}, {}),
            ('decoupled', (losses.decoupled, decoupled, two), {}, {}),
            ('info_nce', (info_nce_alike, info_nce, two_alike),
             dict(symmetric=True, temperature=0.3, negatives=QUEUE), dict(square=(2,))),
            ('clip', (losses.clip, clip, two), {}, {}),
            ('siglip', (losses.siglip, siglip, two), {}, {}),
            ('sup_con', (losses.sup_con, sup_con, labeled_views), {}, dict(moves=(0,))),
        )
    ),
    Case('margin_pair', losses.margin_pair, margin_pair, pairs),
    Case('triplet', losses.triplet, triplet, normal((3,), (3,), (3,)), moves=(0, 1, 2)),
    Case('barlow_twins', losses.barlow_twins, barlow_twins, two, of_set=True),
    Case('barlow_twins small', losses.barlow_twins, barlow_twins, normal((5,), (5,), scale=3e-3),
         of_set=True),
    padded('barlow_twins where', losses.barlow_twins, barlow_twins, two),
    padded('vicreg where', losses.vicreg, vicreg, two),
    padded('koleo where', losses.koleo, koleo, normal((5,)), moves=(0,)),
    padded('sinkhorn where', losses.sinkhorn, sinkhorn, normal((4,)), dict(epsilon=0.3),
           moves=(), still=(0,)),
    padded('swav where', losses.swav, swav, normal((3, 4)), dict(epsilon=0.3), moves=(0,),
           meets=False,
           constants=lambda scores, where: dict(
               codes=[sinkhorn(scores[where, g], 0.3) for g in range(2)])),
    Case('vicreg', losses.vicreg, vicreg, two, of_set=True),
    Case('vicreg small', losses.vicreg, vicreg, normal((5,), (5,), scale=1e-2), of_set=True),
    Case('koleo', losses.koleo, koleo, normal((5,)), moves=(0,), of_set=True),
    Case('sinkhorn', losses.sinkhorn, sinkhorn, cosines, moves=(), still=(0,), of_set=True),
    Case('sinkhorn soft', losses.sinkhorn, sinkhorn, normal((4,)), dict(epsilon=0.3, rounds=7),
         moves=(), still=(0,), of_set=True),
    Case('sinkhorn no rounds', losses.sinkhorn, lambda scores, **_: softmax(scores / 0.3),
         normal((4,)), dict(epsilon=0.3, rounds=0), moves=(), still=(0,)),
    Case('swav', losses.swav, swav, normal((3, 4)), dict(epsilon=0.3), moves=(0,), of_set=True,
         meets=False,
         constants=lambda scores: dict(codes=[sinkhorn(scores[:, g], 0.3) for g in range(2)])),
    Case('deepcluster', lambda x, y, w: losses.deepcluster(x, y, weight=w), deepcluster, assigned,
         moves=(0, 2)),
    Case('cosine_regression', losses.cosine_regression, cosine_regression, two, moves=(0,),
         still=(1,)),
    Case(
        'dino', partial(losses.dino, center=CENTER), partial(dino, center=CENTER),
        normal((4, 6), (2, 6)), dict(student_temperature=0.5), moves=(0,), still=(1,),
    ),
    Case('mae', losses.mae, mae, masked),
    Case('mae flat', losses.mae, mae, partial(masked, contrast=1e-3)),
    Case('mae plain', losses.mae, mae, masked, dict(normalize=False)),
    Case('mae as the authors', losses.mae, mae, masked, dict(ddof=1)),
    Case('simmim', losses.simmim, simmim, masked),
    Case('next_token', losses.next_token, next_token, sentences, moves=(0,)),
    Case('next_token weighted', lambda x, t, w: losses.next_token(x, t, mask=w),
         lambda x, t, w: next_token(x, t) * w[:, 1:],
         lambda random, n: (*sentences(random, n), random.normal(size=(n, 5))), moves=(0, 2)),
    Case('masked_token', losses.masked_token, masked_token,
         lambda random, n: (*sentences(random, n), random.uniform(size=(n, 5)) < 0.5), moves=(0,)),
    Case('ctc', with_lengths(losses.ctc), ctc, read, moves=(0,)),
    Case('ctc whole', losses.ctc, ctc, lambda random, n: read(random, n)[:2], moves=(0,)),
    Case('ctc_posteriors', with_lengths(losses.ctc_posteriors), ctc_posteriors, read, moves=(),
         still=(0,)),
    Case('ctc_positions', with_lengths(losses.ctc_positions), ctc_positions, read, moves=(),
         still=(0,)),
    Case('cross_entropy', losses.cross_entropy, cross_entropy,
         lambda random, n: assigned(random, n)[:2], moves=(0,)),
    Case('cross_entropy smooth', losses.cross_entropy, cross_entropy,
         lambda random, n: assigned(random, n)[:2], dict(smoothing=0.2), moves=(0,)),
    Case('fixmatch', losses.fixmatch, fixmatch, normal((4,), (4,)), dict(threshold=0.5),
         moves=(0,), still=(1,)),
    Case('pseudo_label', losses.pseudo_label, pseudo_label, normal((4,)), dict(threshold=0.4),
         moves=(0,)),
    Case('entropy', losses.entropy, entropy, normal((4,)), moves=(0,)),
    Case('bernoulli', losses.bernoulli, bernoulli, shares),
    Case('gaussian', lambda m, x, v: losses.gaussian(m, x, log_variance=v), gaussian,
         normal((2, 3), (2, 3), (2, 3)), moves=(0, 1, 2)),
    Case('categorical', losses.categorical, categorical, choices, moves=(0,)),
    Case('logistic_mixture', losses.logistic_mixture, logistic_mixture, levels, dict(levels=16),
         moves=(0, 1, 2, 3)),
    Case('change_of_variables', losses.change_of_variables, change_of_variables,
         normal((4,), ())),
    Case('elbo', losses.elbo, lambda r, kl, beta: r + beta * kl, reals, dict(beta=3.0)),
    Case('kl_gaussian', losses.kl_gaussian, kl_gaussian, normal((4,), (4,))),
    Case(
        'kl_gaussian prior',
        lambda m, v, n, w: losses.kl_gaussian(m, v, prior_mean=n, prior_log_variance=w),
        kl_gaussian, normal((4,), (4,), (4,), (4,)), moves=(0, 1, 2, 3),
    ),
    Case('kl_bernoulli', losses.kl_bernoulli, kl_bernoulli, normal((4,)), moves=(0,)),
    Case('kl_bernoulli prior', lambda q, p: losses.kl_bernoulli(q, prior_logits=p), kl_bernoulli,
         normal((4,), (4,))),
    Case('kl_categorical', losses.kl_categorical, kl_categorical, normal((2, 4)), moves=(0,)),
    Case('kl_categorical prior', lambda q, p: losses.kl_categorical(q, prior_logits=p),
         kl_categorical, normal((2, 4), (2, 4))),
    Case('iwae', losses.iwae, iwae, normal((5,)), moves=(0,)),
    Case('vq', losses.vq, vq, normal((2, 3), (2, 3)),
         constants=lambda z, code: dict(fixed_z=z, fixed_code=code)),
    Case('free_energy_difference', losses.free_energy_difference, np.subtract, reals),
    Case('denoising_score_matching',
         lambda score, noise, sigma: losses.denoising_score_matching(score, noise, sigma=sigma),
         denoising_score_matching, noisy, moves=(0, 2), still=(1,)),
    Case('minimax_critic', losses.minimax_critic, minimax_critic, reals),
    Case('minimax_generator', losses.minimax_generator, lambda f: np.log(1 - sigmoid(f)),
         normal(()), moves=(0,)),
    Case('non_saturating_generator', losses.non_saturating_generator,
         lambda f: -np.log(sigmoid(f)), normal(()), moves=(0,)),
    Case('least_squares_critic', losses.least_squares_critic,
         lambda real, fake: 0.5 * (real - 1) ** 2 + 0.5 * fake**2, reals),
    Case('least_squares_generator', losses.least_squares_generator,
         lambda fake: 0.5 * (fake - 1) ** 2, normal(()), moves=(0,)),
    Case('hinge_critic', losses.hinge_critic, hinge_critic, normal((), (), scale=2.0)),
    Case('wasserstein_critic', losses.wasserstein_critic, lambda real, fake: fake - real, reals),
    Case('wasserstein_generator', losses.wasserstein_generator, np.negative, normal(()),
         moves=(0,)),
    Case('cycle', losses.cycle, lambda back, x: np.abs(back - x).mean((1, 2)),
         normal((2, 3), (2, 3))),
    *cases_comparing.CASES,
    *cases_modeling.CASES,
)  # fmt: skip

# arrays without a batch: the case, the keyword, the value at which a gradient is taken
KEYWORDS = (
    *((name, 'temperature', 0.4) for name in (
        'nt_xent', 'nt_xent block', 'decoupled', 'decoupled block', 'info_nce', 'info_nce block',
        'sup_con', 'sup_con block', 'moco', 'swav',
    )),
    *((name, 'scale', 3.0) for name in ('clip', 'clip block', 'siglip', 'siglip block')),
    *((name, 'bias', -2.0) for name in ('siglip', 'siglip block')),
    *((name, 'negatives', QUEUE) for name in ('info_nce', 'info_nce block')),
    *(('vicreg', part, 2.0) for part in ('invariance', 'variance', 'covariance')),
    ('barlow_twins', 'weight', 0.1),
    ('margin_pair', 'margin', 1.5),
    ('triplet', 'margin', 0.5),
    ('elbo', 'beta', 3.0),
    ('moco', 'queue', QUEUE),
    ('dino', 'center', CENTER),
    ('dino', 'student_temperature', 0.5),
    ('dino', 'teacher_temperature', 0.5),
    *cases_comparing.KEYWORDS,
    ('sinkhorn', 'epsilon', 0.2),
    ('swav', 'epsilon', 0.3),
    ('cross_entropy', 'smoothing', 0.2),
    ('fixmatch', 'threshold', 0.5),
    ('pseudo_label', 'threshold', 0.4),
    ('vq', 'commitment', 0.5),
    *cases_modeling.KEYWORDS,
)  # fmt: skip
STILL = (
    'queue',
    'center',
    'teacher_temperature',
    *cases_comparing.STILL,
    'epsilon',
    'threshold',
    *cases_modeling.STILL,
)  # no gradient may reach these
