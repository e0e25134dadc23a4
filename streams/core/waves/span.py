"""How levels go on through buckets that close one after the other, and how far totals are above.

What is far above is learnt from slowly: a wave must not become the usual. What does not recur is
worked out of all buckets at once, the rest in rows that are there: of so few totals it is the calls
into numpy that cost. How many buckets go together leaves no trace.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_tables import Floats
from streams.core.waves.levels import (
    BUCKETS_PER_HOUR,
    MEAN_KEPT,
    ROWS,
    WARM_BUCKETS,
    WEEK_HOURS,
    Levels,
    ages_of,
)

Flags = NDArray[np.bool_]

# Numbers of the way that every bucket goes are arrays: numpy takes these twice as fast.
_LEVEL: Final = 1 / 12
_SLOPE: Final = np.array(_LEVEL / 24)
_SLOPE_LEFT: Final = np.array(0.98)
_SPREAD: Final = 1 / 144
_VARIANCE_MIN: Final = np.array(0.02**2)
_SPREAD_AGE: Final = 2
_LIFTED_LEVEL: Final = 1 / 1000
_FALLEN: Final = np.array(-0.5)
_FALLEN_SIGMAS: Final = -3.0
_FALLEN_LEVEL: Final = 1 / 144
"""An outage is not the usual either, but a lower level that lasts is within a day."""
_USUAL_MIN: Final = np.array(0.5)
_CLIP: Final = np.array(2.0)
_CLIP_SQUARE: Final = np.array(9.0)
_ONE: Final = np.array(1.0)
_SUMS_LEFT: Final = np.array([1.0, 1.0, MEAN_KEPT, MEAN_KEPT])[:, None]
"""Of the sum and the size of an hour, and of the mean and its weight."""


class Above(NamedTuple):
    """How far each total is above what is usual, in logarithms, and in standard deviations.

    A row a bucket.
    """

    expected: Floats
    excess: Floats
    sigmas: Floats
    by_week: Flags
    """Whether what was expected knows the course of the week."""

    def at(self, place: int) -> "Above":
        """Of one bucket."""
        return Above(*(of_all[place] for of_all in self))


class LevelSpan:
    """Levels from a bucket on: each bucket is seen, then learnt.

    ``totals`` has a row a bucket. ``busy``: how busy the keys' own rates take a bucket to be, for
    the mean; rows like these, or one number for all.
    """

    def __init__(self, levels: Levels, bucket: int, totals: Floats, busy: Floats | float) -> None:
        count, size = totals.shape
        self.after: list[Levels] = []
        """Levels after each of the buckets that were learnt."""
        self._levels, self._bucket, self._totals = levels, bucket, totals
        self._rows = rows = np.empty((count + 1, len(ROWS), size))
        rows[0] = levels.rows
        rows[:, 0] = ages = ages_of(levels.rows[0], totals)
        self._ages, born = ages, ages[1:] > 0
        begun = born & (ages[:-1] == 0)
        self._begun = begun if begun.any() else None
        self._level, self._slope, self._variance = rows[:, 1], rows[:, 2], rows[:, 3]
        self._level_gain = np.maximum(_LEVEL, 1.0 / np.maximum(ages[1:], 1.0))
        self._spread_gain = _SPREAD * (ages[:-1] >= _SPREAD_AGE)
        # also of totals that are not named yet, so that naming them early leaves no trace
        self._events = np.where(born, totals + 0.5, 1.0)
        self._sums, self._sums_left = rows[:, 4:], np.repeat(_SUMS_LEFT, size, axis=1)
        self._added = np.empty((count, len(_SUMS_LEFT), size))
        self._added[:, 0] = self._added[:, 2] = totals
        self._added[:, 1], self._added[:, 3] = born, born * busy
        self._both = np.empty((count, 2, size))
        self._excess, self._spread = self._both[:, 0], self._both[:, 1]
        self._usual, self._noise = np.empty_like(totals), np.empty_like(totals)
        self._forecast = self._level[0]
        self._moved: Floats | None = None
        self._by_week = np.zeros((count, size), dtype=np.bool_)

    @property
    def known(self) -> Flags:
        """Totals with enough of a past before each bucket to be judged."""
        known: Flags = self._ages[:-1] >= WARM_BUCKETS
        return known

    @property
    def above(self) -> Above:
        """What was seen."""
        sigmas = self._excess / self._spread
        return Above(self._usual - 0.5, self._excess, sigmas, self._by_week)

    def see(self, place: int) -> None:
        """See how far the totals of the next bucket are above what was usual before it."""
        if place == 0 or (self._bucket + place) % BUCKETS_PER_HOUR == 0:
            self._begin_hour(place)
        usual, noise = self._usual[place], self._noise[place]
        excess, spread = self._excess[place], self._spread[place]
        self._forecast = self._level[place]
        if self._moved is not None:
            self._forecast = self._forecast + self._moved[place]
        np.add(self._forecast, self._slope[place], out=usual)
        np.exp(usual, out=usual)
        np.maximum(usual, _USUAL_MIN, out=usual)
        np.divide(_ONE, usual, out=noise)
        np.multiply(self._events[place], noise, out=excess)
        np.log(excess, out=excess)
        np.add(self._variance[place], noise, out=spread)
        np.sqrt(spread, out=spread)

    def learn(self, place: int, lifted: Flags | None) -> None:
        """Learn the bucket that was seen; of totals that a wave has ``lifted`` next to nothing."""
        after = place + 1
        excess, spread = self._excess[place], self._spread[place]
        bound = spread * _CLIP
        held = np.minimum(excess, bound)
        np.negative(bound, out=bound)
        np.maximum(held, bound, out=held)
        slope, level = self._slope[place], self._level[after]
        np.multiply(held, self._level_gain[place], out=level)
        level += slope
        level += self._forecast
        new_slope = np.multiply(slope, _SLOPE_LEFT, out=self._slope[after])
        new_slope += held * _SLOPE
        self._learn_spread(place)
        sums = self._sums[after]
        np.multiply(self._sums[place], self._sums_left, out=sums)
        sums += self._added[place]
        low = excess < _FALLEN
        if lifted is not None or np.count_nonzero(low):
            self._hold_back(place, held, low & (excess / spread < _FALLEN_SIGMAS), lifted)
        if self._begun is not None:
            begun = self._begun[place]
            level[begun], new_slope[begun] = np.log(self._events[place, begun]), 0.0
        self._levels = Levels(self._rows[after], self._levels.hours, self._levels.hours_met)
        if (self._bucket + after) % BUCKETS_PER_HOUR == 0:
            self._levels.end_hour((self._bucket + place) // BUCKETS_PER_HOUR % WEEK_HOURS)
        self.after.append(self._levels)

    def _learn_spread(self, place: int) -> None:
        variance, after = self._variance[place], self._variance[place + 1]
        squares = np.square(self._both[place])
        bound = squares[1]
        bound *= _CLIP_SQUARE
        np.minimum(squares[0], bound, out=after)
        after -= self._noise[place]
        after -= variance
        after *= self._spread_gain[place]
        after += variance
        np.maximum(after, _VARIANCE_MIN, out=after)

    def _begin_hour(self, place: int) -> None:
        """Have the course of the week as far as it is known now: up to the end of the hour."""
        bucket = self._bucket + place
        end = min(place + BUCKETS_PER_HOUR - bucket % BUCKETS_PER_HOUR, len(self._totals))
        moves = self._levels.moves(bucket, end - place)
        if moves is None:
            self._moved = None
            return
        self._by_week[place:end] = by_week = ~np.isnan(moves)
        self._moved = np.zeros_like(self._totals)
        self._moved[place:end] = np.where(by_week, moves, 0.0)

    def _hold_back(self, place: int, held: Floats, fallen: Flags, lifted: Flags | None) -> None:
        """Learn less of what has fallen, or is lifted."""
        before, after = self._rows[place], self._rows[place + 1]
        after[1, fallen] = (self._forecast + _FALLEN_LEVEL * held)[fallen]
        odd = fallen
        if lifted is not None:
            after[1, lifted] = (self._forecast + _LIFTED_LEVEL * held)[lifted]
            after[6:, lifted] = before[6:, lifted]
            odd = fallen | lifted
        after[2:6, odd] = before[2:6, odd]
