"""The plain rule, and the marks at which an open surge is told again."""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

_Mark = TypeVar("_Mark", int, NDArray[np.int64])

NEVER: Final = 1 << 62
"""A mark that no count reaches."""
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
    """Total (or totals) at which a surge that was told at ``mark`` has doubled.

    >>> grown_mark_of(50_000)
    100000
    """
    return mark + mark
