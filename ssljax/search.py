"""Readings of frames whose classes are tokens and, last, the blank: the best path, prefix search;
and whether a reading is words of a dictionary.

>>> print(best_path(jnp.log(jnp.array([[[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]]))))
[[ 0 -1  0]]
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NEVER = -jnp.inf  # the logarithm of zero


def best_path(logits: jax.Array, *, length: jax.Array | None = None) -> jax.Array:
    """The likeliest class of each frame; repeats are merged, then blanks are dropped.

    Graves et al. 2006 (ICML), section 3.2. It is the likeliest alignment, and need not be that of
    the likeliest text.
    logits [B, T, V + 1], length int [B]: frames that count, None: all -> tokens int [B, T], each in
    its first frame, -1 in all others.
    """
    B, T, classes = logits.shape
    length = jnp.full(B, T) if length is None else length
    best = logits.argmax(-1).astype(jnp.int32)
    before = jnp.pad(best, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]
    read = (best != before) & (best != classes - 1) & (jnp.arange(T) < length[:, None])
    return jnp.where(read, best, -1)


def prefix_beam(
    logits: jax.Array, *, length: jax.Array | None = None, beam: int = 8
) -> tuple[jax.Array, jax.Array]:
    """The likeliest of the texts that a search by prefixes keeps, and its log probability.

    Graves et al. 2006 (ICML), section 3.2; Hannun et al. 2014, arXiv:1408.2873, algorithm 1. The
    chances of alignments that read as the same prefix are added, apart for those that end in the
    blank. Of all prefixes, the `beam` likeliest are kept from frame to frame: with as many as there
    are, the answer is exact.
    logits [B, T, V + 1], length int [B] -> tokens int [B, T], from the left, -1 behind; [B].
    """
    B, T, _ = logits.shape
    length = jnp.full(B, T) if length is None else length
    log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
    return jax.vmap(lambda p, n: _beam(p, n, beam))(log_p, length)


def _beam(log_p, length, K):
    """Of one row: log_p [T, V + 1] -> tokens [T], log p."""
    T, V = log_p.shape[0], log_p.shape[1] - 1
    places = jnp.arange(T)
    # at first there is the empty prefix; the other places of the beam are taken by nothing
    nothing = jnp.full(K, NEVER)
    start = (jnp.full((K, T), -1), jnp.zeros(K, jnp.int32), nothing.at[0].set(0.0), nothing)

    def frame(state, now):
        t, p = now
        prefix, size, blank, token = state  # [K, T], [K], log p of those ending in either [K]
        last = prefix[jnp.arange(K), size - 1]  # of the empty one: -1, from the far end
        total = jnp.logaddexp(blank, token)
        taken = total > NEVER
        # a prefix stays what it is by the blank, or by its last token again
        stays_blank = total + p[V]
        stays_token = jnp.where(size > 0, token + p[last], NEVER)
        # it grows by a token: by its last one only from a blank
        again = jnp.arange(V) == last[:, None]
        grows = jnp.where(again, blank[:, None], total[:, None]) + p[:V]  # [K, V]
        # where that is a prefix of the beam, its chance goes there: child j of parent i
        upto = places < size[:, None]  # [K, T]
        same = (jnp.where(upto[:, None], prefix[:, None] - prefix, 0) == 0).all(-1)  # [i, j]
        child = same & (size[:, None] + 1 == size) & taken[:, None] & taken & (size > 0)
        moved = jnp.where(child, grows[:, last], NEVER)  # [i, j], by the last token of j
        stays_token = jnp.logaddexp(stays_token, jax.nn.logsumexp(moved, 0))
        known = (child[:, :, None] & (jnp.arange(V) == last[:, None])).any(1)  # [i, V]
        grows = jnp.where(known | ~taken[:, None], NEVER, grows)
        stays_blank, stays_token = (jnp.where(taken, s, NEVER) for s in (stays_blank, stays_token))
        # the K likeliest of those that stay and those that grow
        chances = jnp.concatenate([jnp.logaddexp(stays_blank, stays_token), grows.ravel()])
        _, best = lax.top_k(chances, K)
        stays, parent = best < K, jnp.where(best < K, best, (best - K) // V)
        added = (best - K) % V
        new = prefix[parent]
        new = jnp.where(~stays[:, None] & (places == size[parent][:, None]), added[:, None], new)
        state_new = (
            new,
            size[parent] + ~stays,
            jnp.where(stays, stays_blank[parent], NEVER),
            jnp.where(stays, stays_token[parent], chances[best]),
        )
        keep = t < length
        return jax.tree.map(lambda a, b: jnp.where(keep, a, b), state_new, state), None

    (prefix, _, blank, token), _ = lax.scan(frame, start, (places, log_p))
    total = jnp.logaddexp(blank, token)
    best = total.argmax()
    return prefix[best].astype(jnp.int32), total[best]


class Trie(NamedTuple):
    """The words of a dictionary, letter by letter; state 0 is a word's beginning."""

    after: np.ndarray  # int32 [states, tokens]: the state after a token; the last state is no word
    ends: np.ndarray  # bool [states]: whether a word may end there


def trie(words: Iterable[str], tokens: Sequence[str]) -> Trie:
    """Of these words; those that have a character which is no token are left out.

    Where a blank is a token, it parts words.
    """
    place = {token: i for i, token in enumerate(tokens)}
    after, ends = [{}], [False]
    for word in words:
        if not word or not place.keys() >= set(word):
            continue
        state = 0
        for character in word:
            if place[character] not in after[state]:
                after[state][place[character]] = len(after)
                after.append({})
                ends.append(False)
            state = after[state][place[character]]
        ends[state] = True
    nowhere = len(after)
    table = np.full((nowhere + 1, len(tokens)), nowhere, np.int32)
    for state, steps in enumerate(after):
        table[state, list(steps)] = list(steps.values())
        if ' ' in place and ends[state]:
            table[state, place[' ']] = 0
    return Trie(table, np.array([*ends, False]))


def spelled(words: Trie, text: jax.Array, length: jax.Array) -> jax.Array:
    """Whether texts [B, L] are words of the dictionary, parted by blanks: bool [B].

    length [B]: so many of their tokens count. An empty text is no word.
    """
    after, ends = jnp.asarray(words.after), jnp.asarray(words.ends)

    def step(state, now):
        place, token = now
        return jnp.where(place < length, after[state, token], state), None

    state, _ = lax.scan(step, jnp.zeros_like(length), (jnp.arange(text.shape[1]), text.T))
    return ends[state]
