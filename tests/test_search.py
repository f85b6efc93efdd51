"""Readings of frames: by the best path, and by prefixes against all texts there are."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from ssljax import search

best_path = jax.jit(search.best_path)
prefix_beam = jax.jit(search.prefix_beam, static_argnames='beam')


def merged(path, blank):
    """What an alignment reads: repeats merged, then blanks dropped."""
    return tuple(token for token, _ in itertools.groupby(path) if token != blank)


@functools.cache
def readings(frames, classes):
    """All paths [N, T], all texts that they read, and which of these each path reads [N]."""
    paths = list(itertools.product(range(classes), repeat=frames))
    read = [merged(path, classes - 1) for path in paths]
    place = {text: i for i, text in enumerate(dict.fromkeys(read))}
    return np.array(paths), list(place), np.array([place[text] for text in read])


def texts(logits):
    """The probability of every text of frames [T, V + 1]."""
    paths, read, which = readings(*logits.shape)
    p = softmax(logits.astype(float), -1)
    chance = np.bincount(which, p[np.arange(len(p)), paths].prod(1))
    return dict(zip(read, chance, strict=True))


def read(row):
    return tuple(int(token) for token in row if token >= 0)


def test_a_beam_that_holds_all_prefixes_finds_the_likeliest_text():
    random = np.random.default_rng(0)
    logits = 2 * random.normal(size=(40, 5, 4)).astype('f')
    length = random.integers(1, 6, 40)
    found, log_p = prefix_beam(logits, length=length, beam=400)
    for row, value, frames, n in zip(np.asarray(found), log_p, logits, length, strict=True):
        truth = texts(frames[:n])
        best = max(truth, key=truth.get)
        assert truth[read(row)] == pytest.approx(truth[best], rel=1e-5)
        assert np.exp(value) == pytest.approx(truth[best], rel=1e-4)


def test_a_narrow_beam_gives_a_lower_bound_of_the_chance_of_its_text():
    logits = np.random.default_rng(5).normal(size=(30, 6, 4)).astype('f')
    truth, most = [texts(frames) for frames in logits], -np.inf
    for beam in (1, 2, 16):
        found, log_p = map(np.asarray, prefix_beam(logits, beam=beam))
        for row, value, known in zip(found, log_p, truth, strict=True):
            assert np.exp(value) <= known[read(row)] * (1 + 1e-5)
        most = np.maximum(most, log_p)
    assert log_p.mean() >= most.mean() - 1e-3  # the widest finds the most


def test_the_best_path_merges_repeats_and_drops_blanks():
    path = np.array([[2, 0, 0, 2, 0, 1, 1, 2], [1, 1, 1, 1, 0, 0, 2, 1]])
    found = np.asarray(best_path(9.0 * np.eye(3)[path], length=np.array([8, 5])))
    np.testing.assert_array_equal(
        found, [[-1, 0, -1, -1, 0, 1, -1, -1], [1, -1, -1, -1, 0, -1, -1, -1]]
    )
    assert [read(row) for row in found] == [merged(path[0], 2), merged(path[1][:5], 2)]


def test_the_likeliest_text_need_not_be_on_the_likeliest_path():
    """Twice 0.6 blank: the empty text has 0.36, the text of one token 0.64."""
    logits = np.log(np.array([[[0.4, 0.6], [0.4, 0.6]]], 'f'))
    assert read(np.asarray(best_path(logits))[0]) == ()
    found, log_p = map(np.asarray, prefix_beam(logits, beam=4))
    assert read(found[0]) == (0,) and np.exp(log_p[0]) == pytest.approx(0.64)


def test_frames_beyond_the_length_change_nothing():
    logits, length = np.random.default_rng(0).normal(size=(3, 7, 5)).astype('f'), np.full(3, 4)
    other = logits.copy()
    other[:, 4:] = 9.0
    for read in (best_path, prefix_beam):
        for a, b in zip(*(jax.tree.leaves(read(x, length=length)) for x in (logits, other))):
            np.testing.assert_array_equal(a, b)


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
    found = jax.jit(search.spelled)(made, ids, np.array([len(text) for text in texts]))
    known = [all(w in words[:4] for w in t.split(' ')) for t in texts]
    assert found.tolist() == known
    assert search.trie((), tokens).ends.tolist() == [False, False]
