"""What is usual of a cohort's total, bucket after bucket, and how far the total is above it.

A total is followed in logarithms: its level and slope (Holt 1957), moved by the mean course of its
week as soon as that is known. So a morning is no wave, and neither is a platform that grows. What
is far above is learnt from slowly: a wave must not become the usual.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.block_tables import Floats

BUCKETS_PER_HOUR: Final = 12
WEEK_HOURS: Final = 7 * 24
_WEEK: Final = WEEK_HOURS * BUCKETS_PER_HOUR
WARM_BUCKETS: Final = 36
"""Buckets that a level must have seen before anything is said of it."""
_LEVEL: Final = 1 / 12
_SLOPE: Final = 1 / 24
_SLOPE_LEFT: Final = 0.98
_SPREAD: Final = 1 / 144
_SPREAD_FIRST: Final = 0.08
_SPREAD_MIN: Final = 0.02
_LIFTED_LEVEL: Final = 1 / 1000
_FALLEN: Final = -0.5
_FALLEN_SIGMAS: Final = -3.0
_FALLEN_LEVEL: Final = 1 / 144
"""An outage is not the usual either, but a lower level that lasts is within a day."""
_CLIP: Final = 2.0
_HOUR_WEIGHT: Final = 0.3
_HOUR_BUCKETS_MIN: Final = 6
_ROWS: Final = ("age", "level", "slope", "variance", "hour_sum", "hour_size", "mean", "weight")
_MEAN_KEPT: Final = float(np.exp(-1 / (2 * _WEEK)))
"""Memory of the mean: that of a key's rate, so that both tell of the same past."""


class Above(NamedTuple):
    """How far each total is above what is usual, in logarithms, and in standard deviations."""

    expected: Floats
    excess: Floats
    sigmas: Floats
    by_week: NDArray[np.bool_]
    """Whether what was expected knows the course of the week."""
    forecast: Floats
    """Logarithm of what was expected, without the slope."""


