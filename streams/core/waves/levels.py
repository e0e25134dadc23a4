"""What is usual of a cohort's total: its level, its slope, the course of its week, its mean.

A total is followed in logarithms: its level and slope (Holt 1957), moved by the mean course of its
week as soon as that is known. So a morning is no wave, and neither is a platform that grows. How
they go on from bucket to bucket is in `span.py`.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats, Ints

BUCKETS_PER_HOUR: Final = 12
WEEK_HOURS: Final = 7 * 24
_WEEK: Final = WEEK_HOURS * BUCKETS_PER_HOUR
WARM_BUCKETS: Final = 36
"""Buckets that a level must have seen before anything is said of it."""
_SPREAD_FIRST: Final = 0.08
MEAN_KEPT: Final = float(np.exp(-1 / (2 * _WEEK)))
"""Memory of the mean: that of a key's rate, so that both tell of the same past."""
_WEIGHT_MIN: Final = 0.1
_HOUR_WEIGHT: Final = 0.3
_HOUR_BUCKETS_MIN: Final = 6
ROWS: Final = ("age", "level", "slope", "variance", "hour_sum", "hour_size", "mean", "weight")
_NO_ROWS: Final[Floats] = np.zeros((len(ROWS), 0))
_NO_HOURS: Final[Floats] = np.zeros((WEEK_HOURS, 0))


class Levels:
    """Levels of a growing number of totals. ``known`` has those with enough of a past."""

    def __init__(
        self,
        rows: Floats = _NO_ROWS,
        hours: Floats = _NO_HOURS,
        hours_met: frozenset[int] = frozenset(),
    ) -> None:
        self.rows, self.hours, self.hours_met = rows, hours, hours_met

    def copy(self) -> "Levels":
        """A copy that can go its own way: tables are replaced, not set."""
        return Levels(self.rows, self.hours, self.hours_met)

    def grow(self, size: int) -> None:
        """Make room for totals below ``size``."""
        room = size - self.rows.shape[1]
        if room > 0:
            self.rows = np.concatenate((self.rows, _unborn(room)), axis=1)
            self.hours = np.concatenate((self.hours, np.full((WEEK_HOURS, room), np.nan)), axis=1)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Totals with enough of a past to be judged."""
        warm: NDArray[np.bool_] = self.rows[0] >= WARM_BUCKETS
        return warm

    @property
    def means(self) -> Floats:
        """Mean events of a plain bucket, in a rate's memory: what keys' rates add up to."""
        means: Floats = self.rows[6] / np.maximum(self.rows[7], _WEIGHT_MIN)
        return means

    def means_ahead(self, columns: Ints, totals: Floats, busy: Floats | float) -> Floats:
        """Means of these columns before each of the next buckets, as `LevelSpan` learns them.

        ``totals`` and ``busy`` have a row a bucket; 0 where not known.
        """
        count, size = totals.shape
        mine = self.rows[:, columns]
        ages = ages_of(mine[0], totals)
        rows = np.empty((count, 2, size))
        rows[0] = mine[6:]
        added = np.stack((totals, (ages[1:] > 0) * busy), axis=1)
        for place in range(1, count):
            np.multiply(rows[place - 1], MEAN_KEPT, out=rows[place])
            rows[place] += added[place - 1]
        means: Floats = rows[:, 0] / np.maximum(rows[:, 1], _WEIGHT_MIN)
        means *= ages[:-1] >= WARM_BUCKETS
        return means

    def moves(self, bucket: int, count: int) -> Floats | None:
        """How far the mean course of the week moves into buckets from this one on, a row each.

        They are of one hour. In logarithms; NaN, or None for all, where not known.
        """
        if bucket // BUCKETS_PER_HOUR % WEEK_HOURS not in self.hours_met:
            return None  # the course goes from the middle of an hour to that of the next
        at = (np.arange(bucket - 1, bucket + count) % _WEEK + 0.5) / BUCKETS_PER_HOUR - 0.5
        first = np.floor(at).astype(np.int64)
        part = (at - first)[:, None]
        course = (1.0 - part) * self.hours[first % WEEK_HOURS]
        course += part * self.hours[(first + 1) % WEEK_HOURS]
        moved: Floats = course[1:] - course[:-1]
        return moved

    def end_hour(self, hour: int) -> None:
        """Learn the course of an hour of the week from its buckets' sums."""
        age, hour_sum, hour_size = self.rows[0], self.rows[4], self.rows[5]
        enough = (hour_size >= _HOUR_BUCKETS_MIN) & (age >= _HOUR_BUCKETS_MIN)
        seen = np.log(hour_sum[enough] / hour_size[enough] + 0.5)
        before = self.hours[hour, enough]
        weight = np.where(np.isnan(before), 1.0, _HOUR_WEIGHT)
        self.hours = self.hours.copy()
        self.hours[hour, enough] = np.where(np.isnan(before), 0.0, before) * (1 - weight) + (
            weight * seen
        )
        if enough.any():
            self.hours_met |= {hour}
        hour_sum[:], hour_size[:] = 0.0, 0.0

    def accept(self, totals: Floats, chosen: NDArray[np.bool_]) -> None:
        """Take the totals of the last bucket for the usual ones."""
        self.rows = self.rows.copy()
        self.rows[1, chosen], self.rows[2, chosen] = np.log(totals[chosen] + 0.5), 0.0

    def state(self) -> tuple[list[list[float]], dict[int, list[float | None]]]:
        """All of it as plain numbers: the totals' rows, and hours of which something is known."""
        hours = {
            hour: [None if np.isnan(one) else one for one in self.hours[hour].tolist()]
            for hour in sorted(self.hours_met)
        }
        return self.rows.tolist(), hours

    def restore(self, rows: list[list[float]], hours: dict[int, list[float | None]]) -> None:
        """Put a state back."""
        self.rows = np.array(rows, dtype=np.float64).reshape(len(ROWS), -1)
        self.hours = np.full((WEEK_HOURS, self.rows.shape[1]), np.nan)
        for hour, row in hours.items():
            self.hours[hour] = np.array(row, dtype=np.float64)
        self.hours_met = frozenset(hours)


def ages_of(age: Floats, totals: Floats) -> Floats:
    """Ages before each bucket and after the last: a total is born with its first event."""
    if age.all():
        return age + np.arange(len(totals) + 1.0)[:, None]
    born = (age > 0) | (np.maximum.accumulate(totals) > 0)
    ages = np.empty((len(totals) + 1, len(age)))
    ages[0] = age
    np.cumsum(born, axis=0, out=ages[1:])
    ages[1:] += age
    return ages


def _unborn(count: int) -> Floats:
    """Rows of totals that have had no event yet."""
    rows = np.zeros((len(ROWS), count))
    rows[3] = _SPREAD_FIRST**2
    return rows
