"""Text towers: padding changes nothing, order counts in one and not in the other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import variables

from ssljax.names import Mistake
from ssljax.nets import Nets, make

SMALL = dict(name='text_transformer', width=16, depth=2, heads=2, context=9, vocab=30)
TOWERS = [
    dict(name='bag', width=16, vocab=30),
    SMALL,
    SMALL | dict(pool='mean'),
    SMALL | dict(causal=False),
    SMALL | dict(causal=False, pool='mean'),
]


def tower(spec):
    """(tokens, length) -> features, of weights so large that each token matters."""
    module = make(spec)
    drawn = variables(module, np.zeros((1, 9), int), scale=0.4)
    return functools.partial(jax.jit(module.apply), drawn)


@pytest.fixture(scope='module', params=TOWERS, ids=lambda spec: '-'.join(map(str, spec.values())))
def ask(request):
    return tower(request.param)


def texts(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 30, (5, 9)), np.array([9, 1, 4, 6, 3])


def full(n):
    return np.full(5, n)


def test_what_is_behind_a_text_changes_nothing(ask):
    tokens, length = texts()
    other = np.where(np.arange(9) < length[:, None], tokens, texts(1)[0])
    assert (other != tokens).any()
    found = ask(tokens, length)
    assert found.shape == (5, 16)
    np.testing.assert_allclose(found, ask(other, length), atol=1e-5)
    for i, n in enumerate(length):  # whatever the length of the other rows
        np.testing.assert_allclose(found[i], ask(tokens, full(n))[i], atol=1e-5)
    # as if there were no places behind it; no length is that of the array
    np.testing.assert_allclose(ask(tokens[:, :4]), ask(tokens, full(4)), atol=1e-5)
    assert np.isfinite(ask(tokens, full(0))).all()  # texts without a token


def test_every_token_that_is_meant_counts(ask):
    tokens, length = texts()
    found = ask(tokens, length)
    for place in range(3):
        other = tokens.copy()
        other[:, place] = (tokens[:, place] + 7) % 30
        apart = np.abs(ask(other, length) - found).max(1)
        assert ((apart > 1e-3) == (place < length)).all()


def test_a_bag_is_the_mean_and_has_no_order():
    (tokens, length), module = texts(), make(TOWERS[0])
    drawn, apply = variables(module, tokens), jax.jit(module.apply)
    table = drawn['params']['embedding']
    for row, ids, n in zip(apply(drawn, tokens, length), tokens, length, strict=True):
        np.testing.assert_allclose(row, np.mean(table[ids[:n]], 0), atol=1e-6)
    turned = apply(drawn, tokens[:, ::-1], full(9))
    np.testing.assert_allclose(turned, apply(drawn, tokens, full(9)), atol=1e-6)


@pytest.mark.parametrize('causal', [True, False])
def test_a_token_sees_those_before_it_and_where_they_are(causal):
    """With another last token, the sum of all features changes by that of the last one alone."""
    (tokens, _), spec = texts(), SMALL | dict(causal=causal, depth=1)
    whole, last = tower(spec | dict(pool='mean')), tower(spec)
    other = tokens.copy()
    other[:, 8] = (other[:, 8] + 1) % 30
    before, after = (9 * whole(text, full(9)) - last(text, full(9)) for text in (tokens, other))
    change = np.abs(after - before).max()
    assert change < 1e-4 if causal else change > 1e-2
    # in one block, the last token sees all others as a set but for their places
    swapped = np.abs(last(tokens[:, [1, 0, *range(2, 9)]], full(9)) - last(tokens, full(9)))
    assert (swapped.max(1) > 1e-3).all()


def test_params_of_clips_text_tower_and_mistakes():
    # Radford et al. 2021: 12 layers, 512 wide, 8 heads, 49,408 tokens, 77 places: 63.1 million
    # params, of which 0.26 million are the projection to 512, here a net of its own
    shapes = jax.eval_shape(
        make(dict(name='text_transformer', vocab=49408)).init,
        jax.random.key(0),
        jnp.zeros((1, 77), int),
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == 12 * (12 * 512**2 + 13 * 512) + 2 * 512 + (49408 + 77) * 512 == 63_165_952
    for spec, says in (
        (dict(name='bag'), 'vocabulary'),
        (dict(name='text_transformer'), 'vocabulary'),
        (SMALL | dict(heads=3), 'multiple of 3 heads'),
        (SMALL | dict(pool='lats'), 'did you mean last'),
    ):
        with pytest.raises(Mistake, match=says):
            make(spec)
    with pytest.raises(Mistake, match='context=10'):
        variables(make(SMALL), np.zeros((1, 10), int))
    nets = Nets(text=dict(name='bag', width=4), vocab=5, dtype='bfloat16')
    start = lambda key: nets.init(key, lambda net, t: net.text(t), jnp.zeros((2, 3), int))  # noqa: E731
    params, _, out = jax.eval_shape(start, jax.random.key(0))
    assert out.dtype == jnp.bfloat16 and params['text']['embedding'].dtype == jnp.float32
