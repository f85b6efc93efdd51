"""Losses that model data, play games, read texts or learn from few labels: values by hand, and what
holds exactly. The formulas are in cases_modeling.py.
"""

import itertools
from functools import partial

import cases_modeling
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate

from ssljax import losses

key = jax.random.key(0)


@pytest.fixture
def random():
    return np.random.default_rng(0)


def normal(random, *shapes):
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for shape in shapes]


def call(loss, *args, **options):
    """Compiled as one program, which costs less than operations one by one."""
    functions = [a for a in args if callable(a)]
    arrays = map(jnp.asarray, args[len(functions) :])
    return jax.jit(partial(loss, *functions, **options))(*arrays)


def close(found, known, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(found, known, rtol=rtol, atol=atol)


# ---- reconstruction, codes, colors


def test_what_is_not_masked_is_not_read():
    logits = jnp.array([[[0.0, 0.0], [np.nan, np.inf]]])
    tokens, mask = jnp.array([[1, -100]]), jnp.array([[True, False]])
    value, grad = jax.value_and_grad(lambda x: call(losses.beit, x, tokens, mask).sum())(logits)
    close(value, np.log(2))
    close(grad, [[[0.5, -0.5], [0, 0]]])
    value, grad = jax.value_and_grad(
        lambda x: call(losses.replaced_token, x, tokens, tokens, mask=mask).sum()
    )(logits[..., 0] + jnp.array([0, jnp.nan]))
    close(value, np.log(2))
    close(grad, [[-0.5, 0]])
    rows, where = jnp.array([[0.5], [0.2], [jnp.nan]]), jnp.array([True, True, False])
    for loss in (
        losses.sparse_kl,
        partial(losses.free_bits, least=0.1),
        losses.renyi_entropy,
        lambda z, **where: losses.quadratic_mutual_information(z, z, **where),
    ):
        close(call(loss, rows, where=where), call(loss, rows[:2]))
        grad = jax.jit(jax.grad(partial(loss, where=where)))(rows)
        assert np.isfinite(grad).all() and not grad[2].any()
    image = jnp.ones((1, 1, 2, 3)).at[0, 0, 1].set(jnp.nan)
    region = mask[:, None]
    grad = jax.grad(lambda p: call(losses.context_encoder, p, image, region).sum())(2 * image)
    close(grad, [[[[2 / 3] * 3, [0] * 3]]])


def test_errors_of_a_region_by_hand():
    x, region = jnp.zeros((2, 2, 2, 3)), jnp.array([[[1, 1], [0, 1]], [[0, 0], [0, 0]]], bool)
    seen = jnp.array([[[1, 0], [1, 0]]] * 2, bool)  # of the first pixel, and of one that is outside
    close(call(losses.context_encoder, x + 0.5, x, region), [0.25, 0])
    close(call(losses.context_encoder, x + 0.5, x, region, seen=seen), [0.25 * (10 + 1 + 1) / 3, 0])


def test_sparsity_by_hand():
    close(call(losses.sparse_l1, jnp.array([[0.5, -2.0]])), [2.5])
    assert not jax.grad(lambda h: call(losses.sparse_l1, h).sum())(jnp.zeros((2, 3))).any()
    codes = jnp.array([[0.1, 0.5], [0.3, 0.5]])  # means 0.2 and 0.5
    close(call(losses.sparse_kl, codes, target=0.2), 0.2 * np.log(0.4) + 0.8 * np.log(1.6))


def test_a_layer_of_sigmoids_contracts_as_its_jacobian(random):
    W, b, x = normal(random, (4, 3), (3,), (5, 4))
    codes = jax.nn.sigmoid(x @ W + b)
    by_jacobian = call(losses.contractive, lambda x: jax.nn.sigmoid(x @ W + b), x)
    close(call(losses.contractive_sigmoid, codes, kernel=W), by_jacobian)
    flat = call(losses.contractive, lambda x: x.reshape(2, -1) @ W, jnp.ones((2, 2, 2)))
    close(flat, (W**2).sum())


def test_rare_colors_weigh_as_much_as_they_are_rare():
    p = jnp.array([0.7, 0.2, 0.1, 0.0])
    for mix in (0.25, 0.5, 1.0):
        weight = call(losses.color_weights, p, mix=mix)
        close((p * weight).sum(), 1)
        close(weight[3] / weight[0], ((1 - mix) * 0.7 + mix / 4) / (mix / 4))
    classes = jnp.array([[0.0, 0.0], [10.0, 0.0], [0.0, 50.0]])
    targets = call(losses.color_targets, jnp.array([[[4.0, 0.0]]]), classes, neighbors=2)
    share = 1 / (1 + np.exp((4**2 - 6**2) / 50))
    close(targets, [[[share, 1 - share, 0]]])
    loss = call(losses.color_classes, jnp.zeros((1, 1, 3)), targets, weight=jnp.array([3.0, 1, 1]))
    close(loss, 3 * np.log(3))


def test_a_pointer_copies_from_where_it_points():
    reference = 9 * jnp.eye(3)[None]
    target, values = reference[:, ::-1], jnp.array([[[1.0], [2.0], [5.0]]])
    close(call(losses.copied, target, reference, values, temperature=0.5), values[:, ::-1])
    close(call(losses.copied, 0 * target, reference, values), 8 / 3)
    # red, red, green; the second pixel is blue, which nothing in the reference is
    found = call(
        losses.color_pointer,
        jnp.zeros((1, 2, 3)),
        reference,
        jnp.array([[0, 2]]),
        jnp.array([[0, 0, 1]]),
    )
    close(found, -np.log(2 / 3))


# ---- likelihoods


def test_densities_have_the_mass_one():
    logits, mean = jnp.array([0.3, -0.4]), jnp.array([[0.5], [-1.0]])
    log_variance = jnp.array([[0.2], [-1.0]])
    x = np.linspace(-12, 12, 4001)
    many = [jnp.tile(a, (len(x),) + (1,) * a.ndim) for a in (logits, mean, log_variance)]
    mixture = call(losses.gaussian_mixture, *many, x[:, None])
    close(integrate.simpson(np.exp(-mixture), x=x), 1)
    component = call(losses.infomax_ica, 5 * x[:, None], weight=5 * jnp.eye(1))
    close(integrate.simpson(np.exp(-component), x=x), 1)


def test_the_colors_of_a_pixel_have_the_mass_one(random):
    colors = np.array(list(itertools.product(np.linspace(-1, 1, 4), repeat=3)))  # 64
    parts = normal(random, (2,), (3, 2), (3, 2), (3, 2))
    many = [jnp.tile(a, (64,) + (1,) * a.ndim) for a in parts]
    p = np.exp(-np.asarray(call(losses.logistic_mixture_rgb, *many, jnp.asarray(colors), levels=4)))
    close(p.sum(), 1)
    # blue follows green and red: their coupling moves its mean alone
    moved = call(losses.logistic_mixture_rgb, *many[:3], 0 * many[3], jnp.asarray(colors), levels=4)
    assert np.abs(moved + np.log(p)).max() > 0.1


def test_one_component_is_no_mixture(random):
    mean, log_variance, x = normal(random, (3, 1, 2), (3, 1, 2), (3, 2))
    found = call(losses.gaussian_mixture, jnp.zeros((3, 1)), mean, log_variance, x)
    close(found, call(losses.gaussian, mean[:, 0], x, log_variance=log_variance[:, 0]))
    x = jnp.asarray(random.integers(256, size=(3, 4, 3)) / 127.5 - 1, jnp.float32)
    mean, log_scale = normal(random, (3, 4, 3, 1), (3, 4, 3, 1))
    found = call(
        losses.logistic_mixture_rgb,
        jnp.zeros((3, 4, 1)),
        mean,
        log_scale,
        jnp.zeros((3, 4, 3, 1)),
        x,
    )
    alone = call(losses.logistic_mixture, jnp.zeros((3, 4, 3, 1)), mean, log_scale, x)
    close(found, alone, rtol=1e-4)


def test_free_bits_by_hand():
    kl = jnp.array([[0.1, 3.0], [0.3, 5.0]])
    value, grad = jax.value_and_grad(lambda kl: call(losses.free_bits, kl, least=0.5))(kl)
    close(value, 0.5 + 4)
    close(grad, [[0, 0.5], [0, 0.5]])
    mean, log_variance = jnp.ones((2, 3, 4)), jnp.zeros((2, 3, 4))  # as the docstring says
    close(jax.vmap(losses.kl_gaussian, 1, 1)(mean, log_variance), jnp.full((2, 3), 2.0))


def test_uniform_noise_costs_what_dequantize_does(random):
    x = jnp.asarray(random.integers(256, size=(4, 5)))
    u = jnp.asarray(random.uniform(0.01, 0.99, size=(4, 5)), jnp.float32)
    v, log_q = jnp.log(u) - jnp.log1p(-u), jnp.log(u * (1 - u)).sum(1)  # logistic
    y, cost = call(losses.variational_dequantize, x, v, log_q)
    close(y, (x + u) / 256)
    close(cost, 5 * np.log(256))


# ---- diffusion and flow


def test_three_targets_are_one_another(random):
    x, noise, guess = normal(random, (4, 3), (4, 3), (4, 3))
    a = jnp.array([0.9, 0.5, 0.2, 0.01])
    noisy = call(losses.diffuse, x, noise, a)
    close(call(losses.diffuse, x, noise, jnp.ones(4)), x)
    close(call(losses.diffuse, x, noise, jnp.zeros(4)), noise)
    signal, sigma = jnp.sqrt(a)[:, None], jnp.sqrt(1 - a)[:, None]
    # what a guess of the noise means for x and v
    clean = call(losses.denoised, guess, noisy, a)
    v = signal * guess - sigma * clean
    for target, same in (('x0', clean), ('v', v)):
        close(call(losses.denoised, same, noisy, a, target=target), clean, rtol=1e-4, atol=1e-5)
    error = ((guess - noise) ** 2).mean(1)
    close(call(losses.ddpm, guess, x, noise, a), error)
    close(call(losses.ddpm, clean, x, noise, a, target='x0'), error * (1 - a) / a, rtol=1e-4)
    close(call(losses.ddpm, v, x, noise, a, target='v'), error / a, rtol=1e-4)
    with pytest.raises(ValueError, match='epsilon, x0, v'):
        call(losses.ddpm, v, x, noise, a, target='noise')


def test_the_velocity_is_the_slope_of_the_path(random):
    x, noise = normal(random, (4, 3), (4, 3))
    for sigma in (0.0, 0.2):
        path = lambda t: call(losses.flow_path, x, noise, t, sigma=sigma)  # noqa: B023, E731
        point, velocity = jax.jvp(path, (jnp.full(4, 0.3),), (jnp.ones(4),))
        close(call(losses.flow_matching, velocity, x, noise, sigma=sigma), 0)
        close(path(jnp.zeros(4)), noise)
        close(path(jnp.ones(4)), x + sigma * noise)
        close(point, path(jnp.ones(4)) - 0.7 * velocity, atol=1e-5)


# ---- kernels and energies


def test_mmd_of_a_linear_kernel_is_the_distance_of_means(random):
    x, y = normal(random, (5, 3), (7, 3))
    found = call(losses.mmd, x, y, kernel=lambda a, b: a @ b.T, unbiased=False)
    close(found, ((x.mean(0) - y.mean(0)) ** 2).sum(), rtol=1e-4)
    assert call(losses.mmd, x, x, kernel=losses.gaussian_kernel(0.5), unbiased=False) == 0
    # two rows 2 apart: k = exp(-2) between; without themselves, only that is left
    two = jnp.array([[0.0], [2.0]])
    close(call(losses.mmd, two, two, kernel=losses.gaussian_kernel(1.0)), np.exp(-2) - 1)
    with pytest.raises(ValueError, match='x is .1, 3.*at least 2'):
        call(losses.mmd, x[:1], y, kernel=losses.gaussian_kernel(1.0))
    where, where_y = jnp.arange(5) < 3, jnp.arange(7) != 2  # each set has its own
    kernel = losses.gaussian_kernel(1.0)
    part = call(losses.mmd, x, y, kernel=kernel, where=where, where_y=where_y)
    close(part, call(losses.mmd, x[where], y[where_y], kernel=kernel))


def test_entropy_is_that_of_bumps(random):
    for sigma in (0.5, 2.0):
        bump = np.log(4 * np.pi * sigma**2)  # D / 2 of it, D = 2
        close(call(losses.renyi_entropy, jnp.zeros((3, 2)), sigma=sigma), bump)
        far = jnp.array([[0.0, 0.0], [99.0, 0.0]])
        close(call(losses.renyi_entropy, far, sigma=sigma), bump + np.log(2))
    z = 3 * random.normal(size=(1500, 1))
    close(call(losses.renyi_entropy, jnp.asarray(z)), np.log(4 * np.pi * (9 + 1)) / 2, rtol=0.02)


def test_no_information_on_a_grid(random):
    y, z = normal(random, (4, 2), (3, 1))
    grid = jnp.repeat(y, 3, 0), jnp.tile(z, (4, 1))  # all pairs: independent
    for divergence in ('cauchy_schwarz', 'euclidean'):
        options = dict(sigma=0.7, divergence=divergence)
        close(call(losses.quadratic_mutual_information, *grid, **options), 0)
        dependent = call(losses.quadratic_mutual_information, y, 2 * y, **options)
        paper = cases_modeling.quadratic_mutual_information(*map(np.asarray, (y, 2 * y)), **options)
        close(dependent, paper)
        assert dependent > 1e-3


def test_chains_are_constants_and_count_by_their_mean(random):
    x, chain = normal(random, (4, 3), (7, 3))
    found, grad = jax.value_and_grad(
        lambda w: call(losses.persistent_contrastive_divergence, lambda v: v @ w, x, chain).mean()
    )(jnp.ones(3))
    close(grad, x.mean(0) - chain.mean(0))
    close(found, grad.sum(), atol=1e-5)


def test_the_best_score_of_a_normal_is_its_own(random):
    (x,) = normal(random, (9, 3))
    best = x.mean(0), ((x - x.mean(0)) ** 2).mean()

    def value(mean, variance):
        return call(losses.implicit_score_matching, lambda x: (mean - x) / variance, x).mean()

    for slope in jax.grad(value, (0, 1))(*best):
        close(slope, 0, atol=1e-5)
    assert value(*best) < min(value(best[0] + 0.1, best[1]), value(best[0], 1.2 * best[1]))


def test_along_all_axes_sliced_is_implicit(random):
    x, W = normal(random, (4, 3), (3, 3))
    score = lambda x: jnp.tanh(x @ W)  # noqa: E731
    axes = jnp.tile(np.sqrt(3) * jnp.eye(3), (4, 1, 1))
    whole = call(losses.implicit_score_matching, score, x)
    for reduced in (True, False):
        close(call(losses.sliced_score_matching, score, x, axes, reduced=reduced), whole, rtol=1e-4)
    one = axes[:, :1]  # then the squares differ
    plain = call(losses.sliced_score_matching, score, x, one, reduced=False)
    exact = call(losses.sliced_score_matching, score, x, one)
    close(plain - exact, (3 * score(x)[:, 0] ** 2 - (score(x) ** 2).sum(1)) / 2, atol=1e-5)


# ---- games


def test_relative_values_alone_count(random):
    real, fake = normal(random, (5,), (5,))
    for loss, even in (
        (losses.relativistic_critic, np.log(2)),
        (losses.relativistic_average_critic, 2 * np.log(2)),
    ):
        close(loss(real + 7, fake + 7), loss(real, fake), rtol=1e-4)
        close(loss(jnp.ones(3), jnp.ones(3)), even)
        assert (loss(real + 30, fake) < 1e-6).all()
    assert (call(losses.relativistic_generator, real, fake + 30) < 1e-6).all()
    assert (call(losses.relativistic_average_generator, real, fake + 30) < 1e-6).all()


def test_patches_and_features_by_hand():
    real, fake = jnp.array([[[2.0, 0.5]]]), jnp.array([[[-2.0, 0.0]]])
    loss = losses.patch(losses.hinge_critic)
    close(call(loss, real, fake), (0 + 0 + 0.5 + 1) / 2)
    close(jax.grad(lambda fake: loss(real, fake).sum())(fake), [[[0, 0.5]]])
    close(call(losses.patch(losses.wasserstein_generator), fake), 1)
    with pytest.raises(ValueError, match='values 2 is .1, 2'):
        loss(real, fake[0])
    features = jnp.array([[1.0, 2.0], [3.0, 2.0]]), jnp.array([[0.0, 0.0]])
    close(call(losses.feature_matching, *features), 4 + 4)


def test_a_bound_on_information_is_within_the_codes_own():
    code = jnp.array([[0, 3]])
    close(call(losses.infogan, jnp.zeros((1, 2, 4)), code), 0)
    close(call(losses.infogan, 99.0 * jax.nn.one_hot(code, 4), code), -2 * np.log(4))
    # of a code that is known up to a standard deviation s: log s sqrt(2 pi e) - log 2, averaged
    c, s = jnp.array([[0.3], [0.3]]), 0.1
    mean = c + jnp.array([[s], [-s]])
    found = call(losses.infogan_continuous, mean, c, log_variance=2 * np.log(s))
    close(found, np.log(s * np.sqrt(2 * np.pi * np.e)) - np.log(2))


def test_the_spectral_norm_is_the_largest_singular_value(random):
    W, u = normal(random, (2, 3, 4), (4,))
    left, singular, right = np.linalg.svd(np.asarray(W).reshape(6, 4), full_matrices=False)
    (sigma, _), grad = jax.value_and_grad(
        lambda W: call(losses.spectral_norm, W, u, rounds=60), has_aux=True
    )(W)
    close(sigma, singular[0])
    close(grad.reshape(6, 4), np.outer(left[:, 0], right[0]), atol=1e-4)
    state = u
    step = jax.jit(losses.spectral_norm)
    for _ in range(60):  # a round at each step, as in training
        sigma, state = step(W, state)
    close(sigma, singular[0])
    close(jnp.linalg.norm(state), 1)


def test_orthogonal_columns_have_no_penalty(random):
    Q, _ = np.linalg.qr(random.normal(size=(5, 3)))
    close(call(losses.orthogonal_penalty, 2 * Q), 0)
    close(call(losses.orthogonal_penalty, 2 * Q, diagonal=True), 3 * (4 - 1) ** 2)
    close(call(losses.orthogonal_penalty, jnp.ones((1, 2, 2))), 2 * 2**2)  # 2 of 4 products, each 2


# ---- texts


def test_texts_by_hand():
    tokens, corrupted = jnp.array([[3, 4]]), jnp.array([[3, 5]])
    sure = jnp.array([[30.0, -30.0]])  # the first is real, the second is not
    close(call(losses.replaced_token, sure, tokens, corrupted), 0)
    close(call(losses.replaced_token, -sure, tokens, corrupted), 30)
    logits = jnp.log(jnp.array([[0.2, 0.8]]))
    for follows, p in ((True, 0.8), (False, 0.2)):
        close(call(losses.sentence_pair, logits, jnp.array([follows])), -np.log(p))


def test_glove_by_hand():
    one = jnp.ones((4, 2))
    count = jnp.array([0.0, 1.0, 50.0, 1000.0])
    found = call(losses.glove, one, one, jnp.ones(4), jnp.zeros(4), count)
    weight = np.array([0, 100**-0.75, 0.5**0.75, 1])
    close(found, weight * (3 - np.log([1, 1, 50, 1000])) ** 2)


def test_a_language_of_one_text_is_ctc(random):
    """And of two texts, their mean by P."""
    (logits,) = normal(random, (2, 5, 4))
    length = jnp.array([5, 4])
    with np.errstate(divide='ignore'):
        bigram = np.zeros((4, 4))
        bigram[0, 1], bigram[1, 2], bigram[2, 0] = 1, 1, 1  # edge 1 2 edge
        one = np.log(bigram)
        bigram[1] = [0.3, 0, 0.7, 0]  # or edge 1 edge
        two = np.log(bigram)

    def ctc(logits, count):
        text, count = jnp.array([[1, 2]] * 2), jnp.full(2, count)
        return losses.ctc(logits, text, length=length, text_length=count)

    def language(logits, log_bigram):
        return losses.ctc_language_model(logits, log_bigram=log_bigram, length=length)

    found = jax.jit(lambda x, b: (language(x, b), jax.grad(lambda x: language(x, b).sum())(x)))
    known = jax.jit(lambda x, n: (ctc(x, n), jax.grad(lambda x: ctc(x, n).sum())(x)))
    (short, _), (whole, slope) = known(logits, 1), known(logits, 2)
    value, grad = found(logits, one)
    close(value, whole)
    close(grad, slope)
    close(found(logits, two)[0], -np.logaddexp(np.log(0.7) - whole, np.log(0.3) - short))
    value, grad = found(logits, np.full((4, 4), -np.inf))  # no text at all
    assert (value == np.inf).all() and not grad.any()


# ---- labels


LOGITS = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]]))


