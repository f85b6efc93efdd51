"""Kinds of values in a config: the annotations of options, from which text is read and checked."""

import math
from typing import Annotated, Any, NamedTuple


class Named(NamedTuple):
    """A spec, dict(name=..., **options), of a function that one of our packages offers."""

    package: str  # which has offered(): name -> function
    what: str  # as messages call it
    filled: bool = False  # whether its defaults are written out, too


class Range(NamedTuple):
    """A number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False  # whether `low` itself is left out


class Table(NamedTuple):
    """A dict from names to the options of each: of evaluators, of the optimizers of turns."""

    package: str
    what: str  # as messages call a name
    of: Named | None = None  # the kind of each entry; None: the options of what the package offers
    grows: bool = False  # whether an option that is typed adds its entry


NetSpec = Annotated[Any, Named('nets', 'net')]
ViewSpec = Annotated[Any, Named('augment', 'view')]
DataSpec = Annotated[Any, Named('data', 'data', True)]

Count = Annotated[int, Range(1)]
Natural = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, open=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]  # a part of a whole, or a chance