class Levels:
    """Levels of a growing number of totals. ``known`` has those with enough of a past."""

    def __init__(self) -> None:
        self._rows: Floats = np.zeros((len(_ROWS), 0))
        self._hours: Floats = np.zeros((WEEK_HOURS, 0))

    def copy(self) -> "Levels":
        """A copy that can go its own way."""
        other = Levels()
        other._rows, other._hours = self._rows.copy(), self._hours  # hours are replaced, not set
        return other

    def grow(self, size: int) -> None:
        """Make room for totals below ``size``."""
        room = size - self._rows.shape[1]
        if room > 0:
            self._rows = np.concatenate((self._rows, _unborn(room)), axis=1)
            self._hours = np.concatenate((self._hours, np.full((WEEK_HOURS, room), np.nan)), axis=1)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Totals with enough of a past to be judged."""
        warm: NDArray[np.bool_] = self._rows[0] >= WARM_BUCKETS
        return warm

    @property
    def means(self) -> Floats:
        """Mean events of a plain bucket, in a rate's memory: what keys' rates add up to."""
        means: Floats = self._rows[6] / np.maximum(self._rows[7], 0.1)
        return means

    def above(self, bucket: int, totals: Floats) -> Above:
        """How far the totals of a bucket are above what was usual before it."""
        moved = self._course(bucket) - self._course(bucket - 1)
        by_week = ~np.isnan(moved)
        forecast = self._rows[1] + np.where(by_week, moved, 0.0)
        expected = np.exp(forecast + self._rows[2]) - 0.5
        np.maximum(expected, 0.0, out=expected)
        excess = np.log((totals + 0.5) / (expected + 0.5))
        # also of totals that are not named yet, so that naming them early leaves no trace
        excess[(self._rows[0] == 0) & (totals == 0)] = 0.0
        sigmas = excess / np.sqrt(self._rows[3] + 1.0 / (expected + 0.5))
        return Above(expected, excess, sigmas, by_week, forecast)

    def learn(
        self,
        bucket: int,
        totals: Floats,
        above: Above,
        lifted: NDArray[np.bool_],
        busy: Floats | float = 1.0,
    ) -> None:
        """Learn the totals of a bucket; of those that a wave has ``lifted`` next to nothing.

        ``busy``: how busy the keys' own rates take it to be, for the mean.
        """
        age, level, slope, variance, hour_sum, hour_size, mean, weight = self._rows
        fallen = (above.excess < _FALLEN) & (above.sigmas < _FALLEN_SIGMAS)
        forecast = above.forecast + np.where(lifted | fallen, 0.0, slope)
        spread = np.sqrt(variance + 1.0 / (above.expected + 0.5))
        held = np.clip(above.excess, -_CLIP * spread, _CLIP * spread)
        fresh = age == 0
        rate = np.maximum(_LEVEL, 1.0 / (age + 1.0))
        rate = np.where(lifted, _LIFTED_LEVEL, np.where(fallen, _FALLEN_LEVEL, rate))
        level[:] = np.where(fresh, np.log(totals + 0.5), forecast + rate * held)
        calm = ~(lifted | fallen)
        np.copyto(slope, _SLOPE_LEFT * slope + _LEVEL * _SLOPE * held * ~fresh, where=calm)
        square = np.minimum(above.excess**2, 9.0 * spread**2) - 1.0 / (above.expected + 0.5)
        variance += _SPREAD * (square - variance) * (calm & (age >= 2))
        np.maximum(variance, _SPREAD_MIN**2, out=variance)
        hour_sum += totals * calm
        hour_size += calm
        np.copyto(mean, _MEAN_KEPT * mean + totals, where=~lifted)
        np.copyto(weight, _MEAN_KEPT * weight + busy, where=~lifted)
        born = (age > 0) | (totals > 0)
        if not born.all():
            self._rows[:, ~born] = _unborn(int(np.count_nonzero(~born)))
        age += born
        if (bucket + 1) % BUCKETS_PER_HOUR == 0:
            self._end_hour(bucket // BUCKETS_PER_HOUR % WEEK_HOURS)

    def accept(self, totals: Floats, chosen: NDArray[np.bool_]) -> None:
        """Take the totals of the last bucket for the usual ones."""
        self._rows[1, chosen], self._rows[2, chosen] = np.log(totals[chosen] + 0.5), 0.0

    def state(self) -> list[list[list[float | None]]]:
        """All of it as plain numbers, None where not known."""
        return [
            [[None if np.isnan(one) else one for one in row] for row in table.tolist()]
            for table in (self._rows, self._hours)
        ]

    def restore(self, state: list[list[list[float | None]]]) -> None:
        """Put a state back."""
        rows, hours = (np.array(table, dtype=np.float64) for table in state)
        self._rows, self._hours = rows.reshape(len(_ROWS), -1), hours.reshape(WEEK_HOURS, -1)

    def _course(self, bucket: int) -> Floats:
        """Logarithm of the mean course of the week in a bucket, NaN where it is not known."""
        at = (bucket % _WEEK + 0.5) / BUCKETS_PER_HOUR - 0.5
        hour = int(np.floor(at))
        part = at - hour
        first, second = self._hours[hour % WEEK_HOURS], self._hours[(hour + 1) % WEEK_HOURS]
        course: Floats = (1.0 - part) * first + part * second
        return course

    def _end_hour(self, hour: int) -> None:
        hour_sum, hour_size = self._rows[4], self._rows[5]
        enough = (hour_size >= _HOUR_BUCKETS_MIN) & (self._rows[0] >= _HOUR_BUCKETS_MIN)
        seen = np.log(hour_sum[enough] / hour_size[enough] + 0.5)
        before = self._hours[hour, enough]
        weight = np.where(np.isnan(before), 1.0, _HOUR_WEIGHT)
        self._hours = self._hours.copy()
        self._hours[hour, enough] = np.where(np.isnan(before), 0.0, before) * (1 - weight) + (
            weight * seen
        )
        hour_sum[:], hour_size[:] = 0.0, 0.0


def _unborn(count: int) -> Floats:
    """Rows of totals that have had no event yet."""
    rows = np.zeros((len(_ROWS), count))
    rows[3] = _SPREAD_FIRST**2
    return rows
