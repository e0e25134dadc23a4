"""The wave factors of closed buckets by cohort, and what they add to the exposure of keys.

While no wave is told every factor is 1, and nothing is kept. A wave's factors are kept until a day
after its end; what is older counts 1.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.block_tables import FadingPowers, Floats, Ints
from streams.core.buckets import WINDOW_BUCKETS
from streams.core.cohorts import COHORTS_MAX, Votes

FACTOR_MIN: Final = 0.1
FACTOR_MAX: Final = 100.0
_WIDTH: Final = COHORTS_MAX + 1


class WaveFactors:
    """Factors of one series' cohorts. ``votes`` know the cohort of each slot."""

    def __init__(self, votes: Votes) -> None:
        self._votes = votes
        self._powers: FadingPowers | None = None
        self._first = 0
        self._rows: list[Floats] = []
        self._sums: list[Floats] = []  # before each of the rows: three fading sums of factor - 1
        self._last = -1
        self._table: Floats | None = None
        self._sum_table: Floats | None = None

    def use(self, powers: FadingPowers) -> None:
        """Fade as the detector's windows do."""
        self._powers = powers

    @property
    def are_plain(self) -> bool:
        """Whether every factor is 1."""
        return not self._rows

    def close(self, bucket: int, factors: Floats | None) -> None:
        """Take the factors of a bucket that closed, by cohort; None: 1, there is no wave."""
        self._table = self._sum_table = None
        if factors is None:
            if self._rows and bucket - self._last > WINDOW_BUCKETS:
                self._rows, self._sums = [], []
            if not self._rows:
                return
            row = np.ones(_WIDTH)
        else:
            row = np.ones(_WIDTH)
            row[: len(factors)] = factors
            self._last = bucket
        if not self._rows:
            self._first = bucket
            self._sums = [np.zeros((3, _WIDTH))]
        for _ in range(self._first + len(self._rows), bucket):
            self._push(np.ones(_WIDTH))
        self._push(row)

    def open_of(self, slots: Ints, opened: Ints | int) -> Floats | None:
        """Factor of each slot's bucket: that of the last one closed if it is open; None: all 1."""
        if not self._rows:
            return None
        place = np.asarray(opened) - self._first
        if self._table is None:
            in_wave = self._last == self._first + len(self._rows) - 1
            opening = self._rows[-1] if in_wave else np.ones(_WIDTH)
            self._table = np.stack([*self._rows, opening])
        factors = self._table[np.clip(place, 0, len(self._rows)), self._votes.cohorts[slots]]
        found: Floats = np.where(place < 0, 1.0, factors)
        return found

    def more_of(self, slots: Ints, birth: Ints, opened: Ints) -> Floats | None:
        """Three rows: what the factors add to the fading sums of buckets [birth, opened).

        As in `Exposure.sums_of` for the windows; None: nothing.
        """
        if not self._rows or self._powers is None:
            return None
        if self._sum_table is None:
            self._sum_table = np.stack(self._sums)
        sums, cohorts = self._sum_table, self._votes.cohorts[slots]
        last = len(self._rows)

        def upto(buckets: Ints) -> Floats:
            place = np.clip(buckets - self._first, 0, last)
            found: Floats = sums[place, :, cohorts].T
            return found

        opened = np.broadcast_to(np.asarray(opened, dtype=np.int64), np.shape(birth))
        after = np.minimum(opened, self._first + last)
        more = upto(after) - self._faded(after - birth) * upto(birth)
        more *= self._faded(opened - after)
        return np.where(birth < after, more, 0.0)

    def row_of(self, bucket: int) -> list[float]:
        """Factors of a bucket by cohort; those of 1 at the end are left out."""
        return _trimmed(self._rows[bucket - self._first])

    @property
    def buckets(self) -> range:
        """Buckets of which factors are kept."""
        return range(self._first, self._first + len(self._rows))

    def restore(self, state: Mapping[int, list[float]], last: int) -> None:
        """Put factors back; ``last`` is the last bucket of a wave."""
        self._last = last
        for bucket in sorted(state):
            if not self._rows:
                self._first, self._sums = bucket, [np.zeros((3, _WIDTH))]
            row = np.ones(_WIDTH)
            row[: len(state[bucket])] = state[bucket]
            self._push(row)

    @property
    def last(self) -> int:
        """Last bucket of a wave."""
        return self._last

    def _push(self, row: Floats) -> None:
        assert self._powers is not None, "a detector fades them"
        self._rows.append(row)
        self._sums.append(self._powers.factors[:3] * self._sums[-1] + (row - 1.0))

    def _faded(self, buckets: Ints) -> Floats:
        assert self._powers is not None, "a detector fades them"
        return self._powers.of_gap(np.maximum(buckets, 0))[:3]


def _trimmed(row: Floats) -> list[float]:
    some: NDArray[np.int64] = np.flatnonzero(row != 1.0)
    numbers: list[float] = row[: int(some[-1]) + 1 if len(some) else 0].tolist()
    return numbers
