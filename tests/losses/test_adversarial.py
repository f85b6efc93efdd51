"""Games by hand, and gradient penalties where slopes are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.losses import gradient_penalty, wasserstein_critic, wasserstein_generator

random = np.random.default_rng(0)
key = jax.random.key(0)


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, whichever ran before."""
    global random
    random = np.random.default_rng(0)


def critic(x):
    return jnp.square(x).sum((1, 2, 3))


def images(B=5, shape=(4, 3, 2)):
    return (jnp.asarray(random.normal(size=(B, *shape)), jnp.float32) for _ in range(2))


def test_by_hand():
    real, fake = jnp.array([3.0, 1.0]), jnp.array([-1.0, 5.0])
    np.testing.assert_array_equal(wasserstein_critic(real, fake), [-4.0, 4.0])
    np.testing.assert_array_equal(wasserstein_generator(fake), [1.0, -5.0])


def test_the_two_players_oppose():
    fake = jnp.array([0.5, -2.0])
    critic = jax.grad(lambda f: wasserstein_critic(jnp.zeros(2), f).sum())(fake)
    generator = jax.grad(lambda f: wasserstein_generator(f).sum())(fake)
    np.testing.assert_array_equal(critic, -generator)


def test_games_by_hand():
    even, real, fake = jnp.zeros(1), jnp.array([2.0]), jnp.array([-1.0])
    np.testing.assert_allclose(losses.minimax_critic(even, even), 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.minimax_generator(even), -np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.non_saturating_generator(even), np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.least_squares_critic(real, fake), 1)
    np.testing.assert_allclose(losses.least_squares_generator(fake), 2)
    np.testing.assert_allclose(losses.hinge_critic(even, even), 2)
    np.testing.assert_allclose(losses.hinge_critic(real, fake), 0)
    np.testing.assert_allclose(losses.cycle(jnp.array([[3.0, 1.0]]), jnp.ones((1, 2))), 1)


def test_where_the_critic_wins_one_generator_is_flat_and_the_other_steep():
    lost = jnp.array(-12.0)
    assert abs(jax.grad(losses.minimax_generator)(lost)) < 1e-4
    np.testing.assert_allclose(jax.grad(losses.non_saturating_generator)(lost), -1, rtol=1e-4)


def test_the_best_critic_knows_the_share_of_real():
    """Where a share q of what the critic sees is real, D = q is its optimum."""
    q = 0.8
    f = jnp.log(q / (1 - q))
    slope = jax.grad(
        lambda f: (
            q * losses.minimax_critic(f, jnp.array(-1e9))
            + (1 - q) * losses.minimax_critic(jnp.array(1e9), f)
        )
    )(f)
    np.testing.assert_allclose(slope, 0, atol=1e-6)


@pytest.mark.parametrize('slope', [0.0, 0.5, 3.0])
def test_a_one_sided_penalty_lets_a_flat_critic_be(slope):
    real, fake = images()
    w = random.normal(size=real.shape[1:])
    w *= slope / np.linalg.norm(w)
    linear = lambda x: (x * w).sum((1, 2, 3))  # noqa: E731
    value = gradient_penalty(key, linear, real, fake, one_sided=True)
    np.testing.assert_allclose(value, np.full(5, max(slope - 1, 0) ** 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses.r1(linear, real), slope**2 / 2, rtol=1e-5, atol=1e-6)


def test_r1_of_a_square_critic_and_its_gradient():
    x, _ = images()
    value = losses.r1(lambda x: 3 * critic(x), x)  # slope 6 x
    np.testing.assert_allclose(value, 18 * critic(x), rtol=1e-5)
    by_scale = jax.grad(lambda a: losses.r1(lambda x: a * critic(x), x).sum())(3.0)
    np.testing.assert_allclose(by_scale, 12 * critic(x).sum(), rtol=1e-5)
    by_x = jax.grad(lambda x: losses.r1(lambda x: 3 * critic(x), x).sum())(x)
    np.testing.assert_allclose(by_x, 36 * x, rtol=1e-5)
    assert losses.r1(critic, x.astype(jnp.bfloat16)).dtype == jnp.float32


@pytest.mark.parametrize('slope', [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic(slope):
    real, fake = images()
    w = random.normal(size=real.shape[1:])
    w *= slope / np.linalg.norm(w)
    value = gradient_penalty(key, lambda x: (x * w).sum((1, 2, 3)), real, fake)
    np.testing.assert_allclose(value, np.full(5, (slope - 1) ** 2), rtol=1e-5, atol=1e-5)


def test_penalty_of_a_square_critic():
    # f = |x|^2 / 2 has slope |x|: of the point between real and fake, one draw per example
    real, fake = images()
    e = np.asarray(jax.random.uniform(key, (5, 1, 1, 1)))
    x = e * np.asarray(real) + (1 - e) * np.asarray(fake)
    expected = (np.sqrt((x**2).sum((1, 2, 3))) - 1) ** 2

    def penalty(real, fake):
        value = gradient_penalty(key, lambda x: jnp.square(x).sum((1, 2, 3)) / 2, real, fake)
        return value.sum(), value

    grads, value = jax.grad(penalty, (0, 1), has_aux=True)(real, fake)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    slope = 2 * (x - x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True)))
    np.testing.assert_allclose(grads[0], e * slope, rtol=1e-4)
    np.testing.assert_allclose(grads[1], (1 - e) * slope, rtol=1e-4)


def test_points_lie_between_and_differ_by_example():
    # between one pixel of 1 and 0, f = x^2 / 4 has slope e / 2, below one: it tells e
    real = jnp.ones((64, 1))
    value = gradient_penalty(key, lambda x: jnp.square(x).sum(1) / 4, real, 0 * real)
    e = 2 * (1 - np.sqrt(np.asarray(value)))
    assert (e >= 0).all() and (e <= 1).all()
    assert e.std() > 0.2 and abs(e.mean() - 0.5) < 0.15


def test_gradient_reaches_the_critic_at_second_order():
    real, fake = images()
    w = jnp.asarray(random.normal(size=real.shape[1:]), jnp.float32)

    def penalty(w):
        return gradient_penalty(key, lambda x: (x * w).sum((1, 2, 3)), real, fake).mean()

    n = np.linalg.norm(w)
    np.testing.assert_allclose(jax.grad(penalty)(w), 2 * (n - 1) * w / n, rtol=1e-4)


def test_finite_at_a_flat_critic():
    real, fake = images()
    w = jnp.zeros(real.shape[1:])

    def penalty(w):
        return gradient_penalty(key, lambda x: (x * w).sum((1, 2, 3)), real, fake).mean()

    value, grad = jax.value_and_grad(penalty)(w)
    np.testing.assert_allclose(value, 1, rtol=1e-5)
    assert np.isfinite(grad).all()


def test_key_and_dtype():
    real, fake = images()
    a = gradient_penalty(key, critic, real, fake)
    np.testing.assert_array_equal(a, gradient_penalty(key, critic, real, fake))
    assert (a != gradient_penalty(jax.random.key(1), critic, real, fake)).all()
    b = gradient_penalty(key, critic, real.astype(jnp.bfloat16), fake.astype(jnp.bfloat16))
    assert b.dtype == jnp.float32
    assert wasserstein_critic(real.astype(jnp.bfloat16), real).dtype == jnp.float32


def test_jit_changes_nothing():
    real, fake = images()

    def f(a, b):
        return gradient_penalty(key, critic, a, b)

    np.testing.assert_allclose(jax.jit(f)(real, fake), f(real, fake), rtol=1e-5)
