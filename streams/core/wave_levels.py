"""What is usual of a cohort's total, bucket after bucket, and how far the total is above it.

A total is followed in logarithms: its level and slope (Holt 1957), moved by the mean course of its
week as soon as that is known. So a morning is no wave, and neither is a platform that grows. What
is far above is learnt from slowly: a wave must not become the usual.
"""

import math
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
_SPREAD_AGE: Final = 2
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
_NO_ROWS: Final[Floats] = np.zeros((len(_ROWS), 0))
_NO_HOURS: Final[Floats] = np.zeros((WEEK_HOURS, 0))


class Above(NamedTuple):
    """How far each total is above what is usual, in logarithms, and in standard deviations."""

    expected: Floats
    excess: Floats
    sigmas: Floats
    by_week: NDArray[np.bool_] | None
    """Whether what was expected knows the course of the week; None: of no total."""
    forecast: Floats
    """Logarithm of what was expected, without the slope."""
    noise: Floats
    """Variance of chance in it."""
    spread: Floats
    """One standard deviation."""


class Levels:
    """Levels of a growing number of totals. ``known`` has those with enough of a past."""

    def __init__(self) -> None:
        self._rows, self._hours = _NO_ROWS, _NO_HOURS
        self._hours_met: frozenset[int] = frozenset()

    def copy(self) -> "Levels":
        """A copy that can go its own way: tables are replaced, not set."""
        other = Levels()
        other._rows, other._hours, other._hours_met = self._rows, self._hours, self._hours_met
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
        age, forecast, slope, variance = self._rows[:4]
        by_week = None
        here, before = self._course(bucket), self._course(bucket - 1)
        if here is not None and before is not None:
            moved = here - before
            by_week = ~np.isnan(moved)
            forecast = forecast + np.where(by_week, moved, 0.0)
        usual = np.exp(forecast + slope)
        np.maximum(usual, 0.5, out=usual)
        noise = 1.0 / usual
        excess = np.log((totals + 0.5) * noise)
        # also of totals that are not named yet, so that naming them early leaves no trace
        excess[(age == 0) & (totals == 0)] = 0.0
        spread = np.sqrt(variance + noise)
        return Above(usual - 0.5, excess, excess / spread, by_week, forecast, noise, spread)

    def learn(
        self,
        bucket: int,
        totals: Floats,
        above: Above,
        lifted: NDArray[np.bool_] | None = None,
        busy: Floats | float = 1.0,
    ) -> None:
        """Learn the totals of a bucket; of those that a wave has ``lifted`` next to nothing.

        ``busy``: how busy the keys' own rates take it to be, for the mean.
        """
        excess, spread, forecast = above.excess, above.spread, above.forecast
        fallen = (excess < _FALLEN) & (above.sigmas < _FALLEN_SIGMAS)
        odd = fallen if lifted is None else fallen | lifted
        before = self._rows
        age, _, slope, variance, hour_sum, hour_size = before[:6]
        self._rows = rows = np.empty_like(before)
        held = np.minimum(excess, _CLIP * spread)
        np.maximum(held, -_CLIP * spread, out=held)
        np.add(age, 1.0, out=rows[0])
        np.maximum(_LEVEL, 1.0 / rows[0], out=rows[1])
        rows[1] *= held
        rows[1] += slope
        rows[1] += forecast
        np.multiply(held, _LEVEL * _SLOPE, out=rows[2])
        rows[2] += _SLOPE_LEFT * slope
        square = np.minimum(excess * excess, 9.0 * (spread * spread))
        square -= above.noise
        square -= variance
        square *= age >= _SPREAD_AGE
        np.multiply(square, _SPREAD, out=rows[3])
        rows[3] += variance
        np.maximum(rows[3], _SPREAD_MIN**2, out=rows[3])
        np.add(hour_sum, totals, out=rows[4])
        np.add(hour_size, 1.0, out=rows[5])
        np.multiply(before[6:], _MEAN_KEPT, out=rows[6:])
        rows[6] += totals
        rows[7] += busy
        if odd.any():
            rows[1, fallen] = (forecast + _FALLEN_LEVEL * held)[fallen]
            if lifted is not None:
                rows[1, lifted] = (forecast + _LIFTED_LEVEL * held)[lifted]
                rows[6:, lifted] = before[6:, lifted]
            rows[2:6, odd] = before[2:6, odd]
        fresh = (age == 0).nonzero()[0]
        if len(fresh):
            rows[1, fresh], rows[2, fresh] = np.log(totals[fresh] + 0.5), 0.0
            unborn = fresh[totals[fresh] <= 0]
            rows[:, unborn] = _unborn(len(unborn))
        if (bucket + 1) % BUCKETS_PER_HOUR == 0:
            self._end_hour(bucket // BUCKETS_PER_HOUR % WEEK_HOURS)

    def accept(self, totals: Floats, chosen: NDArray[np.bool_]) -> None:
        """Take the totals of the last bucket for the usual ones."""
        self._rows = self._rows.copy()
        self._rows[1, chosen], self._rows[2, chosen] = np.log(totals[chosen] + 0.5), 0.0

    def state(self) -> tuple[list[list[float]], dict[int, list[float | None]]]:
        """All of it as plain numbers: the totals' rows, and hours of which something is known."""
        hours = {
            hour: [None if np.isnan(one) else one for one in self._hours[hour].tolist()]
            for hour in sorted(self._hours_met)
        }
        return self._rows.tolist(), hours

    def restore(self, rows: list[list[float]], hours: dict[int, list[float | None]]) -> None:
        """Put a state back."""
        self._rows = np.array(rows, dtype=np.float64).reshape(len(_ROWS), -1)
        self._hours = np.full((WEEK_HOURS, self._rows.shape[1]), np.nan)
        for hour, row in hours.items():
            self._hours[hour] = np.array(row, dtype=np.float64)
        self._hours_met = frozenset(hours)

    def _course(self, bucket: int) -> Floats | None:
        """Logarithm of the mean course of the week in a bucket, NaN or None where not known."""
        at = (bucket % _WEEK + 0.5) / BUCKETS_PER_HOUR - 0.5
        hour = math.floor(at)
        part = at - hour
        first, second = hour % WEEK_HOURS, (hour + 1) % WEEK_HOURS
        if first not in self._hours_met or second not in self._hours_met:
            return None
        course: Floats = (1.0 - part) * self._hours[first] + part * self._hours[second]
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
        if enough.any():
            self._hours_met |= {hour}
        hour_sum[:], hour_size[:] = 0.0, 0.0


def _unborn(count: int) -> Floats:
    """Rows of totals that have had no event yet."""
    rows = np.zeros((len(_ROWS), count))
    rows[3] = _SPREAD_FIRST**2
    return rows
