"""Kinds of values in a config: the annotations of options, from which text is read and checked."""

import math
from typing import Annotated, Any, Literal, NamedTuple


class Named(NamedTuple):
    """A spec, dict(name=..., **options), of a function that one of our packages offers."""

    package: str  # which has offered(): name -> function
    what: str  # as messages call it
    filled: bool = False  # whether its defaults are written out, too
    offered: str = 'offered'  # the function of the package that says what there is


class Range(NamedTuple):
    """A number from `low` to `high`."""

    low: float = -math.inf
    high: float = math.inf
    open: bool = False  # whether `low` itself is left out
    below: bool = False  # whether `high` itself is left out
    odd: bool = False  # whether it is odd

    def __str__(self) -> str:
        """'above 0 to 1': as tables of options have it."""
        low = f'{"above" if self.open else "from"} {self.low:g}' if self.low > -math.inf else ''
        high = f'{"below" if self.below else "to"} {self.high:g}' if self.high < math.inf else ''
        return ' '.join(part for part in (low, high, 'odd' if self.odd else '') if part)

    def demand(self) -> str:
        """'must be above 0 and at most 1': as a mistake has it."""
        low = f'{"above" if self.open else "at least"} {self.low:g}' if self.low > -math.inf else ''
        high = f'{"below" if self.below else "at most"} {self.high:g}'
        parts = (low, high if self.high < math.inf else '', 'odd' if self.odd else '')
        return f'must be {" and ".join(part for part in parts if part)}'

    def holds(self, value: float) -> bool:
        low = value > self.low if self.open else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return low and high and not (self.odd and value % 2 == 0)


class Interval(NamedTuple):
    """A pair (first, second) with low <= first <= second <= high."""

    low: float
    high: float

    def __str__(self) -> str:
        return f'from {self.low:g} to {self.high:g}, in order'

    def demand(self) -> str:
        return f'must be a pair (a, b) with {self.low:g} <= a <= b <= {self.high:g}'

    def holds(self, value: tuple[float, float]) -> bool:
        return self.low <= value[0] <= value[1] <= self.high


class Least(NamedTuple):
    """A tuple of so many members or more."""

    count: int

    def __str__(self) -> str:
        return f'of {self.count} or more'

    def demand(self) -> str:
        return f'must have {self.count} member{"s" * (self.count > 1)} or more'

    def holds(self, value: tuple) -> bool:
        return len(value) >= self.count


class Pattern(NamedTuple):
    """A word that is a regular expression."""

    def __str__(self) -> str:
        return 'a regular expression'


class Apart(NamedTuple):
    """An option whose value may not be that of the others, of the same function."""

    others: tuple[str, ...]

    def __str__(self) -> str:
        return f'other than {" and ".join(self.others)}'


class Elsewhere(NamedTuple):
    """An option about another source than that of the run."""

    def __str__(self) -> str:
        return 'of another source'


class Rows(NamedTuple):
    """A run with so many rows, or more, in each micro-batch."""

    count: int


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
Odd = Annotated[int, Range(1, odd=True)]
Positive = Annotated[float, Range(0, open=True)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]  # a part of a whole, or a chance
Fraction = Annotated[float, Range(0, 1, open=True)]  # a part that is not nothing
Part = Annotated[float, Range(0, 1, open=True, below=True)]  # neither nothing nor the whole
Decay = Annotated[float, Range(0, 1, below=True)]  # of an average, or the rate of a dropout
Counts = Annotated[tuple[Count, ...], Least(1)]  # widths of layers, say
Rates = Annotated[tuple[Positive, ...], Least(1)]
Regex = Annotated[str, Pattern()]
Dtype = Literal['float32', 'bfloat16', 'float16']
SplitName = Literal['train', 'validation', 'test']
OtherSplit = Annotated[SplitName, Elsewhere()]
ValidationSplit = Annotated[Literal['train', 'validation', 'test', 'none'], Apart(('train',))]
TestSplit = Annotated[SplitName, Apart(('train', 'validation', 'bank'))]  # where they are options
