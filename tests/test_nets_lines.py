"""Nets over padded sequences and lines: what is padded changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import variables

from ssljax.names import Mistake
from ssljax.nets import make
from ssljax.nets.rnn import recur, reverse

LINES = {
    'line_lstm': dict(widths=(3, 4, 5), width=8, depth=2),
    'line_transformer': dict(widths=(3, 4), width=8, depth=2, heads=2),
}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_an_lstm_in_numpy():
    module = make(dict(name='lstm', width=3))
    x = np.random.default_rng(0).normal(size=(2, 6, 4)).astype('f')
    length = np.array([6, 4])
    drawn = variables(module, x, length)
    (p,) = drawn['params'].values()
    p = jax.tree.map(lambda a: np.asarray(a, float), p)
    found = jax.jit(module.apply)(drawn, x, length)
    gates = x @ p['Dense_0']['kernel'] + p['Dense_0']['bias']
    for row, n in enumerate(length):
        for way, half, order in (('ahead', 0, range(n)), ('back', 1, range(n - 1, -1, -1))):
            h = c = np.zeros(3)
            for t in order:
                g = gates[row, t, 12 * half : 12 * half + 12] + h @ p[way]['kernel'][..., 0, 0]
                write, forget, read, value = np.split(g, 4)
                c = sigmoid(forget + 1) * c + sigmoid(write) * np.tanh(value)
                h = sigmoid(read) * np.tanh(c)
                np.testing.assert_allclose(
                    found[row, t, 3 * half : 3 * half + 3], h, rtol=0, atol=1e-5
                )


def test_reversal_keeps_the_padding_behind():
    turn, x = jax.jit(reverse), np.arange(10).reshape(2, 5)
    found = turn(x, np.array([5, 3]))
    np.testing.assert_array_equal(found[0], [4, 3, 2, 1, 0])
    np.testing.assert_array_equal(found[1, :3], [7, 6, 5])
    np.testing.assert_array_equal(np.sort(found[1, 3:]), [8, 9])
    np.testing.assert_array_equal(turn(found, np.array([5, 3]))[1, :3], [5, 6, 7])


def test_the_gradient_of_a_reversal_puts_frames_back():
    x, length = np.arange(10.0).reshape(2, 5), np.array([5, 3])
    slope = np.random.default_rng(0).normal(size=(2, 5)).astype('f')
    found, pull = jax.vjp(reverse, jnp.asarray(x, 'f'), length)
    expected = np.zeros(10, 'f')
    expected[np.asarray(found, int)] = slope  # entry i of x is the number i
    np.testing.assert_array_equal(pull(slope)[0], expected.reshape(2, 5))


def test_gradients_of_a_recurrence_are_those_of_its_frames():
    """Of any order in reverse mode; the plain form is differentiated by JAX."""
    random = np.random.default_rng(0)
    gates = random.normal(size=(5, 2, 12)).astype('f')
    kernel = random.normal(size=(3, 12)).astype('f')
    weights = random.normal(size=(5, 2, 3)).astype('f')

    def plain(gates, kernel):
        h = c = jnp.zeros((2, 3))
        shown = []
        for own in gates:
            write, forget, read, value = jnp.split(own + h @ kernel, 4, 1)
            c = jax.nn.sigmoid(forget + 1) * c + jax.nn.sigmoid(write) * jnp.tanh(value)
            h = jax.nn.sigmoid(read) * jnp.tanh(c)
            shown.append(h)
        return jnp.stack(shown)

    def slopes(form):
        return jax.value_and_grad(lambda *to: (weights * form(*to)).sum(), (0, 1))

    def twice(form):
        def size(*to):
            return sum(jnp.square(g).sum() for g in slopes(form)(*to)[1])

        return jax.grad(size, (0, 1))

    for of in (slopes, twice):
        found, expected = (jax.jit(of(form))(gates, kernel) for form in (recur, plain))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected
        )
    pull = jax.vjp(recur, gates, jnp.asarray(kernel, 'bfloat16'))[1]
    assert [g.dtype for g in pull(weights)] == [jnp.float32, jnp.bfloat16]


@pytest.mark.parametrize('name', LINES)
def test_columns_beyond_the_length_and_a_wider_canvas_change_nothing(name):
    module = make(dict(name=name, **LINES[name]))
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 16, 24, 1)).astype('f')
    length = np.array([24, 13, 8])
    drawn, apply = variables(module, x, length), jax.jit(module.apply)
    found = apply(drawn, x, length)
    assert found.shape[:2] == (3, 6)
    other = np.where(np.arange(24) < length[:, None], 0, random.normal(size=(3, 24)))
    changed = apply(drawn, x + other[:, None, :, None].astype('f'), length)
    np.testing.assert_array_equal(changed, found)
    wide = np.pad(x, ((0, 0), (0, 0), (0, 16), (0, 0)), constant_values=3.0)
    wider = np.asarray(apply(drawn, wide, length))
    np.testing.assert_allclose(wider[:, :6], found, rtol=0, atol=1e-5)
    frames = -(-length // 4)
    for row, n in zip(wider, frames, strict=True):
        assert (row[n:] == 0).all() and (np.abs(row[:n]).max(1) > 0).all()
    # within the length, every frame hears of the last column, and of the first
    for column in (0, 12):
        near = x.copy()
        near[1, :, column] += 2.0
        moved = np.abs(apply(drawn, near, length) - found).max(-1)
        assert (moved[1, :4] > 1e-6).all() and (moved[[0, 2]] == 0).all()


def test_brightness_and_contrast_of_a_line_are_no_features():
    module = make(dict(name='line_lstm', **LINES['line_lstm']))
    x = np.random.default_rng(0).normal(size=(2, 16, 24, 1)).astype('f')
    drawn, apply = variables(module, x), jax.jit(module.apply)
    close = apply(drawn, 0.3 * x - 0.5)
    np.testing.assert_allclose(close, apply(drawn, x), rtol=0, atol=1e-4)


def test_lines_that_do_not_fit_are_mistakes():
    module = make(dict(name='line_lstm'))
    with pytest.raises(Mistake, match='28 and 32 would fit|24 and 28|would fit'):
        variables(module, np.zeros((1, 16, 30, 1)))
    with pytest.raises(Mistake, match='the first two layers'):
        make(dict(name='line_lstm', widths=(4,)))
    with pytest.raises(Mistake, match='no even multiple'):
        make(dict(name='line_transformer', width=10))
