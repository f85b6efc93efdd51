"""Losses over all pairs, a strip of columns at a time: the same numbers, and never all pairs."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses import clip, decoupled, info_nce, nt_xent, siglip, sup_con


def rows(*shape):
    random = np.random.default_rng(0)
    return [jnp.asarray(random.normal(size=shape), jnp.float32) for _ in range(2)]


PAIRS = {
    'nt_xent': lambda z1, z2, **o: nt_xent(z1, z2, **o),
    'decoupled': lambda z1, z2, **o: decoupled(z1, z2, **o),
    'info_nce': lambda z1, z2, **o: info_nce(z1, z2, negatives=z1[:7], symmetric=True, **o),
    'clip': lambda z1, z2, **o: clip(z1, z2, **o),
    'siglip': lambda z1, z2, **o: siglip(z1, z2, **o),
    'sup_con': lambda z1, z2, **o: sup_con(jnp.stack([z1, z2], 1), jnp.arange(len(z1)) % 5, **o),
}


@functools.cache
def slopes(name, block=None):
    f = lambda z1, z2, w: (PAIRS[name](z1, z2, block=block) * w).sum()  # noqa: E731
    return jax.jit(jax.value_and_grad(f, (0, 1)))


@pytest.mark.parametrize('block', [1, 7, 50, 1000])
@pytest.mark.parametrize('name', PAIRS)
def test_strips_of_any_width_change_nothing(name, block):
    z1, z2 = rows(50, 6)
    w = rows(50)[0]

    (value, grads), (plain, expected) = slopes(name, block)(z1, z2, w), slopes(name)(z1, z2, w)
    np.testing.assert_allclose(value, plain, rtol=1e-5)
    for grad, other in zip(grads, expected):
        np.testing.assert_allclose(grad, other, atol=1e-5 * np.abs(other).max())


def sizes(jaxpr):
    """Elements of every array that a program makes, within its loops and calls too."""
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in equation.outvars)
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from sizes(inner)


@pytest.mark.parametrize('name', PAIRS)
def test_in_strips_there_is_no_array_of_all_pairs(name):
    N, D, block = 512, 8, 16
    z = jax.ShapeDtypeStruct((N, D), jnp.float32)

    def largest(**options):
        f = jax.value_and_grad(lambda *z: PAIRS[name](*z, **options).mean(), (0, 1))
        return max(sizes(jax.make_jaxpr(f)(z, z).jaxpr))

    rows = 2 * N if name == 'sup_con' else N
    assert largest() >= rows * rows
    # a strip, or what each strip passes on to the next
    assert largest(block=block) <= 2 * rows * max(block, rows // block, 2 * D)


@pytest.mark.parametrize('name', PAIRS)
def test_strips_leave_out_the_same_rows(name):
    z1, z2 = rows(20, 6)
    where = np.arange(20) % 3 > 0
    options = [dict(where=where, block=block) for block in (None, 7)]
    plain, found = jax.jit(lambda: [PAIRS[name](z1, z2, **o) for o in options])()
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    assert not found[~where].any() and found[where].all()


@pytest.mark.parametrize('name', ['nt_xent', 'siglip', 'sup_con'])
def test_any_derivative_passes_through_strips(name):
    """Forward, forward over reverse, reverse over reverse; under vmap; by a temperature."""
    z1, z2 = rows(8, 4)
    number = 'scale' if name in ('clip', 'siglip') else 'temperature'

    def derivatives(block):
        loss = lambda z, t: (PAIRS[name](z, z2, **{number: t}, block=block) ** 2).mean()  # noqa: E731
        slope, along = jax.grad(loss, (0, 1)), ((z1, 0.7), (z2, 1.0))
        return [
            jax.jvp(loss, *along)[1],
            *jax.jvp(slope, *along)[1],
            jax.grad(lambda z: (slope(z, 0.7)[0] * z2).sum())(z1),
            jax.vmap(slope, (0, None))(jnp.stack([z1, z2]), 0.7)[0],
        ]

    found, plain = jax.jit(lambda: [derivatives(block) for block in (3, None)])()
    for a, b in zip(found, plain):
        assert np.abs(b).max() > 1e-4
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(b).max())


def test_names_of_classes_may_be_any_numbers():
    z = rows(6, 2, 4)[0]
    a = sup_con(z, jnp.array([0, 1, 0, 2, 1, 0]))
    np.testing.assert_allclose(a, sup_con(z, jnp.array([-7, 900, -7, 5, 900, -7])), rtol=1e-6)
