"""Cases of losses that compare: with other examples, a memory, a teacher, a batch, clusters."""

from functools import partial

import numpy as np
from case import Case, log_sum_exp, normal, padded, softmax, two, unit

from ssljax import losses


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def cross_entropy(p, log_q):
    return -(p * log_q).sum()


# ---- contrastive


def moco_v3(q1, q2, k1, k2, temperature=0.2):
    def ctr(q, k):
        logits = unit(q) @ unit(k).T / temperature
        return np.array([log_sum_exp(row) - row[i] for i, row in enumerate(logits)])

    return 2 * temperature * (ctr(q1, k2) + ctr(q2, k1))


def decoupled_weighted(z1, z2, weights=None, temperature=0.1, sigma=0.5):
    """weights: held fixed where a derivative is taken."""
    n, z = len(z1), unit(np.concatenate([z1, z2]))
    if weights is None:
        weights = dclw_weights(z1, z2, sigma)
    values = np.zeros(n)
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = [z[i] @ z[k] / temperature for k in range(2 * n) if k not in (i, j)]
        own = weights[i % n] * (z[i] @ z[j]) / temperature
        values[i % n] += (log_sum_exp(others) - own) / 2
    return values


def dclw_weights(z1, z2, sigma):
    e = np.exp((unit(z1) * unit(z2)).sum(1) / sigma)
    return 2 - e / e.mean()


def instance_discrimination(z, index, bank, temperature=0.07):
    z, v = unit(z), unit(bank)
    return np.array([-np.log(softmax(v @ f / temperature)[i]) for f, i in zip(z, index)])


def instance_nce(z, index, noise, bank, log_normalizer, temperature=0.07):
    v, n, m = unit(bank), len(bank), noise.shape[1]
    values = []
    for f, i, drawn in zip(unit(z), index, noise):
        P = np.exp(v @ f / temperature) / np.exp(log_normalizer)
        h = P / (P + m / n)
        values.append(-np.log(h[i]) - sum(np.log(1 - h[j]) for j in drawn))
    return np.array(values)


def instance_log_normalizer(z, noise, bank, temperature=0.07):
    v, n, m = unit(bank), len(bank), noise.shape[1]
    Z = [n / m * sum(np.exp(v[j] @ f / temperature) for j in d) for f, d in zip(unit(z), noise)]
    return np.log(np.mean(Z))


def nnclr(z, prediction, queue, temperature=0.1):
    z, p, Q = unit(z), unit(prediction), unit(queue)
    values = []
    for i in range(len(z)):
        nearest = min(Q, key=lambda q: np.linalg.norm(z[i] - q))
        values.append(-np.log(softmax(p @ nearest / temperature)[i]))
    return np.array(values)


def ressl(student, teacher, queue, student_temperature=0.1, teacher_temperature=0.04):
    m = unit(queue)
    return np.array(
        [
            cross_entropy(
                softmax(m @ t / teacher_temperature), np.log(softmax(m @ s / student_temperature))
            )
            for s, t in zip(unit(student), unit(teacher))
        ]
    )


def semi_hard_triplet(z, labels, margin=0.2):
    n, values = len(z), []
    D = ((z[:, None] - z) ** 2).sum(-1)
    for i in range(n):
        terms = []
        for p in range(n):
            if p == i or labels[p] != labels[i]:
                continue
            further = [D[i, k] for k in range(n) if labels[k] != labels[i] and D[i, k] > D[i, p]]
            terms.append(max(0.0, D[i, p] - min(further) + margin) if further else 0.0)
        values.append(np.mean(terms) if terms else 0.0)
    return np.array(values)


def batch_hard_triplet(z, labels, margin=0.2):
    n, values = len(z), []
    for i in range(n):
        d = np.linalg.norm(z - z[i], axis=1)
        same = [d[p] for p in range(n) if p != i and labels[p] == labels[i]]
        other = [d[k] for k in range(n) if labels[k] != labels[i]]
        if not same or not other:
            values.append(0.0)
            continue
        gap = max(same) - min(other)
        values.append(np.log(1 + np.exp(gap)) if margin is None else max(0.0, margin + gap))
    return np.array(values)


def n_pair(anchor, positive):
    n = len(anchor)
    return np.array(
        [
            np.log(1 + sum(np.exp(anchor[i] @ (positive[k] - positive[i]))
                           for k in range(n) if k != i))
            for i in range(n)
        ]
    )  # fmt: skip


def skip_gram(center, context, noise):
    return np.array(
        [
            -log_sigmoid(u @ v) - sum(log_sigmoid(-w @ v) for w in drawn)
            for v, u, drawn in zip(center, context, noise)
        ]
    )


