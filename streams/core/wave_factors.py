"""The wave factors of closed buckets by cohort, and what they add to the exposure of keys.

While no wave is told every factor is 1, and nothing is kept. A wave's factors are kept until a day
after its end; what is older counts 1. What a wave adds to a bucket is so many times what the bucket
is without it: as busy as the rhythm says of its own hour, not of the hour in which it is asked for.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.block_tables import FadingPowers, Floats, Ints
from streams.core.buckets import WINDOW_BUCKETS
from streams.core.cohorts import COHORTS_MAX, Votes
from streams.core.rhythm import DIRECTIONS, Rhythm
from streams.core.wave_levels import BUCKETS_PER_HOUR

FACTOR_MIN: Final = 0.1
FACTOR_MAX: Final = 100.0
_WIDTH: Final = COHORTS_MAX + 1
_DIRECTIONS: Final = np.arange(DIRECTIONS)


class WaveFactors:
    """Factors of one series' cohorts. ``votes`` know the cohort of each slot."""

    def __init__(self, votes: Votes) -> None:
        self._votes = votes
        self._powers: FadingPowers | None = None
        self._rhythm: Rhythm | None = None
        self._last = -1
        self._forget()

    def _forget(self) -> None:
        self._first = 0
        self._rows: list[Floats] = []
        # three fading sums of factor - 1 before each row: since its hour began, by cohort; and of
        # what that adds before each hour, by direction and cohort
        self._within: list[Floats] = [np.zeros((3, _WIDTH))]
        self._hours: list[Floats] = [np.zeros((DIRECTIONS, 3, _WIDTH))]
        self._busy: list[Floats] = []  # of each hour, by direction
        self._table: Floats | None = None
        self._sum_tables: tuple[Floats, Floats, Floats] | None = None

    def use(self, powers: FadingPowers, rhythm: Rhythm | None) -> None:
        """Fade as the detector's windows do, and be as busy as its keys; None: always the same."""
        self._powers, self._rhythm = powers, rhythm

    @property
    def are_plain(self) -> bool:
        """Whether every factor is 1."""
        return not self._rows

    def close(self, bucket: int, factors: Floats | None) -> None:
        """Take the factors of a bucket that closed, by cohort; None: 1, there is no wave."""
        self._table = self._sum_tables = None
        if factors is None:
            if self._rows and bucket - self._last > WINDOW_BUCKETS:
                self._forget()
            if not self._rows:
                return
            row = np.ones(_WIDTH)
        else:
            row = np.ones(_WIDTH)
            row[: len(factors)] = factors
            self._last = bucket
        if not self._rows:
            self._first = bucket
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

    def more_of(self, slots: Ints, direction: Ints, birth: Ints, opened: Ints) -> Floats | None:
        """Three rows: what the factors add to the fading sums of buckets [birth, opened).

        As in `Exposure.sums_of` for the windows, of keys that wake in this ``direction``; None:
        nothing.
        """
        if not self._rows or self._powers is None:
            return None
        opened = np.broadcast_to(np.asarray(opened, dtype=np.int64), np.shape(birth))
        after = np.minimum(opened, self._first + len(self._rows))
        cohorts = self._votes.cohorts[slots]
        more = self._upto(after, direction, cohorts)
        more -= self._faded(after - birth) * self._upto(birth, direction, cohorts)
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
                self._first = bucket
            row = np.ones(_WIDTH)
            row[: len(state[bucket])] = state[bucket]
            self._push(row)

    @property
    def last(self) -> int:
        """Last bucket of a wave."""
        return self._last

    def _upto(self, buckets: Ints, direction: Ints, cohorts: NDArray[np.uint8]) -> Floats:
        """Three rows: what the factors add before each of these buckets, faded up to it."""
        if self._sum_tables is None:
            tables = self._within, self._hours, self._busy
            self._sum_tables = np.stack(tables[0]), np.stack(tables[1]), np.stack(tables[2])
        within, hours, busy = self._sum_tables
        at = np.clip(buckets, self._first, self._first + len(self._rows))
        hour, place = np.divmod(at, BUCKETS_PER_HOUR)
        hour -= self._first // BUCKETS_PER_HOUR
        found: Floats = within[at - self._first, :, cohorts].T
        found *= busy[np.minimum(hour, len(busy) - 1), direction]
        found += self._faded(place) * hours[hour, direction, :, cohorts].T
        return found

    def _push(self, row: Floats) -> None:
        assert self._powers is not None, "a detector fades them"
        bucket, kept = self._first + len(self._rows), self._powers.factors[:3]
        if not self._rows or bucket % BUCKETS_PER_HOUR == 0:
            self._busy.append(self._busy_in(bucket))
        self._rows.append(row)
        within = kept * self._within[-1] + (row - 1.0)
        if (bucket + 1) % BUCKETS_PER_HOUR == 0:
            of_hour = within * self._busy[-1][:, None, None]
            self._hours.append(kept**BUCKETS_PER_HOUR * self._hours[-1] + of_hour)
            within = np.zeros_like(within)
        self._within.append(within)

    def _busy_in(self, bucket: int) -> Floats:
        """How busy a bucket usually is, by direction."""
        if self._rhythm is None:
            return np.ones(DIRECTIONS)
        return self._rhythm.open_of(_DIRECTIONS, np.full(DIRECTIONS, bucket))

    def _faded(self, buckets: Ints) -> Floats:
        assert self._powers is not None, "a detector fades them"
        return self._powers.of_gap(np.maximum(buckets, 0))[:3]


def _trimmed(row: Floats) -> list[float]:
    some: NDArray[np.int64] = np.flatnonzero(row != 1.0)
    numbers: list[float] = row[: int(some[-1]) + 1 if len(some) else 0].tolist()
    return numbers
