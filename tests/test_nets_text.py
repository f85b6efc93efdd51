"""Text towers: padding changes nothing, order counts in one and not in the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
towers = pytest.mark.parametrize('spec', TOWERS)


def apply(spec, tokens, *args, **options):
    module = make(spec)
    params = module.init(jax.random.key(0), jnp.zeros((1, 9), int))
    # larger than at the start, so that each token matters
    params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(jax.random.key(1), p.shape), params)
    return np.asarray(module.apply(params, jnp.asarray(tokens), *args, **options))


def drawn(seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 30, (5, 9)), np.array([9, 1, 4, 6, 3])


@towers
def test_what_is_behind_a_text_changes_nothing(spec):
    tokens, length = drawn()
    other = np.where(np.arange(9) < length[:, None], tokens, drawn(1)[0])
    assert (other != tokens).any()
    found = apply(spec, tokens, length)
    assert found.shape == (5, 16)
    np.testing.assert_allclose(found, apply(spec, other, length), atol=1e-5)
    for i, n in enumerate(length):  # as if it had been alone, in a row of its own length
        alone = apply(spec, tokens[i : i + 1, :n])
        np.testing.assert_allclose(found[i], alone[0], atol=1e-5)
    assert np.isfinite(apply(spec, tokens, np.zeros(5, int))).all()  # texts without a token
    np.testing.assert_allclose(apply(spec, tokens), apply(spec, tokens, np.full(5, 9)), atol=1e-5)


@towers
def test_every_token_that_is_meant_counts(spec):
    tokens, length = drawn()
    found = apply(spec, tokens, length)
    for place in range(3):
        other = tokens.copy()
        other[:, place] = (tokens[:, place] + 7) % 30
        apart = np.abs(apply(spec, other, length) - found).max(1)
        assert ((apart > 1e-3) == (place < length)).all()


def test_a_bag_is_the_mean_and_has_no_order():
    tokens, length = drawn()
    module = make(TOWERS[0])
    params = module.init(jax.random.key(0), jnp.asarray(tokens))
    table = params['params']['embedding']
    found = module.apply(params, jnp.asarray(tokens), jnp.asarray(length))
    for row, ids, n in zip(found, tokens, length, strict=True):
        np.testing.assert_allclose(row, np.mean([table[t] for t in ids[:n]], 0), atol=1e-6)
    turned = tokens[:, ::-1].copy()
    for spec, same in ((TOWERS[0], True), (SMALL, False), (TOWERS[4], False)):
        alike = np.abs(apply(spec, tokens) - apply(spec, turned)).max(1) < 1e-5
        assert alike.all() if same else not alike.any()


def test_a_causal_tower_reads_its_last_token_and_can_not_look_ahead():
    tokens, _ = drawn()
    for spec, ahead in ((SMALL, False), (TOWERS[3], True)):
        cut, whole = np.full(5, 4), tokens.copy()
        whole[:, 5:] = 0
        np.testing.assert_allclose(apply(spec, tokens, cut), apply(spec, whole, cut), atol=1e-5)
        maps = jax.jacobian(lambda x, spec=spec: embedded(spec, x))(0.1 * jnp.ones((1, 9, 16)))
        assert (np.abs(maps[0, :, 0, 4:]).max() > 1e-6) == ahead


def embedded(spec, x):
    """The first token's vector, of vectors x [1, T, 16] in place of tokens: what it looks at."""
    from ssljax.nets.transformer import Block

    block = Block(**make(spec).block, dropout=0.0, dtype=None)
    params = block.init(jax.random.key(0), x, False)
    return block.apply(params, x, False)[:, 0]


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
        apply(SMALL, np.zeros((1, 10), int))
    nets = Nets(text=dict(name='bag', width=4), vocab=5, dtype='bfloat16')
    params, _, out = nets.init(
        jax.random.key(0), lambda net, t: net.text(t), jnp.zeros((2, 3), int)
    )
    assert out.dtype == jnp.bfloat16 and params['text']['embedding'].dtype == jnp.float32


# the same, of the answers of small towers with large weights

TEXT = np.random.default_rng(0).integers(0, 9, (4, 6))
LENGTH = np.array([6, 3, 1, 4])
TINY = dict(name='text_transformer', vocab=9, width=8, depth=2, heads=2, context=7)


def tower(**options):
    """(text, length) -> features, of large weights."""
    module = make({**TINY, **options})
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
