"""Readings of frames: by the best path, and by prefixes against all texts there are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import search


def merged(path, blank):
    """What an alignment reads: repeats merged, then blanks dropped."""
    return tuple(token for token, _ in itertools.groupby(path) if token != blank)


def texts(p):
    """The probability of every text of frames p [T, V + 1]."""
    found = {}
    for path in itertools.product(range(p.shape[1]), repeat=len(p)):
        text = merged(path, p.shape[1] - 1)
        found[text] = found.get(text, 0) + np.prod(p[np.arange(len(p)), path])
    return found


def read(row):
    return tuple(int(token) for token in row if token >= 0)


@pytest.mark.parametrize('seed', range(4))
def test_a_beam_that_holds_all_prefixes_finds_the_likeliest_text(seed):
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(12, 5, 4)).astype('f')
    length = random.integers(1, 6, 12)
    found, log_p = search.prefix_beam(jnp.asarray(logits), length=jnp.asarray(length), beam=400)
    for row, value, frames, n in zip(found, log_p, logits, length, strict=True):
        truth = texts(np.asarray(jax.nn.softmax(frames[:n]), float))
        best = max(truth, key=truth.get)
        assert truth[read(row)] == pytest.approx(truth[best], rel=1e-5)
        assert np.exp(value) == pytest.approx(truth[best], rel=1e-4)


def test_a_narrow_beam_gives_a_lower_bound_of_the_chance_of_its_text():
    logits = jnp.asarray(np.random.default_rng(5).normal(size=(30, 6, 4)), jnp.float32)
    whole = None
    for beam in (1, 2, 4, 16):
        found, log_p = search.prefix_beam(logits, beam=beam)
        for row, value, frames in zip(found, log_p, logits, strict=True):
            assert np.exp(value) <= texts(np.asarray(jax.nn.softmax(frames), float))[read(row)] * (
                1 + 1e-5
            )
        whole = log_p if whole is None else jnp.maximum(whole, log_p)
    assert log_p.mean() >= whole.mean() - 1e-3  # the widest finds the most


def test_the_best_path_merges_repeats_and_drops_blanks():
    path = np.array([[2, 0, 0, 2, 0, 1, 1, 2], [1, 1, 1, 1, 0, 0, 2, 1]])
    logits = 9 * jax.nn.one_hot(path, 3)
    found = search.best_path(logits, length=jnp.array([8, 5]))
    np.testing.assert_array_equal(
        found, [[-1, 0, -1, -1, 0, 1, -1, -1], [1, -1, -1, -1, 0, -1, -1, -1]]
    )
    assert [read(row) for row in found] == [merged(path[0], 2), merged(path[1][:5], 2)]


def test_the_likeliest_text_need_not_be_on_the_likeliest_path():
    """Twice 0.6 blank: the empty text has 0.36, the text of one token 0.64."""
    logits = jnp.log(jnp.array([[[0.4, 0.6], [0.4, 0.6]]]))
    assert read(search.best_path(logits)[0]) == ()
    found, log_p = search.prefix_beam(logits, beam=4)
    assert read(found[0]) == (0,) and np.exp(log_p[0]) == pytest.approx(0.64)


def test_frames_beyond_the_length_change_nothing():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(3, 7, 5)), jnp.float32)
    other = logits.at[:, 4:].set(9.0)
    length = jnp.full(3, 4)
    for a, b in zip(
        search.prefix_beam(logits, length=length), search.prefix_beam(other, length=length)
    ):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(
        search.best_path(logits, length=length), search.best_path(other, length=length)
    )


def test_classes_that_cannot_be_are_in_no_text():
    """Minus infinity is no number of nats: nothing that costs 1e9 or more is mixed up with it."""
    logits = jnp.array([[[0.0, -jnp.inf, 1.0], [0.0, -jnp.inf, -1.0]], [[-3e9, 0.0, -jnp.inf]] * 2])
    found, log_p = search.prefix_beam(logits, beam=8)
    p = np.asarray(jax.nn.softmax(logits[0, :, [0, 2]].T))
    assert [read(row) for row in found] == [(0,), (1,)]
    np.testing.assert_allclose(log_p, [np.log(1 - p[0, 1] * p[1, 1]), 0], rtol=1e-5, atol=1e-6)
    costly = jnp.array([[[-3e9, -jnp.inf, 0.0], [0.0, -jnp.inf, -3e9]]])  # blank, then a token
    assert read(search.prefix_beam(costly, beam=4)[0][0]) == (0,)


def test_a_trie_knows_its_words():
    tokens, words = ('a', 'b', ' ', 'c'), ('a', 'ab', 'abba', 'cab', 'xa', '')
    made = search.trie(words, tokens)
    texts = ['', 'a', 'b', 'ab', 'abb', 'abba', 'abbac', 'cab a', 'cab  a', 'ab ', ' ab', 'ca ab']
    ids = np.full((len(texts), 7), 3, np.int32)  # behind a text there may be anything
    for row, text in zip(ids, texts):
        row[: len(text)] = [tokens.index(c) for c in text]
    found = search.spelled(made, jnp.asarray(ids), jnp.array([len(text) for text in texts]))
    known = [all(w in words[:4] for w in t.split(' ')) for t in texts]
    assert found.tolist() == known
    assert search.trie((), tokens).ends.tolist() == [False, False]
