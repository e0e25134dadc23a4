"""The wave factors of closed buckets by cohort, and what they add to the exposure of keys.

While no wave is told every factor is 1, and nothing is kept. A wave's factors are kept until a day
after its end; what is older counts 1. What a wave adds to a bucket is so many times what the bucket
is without it: as busy as the rhythm says of its own hour, not of the hour in which it is asked for.

Few events say little of when a key's audience wakes, and in a wave one that is taken to sleep would
stand out. So while it lasts, buckets of keys with few events are as busy as their cohort's.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.cohorts import COHORTS_MAX, Votes
from streams.core.detection.rhythm import DIRECTIONS, Rhythm
from streams.core.time.buckets import WINDOW_BUCKETS
from streams.core.waves.levels import BUCKETS_PER_HOUR

FACTOR_MIN: Final = 0.1
FACTOR_MAX: Final = 100.0
_WIDTH: Final = COHORTS_MAX + 1
_DIRECTIONS: Final = np.arange(DIRECTIONS)
_FEW_EVENTS: Final = 200.0
"""A key with fewer events in the rate's memory may be taken to wake when it sleeps."""


class Lifted(NamedTuple):
    """Keys that a wave may lift: by slot, when they wake, and how many events taught their rate."""

    slots: Ints
    direction: Ints
    birth: Ints
    rate_count: Floats

    @property
    def are_few(self) -> NDArray[np.bool_]:
        """Which have so few events that they are as busy as their cohort."""
        few: NDArray[np.bool_] = self.rate_count < _FEW_EVENTS
        return few


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
        # of keys with few events: how busy their cohorts are, and three fading sums of that times
        # the factor, and of what their own direction says instead
        self._busy_rows: list[Floats] = []
        self._by_cohort: list[Floats] = [np.zeros((3, _WIDTH))]
        self._by_direction: list[Floats] = [np.zeros((3, DIRECTIONS))]
        self._tables: tuple[Floats, Floats] | None = None
        self._sum_tables: tuple[Floats, ...] | None = None

    def use(self, powers: FadingPowers, rhythm: Rhythm | None) -> None:
        """Fade as the detector's windows do, and be as busy as its keys; None: always the same."""
        self._powers, self._rhythm = powers, rhythm

    @property
    def are_plain(self) -> bool:
        """Whether every factor is 1."""
        return not self._rows

    def close(self, bucket: int, factors: Floats | None, busy: Floats | None = None) -> None:
        """Take the factors of a bucket that closed, by cohort; None: 1, there is no wave.

        ``busy`` is how busy a bucket of each cohort usually is in this hour; None: like any other.
        """
        self._tables = self._sum_tables = None
        if factors is None:
            if self._rows and bucket - self._last > WINDOW_BUCKETS:
                self._forget()
            if not self._rows:
                return
        else:
            self._last = bucket
        if not self._rows:
            self._first = bucket
        for _ in range(self._first + len(self._rows), bucket):
            self._push(_wide(None), _wide(None))
        self._push(_wide(factors), _wide(busy))

    def open_of(self, keys: Lifted, opened: Ints | int, exposure: Floats | float) -> Floats | None:
        """Factor of each key's bucket: that of the last one closed if it is open; None: all 1.

        ``exposure`` is how busy the bucket is without it.
        """
        if not self._rows:
            return None
        place = np.asarray(opened) - self._first
        if self._tables is None:
            in_wave = self._last == self._first + len(self._rows) - 1
            opening, busy = self._rows[-1], self._busy_rows[-1]
            if not in_wave:
                opening, busy = _wide(None), np.zeros(_WIDTH)
            self._tables = np.stack([*self._rows, opening]), np.stack([*self._busy_rows, busy])
        at = np.clip(place, 0, len(self._rows)), self._votes.cohorts[keys.slots]
        factors, busy = (table[at] for table in self._tables)
        factors = np.where(keys.are_few & (busy > 0.0), factors * busy / exposure, factors)
        found: Floats = np.where(place < 0, 1.0, factors)
        return found

    def more_of(self, keys: Lifted, opened: Ints) -> Floats | None:
        """Three rows: what the factors add to the fading sums of buckets [birth, opened).

        As in `Exposure.sums_of` for the windows; None: nothing.
        """
        if not self._rows or self._powers is None:
            return None
        birth = keys.birth
        opened = np.broadcast_to(np.asarray(opened, dtype=np.int64), np.shape(birth))
        after = np.minimum(opened, self._first + len(self._rows))
        more = self._upto(after, keys)
        more -= self._faded(after - birth) * self._upto(birth, keys)
        more *= self._faded(opened - after)
        return np.where(birth < after, more, 0.0)

    def row_of(self, bucket: int) -> list[list[float]]:
        """Factors of a bucket by cohort, and how busy it is; those of 1 at the end are left out."""
        row, busy = (rows[bucket - self._first] for rows in (self._rows, self._busy_rows))
        return [_trimmed(row), _trimmed(busy) if busy.any() else []]

    @property
    def buckets(self) -> range:
        """Buckets of which factors are kept."""
        return range(self._first, self._first + len(self._rows))

    def restore(self, state: Mapping[int, list[list[float]]], last: int) -> None:
        """Put back what `row_of` gave; ``last`` is the last bucket of a wave."""
        self._last = last
        for bucket in sorted(state):
            if not self._rows:
                self._first = bucket
            factors, busy = state[bucket]
            self._push(_wide(factors), _wide(busy))

    @property
    def last(self) -> int:
        """Last bucket of a wave."""
        return self._last

    def _upto(self, buckets: Ints, keys: Lifted) -> Floats:
        """Three rows: what the factors add before each of these buckets, faded up to it."""
        if self._sum_tables is None:
            tables = self._within, self._hours, self._busy, self._by_cohort, self._by_direction
            self._sum_tables = tuple(np.stack(table) for table in tables)
        within, hours, busy, by_cohort, by_direction = self._sum_tables
        direction, cohorts = keys.direction, self._votes.cohorts[keys.slots]
        at = np.clip(buckets, self._first, self._first + len(self._rows))
        hour, place = np.divmod(at, BUCKETS_PER_HOUR)
        hour -= self._first // BUCKETS_PER_HOUR
        at -= self._first
        found: Floats = within[at, :, cohorts].T
        found *= busy[np.minimum(hour, len(busy) - 1), direction]
        found += self._faded(place) * hours[hour, direction, :, cohorts].T
        few = keys.are_few.nonzero()[0]
        if len(few):
            at = at[few]
            found[:, few] = (by_cohort[at, :, cohorts[few]] - by_direction[at, :, direction[few]]).T
        return found

    def _push(self, row: Floats, busy_row: Floats) -> None:
        """Add a bucket's factors, and how busy its cohorts are; all factors 1: there is no wave."""
        assert self._powers is not None, "a detector fades them"
        bucket, kept = self._first + len(self._rows), self._powers.factors[:3]
        if not self._rows or bucket % BUCKETS_PER_HOUR == 0:
            self._busy.append(self._busy_in(bucket))
        in_wave = bool((row != 1.0).any())
        self._rows.append(row)
        self._busy_rows.append(busy_row * in_wave)
        within = kept * self._within[-1] + (row - 1.0)
        self._by_cohort.append(kept * self._by_cohort[-1] + row * self._busy_rows[-1])
        self._by_direction.append(kept * self._by_direction[-1] + self._busy[-1] * in_wave)
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


def _wide(row: Floats | list[float] | None) -> Floats:
    """With 1 for all further cohorts."""
    wide = np.ones(_WIDTH)
    if row is not None:
        wide[: len(row)] = row
    return wide


def _trimmed(row: Floats) -> list[float]:
    some: NDArray[np.int64] = np.flatnonzero(row != 1.0)
    numbers: list[float] = row[: int(some[-1]) + 1 if len(some) else 0].tolist()
    return numbers