def cbow(context, center, noise, where=None):
    rows = range(len(context))
    mean = [context[b].mean(0) if where is None else context[b][where[b]].mean(0) for b in rows]
    return skip_gram(np.array(mean), center, noise)


def cpc(prediction, target, where=None, all_steps=False):
    B, T, _ = prediction.shape
    where = np.ones((B, T), bool) if where is None else where
    values = np.zeros((B, T))
    for i, s in zip(*np.nonzero(where)):
        among = [
            target[j, r] for j in range(B) for r in range(T)
            if where[j, r] and (all_steps or r == s)
        ]  # fmt: skip
        p = prediction[i, s]
        values[i, s] = log_sum_exp([p @ z for z in among]) - p @ target[i, s]
    return values


def point_info_nce(z1, z2, where=None, temperature=0.07):
    values = []
    for b in range(len(z1)):
        there = slice(None) if where is None else where[b]
        logits = unit(z1[b][there]) @ unit(z2[b][there]).T / temperature
        values.append(np.mean([-np.log(softmax(row)[i]) for i, row in enumerate(logits)]))
    return np.array(values)


# ---- distillation


def msn(anchors, targets, temperature=0.1, target_temperature=0.025, weight=1.0):
    p, q = softmax(anchors / temperature), softmax(targets / target_temperature)
    mean = p.mean((0, 1))
    entropy = -(mean * np.log(mean)).sum()
    each = [np.mean([cross_entropy(t, np.log(a)) for a in views]) for views, t in zip(p, q)]
    return np.array(each) - weight * entropy


def divergence(p, q):
    return (p * np.log(p / q)).sum()


def knowledge_distillation(student, teacher, temperature):
    return np.array(
        [
            temperature**2 * divergence(softmax(t / temperature), softmax(s / temperature))
            for s, t in zip(student, teacher)
        ]
    )


def deit_soft(student, distilled, teacher, labels, temperature=3.0, weight=0.1):
    soft = knowledge_distillation(distilled, teacher, temperature)
    hard = np.array([-np.log(softmax(s)[y]) for s, y in zip(student, labels)])
    return (1 - weight) * hard + weight * soft


def deit_hard(student, distilled, teacher, labels):
    return np.array(
        [
            -0.5 * np.log(softmax(s)[y]) - 0.5 * np.log(softmax(d)[t.argmax()])
            for s, d, t, y in zip(student, distilled, teacher, labels)
        ]
    )


def obow(logits, bag):
    return np.array([cross_entropy(b, np.log(softmax(x))) for x, b in zip(logits, bag)])


def bag_of_words(features, vocabulary, delta):
    bags = []
    for image in features:
        codes = [softmax(-((f - vocabulary) ** 2).sum(1) / delta) for f in image]
        bag = np.max(codes, axis=0)
        bags.append(bag / bag.sum())
    return np.array(bags)


def ibot(student, teacher, mask, center, student_temperature=0.1, teacher_temperature=0.04):
    values = []
    for s, t, m in zip(student, teacher, mask):
        p = softmax((t[m] - center) / teacher_temperature)
        log_q = np.log(softmax(s[m] / student_temperature))
        values.append(np.mean([cross_entropy(a, b) for a, b in zip(p, log_q)]))
    return np.array(values)


def gram_anchoring(student, teacher):
    P = student.shape[1]
    return np.array(
        [
            np.linalg.norm(unit(s) @ unit(s).T - unit(t) @ unit(t).T) ** 2 / P**2
            for s, t in zip(student, teacher)
        ]
    )


def data2vec(prediction, target, mask, beta=2.0):
    values = []
    for p, y, m in zip(prediction, target, mask):
        e = np.abs(y[m] - p[m])
        values.append(np.where(e <= beta, 0.5 * e**2 / beta, e - 0.5 * beta).mean())
    return np.array(values)


def jepa(prediction, target, where=None, absolute=False):
    values = []
    for b in range(len(prediction)):
        there = slice(None) if where is None else where[b]
        e = prediction[b][there] - target[b][there]
        values.append(np.abs(e).mean() if absolute else (e**2).mean())
    return np.array(values)


# ---- redundancy


def whiten(z, shrinkage=1e-4):
    S = (1 - shrinkage) * np.cov(z, rowvar=False) + shrinkage * np.eye(z.shape[1])
    return (np.linalg.inv(np.linalg.cholesky(S)) @ (z - z.mean(0)).T).T


