"""What a case of a loss is, and what formulas are made of. cases.py has the cases."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np


class Case(NamedTuple):
    name: str
    loss: Callable
    paper: Callable
    draw: Callable  # (random, n) -> arguments
    options: dict = {}
    moves: tuple = (0, 1)  # arguments that a gradient reaches
    still: tuple = ()  # real arguments that it must not reach
    of_set: bool = False
    meets: bool = True  # of a set: whether a gradient by one row reaches the value of another
    constants: Callable = lambda *args: {}  # what the formula holds fixed where it is derived


# ---- what the formulas are made of


def unit(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_sum_exp(values):
    values = np.array(values)
    return values.max() + np.log(np.exp(values - values.max()).sum())


# ---- arguments


def normal(*shapes, scale=1.0):
    """shapes without the batch -> a draw of that many arrays."""
    return lambda random, n: tuple(scale * random.normal(size=(n, *shape)) for shape in shapes)


two = normal((5,), (5,))


def on(random, n):
    """Which rows count: most, and at least two."""
    return random.permutation(n) < n - n // 3


def padded(name, loss, paper, draw, options={}, *, square=(), whole=(), **more):
    """A case of a set with a last argument, the rows that count; the paper knows of those alone.

    square: arguments that have the batch on two axes. whole: those of which all rows count.
    """

    def kept(*args, **options):
        where = args[-1]
        args = [a if i in whole else a[where] for i, a in enumerate(args[:-1])]
        args = [a[:, where] if i in square else a for i, a in enumerate(args)]
        value = np.asarray(paper(*args, **options))
        if not value.ndim:
            return value
        rows = np.zeros((len(where), *value.shape[1:]))
        rows[where] = value
        return rows

    def drawn(random, n):
        return *draw(random, n), on(random, n)

    given = partial(masked, loss)
    return Case(name, given, kept, drawn, options, of_set=True, **more)


def masked(loss, *args, **options):
    return loss(*args[:-1], where=args[-1], **options)
