"""What a loss is given: arrays of shapes that fit together, checked when a program is traced."""

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike as _Array

# what a loss is given: an array, a number, or lists of these, three deep at most
_Rows = _Array | Sequence[_Array]
_Sheets = _Rows | Sequence[Sequence[_Array]]
ArrayLike = _Sheets | Sequence[Sequence[Sequence[_Array]]]


def arrays(*specs: str, at_least: dict[str, int] = {}, **given: Any) -> list[jax.Array]:
    """The arguments of a loss as jax arrays, if their shapes are those of the specs.

    A spec names each axis: 'B D'. A letter is one size in all arguments of a call; a number is that
    size; '...' is any number of axes, the same in all arguments. '-> B D' is a shape to which the
    argument broadcasts, and is returned as. Dtypes stay as they are, and None stays None.

        z1, z2 = arrays('B D', z1=z1, z2=z2)  # one spec for all
        logits, labels = arrays('... K', '...', logits=logits, labels=labels)
        x, weight = arrays('B ...', '-> B', x=x, weight=weight)  # a number, or one for each row

    Else: a ValueError of one line, which begins with the name of the function that called.

    specs: one for all arguments, or one for each.
    at_least: the least size of a letter's axis.
    given: the arguments by name: lists, NumPy or jax arrays, numbers, None.
    """
    specs = specs * len(given) if len(specs) == 1 else specs
    # None stays None, which the type of the result does not say: it would say so of all arguments
    values: dict[str, Any]
    values = {name: None if x is None else jnp.asarray(x) for name, x in given.items()}
    call = _Call(sys._getframe(1).f_code.co_name, values, dict(zip(given, specs, strict=True)))
    for name, x in values.items():
        if x is not None and not call.specs[name].startswith('->'):
            call.bind(name, at_least)
    return [x if x is None else call.spread(name) for name, x in values.items()]  # type: ignore[misc]


class _Call:
    """What the axes of one call are bound to."""

    def __init__(self, loss: str, values: dict, specs: dict):
        self.loss, self.values, self.specs = loss, values, specs
        self.sizes: dict[str, tuple[Any, str]] = {}  # of a letter, and the argument that has it

    def bind(self, name: str, at_least: dict[str, int]) -> None:
        letters = self.specs[name].split()
        sizes = _apart(letters, self.values[name].shape)
        if sizes is None:
            self.refuse(name)
        for letter, size in zip(letters, sizes or ()):
            if letter.isdigit():
                first, other = int(letter), name
            else:
                first, other = self.sizes.setdefault(letter, (size, name))
            if size != first:
                self.refuse(name, other)
            if letter in at_least and size < at_least[letter]:
                self.refuse(name, more=f', {letter} at least {at_least[letter]}')

    def spread(self, name: str) -> jax.Array:
        x = self.values[name]
        if not self.specs[name].startswith('->'):
            return x
        shape: tuple[int, ...] = ()
        for letter in self.specs[name].split()[1:]:
            size = int(letter) if letter.isdigit() else self.sizes[letter][0]
            shape += size if isinstance(size, tuple) else (size,)
        try:
            return jnp.broadcast_to(x, shape)
        except ValueError:
            self.refuse(name, more=f', which is {_written(shape)}')

    def refuse(self, name: str, other: str | None = None, more: str = '') -> NoReturn:
        is_what = f'{self.loss}: {name} is {_written(self.values[name].shape)}'
        asked = _asked(self.specs[name])
        if other in (None, name):
            raise ValueError(f'{is_what}; it must be {asked}{more}') from None
        is_what += f', and {other} is {_written(self.values[other].shape)}'
        if asked == _asked(self.specs[other]):
            raise ValueError(f'{is_what}; both must be {asked}')
        raise ValueError(f'{is_what}; they must be {asked} and {_asked(self.specs[other])}')


def _apart(letters: list[str], shape: tuple[int, ...]) -> Sequence | None:
    """The sizes of the letters, a tuple of sizes for '...'; None where their number differs."""
    if '...' not in letters:
        return shape if len(letters) == len(shape) else None
    before = letters.index('...')
    end = len(shape) - (len(letters) - before - 1)
    return (*shape[:before], shape[before:end], *shape[end:]) if end >= before else None


def _asked(spec: str) -> str:
    letters = spec.removeprefix('->').split()
    return ('broadcast to ' if spec.startswith('->') else '') + f'[{", ".join(letters)}]'


def _written(shape: tuple[int, ...]) -> str:
    return f'[{", ".join(map(str, shape))}]'