def test_soft_labels_that_are_hard_are_labels():
    labels = jnp.array([0, 2])
    hard = call(losses.cross_entropy, LOGITS, labels)
    one_hot = jax.nn.one_hot(labels, 3)
    close(call(losses.soft_cross_entropy, LOGITS, one_hot), hard)
    close(call(losses.forward_corrected, LOGITS, labels, noise=jnp.eye(3)), hard)
    close(call(losses.focal, LOGITS, labels, gamma=0.0), hard)
    close(call(losses.symmetric_cross_entropy, LOGITS, labels, alpha=1.0, beta=0.0), hard)
    out = jnp.array([[0.0, -jnp.inf]])  # a class that is ruled out, and has no weight
    value, grad = jax.value_and_grad(
        lambda x: call(losses.soft_cross_entropy, x, jnp.array([[1.0, 0.0]])).sum()
    )(out)
    assert value == 0 and np.isfinite(grad).all()


def test_wrong_labels_by_hand():
    noise = jnp.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
    found = call(losses.forward_corrected, LOGITS, jnp.array([0, 1]), noise=noise)
    close(found, -np.log([0.7 * 0.8 + 0.1 * 0.5, 0.3 * 0.2 + 0.6]))
    found = call(losses.symmetric_cross_entropy, LOGITS, jnp.array([0, 1]))
    close(found, 0.1 * -np.log([0.7, 0.6]) + 4 * np.array([0.3, 0.4]))


