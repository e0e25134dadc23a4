"""The plain rule, and the marks at which an open surge is told again.

A surge is told at most five times: as it opens, three times in between, as it closes (late records
that amend it aside). What opens as a page is told as grown when its total has doubled, is 8 and is
64 times as large; what opens as a notice at 2 and 16 times, and when it becomes a page.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.core.records.texts import Ints

_Mark = TypeVar("_Mark", int, NDArray[np.int64])

NEVER: Final = 1 << 62
"""A mark that no count reaches."""
NO_MORE: Final = NEVER - 1
"""The mark of an open surge that is not told as grown any more."""
_AGAIN_PAGE: Final = 2
_AGAIN_NOTICE: Final = 1
CLOSE_SHARE: Final = 0.8
"""A rule's surge is over when the rolling total has fallen below this share of its threshold:
a total that wavers about the threshold opens one surge, not many."""


@dataclass(frozen=True, slots=True)
class Rule:
    """``threshold`` events in the rolling 24 hours open a surge; None: there is no rule."""

    threshold: int | None

    @property
    def first_mark(self) -> int:
        """Total at which a surge opens."""
        return NEVER if self.threshold is None else self.threshold

    @property
    def close_below(self) -> float:
        """Rolling total below which an open surge is over.

        >>> Rule(50_000).close_below
        40000.0
        """
        return 0.0 if self.threshold is None else CLOSE_SHARE * self.threshold


def grown_mark_of(mark: _Mark) -> _Mark:
    """Total (or totals) at which a surge that opened at ``mark`` has doubled.

    >>> grown_mark_of(50_000)
    100000
    """
    return mark + mark


def again_of(*, is_page: bool) -> int:
    """How often a surge that opens now may be told as grown after it has doubled."""
    return _AGAIN_PAGE if is_page else _AGAIN_NOTICE


def next_mark_of(mark: int, again: int) -> tuple[int, int]:
    """Total at which a surge, told as grown at ``mark``, is told so next, and how often after that.

    >>> next_mark_of(100_000, 2), next_mark_of(400_000, 1)
    ((400000, 1), (3200000, 0))
    >>> next_mark_of(3_200_000, 0) == (NO_MORE, 0)
    True
    """
    return (mark << (4 - again), again - 1) if again else (NO_MORE, 0)


def next_marks_of(marks: Ints, again: Ints) -> tuple[Ints, Ints]:
    """`next_mark_of` each."""
    more = again > 0
    return np.where(more, marks << (4 - again), NO_MORE), again - more
