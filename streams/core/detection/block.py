"""The detector for thousands of keys at once: what a partition's worker runs.

A key's state depends on the bucket in which it was first met and on the counts of its closed
buckets, nothing else: chunks may be cut anywhere. Slots are numbers 0..n-1 that the caller
gives to keys; slots in one call are distinct, unless said. A key's day is `buckets_per_day`
buckets from its birth: every day is then whole and sees every hour once.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.detection.block_ahead import Beliefs, BlockAhead, Course, Runner
from streams.core.detection.block_late import add_late
from streams.core.detection.block_maths import (
    DaysPast,
    Outlook,
    ScoreColumns,
    are_brief,
    as_counts,
    put_early,
    rarity_of,
    score_of,
    shape_of,
    statistic_of,
    tail_after_days,
    tail_at,
    taught_of,
)
from streams.core.detection.block_state import KeyColumns, RowStore
from streams.core.detection.block_tables import FadingPowers, Floats, Ints
from streams.core.detection.exposure import Exposure, FlatExposure
from streams.core.detection.first_days import EARLY_BUCKETS
from streams.core.detection.key_detector import NoAlarmError
from streams.core.detection.policy import DetectorPolicy
from streams.core.detection.rhythm import Heard, Rhythm
from streams.core.detection.tail_prior import ConstantPrior, Lived, Risen, TailPrior
from streams.core.waves.factors import Lifted, WaveFactors
from streams.core.waves.size import size_of, wildness_of

_GRID = 64
_EXCESS_SHARE = 0.1


class _Exposed(NamedTuple):
    """Exposure of open buckets without the wave, and fading sums of it before them.

    ``sums``: of the three windows with the wave, and of the rate, in which it has no part.
    ``factor``: of the wave in the open bucket. ``more``: what it adds to the windows; None: no
    wave, and none in the last day.
    """

    open: Floats | float
    sums: Floats
    factor: Floats | float = 1.0
    more: Floats | None = None


class DetectorBlock:
    """Gamma-Poisson expectation, evidence and tail of daily maxima of many keys."""

    def __init__(
        self,
        policy: DetectorPolicy,
        prior: TailPrior | None = None,
        exposure: Exposure | None = None,
        rhythm: Rhythm | None = None,
    ) -> None:
        self.policy = policy
        self._prior: TailPrior = prior or ConstantPrior(policy)
        self._powers = FadingPowers(policy)
        self._exposure: Exposure = exposure or FlatExposure(self._powers)
        self._rhythm = rhythm
        self._rows = RowStore(policy.rate_prior_count)
        self._waves: WaveFactors | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that the keys' state takes, room for growth included."""
        return self._rows.nbytes

    def lift_by(self, factors: WaveFactors) -> bool:
        """See KeyDetector."""
        factors.use(self._powers, self._rhythm)
        self._waves = factors
        return True

    def epochs_of(self, water: Ints) -> Ints:
        """See KeyDetector."""
        return self._prior.epochs_of(water)

    def enter(self, bucket: int) -> None:
        """See KeyDetector."""
        self._prior.enter(bucket)
        if self._rhythm is not None:
            self._rhythm.enter(bucket)

    def shared_state(self) -> dict[str, bytes]:
        """See KeyDetector."""
        parts = {} if self._rhythm is None else self._rhythm.packed()
        pool = self._prior.packed()
        return parts if pool is None else {"pool": pool, **parts}

    def restore_shared(self, parts: dict[str, bytes]) -> None:
        """See KeyDetector. Raises `PoolStateError`, `RhythmStateError`."""
        if "pool" in parts:
            self._prior.restore(parts["pool"])
        if self._rhythm is not None:
            self._rhythm.restore(parts)

    @property
    def seen_over_asked(self) -> float | None:
        """See KeyDetector."""
        return self._prior.seen_over_asked

    def take_alarms(self, count: int) -> None:
        """See KeyDetector."""
        self._prior.take_alarms(count)

    def grow(self, size: int) -> None:
        """Make room for slots < ``size``. New slots are unborn until `begin` or `restore`."""
        self._rows.grow(size)

    def keep(self, slots: Ints) -> bool:
        """See KeyDetector."""
        self._rows.keep(slots)
        return True

    def begin(self, slots: Ints, bucket: int) -> None:
        """Keys first met in ``bucket``: it is their open bucket, nothing learnt yet."""
        self._rows.begin(slots, bucket)
        if self._prior.learns:
            self._prior.take_met(np.full(len(slots), bucket, np.int64))

    def advance(self, slots: Ints, opened: Ints, counts: Ints, bucket: Ints | int) -> None:
        """Close each key's open bucket with its count and learn it; then the empty ones after.

        ``opened`` < ``bucket``, entry by entry; afterwards ``bucket`` is each key's open bucket.
        Empty buckets and empty days between cost one power each, however many they are.
        """
        keys = self._rows.read(slots)
        opened = np.asarray(opened, dtype=np.int64)
        bucket = np.asarray(bucket, dtype=np.int64)
        events = as_counts(counts)
        exposed = self._exposed(slots, keys, opened)
        outlook = self._outlook(keys, exposed.sums)
        keys.windows *= self._powers.factors[:3]
        keys.windows += events
        age = opened - keys.birth
        statistic = self._statistic(keys.windows, exposed, outlook, age)
        statistic *= events > 0
        self._raise_top(keys, statistic, age)
        usual = outlook.rate * exposed.open * exposed.factor
        taught = taught_of(events, usual, self.policy)
        taught /= exposed.factor  # what a wave brings is not the key's own
        self._learn_rate(keys, taught)
        if self._rhythm is not None:
            heard = Heard(keys.birth, keys.direction, opened, taught, outlook.rate)
            self._rhythm.learn(heard)
            keys.phase *= self._powers.factors[3]
            keys.phase += self._rhythm.pointed(events, opened)
        self._fade(keys, bucket - opened - 1)
        self._end_early(keys, age, bucket - keys.birth)
        self._end_days(keys, outlook.rate, age, bucket - keys.birth)
        self._rows.write(slots, keys)

    def amend(self, slots: Ints, late_bucket: Ints, opened: Ints, counts: Ints) -> None:
        """Add late records to already learnt buckets (``late_bucket`` < ``opened``).

        The fading sums become what they would be had the records come on time, without the
        learning limit; the day's maximum is not judged again. Entries of one slot may repeat and
        are added in their order, event by event: how they were grouped leaves no trace.
        """
        gaps = np.maximum(np.asarray(opened) - late_bucket - 1, 0)
        add_late(self._rows, np.asarray(slots), self._powers.of_gap(gaps), np.asarray(counts))

    def score(
        self, slots: Ints, counts: Ints, *, opened: Ints | int, lift: float = 1.0
    ) -> ScoreColumns:
        """Score each key's open bucket with its count so far; slots may repeat.

        The score never falls when the count grows. A count of 0 scores 0. ``lift``: as if the
        wave lifted so many times more.
        """
        keys = self._rows.read(slots)
        opened = np.asarray(opened, dtype=np.int64)
        events = as_counts(counts)
        exposed = self._exposed(slots, keys, opened)
        exposure, sums, factor, _ = exposed
        outlook = self._outlook(keys, sums)
        keys.windows *= self._powers.factors[:3]
        keys.windows += events
        age = opened - keys.birth
        statistic = self._statistic(keys.windows, exposed, outlook, age, lift)
        own = self._prior.of(outlook.rate)
        rarity = rarity_of(statistic, tail_at(keys.tail, age, own, self._powers, self.policy))
        lived = Lived(keys.birth, age)
        score = score_of(self._prior.judged(rarity, own, statistic, lived), self.policy)
        happened = events > 0
        score *= happened
        statistic *= happened
        prior = self.policy.rate_prior_buckets
        weight = prior / (prior + sums[3])
        expected = outlook.rate * exposure
        lasts = self._waves is not None and not self._waves.are_plain
        in_wave = expected * factor if lasts else None
        is_brief = self._are_brief(slots, score, outlook, age)
        return ScoreColumns(score, expected, weight, statistic, age, in_wave, exposure, is_brief)

    def run_ahead(self, course: Course) -> BlockAhead:
        """See KeyDetector."""
        beliefs = Beliefs(self.policy, self._powers, self._exposure, self._prior, self._rhythm)
        return Runner(beliefs, course).run(self._rows)

    def alarm_count(self, slot: int, low: int, high: int, opened: int, lift: float = 1.0) -> int:
        """Smallest count in (low, high] that alarms in the open bucket.

        Raises `NoAlarmError` when none does. Asks for 64 counts at a time: two rounds find one in
        four thousand.
        """
        floor = low
        while True:
            asked = min(high - floor, _GRID)
            steps = np.arange(1, asked + 1, dtype=np.int64)
            grid = floor + steps * (high - floor) // max(asked, 1)
            slots = np.full(asked, slot, dtype=np.int64)
            alarms = self.score(slots, grid, opened=opened, lift=lift).score >= 1.0
            if not alarms.any():
                raise NoAlarmError(slot, low, high)
            first = int(np.argmax(alarms))
            if asked == high - floor:
                return int(grid[first])
            high = int(grid[first])
            floor = int(grid[first - 1]) if first else floor

    def alarm_counts(
        self, slots: Ints, lows: Ints, highs: Ints, opened: Ints, lift: float = 1.0
    ) -> Ints:
        """See KeyDetector. All counts are scored at once: they are no more than records came."""
        steps = highs - lows
        ends = np.cumsum(steps)
        counts = np.repeat(lows - (ends - steps), steps) + np.arange(1, int(ends[-1]) + 1)
        slots_of, opened_of = np.repeat(slots, steps), np.repeat(opened, steps)
        scores = self.score(slots_of, counts, opened=opened_of, lift=lift).score
        alarms = np.flatnonzero(scores >= 1.0)
        first = alarms[np.searchsorted(alarms[:-1], ends - steps)]
        if not (first < ends).all():
            row = int(np.argmax(first >= ends))
            raise NoAlarmError(int(slots[row]), int(lows[row]), int(highs[row]))
        found: Ints = counts[first]
        return found

    def are_over(
        self, slots: Ints, bucket: Ints | int, *, opened: Ints, counts: Ints
    ) -> NDArray[np.bool_]:
        """Whether a surge of each key is over when the watermark stands in ``bucket``.

        Over means: the short and the middle window are back within one standard deviation of
        usual, and so is the long one, or the middle one's excess rate is a tenth of its.
        That is quiet against the usual and against the surge: the long sum alone would hold a
        large surge open for a day after its end, the middle one alone would close a slow one
        between two events. Without new events a surge once over stays over.
        """
        keys = self._rows.read(slots)
        buckets = np.broadcast_to(np.asarray(bucket, dtype=np.int64), slots.shape)
        opening = np.asarray(opened, dtype=np.int64)
        rate = self._outlook(keys, self._exposed(slots, keys, opening).sums).rate
        closed = buckets > opening
        events = as_counts(counts)
        keys.windows *= np.where(closed, self._powers.factors[:3], 1.0)
        keys.windows += events
        keys.windows *= self._powers.of_gap(np.maximum(buckets - opening - 1, 0))[:3]
        exposure = self._exposed(slots, keys, buckets).sums[:3]
        expected = rate * exposure
        spread = np.sqrt(expected + expected**2 / shape_of(keys.rate_count, self.policy))
        usual = keys.windows <= expected + spread
        # Excess rate of the middle window <= a tenth of the long one's, cleared of divisors.
        bound = (1.0 - _EXCESS_SHARE) * expected[1] * exposure[2]
        bound += _EXCESS_SHARE * keys.windows[2] * exposure[1]
        faded = keys.windows[1] * exposure[2] <= bound
        over: NDArray[np.bool_] = usual[0] & usual[1] & (usual[2] | faded)
        return over

    def state_of(self, slots: Ints) -> NDArray[Any]:
        """Packed states (`STATE_DTYPE`) of the slots, for the store."""
        return self._rows.packed(slots)

    def restore(self, slots: Ints, states: NDArray[Any]) -> None:
        """Put packed states back; `state_of` then gives the same bytes."""
        self._rows.unpack(slots, states)

    def _exposed(self, slots: Ints, keys: KeyColumns, opened: Ints) -> _Exposed:
        """Exposure of open buckets, and before them."""
        exposure = self._exposure.open_of(slots, opened)
        sums = self._exposure.sums_of(slots, keys.birth, opened)
        if self._rhythm is not None and not self._rhythm.is_flat:
            sums *= self._rhythm.means_of(keys.direction, keys.birth, opened)
            exposure = exposure * self._rhythm.open_of(keys.direction, opened)
        if self._waves is None:
            return _Exposed(exposure, sums)
        lifted = Lifted(slots, keys.direction, keys.birth, keys.rate_count)
        factor = self._waves.open_of(lifted, opened, exposure)
        more = self._waves.more_of(lifted, opened)
        if factor is None or more is None:
            return _Exposed(exposure, sums)
        sums[:3] += more
        return _Exposed(exposure, sums, factor, more)

    def _statistic(
        self, windows: Floats, exposed: _Exposed, outlook: Outlook, age: Ints, lift: float = 1.0
    ) -> Floats:
        """Evidence of windows that hold the open bucket; in a wave by the keys' size there."""
        busy, more = exposed.open * exposed.factor * lift, exposed.more
        statistic = statistic_of(windows, busy, outlook)
        if more is not None:
            more = more * self._powers.factors[:3]
            size = size_of(outlook.faded_exposure, more, exposed.open, exposed.factor)
            statistic /= wildness_of(self._prior, outlook, size)
        if self.policy.short_lived:
            put_early(statistic, windows, busy, outlook, age, self._powers)
        return statistic

    def _outlook(self, keys: KeyColumns, sums: Floats) -> Outlook:
        buckets = sums[3] + self.policy.rate_prior_buckets
        faded = sums[:3] * self._powers.factors[:3]
        return Outlook(keys.rate_count / buckets, shape_of(keys.rate_count, self.policy), faded)

    def _are_brief(
        self, slots: Ints, score: Floats, outlook: Outlook, age: Ints
    ) -> NDArray[np.bool_]:
        """Which of the scores that alarm come of a burst; a first day is all there is of a key."""
        brief = np.zeros(len(score), np.bool_)
        rows = ((score >= 1.0) & (age >= self.policy.buckets_per_day)).nonzero()[0]
        if len(rows):
            faded = self._rows.read(slots[rows]).windows * self._powers.factors[:3]
            brief[rows] = are_brief(faded, outlook.only(rows))
        return brief

    def _raise_top(self, keys: KeyColumns, statistic: Floats, age: Ints) -> None:
        """Raise each day's maximum; those of first days teach newcomers, in two spans."""
        if self._prior.learns:
            young = (age < self.policy.buckets_per_day).nonzero()[0]
            if len(young):
                before = keys.top[young]
                after = np.maximum(before, statistic[young])
                births = keys.birth[young]
                self._prior.take_births(births[age[young] == 0])
                self._prior.take_risen(Risen(births, age[young], before, after))
        np.maximum(keys.top, statistic, out=keys.top)

    def _learn_rate(self, keys: KeyColumns, taught: Floats) -> None:
        factor = float(self._powers.factors[3, 0])
        keys.rate_count *= factor
        keys.rate_count += (1.0 - factor) * self.policy.rate_prior_count
        keys.rate_count += taught

    def _fade(self, keys: KeyColumns, empty_buckets: Ints) -> None:
        waited = empty_buckets > 0
        if not waited.any():
            return
        powers = self._powers.of_gap(empty_buckets)
        keys.windows *= powers[:3]
        keys.phase *= powers[3]
        prior = self.policy.rate_prior_count
        faded = keys.rate_count - prior
        faded *= powers[3]
        faded += prior
        # taking the prior off and putting it back may round: not where a key did not wait
        np.copyto(keys.rate_count, faded, where=waited)

    def _end_early(self, keys: KeyColumns, age: Ints, age_after: Ints) -> None:
        """Begin a first day's second span: what was reached in the first one stands for itself."""
        if self._prior.learns:
            keys.top[(age < EARLY_BUCKETS) & (age_after >= EARLY_BUCKETS)] = 0.0

    def _end_days(self, keys: KeyColumns, rate: Floats, age: Ints, age_after: Ints) -> None:
        """Close the day of the learnt bucket, unless it goes on, and the empty days after it."""
        ended = age_after // self.policy.buckets_per_day - age // self.policy.buckets_per_day
        rows = ended.nonzero()[0]
        if len(rows):
            past = DaysPast(keys.top[rows], age[rows], ended[rows])
            own = self._prior.of(rate[rows])
            keys.tail[:, rows], taught = tail_after_days(
                keys.tail[:, rows], past, own, self._powers, self.policy
            )
            if self._prior.learns:
                self._prior.take_ended(taught)
            keys.top[rows] = 0.0
            if self._rhythm is not None:
                kept = keys.phase[:, rows].astype(np.float32)  # as it will be read again
                phase = kept.astype(np.float64)
                keys.direction[rows] = self._rhythm.direction_of(phase)