def test_focal_is_optax_s_for_two_classes(random):
    x, y = random.normal(size=9).astype(np.float32) * 4, random.integers(2, size=9)
    found = call(losses.focal, np.stack([0 * x, x], 1), y, gamma=1.5, weight=np.array([0.75, 0.25]))
    close(found, optax.losses.sigmoid_focal_loss(x, y, alpha=0.25, gamma=1.5), rtol=1e-4)
    sure = jnp.array([[0.0, 99.0]])  # 1 - p rounds to zero
    grad = jax.grad(lambda x: call(losses.focal, x, jnp.array([1]), gamma=0.5).sum())(sure)
    assert np.isfinite(grad).all()


def test_thresholds_follow_what_is_learned():
    counts = jnp.array([50, 25, 0])
    close(call(losses.flexmatch_thresholds, counts, rows=80), 0.95 * np.array([1, 0.5 / 1.5, 0]))
    # most rows are not sure of any class: 120 of 195
    b = np.array([50, 25, 0]) / 120
    close(call(losses.flexmatch_thresholds, counts, rows=195), 0.95 * b / (2 - b))
    assert not call(losses.flexmatch_thresholds, jnp.zeros(3), rows=9).any()
    weak = 5 * LOGITS
    even = call(losses.flexmatch, LOGITS, weak, thresholds=jnp.full(3, 0.97))
    close(even, call(losses.fixmatch, LOGITS, weak, threshold=0.97))
    assert even[0] > 0 == even[1]