def w_mse(z1, z2, shrinkage=1e-4):
    return ((unit(whiten(z1, shrinkage)) - unit(whiten(z2, shrinkage))) ** 2).sum(1)


def rate(z, share, distortion):
    """The log determinant over two, of the rows weighted by their share of a group."""
    d, Z = z.shape[1], unit(z).T
    S = d / (share.sum() * distortion**2) * Z @ np.diag(share) @ Z.T
    return np.linalg.slogdet(np.eye(d) + S)[1] / 2


def total_coding_rate(z, distortion=0.5**0.5):
    return rate(z, np.ones(len(z)), distortion)


def mcr2(z, membership, distortion=0.5**0.5):
    groups = [share.sum() / len(z) * rate(z, share, distortion) for share in membership.T]
    return sum(groups) - total_coding_rate(z, distortion)


def sigreg(z, directions, points=9, bound=5.0):
    t = np.linspace(-bound, bound, 2 * points - 1)
    normal_cf = np.exp(-(t**2) / 2)
    values = []
    for a in unit(directions):
        cf = np.exp(1j * np.outer(t, z @ a)).mean(1)
        values.append(len(z) * np.trapezoid(np.abs(cf - normal_cf) ** 2 * normal_cf, t))
    return np.mean(values)


def vicregl(z1, z2, places1, places2, matches=20, invariance=25.0, variance=25.0, covariance=1.0):
    def vicreg(x, y):  # one slot of matches: terms as in the authors' local loss
        D, values = x.shape[1], invariance * ((x - y) ** 2).mean()
        for z in (x, y):
            S = np.cov(z, rowvar=False)
            v = np.mean([max(0, 1 - np.sqrt(S[d, d] + 1e-4)) for d in range(D)])
            c = (S**2).sum() - (np.diag(S) ** 2).sum()
            values += variance * v / 2 + covariance * c / D / 2
        return values

    def search(a, b, at_a, at_b):
        pairs = []
        for x, y, p, q in zip(a, b, at_a, at_b):
            distance = np.linalg.norm(p[:, None] - q, axis=-1)
            order = np.argsort(distance.min(1))[:matches]
            pairs.append((x[order], y[distance.argmin(1)[order]]))
        x, y = (np.array(side) for side in zip(*pairs))
        return np.mean([vicreg(x[:, m], y[:, m]) for m in range(matches)])

    by_place = search(z1, z2, places1, places2) + search(z2, z1, places2, places1)
    by_feature = search(z1, z2, z1, z2) + search(z2, z1, z2, z1)
    return by_place / 2 + by_feature / 2


# ---- clustering


def deepcluster_v2(z, labels, centroids, temperature=0.1):
    c = unit(centroids)
    return np.array(
        [
            np.mean([-np.log(softmax(c @ v / temperature)[y]) for v in unit(views)])
            for views, y in zip(z, labels)
        ]
    )


def nat(z, target):
    return ((unit(z) - unit(target)) ** 2).sum(1) / 2


