"""What a case of a loss is, and what formulas are made of. cases.py has the cases."""

from collections.abc import Callable
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