def test_teachers_and_targets_by_hand():
    found = call(losses.mean_teacher, LOGITS, LOGITS[::-1])
    close(found, (0.4**2 + 0.4**2) / 3)
    close(call(losses.ramp_up, jnp.array([0, 5, 10, 99]), rise=10), np.exp([-5, -1.25, 0, 0]))
    p = jnp.array([0.8, 0.2, 0.0])
    close(call(losses.sharpen, p), [0.64 / 0.68, 0.04 / 0.68, 0])
    close(call(losses.sharpen, p, temperature=1.0), p)


def test_vat_steps_across_the_boundary(random):
    """Of a linear net with two classes, along the difference of their weights."""
    x, W, direction = normal(random, (3, 4), (4, 2), (3, 4))
    w = (W[:, 1] - W[:, 0]) / jnp.linalg.norm(W[:, 1] - W[:, 0])
    step = 0.3 * jnp.sign(direction @ w)[:, None] * w
    p, q = (jax.nn.log_softmax(y @ W) for y in (x, x + step))
    close(
        call(losses.vat, lambda x: x @ W, x, direction, radius=0.3), (jnp.exp(p) * (p - q)).sum(1)
    )


def test_vat_finds_the_step_that_matters_most(random):
    x, A, C, direction = normal(random, (4, 6), (6, 8), (8, 3), (4, 6))
    predict = lambda x: jnp.tanh(x @ A) @ C  # noqa: E731

    def found(rounds):
        return call(losses.vat, predict, x, direction, radius=1e-2, rounds=rounds)

    def slope(r):  # of KL by the step, whose second derivative at zero H is
        p = jax.nn.softmax(predict(x))
        return (p * (jnp.log(p) - jax.nn.log_softmax(predict(x + r)))).sum()

    H = jax.vmap(lambda d: jax.jvp(jax.grad(slope), (0 * x,), (jnp.broadcast_to(d, x.shape),))[1])(
        jnp.eye(6)
    )
    largest = np.linalg.eigvalsh(np.asarray(H).swapaxes(0, 1)).max(1)
    best = found(12)
    close(best, largest * 1e-4 / 2, rtol=0.1)
    assert found(0).sum() < 0.7 * best.sum()