def densities(x, mean, log_variance, logits):
    """p_k N(x; m_k, v_k), [B, K]."""
    v = np.exp(log_variance)
    normals = np.exp(-((x[:, None] - mean) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    return softmax(logits) * normals.prod(-1)


def responsibilities(x, mean, log_variance, logits):
    joint = densities(x, mean, log_variance, logits)
    return joint / joint.sum(1, keepdims=True)


def self_labelling(logits, sharpness=25.0, rounds=80):
    """Vectors a and b by turns, as the paper's algorithm has them."""
    N, K = logits.shape
    P = softmax(logits) ** sharpness
    a, b = np.ones(K), 1 / P.sum(1)
    for _ in range(rounds):
        a = (N / K) / (b @ P)
        b = 1 / (P @ a)
    return b[:, None] * P * a


# ---- arguments

RANDOM = np.random.default_rng(11)
BANK, QUEUE = RANDOM.normal(size=(2, 9, 5))
CENTER, MEAN, LOG_VARIANCE = RANDOM.normal(size=6), *RANDOM.normal(size=(2, 3, 4))
LOGITS, WORDS = RANDOM.normal(size=3), RANDOM.normal(size=(6, 3))
DIRECTIONS = RANDOM.normal(size=(7, 5))


def indexed(random, n, noise=None):
    drawn = (random.integers(len(BANK), size=(n, k)) for k in ((1,) if noise is None else (1, 4)))
    index, *more = drawn
    return random.normal(size=(n, 5)), index[:, 0], *more


def noisy(random, n):
    return random.normal(size=(n, 5)), random.integers(len(BANK), size=(n, 4))


def labeled(random, n):
    """Rows at all distances; with 4 or more, two classes of two at least, and one that is alone."""
    labels = np.arange(n) % 2
    labels[n - 1] = 2 if n > 4 else labels[n - 1]
    return 0.7 * random.normal(size=(n, 3)), random.permutation(labels)


def halves(random, n):
    """Rows of two classes: each has a negative, whichever are off."""
    return 0.7 * random.normal(size=(n, 3)), np.arange(n) % 2


def neighbors(random, n):
    context, center, noise = normal((4, 3), (3,), (5, 3))(random, n)
    return context, center, noise, some(random, n, 4)


def some(random, n, size):
    """Half of the places, at random."""
    return random.permuted(np.tile(np.arange(size) % 2 == 0, (n, 1)), axis=1)


def steps(*shapes):
    return lambda random, n: (*normal(*shapes)(random, n), some(random, n, shapes[0][0]))


def classes(count):
    """That many arrays of logits, and labels."""
    return lambda random, n: (*normal(*[(4,)] * count)(random, n), random.integers(4, size=n))


def bags(random, n):
    return random.normal(size=(n, 6)), softmax(2 * random.normal(size=(n, 6)))


def members(random, n):
    return random.normal(size=(n, 3)), softmax(2 * random.normal(size=(n, 2)))


def clustered(random, n):
    return random.normal(size=(n, 2, 5)), random.integers(len(BANK), size=n)


def maps(random, n):
    return normal((4, 3), (5, 3), (4, 2), (5, 2))(random, n)


def where_last(loss):
    return lambda *args, **options: loss(*args[:-1], where=args[-1], **options)


def cubed(loss):
    """For numbers whose means, and those of their squares, are always the same."""
    return lambda *args, **options: loss(*args, **options) ** 3


def of_mixture(loss):
    return lambda x, **options: loss(x=x, **MIXTURE | options)


def first(loss):
    """Of each row's shares, whose sum is always one."""
    return lambda x, **options: loss(x=x, **MIXTURE | options)[:, 0]


def case(name, draw, moves=(0, 1), still=(), *, of=None, options={}, label='', **more):
    """The loss and the formula of one name; `of` changes how both are called."""
    of = of or (lambda loss: loss)
    paper = globals().get(name)
    full = f'{name} {label}'.strip()
    return Case(full, of(getattr(losses, name)), of(paper), draw, options, moves, still, **more)


def in_part(name, draw, moves=(0, 1), still=(), *, of=None, options={}, label='', **more):
    """The same of a set of which some rows are off."""
    plain = case(name, draw, moves, still, of=of, options=options, label=label)
    return padded(*plain[:5], moves=moves, still=still, **more)


MIXTURE = dict(mean=MEAN, log_variance=LOG_VARIANCE, logits=LOGITS)

CASES = (
    in_part('moco_v3', normal((5,), (5,), (5,), (5,)), still=(2, 3), meets=False),
    in_part('decoupled_weighted', two,
            constants=lambda a, b, on: dict(weights=dclw_weights(a[on], b[on], 0.5))),
    case('instance_discrimination', indexed, (0,), of=lambda f: partial(f, bank=BANK)),
    case('instance_nce', partial(indexed, noise=4), (0,),
         of=lambda f: partial(f, bank=BANK, log_normalizer=6.0),
         options=dict(temperature=0.3)),
    in_part('instance_log_normalizer', noisy, (), (0,), of=lambda f: partial(f, bank=BANK)),
    in_part('nnclr', two, (1,), (0,), of=lambda f: partial(f, queue=QUEUE)),
    case('ressl', two, (0,), (1,), of=lambda f: partial(f, queue=QUEUE)),
    case('semi_hard_triplet', labeled, (0,), options=dict(margin=1.5), of_set=True),
    in_part('semi_hard_triplet', halves, (0,), options=dict(margin=1.5), label='where'),
    in_part('batch_hard_triplet', labeled, (0,)),
    in_part('batch_hard_triplet', labeled, (0,), options=dict(margin=None), label='soft'),
    in_part('n_pair', normal((3,), (3,))),
    case('skip_gram', normal((3,), (3,), (4, 3)), (0, 1, 2)),
    case('cbow', neighbors, (0, 1, 2), of=where_last),
    case('cpc', steps((3, 4), (3, 4)), of=where_last, of_set=True),
    case('cpc', normal((3, 4), (3, 4)), options=dict(all_steps=True), label='all', of_set=True),
    case('point_info_nce', steps((4, 5), (4, 5)), of=where_last),
    Case('patch_nce', where_last(losses.patch_nce), where_last(point_info_nce),
         steps((4, 5), (4, 5)), moves=(0,), still=(1,)),
    Case('patch_nce all', losses.patch_nce, point_info_nce, normal((4, 5), (4, 5)),
         moves=(0,), still=(1,)),
    in_part('msn', lambda random, n: tuple(map(np.tanh, normal((2, 6), (6,))(random, n))), (0,),
            (1,)),
    case('knowledge_distillation', normal((4,), (4,)), (0,), (1,), options=dict(temperature=3.0)),
    case('deit_soft', classes(3), (0, 1), (2,)),
    case('deit_hard', classes(3), (0, 1), (2,)),
    case('obow', bags, (0,), (1,)),
    case('bag_of_words', normal((4, 3)), (), (0,),
         of=lambda f: partial(f, vocabulary=WORDS, delta=1.5)),
    case('ibot', steps((4, 6), (4, 6)), (0,), (1,), of=lambda f: partial(f, center=CENTER),
         options=dict(student_temperature=0.5)),
    case('gram_anchoring', normal((4, 3), (4, 5)), (0,), (1,)),
    case('data2vec', steps((4, 5), (4, 5)), (0,), (1,), options=dict(beta=1.0)),
    case('jepa', steps((4, 5), (4, 5)), (0,), (1,), of=where_last),
    case('jepa', normal((4, 5), (4, 5)), (0,), (1,), options=dict(absolute=True), label='video'),
    in_part('whiten', normal((2,)), (0,), of=cubed),
    in_part('w_mse', normal((2,), (2,))),
    in_part('total_coding_rate', normal((3,)), (0,)),
    in_part('mcr2', members),
    in_part('sigreg', normal((5,)), (0,), of=lambda f: partial(f, directions=DIRECTIONS)),
    in_part('vicregl', maps, (0, 1), (2, 3), options=dict(matches=3)),
    case('deepcluster_v2', clustered, (0,), of=lambda f: partial(f, centroids=BANK)),
    case('nat', two, (0,), (1,)),
    case('responsibilities', normal((4,)), (0,), of=of_mixture),
    case('responsibilities', normal((4,)), (0,), of=first, label='first'),
    Case('gaussian_mixture for all', of_mixture(losses.gaussian_mixture),
         of_mixture(lambda **parts: -np.log(densities(**parts).sum(1))), normal((4,)), moves=(0,)),
    in_part('self_labelling', normal((4,)), (), (0,)),
)  # fmt: skip

KEYWORDS = (
    *(('responsibilities first', keyword, MIXTURE[keyword]) for keyword in MIXTURE),
    *((name, 'bank', BANK)
      for name in ('instance_discrimination', 'instance_nce', 'instance_log_normalizer')),
    ('instance_nce', 'log_normalizer', 6.0),
    *((name, 'queue', QUEUE) for name in ('nnclr', 'ressl')),
    *((name, 'temperature', 0.4) for name in (
        'moco_v3', 'nnclr', 'decoupled_weighted', 'knowledge_distillation', 'deit_soft', 'msn',
        'instance_discrimination', 'instance_nce', 'instance_log_normalizer', 'point_info_nce',
        'patch_nce', 'deepcluster_v2',
    )),
    *((name, 'teacher_temperature', 0.5) for name in ('ressl', 'ibot')),
    *((name, 'student_temperature', 0.5) for name in ('ressl', 'ibot')),
    *((name, 'weight', 0.3) for name in ('deit_soft', 'msn')),
    *((name, 'margin', 1.5) for name in ('semi_hard_triplet', 'batch_hard_triplet')),
    *((name, 'shrinkage', 0.1) for name in ('whiten', 'w_mse')),
    *((name, 'distortion', 0.4) for name in ('total_coding_rate', 'mcr2')),
    *(('vicregl', part, 2.0) for part in ('invariance', 'variance', 'covariance')),
    ('decoupled_weighted', 'sigma', 0.5),
    ('msn', 'target_temperature', 0.1),
    ('bag_of_words', 'vocabulary', WORDS),
    ('bag_of_words', 'delta', 1.5),
    ('ibot', 'center', CENTER),
    ('data2vec', 'beta', 0.8),
    ('sigreg', 'directions', DIRECTIONS),
    ('sigreg', 'bound', 4.0),
    ('deepcluster_v2', 'centroids', BANK),
    ('self_labelling', 'sharpness', 5.0),
)  # fmt: skip
STILL = (
    'bank', 'log_normalizer', 'vocabulary', 'delta', 'directions', 'centroids', 'sharpness',
    'target_temperature',
)  # fmt: skip
