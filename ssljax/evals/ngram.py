"""Interpolated n-grams: the trivial baselines of a language model."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


def kneser_ney(train: np.ndarray, test: np.ndarray, order: int, vocab: int) -> np.ndarray:
    """log p of each test token [N] given the `order` - 1 before it; test continues train.

    Modified Kneser-Ney, interpolated down to 1 / vocab. Chen and Goodman 1999,
    doi:10.1006/csla.1999.0128.
    """
    p = np.full(len(test), 1 / vocab)
    for grams in orders(train, test, order):
        counts = grams.counts if grams.k == order else grams.continuations
        some = np.bincount(np.minimum(counts, 5).astype(int), minlength=5)[:5]
        discount = np.array([0, *discounts(*some[1:])])[np.minimum(counts, 3).astype(int)]
        total, left = grams.by_context(counts), grams.by_context(discount)
        p = grams.interpolate(p, counts - discount, left, total)
    return np.log(p)


def witten_bell(train: np.ndarray, test: np.ndarray, order: int, vocab: int) -> np.ndarray:
    """As kneser_ney, with Witten-Bell smoothing. Witten and Bell 1991, doi:10.1109/18.87000."""
    p = np.full(len(test), 1 / vocab)
    for grams in orders(train, test, order):
        kinds = grams.by_context(grams.counts > 0)
        p = grams.interpolate(p, grams.counts, kinds, kinds + grams.by_context(grams.counts))
    return np.log(p)


def discounts(n1: int, n2: int, n3: int, n4: int) -> list[float]:
    """What counts 1, 2, and 3 or more give up, from how many grams have counts 1 to 4."""
    y = n1 / max(n1 + 2 * n2, 1)
    given_up = []
    for count, now, above in ((1, n1, n2), (2, n2, n3), (3, n3, n4)):
        value = count - (count + 1) * y * above / now if now and y else 0.5  # 0.5: no estimate
        # above 0, or an unseen token costs infinity
        given_up.append(float(np.clip(value, 0.1, count)))
    return given_up


class Grams(NamedTuple):
    """The distinct k-grams of train and test, and where test has them."""

    k: int
    counts: np.ndarray  # [M] of each gram in train
    continuations: np.ndarray  # [M] how many tokens are seen before it in train
    context: np.ndarray  # [M] the (k - 1)-gram that each begins with
    gram: np.ndarray  # [N] of each test position
    given: np.ndarray  # [N] its context
    known: np.ndarray  # [N] whether k tokens are there

    def by_context(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.context, values, minlength=self.given.max(initial=0) + 1)

    def interpolate(self, p, kept, left, total) -> np.ndarray:
        """(kept mass + left-over mass of the context * p of the shorter gram) / total."""
        known = self.known & (total[self.given] > 0)
        mass = np.where(known, total[self.given], 1)
        return np.where(known, (kept[self.gram] + left[self.given] * p) / mass, p)


def orders(train: np.ndarray, test: np.ndarray, order: int) -> Iterator[Grams]:
    """Grams of k = 1 to `order`."""
    both = np.concatenate([train, test]).astype(np.int64)
    n, size, symbols = len(train), len(both), int(both.max(initial=0)) + 1

    def number(shorter: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k-gram that ends at each place, numbered by its first token and its (k-1)-gram."""
        keys = both[: size - k + 1] + symbols * shorter[k - 1 :]
        _, where, ids = np.unique(keys, return_index=True, return_inverse=True)
        return np.concatenate([np.zeros(k - 1, np.int64), ids]), where + k - 1

    before = np.zeros(size, np.int64)  # the (k-1)-gram that ends at each place
    now, where = number(before, 1)
    for k in range(1, order + 1):
        longer, ends = number(now, k + 1) if size > k else (now, where)
        kinds = longer[k:n]
        seen = np.zeros(len(ends), bool)
        seen[kinds] = True  # (k+1)-grams of train; each tells of one token before its k-gram
        shifted = np.concatenate([[0], before[:-1]])
        place = np.arange(n, size)
        yield Grams(
            k,
            np.bincount(now[k - 1 : n], minlength=len(where)),
            np.bincount(now[ends[seen]], minlength=len(where)),
            shifted[where],
            now[place],
            shifted[place],
            place >= k - 1,
        )
        before, now, where = now, longer, ends
