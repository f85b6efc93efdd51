"""The shapes of arguments: what is taken, and what is said of the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.losses._shapes import arrays

shape = jax.ShapeDtypeStruct


def info_nce(*specs, at_least={}, **given):  # the name in what is said
    return arrays(*specs, at_least=at_least, **given)


def refused(*specs, at_least={}, **given):
    with pytest.raises(ValueError) as told:
        info_nce(*specs, at_least=at_least, **given)
    assert '\n' not in str(told.value)
    return str(told.value)


def test_lists_numpy_and_numbers_become_jax_arrays_of_their_dtype():
    half = np.ones((2, 1), np.float16)
    a, b, c, d, e = arrays('2 1', '2 1', 'B 1', '', '', a=[[1], [2]], b=half, c=half, d=3, e=None)
    assert [x.shape for x in (a, b, c, d)] == [(2, 1), (2, 1), (2, 1), ()] and e is None
    assert a.dtype == jnp.int32 and b.dtype == jnp.float16
    assert all(isinstance(x, jax.Array) for x in (a, b, c, d))


def test_a_letter_is_one_size_in_a_call():
    assert refused('B D', z1=np.ones((4, 8)), z2=np.ones((1, 8))) == (
        'info_nce: z2 is [1, 8], and z1 is [4, 8]; both must be [B, D]'
    )
    given = dict(query=np.ones((4, 8)), queue=np.ones((9, 7)))
    assert refused('B D', 'M D', **given) == (
        'info_nce: queue is [9, 7], and query is [4, 8]; they must be [M, D] and [B, D]'
    )
    assert refused('B B', x=np.ones((4, 8))) == 'info_nce: x is [4, 8]; it must be [B, B]'
    arrays('B D', 'M D', query=np.ones((4, 8)), queue=np.ones((9, 8)))  # M may be another one


def test_the_number_of_axes_and_sizes_that_are_numbers():
    assert refused('B D', z=np.ones(4)) == 'info_nce: z is [4]; it must be [B, D]'
    assert refused('B ... K', x=np.ones(4)) == 'info_nce: x is [4]; it must be [B, ..., K]'
    assert refused('B 2', x=np.ones((3, 1))) == 'info_nce: x is [3, 1]; it must be [B, 2]'
    assert refused('', x=[1.0]) == 'info_nce: x is [1]; it must be []'


def test_dots_are_any_axes_the_same_in_all():
    for axes in ((), (3,), (3, 5)):
        logits, x = arrays('B ... K', 'B ...', logits=np.ones((2, *axes, 7)), x=np.ones((2, *axes)))
        assert logits.shape == (2, *axes, 7) and x.shape == (2, *axes)
    said = refused('B ... K', 'B ...', logits=np.ones((2, 3, 7)), x=np.ones((2, 1)))
    assert said == (
        'info_nce: x is [2, 1], and logits is [2, 3, 7]; they must be [B, ...] and [B, ..., K]'
    )
    assert 'both must be [B, ...]' in refused('B ...', a=np.ones((2, 3)), b=np.ones((2, 3, 1)))


def test_what_broadcasts_is_broadcast_and_widens_nothing():
    x = np.ones((4, 3))
    for v in (1.0, np.ones(3), np.ones((4, 1)), x):
        assert arrays('B ...', '-> B ...', x=x, v=v)[1].shape == (4, 3)
    v, _ = arrays('-> B', 'B ...', v=2, x=x)  # in any order
    assert v.shape == (4,)
    assert refused('B ...', '-> B ...', x=x, v=np.ones(4)) == (
        'info_nce: v is [4]; it must be broadcast to [B, ...], which is [4, 3]'
    )
    assert 'which is [1]' in refused('B', '-> B', x=[1.0], v=[1.0, 2.0])


def test_a_least_size():
    said = refused('B D', z1=np.ones((1, 8)), z2=np.ones((1, 8)), at_least=dict(B=2))
    assert said == 'info_nce: z1 is [1, 8]; it must be [B, D], B at least 2'
    arrays('B D', z1=np.ones((2, 1)), at_least=dict(B=2))


def test_it_is_said_while_tracing():
    def loss(z1, z2):
        z1, z2 = arrays('B D', z1=z1, z2=z2)
        return z1 + z2

    with pytest.raises(ValueError, match='^loss: z2 is '):
        jax.eval_shape(jax.jit(loss), shape((4, 2), 'f'), shape((4, 3), 'f'))
    assert jax.eval_shape(loss, shape((4, 2), 'f'), shape((4, 2), 'f')).shape == (4, 2)
