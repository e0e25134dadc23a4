"""Seen over asked: alarms that a partition told, over those that its budget allows.

Both are counted in whole parts of one, and fade alike. What is told of them changes only as the
pool puts in force what it learnt, so a surge's record is a function of the records and their order.
"""

from typing import Final

import numpy as np

from streams.core.detection.block_tables import Ints
from streams.core.detection.rounding import rounded

_UNIT: Final = 1 << 16
"""Alarms are counted in such parts of one: few of them fade too."""
_ASKED_MIN: Final = 5.0
"""So many alarms have to be asked for before a ratio says anything."""


class AlarmTally:
    """Alarms told and key-days lived; a key's first day counts as it is met, the others ended."""

    def __init__(self) -> None:
        self.settled: Ints = np.zeros(2, np.int64)
        """Alarms seen, and asked for, up to the last `enter`."""
        self.running: Ints = np.zeros(2, np.int64)
        """Alarms seen, and key-days, since then."""

    def take_alarms(self, count: int) -> None:
        """So many surges were opened by the model, true ones too."""
        self.running[0] += count * _UNIT

    def take_days(self, count: int) -> None:
        """Keys lived so many days more."""
        self.running[1] += count

    def enter(self, fading: float, alarms_per_day: float) -> None:
        """Put in force what was counted; what was before is worth ``fading`` (0..1) of it."""
        asked = round(int(self.running[1]) * alarms_per_day * _UNIT)
        self.settled[...] = np.rint(self.settled * fading)
        self.settled += np.array((self.running[0], asked))
        self.running[...] = 0

    @property
    def ratio(self) -> float | None:
        """Alarms seen over those asked for, of some weeks; None: too few were asked for."""
        seen, asked = self.settled.tolist()
        return rounded(seen / asked) if asked >= _ASKED_MIN * _UNIT else None
