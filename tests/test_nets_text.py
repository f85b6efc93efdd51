"""The towers of texts: what a token sees, which one is the feature, and what is behind the end."""

import jax
import numpy as np
import pytest

from ssljax.names import Mistake
from ssljax.nets import make

TEXT = np.random.default_rng(0).integers(0, 9, (4, 6))
LENGTH = np.array([6, 3, 1, 4])
SMALL = dict(name='text_transformer', vocab=9, width=8, depth=2, heads=2, context=7)


def tower(**options):
    """(text, length) -> features, of large weights."""
    module = make({**SMALL, **options})
    params = jax.eval_shape(module.init, jax.random.key(0), TEXT)['params']
    random = np.random.default_rng(1)
    params = jax.tree.map(lambda leaf: np.float32(0.8 * random.normal(size=leaf.shape)), params)
    params = jax.device_put(params)
    return jax.jit(lambda text, length=None: module.apply({'params': params}, text, length))


@pytest.fixture(scope='module')
def ask():
    return tower()


def test_the_last_token_is_the_feature(ask):
    """As if a text ended there; places behind it change nothing."""
    found = ask(TEXT, LENGTH)
    np.testing.assert_allclose(ask(TEXT[1:2, :3]), found[1:2], atol=1e-5)
    behind = np.where(np.arange(6) < LENGTH[:, None], TEXT, 8 - TEXT)
    np.testing.assert_allclose(ask(behind, LENGTH), found, atol=1e-5)
    assert np.isfinite(ask(TEXT, 0 * LENGTH)).all()


def test_the_order_of_tokens_matters():
    """Also in one block, where the last token sees all others as a set but for their places."""
    ask = tower(depth=1)
    assert np.abs(ask(TEXT[:, [1, 0, 2, 3, 4, 5]], LENGTH) - ask(TEXT, LENGTH))[0].max() > 1e-3


@pytest.mark.parametrize('causal', [True, False])
def test_a_token_sees_those_before_it(causal):
    """With another last token, the sum of all features changes by that of the last one alone."""
    other, full = TEXT.copy(), 0 * LENGTH + 6
    other[:, 5] = (other[:, 5] + 1) % 9
    whole, last = tower(pool='mean', causal=causal, depth=1), tower(causal=causal, depth=1)
    before, after = (6 * whole(text, full) - last(text, full) for text in (TEXT, other))
    change = np.abs(after - before).max()
    assert change < 1e-4 if causal else change > 1e-2


def test_means_are_of_the_tokens_that_are_meant():
    module = make(dict(name='bag', vocab=9, width=5))
    table = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    found = module.apply({'params': {'embedding': table}}, TEXT, LENGTH)
    for text, n, one in zip(TEXT, LENGTH, found):
        np.testing.assert_allclose(one, np.mean([table[token] for token in text[:n]], 0), atol=1e-6)
    pooled = tower(pool='mean', depth=1)
    np.testing.assert_allclose(pooled(TEXT, LENGTH)[1:2], pooled(TEXT[1:2, :3]), atol=1e-5)


def test_mistakes():
    with pytest.raises(Mistake, match='context=8'):
        jax.eval_shape(make(SMALL).init, jax.random.key(0), np.zeros((1, 8), int))
    for wrong, said in (dict(vocab=0), 'vocabulary'), (dict(heads=3), 'heads'):
        with pytest.raises(Mistake, match=said):
            make({**SMALL, **wrong})
